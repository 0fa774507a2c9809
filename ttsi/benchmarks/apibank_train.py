"""API-Bank's level-3 training data: steps of plans, a training pool.

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

On offer are the search tool and what the searches so far returned. Argument values are texts, as in the tests. Types:
see `ttsi.benchmarks.type_schemas`; no parameter is marked as required, so none is.

Known defects: tools that a search returned are Python text, 66 of them broken by apostrophes or bare type names and so
read by pattern; calls without their brackets or quotation marks (2 golds) are read all the same; rows whose gold
tool was never returned are tagged `solvable=no`. Training data have no metric. The paper (arXiv:2510.07841) trains on
Seal-Tools instead.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ttsi.benchmarks.apibank_format import CUE, SEARCH, SPEAKERS
from ttsi.benchmarks.conversion import Conversion, PublicBenchmark, call_row, message_row, solvable_tag, tool_row
from ttsi.benchmarks.jsonl import Row
from ttsi.benchmarks.type_schemas import schema_of

_CALL = re.compile(r"API-Request: \[?(\w+)\((.*?)\)\]?", re.DOTALL)
_STEP = re.compile(r"API-Request: \[?(\w+)\((.*?)\)\]?->(.*)", re.DOTALL)
# A quote inside a value is not escaped: a value ends where another argument or the end follows.
_ARGUMENT = re.compile(r"(\w+)=(?:'(.*?)'|([^',]*))(?:, *(?=\w+=)|$)", re.DOTALL)
_SEARCHED = re.compile(r"\{'name': '(\w+)', 'description': (['\"])(.*?)\2, '(?:input|output)_parameters': ")
_PARAMETER = re.compile(r"'(\w+)': \{'type': '?([^',]+)'?, 'description': (['\"])(.*?)\3[,}]")


def convert(rows: list[Any]) -> Iterator[Row]:
    """Rows from the steps."""
    for number, row in enumerate(rows, start=1):
        lines = row["input"].split("\n")
        messages, searched = _dialogue(lines)
        tools = [_api(json.loads(line)) for line in lines if line.startswith("{")] + searched
        gold = _call(_match(_CALL, row["output"].strip()))
        offered = {tool["name"]: tool for tool in tools}
        yield {
            "id": f"api-bank-l3-{number:03d}",
            "messages": messages,
            "tools": list(offered.values()),
            "gold": [gold],
            "tags": {
                "kind": "search" if gold["name"] == SEARCH else "call",
                **solvable_tag(gold["name"] in offered),
            },
        }


def _dialogue(lines: Sequence[str]) -> tuple[list[Row], list[Row]]:
    """The lines as messages, and the tools that searches in them returned."""
    messages: list[Row] = []
    searched: list[Row] = []
    for line in lines:
        speaker, colon, words = line.partition(": ")
        if colon and speaker in SPEAKERS:
            messages.append(message_row(SPEAKERS[speaker], words))
        elif line.startswith("API-Request: "):
            step = _match(_STEP, line)
            messages += [message_row("assistant", "", _call(step)), message_row("tool", step[3])]
            searched += _search_results(step[3]) if step[1] == SEARCH else []
        elif not line.startswith("{") and line.strip() not in ("", CUE):
            raise ValueError(f"a line of an unknown kind: {line[:60]!r}")
    if messages and messages[-1]["role"] == "assistant":
        messages.append(message_row("user", CUE))  # one row: the assistant spoke last, and it is still its turn
    return messages, searched


def _match(pattern: re.Pattern[str], text: str) -> re.Match[str]:
    match = pattern.fullmatch(text)
    if match is None:
        raise ValueError(f"a call that cannot be read: {text[:60]!r}")
    return match


def _call(match: re.Match[str]) -> Row:
    return call_row(match[1], {key: quoted or bare for key, quoted, bare in _ARGUMENT.findall(match[2])})


def _api(api: Mapping[str, Any]) -> Row:
    return _tool(
        api["apiCode"], api["description"], [(k, p["type"], p["description"]) for k, p in api["parameters"].items()]
    )


def _search_results(text: str) -> list[Row]:
    """The tools in what a search returned."""
    starts = list(_SEARCHED.finditer(text))
    ends = [match.start() for match in starts[1:]] + [len(text)]
    return [_tool(m[1], m[3], _parameters(text[m.start() : end])) for m, end in zip(starts, ends, strict=True)]


def _parameters(text: str) -> list[tuple[str, str, str]]:
    given = text.partition("'input_parameters': ")[2].partition("'output_parameters': ")[0]
    return [(name, kind, words) for name, kind, _, words in _PARAMETER.findall(given)]


def _tool(name: str, description: str, parameters: Sequence[tuple[str, str, str]]) -> Row:
    return tool_row(name, description, {key: {**schema_of(kind), "description": w} for key, kind, w in parameters}, [])


_FILE = "training-data/lv3-api-train.json"
LEVEL_3_TRAIN = PublicBenchmark(
    "api-bank-l3",
    "907 steps of API-Bank's level-3 training data",
    {"train": (Conversion("api-bank", (_FILE,), convert, "API-Bank's lv3-api-train.json"),)},
)
