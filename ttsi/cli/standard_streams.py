"""The command's stdout, apart from what the user's own code and its programs print.

Inputs: the streams of the process. Outputs: a stream for the command's results; everything else that is written to
stdout meanwhile, by Python or by a program that a tool starts, goes to stderr. So `--json > FILE` holds JSON alone.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout, suppress
from typing import Any, TextIO

STDOUT, STDERR = 1, 2
"""File descriptors."""


class OwnStdout:
    """The stream `out` for the command's results, for as long as the block lasts."""

    def __init__(self) -> None:
        """Nothing happens before the block begins."""
        self.out: TextIO = sys.stdout
        self._original: Any = sys.stdout
        self._saved: int | None = None
        self._redirection = redirect_stdout(sys.stderr)

    def __enter__(self) -> OwnStdout:
        """Send to stderr what others write to stdout."""
        if _is_file(self._original, STDOUT) and _is_file(sys.stderr, STDERR):
            self._original.flush()
            self._saved = os.dup(STDOUT)
            os.dup2(STDERR, STDOUT)
            encoding, errors = self._original.encoding, self._original.errors
            self.out = open(os.dup(self._saved), "w", encoding=encoding, errors=errors)
        self._redirection.__enter__()
        return self

    def __exit__(self, *raised: object) -> None:
        """Give stdout back."""
        self._redirection.__exit__(None, None, None)
        if self._saved is None:
            return
        out, self.out = self.out, self._original
        try:
            out.close()  # what is left in it may meet a closed pipe
        finally:
            os.dup2(self._saved, STDOUT)
            os.close(self._saved)
            self._saved = None

    def input(self, prompt: str) -> str:
        """A line that the user types, with a history and keys that edit it wherever stdout or stderr is a terminal.

        Raises:
            EOFError: there is no more input.
        """
        with suppress(ImportError):
            import readline  # noqa: F401  input() uses it then
        with self._terminal():
            return input(prompt)

    @contextmanager
    def _terminal(self) -> Iterator[None]:
        """Stdout is a terminal meanwhile, as input() wants it, where one of the two streams is."""
        if self._saved is None:
            yield
            return
        terminal = self._saved if os.isatty(self._saved) else STDERR
        os.dup2(terminal, STDOUT)
        try:
            with redirect_stdout(self._original):
                yield
        finally:
            os.dup2(STDERR, STDOUT)


def _is_file(stream: TextIO | None, descriptor: int) -> bool:
    """Whether a stream is the process's own, and not one that a test or a notebook put in its place."""
    with suppress(OSError, ValueError, AttributeError):
        return stream is not None and stream.fileno() == descriptor
    return False
