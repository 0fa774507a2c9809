"""API-Bank's own form of dialogues, calls and APIs, which its cuts by Hammer and ToolRL share.

Inputs: messages, tools and gold, read by the converters of API-Bank and of its cuts. Outputs: rows of the JSONL form
(`ttsi.benchmarks.jsonl`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from ttsi.benchmarks.conversion import call_row, message_row, solvable_tag, tool_row
from ttsi.benchmarks.jsonl import Row
from ttsi.benchmarks.type_schemas import schema_of

SEARCH = "ToolSearcher"
CUE = "Generate API Request:"
SPEAKERS = {"User": "user", "AI": "assistant"}

_CALL = re.compile(r"\[(\w+)\((.*)\)\]", re.DOTALL)
# Quotes inside a value are not escaped: a value ends where a next argument or the end follows.
_ARGUMENT = re.compile(r"(\w+)='(.*?)'(?:, *(?=\w+=)|$)", re.DOTALL)


def turn_row(name: str, messages: Sequence[Row], tools: Sequence[Row], gold: Row) -> dict[str, Any]:
    """One turn of a dialogue; a tool that stands in it twice is on offer once, as it came first."""
    offered = list({tool["name"]: tool for tool in reversed(tools)}.values())[::-1]
    schema = next((tool["parameters"] for tool in offered if tool["name"] == gold["name"]), None)
    solvable = schema is not None and gold["arguments"].keys() <= schema["properties"].keys()
    tags = {"kind": "search" if gold["name"] == SEARCH else "call", **solvable_tag(solvable)}
    return {"id": name, "messages": join_neighbours(messages), "tools": offered, "gold": [gold], "tags": tags}


def join_neighbours(messages: Sequence[Row]) -> list[Row]:
    """Neighbouring messages of one role as one message, since chat templates ask for turns.

    >>> join_neighbours([message_row("assistant", "Let me see."), message_row("assistant", "", call_row("f", {}))])
    [{'role': 'assistant', 'content': 'Let me see.', 'tool_calls': [{'name': 'f', 'arguments': {}}]}]
    """
    turns: list[Row] = []
    for message in messages:
        last = turns[-1] if turns else None
        if last is None or last["role"] != message["role"] or message["role"] == "tool" or "tool_calls" in last:
            turns.append(message)
        else:
            turns[-1] = {**message, "content": "\n".join(filter(None, (last["content"], message["content"])))}
    return turns


def add_cue(messages: Sequence[Row]) -> list[Row]:
    """The dialogue with the cue: behind the user's last words, or alone where the assistant has spoken since.

    >>> add_cue([message_row("user", "Lane 2."), message_row("tool", "8 to 8")])[0]["content"]
    'Lane 2.\\nGenerate API Request:'
    """
    if messages[-1]["role"] == "assistant":
        return [*messages, message_row("user", CUE)]
    last = max(i for i, message in enumerate(messages) if message["role"] == "user")
    request = message_row("user", f"{messages[last]['content']}\n{CUE}")
    return [*messages[:last], request, *messages[last + 1 :]]


def read_call(text: str) -> Row:
    """A call as API-Bank writes it: every value in quotes, quotes inside it as they are.

    >>> read_call("[BookLane(lane='2', names='['Ann', 'Bo']')]")
    {'name': 'BookLane', 'arguments': {'lane': '2', 'names': "['Ann', 'Bo']"}}

    Raises:
        ValueError: it is none.
    """
    call = _CALL.fullmatch(text)
    if call is None or _ARGUMENT.sub("", call[2]).strip():
        raise ValueError(f"{text[:80]!r} is no call like [Name(key='value')]")
    return call_row(call[1], dict(_ARGUMENT.findall(call[2])))


def api_row(name: str, description: str, parameters: Mapping[str, Mapping[str, str]]) -> Row:
    """An API as a tool.

    >>> api_row("Hours", "When it is open.", {"day": {"type": "str", "description": "The day."}})["parameters"]
    {'type': 'object', 'properties': {'day': {'type': 'string', 'description': 'The day.'}}}
    """
    properties = {
        key: {**schema_of(parameter["type"], strict=True), "description": parameter["description"]}
        for key, parameter in parameters.items()
    }
    return tool_row(name, description, properties)
