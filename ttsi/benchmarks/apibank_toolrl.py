r"""How does ToolRL cut API-Bank? The same dialogues in another form, without the turns that search for tools.

Source, licence, metric and splits are in `ttsi.benchmarks.apibank`, which calls this. Inputs: the level, and a data
folder with `api-bank-toolrl/level-{1,2,3}-api_processed.json[.gz]`. Outputs: a `Benchmark` of 399, 67 or 131 samples. A
sample, made up in the same form (level 3 has `1. BookLane: Books a lane.`; level 2 one object as its answer):

    {"system": "... you can use the following tools:\n1. Name: BookLane\nDescription: Books a lane.\nParameters:
      {'lane': {'type': 'int', 'description': '...'}}\n\n**Steps for Each Turn** ...",
     "user": "**Dialogue Records History**\n<user>Lane 2, please.</user>\n<tool_call>\n{\"name\": \"Hours\",
      \"parameters\": {}}\n</tool_call>\n<obs> 8 to 8 </obs>\n\n<user> Based on our conversation above, ...</user>\n",
     "answer": [{"name": "BookLane", "parameters": {"lane": "2"}}]}

Tools, calls and results become those of the model's own template. The system text is left out: it teaches ToolRL's way
to write calls and says nothing about the task. Known defects besides those of API-Bank: 5 golds of level 1 are damaged,
values of BookHotel cut at the wrong quote (tag solvable=no, as for the 8 golds of level 1 whose argument the schema
lacks and the 6 rows of level 2 whose tool is not shown), and the year is not told. Not in the paper
(arXiv:2510.07841); two of its authors wrote ToolRL, so this may be the cut that it used.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from ttsi.benchmarks import Benchmark, Sample, apibank, places
from ttsi.benchmarks.files import read_json
from ttsi.benchmarks.official import ToolRL
from ttsi.errors import DataError
from ttsi.types import Message, Role, Tool, ToolCall

_TOOL = re.compile(r"\d+\. (?:Name: (\w+)\nDescription: |(\w+): )(.*)\nParameters: (.*)\n?")
_TURN = re.compile(
    r"<user>(?P<user>.*?)</user>|<response>(?P<response>.*?)</response>|<obs>(?P<obs>.*?)</obs>"
    r"|<tool_call>\n(?P<call>.*?)\n</tool_call>",
    re.DOTALL,
)
ROLES: Mapping[str, Role] = {"user": "user", "response": "assistant", "obs": "tool"}
_HEAD = re.compile(r"\s*\*+Dialogue Records History\*\*\s*")
_CUT = re.compile(r"', \w+=|^$")
"""What a gold value holds that was cut at the wrong quote: the next argument, or nothing."""


def load(level: int, data_dir: Path | None) -> Benchmark:
    """One level of ToolRL's cut.

    Raises:
        DataError: the data are missing or not in the known form.
    """
    path = places.find(data_dir, "api-bank-toolrl", f"level-{level}-api_processed.json")
    [rows], checksum = read_json([path])
    samples = tuple(_sample(f"apibank-l{level}-toolrl-{n:03d}", row, path) for n, row in enumerate(rows, start=1))
    return Benchmark(f"apibank-l{level}-toolrl", samples, checksum, str(path), matcher="official")


def _sample(name: str, row: Mapping[str, Any], path: Path) -> Sample:
    try:
        gold = _gold(row["answer"])
        sample = apibank.sample(name, list(_messages(row["user"])), _tools(row["system"]), gold)
    except (KeyError, TypeError, ValueError, AttributeError, SyntaxError) as error:
        raise DataError(f"{path}, row {name[-3:]}: {error!r}; this is not ToolRL's {path.name}") from None
    damaged = any(_CUT.search(value) for value in gold.arguments.values())
    tags = {**sample.tags, "solvable": "no"} if damaged else sample.tags
    return replace(sample, tags=tags, official=ToolRL(gold))


def _gold(answer: Any) -> ToolCall:
    [call] = answer if isinstance(answer, list) else [answer]
    return ToolCall(call["name"], dict(call["parameters"]))


def _tools(system: str) -> list[Tool]:
    text = system.partition("you can use the following tools:\n")[2].partition("\n\n**Steps for Each Turn**")[0]
    if not text or _TOOL.sub("", text + "\n").strip():
        raise ValueError("the tools in its system text are in no known form")
    return [
        apibank.tool(name or short, description, ast.literal_eval(parameters))
        for name, short, description, parameters in _TOOL.findall(text + "\n")
    ]


def _messages(user: str) -> Iterator[Message]:
    text = _HEAD.sub("", user, count=1)
    if _TURN.sub("", text).strip():
        raise ValueError(f"{_TURN.sub('', text).strip()[:80]!r} belongs to no turn")
    for turn in _TURN.finditer(text):
        kind = str(turn.lastgroup)
        words = turn[kind].strip()
        if kind == "call":
            yield Message("assistant", "", tuple(_gold(json.loads(line)) for line in words.splitlines()))
        else:
            yield Message(ROLES[kind], words)
