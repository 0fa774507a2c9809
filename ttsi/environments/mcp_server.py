"""A server of the Model Context Protocol (MCP) as an agent's environment, over standard input and output.

Inputs: the command that starts the server, and the user's turns. Outputs: `MCPEnvironment`, whose tools are those of
the server. It needs the `mcp` package (`pip install 'ttsi[mcp]'`). The paper (arXiv:2510.07841) executes nothing.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from copy import copy
from types import TracebackType
from typing import Any, Literal

from ttsi.chat.tool_schema import tool_from_openai
from ttsi.environments.call_limits import CallLimits
from ttsi.environments.functions import check_safe_to_repeat, conversation_turns
from ttsi.environments.mcp_connection import CallRefusal, MCPConnection
from ttsi.errors import ConfigError, DataError, EnvironmentFailure, NotRepeatable, unknown_name
from ttsi.types import Message, Tool, ToolCall, ToolResult

MOST_PAGES = 100
"""Pages of tools that are read; a server with more is one that never comes to an end."""
MOST_NAMES = 12
"""Names of tools in one line."""


class MCPEnvironment:
    """The tools of an MCP server, which runs from the making of this object to `close`, and a user's fixed turns.

    It is a context manager: `with MCPEnvironment(...) as environment`. What is not closed ends with the program.
    """

    def __init__(
        self,
        command: Sequence[str],
        turns: Iterable[str | Message | Sequence[Message]] = (),
        *,
        system: str = "",
        env: Mapping[str, str] | None = None,
        safe_to_repeat: bool | Literal["read-only"] | Collection[str] = False,
        seconds: float = 30.0,
    ) -> None:
        """Start the server and read its tools.

        Args:
            command: program and arguments, such as `["python", "server.py"]`.
            turns: what the user says, turn by turn: a text, a message, or several messages.
            system: text of a system message before the first turn; "" is none.
            env: environment variables of the server, beside the few (PATH, HOME, ...) that it inherits.
            safe_to_repeat: the names of the tools that a copy may call, as they change nothing that lasts: True is all,
                "read-only" those that the server marks by `readOnlyHint`, False none, so that there are no copies.
            seconds: how long the server may take to answer.

        Raises:
            ConfigError: the mcp package is missing, or an argument cannot be right.
            EnvironmentFailure: the server does not start, or does not answer.
        """
        parts = command if isinstance(command, Sequence) and not isinstance(command, str) else ()
        if not parts or not all(isinstance(part, str) for part in parts):
            raise ConfigError('the command of an MCP server is a list of texts, such as ["python", "server.py"]')
        check_safe_to_repeat(safe_to_repeat, also="read-only")
        if env is not None and not (isinstance(env, Mapping) and all(isinstance(one, str) for one in env.values())):
            raise ConfigError('env must be a dictionary of texts, such as {"TOKEN": "..."}')
        if not CallLimits(seconds=seconds).seconds:  # which refuses what is out of range
            raise ConfigError("seconds of an MCP server must be above 0: without a limit a mute one is waited for")
        self._turns = conversation_turns(turns, system)
        self._next = 0
        self._safe_to_repeat = safe_to_repeat
        self._is_copy = False
        self._listing: dict[str, Mapping[str, Any]] = {}
        self._connection = MCPConnection(command, env, seconds)
        try:
            self._check_safe_names(self.tools())
        except BaseException:
            self._connection.close()
            raise

    def __enter__(self) -> MCPEnvironment:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the server's process. On a copy, which shares the server, this does nothing."""
        if not self._is_copy:
            self._connection.close()

    def tools(self) -> Sequence[Tool]:
        """The tools that the server lists now.

        Raises:
            EnvironmentFailure: the server is gone or does not answer, or a tool cannot be used.
        """
        listing = self._read_listing()
        try:
            tools = tuple(tool_from_openai(_openai_tool(entry)) for entry in listing)
        except DataError as error:
            raise EnvironmentFailure(f"{self._connection.name} has a tool that cannot be used: {error}") from error
        self._listing = {tool.name: entry for tool, entry in zip(tools, listing, strict=True)}
        return tools

    def next_turn(self) -> Sequence[Message] | None:
        """The messages of the next turn; None is the end."""
        if self._next == len(self._turns):
            return None
        self._next += 1
        return self._turns[self._next - 1]

    def execute(self, call: ToolCall) -> ToolResult:
        """Have the server execute a call; what it refuses is a result with `error`.

        Raises:
            NotRepeatable: this is a copy, and the tool is not safe to repeat.
            EnvironmentFailure: the server is gone, or does not answer in time.
        """
        if call.name not in self._listing:
            self.tools()  # the server may have new ones
        if call.name not in self._listing:
            return ToolResult(unknown_name("tool", call.name, self._listing), error=True)
        if self._is_copy and call.name not in self._safe_names():
            words = "may act on the world: it was not called, because this is a copy of the environment"
            raise NotRepeatable(f"{call.name} {words}")
        try:
            reply = self._connection.ask(f"the call of {call.name}", "call_tool", call.name, dict(call.arguments))
        except CallRefusal as refusal:
            return ToolResult(str(refusal), error=True)
        return ToolResult(_text(reply), error=bool(reply.get("isError")))

    def copy(self) -> MCPEnvironment:
        """A copy at the same turn, which asks the same server and calls only what is safe to repeat.

        Raises:
            EnvironmentFailure: no tool is safe to repeat: the state of a server cannot be copied.
        """
        if not self._safe_names():
            raise EnvironmentFailure(self._no_copy())
        twin = copy(self)
        twin._is_copy = True
        return twin

    def _no_copy(self) -> str:
        """Why there is no copy, and what to do about it."""
        marked = [name for name, entry in self._listing.items() if _is_read_only(entry)]
        if marked and not self._safe_to_repeat:
            way = '--safe-to-repeat read-only (in Python safe_to_repeat="read-only") allows those that it marks so'
            return f"the state of an MCP server cannot be copied: {way}: {_name_list(marked)}"
        by_marks = self._safe_to_repeat == "read-only"
        why = "the server marks no tool as read-only" if by_marks else "the state of an MCP server cannot be copied"
        way = "name those that change nothing, --safe-to-repeat NAME,NAME (in Python safe_to_repeat), out of"
        return f"{why}: {way} {_name_list(list(self._listing))}" if self._listing else f"{why}: it has no tools"

    def _safe_names(self) -> frozenset[str]:
        safe = self._safe_to_repeat
        if isinstance(safe, bool):
            return frozenset(self._listing if safe else ())
        if safe == "read-only":
            return frozenset(name for name, entry in self._listing.items() if _is_read_only(entry))
        return frozenset(safe)

    def _check_safe_names(self, tools: Sequence[Tool]) -> None:
        names = [tool.name for tool in tools]
        for name in sorted(self._safe_names().difference(names)):
            raise ConfigError(f"safe_to_repeat (--safe-to-repeat): {unknown_name('tool', name, names)}")

    def _read_listing(self) -> list[dict[str, Any]]:
        """What the server says about its tools, from all pages."""
        listing: list[dict[str, Any]] = []
        cursor: str | None = None
        for _ in range(MOST_PAGES):
            try:
                page = self._connection.ask("the list of tools", "list_tools", cursor)
            except CallRefusal as refusal:
                raise EnvironmentFailure(f"{self._connection.name} did not list its tools: {refusal}") from refusal
            listing += page["tools"]
            cursor = page.get("nextCursor")
            if cursor is None:
                return listing
        name = self._connection.name
        raise EnvironmentFailure(f"the list of tools of {name} has no end: {MOST_PAGES} pages were read")


def _name_list(names: Sequence[str]) -> str:
    """The first of many names; which of them change nothing is for the user to know."""
    return ", ".join([*names[:MOST_NAMES], *(["..."] if len(names) > MOST_NAMES else [])])


def _openai_tool(entry: Mapping[str, Any]) -> dict[str, Any]:
    description = entry.get("description") or ""
    return {"name": entry["name"], "description": description, "parameters": entry["inputSchema"]}


def _is_read_only(entry: Mapping[str, Any]) -> bool:
    return (entry.get("annotations") or {}).get("readOnlyHint") is True


def _text(reply: Mapping[str, Any]) -> str:
    """The texts of a result, and the names of its other contents; structured content where there is nothing else.

    The items of a list are contents of their own, so that an empty list has none. What is no object is structured
    content as `{"result": ...}`: the object around it is no part of what the tool returned.
    """
    parts = [_part_text(part) for part in reply.get("content") or []]
    if parts:
        return "\n".join(parts)
    structured = reply.get("structuredContent")
    if structured is None:
        return "(no content)"
    value = structured["result"] if structured.keys() == {"result"} else structured
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _part_text(part: Mapping[str, Any]) -> str:
    kind = str(part.get("type"))
    if kind == "text":
        return str(part["text"])
    resource = part.get("resource") or {}
    if "text" in resource:
        return str(resource["text"])
    named = part.get("mimeType") if kind in ("image", "audio") else part.get("uri") or resource.get("uri")
    return f"({kind.replace('_', ' ')}: {named})"
