"""Rows in `run.db`: durable when written, checked when read.

Inputs: rows (an episode with its place, grades, tags and question). Outputs: the same rows, in the benchmark's order,
or an error that names the first row that is not as it was written.

* WAL mode with synchronous=FULL: a row that `put` returned from is on the disk. One row is one transaction.
* The key is (input_hash, repeat): a row written twice is the same row.
* Every row carries the SHA-256 of its content, because SQLite's pages have no checksum. Rows are read through the table
  and never through an index, so that the two cannot disagree, and a key that comes twice is damage.
* `MIGRATIONS` brings older files up to date, in order, in one transaction each. A newer file is refused. A reader must
  not write and migrates a copy in memory.
* Names inside the JSON texts stay as they were written; `ttsi.codec` reads old ones.

Grades stand beside the episode. The question is kept with its gold, so that a report can be written without the
benchmark's data; the loop never sees it.
"""

from __future__ import annotations

import json
import sqlite3
import uuid
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from hashlib import sha256
from pathlib import Path
from typing import Any

from ttsi import codec, crash_points
from ttsi.errors import RunFolderError, on_one_line
from ttsi.record import Key, Question, RunRow
from ttsi.runs.folder import START_OVER
from ttsi.sqlite_errors import is_disk_error
from ttsi.types import Episode

COLUMNS = "input_hash, repeat, position, input_id, json, grades, tags, attempts, asked"


class DamagedRecord(RunFolderError):
    """The database does not hold what was written."""

    def __init__(self, path: Path, what: str) -> None:
        super().__init__(
            f"{path} is damaged ({what}): keep the rows that are whole and go on with --resume --repair, "
            f"or {START_OVER}"
        )


def connect(path: Path) -> sqlite3.Connection:
    """Open the database for writing, made when missing, brought up to date when old.

    Raises:
        RunFolderError: it is damaged, newer than this ttsi, or the disk refuses.
    """
    with named(path):
        db = sqlite3.connect(path, isolation_level=None, timeout=30)
        try:
            crash_points.reach("database: opened")
            db.execute("PRAGMA journal_mode=WAL")
            db.execute("PRAGMA synchronous=FULL")
            migrate(db, path)
            crash_points.reach("database: migrated")
            # An index that disagrees with its table could swallow a row that is written, so writers check first.
            [verdict] = db.execute("PRAGMA integrity_check(1)").fetchone()
            if verdict != "ok":
                raise DamagedRecord(path, verdict)
        except BaseException:
            db.close()
            raise
    return db


def disconnect(db: sqlite3.Connection) -> None:
    """Close it, and leave one file that can be read anywhere, from a read-only folder too."""
    # While a reader is connected, or on a full disk, the journal stays beside the file, which is as good.
    with suppress(sqlite3.Error):
        db.execute("PRAGMA journal_mode=DELETE")
    db.close()


@contextmanager
def reading(path: Path) -> Iterator[sqlite3.Connection]:
    """The database for reading, up to date and never written; an older one is migrated in memory.

    Raises:
        RunFolderError: it is damaged, newer than this ttsi, or cannot be opened.
    """
    uri = f"{path.absolute().as_uri()}?mode=ro"
    with named(path), closing(sqlite3.connect(uri, uri=True, timeout=30)) as db:
        if _version(db, path) == len(MIGRATIONS):
            yield db
            return
        with closing(sqlite3.connect(":memory:", isolation_level=None)) as copy:
            db.backup(copy)
            migrate(copy, path)
            yield copy


def run_id(db: sqlite3.Connection) -> str:
    """A random name for this run, made when it is first asked for."""
    db.execute("INSERT OR IGNORE INTO meta VALUES ('run_id', ?)", (uuid.uuid4().hex,))
    return str(db.execute("SELECT value FROM meta WHERE key = 'run_id'").fetchone()[0])


def put(db: sqlite3.Connection, row: RunRow, *, replace: bool = False) -> None:
    """Write one row; a row that exists already is left as it is, or replaced.

    Raises:
        ValueError: the episode holds a number that JSON cannot.
    """
    text, grades, tags = codec.dumps(row.episode), codec.canonical(row.grades), codec.canonical(dict(row.tags))
    question = None if row.question is None else codec.dumps(row.question)
    content = (*row.key, row.position, row.episode.input_id, text, grades, tags, row.attempts, question)
    db.execute(
        f"INSERT OR {'REPLACE' if replace else 'IGNORE'} INTO episodes ({COLUMNS}, checksum) "
        "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (*content, checksum(content)),
    )


def each(db: sqlite3.Connection, path: Path) -> Iterator[RunRow]:
    """Every row in the benchmark's order, one at a time.

    Raises:
        DamagedRecord: a row is not as it was written, or comes twice.
        RunFolderError: a row was written by a ttsi that this one cannot read.
    """
    seen: set[Key] = set()
    with named(path):
        # Only the numbers are sorted; whole rows would be spilled to temporary files.
        ids = [i for i, *_ in db.execute("SELECT rowid, position, repeat FROM episodes ORDER BY position, repeat")]
        for i in ids:
            columns = db.execute(f"SELECT {COLUMNS}, checksum FROM episodes WHERE rowid = ?", (i,)).fetchone()
            owner = "a row" if columns is None else f"the row of input {columns[3]!r}"
            row = decode_row(columns, path)
            if row is None:
                raise DamagedRecord(path, f"{owner} does not match its checksum")
            if row.key in seen:
                raise DamagedRecord(path, f"the row of input {row.episode.input_id!r} comes twice")
            seen.add(row.key)
            yield row


def decode_row(columns: tuple[Any, ...] | None, path: Path) -> RunRow | None:
    """A row from its columns and checksum, or None where they do not belong together.

    Raises:
        RunFolderError: they do, but the row is of another version; the line names the file `path`.
    """
    if columns is None:
        return None
    *content, expected = columns
    try:
        if checksum(tuple(content)) != expected:
            return None
    except TypeError:  # a damaged column may hold bytes
        return None
    _, repeat, position, input_id, text, grades, tags, attempts, question_text = content
    try:
        question = None if question_text is None else codec.loads(Question, question_text)
        episode = codec.loads(Episode, text)
        return RunRow(episode, repeat, position, json.loads(grades), json.loads(tags), attempts, question)
    except ValueError as error:
        owner = f"the row of input {input_id!r} ({on_one_line(error)})"
        raise RunFolderError(
            f"{path} has a row that this ttsi cannot read, {owner}: use the ttsi that wrote it"
        ) from None


def checksum(content: tuple[Any, ...]) -> str:
    """SHA-256 (hex) of a row's columns."""
    return sha256(json.dumps(content, ensure_ascii=False).encode("utf-8", "surrogatepass")).hexdigest()


@contextmanager
def transaction(db: sqlite3.Connection) -> Iterator[None]:
    """All of the block's changes or none of them, durable when the block is left."""
    db.execute("BEGIN IMMEDIATE")
    try:
        yield
        db.execute("COMMIT")
    except BaseException:
        if db.in_transaction:  # on a full disk SQLite has rolled back by itself
            db.execute("ROLLBACK")
        raise


@contextmanager
def named(path: Path) -> Iterator[None]:
    """Turn SQLite's errors into one line about the file."""
    try:
        yield
    except (sqlite3.DatabaseError, UnicodeDecodeError) as error:
        if is_disk_error(error):
            raise RunFolderError(
                f"{path} cannot be used ({error}): recorded inputs are kept; free space or fix permissions, "
                "then go on with --resume"
            ) from error
        raise DamagedRecord(path, str(error)) from error


def _version(db: sqlite3.Connection, path: Path) -> int:
    """How many migrations the file has had."""
    tables = {name for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    if not tables:
        return 0  # made, but killed before the first commit
    entry = db.execute("SELECT value FROM meta WHERE key = 'schema'").fetchone() if "meta" in tables else None
    if entry is None or not str(entry[0]).isdigit():
        raise DamagedRecord(path, "it is no record of a run")
    version = int(entry[0])
    if version > len(MIGRATIONS):
        raise RunFolderError(
            f"{path} has schema {version} and this ttsi reads up to {len(MIGRATIONS)}: use the ttsi that wrote it"
        )
    return version


def migrate(db: sqlite3.Connection, path: Path) -> None:
    """Bring a database up to date.

    Raises:
        RunFolderError: it is newer than this ttsi, or no record of a run.
    """
    for number in range(_version(db, path), len(MIGRATIONS)):
        with transaction(db):
            MIGRATIONS[number](db)
            db.execute("INSERT OR REPLACE INTO meta VALUES ('schema', ?)", (str(number + 1),))


def _m001_episodes(db: sqlite3.Connection) -> None:
    db.execute("CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL)")
    db.execute(
        "CREATE TABLE episodes (input_hash TEXT NOT NULL, repeat INTEGER NOT NULL, "
        "position INTEGER NOT NULL, input_id TEXT NOT NULL, json TEXT NOT NULL, grades TEXT NOT NULL, "
        "tags TEXT NOT NULL, checksum TEXT NOT NULL, PRIMARY KEY (input_hash, repeat))"
    )


def _m002_attempts_and_questions(db: sqlite3.Connection) -> None:
    """Count attempts, and keep the question, both inside the row's checksum."""
    db.execute("ALTER TABLE episodes ADD COLUMN attempts INTEGER NOT NULL DEFAULT 1")
    db.execute("ALTER TABLE episodes ADD COLUMN asked TEXT")
    old = "input_hash, repeat, position, input_id, json, grades, tags"
    questions = _separate_questions(db)
    for (i,) in db.execute("SELECT rowid FROM episodes").fetchall():
        *content, stored = db.execute(f"SELECT {old}, checksum FROM episodes WHERE rowid = ?", (i,)).fetchone()
        question, expected = questions.get((content[0], content[1]), (None, None))
        whole = question is None or checksum((content[0], content[1], question)) == expected
        # A row that was damaged before stays damaged.
        if whole and checksum(tuple(content)) == stored:
            new = checksum((*content, 1, question))
            db.execute("UPDATE episodes SET asked = ?, checksum = ? WHERE rowid = ?", (question, new, i))
    db.execute("DROP TABLE IF EXISTS asked")


def _separate_questions(db: sqlite3.Connection) -> dict[Key, tuple[str, str]]:
    """Questions and their checksums; the last files of the first version had them in a table of their own."""
    if not db.execute("SELECT 1 FROM sqlite_master WHERE name = 'asked'").fetchone():
        return {}
    rows = db.execute("SELECT input_hash, repeat, json, checksum FROM asked")
    return {(key, repeat): (text, expected) for key, repeat, text, expected in rows}


MIGRATIONS = (_m001_episodes, _m002_attempts_and_questions)
"""Applied once each, in this order; append only."""
