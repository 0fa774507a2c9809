"""Grounding: the argument values of a call that its text states, and those that it does not.

Inputs: a text (a written request, or a whole conversation) and a call. Outputs: whether the text states a value; the
arguments whose values it does not state; the call without the optional ones among them.

A string is stated when its words stand in the text side by side, also in the plural, or when it lists such values or
holds them as JSON; a number when the text has it in digits or in English words (`ttsi.chat.stated_numbers`), also where
the call writes it as a string; a date or a time when the text has it in another form (`ttsi.chat.stated_dates`); a code
such as "fr" when the text names what it stands for (`ttsi.chat.stated_codes`). Scripts without spaces mark no words;
there, letters side by side are enough, and 東京都 states 京都, too. Booleans and nulls are never stated and count as
grounded, and so does a value that the schema itself supplies (`ttsi.chat.schema_choices`): its `default`, its `const`,
one of its `enum` ("fahrenheit" is chosen, not invented). This is a rule of thumb: "Tesla" states no "TSLA". The paper
(arXiv:2510.07841) checks no values.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ttsi.chat.schema_choices import SchemaPlace, parts
from ttsi.chat.stated_codes import CURRENCY_CODES, CURRENCY_SIGN, states_code
from ttsi.chat.stated_dates import StatedDates
from ttsi.chat.stated_numbers import numbers
from ttsi.chat.tool_schema import problem
from ttsi.types import Answer, Message, Tool, ToolCall
from ttsi.words import fold, is_spaceless, separate_scripts, stem, words

_NAME_WITH_SYMBOL = re.compile(r"(?<!\w)[^\W_]+[+#]+(?!\w)")
"""C++ and C# are two names, and neither is C."""
_PLAIN_NUMBER = re.compile(r"-?(?:0|[1-9]\d{0,14})(?:\.\d{1,9})?")
"""A string that a number in the text may state; 007 is a code."""
_AROUND = "\"'`.,;:!?()[]{}\u201c\u201d\u2018\u2019"


@dataclass(frozen=True)
class StatedValues:
    """The values that a text states: `value in StatedValues.of(text)`.

    >>> stated = StatedValues.of("two nights in New York, 1,500 dollars")
    >>> [value in stated for value in ("new york", "York, 1500", 1500, 2, "2", 3, "Boston")]
    [True, True, True, True, True, False, False]
    """

    text: str
    """As `comparable` makes it."""
    stems: str
    """The same without the endings of plurals."""
    numbers: frozenset[float]
    symbols: frozenset[str]
    """The words that have no letters or digits, such as <=, and names such as C++."""
    capitals: frozenset[str]
    """The words of two capital letters."""
    currencies: str
    """The signs of currencies."""
    digits: frozenset[str]
    """Long numbers in groups, such as those of telephones, as digits alone."""
    dates: StatedDates

    @classmethod
    def of(cls, text: str, relative_dates: bool = True) -> StatedValues:
        """The values that this text states; whether "tomorrow" states any date."""
        whole = comparable(text)
        grouped = (_NO_DIGIT.sub("", match) for match in _DIGIT_GROUPS.findall(text))
        return cls(
            text=whole,
            stems=stem(whole),
            numbers=frozenset(numbers(text)),
            symbols=frozenset(_symbols(text)),
            capitals=frozenset(_TWO_CAPITALS.findall(text)),
            currencies="".join(CURRENCY_SIGN.findall(text)),
            digits=frozenset(digits for digits in grouped if len(digits) >= _LEAST_DIGITS),
            dates=StatedDates.of(text, relative_dates),
        )

    def __contains__(self, value: object) -> bool:
        """Whether the text states a string or a number."""
        if isinstance(value, int | float):
            return value in self.numbers or (abs(value) < _MOST and self._states_whole(value))
        composed = _json_container(str(value))
        if composed is not None:
            return all(leaf in self for _, leaf in leaves(composed))
        text = ", ".join(" ".join(line.split()) for line in str(value).strip().splitlines())
        return self._states(text) or self._states_amount(text) or self._states_each(text)

    def _states_whole(self, value: int | float) -> bool:
        """Whether the text has a whole number as the digits of a telephone, as a date or as the number of a month."""
        as_text = str(value)
        return (
            as_text in self.digits
            or self.dates.states(as_text)
            or any(date.month == value for date in self.dates.dates)
        )

    def _states(self, value: str) -> bool:
        if _is_symbolic(value):
            return set(_symbols(value)) <= self.symbols
        if _PLAIN_NUMBER.fullmatch(value) and (float(value) in self.numbers or value[0] == "-"):
            return float(value) in self.numbers
        if self.dates.states(value) or (_NO_DIGIT.sub("", value) in self.digits and not any(map(str.isalpha, value))):
            return True
        if not set(_NAME_WITH_SYMBOL.findall(value.lower())) <= self.symbols:
            return False
        is_word = value.isupper() and value.lower() in _SHORT_WORDS and value not in self.capitals
        return (not is_word and self._states_words(value)) or states_code(value, self.stems, self.currencies)

    def _states_words(self, value: str) -> bool:
        has_words = states_passage(self.text, value) or stem(comparable(value)) in self.stems
        return has_words and self._states_signs(value)

    def _states_amount(self, value: str) -> bool:
        """Whether a string is a number with its unit or currency and the text states both, as in "five kilograms"."""
        amount = _AMOUNT.fullmatch(value)
        if amount is None or float(amount["number"].replace(",", "")) not in self.numbers:
            return False
        return self._states_signs(value) and (not amount["unit"] or self._states(amount["unit"].strip()))

    def _states_signs(self, value: str) -> bool:
        """Whether the text has the currencies whose signs a value has, as signs or by name."""
        signs = CURRENCY_SIGN.findall(value)
        return all(sign in self.currencies or states_code(CURRENCY_CODES[sign], self.stems) for sign in signs)

    def _states_each(self, listed: str) -> bool:
        """Whether a string lists several values, and the text states each: "Oslo, Rome" for "Oslo and Rome"."""
        for separator in (_LIST_SEPARATOR, _RANGE_DASH):
            values = [part for part in separator.split(listed) if part.strip()]
            if len(values) > 1:
                return all(self._states(part) or self._states_amount(part) for part in values)
        return False


_LIST_SEPARATOR = re.compile(r"(?:[;/|]|,(?!\d{3}(?!\d))) ?| (?:and|to|&|[-\u2013]) ")
"""What stands between the values of a list, or the ends of a range, that is one string."""
_RANGE_DASH = re.compile(r"(?<=\d)[-\u2013](?=[$\u20ac\u00a3]?\d)|(?<=[A-Z]{3})-(?=[A-Z]{3})|(?<=[apAP][mM])-")
_AMOUNT = re.compile(
    rf"(?:{CURRENCY_SIGN.pattern} ?)?(?P<number>-?(?:[1-9]\d{{0,2}}(?:,\d{{3}})+|0|[1-9]\d{{0,14}})(?:\.\d{{1,9}})?)"
    r"(?P<unit> ?[^\W\d_]{1,20}(?: [^\W\d_]{1,20})?)?"
)
_TWO_CAPITALS = re.compile(r"\b[A-Z]{2}\b")
_SHORT_WORDS = frozenset(
    "ad al am as at be by co de do go ha he hi id if in is it la ma me my no of oh ok on or pa so to up us we".split()
)
"""Words of two letters that are codes of countries or states in capitals: "or" states no Oregon."""
_DIGIT_GROUPS = re.compile(r"(?<![\w.])\+?\(?\d[\d ().-]{5,30}\d(?![\w])")
_LEAST_DIGITS = 7
_NO_DIGIT = re.compile(r"\D")
_MOST = 10**32
"""No number from here on has its digits in `_DIGIT_GROUPS`. Long ids do, of which a float is not exact."""


def _json_container(value: str) -> list[Any] | dict[str, Any] | None:
    """The list or object that a string holds as JSON; None for any other string."""
    if value[:1] not in ("[", "{"):
        return None
    try:
        composed: list[Any] | dict[str, Any] = json.loads(value)
    except (ValueError, RecursionError):
        return None
    return composed


def _is_symbolic(value: str) -> bool:
    """Whether a value has neither letters nor digits, and is not empty."""
    return bool(value.strip()) and not normalise(value)


def _symbols(text: str) -> Iterator[str]:
    """The words of a text that have no letters or digits, without the punctuation around them, and names such as C++.

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
    return tuple(dict.fromkeys(name for name, _ in unstated_values(call, tools, stated)))


def unstated_values(call: ToolCall, tools: Sequence[Tool], stated: StatedValues) -> Iterator[tuple[str, Any]]:
    """Each such value, with the name of the argument that it is or is in.

    >>> tool = Tool("f", "", {"properties": {"to": {"properties": {"city": {}, "unit": {"enum": ["C", "F"]}}}}})
    >>> list(unstated_values(ToolCall("f", {"to": {"city": "Oslo", "unit": "C"}}), [tool], StatedValues.of("Rain?")))
    [('to', 'Oslo')]
    """
    place = arguments_place(call, tools)
    for name, value in call.arguments.items():
        yield from ((name, leaf) for leaf in _unstated_leaves(value, place.part(name), stated))


def omit_unstated(call: ToolCall, tools: Sequence[Tool], stated: StatedValues) -> ToolCall:
    """The call without its unstated optional arguments; a required one always stays, and so does part of an object.

    A legal call stays legal: where the schema demands an argument in a roundabout way (`allOf`, `dependentRequired`),
    nothing is left out. Nor is it where no argument would be left: such a call is about what the model knows
    (`get_quote(symbol="TSLA")` for "Tesla").

    >>> tool = Tool("f", "", {"properties": {"city": {}, "day": {}}, "required": ["city"]})
    >>> omit_unstated(ToolCall("f", {"city": "Rome", "day": "Friday"}), [tool], StatedValues.of("Rain in Oslo?"))
    ToolCall(name='f', arguments={'city': 'Rome'})
    """
    left_out = set(unstated_arguments(call, tools, stated)) - arguments_place(call, tools).required
    if not left_out or left_out >= call.arguments.keys():
        return call
    shorter = replace(call, arguments={name: value for name, value in call.arguments.items() if name not in left_out})
    return call if problem(shorter, tools) and not problem(call, tools) else shorter


def without_unstated(answer: Answer, tools: Sequence[Tool], stated: StatedValues) -> Answer:
    """The answer, each of its calls without its unstated optional arguments; the text stays."""
    return replace(answer, calls=tuple(omit_unstated(call, tools, stated) for call in answer.calls))


def arguments_place(call: ToolCall, tools: Sequence[Tool]) -> SchemaPlace:
    """What the schema of a call's tool says about its arguments; nothing where the tool is not on offer."""
    return SchemaPlace.of(next((tool.parameters for tool in tools if tool.name == call.name), {}))


def _unstated_leaves(value: Any, place: SchemaPlace, stated: StatedValues) -> Iterator[Any]:
    if value is None or is_boolean(value) or place.offers(value):
        return
    if isinstance(value, Mapping | list | tuple):
        for inner, part in parts(value, place):
            yield from _unstated_leaves(inner, part, stated)
    elif value not in stated:
        yield value


def is_boolean(value: Any) -> bool:
    """Whether a value is true or false, if need be as a string."""
    return isinstance(value, bool) or (isinstance(value, str) and value.lower() in ("true", "false"))


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
    """A text as passages are looked up in it: normalised, without accents, numbers whole, scripts apart, spaces around.

    >>> comparable("São Paulo: 1,500 or 2.5?")
    ' sao paulo 1500 or 2point5 '
    """
    whole = _POINT.sub("point", _THOUSANDS.sub("", _LETTER_WITH_SYMBOL.sub(_in_letters, fold(text))))
    return f" {separate_scripts(normalise(whole))} "


def _in_letters(name: re.Match[str]) -> str:
    return name[0].replace("+", "plus").replace("#", "sharp")


_LETTER_WITH_SYMBOL = re.compile(r"(?<!\w)[^\W\d_][+#]+(?!\w)")
"""C++, C# and A+, none of which states the letter."""
_THOUSANDS = re.compile(r"(?<=\d),(?=\d{3}(?!\d))")
_POINT = re.compile(r"(?<=\d)\.(?=\d)")


def states_passage(text: str, passage: str) -> bool:
    """Whether a comparable text has a passage as whole words; in scripts without spaces, as letters side by side.

    >>> states_passage(comparable("東京の天気"), "東京"), states_passage(comparable("Osloer Hafen"), "Oslo")
    (True, False)
    """
    own = comparable(passage)
    own = own[1:] if is_spaceless(own[1]) else own
    return (own[:-1] if is_spaceless(own[-2]) else own) in text
