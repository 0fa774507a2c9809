"""Files that a crash leaves old or new, never half written, and files that one process locks.

Inputs: a path, and its new content. Outputs: the file, or a lock on it. The content goes to `NAME.part` beside it and
is synced to the disk; one rename puts it in place, and the folder is synced. After the call the new file survives a
crash.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

Step = Callable[[str], None]
"""Called with the name of each step; a test stops or kills the process there."""


def _pass_by(step: str) -> None:
    pass


def write_atomically(path: Path, content: str | bytes, *, at: Step = _pass_by) -> None:
    """Replace a file by one with this content; text is written as UTF-8.

    Raises:
        OSError: the disk is full or read-only; the old file is still there.
    """
    data = content.encode() if isinstance(content, str) else content
    with replacement(path, at=at) as part, part.open("wb") as file:
        file.write(data[: len(data) // 2])
        at("half written")
        file.write(data[len(data) // 2 :])


@contextmanager
def replacement(path: Path, *, at: Step = _pass_by) -> Iterator[Path]:
    """The path of a new file, which takes the place of `path` when the block ends; an error leaves the old one.

    Raises:
        OSError: the disk is full or read-only.
    """
    part = path.with_name(f"{path.name}.part")
    try:
        yield part
        with part.open("r+b") as file:
            os.fsync(file.fileno())
        at("not yet renamed")
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
    at("not yet synced")
    sync_folder(path.parent)
    at("synced")


def sync_folder(folder: Path) -> None:
    """Make renames and deletions in a folder durable."""
    if os.name != "posix":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class FileLocked(Exception):
    """Another process holds the lock; `owner` is its process id, or "unknown"."""

    def __init__(self, owner: str) -> None:
        super().__init__(owner)
        self.owner = owner


def lock_file(path: Path) -> IO[str]:
    """Take the lock on a file, made when missing, for as long as it is open.

    The operating system holds the lock, so a killed process leaves none behind. The file holds the process id, for the
    message to the next one.

    Raises:
        FileLocked: another process holds it.
        OSError: the disk is full or read-only.
    """
    file = path.open("a+", encoding="utf-8")
    try:
        if os.name == "posix":  # elsewhere the file is written, but locks nothing
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        file.truncate(0)
        file.write(f"{os.getpid()}\n")
        file.flush()
    except BlockingIOError:
        file.seek(0)
        owner = file.read().strip() or "unknown"
        file.close()
        raise FileLocked(owner) from None
    except BaseException:
        file.close()
        raise
    return file
