"""Grounding: the argument values of a call that its text states, and those that it does not.

Inputs: a text (a written request, or a whole conversation) and a call. Outputs: whether the text states a value; the
arguments of which it does not; the call without the optional ones among them.

A string is stated when its words stand in the text side by side, a number when the text has it in digits. Booleans and
nulls are never stated and count as grounded, and so does a value that the schema itself supplies: its `default`, its
`const`, one of its `enum` ("fahrenheit" is chosen, not invented; without this 21 % of BFCL's live gold would lose an
argument, with it 13 %). This is a rule of thumb: "two" states no 2, and "next Friday" no date. The paper
(arXiv:2510.07841) checks no values.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ttsi.chat.tool_schema import problem
from ttsi.types import Message, Tool, ToolCall
from ttsi.words import words

_NUMBER = re.compile(r"(?<![\w.])(?:(?<![\w)])-)?(?!0\d)\d+(?:,\d{3})*(?:\.\d+)?(?!\.?\d)")


@dataclass(frozen=True)
class StatedValues:
    """The values that a text states: `value in StatedValues.of(text)`.

    >>> stated = StatedValues.of("two nights in New York, 1,500 dollars")
    >>> [value in stated for value in ("new york", "York, 1", 1500, 2, "Boston")]
    [True, True, True, False, False]
    """

    text: str
    """Normalised, with a space at either end."""
    numbers: frozenset[float]

    @classmethod
    def of(cls, text: str) -> StatedValues:
        """The values that this text states."""
        return cls(f" {normalise(text)} ", frozenset(numbers(text)))

    def __contains__(self, value: object) -> bool:
        """Whether the text states a string or a number."""
        return value in self.numbers if isinstance(value, int | float) else f" {normalise(str(value))} " in self.text


def conversation_text(messages: Sequence[Message]) -> str:
    """All that a conversation states: every message, and the arguments of the calls made in it."""
    parts = []
    for message in messages:
        parts.append(message.content)
        parts += [str(value) for call in message.tool_calls for _, value in leaves(call.arguments)]
    return "\n".join(parts)


def unstated_arguments(call: ToolCall, tools: Sequence[Tool], stated: StatedValues) -> tuple[str, ...]:
    """The arguments with a value, at any depth, that neither the text states nor the tool's schema supplies.

    >>> tool = Tool("f", "", {"properties": {"unit": {"default": "C"}, "city": {}, "day": {}, "dry": {}}})
    >>> call = ToolCall("f", {"unit": "C", "city": "Oslo", "day": "Friday", "dry": True})
    >>> unstated_arguments(call, [tool], StatedValues.of("Rain in Oslo?"))
    ('day',)
    """
    properties = _properties(_parameters(call, tools))
    return tuple(
        name for name, value in call.arguments.items() if not _is_grounded(value, properties.get(name), stated)
    )


def omit_unstated(call: ToolCall, tools: Sequence[Tool], stated: StatedValues) -> ToolCall:
    """The call without its unstated optional arguments; a required one always stays, and so does part of an object.

    A legal call stays legal: where the schema demands an argument in a roundabout way (`allOf`, `dependentRequired`),
    nothing is left out.

    >>> tool = Tool("f", "", {"properties": {"city": {}, "day": {}}, "required": ["city"]})
    >>> omit_unstated(ToolCall("f", {"city": "Rome", "day": "Friday"}), [tool], StatedValues.of("Rain in Oslo?"))
    ToolCall(name='f', arguments={'city': 'Rome'})
    """
    required = _parameters(call, tools).get("required")
    left_out = set(unstated_arguments(call, tools, stated)) - set(required if isinstance(required, list) else ())
    if not left_out:
        return call
    shorter = replace(call, arguments={name: value for name, value in call.arguments.items() if name not in left_out})
    return call if problem(shorter, tools) and not problem(call, tools) else shorter


def _parameters(call: ToolCall, tools: Sequence[Tool]) -> Mapping[str, Any]:
    return next((tool.parameters for tool in tools if tool.name == call.name), {})


def _properties(schema: object) -> Mapping[str, Any]:
    properties = schema.get("properties") if isinstance(schema, Mapping) else None
    return properties if isinstance(properties, Mapping) else {}


def _is_grounded(value: Any, schema: object, stated: StatedValues) -> bool:
    schema = schema if isinstance(schema, Mapping) else {}
    if value is None or isinstance(value, bool):
        return True
    choices = schema.get("enum")
    if value in (choices if isinstance(choices, list) else []):
        return True
    if any(keyword in schema and schema[keyword] == value for keyword in ("default", "const")):
        return True
    if isinstance(value, Mapping):
        properties = _properties(schema)
        return all(_is_grounded(inner, properties.get(name), stated) for name, inner in value.items())
    if isinstance(value, list | tuple):
        return all(_is_grounded(inner, schema.get("items"), stated) for inner in value)
    return value in stated


def leaves(value: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    """Every string and number in the arguments with its key."""
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from leaves(inner, str(name))
    elif isinstance(value, list):
        for inner in value:
            yield from leaves(inner, key)
    elif value is not None and not isinstance(value, bool):
        yield key, value


def numbers(text: str) -> set[float]:
    """The numbers that a text states in digits; parts of a date, a version or a code such as A-07 are none.

    >>> sorted(numbers("1,500 of 20.0 below -5, not 3.1.2 or 2027-05-03"))
    [-5.0, 20.0, 1500.0, 2027.0]
    """
    return {float(number.replace(",", "")) for number in _NUMBER.findall(text)}


def normalise(text: str) -> str:
    """Lower case, with everything but letters and digits as one space: how texts are compared.

    >>> normalise("  Where's  A-12?")
    'where s a 12'
    """
    return " ".join(words(text))
