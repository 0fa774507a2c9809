"""Agreement of our graders with the programs of the benchmarks' owners: `pytest -m agreement`.

The programs are others' and are not fetched by a test; the headers of `bfcl.py` and `upstream.py` name their commits.
Environment: TTSI_BENCHMARKS (the data), TTSI_BFCL_EVAL (site-packages with bfcl-eval), TTSI_NEXUSRAVEN, TTSI_HAMMER and
TTSI_SEAL_TOOLS (one Python file each).
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.benchmarks.places import DATA, needs

pytestmark = pytest.mark.agreement
ROOT = Path(__file__).parents[2]
PROGRAMS = {
    "--nexusraven": "TTSI_NEXUSRAVEN",
    "--hammer": "TTSI_HAMMER",
    "--seal-tools": "TTSI_SEAL_TOOLS",
}


def output_of(module: str, *options: str) -> str:
    """What a comparison prints, run in a process of its own, which the owners' program may spoil.

    Raises:
        AssertionError: there is a disagreement, or the comparison failed.
    """
    command = [sys.executable, "-m", f"tests.agreement.{module}", "--data", str(DATA), *options]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return done.stdout


@needs("bfcl")
def test_the_official_checker_gives_the_same_verdicts() -> None:
    official = os.environ.get("TTSI_BFCL_EVAL")
    if official is None:
        pytest.skip("no bfcl-eval: set TTSI_BFCL_EVAL to its site-packages")
    assert "0 disagreements in all" in output_of("bfcl", "--official", official, "--readings", "50")


@needs("nexusraven")
@needs("seal-tools")
def test_the_owners_scorers_give_the_same_verdicts() -> None:
    missing = [name for name in PROGRAMS.values() if name not in os.environ]
    if missing:
        pytest.skip(f"no scorers: set {', '.join(missing)}")
    printed = output_of("upstream", *[word for option, name in PROGRAMS.items() for word in (option, os.environ[name])])
    assert printed.count(" 0 disagreements") == len(PROGRAMS)
