"""Plausible numbers for a JSON Schema, drawn by a seed.

Inputs: a parameter's name, its plain schema with its description, a generator of random numbers. Outputs: a number
within the schema's bounds, else within those of its description, else of its name; where a bound is missing, an example
of the description goes before a neutral number.
"""

from __future__ import annotations

import math
import random
import re
from collections.abc import Mapping
from fractions import Fraction
from typing import Any

from ttsi.synthesis.described_numbers import Bounds, described_bounds, described_examples_of_numbers
from ttsi.synthesis.parameter_words import head_words, name_words

_LIMITS: tuple[tuple[frozenset[str], tuple[float, float]], ...] = tuple(
    (frozenset(names.split()), limits)
    for names, limits in (
        ("latitude lat", (-90.0, 90.0)),
        ("longitude lng lon", (-180.0, 180.0)),
        ("probability", (0.0, 1.0)),
        ("month", (1.0, 12.0)),
        ("day", (1.0, 28.0)),
        ("hour", (0.0, 23.0)),
        ("percent percentage humidity brightness", (0.0, 100.0)),
        ("rating stars", (1.0, 5.0)),
        ("temperature celsius", (-10.0, 40.0)),
        ("age", (1.0, 90.0)),
        ("minutes seconds", (1.0, 59.0)),
        ("page pages", (1.0, 20.0)),
        ("guests people persons adults passengers attendees children rooms seats tickets nights quantity", (1.0, 12.0)),
    )
)
"""Words of a parameter's name, and the least and the greatest value of such a number."""
_COUNTED = frozenset(
    "month day hour stars age page pages guests people persons adults passengers attendees children rooms seats "
    "tickets nights quantity".split()
)
"""Words of the names of whole numbers, also where the schema says "number"."""
_WIDE = 5.0
"""A range in which people mostly say whole numbers."""
_PERCENT = re.compile(r"\bper ?cent(?:age)?\b|%")
_MOST_DIGITS = 12
"""Digits behind the point that are tried until a rounded number is within its bounds."""


def sample_number(name: str, plain: Mapping[str, Any], kind: str, draw: random.Random) -> int | float | None:
    """A number for a parameter; None where its schema admits none.

    >>> schema = {"description": "the month, between 1 and 12"}
    >>> 1 <= sample_number("m", schema, "integer", random.Random(0)) <= 12
    True
    >>> sample_number("m", {"minimum": 3, "maximum": 2}, "integer", random.Random(0)) is None
    True
    """
    bounds = _Bounds(plain)
    kind = "integer" if bounds.step is None and _COUNTED & set(name_words(name).split()) else kind
    low, high, text = bounds.low, bounds.high, str(plain.get("description") or "")
    if low is None or high is None:
        described = bounds.narrow(described_bounds(text))
        if None in described:
            examples = [value for value in described_examples_of_numbers(text) if bounds.admit(value, described, kind)]
            if examples:
                return _plain_number(draw.choice(examples))
            described = bounds.narrow(described, _limits(name, text))
        low, high = described
    if low is None and high is None:
        if "year" in name_words(name).split() or head_words(text, whole=False) == ["year"]:
            low, high = 1990, 2026
        else:
            low, high = draw.choice([(2, 9), (10, 99), (100, 999)])
    return bounds.sample(*bounds.complete(low, high), kind, draw)


def _limits(name: str, text: str) -> Bounds:
    """The bounds of a number of such a name, or of the head of its description where the name has none."""
    parts = name_words(name).split()
    for own in (parts, head_words(text, whole=False)):
        for names, limits in _LIMITS:
            if names & set(own):
                return limits
    if "coordinates" in parts and "latitude" in text.lower():
        return -90.0, 90.0
    return (0.0, 100.0) if _PERCENT.search(text) else (None, None)


def _plain_number(value: float) -> int | float:
    return int(value) if float(value).is_integer() else value


class _Bounds:
    """The bounds and the step of a schema of numbers."""

    def __init__(self, plain: Mapping[str, Any]) -> None:
        self.step = _keyword(plain, "multipleOf")
        above, below = _keyword(plain, "exclusiveMinimum"), _keyword(plain, "exclusiveMaximum")
        self.low: float | None = _tighter(max, _keyword(plain, "minimum"), above)
        self.high: float | None = _tighter(min, _keyword(plain, "maximum"), below)
        self._above = above if above is not None and above == self.low else None
        self._below = below if below is not None and below == self.high else None

    def narrow(self, *others: Bounds) -> Bounds:
        """The schema's own bounds, and where it has none, the first others that go with them."""
        low, high = self.low, self.high
        for other_low, other_high in others:
            new_low = low if low is not None else other_low
            new_high = high if high is not None else other_high
            if new_low is None or new_high is None or new_low <= new_high:
                low, high = new_low, new_high
        return low, high

    def complete(self, low: float | None, high: float | None) -> tuple[float, float]:
        """Both bounds, where one at most is missing."""
        if low is None:
            low = min(1, ((high or 0) - (self._below is not None)) or 0)
        if high is None:
            least = low + (self._above is not None)
            high = max(least + 1, 10 * abs(least), 100)
        return low, high

    def admit(self, value: float, within: Bounds, kind: str) -> bool:
        """Whether a number is within bounds and fits the step."""
        low, high = within
        whole = kind != "integer" or float(value).is_integer()
        stepped = not self.step or (Fraction(str(value)) / Fraction(str(self.step))).denominator == 1
        inside = (low is None or low <= value) and (high is None or value <= high)
        return whole and stepped and inside and value not in (self._above, self._below)

    def sample(self, low: float, high: float, kind: str, draw: random.Random) -> int | float | None:
        """A number of the kind between two bounds, of which the exclusive ones are left out."""
        step = Fraction(str(self.step)) if self.step else None
        if kind == "integer":
            step = Fraction(step.numerator if step else 1)
        if step is None:
            return self._decimal(low, high, draw)
        lowest, highest = Fraction(str(low)), Fraction(str(high))
        first, last = math.ceil(lowest / step), math.floor(highest / step)
        first += self._above is not None and first * step == lowest
        last -= self._below is not None and last * step == highest
        return _whole_or_decimal(step * draw.randint(first, last)) if first <= last else None

    def _decimal(self, low: float, high: float, draw: random.Random) -> int | float | None:
        """A number of few digits, in a wide range half of the time a whole one, where it is within the bounds."""
        inner_low, inner_high = low + (self._above is not None), high - (self._below is not None)
        if inner_low <= inner_high:
            low, high = inner_low, inner_high
        if low > high or (low == high and low in (self._above, self._below)):
            return None
        exact, digits = draw.uniform(low, high), draw.choice([0, 0, 1, 2] if high - low >= _WIDE else [1, 2])
        for count in (digits, *range(3, _MOST_DIGITS)):
            value = _plain_number(round(exact, count))
            if low <= value <= high and value not in (self._above, self._below):
                return value
        middle: float = (low + high) / 2
        return exact if exact not in (self._above, self._below) else middle


def _whole_or_decimal(value: Fraction) -> int | float:
    return int(value) if value.denominator == 1 else float(value)


def _keyword(plain: Mapping[str, Any], key: str) -> float | None:
    """A number that a schema states; the schema comes from outside, and may state something else."""
    value = plain.get(key)
    if value is not None and not isinstance(value, int | float):
        raise TypeError(f"{key} is no number")
    return value


def _tighter(choose: Any, inclusive: float | None, exclusive: float | None) -> float | None:
    """The tighter of two bounds."""
    bounds = [bound for bound in (inclusive, exclusive) if bound is not None]
    tighter: float | None = choose(bounds, default=None)
    return tighter
