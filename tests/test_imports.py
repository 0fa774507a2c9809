"""Is a look at the package cheap? `import ttsi`, `--help` and `ls` must not load torch or transformers.

Each command runs in a process of its own with `-X importtime`, which lists every module that was really imported.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
HEAVY = {"torch", "transformers", "llguidance", "tokenizers", "scipy", "peft", "matplotlib", "jinja2"}


def loaded(*arguments: str) -> set[str]:
    """The packages (first part of the name) that `python ARGUMENTS` imports."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1"}
    command = [sys.executable, "-X", "importtime", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=ROOT, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    lines = [line for line in done.stderr.splitlines() if line.startswith("import time:")]
    return {line.rpartition("|")[2].strip().partition(".")[0] for line in lines}


@pytest.mark.parametrize(
    "arguments",
    [
        ["-c", "import ttsi; ttsi.Input, ttsi.preset, ttsi.__version__"],
        ["-m", "ttsi", "--help"],
        ["-m", "ttsi", "run", "--help"],
        ["-m", "ttsi", "report", "--help"],
        ["-m", "ttsi", "ls", "models"],
        ["-m", "ttsi", "ls", "measures"],
        ["-m", "ttsi", "ls", "benchmarks"],
    ],
    ids=" ".join,
)
def test_a_look_is_cheap(arguments: list[str]) -> None:
    packages = loaded(*arguments)
    assert "ttsi" in packages
    assert packages & HEAVY == set()


def test_control_the_local_model_loads_both() -> None:
    assert {"torch", "transformers"} <= loaded("-c", "import ttsi.models.local")


def test_an_unknown_name_is_an_attribute_error() -> None:
    import ttsi

    with pytest.raises(AttributeError, match="has no attribute 'improv'"):
        _ = ttsi.improv


def test_every_public_name_is_found() -> None:
    import ttsi

    assert all(getattr(ttsi, name) is not None for name in ttsi.__all__)
    assert set(ttsi.__all__) <= set(dir(ttsi))
