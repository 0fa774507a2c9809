"""The run folder: rows that survive a kill at any moment.

It holds `run.db` (SQLite, `ttsi.runs.database`), `config.json` (everything resolved) and, written last, `summary.json`
(`ttsi.runs.folder`). Inputs: a folder, the run's configuration, and rows one by one. Outputs: the same rows again,
after any crash. One writer at a time; readers need no lock. Totals are counted from rows, never stored.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import IO, Any

from ttsi import crash_points
from ttsi.errors import RunFolderError
from ttsi.plurals import plural, with_noun
from ttsi.record import Key, RunRow
from ttsi.runs import database
from ttsi.runs.folder import (
    check_free,
    check_same,
    delete_run,
    differences,
    disk_named,
    holds_run,
    read_json,
    take_lock,
    was_started,
    write_json,
)
from ttsi.runs.repair import repair as repair_database

__all__ = [
    "RunRow", "Store", "check_free", "differences", "each_row", "holds_run", "open_run", "read_json", "read_rows",
    "was_started", "write_json",
]  # fmt: skip


class Store:
    """An open run folder; the only writer of it. Use it in a `with` block."""

    def __init__(self, folder: Path, lock: IO[str]) -> None:
        self.folder = folder
        self._lock = lock
        self._path = folder / "run.db"
        self._db = database.connect(self._path)

    def __enter__(self) -> Store:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the database and let the lock go."""
        database.disconnect(self._db)
        self._lock.close()

    def record(self, row: RunRow, *, replace: bool = False) -> None:
        """Write one row durably; a row that exists already is left as it is, unless `replace` is set.

        Raises:
            ValueError: the episode holds a number that JSON cannot.
            RunFolderError: the disk is full or the database damaged.
        """
        with database.named(self._path), database.transaction(self._db):
            database.put(self._db, row, replace=replace)
            crash_points.reach("row: not yet committed")
        crash_points.reach("row: committed")

    def run_id(self) -> str:
        """A name that no other run has; the same after a resume."""
        with database.named(self._path), database.transaction(self._db):
            return database.run_id(self._db)

    def rewrite(self, rows: Iterable[RunRow]) -> None:
        """Replace existing rows, all or none, durably.

        Raises:
            RunFolderError: the disk is full or the database damaged.
        """
        with database.named(self._path), database.transaction(self._db):
            for row in rows:
                database.put(self._db, row, replace=True)

    def keys(self) -> frozenset[Key]:
        """Keys of the rows that are written."""
        return frozenset(row.key for row in self.each())

    def each(self) -> Iterator[RunRow]:
        """Every row in the benchmark's order, one at a time.

        Raises:
            RunFolderError: a row is damaged.
        """
        return database.each(self._db, self._path)

    def rows(self) -> list[RunRow]:
        """Every row in the benchmark's order.

        Raises:
            RunFolderError: a row is damaged.
        """
        return list(self.each())

    def reopen(self) -> None:
        """Delete summary.json: inputs are missing, so the run is not complete."""
        with disk_named(self.folder):
            (self.folder / "summary.json").unlink(missing_ok=True)
        crash_points.reach("resume: summary deleted")

    def config(self) -> dict[str, Any]:
        """The content of config.json."""
        return read_json(self.folder / "config.json")

    def configure(self, config: Mapping[str, Any]) -> None:
        """Write config.json."""
        with disk_named(self.folder):
            write_json(self.folder / "config.json", config)

    def finish(self, summary: Mapping[str, Any]) -> None:
        """Write summary.json, which marks the run as complete."""
        with disk_named(self.folder):
            write_json(self.folder / "summary.json", summary)


def open_run(
    folder: Path, config: Mapping[str, Any], *, resume: bool = False, clean: bool = False, repair: bool = False
) -> Store:
    """Open a folder for a run, as its only writer.

    Args:
        folder: made when missing.
        config: everything that the run's results depend on, as JSON values (`ttsi.runs.provenance.resolve`).
        resume: go on with a run of the same configuration.
        clean: first delete the run in the folder.
        repair: keep the whole rows of a damaged database and drop the others; goes with resume.

    Raises:
        RunFolderError: the folder is used, damaged, locked, or of another run; one line with the way on.
    """
    with disk_named(folder):
        check_free(folder, resume=resume, clean=clean)
        folder.mkdir(parents=True, exist_ok=True)
        lock = take_lock(folder)
    try:
        crash_points.reach("folder: locked")
        with disk_named(folder):
            _prepare(folder, config, resume, clean)
        if repair and (folder / "run.db").exists():
            with disk_named(folder):
                repair_database(folder)
        return Store(folder, lock)
    except BaseException:
        lock.close()
        raise


def _prepare(folder: Path, config: Mapping[str, Any], resume: bool, clean: bool) -> None:
    # Again, now that nobody else can write: another run may have begun in between.
    check_free(folder, resume=resume, clean=clean)
    if clean:
        delete_run(folder)
    if resume and holds_run(folder):
        check_same(folder, config)
    else:
        write_json(folder / "config.json", config)


def read_rows(folder: Path) -> list[RunRow]:
    """Every row of a run folder, read without the writer's lock.

    Raises:
        RunFolderError: there is no run here, or it is damaged.
    """
    return list(each_row(folder))


def each_row(folder: Path) -> Iterator[RunRow]:
    """Every row of a run folder, one at a time, read without the writer's lock.

    Raises:
        RunFolderError: there is no run here, or it is damaged; also where a finished run lacks rows.
    """
    path = folder / "run.db"
    if not path.is_file():
        raise RunFolderError(f"{folder} holds no run (no run.db)")
    with database.reading(path) as db:
        count = 0
        for row in database.each(db, path):
            count += 1
            yield row
    finished = folder / "summary.json"
    if finished.is_file() and (expected := read_json(finished).get("n")) != count:
        rows = f"{count} of {with_noun(expected or 0, 'row')} {plural(count, 'is', 'are')} there"
        raise database.DamagedRecord(path, rows)
