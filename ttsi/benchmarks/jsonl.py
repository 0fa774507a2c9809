"""The JSONL form of a benchmark, and its one reader: for files of the user's own and for every public benchmark.

One JSON object a line: `{"id"?, "messages": [...], "tools": [OpenAI function schema...], "gold"?: [{"name",
"arguments"}], "tags"?: {...}, "official"?: RULE}`; null is the same as leaving a key with ? out. Inputs: the path of
such a file, plain or `.gz`, or one object, as the converters of public data make them (`ttsi.benchmarks.conversion`)
and as a program has it in OpenAI's form (`read_input`). Outputs: a `Benchmark`, one `Sample`, or one `Input`. A line
without `id` goes by its number.

`messages` and `tools` are those of OpenAI's chat API (`ttsi.chat.conversation` reads them); several text parts of a
message are lines. Without `gold` a line is answered but not graded; an empty `gold` means that no tool should be
called; `tags` are strata for the report. `official` names a rule that judges the line beside the general ones
(`ttsi.benchmarks.official`): "nexusraven", "toolrl", or an object with the rule's own keys, such as `{"rule":
"keyless", "ignored": ["api_key"]}` and `{"rule": "bfcl", "category": "simple_python", "functions": [...], "accepted":
[{NAME: {ARGUMENT: [VALUE, ...]}}]}`, which accepts several values. Where every line has one, it is the headline.
Nothing is guessed: what cannot be read is refused with its line number and a way to mend it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from ttsi.benchmarks import Benchmark, Sample
from ttsi.benchmarks.data_files import read_bytes, sha256
from ttsi.benchmarks.matching import OFFICIAL
from ttsi.benchmarks.official import read_rule
from ttsi.chat.conversation import (
    CALL_KEYS,
    check_json,
    expect,
    parse_json,
    read_call,
    read_each,
    read_messages,
    read_tool,
    read_tools,
)
from ttsi.errors import DataError, unknown_name
from ttsi.plurals import with_noun
from ttsi.types import Input, Tool, ToolCall

KEYS = ("id", "messages", "tools", "gold", "tags", "official")
_CLIENT_KEYS = frozenset({"index", "parsed_arguments"})
"""Keys without effect that OpenAI's client adds to a call."""

Row = Mapping[str, Any]
"""One line as a JSON object."""


def load(path: Path, name: str | None = None) -> Benchmark:
    """Read a file of inputs.

    Raises:
        DataError: the file is missing, empty or malformed; "FILE:LINE: what is wrong and how to mend it".
    """
    data = read_bytes(path)
    rows, lines_of = dict[int, Sample](), dict[str, int]()
    for number, line in enumerate(_lines(data, path), start=1):
        if not line.strip():
            continue
        rows[number], has_id = _read_line(line, number, path.name)
        name_of_row = rows[number].input.id
        if has_id and lines_of.setdefault(name_of_row, number) != number:
            first = lines_of[name_of_row]
            raise DataError(
                f"{path.name}:{number}: id {name_of_row!r} was used in line {first}; give each line its own id"
            )
    samples = [_with_free_id(sample, number, lines_of) for number, sample in rows.items()]
    if not samples:
        raise DataError(f"{path.name} is empty: write one JSON object a line with messages and tools")
    notice = _unsolvable_notice(samples, lines_of, path.name)
    matcher = OFFICIAL if all(sample.official for sample in samples) else "strict"
    return Benchmark(name or path.name.split(".")[0], tuple(samples), sha256(data), str(path), matcher, notice)


def read_input(row: Any, id: str = "input") -> Input:
    """An input from a dictionary in the form of OpenAI's chat API; everything in it is read as in a line of a file.

    Args:
        row: `{"messages": [...], "tools": [...]}`. An `id` may stand beside them, and so may what a line has for
            graders, such as `gold`: it is checked, and the input does not hold it.
        id: the input's id where the dictionary has none.

    >>> tools = [{"type": "function", "function": {"name": "get_time"}}]
    >>> read_input({"messages": [{"role": "user", "content": "how late is it"}], "tools": tools}).tools[0].name
    'get_time'

    Raises:
        DataError: something in it cannot be read, or is no JSON; one line that names the place.
    """
    row = expect(row, dict, "the input", 'an object like {"messages": [...], "tools": [...]}')
    check_json(row)
    return read_row(row, id).input


def read_row(row: Any, number: int | str = 0) -> Sample:
    """One object as a sample.

    Args:
        row: the object.
        number: its id where it has none, or null.

    Raises:
        DataError: something in it cannot be read.
    """
    return _sample(_checked_keys(row), number, read_tools(row.get("tools"), read=_read_tool))


def read_converted(row: Row) -> Sample:
    """As `read_row` for a row that a converter made: its tools are taken as they are, and there may be none.

    Reading a tool brings its schema into one form; the schemas of public benchmarks keep the form that their converter
    gave them, which is what models are shown.
    """
    tools = tuple(Tool(tool["name"], tool["description"], tool["parameters"]) for tool in row["tools"])
    return _sample(_checked_keys(row), 0, tools)


def _unsolvable_notice(samples: Sequence[Sample], lines_of: Mapping[str, int], file: str) -> str:
    """A warning where gold calls a tool that is not on offer: most likely a slip in the file."""
    slips = [
        (sample.input.id, call.name)
        for sample in samples
        for call in sample.gold or ()
        if call.name not in {tool.name for tool in sample.input.tools}
    ]
    if not slips:
        return ""
    (name, tool), rows = slips[0], len({name for name, _ in slips})
    first = f"line {lines_of[name]} calls {tool!r}"
    where = f"in {rows} of {with_noun(len(samples), 'input')} gold calls a tool that is not on offer"
    return f"{file}: {where}, so that no answer can be right ({first})"


def _lines(data: bytes, path: Path) -> list[str]:
    try:
        # Split at line feeds only: str.splitlines would also cut at characters that JSON strings may hold.
        return data.decode("utf-8-sig").split("\n")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise DataError(f"{path.name}:{line}: not UTF-8 text; save the file as UTF-8") from None


def _with_free_id(sample: Sample, number: int, lines_of: dict[str, int]) -> Sample:
    """The sample, with an id that no other line has where it came without one; the id is added to those in use."""
    free = sample.input.id
    while lines_of.setdefault(free, number) != number:  # another line has the number of this one as its id
        free = f"line-{free}"
    return sample if free == sample.input.id else replace(sample, input=replace(sample.input, id=free))


def _read_line(line: str, number: int, file: str) -> tuple[Sample, bool]:
    """The sample, and whether it came with an id."""
    try:
        row = _parse(line)
        return read_row(row, number), row.get("id") is not None
    except DataError as error:
        raise DataError(f"{file}:{number}: {error}") from None
    except RecursionError:
        raise DataError(f"{file}:{number}: nested too deeply to be read; flatten it") from None


def _parse(text: str) -> Any:
    try:
        return parse_json(text)
    except json.JSONDecodeError as error:
        raise DataError(f"not JSON ({error.msg}, column {error.colno}); one object a line, no line breaks") from None


def _checked_keys(row: Any) -> Row:
    checked: Row = expect(row, dict, "the line", 'an object like {"messages": [...], "tools": [...]}')
    for key in checked:
        if key == "tool_calls":
            raise DataError('tool_calls beside messages is a recorded answer: if it is right, rename it to "gold"')
        if key not in KEYS:
            raise DataError(f"{unknown_name('key', key, KEYS)} (facts of your own go under tags)")
    return checked


def _sample(row: Row, number: int | str, tools: tuple[Tool, ...]) -> Sample:
    id_ = number if row.get("id") is None else row["id"]
    _refuse_recorded_answer(row)
    item = Input(str(id_), read_messages(row.get("messages")), tools)
    gold = None if row.get("gold") is None else tuple(read_each(row["gold"], "gold", _read_gold_call))
    tags = expect({} if row.get("tags") is None else row["tags"], dict, "tags", 'an object like {"kind": "easy"}')
    official = None if row.get("official") is None else read_rule(row["official"], gold, tools)
    return Sample(item, gold, {key: str(value) for key, value in tags.items()}, official)


def _refuse_recorded_answer(row: Row) -> None:
    """Refuse a conversation that ends with calls: whoever recorded them must say whether they are right."""
    messages = row.get("messages")
    last = messages[-1] if isinstance(messages, list) and messages else None
    if not isinstance(last, dict) or last.get("role") != "assistant" or not last.get("tool_calls"):
        return
    if row.get("gold") is not None:
        raise DataError("messages end with the assistant's calls, which are an answer: drop the last message")
    raise DataError(
        "messages end with the assistant's calls, a recorded answer: if it is right, move its calls to gold (the list "
        "tool_calls as it stands) and drop the message"
    )


def _read_gold_call(row: Any) -> ToolCall:
    """A call of the gold. A key without effect is refused: a slip there would make right answers count as wrong."""
    unread = set[str]()
    call = read_call(row, unread)
    for name in sorted(unread):
        key = name.removeprefix("messages.tool_calls.").removeprefix("function.")
        if key in CALL_KEYS:
            raise DataError(f'the call has "{key}" beside "function": drop it, or move it into "function"')
        if key not in _CLIENT_KEYS:
            raise DataError(unknown_name("key of a call", key, CALL_KEYS))
    return call


def _read_tool(row: Any) -> Tool:
    return _tool_from_text(json.dumps(row))


@lru_cache(maxsize=4096)
def _tool_from_text(text: str) -> Tool:
    # Cached, since checking a schema takes milliseconds and the lines of a file mostly repeat the same tools.
    return read_tool(json.loads(text))
