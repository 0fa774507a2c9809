"""Grounding: the argument values of a call that its text states, and those that it does not.

Inputs: a text (a written request, or a whole conversation) and a call. Outputs: whether the text states a value; the
arguments of which it does not; the call without the optional ones among them.

A string is stated when its words stand in the text side by side, a number when the text has it in digits or in English
words (`ttsi.chat.stated_numbers`), also where the call writes it as a string. Scripts without spaces mark no words;
there, letters side by side are enough, and 東京都 states 京都, too. Booleans and nulls are never stated and count as
grounded, and so does a value that the schema itself supplies (`ttsi.chat.schema_choices`): its `default`, its `const`,
one of its `enum` ("fahrenheit" is chosen, not invented; without this 21 % of BFCL's live gold would lose an argument,
with it 13 %). This is a rule of thumb: "next Friday" states no date. The paper (arXiv:2510.07841) checks no values.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ttsi.chat.schema_choices import SchemaPlace, parts
from ttsi.chat.stated_numbers import numbers
from ttsi.chat.tool_schema import problem
from ttsi.types import Message, Tool, ToolCall
from ttsi.words import is_spaceless, separate_scripts, words

_NAME_WITH_SYMBOL = re.compile(r"(?<!\w)[^\W_]+[+#]+(?!\w)")
"""C++ and C# are two names, and neither is C."""
_PLAIN_NUMBER = re.compile(r"-?(?:0|[1-9]\d{0,14})(?:\.\d{1,9})?")
"""A string that a number in the text may state; 007 is a code."""
_AROUND = "\"'`.,;:!?()[]{}\u201c\u201d\u2018\u2019"


@dataclass(frozen=True)
class StatedValues:
    """The values that a text states: `value in StatedValues.of(text)`.

    >>> stated = StatedValues.of("two nights in New York, 1,500 dollars")
    >>> [value in stated for value in ("new york", "York, 1", 1500, 2, "2", 3, "Boston")]
    [True, True, True, True, True, False, False]
    """

    text: str
    """As `comparable` makes it."""
    numbers: frozenset[float]
    symbols: frozenset[str]
    """What the text has without letters and digits between spaces or quotation marks, like <=, and names like C++."""

    @classmethod
    def of(cls, text: str) -> StatedValues:
        """The values that this text states."""
        return cls(comparable(text), frozenset(numbers(text)), frozenset(_symbols(text)))

    def __contains__(self, value: object) -> bool:
        """Whether the text states a string or a number."""
        if isinstance(value, int | float):
            return value in self.numbers
        return set(_symbols(str(value))) <= self.symbols if _is_symbolic(str(value)) else self._states(str(value))

    def _states(self, passage: str) -> bool:
        if _PLAIN_NUMBER.fullmatch(passage) and float(passage) in self.numbers:
            return True
        named = set(_NAME_WITH_SYMBOL.findall(passage.lower()))
        return named <= self.symbols and states_passage(self.text, passage)


def _is_symbolic(value: str) -> bool:
    """Whether a value has neither letters nor digits, and is not empty."""
    return bool(value.strip()) and not normalise(value)


def _symbols(text: str) -> Iterator[str]:
    """The symbols of a text: of each word without letters and digits all but quotation marks and a full stop around it.

    >>> sorted(_symbols("op: <= and '+', in C++."))
    ['+', '<=', 'c++']
    """
    for word in text.split():
        if _is_symbolic(word):
            yield word.strip(_AROUND) or word
    yield from _NAME_WITH_SYMBOL.findall(text.lower())


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
    place = arguments_place(call, tools)
    return tuple(name for name, value in call.arguments.items() if not _is_grounded(value, place.part(name), stated))


def omit_unstated(call: ToolCall, tools: Sequence[Tool], stated: StatedValues) -> ToolCall:
    """The call without its unstated optional arguments; a required one always stays, and so does part of an object.

    A legal call stays legal: where the schema demands an argument in a roundabout way (`allOf`, `dependentRequired`),
    nothing is left out.

    >>> tool = Tool("f", "", {"properties": {"city": {}, "day": {}}, "required": ["city"]})
    >>> omit_unstated(ToolCall("f", {"city": "Rome", "day": "Friday"}), [tool], StatedValues.of("Rain in Oslo?"))
    ToolCall(name='f', arguments={'city': 'Rome'})
    """
    left_out = set(unstated_arguments(call, tools, stated)) - arguments_place(call, tools).required
    if not left_out:
        return call
    shorter = replace(call, arguments={name: value for name, value in call.arguments.items() if name not in left_out})
    return call if problem(shorter, tools) and not problem(call, tools) else shorter


def arguments_place(call: ToolCall, tools: Sequence[Tool]) -> SchemaPlace:
    """What the schema of a call's tool says about its arguments; nothing where the tool is not on offer."""
    return SchemaPlace.of(next((tool.parameters for tool in tools if tool.name == call.name), {}))


def _is_grounded(value: Any, place: SchemaPlace, stated: StatedValues) -> bool:
    if value is None or isinstance(value, bool):
        return True
    composed = isinstance(value, Mapping | list | tuple)
    if (not composed and value in stated) or place.offers(value):
        return True
    return composed and all(_is_grounded(inner, part, stated) for inner, part in parts(value, place))


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


def normalise(text: str) -> str:
    """Lower case, with everything but letters and digits as one space: how texts are compared.

    >>> normalise("  Where's  A-12?")
    'where s a 12'
    """
    return " ".join(words(text))


def comparable(text: str) -> str:
    """A text as passages are looked up in it: normalised, scripts apart, a space at either end."""
    return f" {separate_scripts(normalise(text))} "


def states_passage(text: str, passage: str) -> bool:
    """Whether a comparable text has a passage as whole words; in scripts without spaces, as letters side by side.

    >>> states_passage(comparable("東京の天気"), "東京"), states_passage(comparable("Osloer Hafen"), "Oslo")
    (True, False)
    """
    own = comparable(passage)
    own = own[1:] if is_spaceless(own[1]) else own
    return (own[:-1] if is_spaceless(own[-2]) else own) in text
