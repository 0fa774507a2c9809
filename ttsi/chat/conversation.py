"""A conversation and its tools in OpenAI's form, read strictly.

Inputs: JSON values (`messages`, `tools`, a call), from a file or from a request. Outputs: our `Message`s, `Tool`s and
`ToolCall`s, with each tool result in the place of the call that it answers. This is the one reader of OpenAI's form:
benchmark files, `ttsi ask` and the server take the same.

What nobody here reads is left out and may be named to the caller; what would change the answer and cannot be taken,
such as an image, is a `DataError`. No error repeats a value of a message: a server shows these lines to strangers.
Not in the paper (arXiv:2510.07841).
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

from ttsi.chat.json_text import strict_json
from ttsi.chat.tool_schema import tool_from_openai
from ttsi.errors import DataError
from ttsi.types import Message, Role, Tool, ToolCall, answered_calls

Item = TypeVar("Item")

ROLES: Mapping[str, Role] = {
    "system": "system", "developer": "system", "user": "user", "assistant": "assistant", "tool": "tool",
}  # fmt: skip
"""OpenAI's roles as ours."""

_OTHER_PARTS: Mapping[str, str] = {
    "image_url": "images are", "input_image": "images are", "image": "images are", "video_url": "videos are",
    "input_audio": "audio is", "audio": "audio is", "file": "files are", "input_file": "files are",
}  # fmt: skip
_OTHER_SCHEMAS = (
    "input_schema", "inputSchema", "json_schema", "schema", "params", "parameter", "args", "arguments", "properties",
)  # fmt: skip
"""Where other vendors, and slips, put a tool's parameters."""
_LONGEST_ID = 256


def read_messages(value: Any, unread: set[str] | None = None) -> tuple[Message, ...]:
    """A list of messages; within each run of tool results, these stand in the order of the calls they answer.

    Args:
        value: the list.
        unread: gets the names of fields that say something and have no effect, "messages.reasoning_content".

    Raises:
        DataError: it is no conversation, a result answers no call or one that has a result, or the last message is not
            the user's or a tool's.
    """
    ignored = set() if unread is None else unread
    messages = each(value, "messages", lambda row: _message(row, ignored))
    if not messages or messages[-1].role not in ("user", "tool"):
        raise DataError("messages must end with a user's turn or a tool's result, for the model to answer")
    return _by_call(messages)


def read_tools(
    value: Any, unread: set[str] | None = None, read: Callable[[Any], Tool] | None = None
) -> tuple[Tool, ...]:
    """A list of function tools with unique names, or an object whose `tools` is one.

    Args:
        value: the list.
        unread: as in `read_messages`.
        read: what reads one tool, `read_tool` by default; for a caller that remembers tools.

    Raises:
        DataError: it is none.
    """
    if isinstance(value, Mapping) and "tools" in value:
        value = value["tools"]
    shape = '[{"type": "function", "function": {"name": ..., "parameters": {...}}}]'
    tools = each(value, "tools", read or (lambda row: read_tool(row, unread)), f"a list like {shape}")
    if not tools:
        raise DataError(f"tools is empty: name at least one, like {shape}")
    names = [tool.name for tool in tools]
    for name in names:
        if names.count(name) > 1:
            raise DataError(f"tool {name!r} is listed twice; names must be unique")
    return tuple(tools)


def read_tool(row: Any, unread: set[str] | None = None) -> Tool:
    """A tool, `{"type": "function", "function": {...}}` or the inner object alone; no parameters are no arguments.

    Raises:
        DataError: it is none, or its schema stands under another name.
    """
    shape = 'an object like {"type": "function", "function": {"name": ...}}'
    row = expect(row, dict, "a tool", shape)
    kind = row.get("type", "function")
    if "function" not in row and kind != "function" and isinstance(kind, str):
        raise DataError("only tools of type function are understood, which are called here and run by the caller")
    function = expect(row.get("function", row), dict, "function", 'an object like {"name": ..., "parameters": {...}}')
    if function.get("parameters") is None:
        elsewhere = next((key for key in _OTHER_SCHEMAS if function.get(key)), None)
        if elsewhere is not None:
            raise DataError(f"the tool has {elsewhere} and no parameters: write its schema under parameters")
    else:
        expect(function["parameters"], dict, "parameters", "a JSON Schema of type object")
    if unread is not None:
        inner = {"name", "description", "parameters", "strict"}
        outer = {"type", "function"} if "function" in row else inner | {"type"}
        unread |= {f"tools.{key}" for key in _speaking(row, outer)}
        if "function" in row:
            unread |= {f"tools.function.{key}" for key in _speaking(function, inner)}
    return tool_from_openai(row)


def read_call(row: Any, unread: set[str] | None = None) -> ToolCall:
    """One call, plain `{"name", "arguments"}` or OpenAI's `{"function": {...}}`.

    Arguments are an object or its JSON text; null, "null" and "" are no arguments.

    Raises:
        DataError: it is none.
    """
    shape = 'an object like {"name": "...", "arguments": {...}}'
    row = expect(row, dict, "a call", shape)
    if row.get("type") not in (None, "function"):
        raise DataError("only calls of type function are understood")
    function = expect(row.get("function", row), dict, "function", shape)
    name = expect(function.get("name"), str, "a call's name", "a string")
    arguments = function.get("arguments")
    if isinstance(arguments, str):
        arguments = _parse(arguments) if arguments.strip() else None
    if arguments is None:
        arguments = {}
    if unread is not None:
        outer = {"id", "type", "function", "name", "arguments"}
        unread |= {f"messages.tool_calls.{key}" for key in _speaking(row, outer)}
        if function is not row:
            unread |= {f"messages.tool_calls.function.{key}" for key in _speaking(function, {"name", "arguments"})}
    return ToolCall(name, expect(arguments, dict, "arguments", "an object (or its JSON text)"), _id(row, "id"))


def _message(row: Any, unread: set[str]) -> Message:
    row = expect(row, dict, "a message", 'an object like {"role": "user", "content": "..."}')
    role = row.get("role")
    if role == "function" or row.get("function_call") is not None:
        raise DataError("function_call and the role function are OpenAI's old form: send tool_calls and the role tool")
    if not isinstance(role, str) or role not in ROLES:
        raise DataError(f"role is {'missing' if role is None else 'unknown'}; use one of {', '.join(ROLES)}")
    if row.get("audio") is not None:
        raise DataError("audio is not understood: send text")
    raw = row.get("tool_calls")
    calls = tuple(each([] if raw is None else raw, "tool_calls", lambda call: read_call(call, unread)))
    if calls and role != "assistant":
        raise DataError(f"tool_calls in a message of role {role}; only the assistant calls tools")
    unread |= {f"messages.{key}" for key in _speaking(row, _READ)}
    content = row.get("content")
    if content is None and role == "assistant":
        content = row.get("refusal")  # what it said instead
    if content is None and role in ("assistant", "tool"):
        content = ""
    return Message(ROLES[role], _text(content, unread), calls, _id(row, "tool_call_id") if role == "tool" else "")


_READ = {"role", "content", "tool_calls", "tool_call_id", "refusal"}


def _text(content: Any, unread: set[str]) -> str:
    """The text of a message: a string, or the joined texts of its parts."""
    if isinstance(content, list):
        return "".join(each(content, "content", lambda part: _part(part, unread)))
    text: str = expect(content, str, "content", "a string or a list of text parts")
    return text


def _part(part: Any, unread: set[str]) -> str:
    part = expect(part, dict, "a part", 'an object like {"type": "text", "text": "..."}')
    kind = part.get("type", "text")
    if kind not in ("text", "refusal"):
        what = _OTHER_PARTS.get(kind, "this type of part is") if isinstance(kind, str) else "this type of part is"
        raise DataError(f"{what} not understood: send text")
    unread |= {f"messages.content.{key}" for key in _speaking(part, {"type", kind})}
    text = part.get(kind)
    if not isinstance(text, str):
        raise DataError("a part without text: only text is understood")
    return text


def _by_call(messages: Sequence[Message]) -> tuple[Message, ...]:
    """The messages with each run of results in the order of the calls they answer."""
    answers = answered_calls(messages)
    for place, (message, answer) in enumerate(zip(messages, answers, strict=True)):
        if message.tool_call_id and answer is None:
            earlier = (call.id for other in messages[:place] for call in other.tool_calls)
            again = message.tool_call_id in set(earlier)
            why = "it answers a call that has its result already" if again else "its tool_call_id names no earlier call"
            raise DataError(f"messages[{place}]: {why}")
    ordered: list[Message] = []
    run: list[tuple[float, Message]] = []
    for message, answer in zip(messages, answers, strict=True):
        if message.role == "tool":
            run.append((math.inf if answer is None else answer, message))
            continue
        ordered += [result for _, result in sorted(run, key=lambda pair: pair[0])]
        run = []
        ordered.append(message)
    return (*ordered, *(result for _, result in sorted(run, key=lambda pair: pair[0])))


def _id(row: Mapping[str, Any], key: str) -> str:
    value = row.get(key)
    text: str = expect("" if value is None else value, str, key, "a string")
    if len(text) > _LONGEST_ID:
        raise DataError(f"{key} is longer than {_LONGEST_ID} characters")
    return text


def _speaking(row: Mapping[str, Any], read: Iterable[str]) -> list[str]:
    """The keys of a row that nobody reads and that say something: null, [] and {} do not."""
    return [str(key) for key, value in row.items() if key not in read and value is not None and value not in ([], {})]


def check_text(value: Any) -> None:
    """Refuse strings that UTF-8 cannot hold: JSON may spell half of a surrogate pair, and so may a command line.

    Raises:
        DataError: there is one somewhere in this JSON value, or the value is nested too deeply to look.
    """
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise DataError("a string holds half a character (a lone surrogate): write it as UTF-8") from None
    except RecursionError:
        raise DataError("nested too deeply to be read; flatten it") from None


def _parse(text: str) -> Any:
    """JSON without what only some parsers accept."""
    try:
        value = strict_json(text)
    except (ValueError, RecursionError):
        raise DataError("arguments are not JSON") from None
    check_text(value)
    return value


def each(value: Any, key: str, read: Callable[[Any], Item], shape: str = "a list") -> list[Item]:
    """Every item of a list, read; an error says which one it was.

    Raises:
        DataError: it is no list, or an item is wrong.
    """
    items: Sequence[Any] = expect(value, list, key, shape)
    return [_at(f"{key}[{place}]", item, read) for place, item in enumerate(items)]


def _at(place: str, item: Any, read: Callable[[Any], Item]) -> Item:
    try:
        return read(item)
    except DataError as error:
        raise DataError(f"{place}: {error}") from None


def expect(value: Any, kind: type, what: str, shape: str) -> Any:
    """The value, where it is of this kind.

    Raises:
        DataError: it is not; the line says what it is, in JSON's words, and what to write.
    """
    if not isinstance(value, kind):
        raise DataError(f"{what} is {_kind(value)}; write {shape}")
    return value


def _kind(value: Any) -> str:
    if value is None:
        return "missing"
    if isinstance(value, bool):
        return "true or false"
    kinds: dict[type, str] = {dict: "an object", list: "a list", str: "a string"}
    return kinds.get(type(value), "a number")
