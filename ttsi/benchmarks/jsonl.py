"""How does somebody bring their own questions?

One JSON object a line: `{"id"?, "messages": [...], "tools": [OpenAI function schema...], "gold"?: [{"name",
"arguments"}], "tags"?: {...}}`. Inputs: the path of such a file, plain or `.gz`. Outputs: a `Benchmark`.

`messages` and `tools` are those of OpenAI's chat API. Without `gold` a line is answered but not graded; an empty
`gold` says that no tool should be called; `tags` are strata for the report. Nothing is guessed: whatever cannot be read
is refused with its line number and a way to mend it.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import zlib
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

from ttsi.benchmarks import Benchmark, Sample
from ttsi.chat.schema import tool_from_openai
from ttsi.errors import DataError, unknown_name
from ttsi.types import Input, Message, Tool, ToolCall

Item = TypeVar("Item")
KEYS = ("id", "messages", "tools", "gold", "tags")
ROLES = ("system", "user", "assistant", "tool")


def load(path: Path, name: str | None = None) -> Benchmark:
    """Read a file of inputs.

    Raises:
        DataError: the file is missing, empty or malformed; "FILE:LINE: what is wrong and how to mend it".
    """
    data = read_bytes(path)
    samples, lines_of = [], dict[str, int]()
    for number, line in enumerate(_lines(data, path), start=1):
        if not line.strip():
            continue
        sample = _read_line(line, number, path.name)
        first = lines_of.setdefault(sample.input.id, number)
        if first != number:
            raise DataError(
                f"{path.name}:{number}: id {sample.input.id!r} was used in line {first}; give each line its own id"
            )
        samples.append(sample)
    if not samples:
        raise DataError(f"{path.name} is empty: write one JSON object a line with messages and tools")
    notice = _never_right(samples, lines_of, path.name)
    return Benchmark(name or path.name.split(".")[0], tuple(samples), sha256(data), str(path), notice=notice)


def _never_right(samples: Sequence[Sample], lines_of: Mapping[str, int], file: str) -> str:
    """A warning where gold calls a tool that is not on offer: most likely a slip in the file."""
    found = [
        (sample.input.id, call.name)
        for sample in samples
        for call in sample.gold or ()
        if call.name not in {tool.name for tool in sample.input.tools}
    ]
    if not found:
        return ""
    (name, tool), rows = found[0], len({name for name, _ in found})
    first = f"line {lines_of[name]} calls {tool!r}"
    where = f"in {rows} of {len(samples)} inputs gold calls a tool that is not on offer"
    return f"{file}: {where}, so that no answer can be right ({first})"


def read_bytes(path: Path) -> bytes:
    """A file's content, decompressed where its name ends in .gz.

    Raises:
        DataError: it is missing or damaged.
    """
    try:
        data = path.read_bytes()
        return gzip.decompress(data) if path.suffix == ".gz" else data
    except FileNotFoundError:
        raise DataError(f"{path} does not exist: check the path") from None
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path} cannot be read: {error}") from None


def sha256(data: bytes) -> str:
    """SHA-256 in hex."""
    return hashlib.sha256(data).hexdigest()


def _lines(data: bytes, path: Path) -> list[str]:
    try:
        # Split at line feeds only: str.splitlines would also cut at characters that JSON strings may hold.
        return data.decode("utf-8-sig").split("\n")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise DataError(f"{path.name}:{line}: not UTF-8 text; save the file as UTF-8") from None


def _read_line(line: str, number: int, file: str) -> Sample:
    try:
        return _sample(_parse(line), number)
    except DataError as error:
        raise DataError(f"{file}:{number}: {error}") from None


def _parse(text: str) -> Any:
    try:
        return json.loads(text, parse_constant=_no_constant)
    except json.JSONDecodeError as error:
        raise DataError(f"not JSON ({error.msg}, column {error.colno}); one object a line, no line breaks") from None
    except RecursionError:
        raise DataError("nested too deeply to be read; flatten it") from None


def _no_constant(name: str) -> Any:
    raise DataError(f"{name} is not JSON; write null or a finite number")


def _sample(row: Any, number: int) -> Sample:
    row = _expect(row, dict, "the line", 'an object like {"messages": [...], "tools": [...]}')
    for key in row:
        if key not in KEYS:
            raise DataError(f"{unknown_name('key', key, KEYS)} (facts of your own go under tags)")
    messages = tuple(_each(row, "messages", read_message))
    if not messages or messages[-1].role not in ("user", "tool"):
        raise DataError("messages must end with a user's turn or a tool's result, for the model to answer")
    item = Input(str(row.get("id", number)), messages, read_tools(row.get("tools")))
    gold = None if row.get("gold") is None else tuple(_each(row, "gold", read_call))
    tags = _expect(row.get("tags", {}), dict, "tags", 'an object like {"kind": "easy"}')
    return Sample(item, gold, {key: str(value) for key, value in tags.items()})


def read_tools(value: Any) -> tuple[Tool, ...]:
    """A list of OpenAI function schemas as tools with unique names.

    Raises:
        DataError: it is none.
    """
    shape = '[{"type": "function", "function": {"name": ..., "parameters": {...}}}]'
    rows = _expect(value, list, "tools", f"a list like {shape}")
    if not rows:
        raise DataError(f"tools is empty: name at least one, like {shape}")
    tools = tuple(_at("tools", i, row, _tool) for i, row in enumerate(rows))
    names = [tool.name for tool in tools]
    for name in names:
        if names.count(name) > 1:
            raise DataError(f"tool {name!r} is listed twice; names must be unique")
    return tools


def _tool(row: Any) -> Tool:
    return _tool_from_text(json.dumps(row))


@lru_cache(maxsize=4096)
def _tool_from_text(text: str) -> Tool:
    # Remembered, since checking a schema takes milliseconds and the lines of a file mostly repeat the same tools.
    row = json.loads(text)
    tool = tool_from_openai(row)
    # OpenAI reads a missing schema as "no arguments"; here it is far more often a schema under another key.
    if row.get("function", row).get("parameters") is None:
        none = '{"type": "object", "properties": {}}'
        raise DataError(f"tool {tool.name} has no schema; write parameters, {none} for a tool without arguments")
    return tool


def read_message(row: Any) -> Message:
    """One message in OpenAI's form.

    Raises:
        DataError: it is none.
    """
    row = _expect(row, dict, "a message", 'an object like {"role": "user", "content": "..."}')
    role = row.get("role")
    if role not in ROLES:
        raise DataError(f"role is {role!r}; use one of {', '.join(ROLES)}")
    raw = row.get("tool_calls") or []
    calls = tuple(read_call(call) for call in _expect(raw, list, "tool_calls", "a list of calls"))
    if calls and role != "assistant":
        raise DataError(f"tool_calls in a message of role {role!r}; only the assistant calls tools")
    return Message(role, _content(row.get("content"), empty=bool(calls)), calls)


def _content(content: Any, empty: bool) -> str:
    """The text of a message: a string, a list of text parts, or nothing beside tool calls."""
    if content is None and empty:
        return ""
    if isinstance(content, list):
        for part in content:
            if not isinstance(part, dict) or not isinstance(part.get("text"), str):
                raise DataError("content has a part that is not text; only text is understood")
        return "".join(part["text"] for part in content)
    text: str = _expect(content, str, "content", "a string")
    return text


def read_call(row: Any) -> ToolCall:
    """One call, plain `{"name", "arguments"}` or OpenAI's `{"function": {...}}`; arguments an object or its JSON text.

    Raises:
        DataError: it is none.
    """
    row = _expect(row, dict, "a call", 'an object like {"name": "...", "arguments": {...}}')
    row = _expect(row.get("function", row), dict, "function", 'an object like {"name": "...", "arguments": {...}}')
    name = _expect(row.get("name"), str, "a call's name", "a string")
    arguments = row.get("arguments", {})
    if isinstance(arguments, str):
        arguments = _parse(arguments or "{}")
    return ToolCall(name, _expect(arguments, dict, f"arguments of {name}", "an object (or its JSON text)"))


def _each(row: Mapping[str, Any], key: str, read: Callable[[Any], Item]) -> list[Item]:
    items: Sequence[Any] = _expect(row.get(key), list, key, "a list")
    return [_at(key, i, item, read) for i, item in enumerate(items)]


def _at(key: str, i: int, item: Any, read: Callable[[Any], Item]) -> Item:
    try:
        return read(item)
    except DataError as error:
        raise DataError(f"{key}[{i}]: {error}") from None


def _expect(value: Any, kind: type, what: str, shape: str) -> Any:
    if not isinstance(value, kind):
        raise DataError(f"{what} is {'missing' if value is None else type(value).__name__}; write {shape}")
    return value
