"""Which steps of plans may be learned from? (API-Bank's level-3 training data)

Source: API-Bank, arXiv:2304.08244, github.com/AlibabaResearch/DAMO-ConvAI at commit 5d5a2d40,
`api-bank/training-data/lv3-api-train.json` (Apache-2.0; MIT at the repository's root). Inputs: a data folder with
`api-bank/training-data/lv3-api-train.json[.gz]`. Outputs: a training pool of 907 samples: a request, what was searched
and called so far, and the next call as gold. A row, made up in its form (line breaks are \\n there):

    {"instruction": "...",
     "input": "{\\"apiCode\\": \\"ToolSearcher\\", ...}
               User: Find a pool.TIME: 2030-01-01 10:00:00
               API-Request: [ToolSearcher(keywords='pool')]->{'name': 'Pools', ...}
               Generate API Request: ",
     "output": "API-Request: [Pools(city='Oslo')]"}

On offer are the search tool and what the searches so far have found. Argument values are texts, as in the tests. Types:
see `ttsi.benchmarks.python_types`; no parameter says whether it must be given, so none is required.

Known defects: tools that a search found are Python text, 66 of them broken by apostrophes or bare type names, so they
are read by pattern; calls without their brackets or quotation marks (2 golds) are read all the same; rows whose gold
tool was never found are tagged `solvable=no`. Training data have no metric. The paper (arXiv:2510.07841) trains on
Seal-Tools instead.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ttsi.benchmarks import Benchmark, Sample, jsonl, places
from ttsi.benchmarks.python_types import schema_of
from ttsi.errors import DataError
from ttsi.types import Input, Message, Role, Tool, ToolCall

SEARCH = "ToolSearcher"
CUE = "Generate API Request:"
SPEAKERS: dict[str, Role] = {"User": "user", "AI": "assistant"}
_CALL = re.compile(r"API-Request: \[?(\w+)\((.*?)\)\]?", re.DOTALL)
_STEP = re.compile(r"API-Request: \[?(\w+)\((.*?)\)\]?->(.*)", re.DOTALL)
# A quote inside a value is not escaped: a value ends where another argument or the end follows.
_ARGUMENT = re.compile(r"(\w+)=(?:'(.*?)'|([^',]*))(?:, *(?=\w+=)|$)", re.DOTALL)
_FOUND = re.compile(r"\{'name': '(\w+)', 'description': (['\"])(.*?)\2, '(?:input|output)_parameters': ")
_PARAMETER = re.compile(r"'(\w+)': \{'type': '?([^',]+)'?, 'description': (['\"])(.*?)\3[,}]")


def load(data_dir: Path | None = None) -> Benchmark:
    """The 907 steps.

    Raises:
        DataError: the data are missing or not in the known form.
    """
    path = places.find(data_dir, "api-bank", "training-data/lv3-api-train.json")
    data = jsonl.read_bytes(path)
    try:
        rows = json.loads(data)
        samples = tuple(_sample(row, number) for number, row in enumerate(rows, start=1))
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path}: {error!r}; this is not API-Bank's lv3-api-train.json") from None
    return Benchmark("api-bank-l3", samples, jsonl.sha256(data), str(path), matcher="lenient")


def _sample(row: Mapping[str, Any], number: int) -> Sample:
    lines = row["input"].split("\n")
    tools = [_described(json.loads(line)) for line in lines if line.startswith("{")]
    messages: list[Message] = []
    for line in lines:
        speaker, colon, words = line.partition(": ")
        if colon and speaker in SPEAKERS:
            messages.append(Message(SPEAKERS[speaker], words))
        elif line.startswith("API-Request: "):
            step = _match(_STEP, line, number)
            messages += [Message("assistant", "", (_call(step),)), Message("tool", step[3])]
            tools += _found(step[3]) if step[1] == SEARCH else []
        elif not line.startswith("{") and line.strip() not in ("", CUE):
            raise DataError(f"row {number} has a line of an unknown kind: {line[:60]!r}")
    if messages and messages[-1].role == "assistant":
        messages.append(Message("user", CUE))  # one row: the assistant spoke last, and it is still its turn
    gold = _call(_match(_CALL, row["output"].strip(), number))
    offered = tuple({tool.name: tool for tool in tools}.values())
    solvable = any(tool.name == gold.name for tool in offered)
    item = Input(f"api-bank-l3-{number:03d}", tuple(messages), offered)
    tags = {"kind": "search" if gold.name == SEARCH else "call", "solvable": "yes" if solvable else "no"}
    return Sample(item, (gold,), tags)


def _match(pattern: re.Pattern[str], text: str, number: int) -> re.Match[str]:
    match = pattern.fullmatch(text)
    if match is None:
        raise DataError(f"row {number} has a call that cannot be read: {text[:60]!r}")
    return match


def _call(match: re.Match[str]) -> ToolCall:
    return ToolCall(match[1], {key: quoted or bare for key, quoted, bare in _ARGUMENT.findall(match[2])})


def _described(api: Mapping[str, Any]) -> Tool:
    return _tool(
        api["apiCode"], api["description"], [(k, p["type"], p["description"]) for k, p in api["parameters"].items()]
    )


def _found(text: str) -> list[Tool]:
    """The tools in what a search returned."""
    starts = list(_FOUND.finditer(text))
    ends = [match.start() for match in starts[1:]] + [len(text)]
    return [_tool(m[1], m[3], _parameters(text[m.start() : end])) for m, end in zip(starts, ends, strict=True)]


def _parameters(text: str) -> list[tuple[str, str, str]]:
    given = text.partition("'input_parameters': ")[2].partition("'output_parameters': ")[0]
    return [(name, kind, words) for name, kind, _, words in _PARAMETER.findall(given)]


def _tool(name: str, description: str, parameters: Sequence[tuple[str, str, str]]) -> Tool:
    properties = {key: {**schema_of(kind), "description": words} for key, kind, words in parameters}
    return Tool(name, description, {"type": "object", "properties": properties, "required": []})
