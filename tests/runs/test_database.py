"""Old records are brought up to date, newer ones refused; cut or damaged ones say so, and never say another score."""

from __future__ import annotations

import json
import random
import shutil
import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from tests.runs.crashes import Crashes
from tests.runs.test_store import question, row
from tests.worlds import rows, write
from ttsi import codec
from ttsi.errors import RunFolderError
from ttsi.record import RunRow
from ttsi.runs import database
from ttsi.runs.store import open_run, read_rows
from ttsi.types import Answer, ToolCall

TRIALS = 40


def old_database(path: Path, n: int = 2, questions: bool = False) -> None:
    """What the first version wrote; its last files had questions in a table of their own."""
    with closing(sqlite3.connect(path)) as db, db:
        database._m001_episodes(db)
        db.execute("INSERT INTO meta VALUES ('schema', '1')")
        for number in range(n):
            one = row(number)
            texts = (codec.dumps(one.episode), codec.canonical(one.grades), codec.canonical(dict(one.tags)))
            content = (*one.key, number, one.episode.input_id, *texts)
            db.execute("INSERT INTO episodes VALUES (?, ?, ?, ?, ?, ?, ?, ?)", (*content, database.checksum(content)))
        if questions:
            db.execute(
                "CREATE TABLE asked (input_hash TEXT NOT NULL, repeat INTEGER NOT NULL, json TEXT NOT NULL, "
                "checksum TEXT NOT NULL, PRIMARY KEY (input_hash, repeat))"
            )
            # Samples they were, with more than the input and its gold.
            text = codec.canonical({**json.loads(codec.dumps(question(0))), "tags": {}, "official": None})
            kept = (*row(0).key, text)
            db.execute("INSERT INTO asked VALUES (?, ?, ?, ?)", (*kept, database.checksum(kept)))


def test_a_reader_understands_the_first_version_and_leaves_it_alone(tmp_path: Path) -> None:
    old_database(tmp_path / "run.db")
    before = (tmp_path / "run.db").read_bytes()
    assert read_rows(tmp_path) == [row(0), row(1)]
    assert (tmp_path / "run.db").read_bytes() == before


def test_a_writer_brings_the_first_version_up_to_date(tmp_path: Path) -> None:
    open_run(tmp_path, {}).close()
    (tmp_path / "run.db").unlink()
    old_database(tmp_path / "run.db")
    with open_run(tmp_path, {}, resume=True) as store:
        store.record(row(2))
        assert store.rows() == [row(0), row(1), row(2)]
    with closing(sqlite3.connect(tmp_path / "run.db")) as db:
        assert db.execute("SELECT value FROM meta").fetchall() == [(str(len(database.MIGRATIONS)),)]


def test_questions_move_into_their_rows(tmp_path: Path) -> None:
    old_database(tmp_path / "run.db", questions=True)
    expected = [replace(row(0), question=question(0)), row(1)]
    assert read_rows(tmp_path) == expected
    with closing(sqlite3.connect(tmp_path / "run.db")) as db:
        database.migrate(db, tmp_path / "run.db")
        assert not db.execute("SELECT 1 FROM sqlite_master WHERE name = 'asked'").fetchall()
    assert read_rows(tmp_path) == expected


def test_control_a_question_that_was_changed_before_stays_changed(tmp_path: Path) -> None:
    old_database(tmp_path / "run.db", questions=True)
    with closing(sqlite3.connect(tmp_path / "run.db")) as db, db:
        assert db.execute("UPDATE asked SET json = replace(json, 'here', 'there')").rowcount == 1
    with pytest.raises(RunFolderError, match="input 'q0' does not match its checksum"):
        read_rows(tmp_path)


def test_migration_does_not_make_a_damaged_row_whole(tmp_path: Path) -> None:
    old_database(tmp_path / "run.db")
    with closing(sqlite3.connect(tmp_path / "run.db")) as db, db:
        db.execute("UPDATE episodes SET grades = replace(grades, 'false', 'true') WHERE position = 1")
    with pytest.raises(RunFolderError, match="input 'q1' does not match its checksum"):
        read_rows(tmp_path)


def test_what_is_no_record_is_named(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "run.db")) as db, db:
        db.execute("CREATE TABLE recipes (name TEXT)")
    with pytest.raises(RunFolderError, match="no record of a run"):
        read_rows(tmp_path)


def test_half_a_surrogate_pair_is_kept(tmp_path: Path) -> None:
    answer = Answer("", (ToolCall("f", {"x": "\ud800", "y": "é"}),))
    odd = replace(row(0), episode=replace(row(0).episode, base=answer, error=None))
    with open_run(tmp_path, {}) as store:
        store.record(odd)
    assert read_rows(tmp_path) == [odd]


@pytest.fixture(scope="module")
def torn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run that was killed after its sixth row: everything is still in the journal."""
    tmp = tmp_path_factory.mktemp("torn")
    file, folder = write(tmp / "mine.jsonl", rows(8)), tmp / "run"
    fixed = ["--model", "scripted:demo", "--batch-size", "4", "--quiet"]
    arguments = ["run", "--benchmark", str(file), "--output-dir", str(folder), *fixed]
    with Crashes() as crashes:
        assert crashes.run(arguments, point="row: committed", nth=6) == -9
    return folder


def copied(folder: Path, target: Path) -> Path:
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(folder, target)
    return target


def test_a_journal_cut_at_every_512_bytes_opens_to_a_prefix_of_the_commits(torn: Path, tmp_path: Path) -> None:
    whole, lengths = read_rows(torn), []
    size = (torn / "run.db-wal").stat().st_size
    for cut in (*range(0, size, 512), size):
        folder = copied(torn, tmp_path / "cut")
        (folder / "run.db-shm").unlink()
        with (folder / "run.db-wal").open("r+b") as file:
            file.truncate(cut)
        result = read_rows(folder)
        assert result == whole[: len(result)], cut
        with database_of(folder) as db:
            assert [r.key for r in database.each(db, folder)] == [r.key for r in result], cut
        lengths.append(len(result))
    assert lengths == sorted(lengths)
    assert (lengths[0], lengths[-1], set(lengths)) == (0, 6, set(range(7)))


def database_of(folder: Path) -> closing[sqlite3.Connection]:
    return closing(database.connect(folder / "run.db"))


def damage(path: Path, rng: random.Random) -> str:
    """Flip, zero, cut or double some bytes."""
    content = bytearray(path.read_bytes())
    place, length = rng.randrange(len(content)), rng.choice([1, 16, 512, 4096])
    kind = rng.choice(["flip", "zero", "cut", "double"])
    if kind == "flip":
        content[place] ^= 1 << rng.randrange(8)
    elif kind == "zero":
        content[place : place + length] = bytes(len(content[place : place + length]))
    elif kind == "cut":
        del content[place:]
    else:
        content[place:place] = content[place : place + length]
    path.write_bytes(bytes(content))
    return kind


@pytest.mark.parametrize("name", ["run.db", "run.db-wal"])
def test_a_damaged_record_is_refused_or_a_subset_of_true_rows(torn: Path, tmp_path: Path, name: str) -> None:
    start, truth = torn, read_rows(torn)
    if name == "run.db":  # closed properly: everything is in the one file
        start = copied(torn, tmp_path / "closed")
        with open_run(start, {}, clean=True) as store:
            for r in truth:
                store.record(r)
    refused = refusals(start, name, truth, tmp_path / "damaged", TRIALS)
    if name == "run.db":  # damage in a journal's tail is a shorter journal, and no error
        assert refused > TRIALS / 10


def refusals(start: Path, name: str, truth: list[RunRow], folder: Path, trials: int) -> int:
    """Damage copies of a folder; how many were refused, when every row of the others was true."""
    rng, refused = random.Random(3), 0
    by_key = {r.key: r for r in truth}
    for trial in range(trials):
        copied(start, folder)
        kind = damage(folder / name, rng)
        for read in (read_rows, repaired):
            try:
                result = read(folder)
            except RunFolderError as error:
                refused += 1
                assert "\n" not in str(error)
                continue
            assert all(by_key[r.key] == r for r in result), (trial, kind)
            assert len({r.key for r in result}) == len(result), (trial, kind)
    return refused


def repaired(folder: Path) -> list[RunRow]:
    with open_run(folder, read_config(folder), resume=True, repair=True) as store:
        return store.rows()


def read_config(folder: Path) -> dict[str, object]:
    from ttsi.runs.store import read_json

    return read_json(folder / "config.json")


def test_control_a_row_that_was_forged_with_its_checksum_would_pass(torn: Path, tmp_path: Path) -> None:
    """The comparison above sees a wrong score where one gets through: the checksum is no signature."""
    folder = copied(torn, tmp_path / "forged")
    truth = read_rows(folder)
    with database_of(folder) as db:
        database.put(db, replace(truth[0], grades={"strict": {"base": True, "adapted": True}}), replace=True)
    assert read_rows(folder) != truth


def test_repair_keeps_what_is_whole(torn: Path, tmp_path: Path) -> None:
    folder = copied(torn, tmp_path / "one")
    truth = read_rows(folder)
    with closing(sqlite3.connect(folder / "run.db")) as db, db:
        db.execute("UPDATE episodes SET json = replace(json, 'tool_call', 'tool-call') WHERE position = 2")
    with pytest.raises(RunFolderError, match="--resume --repair"):
        read_rows(folder)
    assert repaired(folder) == [r for r in truth if r.position != 2]
    assert (folder / "run.db.damaged").is_file()
    assert read_rows(folder) == [r for r in truth if r.position != 2]


def test_repair_keeps_what_is_whole_of_the_first_version(tmp_path: Path) -> None:
    open_run(tmp_path, {}).close()
    (tmp_path / "run.db").unlink()
    old_database(tmp_path / "run.db", 3)
    with closing(sqlite3.connect(tmp_path / "run.db")) as db, db:
        db.execute("UPDATE episodes SET grades = replace(grades, 'false', 'true') WHERE position = 1")
    assert repaired(tmp_path) == [row(0), row(2)]


def test_repair_refuses_a_record_that_is_newer(tmp_path: Path) -> None:
    with open_run(tmp_path, {}) as store:
        store.record(row(0))
    with closing(sqlite3.connect(tmp_path / "run.db")) as db, db:
        db.execute("UPDATE meta SET value = '99'")
    before = (tmp_path / "run.db").read_bytes()
    with pytest.raises(RunFolderError, match="schema 99"):
        repaired(tmp_path)
    assert (tmp_path / "run.db").read_bytes() == before


def test_a_finished_run_that_lacks_rows_is_refused(tmp_path: Path) -> None:
    with open_run(tmp_path, {}) as store:
        store.record(row(0))
        store.record(row(1))
        store.finish({"n": 2})
    assert len(read_rows(tmp_path)) == 2
    with closing(sqlite3.connect(tmp_path / "run.db")) as db, db:
        db.execute("DELETE FROM episodes WHERE position = 0")
    with pytest.raises(RunFolderError, match="1 of 2 rows is there"):
        read_rows(tmp_path)
