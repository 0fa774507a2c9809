"""The worker's sandbox: no network, no programs, no writes.

Inputs: nothing. Outputs: an audit hook that cannot be removed and raises `PermissionError` on a forbidden event.
"""

from __future__ import annotations

import os
import sys
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


def enter_sandbox() -> None:
    """From here on this process cannot reach the network, start a program or write a file."""
    sys.dont_write_bytecode = True

    def refuse(event: str, arguments: tuple[Any, ...]) -> None:
        if event in _BLOCKED_EVENTS or event.startswith(("os.posix_spawn", "os.spawn")):
            raise PermissionError(f"a worker must not {event}")
        if event == "open" and _is_write(*arguments):
            raise PermissionError("a worker must not write files")

    sys.addaudithook(refuse)


def _is_write(path: Any, mode: Any, flags: Any) -> bool:
    return isinstance(flags, int) and bool(flags & _WRITE_FLAGS) and path != os.devnull
