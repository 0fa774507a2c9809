"""Text that an MCP server writes to standard output outside the protocol: the commonest mistake in such servers.

Inputs: the command that started the server, and the records that the `mcp` package logs for lines it cannot read.
Outputs: one warning that quotes the text, in place of a traceback for each line; the server's name for errors.
"""

from __future__ import annotations

import json
import logging
import shlex
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from pydantic import ValidationError

COMMAND_START, COMMAND_END = 30, 60
"""Characters that stay of a long command: the program, and the end, where two servers of one program differ."""
QUOTED = 100
"""Characters of a line that are quoted."""
CLIENT_LOG = "mcp.client.stdio"
"""The logger to which the `mcp` package writes a traceback for each line that it cannot read."""

log = logging.getLogger(__name__)


class StrayText(logging.Filter):
    """Lines of one server that are not of the protocol, taken out of the client's log.

    The first is warned of, further ones are events. Until the server has started nothing is said, as the reason why it
    did not start names the line.
    """

    def __init__(self, server: str) -> None:
        super().__init__()
        self.unseen = ""
        """What the server did, where it was not said yet."""
        self._server = server
        self._thread: int | None = None
        self._level: int | None = None
        self._lock = threading.Lock()
        """The client's thread reads lines while the user's thread learns that the server has started."""

    @contextmanager
    def listening(self, thread: int) -> Iterator[None]:
        """Take the lines out of the log for as long as the block lasts.

        Args:
            thread: the client's; records of other threads are of another server, or of the user's own client.
        """
        self._thread = thread
        logger = logging.getLogger(CLIENT_LOG)
        logger.addFilter(self)
        try:
            yield
        finally:
            logger.removeFilter(self)

    def warn_from_now_on(self) -> None:
        """The server has started: say what it wrote so far, and what it will write."""
        with self._lock:
            self._level, unseen, self.unseen = logging.WARNING, self.unseen, ""
            if unseen:
                self._say(self._level, unseen)

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether a record stays in the client's log."""
        error = record.exc_info[1] if record.exc_info else None
        if record.thread != self._thread or not isinstance(error, ValidationError):
            return True
        words = f"wrote {_quotation(error)} to stdout, where only the protocol belongs: have it write to stderr"
        with self._lock:
            if self._level is None:
                self.unseen = self.unseen or words
            else:
                self._say(self._level, words)
        return False

    def _say(self, level: int, words: str) -> None:
        log.log(level, "%s %s", self._server, words)
        self._level = logging.INFO


def short_command(command: Sequence[str]) -> str:
    """A command on one line, without its middle where it is long.

    >>> short_command(["python", "my server.py"])
    "python 'my server.py'"
    >>> short_command(["python", "-c", "x" * 200, "--port", "7"])
    'python -c xxxxxxxxxxxxxxxxxxxx ... xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx --port 7'
    """
    text = " ".join(shlex.join(command).split())
    if len(text) <= COMMAND_START + COMMAND_END + len(" ... "):
        return text
    return f"{text[:COMMAND_START]} ... {text[-COMMAND_END:]}"


def _quotation(error: ValidationError) -> str:
    """The line that could not be read."""
    whole = min(error.errors(include_url=False), key=lambda part: len(part["loc"]))["input"]
    text = whole.strip() if isinstance(whole, str) else json.dumps(whole, ensure_ascii=False, default=str)
    return repr(text if len(text) <= QUOTED else f"{text[:QUOTED]}...") if text else "an empty line"
