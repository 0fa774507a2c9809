r"""ToolRL's cut of API-Bank: the same dialogues in another form, without the turns that search for tools.

Source, licence, metric and splits are in `ttsi.benchmarks.apibank`. Inputs: the level, and a data
folder with `api-bank-toolrl/level-{1,2,3}-api_processed.json[.gz]`. Outputs: a `Benchmark` of 399, 67 or 131 samples. A
sample, made up in the same form (level 3 has `1. BookLane: Books a lane.`; level 2 one object as its answer):

    {"system": "... you can use the following tools:\n1. Name: BookLane\nDescription: Books a lane.\nParameters:
      {'lane': {'type': 'int', 'description': '...'}}\n\n**Steps for Each Turn** ...",
     "user": "**Dialogue Records History**\n<user>Lane 2, please.</user>\n<tool_call>\n{\"name\": \"Hours\",
      \"parameters\": {}}\n</tool_call>\n<obs> 8 to 8 </obs>\n\n<user> Based on our conversation above, ...</user>\n",
     "answer": [{"name": "BookLane", "parameters": {"lane": "2"}}]}

Tools, calls and results become those of the model's own template. The system text is left out: it teaches ToolRL's way
to write calls and has nothing about the task. Known defects besides those of API-Bank: 5 golds of level 1 are damaged,
values of BookHotel cut at the wrong quote (tag solvable=no, as for the 8 golds of level 1 whose argument the schema
lacks and the 6 rows of level 2 whose tool is not on offer), and the year is missing. The paper (arXiv:2510.07841) does
not name its cut; two of its authors wrote ToolRL, so it may be this one.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import partial
from typing import Any

from ttsi.benchmarks.apibank_format import api_row, turn_row
from ttsi.benchmarks.conversion import Conversion, call_row, solvable_tag
from ttsi.benchmarks.jsonl import Row
from ttsi.benchmarks.toolrl_train import TURN, read_dialogue

_TOOL = re.compile(r"\d+\. (?:Name: (\w+)\nDescription: |(\w+): )(.*)\nParameters: (.*)\n?")
_HEAD = re.compile(r"\s*\*+Dialogue Records History\*\*\s*")
_CUT = re.compile(r"', \w+=|^$")
"""What a gold value holds that was cut at the wrong quote: the next argument, or nothing."""


def conversion(level: int) -> Conversion:
    """One level of ToolRL's cut."""
    file = f"level-{level}-api_processed.json"
    return Conversion("api-bank-toolrl", (file,), partial(convert, level=level), f"ToolRL's {file}")


def convert(rows: list[Any], *, level: int) -> Iterator[Row]:
    """Rows of one level."""
    for number, row in enumerate(rows, start=1):
        gold = _gold(row["answer"])
        turn = turn_row(f"apibank-l{level}-toolrl-{number:03d}", _messages(row["user"]), _tools(row["system"]), gold)
        damaged = any(_CUT.search(value) for value in gold["arguments"].values())
        yield {**turn, "official": "toolrl", "tags": {**turn["tags"], **(solvable_tag(False) if damaged else {})}}


def _gold(answer: Any) -> Row:
    [call] = answer if isinstance(answer, list) else [answer]
    return call_row(call["name"], call["parameters"])


def _tools(system: str) -> list[Row]:
    text = system.partition("you can use the following tools:\n")[2].partition("\n\n**Steps for Each Turn**")[0]
    if not text or _TOOL.sub("", text + "\n").strip():
        raise ValueError("the tools in its system text are not in the documented form")
    return [
        api_row(name or short, description, ast.literal_eval(parameters))
        for name, short, description, parameters in _TOOL.findall(text + "\n")
    ]


def _messages(user: str) -> list[Row]:
    text = _HEAD.sub("", user, count=1)
    if rest := TURN.sub("", text).strip():
        raise ValueError(f"{rest[:80]!r} belongs to no turn")
    return list(read_dialogue(text))
