"""Omission: the literals of a request that a call leaves out although its tool has arguments left for them.

Inputs: a conversation, its tools, the calls of an answer. Outputs: the literals left out; the arguments that are free
to take one.

A literal is what a request states letter by letter: a quoted passage, a number in digits, a code or an address, that is
a word with digits or an @ in it. A call uses it if one of its values has it, as text or as a number; a per cent may be
a fraction there, and a day or a month a part of a date. The gold calls of validation rows leave few out: 4 of 136 rows
of Seal-Tools' dev split, 17 of 181 of ToolRL's training rows, mostly parts of formulas and of dates (dev/log.md). The
paper (arXiv:2510.07841) looks at no values.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ttsi.chat.grounding import StatedValues, leaves, normalise
from ttsi.types import Message, Tool, ToolCall

_PAIRS = (('"', '"'), ("'", "'"), ("\u201c", "\u201d"), ("\u2018", "\u2019"), ("`", "`"))
"""Opening and closing quotation marks."""
_QUOTED = re.compile("|".join(rf"(?<!\w){opening}([^{closing}]{{1,80}}){closing}(?!\w)" for opening, closing in _PAIRS))
_CODE = re.compile(
    r"https?://\S+|[\w.+-]+@[\w-]+(?:\.[\w-]+)+|\d+(?:\.\d+){2,}|(?<![\w.])(?=[\w-]*[^\W\d_])(?=[\w-]*\d)\w[\w-]*"
)
_NUMBER = re.compile(r"(?<![\w.,])\d+(?:,\d{3})*(?:\.\d+)?(?:st|nd|rd|th)?(?![\w]|[.,]\d)")
_DIGITS = re.compile(r"\d+(?:\.\d+)?")
_ORDINAL = re.compile(r"(\d+)(?:st|nd|rd|th)")
MIN_WORD = 3
"""Letters of a word that shows, where it stands in a value, that the passage around it was used in other words."""


def literals(text: str) -> tuple[str, ...]:
    """What a text states letter by letter, each once, in order of kind: quoted passages, codes and addresses, numbers.

    >>> literals('Send "two words" to ann@a.org on 2027-05-03, gate B12, 1,500 guests, the 3rd.')
    ('two words', 'ann@a.org', 'B12', '2027', '05', '03', '1,500', '3rd')
    >>> literals("Where is 52.30.208.221?")
    ('52.30.208.221',)
    """
    quoted = [next(part for part in match.groups() if part) for match in _QUOTED.finditer(text)]
    codes = [match.group().rstrip(".,;:!?)") for match in _CODE.finditer(text)]
    rest = _CODE.sub(lambda match: match.group() if _ORDINAL.fullmatch(match.group()) else " ", text)
    stated = [*quoted, *(code for code in codes if not _ORDINAL.fullmatch(code)), *_NUMBER.findall(rest)]
    return tuple(dict.fromkeys(literal for literal in stated if normalise(literal)))


def omitted_literals(calls: Sequence[ToolCall], tools: Sequence[Tool], messages: Sequence[Message]) -> tuple[str, ...]:
    """The literals of the last request that neither these calls nor earlier ones for it use.

    No more than the calls have free arguments: what no argument could take is not left out.

    >>> tool = Tool("f", "", {"properties": {"ids": {"type": "array"}, "page": {"type": "integer"}}})
    >>> request = [Message("user", "Page 3 of 17 and 18, please.")]
    >>> omitted_literals([ToolCall("f", {"page": 3})], [tool], request)
    ('17',)
    >>> omitted_literals([ToolCall("f", {"page": 3, "ids": [17]})], [tool], request)
    ()
    """
    at = max((at for at, message in enumerate(messages) if message.role == "user"), default=None)
    if at is None or not calls:
        return ()
    stated = StatedValues.of(messages[at].content)
    free = sum(len(free_arguments(call, tools, stated)) for call in calls)
    if not free:
        return ()
    earlier = [call for message in messages[at + 1 :] for call in message.tool_calls]
    values = [value for call in (*earlier, *calls) for _, value in leaves(dict(call.arguments))]
    text = f" {' '.join(normalise(str(value)) for value in values)} "
    numbers = {float(digits) for value in values for digits in _DIGITS.findall(str(value).replace(",", ""))}
    stated_there = literals(messages[at].content)
    return tuple(literal for literal in stated_there if not _is_used(literal, text, numbers))[:free]


def _is_used(literal: str, text: str, numbers: set[float]) -> bool:
    number = _ORDINAL.sub(r"\1", literal).replace(",", "")
    if _DIGITS.fullmatch(number):
        return bool({float(number), float(number) / 100} & numbers)
    own = normalise(literal)
    return f" {own} " in text or any(len(word) >= MIN_WORD and f" {word} " in text for word in own.split())


def free_arguments(call: ToolCall, tools: Sequence[Tool], stated: StatedValues) -> tuple[str, ...]:
    """The arguments of a call's tool that it lacks, or that have a value without any stated part.

    Booleans, nulls and chosen values of an `enum` are not free.

    >>> tool = Tool("f", "", {"properties": {"city": {}, "day": {}, "unit": {"enum": ["C", "F"]}, "dry": {}}})
    >>> call = ToolCall("f", {"city": "Oslo", "unit": "C", "dry": True})
    >>> free_arguments(call, [tool], StatedValues.of("Rain in Rome?"))
    ('city', 'day')
    """
    parameters = next((tool.parameters for tool in tools if tool.name == call.name), {})
    properties = parameters.get("properties") if isinstance(parameters, Mapping) else None
    return tuple(
        name
        for name, schema in (properties.items() if isinstance(properties, Mapping) else ())
        if name not in call.arguments or _is_free(call.arguments[name], schema, stated)
    )


def _is_free(value: Any, schema: object, stated: StatedValues) -> bool:
    if value is None or isinstance(value, bool):
        return False
    choices = schema.get("enum") if isinstance(schema, Mapping) else None
    return value not in (choices if isinstance(choices, list) else []) and not any(stated_leaves(value, stated))


def stated_leaves(value: Any, stated: StatedValues) -> Iterator[bool]:
    """Whether the text states it, for every string and number in a value."""
    return (leaf in stated for _, leaf in leaves(value))
