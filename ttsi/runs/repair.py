"""Repair of a damaged database.

Inputs: a run folder. Outputs: a `run.db` that holds every row which can be read and whose checksum fits, and the number
of those; the damaged file stays beside it as `run.db.damaged`. Inputs whose rows were lost are run again. A teacher's
replies lie in a file of their own (`ttsi.models.ledger`) and are not lost with them.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

from ttsi import crash_points
from ttsi.atomic import sync_folder
from ttsi.runs import database
from ttsi.runs.folder import DATABASE


def repair(folder: Path) -> int:
    """Replace run.db by a new one with its whole rows.

    Returns:
        The number of those rows.

    Raises:
        RunFolderError: the database is newer than this ttsi, or the disk refuses.
    """
    old, new = folder / "run.db", folder / "run.db.part"
    for name in (new.name, f"{new.name}-journal"):
        (folder / name).unlink(missing_ok=True)
    # Not in WAL mode: the new file must be one file, so that one rename puts it in place.
    with database.named(new), closing(sqlite3.connect(new, isolation_level=None)) as target:
        database.migrate(target, new)
        kept = _copy(old, target)
    crash_points.reach("repair: copied")
    # A copy and not the file itself: until the rename below, run.db stays where it is.
    (folder / "run.db.damaged").write_bytes(old.read_bytes())
    for name in DATABASE[1:]:  # the old journal must not be replayed into the new file
        (folder / name).unlink(missing_ok=True)
    new.replace(old)
    sync_folder(folder)
    crash_points.reach("repair: replaced")
    return kept


def _copy(old: Path, target: sqlite3.Connection) -> int:
    kept = 0
    # Plain sqlite3 and not `database.connect`, which would refuse.
    with closing(sqlite3.connect(old, isolation_level=None)) as source, database.transaction(target):
        # An older record is brought up to date; where the damage forbids it, nothing can be read either.
        with suppress(sqlite3.DatabaseError, UnicodeDecodeError, database.DamagedRecord):
            database.migrate(source, old)
        for columns in _readable(source):
            row = database.decode_row(columns, old)
            if row is not None:
                database.put(target, row)
                kept += 1
    return kept


def _readable(source: sqlite3.Connection) -> Iterator[tuple[Any, ...]]:
    """Every row that SQLite can still find, from the front and then from the back."""
    for order in ("ASC", "DESC"):
        try:
            yield from source.execute(f"SELECT {database.COLUMNS}, checksum FROM episodes ORDER BY rowid {order}")
        except (sqlite3.DatabaseError, UnicodeDecodeError):
            continue  # rows behind this page cannot be reached in this direction
        return
