r"""Hammer's cut of API-Bank: levels 1 and 2 as chats, in the form that Hammer gives to all its test sets.

Source: github.com/MadeAgents/Hammer at ff415d99, data/test/original/apibank_l1.json and apibank_l2.json (Apache-2.0),
cut from API-Bank (`ttsi.benchmarks.apibank`, which has the splits). Inputs: the level, and a data folder with
`hammer-eval/apibank_l{1,2}.json[.gz]`. Outputs: a `Benchmark` of 399 or 127 samples. A sample, made up in the same
form:

    {"query": [{"role": "user", "content": "Lane 2, please."}, {"role": "agent", "content": "Let me see."},
      {"role": "assistant", "content": "```[{\"name\": \"Hours\", \"arguments\": {}}]```"},
      {"role": "tool", "content": "8 to 8"}, {"role": "agent", "content": "Open.\nGenerate API Request:"}],
     "tools": [{"name": "BookLane", "description": "...",
                "parameters": {"lane": {"type": "int", "description": "..."}}}],
     "answers": [{"name": "BookLane", "arguments": {"lane": "2"}}]}

The cue "Generate API Request:", which ends the last turn, becomes the user's, as in API-Bank's own rows. Official
metric: micro F1 of names and of arguments over the file (`ttsi.benchmarks.micro_f1`, in every summary); the headline is
`lenient`. Known defects besides those of API-Bank: the line about the year is gone; 6 rows of level 2 call a tool that
is not on offer (tag solvable=no), and 16 of its rows are repeated. Hammer's SealTool file has the size that the paper
(arXiv:2510.07841) reports, so its API-Bank may be Hammer's, too.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

from ttsi.benchmarks.apibank_format import CUE, add_cue, api_row, turn_row
from ttsi.benchmarks.conversion import Conversion, call_row, message_row
from ttsi.benchmarks.jsonl import Row

ROLES = {"user": "user", "agent": "assistant", "tool": "tool"}


def conversion(level: int) -> Conversion:
    """One level of Hammer's cut."""
    file = f"apibank_l{level}.json"
    return Conversion("hammer-eval", (file,), partial(convert, level=level), f"Hammer's {file}")


def convert(rows: list[Any], *, level: int) -> Iterator[Row]:
    """Rows of one level."""
    for number, row in enumerate(rows, start=1):
        tools = [api_row(tool["name"], tool["description"], tool["parameters"]) for tool in row["tools"]]
        [gold] = [_call(answer) for answer in row["answers"]]
        yield turn_row(f"apibank-l{level}-hammer-{number:03d}", _messages(row["query"]), tools, gold)


def _messages(turns: list[Mapping[str, str]]) -> list[Row]:
    *before, last = turns
    words, cue, rest = last["content"].partition(CUE)
    if not cue or rest.strip():
        raise ValueError(f"its last turn does not end with {CUE!r}")
    return add_cue([_message(turn["role"], turn["content"]) for turn in (*before, {**last, "content": words})])


def _message(role: str, content: str) -> Row:
    if role != "assistant":
        return message_row(ROLES[role], content.strip())
    calls = json.loads(content.removeprefix("```").removesuffix("```"))
    return message_row("assistant", "", *map(_call, calls))


def _call(call: Mapping[str, Any]) -> Row:
    return call_row(call["name"], call["arguments"])
