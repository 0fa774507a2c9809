"""Errors of SQLite: those of the disk, and all others, which are those of the file.

Inputs: an error of Python's `sqlite3`. Outputs: a verdict. The owner of the file says in one line what to do.
"""

from __future__ import annotations

import sqlite3

_OF_THE_DISK = frozenset({
    sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_PERM, sqlite3.SQLITE_AUTH, sqlite3.SQLITE_NOMEM,
})  # fmt: skip


def is_disk_error(error: BaseException) -> bool:
    """Whether the disk, its permissions or another process are at fault, so that the file itself is not in doubt."""
    # Errors that Python's module raises by itself (text that is no UTF-8) carry no code.
    code = getattr(error, "sqlite_errorcode", None)
    return code is not None and code & 0xFF in _OF_THE_DISK
