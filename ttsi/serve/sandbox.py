"""The worker's sandbox: no network, no programs, no writes outside the folder of its libraries.

Inputs: that folder, where there is one. Outputs: an audit hook that cannot be removed and raises `PermissionError` on a
forbidden event.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

_BLOCKED_EVENTS = (
    "socket.connect",
    "socket.getaddrinfo",
    "socket.bind",
    "subprocess.Popen",
    "os.system",
    "os.exec",
    "os.fork",
)
_WRITE_FLAGS = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


def enter_sandbox(writable: Path | None = None) -> None:
    """From here on this process cannot reach the network, start a program or write a file.

    Args:
        writable: the one folder in which it may write; None is none.
    """
    sys.dont_write_bytecode = True
    folder = None if writable is None else writable.resolve()

    def refuse(event: str, arguments: tuple[Any, ...]) -> None:
        if event in _BLOCKED_EVENTS or event.startswith(("os.posix_spawn", "os.spawn")):
            raise PermissionError(f"a worker must not {event}")
        if event == "open" and _is_write(*arguments) and not _is_inside(arguments[0], folder):
            raise PermissionError("a worker must not write files")

    sys.addaudithook(refuse)


def _is_write(path: Any, mode: Any, flags: Any) -> bool:
    return isinstance(flags, int) and bool(flags & _WRITE_FLAGS) and path != os.devnull


def _is_inside(path: Any, folder: Path | None) -> bool:
    """Whether a path lies in the folder, links followed."""
    return folder is not None and isinstance(path, str | os.PathLike) and Path(path).resolve().is_relative_to(folder)
