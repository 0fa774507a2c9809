"""The index of a library: a SQLite file of steps, inputs, entries, evidence and uses, each row with its checksum.

Nothing is overwritten: evidence, uses and changes of status are appended under the number of the step that made them.
So the index as it was before the last step is the rows before it, and a step that a killed run does again replaces
itself, exactly. One step is one transaction. What no longer counts is deleted when a new step begins, because the one
before it can then not be undone any more.

Inputs: rows. Outputs: the same rows, or a `LibraryError` that names the first one that is not as it was written.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from ttsi.errors import LibraryError
from ttsi.sqlite_errors import is_disk_error

TABLES: dict[str, tuple[str, ...]] = {
    "inputs": ("step", "tools_hash", "key_digest", "input_hash", "origin", "examples"),
    "entries": ("step", "id", "content"),
    "evidence": ("step", "id", "input_hash", "gain"),
    "changes": ("step", "id", "status", "reason", "divergence"),
    "uses": ("step", "id", "input_hash", "given", "time"),
    "use_counts": ("step", "id", "tries", "uses", "last_use"),
    "retention": ("step", "digest", "place", "content"),
}
"""Table -> its columns; behind them every table has the checksum of its row."""
VERSION = 2
SINCE = {table: 2 if table == "use_counts" else 1 for table in TABLES}
"""Table -> the version of the index that brought it."""
_UNNAMED = "unnamed step "
"""Before the number of a step without a tag."""


@dataclass(frozen=True)
class IndexRow:
    """A row of a table."""

    rowid: int
    values: dict[str, Any]


class LibraryIndex:
    """The open index of one library."""

    def __init__(self, path: Path, *, writable: bool) -> None:
        """Open it, made when missing, and check every row.

        Raises:
            LibraryError: it is damaged, newer than this ttsi, missing, or the disk refuses.
        """
        self._path = path
        if not writable and not path.is_file():
            raise LibraryError(f"there is no library in {path.parent}")
        mode = "rwc" if writable else "ro"
        with self._named():
            self._db = sqlite3.connect(
                f"{path.absolute().as_uri()}?mode={mode}", uri=True, isolation_level=None, timeout=30,
                check_same_thread=False,
            )  # fmt: skip
            try:
                if writable:
                    self._db.execute("PRAGMA journal_mode=WAL")
                    self._db.execute("PRAGMA synchronous=FULL")
                self._prepare(writable)
                self._check()
            except BaseException:
                self._db.close()
                raise

    def close(self) -> None:
        """Close it, and leave one file that can be read anywhere, from a read-only folder too."""
        # While a reader is connected, or on a full disk, the journal stays beside the file, which is as good.
        with suppress(sqlite3.Error):
            self._db.execute("PRAGMA journal_mode=DELETE")
        self._db.close()

    def _prepare(self, writable: bool) -> None:
        [version] = self._db.execute("PRAGMA user_version").fetchone()
        if version > VERSION:
            raise LibraryError(f"{self._path} was written by a newer ttsi: use that one")
        # A writer that was killed at its very first moment leaves an empty file.
        if version == 0 and not writable:
            raise LibraryError(f"{self._path} holds no library: it is empty")
        self._tables = {table for table, since in SINCE.items() if since <= version}
        if version < VERSION and writable:
            with self._transaction():
                self._create_tables([table for table in TABLES if table not in self._tables])
            self._tables = set(TABLES)

    def _create_tables(self, tables: Sequence[str]) -> None:
        for table in tables:
            names = ", ".join(f"{column} NOT NULL" for column in TABLES[table])
            self._db.execute(f"CREATE TABLE {table} ({names}, checksum TEXT NOT NULL)")
        if "inputs" in tables:
            self._db.execute("CREATE TABLE steps (step INTEGER PRIMARY KEY, tag TEXT NOT NULL UNIQUE)")
            self._db.execute("CREATE INDEX inputs_of_tools ON inputs (tools_hash)")
            self._db.execute("CREATE INDEX evidence_of_entry ON evidence (id)")
        self._db.execute(f"PRAGMA user_version={VERSION}")

    def _check(self) -> None:
        [verdict] = self._db.execute("PRAGMA integrity_check(1)").fetchone()
        if verdict != "ok":
            raise self._damage(verdict)
        for table in TABLES:
            for _ in self.rows(table):
                pass

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        """All of the block's changes or none of them, durable when the block is left."""
        try:
            self._db.execute("BEGIN IMMEDIATE")
            yield
            self._db.execute("COMMIT")
        except BaseException:
            if self._db.in_transaction:  # on a full disk SQLite has rolled back by itself
                self._db.execute("ROLLBACK")
            raise

    @contextmanager
    def attempt(self) -> Iterator[None]:
        """Within a step: all of the block's changes, or none of them where it raises."""
        with self._named():
            self._db.execute("SAVEPOINT attempt")
        try:
            yield
        except BaseException:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK TO attempt")
            raise
        finally:
            if self._db.in_transaction:
                self._db.execute("RELEASE attempt")

    @contextmanager
    def step(self, tag: str | None) -> Iterator[int]:
        """A step in one transaction; one that was taken before under this tag is undone first, with nothing behind it.

        Without a tag it is never taken again, and its name is forgotten as soon as another one is taken.

        Raises:
            LibraryError: other steps were taken since; or the disk refuses.
        """
        with self._named(), self._transaction():
            taken = self._db.execute("SELECT step FROM steps WHERE tag = ?", (tag,)).fetchone()
            number = self.last_step() if taken is not None else self.last_step() + 1
            tag = f"{_UNNAMED}{number}" if tag is None else tag
            self._db.execute("DELETE FROM steps WHERE step < ? AND tag GLOB ?", (number, f"{_UNNAMED}*"))
            if taken is not None and taken[0] != number:
                raise LibraryError(
                    f"{self._path.parent} has learned from others since this batch was answered, so that it cannot be "
                    "answered again in the same way: start over with --clean and another --library"
                )
            for table in TABLES if taken is not None else ():
                self._db.execute(f"DELETE FROM {table} WHERE step = ?", (number,))
            self._db.execute("INSERT OR REPLACE INTO steps VALUES (?, ?)", (number, tag))
            yield number

    def last_step(self) -> int:
        """The number of the last step; 0 where there is none."""
        with self._named():
            [last] = self._db.execute("SELECT coalesce(max(step), 0) FROM steps").fetchone()
        return int(last)

    def last_tag(self) -> str:
        """The tag of the last step; "" where there is none."""
        with self._named():
            row = self._db.execute("SELECT tag FROM steps ORDER BY step DESC LIMIT 1").fetchone()
        return "" if row is None else str(row[0])

    def has_step(self, tag: str | None) -> bool:
        """Whether a step was taken under this tag."""
        with self._named():
            return self._db.execute("SELECT 1 FROM steps WHERE tag = ?", (tag,)).fetchone() is not None

    def add(self, table: str, **values: Any) -> None:
        """Append a row."""
        content = tuple(values[column] for column in TABLES[table])
        marks = ", ".join("?" * (len(content) + 1))
        with self._named():
            self._db.execute(f"INSERT INTO {table} VALUES ({marks})", (*content, _checksum(content)))

    def rows(self, table: str, **wanted: Any) -> Iterator[IndexRow]:
        """The rows of a table in the order of their writing, those with the wanted values.

        Raises:
            LibraryError: one is not as it was written.
        """
        if table not in self._tables:  # an older ttsi wrote the index, and here it is only read
            return
        condition = " AND ".join(f"{column} = ?" for column in wanted) or "1"
        with self._named():
            query = f"SELECT rowid, * FROM {table} WHERE {condition} ORDER BY rowid"
            for rowid, *content, checksum in self._db.execute(query, tuple(wanted.values())).fetchall():
                try:
                    whole = _checksum(tuple(content)) == checksum
                except TypeError:  # a damaged column may hold bytes
                    whole = False
                if not whole:
                    raise self._damage(f"row {rowid} of {table} does not match its checksum")
                yield IndexRow(rowid, dict(zip(TABLES[table], content, strict=True)))

    def count(self, table: str) -> int:
        """The number of rows of a table."""
        with self._named():
            return int(self._db.execute(f"SELECT count(*) FROM {table}").fetchone()[0])

    def has(self, table: str, **wanted: Any) -> bool:
        """Whether a table has a row with the wanted values."""
        condition = " AND ".join(f"{column} = ?" for column in wanted)
        with self._named():
            row = self._db.execute(f"SELECT 1 FROM {table} WHERE {condition} LIMIT 1", tuple(wanted.values()))
            return row.fetchone() is not None

    def bytes(self) -> int:
        """The size of the file once all that was written is in it."""
        with self._named():
            [pages], [size] = (self._db.execute(f"PRAGMA {name}").fetchone() for name in ("page_count", "page_size"))
        return int(pages * size)

    def delete(self, table: str, rowids: Sequence[int]) -> None:
        """Delete rows for good: no undoing of a step brings them back."""
        with self._named():
            self._db.executemany(f"DELETE FROM {table} WHERE rowid = ?", [(rowid,) for rowid in rowids])

    def _damage(self, what: str) -> LibraryError:
        return LibraryError(f"{self._path} is damaged ({what}): use a copy of it, or another --library")

    @contextmanager
    def _named(self) -> Iterator[None]:
        """Turn SQLite's errors into one line about the file."""
        try:
            yield
        except (sqlite3.DatabaseError, UnicodeDecodeError) as error:
            if is_disk_error(error):
                message = f"{self._path} cannot be used ({error}): free space, fix permissions, or wait for the other"
                raise LibraryError(f"{message} process") from error
            raise self._damage(str(error)) from error


def _checksum(content: tuple[Any, ...]) -> str:
    return sha256(json.dumps(content, ensure_ascii=False).encode("utf-8", "surrogatepass")).hexdigest()
