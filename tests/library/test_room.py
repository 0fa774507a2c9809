"""What a library's folder keeps, and for how long: bounded by bytes and age, and no step reads what grows."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.library.test_folder import EXAMPLE, KEY, entry, fill
from ttsi.errors import LibraryError
from ttsi.library import AdapterLibrary, LibraryEntry, entry_rows
from ttsi.library.exchange import export_entry
from ttsi.library.index import IndexRow, LibraryIndex

DAY = 86400.0


@pytest.fixture
def library(tmp_path: Path) -> Iterator[AdapterLibrary]:
    with AdapterLibrary(tmp_path / "library") as opened:
        fill(opened, 1)
        yield opened


def take_step(library: AdapterLibrary, tag: str) -> None:
    with library.step(tag):
        pass


def test_an_evicted_entry_takes_the_examples_of_its_tools_along(library: AdapterLibrary) -> None:
    [gone] = library.entries
    with library.step("evict"):
        library.evict(gone, "not used for too long")
    assert library.pooled_inputs(gone.tools_hash, KEY)  # this step may be undone
    take_step(library, "later")
    assert library.pooled_inputs(gone.tools_hash, KEY) == []


def test_the_examples_stay_where_a_new_adapter_takes_its_place(library: AdapterLibrary) -> None:
    [gone] = library.entries
    with library.step("replace"):
        library.evict(gone, "a new adapter takes its place")
        library.add_entry(entry(1), b"new")
    take_step(library, "later")
    assert [one.input_hash for one in library.pooled_inputs(gone.tools_hash, KEY)] == ["input0"]


def test_the_examples_are_back_when_the_eviction_is_undone(library: AdapterLibrary) -> None:
    [gone] = library.entries
    with library.step("evict"):
        library.evict(gone, "no room")
    take_step(library, "evict")
    assert [one.id for one in library.entries] == [gone.id]
    take_step(library, "later")
    assert len(library.pooled_inputs(gone.tools_hash, KEY)) == 1


def test_an_entry_that_learned_lately_is_not_old(library: AdapterLibrary) -> None:
    [old] = library.entries
    with library.step("age"):
        aged = library._update(replace(old, created=1 * DAY, last_use=2 * DAY))
        learned = library.train_further(aged, b"more", ["input9"], 1)
    with library.step("not yet"):
        library.evict_beyond(10**9, learned.last_learned - DAY)
    assert len(library.entries) == 1
    with library.step("too old"):  # the control
        library.evict_beyond(10**9, learned.last_learned + DAY)
    assert library.entries == []


def test_what_a_step_has_just_written_into_the_index_counts(library: AdapterLibrary) -> None:
    room = library._index.bytes() + 3 * 1000 + 50_000
    with library.step("little"):
        library.evict_beyond(room, 0.0)
    assert len(library.entries) == 1
    with library.step("much"):
        long = replace(EXAMPLE, query="rain " * 20_000)
        library.add_input(entry().tools_hash, KEY, "another", (long,), "test")
        library.evict_beyond(room, 0.0)
    assert library.entries == []


def test_only_the_newest_version_of_an_entry_is_kept(library: AdapterLibrary) -> None:
    for number in range(5):
        with library.step(f"more {number}"):
            library.train_further(library.entries[0], bytes([number]) * 100, [f"input{number}"], 1)
    # That of the last step, and the one before it, which undoing the last step needs.
    assert library._index.count("entries") == 2
    assert len(list((library.folder / "adapters").iterdir())) == 2


def test_a_step_does_not_read_the_evidence_and_the_uses_again(
    library: AdapterLibrary, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = LibraryIndex.rows
    seen: list[str] = []

    def counted(index: LibraryIndex, table: str, **wanted: Any) -> Iterator[IndexRow]:
        for row in read(index, table, **wanted):
            seen.append(table)
            yield row

    [one] = library.entries
    with library.step("many"):
        for number in range(200):
            library.add_evidence(one, f"input {number}", 1.0)
            library.add_use(one, f"input {number}", given=True)
    monkeypatch.setattr(LibraryIndex, "rows", counted)
    with library.step("one more"):
        assert library.has_evidence(one, "input 7")
        assert not library.has_evidence(one, "input 700")
        library.add_input(one.tools_hash, KEY, "input 7", (EXAMPLE,), "test")
    assert not {"evidence", "uses", "inputs"} & set(seen)
    with AdapterLibrary(library.folder, writable=False):  # the control: who opens it does
        assert seen.count("evidence") >= 200


def without_adapter(library: AdapterLibrary) -> LibraryEntry:
    with library.step("failed"):
        library.evict(library.entries[0], "a new adapter takes its place")
        return library.set_status(library.add_entry(entry(1), b""), "refused", "no adapter: no luck")


def test_an_entry_without_an_adapter_cannot_be_exported(library: AdapterLibrary, tmp_path: Path) -> None:
    failed = without_adapter(library)
    with pytest.raises(LibraryError, match=f"entry {failed.id} has no adapter: no adapter: no luck"):
        export_entry(library, failed, tmp_path / "peft")
    assert not (tmp_path / "peft").exists()


def test_a_reader_beside_a_writer_is_not_told_to_delete_at_once(library: AdapterLibrary) -> None:
    [one] = library.entries
    with AdapterLibrary(library.folder, writable=False) as reader:
        with library.step("more"):
            library.train_further(one, b"more", ["input9"], 1)
        take_step(library, "later")  # the file of the version before goes
        with pytest.raises(LibraryError, match="try again if another process writes to"):
            reader.adapter(one)
    with pytest.raises(LibraryError, match="cannot be read") as error:
        library.adapter(one)
    assert "try again" not in str(error.value)


def answer(library: AdapterLibrary, times: int) -> None:
    """Beside the one answer of `fill`."""
    for number in range(times):
        with library.step():
            library.add_use(library.entries[0], f"request {number}", given=number % 4 > 0)


def rows_of_use(library: AdapterLibrary) -> int:
    steps = library._index._db.execute("SELECT count(*) FROM steps").fetchone()[0]
    return int(steps) + sum(library._index.count(table) for table in ("uses", "use_counts"))


def test_a_long_life_of_answers_keeps_the_counts_and_no_row_each(
    library: AdapterLibrary, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(entry_rows, "MAX_USES", 20)
    answer(library, 100)
    assert rows_of_use(library) <= 20 + 6
    [one] = library.entries
    assert (one.tries, one.uses) == (101, 76)
    with AdapterLibrary(library.folder, writable=False) as again:
        assert again.entries == [one]
    monkeypatch.setattr(entry_rows, "MAX_USES", 10**6)  # control
    answer(library, 100)
    assert rows_of_use(library) > 100


def test_counts_that_were_added_up_outlive_the_step_that_is_undone(
    library: AdapterLibrary, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(entry_rows, "MAX_USES", 5)
    answer(library, 6)
    for _ in range(2):  # the second time undoes the first
        with library.step("batch"):
            library.add_use(library.entries[0], "one more", given=True)
        assert library._index.count("use_counts") == 1, "control: they were added up"
        assert (library.entries[0].tries, library.entries[0].uses) == (8, 6)


def test_a_step_with_a_tag_is_not_forgotten(library: AdapterLibrary) -> None:
    take_step(library, "batch")
    answer(library, 3)
    with pytest.raises(LibraryError, match="has learned from others since"):
        take_step(library, "batch")


def test_the_index_of_an_older_version_is_read_and_goes_on(library: AdapterLibrary) -> None:
    answer(library, 3)
    library.close()
    path = library.folder / "library.db"
    with sqlite3.connect(path) as index:
        index.execute("DROP TABLE use_counts")
    with pytest.raises(LibraryError, match="no such table"), AdapterLibrary(library.folder):
        pass  # control: an index of this version without the table is damaged
    with sqlite3.connect(path) as index:
        index.execute("PRAGMA user_version=1")
    for writable in (False, True, True):
        with AdapterLibrary(library.folder, writable=writable) as older:
            assert (older.entries[0].tries, older.entries[0].uses) == (4, 3)
