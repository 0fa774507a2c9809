"""A file is replaced whole: an error at any step leaves the old one, and nothing beside it."""

from __future__ import annotations

from pathlib import Path

import pytest

from ttsi.atomic import replacement, write_atomically

STEPS = ["half written", "not yet renamed", "not yet synced", "synced"]


def test_text_and_bytes_are_written_in_named_steps(tmp_path: Path) -> None:
    path, steps = tmp_path / "a.json", list[str]()
    write_atomically(path, "é", at=steps.append)
    assert (path.read_bytes(), steps) == ("é".encode(), STEPS)
    write_atomically(path, b"\xff")
    assert path.read_bytes() == b"\xff"


@pytest.mark.parametrize("step", STEPS)
def test_an_error_at_a_step_leaves_the_old_file_or_the_new_one(tmp_path: Path, step: str) -> None:
    path = tmp_path / "a.json"
    write_atomically(path, "old")

    def fail(name: str) -> None:
        if name == step:
            raise OSError("power cut")

    with pytest.raises(OSError, match="power cut"):
        write_atomically(path, "new", at=fail)
    assert path.read_text() == ("old" if STEPS.index(step) < 2 else "new")
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.json"]


def test_control_a_block_that_fails_replaces_nothing(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("old")
    with pytest.raises(RuntimeError), replacement(path) as part:
        part.write_text("half")
        raise RuntimeError
    assert path.read_text() == "old"
    with replacement(path) as part:
        part.write_text("new")
    assert path.read_text() == "new"
