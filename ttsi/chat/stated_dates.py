"""Stated dates: whether an English text states the date or the time of day that a value writes in another form.

Inputs: a text; a value such as "2023-04-01", "20:00" or "2023-04-01T20:00:00". Outputs: whether the text states it, as
"April 1st" or "at 8 pm" do. A text that names no year states the day of every year. A month or a year states its first
and its last day. A text with a relative date ("next Friday", "in two days") states every date, because no conversation
says which day today is: such a value stands for something that the user said. The paper (arXiv:2510.07841) checks no
values.
"""

from __future__ import annotations

import calendar
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

_MONTHS = {name.lower(): at for names in (calendar.month_name, calendar.month_abbr) for at, name in enumerate(names)}
del _MONTHS[""]
_MONTHS["sept"] = 9
_MONTH = rf"(?P<month>{'|'.join(sorted(_MONTHS, key=len, reverse=True))})\b\.?"
_DAY = r"(?P<day>3[01]|[12]\d|0?[1-9])(?:st|nd|rd|th)?(?!\w|[.,]?\d)"
_YEAR = r"(?P<year>(?:1[5-9]|2[01])\d\d)(?!\w|[.,]?\d)"
_TO = r"\s*(?:-|\u2013|\u2014|to|and|until|till|through)\s*(?:the\s+)?"
_LAST = r"(?P<last>3[01]|[12]\d|0?[1-9])(?:st|nd|rd|th)?(?!\w|[.,:]?\d)"
_IN_WORDS = [
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        rf"\b{_MONTH}\s+(?:the\s+)?{_DAY}(?:{_TO}{_LAST})?(?:\s*,?\s*(?:of\s+)?{_YEAR})?",
        rf"(?<![\w.,:/-]){_DAY}(?:{_TO}{_LAST})?\s*(?:of\s+)?{_MONTH}(?:\s*,?\s*(?:of\s+)?{_YEAR})?",
        rf"\b{_MONTH}\s*,?\s*(?:of\s+)?{_YEAR}",
    )
]
_IN_DIGITS = [
    re.compile(rf"(?<![\w/.-]){pattern}(?![\w/-]|\.\d)")
    for pattern in (
        r"(?P<year>\d{4})(?P<mark>[-/.]?)(?P<month>0[1-9]|1[0-2])(?P=mark)(?P<day>0[1-9]|[12]\d|3[01])"
        r"(?:[T ][\d:.]+)?Z?",
        r"(?P<month>0?[1-9]|1[0-2])(?P<mark>[-/.])(?P<day>0?[1-9]|[12]\d|3[01])(?P=mark)(?P<year>\d{4})",
        r"(?P<day>0?[1-9]|[12]\d|3[01])(?P<mark>[-/.])(?P<month>0?[1-9]|1[0-2])(?P=mark)(?P<year>\d{4})",
        r"(?P<month>0?[1-9]|1[0-2])/(?P<day>0?[1-9]|[12]\d|3[01])",
        r"(?P<day>0?[1-9]|[12]\d|3[01])/(?P<month>0?[1-9]|1[0-2])",
        r"(?P<year>\d{4})-(?P<month>0[1-9]|1[0-2])",
    )
]
_BARE_YEAR = re.compile(r"(?<![\w.,/-])(?:1[5-9]|2[01])\d\d(?![\w/-]|[.,]\d)")
_RELATIVE = re.compile(
    r"\b(?:today|tonight|tomorrow|yesterday|now|(?:mon|tues|wednes|thurs|fri|satur|sun)days?|weekends?|ago|from\s+now"
    r"|(?:this|next|last|past|coming|current|following|previous|same)\s+(?:\w+\s+)?(?:day|week|month|quarter|year"
    r"|spring|summer|autumn|fall|winter|morning|afternoon|evening|night)s?"
    r"|(?:in|within|for)\s+(?:[\w-]+\s+){1,2}(?:day|week|month|year)s?)\b",
    re.IGNORECASE,
)
_CLOCK = re.compile(
    r"(?<![\w.,:/-])(?P<hour>[01]?\d|2[0-4])(?:[:.](?P<minute>[0-5]\d))?(?::[0-5]\d)?\s*(?P<half>[ap]\.?\s?m\b\.?)",
    re.IGNORECASE,
)
_DIGITAL = re.compile(
    r"(?<![\w.,:/-])(?:\d{4}-\d\d-\d\d[T ])?(?P<hour>[01]?\d|2[0-4]):(?P<minute>[0-5]\d)(?!\w|\s?[ap]\.?m)",
    re.IGNORECASE,
)
_WHOLE_HOUR = re.compile(
    r"(?:\bat\s+(?P<at>1?\d|2[0-3])(?![\w:]|[.,]\d|\s?(?:%|[ap]\.?\s?m\b))|\b(?P<hour>1?\d)\s*o['\u2019]?clock)",
    re.IGNORECASE,
)
_NAMED = {"noon": 12 * 60, "midday": 12 * 60, "midnight": 0}
_NAMED_TIME = re.compile(rf"\b(?:{'|'.join(_NAMED)})\b", re.IGNORECASE)
_TIME_VALUE = re.compile(
    r"(?P<hour>[01]?\d|2[0-4])(?::(?P<minute>[0-5]\d))?(?::[0-5]\d(?:\.\d+)?)?\s*(?P<half>[ap]\.?m\.?)?", re.IGNORECASE
)
_MOMENT = re.compile(r"(?P<date>\d{4}-\d\d-\d\d)[T ](?P<time>\d\d:\d\d(?::\d\d)?)(?:\.\d+)?(?:Z|[+-]\d\d:?\d\d)?")
_ENDS_OF_A_DAY = (0, 23 * 60 + 59, 24 * 60)


class Date(NamedTuple):
    """A date; None is what the text leaves open."""

    year: int | None
    month: int | None
    day: int | None


@dataclass(frozen=True)
class StatedDates:
    """The dates and times of day of a text: `stated.states(value)`.

    >>> stated = StatedDates.of("From October 1st to 5th, at 8 pm")
    >>> [stated.states(value) for value in ("2022-10-01", "10/05/2024", "2022-10-02", "2022-10-01T20:00", "8:30")]
    [True, True, False, True, False]
    >>> StatedDates.of("two seats for next Friday").states("2024-06-07")
    True
    """

    dates: frozenset[Date]
    times: frozenset[int]
    """Minutes since midnight."""
    is_relative: bool
    """Whether every date counts as stated, because the text has one that depends on the day on which it is read."""

    @classmethod
    def of(cls, text: str, relative: bool = True) -> StatedDates:
        """The dates and times that this text states; not `relative`: a relative date states none."""
        return cls(frozenset(_dates(text)), frozenset(_times(text)), relative and _RELATIVE.search(text) is not None)

    def states(self, value: str) -> bool:
        """Whether a value is a date or a time, and the text states it."""
        value = value.strip()
        moment = _MOMENT.fullmatch(value)
        if moment:
            minutes = _minutes(moment["time"])
            return self.states(moment["date"]) and (minutes in self.times or minutes in _ENDS_OF_A_DAY)
        if (minutes := _minutes(value)) is not None:
            return minutes in self.times
        return any(self._has(date) for date in _value_dates(value))

    def _has(self, date: Date) -> bool:
        return self.is_relative or any(_names(stated, date) for stated in self.dates)


def _names(stated: Date, date: Date) -> bool:
    """Whether a stated date, which may leave its year or its day open, is this date, its month or its year."""
    if stated.year is not None and date.year is not None and stated.year != date.year:
        return False
    if stated.month is None:
        return date[1:] in ((1, 1), (12, 31), (1, None), (12, None))
    if stated.month != date.month:
        return False
    last = calendar.monthrange(date.year or 2000, stated.month)[1]
    return date.day is None or stated.day == date.day or (stated.day is None and date.day in (1, last))


def _dates(text: str) -> Iterator[Date]:
    for pattern in (*_IN_WORDS, *_IN_DIGITS):
        for match in pattern.finditer(text):
            yield from _matched_dates(match)
    yield from (Date(int(match.group()), None, None) for match in _BARE_YEAR.finditer(text))


def _matched_dates(match: re.Match[str]) -> Iterator[Date]:
    parts = match.groupdict()
    month = _MONTHS.get(parts["month"].lower()) or int(parts["month"])
    year = int(parts["year"]) if parts.get("year") else None
    for day in (parts.get("day"), parts.get("last")):
        if day:
            yield Date(year, month, int(day))
    if not parts.get("day"):
        yield Date(year, month, None)


def _value_dates(value: str) -> Iterator[Date]:
    """The dates that a value may stand for."""
    for pattern in (*_IN_WORDS, *_IN_DIGITS):
        match = pattern.fullmatch(value)
        if match and not match.groupdict().get("last"):
            yield from _matched_dates(match)


def _times(text: str) -> Iterator[int]:
    for match in _CLOCK.finditer(text):
        yield _clock_minutes(int(match["hour"]), int(match["minute"] or 0), match["half"])
    for match in _DIGITAL.finditer(text):
        yield int(match["hour"]) * 60 + int(match["minute"])
    for match in _WHOLE_HOUR.finditer(text):
        hour = int(match["at"] or match["hour"])
        yield from (60 * hour, 60 * (hour + 12)) if hour < 13 else (60 * hour,)
    yield from (_NAMED[match.group().lower()] for match in _NAMED_TIME.finditer(text))


def _minutes(value: str) -> int | None:
    """The minutes since midnight of a value that is a time of day; None for another value."""
    match = _TIME_VALUE.fullmatch(value)
    if match is None or not (match["minute"] or match["half"]):
        return None
    return _clock_minutes(int(match["hour"]), int(match["minute"] or 0), match["half"] or "")


def _clock_minutes(hour: int, minute: int, half: str) -> int:
    if half and hour <= 12:
        hour = hour % 12 + (12 if half[0] in "pP" else 0)
    return hour * 60 + minute
