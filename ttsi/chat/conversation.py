"""Strict reader of conversations and tools in OpenAI's form.

Inputs: JSON values (`messages`, `tools`, a call) from a file or a request. Outputs: `Message`s, `Tool`s and
`ToolCall`s, with tool results in the order of the calls that they answer. Benchmark files, `ttsi ask` and the server
all use this reader. An `Input` that was built in Python has passed no reader: `check_input` looks at that.

Fields without effect are ignored, and the caller can ask for their names. A field that would change the answer and is
not supported, such as an image, is a `DataError`. No error repeats a message's text: a server shows it to strangers.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from difflib import get_close_matches
from itertools import groupby
from typing import Any, TypeVar

from ttsi.chat.json_text import strict_json
from ttsi.chat.tool_schema import tool_from_openai
from ttsi.errors import DataError, first_line
from ttsi.plurals import kind_of
from ttsi.types import Input, Message, Role, Tool, ToolCall, answered_calls

Item = TypeVar("Item")

ROLES: Mapping[str, Role] = {
    "system": "system", "developer": "system", "user": "user", "assistant": "assistant", "tool": "tool",
}  # fmt: skip
"""OpenAI's role -> role of a `Message`."""

_OTHER_PARTS: Mapping[str, str] = {
    "image_url": "images are", "input_image": "images are", "image": "images are", "video_url": "videos are",
    "input_audio": "audio is", "audio": "audio is", "file": "files are", "input_file": "files are",
}  # fmt: skip
_OTHER_SCHEMAS = (
    "input_schema", "inputSchema", "json_schema", "schema", "params", "parameter", "args", "arguments", "properties",
)  # fmt: skip
"""Other names for a tool's parameters: other vendors' and frequent mistakes."""
_OTHER_ARGUMENTS = ("args", "parameters", "params", "input", "inputs", "tool_input", "kwargs")
"""Other names for a call's arguments; close misspellings are found by themselves."""
CALL_KEYS = ("name", "arguments", "id", "type", "function")
_OPEN_END = "messages must end with a user's turn or a tool's result"
_MESSAGE_FIELDS = {"role", "content", "tool_calls", "tool_call_id", "refusal"}
_LONGEST_ID = 256


def read_messages(value: Any, unread: set[str] | None = None) -> tuple[Message, ...]:
    """The messages of a list. Neighbouring tool results are put in the order of the calls that they answer.

    Args:
        value: the list.
        unread: receives the names of fields without effect, such as "messages.reasoning_content".

    Raises:
        DataError: the list is no conversation, its last message is not of the user or a tool, or a result answers no
            call or a call that has a result already.
    """
    ignored = set() if unread is None else unread
    messages = read_each(value, "messages", lambda row: _message(row, ignored))
    if not messages or messages[-1].role not in ("user", "tool"):
        raise DataError(_OPEN_END)
    return _order_results(messages)


def read_tools(
    value: Any, unread: set[str] | None = None, read: Callable[[Any], Tool] | None = None
) -> tuple[Tool, ...]:
    """The tools of a list, or of an object with a list `tools`.

    Args:
        value: the list or object.
        unread: receives the names of fields without effect.
        read: the reader of one tool, `read_tool` by default. A caller may give one with a cache.

    Raises:
        DataError: there is no tool, an item is no function tool, or two have one name.
    """
    if isinstance(value, Mapping) and "tools" in value:
        value = value["tools"]
    shape = '[{"type": "function", "function": {"name": ..., "parameters": {...}}}]'
    tools = read_each(value, "tools", read or (lambda row: read_tool(row, unread)), f"a list like {shape}")
    if not tools:
        raise DataError(f"tools is empty: name at least one, like {shape}")
    names = [tool.name for tool in tools]
    for name in names:
        if names.count(name) > 1:
            raise DataError(f"tools: {name!r} is listed twice; names must be unique")
    return tuple(tools)


def read_tool(row: Any, unread: set[str] | None = None) -> Tool:
    """A tool, `{"type": "function", "function": {...}}` or the inner object alone.

    A tool without parameters takes no arguments.

    Raises:
        DataError: the value is no function tool, or its schema stands under another name than `parameters`.
    """
    shape = 'an object like {"type": "function", "function": {"name": ...}}'
    row = expect(row, dict, "a tool", shape)
    kind = row.get("type", "function")
    if "function" not in row and kind != "function" and isinstance(kind, str):
        raise DataError("only tools of type function are supported")
    function = expect(row.get("function", row), dict, "function", 'an object like {"name": ..., "parameters": {...}}')
    if function.get("parameters") is None:
        elsewhere = next((key for key in _OTHER_SCHEMAS if function.get(key)), None)
        if elsewhere is not None:
            raise DataError(f"the tool has {elsewhere} and no parameters; rename {elsewhere} to parameters")
    else:
        expect(function["parameters"], dict, "parameters", "a JSON Schema of type object")
    inner = {"name", "description", "parameters", "strict"}
    _note_unread(unread, "tools", row, {"type", "function"} if "function" in row else inner | {"type"})
    if "function" in row:
        _note_unread(unread, "tools.function", function, inner)
    return tool_from_openai(row)


def read_call(row: Any, unread: set[str] | None = None) -> ToolCall:
    """One call, `{"name", "arguments"}` or OpenAI's `{"function": {...}}`.

    Arguments are an object or its JSON text. null, "null" and "" are no arguments.

    Raises:
        DataError: the value is no call of a function, or its arguments stand under another name.
    """
    shape = 'an object like {"name": "...", "arguments": {...}}'
    row = expect(row, dict, "a call", shape)
    if row.get("type") not in (None, "function"):
        raise DataError("only calls of type function are supported")
    function = expect(row.get("function", row), dict, "function", shape)
    name = expect(function.get("name"), str, "a call's name", "a string")
    arguments = function.get("arguments")
    if arguments is None:
        _refuse_other_arguments(row, function)
    if isinstance(arguments, str):
        arguments = _parse(arguments) if arguments.strip() else None
    if arguments is None:
        arguments = {}
    _note_unread(unread, "messages.tool_calls", row, CALL_KEYS if function is row else {"id", "type", "function"})
    if function is not row:
        _note_unread(unread, "messages.tool_calls.function", function, {"name", "arguments"})
    return ToolCall(name, expect(arguments, dict, "arguments", "an object (or its JSON text)"), _id(row, "id"))


def _refuse_other_arguments(row: Mapping[str, Any], function: Mapping[str, Any]) -> None:
    """Refuse a call whose arguments stand where they are not read; it would count as one without arguments."""
    if function is not row and row.get("arguments"):
        raise DataError('the call has "arguments" beside "function": move them into it')
    for key in (key for part in (function, row) for key, value in part.items() if value and key not in CALL_KEYS):
        if key in _OTHER_ARGUMENTS or get_close_matches(key, ["arguments"]):
            raise DataError(f'the call has {json.dumps(key)} and no "arguments": rename it')


def _message(row: Any, unread: set[str]) -> Message:
    row = expect(row, dict, "a message", 'an object like {"role": "user", "content": "..."}')
    role = row.get("role")
    if role == "function" or row.get("function_call") is not None:
        raise DataError("function_call and the role function are OpenAI's old form; send tool_calls and the role tool")
    if not isinstance(role, str) or role not in ROLES:
        raise DataError(f"role is {'missing' if role is None else 'unknown'}; use one of {', '.join(ROLES)}")
    if row.get("audio") is not None:
        raise DataError("audio is not supported; send text")
    raw = row.get("tool_calls")
    calls = tuple(read_each([] if raw is None else raw, "tool_calls", lambda call: _read_earlier_call(call, unread)))
    if calls and role != "assistant":
        raise DataError(f"tool_calls in a message of role {role}; only the assistant calls tools")
    _note_unread(unread, "messages", row, _MESSAGE_FIELDS)
    content = row.get("content")
    if content is None and role == "assistant":
        content = row.get("refusal")
    if content is None and role in ("assistant", "tool"):
        content = ""
    return Message(ROLES[role], _text(content, unread), calls, _id(row, "tool_call_id") if role == "tool" else "")


class BrokenArguments(DataError):
    """A call's arguments are text that is no JSON."""


def _read_earlier_call(row: Any, unread: set[str]) -> ToolCall:
    """A call that was made in the conversation. Templates take its arguments as an object: broken text fits nowhere.

    Raises:
        DataError: it is no call; where a model wrote broken arguments, the line says what to send instead.
    """
    try:
        return read_call(row, unread)
    except BrokenArguments as error:
        raise DataError(f"{error}: leave out this call and its result, or send {{}} as its arguments") from None


def _text(content: Any, unread: set[str]) -> str:
    """The text of a message: a string, or the texts of its parts, a line break between them."""
    if isinstance(content, list):
        return "\n".join(read_each(content, "content", lambda part: _part(part, unread)))
    text: str = expect(content, str, "content", "a string or a list of text parts")
    return text


def _part(part: Any, unread: set[str]) -> str:
    part = expect(part, dict, "a part", 'an object like {"type": "text", "text": "..."}')
    kind = part.get("type", "text")
    if kind not in ("text", "refusal"):
        what = _OTHER_PARTS.get(kind, "this type of part is") if isinstance(kind, str) else "this type of part is"
        raise DataError(f"{what} not supported; send text")
    _note_unread(unread, "messages.content", part, {"type", kind})
    text = part.get(kind)
    if not isinstance(text, str):
        raise DataError(f"the part has no {kind}; only text is supported")
    return text


def _order_results(messages: Sequence[Message]) -> tuple[Message, ...]:
    """The messages, neighbouring results in the order of the calls that they answer."""
    answers = answered_calls(messages)
    for place, (message, answer) in enumerate(zip(messages, answers, strict=True)):
        if message.tool_call_id and answer is None:
            earlier = (call.id for other in messages[:place] for call in other.tool_calls)
            again = message.tool_call_id in set(earlier)
            reason = "the call named by its tool_call_id has a result already"
            raise DataError(f"messages[{place}]: {reason if again else 'its tool_call_id names no earlier call'}")
    ordered: list[Message] = []
    pairs = zip(messages, answers, strict=True)
    for _, run in groupby(pairs, key=lambda pair: pair[0].role == "tool"):
        ordered += [message for message, _ in sorted(run, key=lambda pair: (pair[1] is None, pair[1] or 0))]
    return tuple(ordered)


def _id(row: Mapping[str, Any], key: str) -> str:
    value = row.get(key)
    text: str = expect("" if value is None else value, str, key, "a string")
    if len(text) > _LONGEST_ID:
        raise DataError(f"{key} is longer than {_LONGEST_ID} characters")
    return text


def _note_unread(unread: set[str] | None, place: str, row: Mapping[str, Any], read: Collection[str]) -> None:
    """Add the keys of a row that have no effect and a value other than null, [] and {}."""
    if unread is not None:
        ignored = (key for key, value in row.items() if key not in read and value not in (None, [], {}))
        unread.update(f"{place}.{key}" for key in ignored)


def parse_json(text: str) -> Any:
    """A JSON text that a person wrote. Of two values for one key a reader would have to choose one: refused.

    Raises:
        json.JSONDecodeError: it is no JSON; the error knows the place.
        DataError: a key stands twice in an object, a number is not finite or too long, a string holds half a
            character, or it is nested too deeply; one line.
    """
    try:
        value = json.loads(text, object_pairs_hook=_object_of_keys, parse_constant=_refuse_constant)
    except json.JSONDecodeError:
        raise
    except RecursionError:
        raise DataError("nested too deeply to be read; flatten it") from None
    except ValueError as error:  # a whole number of thousands of digits
        raise DataError(f"not readable ({first_line(error).partition(':')[0]}); write a shorter number") from None
    check_json(value)
    return value


def _object_of_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise DataError(f"the key {twice!r} stands twice in an object; keep one of the two")
    return made


def _refuse_constant(name: str) -> Any:
    raise DataError(f"{name} is not JSON; write null or a finite number")


def check_json(value: Any) -> None:
    """Refuse what JSON in UTF-8 cannot hold: a lone surrogate, a number that is not finite, an object of Python's.

    JSON texts and command lines may hold the first, `1e999` is read as the second, and in Python there is the third.

    Raises:
        DataError: the value is, or contains, one of them; or it is nested too deeply to be searched.
    """
    try:
        json.dumps(value, ensure_ascii=False, allow_nan=False, sort_keys=True).encode()
    except UnicodeEncodeError:
        raise DataError("a string holds half a character (a lone surrogate); write it as UTF-8") from None
    except (TypeError, ValueError) as error:
        raise DataError(f"not JSON ({first_line(error)})") from None
    except RecursionError:
        raise DataError("nested too deeply to be read; flatten it") from None


def check_input(item: Input) -> None:
    """Refuse an input that JSON in UTF-8 cannot hold, or whose parts are of other types than `ttsi.types` says.

    One that ends with what the assistant said leaves nothing to answer, and is refused, too.

    Raises:
        DataError: one line that names the part.
    """
    messages = read_each(_as_list(item.messages), "messages", _check_message, "a tuple of ttsi.Message")
    if messages and messages[-1].role == "assistant" and not messages[-1].tool_calls:
        raise DataError(_OPEN_END)
    read_each(_as_list(item.tools), "tools", check_tool, "a tuple of ttsi.Tool")


def check_call(call: ToolCall) -> None:
    """Refuse a call that JSON in UTF-8 cannot hold, or whose parts are of other types than `ToolCall` says.

    Raises:
        DataError: one line.
    """
    expect(call, ToolCall, "a call", "a ttsi.ToolCall")
    expect(call.name, str, "a call's name", "a string")
    expect(call.id, str, "a call's id", "a string")
    expect(call.arguments, Mapping, "arguments", "an object")
    check_json([call.name, call.id, dict(call.arguments)])


def check_tool(tool: Tool) -> None:
    """Refuse a tool that has no name, that JSON in UTF-8 cannot hold, or whose parts are not of the types of `Tool`.

    Raises:
        DataError: one line.
    """
    expect(tool, Tool, "a tool", "a ttsi.Tool")
    expect(tool.name, str, "a tool's name", "a string")
    if not tool.name.strip():
        raise DataError("a tool needs a name, a non-empty string")
    expect(tool.description, str, "the description", "a string")
    expect(tool.parameters, Mapping, "parameters", "a JSON Schema of type object")
    check_json([tool.name, tool.description, dict(tool.parameters)])


def _check_message(message: Message) -> Message:
    expect(message, Message, "a message", "a ttsi.Message")
    if message.role not in ROLES.values():
        raise DataError(f"role is unknown; use one of {', '.join(dict.fromkeys(ROLES.values()))}")
    expect(message.content, str, "content", "a string")
    expect(message.tool_call_id, str, "tool_call_id", "a string")
    check_json([message.content, message.tool_call_id])
    read_each(_as_list(message.tool_calls), "tool_calls", check_call, "a tuple of ttsi.ToolCall")
    return message


def _as_list(values: Any) -> Any:
    return list(values) if isinstance(values, tuple) else values


def _parse(text: str) -> Any:
    try:
        value = strict_json(text)
    except (ValueError, RecursionError):
        raise BrokenArguments("arguments are not JSON") from None
    check_json(value)
    return value


def read_each(value: Any, key: str, read: Callable[[Any], Item], shape: str = "a list") -> list[Item]:
    """Every item of a list, read. An error names the item's place.

    Raises:
        DataError: the value is no list, or an item is wrong.
    """
    items: Sequence[Any] = expect(value, list, key, shape)
    return [_read_at(f"{key}[{place}]", item, read) for place, item in enumerate(items)]


def _read_at(place: str, item: Any, read: Callable[[Any], Item]) -> Item:
    try:
        return read(item)
    except DataError as error:
        raise DataError(f"{place}: {error}") from None


def expect(value: Any, kind: type, what: str, shape: str) -> Any:
    """The value, if it is of this kind.

    Raises:
        DataError: it is of another kind. The line names both in JSON's words.
    """
    if not isinstance(value, kind):
        raise DataError(f"{what} is {_kind(value)}; write {shape}")
    return value


def _kind(value: Any) -> str:
    if value is None:
        return "missing"
    if isinstance(value, bool):
        return "true or false"
    kinds: dict[type, str] = {dict: "an object", list: "a list", str: "a string", int: "a number", float: "a number"}
    return kinds.get(type(value), kind_of(value))  # the last where it comes from Python
