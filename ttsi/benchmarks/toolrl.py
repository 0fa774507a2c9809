"""Which mixed dialogues may be learned from? (ToolRL's 400 rows for fine-tuning)

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
its own format. 54 rows answer in words only and have no calls. Types: see `ttsi.benchmarks.python_types`; no parameter
says whether it must be given, so none is required.

Known defects: one row calls names that are no tools (`solvable=no`); one lists a tool twice (the first is kept);
numbers are often texts. Training data have no metric. Not in the paper (arXiv:2510.07841).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ttsi.benchmarks import Benchmark, Sample, jsonl, places
from ttsi.benchmarks.python_types import schema_of
from ttsi.errors import DataError
from ttsi.types import Input, Message, Tool, ToolCall

_TOOL = re.compile(r"^\d+\. Name: (.*)\nDescription: (.*(?:\n(?!Parameters: ).*)*)\nParameters: (.*)$", re.MULTILINE)
_TURN = re.compile(r"<(user|think|tool_call|obs|response)>(.*?)</\1>", re.DOTALL)


def load(data_dir: Path | None = None) -> Benchmark:
    """The 400 rows.

    Raises:
        DataError: the data are missing or not in the known form.
    """
    path = places.find(data_dir, "toolrl-sft400", "rlla_sft.json")
    data = jsonl.read_bytes(path)
    try:
        rows = json.loads(data)
        samples = tuple(_sample(row, number) for number, row in enumerate(rows, start=1))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{path}: {error!r}; this is not ToolRL's rlla_sft.json") from None
    return Benchmark("toolrl-400", samples, jsonl.sha256(data), str(path), matcher="lenient")


def _sample(row: Mapping[str, Any], number: int) -> Sample:
    tools = {tool.name: tool for tool in reversed(list(_tools(row["instruction"])))}
    messages = tuple(_messages(row["input"]))
    gold = tuple(call for kind, text in _TURN.findall(row["output"]) if kind == "tool_call" for call in _calls(text))
    if not tools or not messages:
        raise DataError(f"row {number} has no tools or no dialogue; this is not ToolRL's rlla_sft.json")
    solvable = all(call.name in tools for call in gold)
    tags = {"kind": "call" if gold else "words", "solvable": "yes" if solvable else "no"}
    return Sample(Input(f"toolrl-{number:03d}", messages, tuple(tools.values())[::-1]), gold, tags)


def _tools(instruction: str) -> Iterator[Tool]:
    shown = instruction.partition("**Available Tools**")[2].partition("**Steps for Each Turn**")[0]
    for name, description, parameters in _TOOL.findall(shown):
        properties = {key: _schema(value) for key, value in (json.loads(parameters) or {}).items()}
        yield Tool(name.strip(), description.strip(), {"type": "object", "properties": properties, "required": []})


def _schema(parameter: Mapping[str, Any]) -> dict[str, Any]:
    schema = {**schema_of(parameter["type"]), "description": parameter["description"]}
    # An empty text stands for "no default".
    return schema if parameter["default"] == "" else {**schema, "default": parameter["default"]}


def _messages(text: str) -> Iterator[Message]:
    for kind, content in _TURN.findall(text):
        if kind == "user":
            yield Message("user", content.strip())
        elif kind == "tool_call":
            yield Message("assistant", "", tuple(_calls(content)))
        elif kind == "obs":
            yield Message("tool", content.strip())
        elif kind == "response":
            yield Message("assistant", content.strip())


def _calls(text: str) -> Iterator[ToolCall]:
    for line in text.strip().splitlines():
        call = json.loads(line)
        yield ToolCall(call["name"], call["parameters"])
