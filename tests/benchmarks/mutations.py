"""Answers made from a gold answer by one known change, and what each rule must say about them.

The expected verdicts are derived by hand from the words of the rules (`ttsi.benchmarks.matching`, `official`), not
computed by them:

    change              strict  lenient  nexusraven  toolrl  keyless
    right, reordered    yes     yes      yes         yes     yes
    number as text      no      yes      no          no      yes      1 -> "1"
    text as number      no      yes      no          no      yes      "1" -> 1
    spaces round text   no      yes      no          no      yes
    integer as float    yes     yes      yes         yes     yes      1 -> 1.0
    truth as number     no      no       yes         yes     no       True -> 1 (Python's == and nobody else's)
    default given       no      no       yes         no      no       an argument left out, given with its default
    key left out        no      no       no          no      yes
    key invented        no      no       no          no      yes
    calls reordered     yes     yes      -           -       yes      rows with several different calls
    one call too many   no      no       yes         yes     no       the right ones first
    all the rest        no      no       no          no      no       wrong tool, other case, nested change, ...
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from random import Random
from typing import Any

from ttsi.types import Tool, ToolCall

RULES = ("strict", "lenient", "nexusraven", "toolrl", "keyless")
ALL, NONE = frozenset(RULES), frozenset[str]()
PYTHON = frozenset({"nexusraven", "toolrl"})
TEXTUAL = frozenset({"lenient", "keyless"})


@dataclass(frozen=True)
class Mutant:
    """A changed answer and the rules that must still call it right."""

    change: str
    calls: tuple[ToolCall, ...]
    right_by: frozenset[str]


def mutants(
    gold: tuple[ToolCall, ...], tools: tuple[Tool, ...], random: Random, keys: Collection[str] = ()
) -> Iterator[Mutant]:
    """Every change that this gold answer allows, each at a random place."""
    yield Mutant("right", gold, ALL)
    yield Mutant("no call", (), NONE)
    place = random.randrange(len(gold))
    call, others = gold[place], gold[:place] + gold[place + 1 :]
    for change, calls, right_by in _calls_changed(gold, tools, random):
        yield Mutant(change, calls, right_by)
    for change, arguments, right_by in _arguments_changed(call, tools, random, keys):
        changed = ToolCall(call.name, arguments)
        yield Mutant(change, (*gold[:place], changed, *gold[place + 1 :]), right_by)
    if others:
        yield Mutant("one call missing", others, NONE)


Changed = tuple[str, tuple[ToolCall, ...], frozenset[str]]


def _calls_changed(gold: tuple[ToolCall, ...], tools: tuple[Tool, ...], random: Random) -> Iterator[Changed]:
    first, rest = gold[0], gold[1:]
    other = [tool.name for tool in tools if tool.name not in {call.name for call in gold}]
    yield "wrong tool", (ToolCall(random.choice([*other, "no_such_tool"]), first.arguments), *rest), NONE
    yield "tool in other case", (ToolCall(first.name.swapcase(), first.arguments), *rest), NONE
    yield "one call too many", (*gold, ToolCall("no_such_tool", {})), PYTHON
    if len({str(call) for call in gold}) > 1:
        yield "calls reordered", gold[::-1], ALL


Arguments = Mapping[str, Any]


def _arguments_changed(
    call: ToolCall, tools: tuple[Tool, ...], random: Random, keys: Collection[str]
) -> Iterator[tuple[str, Arguments, frozenset[str]]]:
    given = dict(call.arguments)
    yield "reordered", dict(reversed(given.items())), ALL
    yield "extra argument", {**given, "no_such_argument": 1}, NONE
    schema = next((tool.parameters for tool in tools if tool.name == call.name), {"properties": {}})
    omitted = [key for key, inner in schema["properties"].items() if "default" in inner and key not in {*given, *keys}]
    if omitted:
        key = random.choice(omitted)
        yield "default given", {**given, key: schema["properties"][key]["default"]}, frozenset({"nexusraven"})
    if given_keys := [key for key in given if key in keys]:
        yield (
            "key left out",
            {key: value for key, value in given.items() if key not in given_keys},
            frozenset({"keyless"}),
        )
        yield "key invented", {**given, given_keys[0]: "YOUR_API_KEY"}, frozenset({"keyless"})
    plain_keys = [key for key in given if key not in keys]
    if plain_keys:
        dropped = random.choice(plain_keys)
        yield "missing argument", {key: value for key, value in given.items() if key != dropped}, NONE
        renamed = random.choice(plain_keys)
        yield "argument in other case", {key + "_" * (key == renamed): v for key, v in given.items()}, NONE
    for key in plain_keys:
        for change, value, right_by in _value_changed(given[key]):
            yield change, {**given, key: value}, right_by


def _value_changed(value: Any) -> Iterator[tuple[str, Any, frozenset[str]]]:
    if isinstance(value, bool):
        yield "truth as number", int(value), PYTHON
        yield "another truth", not value, NONE
    elif isinstance(value, int | float):
        yield "number as text", str(value), TEXTUAL
        yield "another number", value + 1, NONE
        if isinstance(value, int):
            yield "integer as float", float(value), ALL
    elif isinstance(value, str):
        yield "spaces round text", f" {value} ", TEXTUAL
        yield "another text", value + "~", NONE
        yield "wrong type", [value, value], NONE
        if value.swapcase() != value:
            yield "other case", value.swapcase(), NONE
        if value.isdecimal() and str(int(value)) == value:
            yield "text as number", int(value), TEXTUAL
    elif isinstance(value, list):
        yield "nested change", [*value, "~"], NONE
        if len(value) > 1 and value[::-1] != value:
            yield "items reordered", value[::-1], NONE
    elif isinstance(value, dict):
        yield "nested change", {**value, "~": 1}, NONE
