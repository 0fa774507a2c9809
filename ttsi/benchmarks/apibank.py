r"""How often is the next API call of a dialogue right? (API-Bank, levels 1 to 3)

Source: API-Bank, arXiv:2304.08244, github.com/AlibabaResearch/DAMO-ConvAI, folder api-bank, at 5d5a2d40 (Apache-2.0;
MIT at the repository's root). Level 1: the APIs are given (399 turns). Level 2: they have to be searched for first
(135). Level 3: a plan of several calls, each searched for first (245). `--split toolrl` is the cut of
github.com/qiancheng0/ToolRL at 8cee13ec (Apache-2.0), in which nobody searches: 399, 67 and 131; `--split hammer` is
that of github.com/MadeAgents/Hammer: 399 and 127. The paper (arXiv:2510.07841) names API-Bank without saying which
levels or which cut.

Inputs: a data folder with `api-bank/test-data/level-{1,2}-api.json[.gz]` and `level-3-batch-inf.json[.gz]`; what
`apibank_toolrl` and `apibank_hammer` read is said there. Outputs: a `Benchmark`. A sample, made up in the same form
(level 3 has `output`, and its first API in the input as `{"apiCode": ..., "parameters": ...}`):

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
rows of level 2 a tool that nobody has shown (tag solvable=no); 10 rows of level 1 and 17 of level 2 are repeated.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ttsi.benchmarks import Benchmark, Sample, places
from ttsi.benchmarks.files import read_json
from ttsi.errors import ConfigError, DataError, unknown_name
from ttsi.types import Input, Message, Role, Tool, ToolCall

FILES = {1: "level-1-api.json", 2: "level-2-api.json", 3: "level-3-batch-inf.json"}
SPLITS = {1: ("test", "toolrl", "hammer"), 2: ("test", "toolrl", "hammer"), 3: ("test", "toolrl")}
"""Level -> the cuts there are."""
SEARCH = "ToolSearcher"
CUE = "Generate API Request:"
SPEAKERS: Mapping[str, Role] = {"User": "user", "AI": "assistant"}
SCHEMAS: Mapping[str, Mapping[str, Any]] = {
    "str": {"type": "string"},
    "int": {"type": "integer"},
    "float": {"type": "number"},
    "bool": {"type": "boolean"},
    "list": {"type": "array"},
    "list(str)": {"type": "array", "items": {"type": "string"}},
}

_YEAR = re.compile(r"The current year is \d{4}\.")
_CALL = re.compile(r"\[(\w+)\((.*)\)\]", re.DOTALL)
# Quotes inside a value are not escaped: a value ends where a next argument or the end follows.
_ARGUMENT = re.compile(r"(\w+)='(.*?)'(?:, *(?=\w+=)|$)", re.DOTALL)


def load_l1(data_dir: Path | None = None, split: str = "test") -> Benchmark:
    """Level 1, where the APIs are given.

    Args:
        data_dir: the folder with the data.
        split: "test" for API-Bank's own rows, "toolrl" or, on levels 1 and 2, "hammer" for the cuts of these.

    Raises:
        ConfigError: there is no such split.
        DataError: the data are missing or not in the known form.
    """
    return _load(1, data_dir, split)


def load_l2(data_dir: Path | None = None, split: str = "test") -> Benchmark:
    """Level 2, where the APIs are searched for; otherwise as `load_l1`."""
    return _load(2, data_dir, split)


def load_l3(data_dir: Path | None = None, split: str = "test") -> Benchmark:
    """Level 3, plans of several calls; otherwise as `load_l1`."""
    return _load(3, data_dir, split)


def _load(level: int, data_dir: Path | None, split: str) -> Benchmark:
    if split not in SPLITS[level]:
        raise ConfigError(unknown_name(f"split of apibank-l{level}", split, SPLITS[level]))
    if split != "test":
        from ttsi.benchmarks import apibank_hammer, apibank_toolrl

        return {"toolrl": apibank_toolrl.load, "hammer": apibank_hammer.load}[split](level, data_dir)
    path = places.find(data_dir, "api-bank", f"test-data/{FILES[level]}")
    [rows], checksum = read_json([path])
    samples = tuple(_sample(level, number, row, path) for number, row in enumerate(rows, start=1))
    return Benchmark(f"apibank-l{level}", samples, checksum, str(path), matcher="lenient")


def _sample(level: int, number: int, row: Mapping[str, Any], path: Path) -> Sample:
    try:
        tools, lines = _given(row["instruction"], row["input"])
        messages, found = _dialogue(lines)
        gold = read_call(row["output" if level == 3 else "expected_output"].strip().removeprefix("API-Request: "))
        year = [Message("system", line) for line in _YEAR.findall(row["instruction"])]
        return sample(f"apibank-l{level}-{number:03d}", [*year, *messages], [*tools, *found], gold)
    except (KeyError, TypeError, ValueError, AttributeError, SyntaxError) as error:
        raise DataError(f"{path}, row {number}: {error!r}; this is not API-Bank's {path.name}") from None


def sample(name: str, messages: Sequence[Message], tools: Sequence[Tool], gold: ToolCall) -> Sample:
    """One turn of a dialogue as a sample; a tool that is shown twice is on offer once, as it was shown first."""
    offered = tuple({tool.name: tool for tool in reversed(tools)}.values())[::-1]
    schema = next((tool.parameters for tool in offered if tool.name == gold.name), None)
    solvable = schema is not None and gold.arguments.keys() <= schema["properties"].keys()
    tags = {"kind": "search" if gold.name == SEARCH else "call", "solvable": "yes" if solvable else "no"}
    return Sample(Input(name, joined(messages), offered), (gold,), tags)


def joined(messages: Sequence[Message]) -> tuple[Message, ...]:
    """Neighbouring messages of one role as one message, since chat templates ask for turns.

    >>> joined([Message("assistant", "Let me see."), Message("assistant", "", (ToolCall("f", {}),))])
    (Message(role='assistant', content='Let me see.', tool_calls=(ToolCall(name='f', arguments={}),)),)
    """
    turns: list[Message] = []
    for message in messages:
        last = turns[-1] if turns else None
        if last is None or last.role != message.role or message.role == "tool" or last.tool_calls:
            turns.append(message)
        else:
            text = "\n".join(filter(None, (last.content, message.content)))
            turns[-1] = Message(message.role, text, message.tool_calls)
    return tuple(turns)


def read_call(text: str) -> ToolCall:
    """A call as API-Bank writes it: every value in quotes, quotes inside it as they are.

    >>> read_call("[BookLane(lane='2', names='['Ann', 'Bo']')]")
    ToolCall(name='BookLane', arguments={'lane': '2', 'names': "['Ann', 'Bo']"})

    Raises:
        ValueError: it is none.
    """
    call = _CALL.fullmatch(text)
    if call is None or _ARGUMENT.sub("", call[2]).strip():
        raise ValueError(f"{text[:80]!r} is no call like [Name(key='value')]")
    return ToolCall(call[1], dict(_ARGUMENT.findall(call[2])))


def tool(name: str, description: str, parameters: Mapping[str, Mapping[str, str]]) -> Tool:
    """An API as a tool.

    >>> tool("Hours", "When it is open.", {"day": {"type": "str", "description": "The day."}}).parameters
    {'type': 'object', 'properties': {'day': {'type': 'string', 'description': 'The day.'}}}
    """
    properties = {
        key: {**SCHEMAS[parameter["type"]], "description": parameter["description"]}
        for key, parameter in parameters.items()
    }
    return Tool(name, description, {"type": "object", "properties": properties})


def _given(instruction: str, text: str) -> tuple[list[Tool], list[str]]:
    """The APIs of the instruction and of the input's first lines, and the lines of the dialogue."""
    lines = [*instruction.partition("API descriptions:")[2].splitlines(), *text.splitlines()]
    described = [line for line in lines if line.startswith("{")]
    spoken = [line for line in lines if line.strip() and not line.startswith("{")]
    return [_described(json.loads(line)) for line in described], spoken


def _described(api: Mapping[str, Any]) -> Tool:
    name = api["apiCode"] if "apiCode" in api else api["name"]
    return tool(name, api["description"], api["parameters"] if "apiCode" in api else api["input_parameters"])


def _dialogue(lines: Sequence[str]) -> tuple[list[Message], list[Tool]]:
    """The lines as messages, and the tools that searches in them found."""
    messages: list[Message] = []
    found: list[Tool] = []
    for line in lines:
        speaker, _, words = line.partition(": ")
        if speaker == "API-Request":
            call, result = _step(words)
            messages += [Message("assistant", "", (call,)), Message("tool", result)]
            found += _found(result) if call.name == SEARCH else []
        elif line.strip() == CUE:
            messages = cued(messages)
        else:
            messages.append(Message(SPEAKERS[speaker.rstrip(":")], words))
    return messages, found


def cued(messages: Sequence[Message]) -> list[Message]:
    """The dialogue with the cue: behind the user's last words, or alone where the assistant has said something since.

    >>> cued([Message("user", "Lane 2."), Message("tool", "8 to 8")])[0].content
    'Lane 2.\\nGenerate API Request:'
    """
    if messages[-1].role == "assistant":
        return [*messages, Message("user", CUE)]
    last = max(i for i, message in enumerate(messages) if message.role == "user")
    asked = Message("user", f"{messages[last].content}\n{CUE}")
    return [*messages[:last], asked, *messages[last + 1 :]]


def _step(words: str) -> tuple[ToolCall, str]:
    text, arrow, result = words.partition(")]->")
    if not arrow:
        raise ValueError(f"{words[:80]!r} has no result")
    return read_call(f"{text})]"), result


def _found(result: str) -> list[Tool]:
    """The tools in what a search returned: one, a list of them, or one inside the record of the search."""
    value = ast.literal_eval(result)
    value = value["output"] if isinstance(value, dict) and "output" in value else value
    return [_described(api) for api in (value if isinstance(value, list) else [value])]
