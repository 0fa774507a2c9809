r"""API-Bank: the next API call of a dialogue, levels 1 to 3.

Source: API-Bank, arXiv:2304.08244, github.com/AlibabaResearch/DAMO-ConvAI, folder api-bank, at 5d5a2d40 (Apache-2.0;
MIT at the repository's root). Level 1: the APIs are given (399 turns). Level 2: they have to be searched for first
(135). Level 3: a plan of several calls, each searched for first (245). `--split toolrl` is the cut of
github.com/qiancheng0/ToolRL at 8cee13ec (Apache-2.0), without searches: 399, 67 and 131; `--split hammer` is
that of github.com/MadeAgents/Hammer: 399 and 127. The paper (arXiv:2510.07841) names API-Bank without saying which
levels or which cut.

Inputs: a data folder with `api-bank/test-data/level-{1,2}-api.json[.gz]` and `level-3-batch-inf.json[.gz]`; the
cuts name their files in `apibank_toolrl` and `apibank_hammer`. Outputs: a `Benchmark`. A sample, made up in the same
form (level 3 has `output`, and its first API in the input as `{"apiCode": ..., "parameters": ...}`):

    {"file": "Pool-level-1-1.jsonl", "id": 1,
     "instruction": "... The current year is 2023. ... API descriptions:\n{\"name\": \"BookLane\", \"description\":
      \"...\", \"input_parameters\": {\"lane\": {\"type\": \"int\", \"description\": \"...\"}}}",
     "input": "User: Lane 2.\nAI: Let me see.\nAPI-Request: [Hours(day='Sunday')]->8 to 8\nGenerate API Request:\n",
     "expected_output": "API-Request: [BookLane(lane='2')]"}

A dialogue becomes messages: what was called is an assistant's call, what it returned a tool's message, neighbours of
one role are one message, and "Generate API Request:" joins the user's last words, or is the user's turn where the
assistant has spoken since. The line about the year becomes the system message; the other instructions, which teach
another way to write calls, are left out. What an earlier ToolSearcher returned is on offer too. Types become JSON
Schema: str -> string, int -> integer, float -> number, bool -> boolean, list -> array, list(str) -> array of strings,
and all parameters are optional, as 20 golds leave some out.

Official metric: the call is executed on a mock database and its result compared, which needs upstream's programs and
is not done here; in its place the headline is `lenient`. ToolRL's cut is graded by ToolRL's rule (`official`, in
`ttsi.benchmarks.official`). Known defects: every gold value is a text, numbers and lists too, so a model that follows
the schema is right leniently and wrong by ToolRL's rule; 8 golds of level 1 use an argument that the schema lacks, 14
rows of level 2 a tool that is not on offer (tag solvable=no); 10 rows of level 1 and 17 of level 2 are repeated.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from ttsi.benchmarks import apibank_hammer, apibank_toolrl
from ttsi.benchmarks.apibank_format import CUE, SEARCH, SPEAKERS, add_cue, api_row, read_call, turn_row
from ttsi.benchmarks.conversion import Conversion, PublicBenchmark, message_row
from ttsi.benchmarks.jsonl import Row

_YEAR = re.compile(r"The current year is \d{4}\.")


def convert(rows: list[Any], *, level: int) -> Iterator[Row]:
    """Rows of one level."""
    for number, row in enumerate(rows, start=1):
        tools, lines = _apis_and_lines(row["instruction"], row["input"])
        messages, searched = _dialogue(lines)
        gold = read_call(row["output" if level == 3 else "expected_output"].strip().removeprefix("API-Request: "))
        year = [message_row("system", line) for line in _YEAR.findall(row["instruction"])]
        yield turn_row(f"apibank-l{level}-{number:03d}", [*year, *messages], [*tools, *searched], gold)


def _apis_and_lines(instruction: str, text: str) -> tuple[list[Row], list[str]]:
    """The APIs of the instruction and of the input's first lines, and the lines of the dialogue."""
    lines = [*instruction.partition("API descriptions:")[2].splitlines(), *text.splitlines()]
    described = [line for line in lines if line.startswith("{")]
    spoken = [line for line in lines if line.strip() and not line.startswith("{")]
    return [_api(json.loads(line)) for line in described], spoken


def _api(api: Mapping[str, Any]) -> Row:
    name, parameters = ("apiCode", "parameters") if "apiCode" in api else ("name", "input_parameters")
    return api_row(api[name], api["description"], api[parameters])


def _dialogue(lines: Sequence[str]) -> tuple[list[Row], list[Row]]:
    """The lines as messages, and the tools that searches in them returned."""
    messages: list[Row] = []
    searched: list[Row] = []
    for line in lines:
        speaker, _, words = line.partition(": ")
        if speaker == "API-Request":
            call, result = _step(words)
            messages += [message_row("assistant", "", call), message_row("tool", result)]
            searched += _search_results(result) if call["name"] == SEARCH else []
        elif line.strip() == CUE:
            messages = add_cue(messages)
        else:
            messages.append(message_row(SPEAKERS[speaker.rstrip(":")], words))
    return messages, searched


def _step(words: str) -> tuple[Row, str]:
    text, arrow, result = words.partition(")]->")
    if not arrow:
        raise ValueError(f"{words[:80]!r} has no result")
    return read_call(f"{text})]"), result


def _search_results(result: str) -> list[Row]:
    """The tools in what a search returned: one, a list of them, or one inside the record of the search."""
    value = ast.literal_eval(result)
    value = value["output"] if isinstance(value, dict) and "output" in value else value
    return [_api(api) for api in (value if isinstance(value, list) else [value])]


def _level(level: int, file: str, summary: str, **cuts: Conversion) -> PublicBenchmark:
    own = Conversion("api-bank", (f"test-data/{file}",), partial(convert, level=level), f"API-Bank's {file}")
    splits = {split: (conversion,) for split, conversion in {"test": own, **cuts}.items()}
    return PublicBenchmark(f"apibank-l{level}", f"API-Bank level {level}, {summary}; ttsi data get api-bank", splits)


LEVEL_1 = _level(
    1,
    "level-1-api.json",
    "399 turns of dialogues (--split toolrl, hammer)",
    toolrl=apibank_toolrl.conversion(1),
    hammer=apibank_hammer.conversion(1),
)
LEVEL_2 = _level(
    2,
    "level-2-api.json",
    "135 turns that may search tools (--split toolrl, hammer)",
    toolrl=apibank_toolrl.conversion(2),
    hammer=apibank_hammer.conversion(2),
)
LEVEL_3 = _level(
    3,
    "level-3-batch-inf.json",
    "245 steps of plans (--split toolrl: 131)",
    toolrl=apibank_toolrl.conversion(3),
)
