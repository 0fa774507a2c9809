r"""How does Hammer cut API-Bank? Levels 1 and 2 as chats, in the form that Hammer gives to all its test sets.

Source: github.com/MadeAgents/Hammer at ff415d99, data/test/original/apibank_l1.json and apibank_l2.json (Apache-2.0),
cut from API-Bank (`ttsi.benchmarks.apibank`, which calls this). Inputs: the level, and a data folder with
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
is not shown (tag solvable=no), and 16 of its rows are repeated. Hammer's SealTool file has the size that the paper
(arXiv:2510.07841) reports, so its API-Bank may be Hammer's, too.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ttsi.benchmarks import Benchmark, Sample, apibank, places
from ttsi.benchmarks.files import read_json
from ttsi.errors import DataError
from ttsi.types import Message, Role, ToolCall

ROLES: Mapping[str, Role] = {"user": "user", "agent": "assistant", "tool": "tool"}


def load(level: int, data_dir: Path | None) -> Benchmark:
    """One level of Hammer's cut.

    Raises:
        DataError: the data are missing or not in the known form.
    """
    path = places.find(data_dir, "hammer-eval", f"apibank_l{level}.json")
    [rows], checksum = read_json([path])
    samples = tuple(_sample(f"apibank-l{level}-hammer-{n:03d}", row, path) for n, row in enumerate(rows, start=1))
    return Benchmark(f"apibank-l{level}-hammer", samples, checksum, str(path), matcher="lenient")


def _sample(name: str, row: Mapping[str, Any], path: Path) -> Sample:
    try:
        tools = [apibank.tool(tool["name"], tool["description"], tool["parameters"]) for tool in row["tools"]]
        [gold] = [_call(answer) for answer in row["answers"]]
        return apibank.sample(name, _messages(row["query"]), tools, gold)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise DataError(f"{path}, row {name[-3:]}: {error!r}; this is not Hammer's {path.name}") from None


def _messages(turns: list[Mapping[str, str]]) -> list[Message]:
    *before, last = turns
    words, cue, rest = last["content"].partition(apibank.CUE)
    if not cue or rest.strip():
        raise ValueError(f"its last turn does not end with {apibank.CUE!r}")
    return apibank.cued([_message(turn["role"], turn["content"]) for turn in (*before, {**last, "content": words})])


def _message(role: str, content: str) -> Message:
    if role != "assistant":
        return Message(ROLES[role], content.strip())
    calls = json.loads(content.removeprefix("```").removesuffix("```"))
    return Message("assistant", "", tuple(map(_call, calls)))


def _call(call: Mapping[str, Any]) -> ToolCall:
    return ToolCall(call["name"], dict(call["arguments"]))
