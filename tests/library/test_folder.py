"""A library's folder: what is written is read again, one writer at a time, and damage is refused by name."""

from __future__ import annotations

import random
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.library.streams import inputs
from ttsi import crash_points
from ttsi.errors import LibraryError
from ttsi.library import AdapterLibrary, LibraryEntry, tools_hash
from ttsi.library.entry import AdapterKey
from ttsi.types import Example, ToolCall

KEY = AdapterKey("weights", "template", "hermes", 8, 16.0, "all")
ITEM = inputs()[0]
EXAMPLE = Example("rain in Oslo?", (ToolCall("get_weather", {"city": "Oslo"}),), "")


def entry(number: int = 0) -> LibraryEntry:
    return LibraryEntry("", 0, "candidate", tools_hash(ITEM.tools), ITEM.tools, KEY, "", 0, (f"input{number}",), 1)


def fill(library: AdapterLibrary, count: int = 3) -> list[LibraryEntry]:
    made = []
    for number in range(count):
        with library.step(f"step {number}"):
            library.add_input(entry().tools_hash, KEY, f"input{number}", (EXAMPLE,), "test")
            made.append(library.add_entry(entry(number), bytes([number]) * 1000))
            library.add_evidence(made[-1], "later", 0.5 - number)
            library.add_use(made[-1], "later", given=number == 0)
            if number == 1:
                library.train_further(made[0], bytes([9]) * 1000, ["later"], 4)
    return library.entries


def index_size(folder: Path) -> int:
    return (folder / "library.db").stat().st_size


@pytest.fixture
def filled(tmp_path: Path) -> Path:
    with AdapterLibrary(tmp_path / "library") as library:
        fill(library)
    return tmp_path / "library"


def test_what_was_written_is_read_again(filled: Path) -> None:
    with AdapterLibrary(filled, writable=False) as library:
        first, second, third = library.entries
        assert (first.wins, first.losses, first.tries, first.uses) == (1, 0, 1, 1)
        assert (second.wins, second.losses, third.losses, third.uses) == (0, 1, 1, 0)
        assert library.adapter(third) == bytes([2]) * 1000
        assert library.adapter(first) == bytes([9]) * 1000  # it has learned more
        assert (first.version, first.examples, first.inputs) == (1, 5, ("input0", "later"))
        pooled = library.pooled_inputs(first.tools_hash)
        assert [one.input_hash for one in pooled] == ["input0", "input1", "input2"]
        assert pooled[0].examples == (EXAMPLE,)


def test_a_second_writer_is_refused_and_a_reader_is_not(filled: Path) -> None:
    with AdapterLibrary(filled):
        with pytest.raises(LibraryError, match="is being written by process"):
            AdapterLibrary(filled)
        with AdapterLibrary(filled, writable=False) as reader:
            assert len(reader.entries) == 3


def test_nothing_changes_outside_of_a_step(filled: Path) -> None:
    with AdapterLibrary(filled) as library, pytest.raises(LibraryError, match="within a step"):
        library.add_use(library.entries[0], "later", given=True)


def test_a_step_that_fails_leaves_nothing(filled: Path) -> None:
    with AdapterLibrary(filled) as library:
        before = library.entries
        with pytest.raises(RuntimeError), library.step("failing"):
            library.add_evidence(before[0], "later", 1.0)
            library.add_entry(entry(9), b"x" * 10)
            raise RuntimeError
        assert library.entries == before
    with AdapterLibrary(filled) as library:
        assert library.entries == before
        assert len(list((filled / "adapters").iterdir())) == 3  # the file that nobody names is gone


def test_a_step_that_is_taken_again_replaces_itself(filled: Path) -> None:
    with AdapterLibrary(filled) as library:
        for _ in range(3):
            with library.step("last"):
                library.add_evidence(library.entries[0], "later", 1.0)
        assert library.entries[0].wins == 2  # one before, one now


def test_an_earlier_step_cannot_be_taken_again(filled: Path) -> None:
    with (
        AdapterLibrary(filled) as library,
        pytest.raises(LibraryError, match="has learned from others since"),
        library.step("step 0"),
    ):
        pass


def test_a_deleted_entry_takes_its_examples_and_its_file_with_it(filled: Path) -> None:
    with AdapterLibrary(filled) as library:
        gone = library.entries[0]
        [file] = (filled / "adapters").glob(f"{gone.id}*")
        with library.step("rm"):
            library.remove(gone)
    with AdapterLibrary(filled) as library:
        assert gone.id not in [one.id for one in library.entries]
        assert library.pooled_inputs(gone.tools_hash) == []
        assert not file.exists()


def test_the_least_useful_go_first(filled: Path) -> None:
    with AdapterLibrary(filled) as library:
        with library.step("room for two"):
            library.evict_beyond(2500 + index_size(filled), 0.0)
        assert len(library.entries) == 2  # the one that was used longest ago is gone
        with library.step("old ones"):
            library.evict_beyond(10**9, 2e12)
        assert library.entries == []


def test_a_refused_entry_goes_before_all_others(filled: Path) -> None:
    with AdapterLibrary(filled) as library:
        last = library.entries[-1]
        with library.step("no room"):
            library.set_status(last, "refused", "useless")
            library.evict_beyond(2500 + index_size(filled), 0.0)
        assert last.id not in [one.id for one in library.entries]
        assert len(library.entries) == 2


def test_what_the_last_step_evicted_comes_back_when_it_is_undone(filled: Path) -> None:
    """The run was killed between this step and its rows, and does the batch again."""
    with AdapterLibrary(filled) as library:
        gone = library.entries[0]
        with library.step("batch"):
            library.evict(gone, "no room")
    with AdapterLibrary(filled) as library, library.step("batch"):
        assert gone.id in [one.id for one in library.entries]
        assert library.adapter(gone) == bytes([9]) * 1000


def test_an_entry_keeps_its_id_and_its_evidence_while_it_learns_and_one_file(filled: Path) -> None:
    files = [path.name for path in (filled / "adapters").iterdir()]
    with AdapterLibrary(filled) as library:
        before = library.entries[0]
        with library.step("more"):
            after = library.train_further(before, bytes([7]) * 1000, ["input7"], 1)
        assert library.entries[0] == after
        assert (after.id, after.wins, after.tries, after.created) == (before.id, 1, 1, before.created)
        assert library.adapter(after) == bytes([7]) * 1000
        with library.step("later"):
            pass
        with library.step("once more"):
            pass
    with AdapterLibrary(filled) as library:
        assert library.entries[0] == after
        now = [path.name for path in (filled / "adapters").iterdir()]
        assert len(now) == len(files) == 3
        assert set(now) != set(files)


def test_what_the_last_step_trained_further_is_as_before_when_it_is_undone(filled: Path) -> None:
    with AdapterLibrary(filled) as library:
        before = library.entries[0]
        with library.step("batch"):
            library.train_further(before, bytes([7]) * 1000, ["input7"], 1)
    with AdapterLibrary(filled) as library, library.step("batch"):
        assert library.entries[0] == before
        assert library.adapter(before) == bytes([9]) * 1000


def test_a_step_that_fails_leaves_the_files_of_the_one_before_which_may_be_undone(filled: Path) -> None:
    with AdapterLibrary(filled) as library:
        before = library.entries[0]
        with library.step("batch"):
            library.train_further(before, bytes([7]) * 1000, ["input7"], 1)
        with pytest.raises(RuntimeError), library.step("other"):
            raise RuntimeError
    with AdapterLibrary(filled) as library, library.step("batch"):
        assert library.adapter(before) == bytes([9]) * 1000


@pytest.mark.parametrize(("error", "stays"), [(OSError(24, "Too many open files"), True), (FileNotFoundError(), False)])
def test_only_a_missing_or_damaged_file_evicts_its_entry(
    filled: Path, monkeypatch: pytest.MonkeyPatch, error: OSError, stays: bool
) -> None:
    def fail(path: Path) -> bytes:
        raise error

    with AdapterLibrary(filled) as library:
        entry = library.entries[0]
        with monkeypatch.context() as patch, library.step("read"):
            patch.setattr(Path, "read_bytes", fail)
            assert library.usable_adapter(entry) is None
        assert (entry.id in [one.id for one in library.entries]) == stays


def test_an_evicted_entry_can_be_made_again(filled: Path) -> None:
    with AdapterLibrary(filled) as library:
        with library.step("evict"):
            library.evict(library.entries[0], "no room")
        with library.step("again"):
            again = library.add_entry(entry(0), bytes(1000))
        with library.step("later"):
            pass
    with AdapterLibrary(filled) as library:
        assert (again.wins, again.tries) == (0, 0)
        assert library.adapter(again) == bytes(1000)
        assert [one.id for one in library.entries].count(again.id) == 1


def test_other_peoples_files_are_left_alone(tmp_path: Path) -> None:
    other = tmp_path / "mine" / "adapters"
    other.mkdir(parents=True)
    (other / "my_lora.safetensors").write_bytes(b"mine")
    with pytest.raises(LibraryError, match="holds other files and no library"):
        AdapterLibrary(tmp_path / "mine")
    with AdapterLibrary(tmp_path / "own") as library:
        fill(library)
    (tmp_path / "own" / "adapters" / "my_lora.safetensors").write_bytes(b"mine")
    with AdapterLibrary(tmp_path / "own") as library, library.step("later"):
        pass
    for folder in (other, tmp_path / "own" / "adapters"):
        assert (folder / "my_lora.safetensors").read_bytes() == b"mine"


def test_a_failed_attempt_within_a_step_leaves_the_rest_of_it(filled: Path) -> None:
    with AdapterLibrary(filled) as library:
        with library.step("half"):
            library.add_use(library.entries[0], "x", given=True)
            with pytest.raises(RuntimeError), library.attempt():
                library.evict(library.entries[1], "by mistake")
                raise RuntimeError
            assert len(library.entries) == 3
        assert library.entries[0].tries == 2
    with AdapterLibrary(filled) as library:
        assert [one.tries for one in library.entries] == [2, 1, 1]


def test_a_newer_library_is_refused_by_readers_and_writers(filled: Path) -> None:
    import sqlite3
    from contextlib import closing

    with closing(sqlite3.connect(filled / "library.db")) as db:
        db.execute("PRAGMA user_version=99")
    for writable in (False, True):
        with pytest.raises(LibraryError, match="newer ttsi"):
            AdapterLibrary(filled, writable=writable)


def test_a_writer_that_died_at_birth_leaves_a_folder_that_can_be_used(tmp_path: Path) -> None:
    (tmp_path / "library.db").write_bytes(b"")
    with pytest.raises(LibraryError, match="holds no library"):
        AdapterLibrary(tmp_path, writable=False)
    with AdapterLibrary(tmp_path) as library:
        assert fill(library)


def test_a_damaged_adapter_is_refused_by_name(filled: Path) -> None:
    generator = random.Random(0)
    with AdapterLibrary(filled, writable=False) as library:
        one = library.entries[1]
    [path] = (filled / "adapters").glob(f"{one.id}*")
    whole = path.read_bytes()
    for trial in range(100):
        place = generator.randrange(len(whole))
        flipped = whole[:place] + bytes([whole[place] ^ (1 << generator.randrange(8))]) + whole[place + 1 :]
        path.write_bytes(whole[:place] if trial % 2 else flipped)
        with AdapterLibrary(filled, writable=False) as library, pytest.raises(LibraryError, match=one.id):
            library.adapter(one)
    path.write_bytes(whole)
    with AdapterLibrary(filled, writable=False) as library:
        assert library.adapter(one) == whole


def test_a_damaged_index_is_refused_or_reads_the_same(filled: Path) -> None:
    generator = random.Random(1)
    with AdapterLibrary(filled, writable=False) as library:
        expected = library.entries
    path = filled / "library.db"
    for sidecar in ("library.db-wal", "library.db-shm"):
        assert not (filled / sidecar).exists()
    whole, refused = path.read_bytes(), 0
    for trial in range(100):
        place = generator.randrange(len(whole))
        flipped = whole[:place] + bytes([whole[place] ^ (1 << generator.randrange(8))]) + whole[place + 1 :]
        path.write_bytes(whole[:place] if trial % 2 else flipped)
        try:
            with AdapterLibrary(filled, writable=False) as library:
                assert library.entries == expected
        except LibraryError as error:
            assert str(filled) in str(error)
            refused += 1
    assert refused >= 50  # every cut, and the flips that hit more than empty pages
    path.write_bytes(whole)


@pytest.fixture
def no_hook() -> Iterator[None]:
    yield
    crash_points.hook = None


@pytest.mark.parametrize("nth", range(1, 23))
@pytest.mark.usefixtures("no_hook")
def test_a_writer_that_dies_at_any_point_leaves_whole_entries(tmp_path: Path, nth: int) -> None:
    """Each passage of a crash point once; afterwards every entry has its file, and the steps can be taken again."""
    whole = tmp_path / "whole"
    with AdapterLibrary(whole) as library:
        expected = [replace(one, created=0, last_learned=0, last_use=0) for one in fill(library)]
    passed = 0

    def dying(point: str) -> None:
        nonlocal passed
        passed += 1
        if passed == nth:
            raise KeyboardInterrupt

    folder = tmp_path / "library"
    crash_points.hook = dying
    library = AdapterLibrary(folder)
    with pytest.raises(KeyboardInterrupt):
        fill(library)
    crash_points.hook = None
    library.close()
    shutil.copytree(folder, tmp_path / "copy")
    with AdapterLibrary(tmp_path / "copy") as library:
        for one in library.entries:
            assert len(library.adapter(one)) == 1000
        last = int((library.last_tag or "step 0").split()[-1])
        for number in range(last, 3):  # the last step that was taken is taken again
            with library.step(f"step {number}"):
                library.add_input(entry().tools_hash, KEY, f"input{number}", (EXAMPLE,), "test")
                made = library.add_entry(entry(number), bytes([number]) * 1000)
                library.add_evidence(made, "later", 0.5 - number)
                library.add_use(made, "later", given=number == 0)
                if number == 1:
                    library.train_further(library.entries[0], bytes([9]) * 1000, ["later"], 4)
        assert [replace(one, created=0, last_learned=0, last_use=0) for one in library.entries] == expected
