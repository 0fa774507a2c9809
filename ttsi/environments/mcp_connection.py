"""A connection to an MCP server: its process, and the asynchronous client in a thread with an event loop of its own.

Inputs: the command that starts the server, and requests as method names of the client. Outputs: the server's replies
as JSON values, in the words of the protocol (`inputSchema`, `isError`). The `mcp` package is imported here only.
"""

from __future__ import annotations

import contextlib
import tempfile
import threading
import weakref
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from concurrent.futures import TimeoutError as FutureTimeout
from pathlib import Path
from typing import Any

from ttsi.environments.call_limits import exception_line
from ttsi.environments.mcp_stdout import StrayText, short_command
from ttsi.errors import ConfigError, EnvironmentFailure

LAST_WORDS = 200
"""Characters that an error quotes of the server's last line on standard error."""


class CallRefusal(Exception):
    """The server refused a request, and goes on."""


class MCPConnection:
    """A server that runs, and one session with it. After a failure every further request fails in the same way."""

    def __init__(self, command: Sequence[str], env: Mapping[str, str] | None, seconds: float) -> None:
        """Start the server and greet it.

        Raises:
            ConfigError: the mcp package is missing.
            EnvironmentFailure: the server does not start, or does not answer within `seconds`.
        """
        mcp = _import_mcp()
        self._types = mcp.types
        self.seconds = seconds
        self._failure = ""
        self.name = f'the MCP server "{short_command(command)}"'
        self._resources = contextlib.ExitStack()
        self._end = weakref.finalize(self, _close_quietly, self._resources)  # also when the program ends
        folder = self._resources.enter_context(tempfile.TemporaryDirectory(ignore_cleanup_errors=True))
        self._errors = Path(folder) / "stderr.txt"
        self._stdout = StrayText(self.name)
        parameters = mcp.StdioServerParameters(
            command=command[0],
            args=list(command[1:]),
            env=None if env is None else dict(env),
            encoding_error_handler="replace",  # a line in another encoding would end the client, without a reason
        )
        try:
            self._start(mcp, parameters)
            self._await("its first answer", self._session.initialize)
        except Exception as error:
            last_words = self._last_words()
            self._end()
            if isinstance(error, EnvironmentFailure):
                raise
            line = f"{self.name} cannot be started: {exception_line(error)}{last_words}"
            raise EnvironmentFailure(line) from error
        self._stdout.warn_from_now_on()

    def _start(self, mcp: Any, parameters: Any) -> None:
        from anyio.from_thread import start_blocking_portal

        log = self._resources.enter_context(self._errors.open("w", encoding="utf-8"))
        self._portal = self._resources.enter_context(start_blocking_portal(name="ttsi: MCP client"))
        self._resources.enter_context(self._stdout.listening(self._portal.call(threading.get_ident)))
        session = self._portal.wrap_async_context_manager(_open_session(mcp, parameters, log))
        self._session: Any = self._resources.enter_context(session)

    def ask(self, what: str, method: str, *arguments: Any) -> dict[str, Any]:
        """The reply to a request: `call_tool` with a name and arguments, or `list_tools` with a cursor or None.

        Args:
            what: is asked for, for the error.
            method: of the client's session.
            arguments: of the method.

        Raises:
            CallRefusal: the server says no, in one line.
            EnvironmentFailure: the server is gone, or does not answer in time.
        """
        if self._failure:
            raise EnvironmentFailure(self._failure)
        try:
            reply = self._await(what, self._request, method, *arguments)
        except EnvironmentFailure:
            raise
        except Exception as error:  # whatever the client raises: is the server still there?
            self._check_alive(what)
            raise CallRefusal(exception_line(error)) from error
        # By alias, as the fields' own names differ between versions of the package.
        dump: dict[str, Any] = reply.model_dump(mode="json", by_alias=True, exclude_none=True)
        return dump

    def close(self) -> None:
        """End the server's process, by force where it does not end by itself."""
        self._failure = self._failure or f"{self.name} is closed"
        self._end()

    async def _request(self, method: str, *arguments: Any) -> Any:
        if method == "call_tool":
            return await self._session.call_tool(*arguments)
        (cursor,) = arguments
        return await self._session.list_tools(params=self._types.PaginatedRequestParams(cursor=cursor))

    def _await(self, what: str, function: Callable[..., Awaitable[Any]], *arguments: Any) -> Any:
        future = self._portal.start_task_soon(function, *arguments)
        try:
            return future.result(self.seconds)
        except FutureTimeout:
            future.cancel()
            raise self._fail(f"did not answer within {self.seconds:g} s ({what})") from None

    def _check_alive(self, what: str) -> None:
        try:
            self._await(what, self._session.send_ping)
        except EnvironmentFailure:
            raise
        except Exception as error:
            raise self._fail(f"is gone ({what})") from error

    def _fail(self, words: str) -> EnvironmentFailure:
        self._failure = f"{self.name} {words}{self._last_words()}"
        return EnvironmentFailure(self._failure)

    def _last_words(self) -> str:
        """What the server wrote that nobody has seen: to stdout, and the last line on standard error."""
        try:
            lines = self._errors.read_text(encoding="utf-8", errors="replace").split("\n")
        except OSError:
            lines = []
        last = next((line.strip() for line in reversed(lines) if line.strip()), "")
        unseen = f"; it {self._stdout.unseen}" if self._stdout.unseen else ""
        return unseen + (f"; its last words: {last[:LAST_WORDS]}" if last else "")


@contextlib.asynccontextmanager
async def _open_session(mcp: Any, parameters: Any, log: Any) -> AsyncIterator[Any]:
    async with mcp.stdio_client(parameters, errlog=log) as streams, mcp.ClientSession(*streams) as session:
        yield session


def _close_quietly(resources: contextlib.ExitStack) -> None:
    with contextlib.suppress(Exception):  # a session that broke also breaks when it is left; the process ends anyway
        resources.close()


def _import_mcp() -> Any:
    try:
        import mcp
        import mcp.types
    except ImportError:
        raise ConfigError("an MCP server needs the mcp package: pip install 'ttsi[mcp]'") from None
    return mcp
