"""A full or read-only disk stops the run with one line; what was acknowledged is kept, and a resume completes it."""

from __future__ import annotations

import errno
import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.runs.test_resume import MINE, results
from tests.worlds import rows, write
from ttsi import crash_points
from ttsi.runs import database
from ttsi.runs.store import read_rows

ROOT = Path(__file__).parents[2]
NOBODY = 65534


@pytest.fixture
def whole(ttsi: Any, tmp_path: Path) -> list[str]:
    """The results of the run when nothing goes wrong."""
    assert ttsi(*MINE[:-1], "whole").code == 0
    return results(tmp_path / "whole")


def test_a_full_disk_at_every_size(
    ttsi: Any, tmp_path: Path, whole: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    real, stopped = database.connect, set()
    for pages in (*range(7, 16), 200):

        def small(path: Path, pages: int = pages) -> Any:
            db = real(path)
            db.execute(f"PRAGMA max_page_count = {pages}")
            return db

        with monkeypatch.context() as patch:
            patch.setattr(database, "connect", small)
            acknowledged: list[str] = []
            patch.setattr(crash_points, "hook", acknowledged.append)
            result = ttsi(*MINE, "--clean", "--quiet")
        kept = results(tmp_path / "out")
        assert len(kept) == acknowledged.count("row: committed")
        if result.code == 0:
            break
        assert (result.code, result.err.count("\n")) == (2, 1)
        assert "database or disk is full" in result.err
        assert "go on with --resume" in result.err
        stopped.add(len(kept))
        assert kept == whole[: len(kept)]
        assert ttsi(*MINE, "--resume").code == 0
        assert results(tmp_path / "out") == whole
    assert len(stopped) > 2, "it stopped after different numbers of rows"
    assert result.code == 0, "control: on a large disk it does not stop"


@pytest.mark.parametrize("name", ["config.json", "summary.json"])
def test_no_room_for_a_json_file(ttsi: Any, tmp_path: Path, whole: list[str], name: str) -> None:
    def full(point: str) -> None:
        if point == f"{name}: half written":
            raise OSError(errno.ENOSPC, "No space left on device")

    crash_points.hook = full
    try:
        result = ttsi(*MINE)
    finally:
        crash_points.hook = None
    assert (result.code, result.err.count("\n")) == (2, 1 + (name == "summary.json"))  # and the line of progress
    assert "out cannot be written (No space left on device): make room" in result.err
    assert ttsi(*MINE, "--resume").code == 0
    assert results(tmp_path / "out") == whole


def test_a_limit_on_the_size_of_files(ttsi: Any, tmp_path: Path, whole: list[str]) -> None:
    code = "import sys; from ttsi.cli import main; sys.exit(main(sys.argv[1:]))"

    def limited() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, 60_000))

    command = [sys.executable, "-c", code, *MINE, "--quiet"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, preexec_fn=limited, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr
    assert "run.db cannot be used" in done.stderr
    kept = results(tmp_path / "out")
    assert kept == whole[: len(kept)]
    assert 0 < len(kept) < 8
    assert ttsi(*MINE, "--resume").code == 0
    assert results(tmp_path / "out") == whole


@pytest.fixture
def readable() -> Iterator[Path]:
    """A folder that everybody may enter, unlike pytest's own."""
    with tempfile.TemporaryDirectory() as name:
        os.chmod(name, 0o755)
        yield Path(name)


@pytest.fixture
def without_rights() -> Iterator[None]:
    """Root may write anywhere, so it steps down for a while."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


def test_a_read_only_folder_can_be_read_and_is_not_written(
    ttsi: Any, tmp_path: Path, readable: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(readable)
    write(readable / "mine.jsonl", rows(8))
    assert ttsi(*MINE).code == 0
    for path in (readable, readable / "out", *(readable / "out").iterdir()):
        path.chmod(path.stat().st_mode & ~0o222)
    before = {path.name: path.read_bytes() for path in (readable / "out").iterdir()}
    request.getfixturevalue("without_rights")
    assert len(read_rows(readable / "out")) == 8
    for more in (("--resume",), ("--clean",), ("--output-dir", "new")):
        result = ttsi(*MINE, *more) if more[0] != "--output-dir" else ttsi(*MINE[:-2], *more)
        assert (result.code, result.err.count("\n")) == (2, 1)
        assert "Permission denied" in result.err
    assert {path.name: path.read_bytes() for path in (readable / "out").iterdir()} == before
