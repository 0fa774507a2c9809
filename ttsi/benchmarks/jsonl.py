"""How does somebody bring their own questions?

One JSON object a line: `{"id"?, "messages": [...], "tools": [OpenAI function schema...], "gold"?: [{"name",
"arguments"}], "tags"?: {...}}`. Inputs: the path of such a file, plain or `.gz`. Outputs: a `Benchmark`.

`messages` and `tools` are those of OpenAI's chat API (`ttsi.chat.conversation` reads them). Without `gold` a line is
answered but not graded; an empty `gold` says that no tool should be called; `tags` are strata for the report. Nothing
is guessed: whatever cannot be read is refused with its line number and a way to mend it.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import zlib
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from ttsi.benchmarks import Benchmark, Sample
from ttsi.chat.conversation import check_text, expect, read_call, read_each, read_messages, read_tool, read_tools
from ttsi.errors import DataError, unknown_name
from ttsi.types import Input, Tool

KEYS = ("id", "messages", "tools", "gold", "tags")


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
        value = json.loads(text, parse_constant=_no_constant)
        check_text(value)
        return value
    except json.JSONDecodeError as error:
        raise DataError(f"not JSON ({error.msg}, column {error.colno}); one object a line, no line breaks") from None
    except RecursionError:
        raise DataError("nested too deeply to be read; flatten it") from None


def _no_constant(name: str) -> Any:
    raise DataError(f"{name} is not JSON; write null or a finite number")


def _sample(row: Any, number: int) -> Sample:
    row = expect(row, dict, "the line", 'an object like {"messages": [...], "tools": [...]}')
    for key in row:
        if key not in KEYS:
            raise DataError(f"{unknown_name('key', key, KEYS)} (facts of your own go under tags)")
    messages = read_messages(row.get("messages"))
    item = Input(str(row.get("id", number)), messages, read_tools(row.get("tools"), read=_tool))
    gold = None if row.get("gold") is None else tuple(read_each(row["gold"], "gold", read_call))
    tags = expect(row.get("tags", {}), dict, "tags", 'an object like {"kind": "easy"}')
    return Sample(item, gold, {key: str(value) for key, value in tags.items()})


def _tool(row: Any) -> Tool:
    return _tool_from_text(json.dumps(row))


@lru_cache(maxsize=4096)
def _tool_from_text(text: str) -> Tool:
    # Remembered, since checking a schema takes milliseconds and the lines of a file mostly repeat the same tools.
    return read_tool(json.loads(text))
