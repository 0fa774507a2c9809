"""Where is a run kept, so that killing it loses nothing?

A run folder: `run.db` (SQLite), `config.json` (everything resolved) and, written last, `summary.json`. Inputs: a
folder, the run's configuration, and episodes one by one. Outputs: the same episodes again, after any crash.

* One episode is one transaction in WAL mode with synchronous=FULL: what `record` returned from is on the disk.
* A row's key is (input_hash, repeat): a row written twice is the same row. Totals are counted from rows, never kept.
* Every row carries the SHA-256 of its content, checked when it is read; SQLite's pages have no checksum.
* One writer at a time: `run.lock` is locked by the operating system, so a killed writer leaves no stale lock. It holds
  the writer's process id. (Where there are no POSIX locks only the file is written.)

Not in the paper (arXiv:2510.07841). Grades stand beside the episode. What was asked and its gold answer are kept in a
table of their own, so that a report can be written where the benchmark's data are not; a run never reads it.
"""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from types import TracebackType
from typing import IO, Any

from ttsi.benchmarks import Sample
from ttsi.errors import RunFolderError
from ttsi.runs import codec
from ttsi.types import Episode

SCHEMA = 1
FILES = ("run.db", "run.db-wal", "run.db-shm", "config.json", "summary.json")
PARTS = ("config.json.part", "summary.json.part")
"""Files that a crash may leave half written; they mean nothing."""
LOCK = "run.lock"
NOT_COMPARED = frozenset({"machine", "settings.data_dir"})
"""Fields of the configuration that may differ when a run is resumed: where it runs does not change what it is."""

Grades = Mapping[str, Mapping[str, bool]]
"""Rule -> {"base": right?, "adapted": right?}."""


@dataclass(frozen=True)
class Row:
    """One episode with what the graders said."""

    episode: Episode
    repeat: int
    """0 for an input's first occurrence in the benchmark, 1 for the second with the same content, ..."""
    position: int
    """Place in the benchmark, from 0."""
    grades: Grades | None = None
    """None where the input has no gold."""
    tags: Mapping[str, str] = field(default_factory=dict)
    asked: Sample | None = None
    """The input and its gold, for the reader of a report; None in folders that older versions wrote."""

    @property
    def key(self) -> tuple[str, int]:
        """(input_hash, repeat)."""
        return self.episode.input_hash, self.repeat


class Store:
    """An open run folder; the only writer of it. Use it in a `with` block."""

    def __init__(self, folder: Path, lock: IO[str]) -> None:
        """Open the database, made when missing. Called by `open_run`, which holds the lock."""
        self.folder = folder
        self._lock = lock
        self._db = _connect(folder / "run.db")

    def __enter__(self) -> Store:
        """The store itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close it."""
        self.close()

    def close(self) -> None:
        """Close the database and let the lock go."""
        self._db.close()
        self._lock.close()

    def record(self, row: Row) -> None:
        """Write one row durably; a row that is there already is left as it is.

        Raises:
            ValueError: the episode holds a number that JSON cannot.
            RunFolderError: the disk is full or the database damaged.
        """
        text, grades, tags = codec.dumps(row.episode), codec.canonical(row.grades), codec.canonical(dict(row.tags))
        content = (row.episode.input_hash, row.repeat, row.position, row.episode.input_id, text, grades, tags)
        with _sqlite_named(self.folder / "run.db"), self._db:
            self._db.execute(
                "INSERT OR IGNORE INTO episodes VALUES (?, ?, ?, ?, ?, ?, ?, ?)", (*content, _checksum(content))
            )
            if row.asked is not None:
                asked = (*row.key, codec.dumps(row.asked))
                self._db.execute("INSERT OR IGNORE INTO asked VALUES (?, ?, ?, ?)", (*asked, _checksum(asked)))

    def done(self) -> frozenset[tuple[str, int]]:
        """Keys of the rows that are written."""
        return frozenset(self._db.execute("SELECT input_hash, repeat FROM episodes"))

    def rows(self) -> list[Row]:
        """Every row in the benchmark's order.

        Raises:
            RunFolderError: a row is damaged.
        """
        return list(_read_rows(self._db, self.folder))

    def finish(self, summary: Mapping[str, Any]) -> None:
        """Write summary.json, which says that the run is complete."""
        write_json(self.folder / "summary.json", summary)


def open_run(folder: Path, config: Mapping[str, Any], *, resume: bool = False, clean: bool = False) -> Store:
    """Open a folder for a run, as its only writer.

    Args:
        folder: made when missing.
        config: everything that the run's results depend on, as JSON values.
        resume: go on with a run of the same configuration.
        clean: delete the run that is there first.

    Raises:
        RunFolderError: the folder is used, damaged, locked, or of another run; one line saying what to do.
    """
    check_free(folder, resume=resume, clean=clean)
    folder.mkdir(parents=True, exist_ok=True)
    lock = _take_lock(folder)
    try:
        # Again, now that nobody else can write: another run may have begun in between.
        check_free(folder, resume=resume, clean=clean)
        if clean:
            _delete_run(folder)
        if resume and used(folder):
            _check_same(folder, config)
        else:
            write_json(folder / "config.json", config)
        return Store(folder, lock)
    except BaseException:
        lock.close()
        raise


def used(folder: Path) -> bool:
    """Is there a run in the folder, finished or not?"""
    return any((folder / name).exists() for name in FILES)


def check_free(folder: Path, *, resume: bool, clean: bool) -> None:
    """May a run be written here?

    Raises:
        RunFolderError: it may not; one line saying what to do.
    """
    if resume and clean:
        raise RunFolderError("--resume goes on and --clean starts over: choose one")
    if folder.exists() and not folder.is_dir():
        raise RunFolderError(f"{folder} is a file: choose another --output-dir")
    if used(folder):
        if not resume and not clean:
            raise RunFolderError(f"{folder} already holds a run: go on with --resume, or start over with --clean")
    elif folder.exists() and any(entry.name not in (LOCK, *PARTS) for entry in folder.iterdir()):
        raise RunFolderError(f"{folder} holds other files and no run: choose an empty or new --output-dir")


def read_rows(folder: Path) -> list[Row]:
    """Every row of a run folder, read without the writer's lock.

    Raises:
        RunFolderError: there is no run here, or it is damaged.
    """
    if not (folder / "run.db").is_file():
        raise RunFolderError(f"{folder} holds no run (no run.db)")
    db = _connect(folder / "run.db", read_only=True)
    try:
        return list(_read_rows(db, folder))
    finally:
        db.close()


def read_json(path: Path) -> dict[str, Any]:
    """config.json or summary.json of a run folder.

    Raises:
        RunFolderError: it is missing or damaged.
    """
    try:
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RunFolderError(f"{path} cannot be read ({error}): start over with --clean") from None
    return content


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write a file so that a crash leaves the old one or the new one, never half of it.

    Raises:
        ValueError: it holds a number that is not finite.
    """
    text = json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    temporary = path.with_name(f"{path.name}.part")
    with temporary.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
    _sync_folder(path.parent)


def differences(old: Any, new: Any, path: str = "") -> list[str]:
    """The dotted fields in which two configurations differ, with both values.

    >>> differences({"a": {"b": 1}}, {"a": {"b": 2}})
    ['a.b: 1 -> 2']
    """
    if path in NOT_COMPARED:
        return []
    if isinstance(old, dict) and isinstance(new, dict):
        keys = sorted(old.keys() | new.keys())
        inner = [(f"{path}.{key}" if path else key, key) for key in keys]
        return [line for name, key in inner for line in differences(old.get(key), new.get(key), name)]
    return [] if old == new else [f"{path}: {json.dumps(old)} -> {json.dumps(new)}"]


def _check_same(folder: Path, config: Mapping[str, Any]) -> None:
    old = read_json(folder / "config.json")
    # Through JSON, so that tuples and lists compare as they are stored.
    changed = differences(old, json.loads(json.dumps(config)))
    if changed:
        raise RunFolderError(
            f"{folder} is another run, it differs in {'; '.join(changed)}: use the same settings, or --clean"
        )


def _delete_run(folder: Path) -> None:
    # The summary goes first: while it is there the run counts as finished.
    for name in (*reversed(FILES), *PARTS):
        (folder / name).unlink(missing_ok=True)
    _sync_folder(folder)


def _take_lock(folder: Path) -> IO[str]:
    file = (folder / LOCK).open("a+", encoding="utf-8")
    if os.name == "posix":
        import fcntl

        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            file.seek(0)
            owner = file.read().strip() or "unknown"
            file.close()
            raise RunFolderError(
                f"{folder} is being written by process {owner}: wait for it, or choose another --output-dir"
            ) from None
    file.truncate(0)
    file.write(f"{os.getpid()}\n")
    file.flush()
    return file


def _sync_folder(folder: Path) -> None:
    if os.name != "posix":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def _sqlite_named(place: Path) -> Iterator[None]:
    try:
        yield
    except sqlite3.OperationalError as error:
        raise RunFolderError(f"{place} cannot be used: {error}") from None
    except sqlite3.DatabaseError as error:
        raise RunFolderError(f"{place} is damaged ({error}): start over with --clean") from None


def _connect(path: Path, *, read_only: bool = False) -> sqlite3.Connection:
    with _sqlite_named(path):
        mode = "ro" if read_only else "rwc"
        db = sqlite3.connect(f"{path.absolute().as_uri()}?mode={mode}", uri=True, timeout=30)
        if not read_only:
            _create_tables(db)
        found = db.execute("SELECT value FROM meta WHERE key = 'schema'").fetchone()
    version = found[0] if found else "none"
    if version != str(SCHEMA):
        db.close()
        raise RunFolderError(f"{path} has schema {version} and this ttsi reads {SCHEMA}: use the ttsi that wrote it")
    return db


def _create_tables(db: sqlite3.Connection) -> None:
    db.execute("PRAGMA journal_mode=WAL")
    db.execute("PRAGMA synchronous=FULL")
    with db:
        db.execute("CREATE TABLE IF NOT EXISTS meta (key TEXT PRIMARY KEY, value TEXT NOT NULL)")
        db.execute(
            "CREATE TABLE IF NOT EXISTS episodes (input_hash TEXT NOT NULL, repeat INTEGER NOT NULL, "
            "position INTEGER NOT NULL, input_id TEXT NOT NULL, json TEXT NOT NULL, grades TEXT NOT NULL, "
            "tags TEXT NOT NULL, checksum TEXT NOT NULL, PRIMARY KEY (input_hash, repeat))"
        )
        db.execute(
            "CREATE TABLE IF NOT EXISTS asked (input_hash TEXT NOT NULL, repeat INTEGER NOT NULL, json TEXT NOT NULL, "
            "checksum TEXT NOT NULL, PRIMARY KEY (input_hash, repeat))"
        )
        db.execute("INSERT OR IGNORE INTO meta VALUES ('schema', ?)", (str(SCHEMA),))


def _read_rows(db: sqlite3.Connection, folder: Path) -> Iterator[Row]:
    columns = "input_hash, repeat, position, input_id, json, grades, tags, checksum"
    with _sqlite_named(folder / "run.db"):
        found = db.execute(f"SELECT {columns} FROM episodes ORDER BY position, repeat").fetchall()
        asked = _read_asked(db)
    for *content, checksum in found:
        key, question = (content[0], content[1]), asked.get((content[0], content[1]))
        if _checksum(tuple(content)) != checksum or (question and _checksum((*key, question[0])) != question[1]):
            raise RunFolderError(
                f"{folder / 'run.db'} is damaged: the row of input {content[3]!r} does not match its checksum; "
                "start over with --clean"
            )
        _, repeat, position, _, text, grades, tags = content
        sample = codec.loads(Sample, question[0]) if question else None
        yield Row(codec.loads(Episode, text), repeat, position, json.loads(grades), json.loads(tags), sample)


def _read_asked(db: sqlite3.Connection) -> dict[tuple[str, int], tuple[str, str]]:
    """(input_hash, repeat) -> (JSON, checksum)."""
    if not db.execute("SELECT 1 FROM sqlite_master WHERE name = 'asked'").fetchone():
        return {}
    found = db.execute("SELECT input_hash, repeat, json, checksum FROM asked")
    return {(key, repeat): (text, checksum) for key, repeat, text, checksum in found}


def _checksum(content: tuple[Any, ...]) -> str:
    return sha256(json.dumps(content, ensure_ascii=False).encode()).hexdigest()
