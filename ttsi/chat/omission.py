"""Omission: the literals of a request that a call leaves out although its tool has arguments left for them.

Inputs: a conversation, its tools, the calls of an answer. Outputs: the literals left out; the arguments that are free
to take one.

A literal is what a request states letter by letter: a quoted passage, a number in digits, a code or an address, that is
a word with digits or an @ in it. A call uses it if one of its values has it, as text or as a number. There a per cent
may be a fraction, a date and a time may have another form, and the number of a code such as "5kg" is enough. The gold
calls of validation rows leave few out: 2 of 136 rows of Seal-Tools' dev split, 28 of 400 of ToolRL's training rows,
mostly parts of formulas and of dates (dev/log.md). The paper (arXiv:2510.07841) looks at no values.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ttsi.chat.grounding import StatedValues, arguments_place, comparable, leaves, normalise, states_passage
from ttsi.chat.number_words import SCALES
from ttsi.chat.schema_choices import SchemaPlace, is_among, parts
from ttsi.chat.stated_dates import StatedDates
from ttsi.chat.stated_numbers import GROUPED, numbers, spread_lists
from ttsi.types import Message, Tool, ToolCall
from ttsi.words import is_spaceless, separate_scripts

_PAIRS = (('"', '"'), ("'", "'"), ("\u2018", "\u2019"), ("`", "`"), ("«", "»"))
"""Opening and closing quotation marks that count between words only: apostrophes open nothing, nor does a German «."""
_BRACKETS = (("\u201c", "\u201d"), ("「", "」"), ("『", "』"))
"""Opening and closing quotation marks that count next to letters, too."""
_QUOTED = re.compile(
    "|".join([
        *(rf"(?<!\w){opening}([^{closing}]{{1,80}}){closing}(?!\w)" for opening, closing in _PAIRS),
        *(f"{opening}([^{closing}]{{1,80}}){closing}" for opening, closing in _BRACKETS),
    ])
)  # fmt: skip
_CODE = re.compile(
    r"https?://[^\s\u3000-\u303f\uff00-\uff65]+|(?<![\w.+-])[\w.+-]+@[\w-]+(?:\.[\w-]+)+|(?<!\d)\d+(?:\.\d+){2,}"
    r"|(?<![\w.-])-*+(?=[\w-]*[^\W\d_])(?=[\w-]*\d)\w[\w-]*"
)
_NUMBER = re.compile(r"(?<![\w.,])\d+(?:,\d{3})*(?:\.\d+)?(?:st|nd|rd|th)?(?![\w]|[.,]\d)")
_DIGITS = re.compile(r"\d+(?:\.\d+)?")
_ORDINAL = re.compile(r"(?<!\d)(\d+)(?:st|nd|rd|th)")
_WITH_UNIT = re.compile(r"[\w.-]+")
"""A code that a number may use up: the 5 of "5kg", the 100 of "USD100"."""
MIN_WORD = 3
"""Letters of a word that shows, where it stands in a value, that the passage around it was used in other words."""


def literals(text: str) -> tuple[str, ...]:
    """What a text states letter by letter, each once, in order of kind: quoted passages, codes and addresses, numbers.

    >>> literals('Send "two words" to ann@a.org on 2027-05-03, gate B12, 1,500 guests, the 3rd.')
    ('two words', 'ann@a.org', 'B12', '2027', '05', '03', '1,500', '3rd')
    >>> literals("Where is 52.30.208.221?")
    ('52.30.208.221',)
    >>> literals("「東京」から[12,34]人、10個")
    ('東京', '12', '34', '10')
    """
    apart = separate_scripts(text)
    quoted = [next(part for part in match.groups() if part).strip() for match in _QUOTED.finditer(text)]
    codes = [match.group().lstrip("-").rstrip(".,;:!?)") for match in _CODE.finditer(apart)]
    rest = _CODE.sub(lambda match: match.group() if _ORDINAL.fullmatch(match.group()) else " ", apart)
    digits = _NUMBER.findall(spread_lists(rest, sure=True))
    stated = [*quoted, *(code for code in codes if not _ORDINAL.fullmatch(code)), *digits]
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
    texts = "\n".join(map(str, values))
    request = StatedDates.of(texts).without(messages[at].content)
    text, used = comparable(texts), _used_numbers(values, request)
    return tuple(literal for literal in literals(request) if not _is_used(literal, text, used))[:free]


def _used_numbers(values: Sequence[Any], request: str) -> set[float]:
    """Every run of digits in the values, as a number; with 1500 also the numbers of "[1,500]"."""
    texts = {text for value in values for text in (str(value), str(value).replace(",", ""))}
    used = {float(digits) for text in texts for digits in _DIGITS.findall(text)}
    used.update(abs(value) for value in values if isinstance(value, float))  # 1e-05 has other digits
    spread = spread_lists(request, sure=True)
    groups = [match.group() for match in GROUPED.finditer(request)]
    whole = [group for group in groups if group not in spread and float(group.replace(",", "")) in used]
    return used.union(float(part) for group in whole for part in group.split(","))


def _is_used(literal: str, text: str, used: set[float]) -> bool:
    digits = _ORDINAL.sub(r"\1", literal)
    number, listed = digits.replace(",", ""), _DIGITS.findall(digits)
    if _DIGITS.fullmatch(number):
        of_list = len(listed) > 2 and used.issuperset(map(float, listed))
        scaled = {round(float(number) * scale, 6) for scale in SCALES.values()}  # the 1.5 of "1.5 million"
        return of_list or bool({float(number), float(f"{number}e-2"), *scaled} & used)
    own = numbers(literal) if _WITH_UNIT.fullmatch(literal) else set()
    if own and (own <= used or (len(listed) == 1 and own & used)):  # "300k" is 300 or 300,000
        return True
    return any(states_passage(text, passage) for passage in (literal, *_telling_words(literal)))


def _telling_words(literal: str) -> Iterator[str]:
    """The parts of a passage that show, in a value, that it was used in other words."""
    for word in comparable(literal).split():
        if is_spaceless(word[0]):
            yield from (word[at : at + 2] for at in range(len(word) - 1))
        elif len(word) >= MIN_WORD:
            yield word


def free_arguments(call: ToolCall, tools: Sequence[Tool], stated: StatedValues) -> tuple[str, ...]:
    """The arguments of a call's tool that it lacks, or that have a value without any stated part.

    Booleans, nulls and chosen values of an `enum` or `const`, at any depth, are not free; a default may give way.

    >>> tool = Tool("f", "", {"properties": {"city": {}, "day": {}, "unit": {"enum": ["C", "F"]}, "dry": {}}})
    >>> call = ToolCall("f", {"city": "Oslo", "unit": "C", "dry": True})
    >>> free_arguments(call, [tool], StatedValues.of("Rain in Rome?"))
    ('city', 'day')
    """
    place = arguments_place(call, tools)
    return tuple(
        name
        for name in place.names
        if name not in call.arguments or _is_free(call.arguments[name], place.part(name), stated)
    )


def _is_free(value: Any, place: SchemaPlace, stated: StatedValues) -> bool:
    return value is not None and not isinstance(value, bool) and not _is_taken(value, place, stated)


def _is_taken(value: Any, place: SchemaPlace, stated: StatedValues) -> bool:
    """Whether a part of the value was chosen from the schema or is stated; none of a boolean is."""
    if value is None or isinstance(value, bool):
        return False
    if is_among(value, place.choices):
        return True
    if isinstance(value, Mapping | list | tuple):
        return any(_is_taken(inner, part, stated) for inner, part in parts(value, place))
    return value in stated
