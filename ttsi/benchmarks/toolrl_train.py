"""ToolRL's 400 mixed dialogues for fine-tuning, a training pool.

Source: ToolRL, arXiv:2504.13958, github.com/qiancheng0/ToolRL at commit 8cee13ec, `dataset/rlla_4k_raw/rlla_sft.json`
(Apache-2.0; made of ToolACE, Apache-2.0, and Hammer-masked and xLAM-60k, CC-BY-4.0: name them when you publish).
Inputs: a data folder with `toolrl-sft400/rlla_sft.json[.gz]`. Outputs: a training pool of 400 samples. A row, made up
in its form (there, line breaks are \\n and quotes \\"):

    {"instruction": "... **Available Tools** ...
                     1. Name: pool_hours
                     Description: When it is open.
                     Parameters: {'day': {'description': 'The day.', 'type': 'str, optional', 'default': ''}}
                     ...",
     "input": "**Dialogue Records History**
               <user> Is it open on Sunday? </user>",
     "output": "<think> ... </think>
                <tool_call>
                {'name': 'pool_hours', 'parameters': {'day': 'Sunday'}}
                </tool_call>"}

The protocol in the instruction and the thoughts, which another model wrote, are left out: each model is to answer in
its own format. 54 rows answer in words only and have no calls. Types: see `ttsi.benchmarks.type_schemas`; no parameter
is marked as required, so none is.

Known defects: one row calls names that are no tools (`solvable=no`); one lists a tool twice (the first is kept);
numbers are often texts. Training data have no metric.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from ttsi.benchmarks.conversion import Conversion, PublicBenchmark, call_row, message_row, solvable_tag, tool_row
from ttsi.benchmarks.jsonl import Row
from ttsi.benchmarks.type_schemas import schema_of

_TOOL = re.compile(r"^\d+\. Name: (.*)\nDescription: (.*(?:\n(?!Parameters: ).*)*)\nParameters: (.*)$", re.MULTILINE)
TURN = re.compile(r"<(user|think|tool_call|obs|response)>(.*?)</\1>", re.DOTALL)


def convert(rows: list[Any]) -> Iterator[Row]:
    """Rows from the dialogues; a tool that is listed twice is on offer once, as it came first."""
    for number, row in enumerate(rows, start=1):
        tools = {tool["name"]: tool for tool in reversed(list(_tools(row["instruction"])))}
        messages = list(read_dialogue(row["input"]))
        gold = [call for kind, text in TURN.findall(row["output"]) if kind == "tool_call" for call in read_calls(text)]
        if not tools or not messages:
            raise ValueError("no tools or no dialogue")
        solvable = all(call["name"] in tools for call in gold)
        yield {
            "id": f"toolrl-{number:03d}",
            "messages": messages,
            "tools": list(tools.values())[::-1],
            "gold": gold,
            "tags": {"kind": "call" if gold else "words", **solvable_tag(solvable)},
        }


def _tools(instruction: str) -> Iterator[Row]:
    listed = instruction.partition("**Available Tools**")[2].partition("**Steps for Each Turn**")[0]
    for name, description, parameters in _TOOL.findall(listed):
        properties = {key: _schema(value) for key, value in (json.loads(parameters) or {}).items()}
        yield tool_row(name.strip(), description.strip(), properties, [])


def _schema(parameter: Mapping[str, Any]) -> dict[str, Any]:
    schema = {**schema_of(parameter["type"]), "description": parameter["description"]}
    # An empty text stands for "no default".
    return schema if parameter["default"] == "" else {**schema, "default": parameter["default"]}


def read_dialogue(text: str) -> Iterator[Row]:
    """The messages of a dialogue in ToolRL's form, without its thoughts."""
    for kind, content in TURN.findall(text):
        if kind == "user":
            yield message_row("user", content.strip())
        elif kind == "tool_call":
            yield message_row("assistant", "", *read_calls(content))
        elif kind == "obs":
            yield message_row("tool", content.strip())
        elif kind == "response":
            yield message_row("assistant", content.strip())


def read_calls(text: str) -> Iterator[Row]:
    """The calls in a turn of ToolRL's form, one JSON object a line."""
    for line in text.strip().splitlines():
        call = json.loads(line)
        yield call_row(call["name"], call["parameters"])


TOOLRL_400 = PublicBenchmark(
    "toolrl-400",
    "400 mixed rows that ToolRL fine-tunes on, out of every benchmark's domain",
    {"train": (Conversion("toolrl-sft400", ("rlla_sft.json",), convert, "ToolRL's rlla_sft.json"),)},
)
