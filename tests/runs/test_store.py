"""A run folder refuses whatever could mix two runs or hide damage, each time in one line."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from ttsi.errors import RunFolderError
from ttsi.record import Question
from ttsi.runs.store import RunRow, Store, differences, open_run, read_json, read_rows, write_json
from ttsi.types import Episode, Input, Message, Tool, ToolCall

CONFIG = {"settings": {"loop": {"tau": 0.95, "k": 8}, "data": "/a"}, "model": {"sha": "x"}, "machine": {"cpus": 2}}


def row(number: int, repeat: int = 0) -> RunRow:
    episode = Episode(f"q{number}", f"{number:064x}", None, None, None, error="none")
    return RunRow(episode, repeat, number, {"strict": {"base": True, "adapted": False}}, {"kind": "a"})


def fill(folder: Path, n: int = 3) -> None:
    with open_run(folder, CONFIG) as store:
        for number in range(n):
            store.record(row(number))
        store.finish({"benchmark": "mine", "n": n})


def test_rows_come_back_in_the_benchmarks_order(tmp_path: Path) -> None:
    with open_run(tmp_path / "run", CONFIG) as store:
        for number in (2, 0, 1):
            store.record(row(number))
        store.record(row(1, repeat=1))
        assert [(r.position, r.repeat) for r in store.rows()] == [(0, 0), (1, 0), (1, 1), (2, 0)]
        assert store.keys() == {row(0).key, row(1).key, row(2).key, row(1, 1).key}
    assert read_rows(tmp_path / "run")[0] == row(0)


def test_a_row_written_twice_is_one_row(tmp_path: Path) -> None:
    with open_run(tmp_path, CONFIG) as store:
        store.record(row(1))
        store.record(row(1))
        assert len(store.rows()) == 1


def test_the_database_is_durable(tmp_path: Path) -> None:
    with open_run(tmp_path, CONFIG) as store:
        assert store._db.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        assert store._db.execute("PRAGMA synchronous").fetchone() == (2,)  # FULL


def test_a_used_folder_is_refused_without_resume_or_clean(tmp_path: Path) -> None:
    fill(tmp_path)
    with pytest.raises(RunFolderError, match="go on with --resume, or start over with --clean"):
        open_run(tmp_path, CONFIG)
    with pytest.raises(RunFolderError, match="choose one"):
        open_run(tmp_path, CONFIG, resume=True, clean=True)
    with open_run(tmp_path, CONFIG, resume=True) as store:
        assert len(store.rows()) == 3
    with open_run(tmp_path, CONFIG, clean=True) as store:
        assert store.rows() == []
        assert not (tmp_path / "summary.json").exists()


def test_a_folder_of_somebody_else_is_never_touched(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    for clean in (False, True):
        with pytest.raises(RunFolderError, match="holds other files"):
            open_run(tmp_path, CONFIG, clean=clean)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]
    with pytest.raises(RunFolderError, match="is a file"):
        open_run(tmp_path / "thesis.txt", CONFIG)


def test_a_folder_of_a_model_is_no_run(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "llama"}')
    for switches in ({}, {"resume": True}, {"clean": True}):
        with pytest.raises(RunFolderError, match="holds other files"):
            open_run(tmp_path, CONFIG, **switches)
    assert (tmp_path / "config.json").read_text() == '{"model_type": "llama"}'


@pytest.mark.parametrize("name", ["config.json", "summary.json"])
def test_what_is_left_of_a_run_is_still_one(tmp_path: Path, name: str) -> None:
    # The control for a model's config.json: --clean was killed before it deleted the last file.
    fill(tmp_path)
    for path in tmp_path.iterdir():
        if path.name != name:
            path.unlink()
    open_run(tmp_path, CONFIG, clean=True).close()
    assert json.loads((tmp_path / "config.json").read_text()) == CONFIG


def test_clean_deletes_the_run_and_nothing_else(tmp_path: Path) -> None:
    fill(tmp_path)
    (tmp_path / "notes.txt").write_text("mine")
    open_run(tmp_path, CONFIG, clean=True).close()
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_resuming_another_run_lists_what_differs(tmp_path: Path) -> None:
    fill(tmp_path)
    other = json.loads(json.dumps(CONFIG))
    other["settings"]["loop"]["tau"] = 0.5
    other["model"] = {"sha": "y", "new": 1}
    with pytest.raises(RunFolderError) as caught:
        open_run(tmp_path, other, resume=True)
    message = str(caught.value)
    for part in ("tau: 0.95 -> 0.5", 'model.sha: "x" -> "y"', "model.new: null -> 1"):
        assert part in message
    assert "settings.loop.k" not in message
    # The refused attempt must not have let the lock hang.
    open_run(tmp_path, CONFIG, resume=True).close()


def test_where_a_run_runs_is_no_difference(tmp_path: Path) -> None:
    fill(tmp_path)
    moved = {**CONFIG, "machine": {"cpus": 64}, "settings": {**CONFIG["settings"], "data": "/b"}}
    open_run(tmp_path, moved, resume=True).close()
    assert differences(CONFIG, {**moved, "model": {}}) == ['model.sha: "x" -> null']


def test_one_writer_at_a_time(tmp_path: Path) -> None:
    with (
        open_run(tmp_path, CONFIG),
        pytest.raises(RunFolderError, match=r"is being written by process \d+"),
    ):
        open_run(tmp_path, CONFIG, resume=True)
    open_run(tmp_path, CONFIG, resume=True).close()


def test_the_lock_of_a_killed_writer_is_free(tmp_path: Path) -> None:
    code = (
        "import os, signal, sys; from pathlib import Path; from ttsi.runs.store import open_run;"
        "store = open_run(Path(sys.argv[1]), {}); os.kill(os.getpid(), signal.SIGKILL)"
    )
    killed = subprocess.run([sys.executable, "-c", code, str(tmp_path)], cwd=Path(__file__).parents[2], check=False)
    assert killed.returncode == -9
    assert (tmp_path / "run.lock").read_text().strip().isdigit()
    open_run(tmp_path, {}, resume=True).close()


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE episodes SET grades = replace(grades, 'false', 'true') WHERE position = 1",
        "UPDATE episodes SET json = replace(json, 'none', 'nine') WHERE position = 1",
        "UPDATE episodes SET position = 7 WHERE position = 1",
        "UPDATE episodes SET tags = '{}' WHERE position = 1",
    ],
)
def test_a_changed_row_is_detected(tmp_path: Path, change: str) -> None:
    fill(tmp_path)
    assert len(read_rows(tmp_path)) == 3
    with closing(sqlite3.connect(tmp_path / "run.db")) as db, db:
        assert db.execute(change).rowcount == 1
    with pytest.raises(RunFolderError, match="row of input 'q1' does not match its checksum"):
        read_rows(tmp_path)


def question(number: int) -> Question:
    tool = Tool("look", "Look it up", {"type": "object", "properties": {"where": {"type": "string"}}})
    item = Input(f"q{number}", (Message("user", "where?", (ToolCall("look", {"where": None}),)),), (tool,))
    return Question(item, (ToolCall("look", {"where": "here"}),))


def test_what_was_asked_comes_back_with_its_gold(tmp_path: Path) -> None:
    with open_run(tmp_path, CONFIG) as store:
        store.record(replace(row(0), question=question(0)))
        store.record(row(1))
    first, second = read_rows(tmp_path)
    assert first.question == question(0)
    assert second.question is None


def test_a_changed_question_is_detected(tmp_path: Path) -> None:
    with open_run(tmp_path, CONFIG) as store:
        store.record(replace(row(0), question=question(0)))
    with closing(sqlite3.connect(tmp_path / "run.db")) as db, db:
        db.execute("UPDATE episodes SET asked = replace(asked, 'here', 'there')")
    with pytest.raises(RunFolderError, match="does not match its checksum"):
        read_rows(tmp_path)


def test_a_question_that_was_taken_away_is_detected(tmp_path: Path) -> None:
    with open_run(tmp_path, CONFIG) as store:
        store.record(replace(row(0), question=question(0)))
    with closing(sqlite3.connect(tmp_path / "run.db")) as db, db:
        db.execute("UPDATE episodes SET asked = NULL")
    with pytest.raises(RunFolderError, match="does not match its checksum"):
        read_rows(tmp_path)


def test_a_damaged_database_and_config_are_named(tmp_path: Path) -> None:
    fill(tmp_path)
    (tmp_path / "run.db").write_bytes(b"not a database, not at all" * 50)
    with pytest.raises(RunFolderError, match=r"run\.db is damaged"):
        read_rows(tmp_path)
    (tmp_path / "config.json").write_text("{oops")
    with pytest.raises(RunFolderError, match=r"config\.json cannot be read"):
        open_run(tmp_path, CONFIG, resume=True)
    with pytest.raises(RunFolderError, match="holds no run"):
        read_rows(tmp_path / "none")
    open_run(tmp_path, CONFIG, clean=True).close()


def test_another_schema_is_refused(tmp_path: Path) -> None:
    fill(tmp_path)
    with closing(sqlite3.connect(tmp_path / "run.db")) as db, db:
        db.execute("UPDATE meta SET value = '99'")
    with pytest.raises(RunFolderError, match="schema 99"):
        read_rows(tmp_path)


def test_json_files_are_replaced_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "summary.json"
    write_json(path, {"n": 1})
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(path, {"n": float("nan")})
    assert read_json(path) == {"n": 1}

    def torn(descriptor: int) -> None:
        raise OSError("power cut")

    monkeypatch.setattr("os.fsync", torn)
    with pytest.raises(OSError, match="power cut"):
        write_json(path, {"n": 2})
    assert read_json(path) == {"n": 1}


def test_a_folder_with_only_a_torn_file_is_free(tmp_path: Path) -> None:
    (tmp_path / "config.json.part").write_text('{"sett')
    with open_run(tmp_path, CONFIG) as store:
        assert isinstance(store, Store)
