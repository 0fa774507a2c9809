"""kill -9 at any moment loses nothing and counts nothing twice, also when the resumed run is killed again."""

from __future__ import annotations

import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from tests.worlds import rows, write
from ttsi.cli import main
from ttsi.runs.store import Row, read_json, read_rows

ROOT = Path(__file__).parents[2]
CHILD = """
import os, signal, sys
from ttsi.cli import main
from ttsi.runs.store import Store

left, record = int(sys.argv[1]), Store.record

def dying(self, row):
    global left
    if left == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    left -= 1
    record(self, row)

Store.record = dying
sys.exit(main(sys.argv[2:]))
"""


def command(file: Path, folder: Path, *more: str) -> list[str]:
    fixed = ["--model", "scripted:demo", "--batch-size", "4", "--quiet"]
    return ["run", "--benchmark", str(file), "--output-dir", str(folder), *fixed, *more]


def killed_after(n: int, arguments: list[str]) -> None:
    done = subprocess.run([sys.executable, "-c", CHILD, str(n), *arguments], cwd=ROOT, check=False)
    assert done.returncode == -signal.SIGKILL


def outcome(folder: Path) -> tuple[dict[str, Any], list[Row]]:
    """All but the seconds, which no two runs share."""
    kept = [replace(row, episode=replace(row.episode, seconds={})) for row in read_rows(folder)]
    return {**read_json(folder / "summary.json"), "seconds": None}, kept


def test_killed_twice_and_resumed_is_as_if_never_killed(tmp_path: Path) -> None:
    file = write(tmp_path / "mine.jsonl", rows(12))
    assert main(command(file, tmp_path / "whole")) == 0
    torn = tmp_path / "torn"
    killed_after(6, command(file, torn))
    assert len(read_rows(torn)) == 6
    assert not (torn / "summary.json").exists()
    killed_after(3, command(file, torn, "--resume"))
    assert len(read_rows(torn)) == 9
    assert main(command(file, torn, "--resume")) == 0
    assert outcome(torn) == outcome(tmp_path / "whole")
    # Control: the comparison sees a different run.
    assert main(command(file, tmp_path / "other", "--seed", "1")) == 0
    assert outcome(tmp_path / "other")[1] != outcome(torn)[1]
