"""Stated dates: whether an English text states the date or the time of day that a value writes in another form.

Inputs: a text; a value such as "2023-04-01", "20:00" or "2023-04-01T20:00:00". Outputs: whether the text states it, as
"April 1st" or "at 8 pm" do. A text that names no year states the day of every year; a month, or a year, states its
first and its last day; an hour without am or pm states both. A text with a relative date ("next Friday", "in two days")
states every date: such a value stands for something that the user said. The paper (arXiv:2510.07841) checks no values.
"""

from __future__ import annotations

import calendar
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from ttsi.chat.number_words import ORDINALS, SMALL_NUMBERS

_MONTHS = {name.lower(): at for names in (calendar.month_name, calendar.month_abbr) for at, name in enumerate(names)}
del _MONTHS[""]
_MONTHS["sept"] = 9
_MONTH = rf"(?P<month>{'|'.join(sorted(_MONTHS, key=len, reverse=True))})\b\.?"
_DAY_NUMBER = rf"3[01]|[12]\d|0?[1-9]|{'|'.join(ORDINALS)}"
_DAY = rf"(?P<day>{_DAY_NUMBER})(?:st|nd|rd|th)?(?!\w|[.,:]?\d)"
_LAST_DAY = rf"(?P<last>{_DAY_NUMBER})(?:st|nd|rd|th)?(?!\w|[.,:]?\d)"
_YEAR = r"(?P<year>(?:1[5-9]|2[01])\d\d)(?!\w|[.,]?\d)"
_TO = r"\s{0,3}(?:-|\u2013|\u2014|to|and|until|till|through)\s{0,3}(?:the\s{1,3})?"
_AND_YEAR = rf"(?:\s{{0,3}},?\s{{0,3}}(?:of\s{{1,3}})?{_YEAR})"
_NAMED_MONTH = [
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        rf"\b{_MONTH}\s{{1,3}}(?:the\s{{1,3}})?{_DAY}(?:{_TO}{_LAST_DAY})?{_AND_YEAR}?",
        rf"(?<![\w.,:/-]){_DAY}(?:{_TO}{_LAST_DAY})?\s{{0,3}}(?:of\s{{1,3}})?{_MONTH}{_AND_YEAR}?",
        rf"\b{_MONTH}{_AND_YEAR}",
        rf"\b(?:in|for|since|until|during|early|late|mid)[\s-]{_MONTH}(?!\s?\d)",
    )
]
_NUMERIC = [
    re.compile(rf"(?<![\w/.-]){pattern}(?![\w/-]|\.\d)")
    for pattern in (
        r"(?P<year>\d{4})(?P<mark>[-/.])(?P<month>0?[1-9]|1[0-2])(?P=mark)(?P<day>3[01]|[12]\d|0?[1-9])"
        r"(?:[T ][\d:.]+)?Z?",
        r"(?P<year>(?:19|20)\d\d)(?P<month>0[1-9]|1[0-2])(?P<day>0[1-9]|[12]\d|3[01])",
        r"(?P<month>0?[1-9]|1[0-2])(?P<mark>[-/.])(?P<day>3[01]|[12]\d|0?[1-9])(?P=mark)(?P<year>\d{4}|\d\d)",
        r"(?P<day>3[01]|[12]\d|0?[1-9])(?P<mark>[-/.])(?P<month>0?[1-9]|1[0-2])(?P=mark)(?P<year>\d{4}|\d\d)",
        r"(?P<month>0?[1-9]|1[0-2])/(?P<day>3[01]|[12]\d|0?[1-9])",
        r"(?P<day>3[01]|[12]\d|0?[1-9])/(?P<month>0?[1-9]|1[0-2])",
        r"(?P<year>\d{4})-(?P<month>0[1-9]|1[0-2])",
    )
]
_BARE_YEAR = re.compile(r"(?<![\w.,/-])(?:1[5-9]|2[01])\d\d(?![\w/-]|[.,]\d)")
_RELATIVE = re.compile(
    r"\b(?:today(?!'s|\s+is|:)|tonight|tomorrow|yesterday|(?:mon|tues|wednes|thurs|fri|satur|sun)days?|weekends?"
    r"|(?:days?|weeks?|months?|years?)\s{1,3}ago"
    r"|(?:this|next|last|past|coming|current|following|previous)\s{1,3}(?:\w+\s{1,3})?(?:day|week|month|quarter|year"
    r"|spring|summer|autumn|fall|winter|morning|afternoon|evening|night)s?"
    r"|(?:in|within)\s{1,3}(?:[\w-]+\s{1,3}){1,2}(?:day|week|month|year)s?)\b",
    re.IGNORECASE,
)
_HOURS = "|".join(SMALL_NUMBERS[1:13])
_HALF_DAY = r"(?P<half>[ap])\.?\s?m\b"
_HOUR = rf"(?P<hour>[01]?\d|2[0-4]|{_HOURS})"
_CLOCK = re.compile(
    rf"(?<![\w.,:/])(?:(?P<from>[01]?\d)(?::(?P<from_minute>[0-5]\d))?\s{{0,3}}(?:-|\u2013|to|and|until|till)\s{{0,3}})?"
    rf"{_HOUR}(?:[:.](?P<minute>[0-5]\d))?(?::[0-5]\d)?\s{{0,3}}(?:{_HALF_DAY}|o['\u2019]?clock)",
    re.IGNORECASE,
)
_COLON = re.compile(
    r"(?<![\w.,:/])(?:\d{4}-\d\d-\d\d[T ])?(?P<hour>[01]?\d|2[0-4]):(?P<minute>[0-5]\d)(?!\w|\s{0,3}[ap]\.?m)",
    re.IGNORECASE,
)
_WHOLE_HOUR = re.compile(
    rf"\b(?:at|by|around|before|after|until|till|from)\s{{1,3}}(?P<hour>1?\d|2[0-3]|{_HOURS})"
    r"(?=\s*(?:$|[.,;?!)\n]|(?:on|in|at|to|until|till|and|or|for|please|sharp|tomorrow|today|tonight|this)\b))(?![.,]\d)",
    re.IGNORECASE,
)
_NAMED_TIMES = {"noon": 12 * 60, "midday": 12 * 60, "midnight": 0}
_NAMED_TIME = re.compile(rf"\b(?:{'|'.join(_NAMED_TIMES)})\b", re.IGNORECASE)
_TIME_VALUE = re.compile(
    r"(?P<hour>[01]?\d|2[0-4])(?::(?P<minute>[0-5]\d))?(?::[0-5]\d(?:\.\d+)?)?\s?(?:(?P<half>[ap])\.?m\.?)?",
    re.IGNORECASE,
)
MOMENT = re.compile(
    r"(?P<date>\d{4}-\d\d-\d\d)[T ](?P<time>\d\d:\d\d(?::\d\d)?)(?P<rest>(?:\.\d+)?(?:Z|[+-]\d\d:?\d\d)?)"
)
"""A date with a time of day."""
_ENDS_OF_A_DAY = frozenset((0, 23 * 60 + 59, 24 * 60))


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
        dates = {date for match in _date_matches(text) for date in _matched_dates(match)}
        dates |= {Date(int(match.group()), None, None) for match in _BARE_YEAR.finditer(text)}
        times = {minutes for match in _time_matches(text) for minutes in _matched_times(match)}
        return cls(frozenset(dates), frozenset(times), relative and _RELATIVE.search(text) is not None)

    def states(self, value: str) -> bool:
        """Whether a value is a date or a time, and the text states it."""
        value = value.strip()
        moment = MOMENT.fullmatch(value)
        if moment:
            return self.states(moment["date"]) and minutes_of(moment["time"]) in self.times | _ENDS_OF_A_DAY
        if (minutes := minutes_of(value)) is not None:
            return minutes in self.times
        return any(self._has(date) for date in value_dates(value))

    def without(self, text: str) -> str:
        """Another text with spaces in place of the dates and times that this one states."""
        for match in _time_matches(text):
            if self.times & set(_matched_times(match)):
                text = _blank(text, match)
        for match in _date_matches(text):
            dates = list(_matched_dates(match))
            if dates and all(map(self._names, dates)):
                text = _blank(text, match)
        return text

    def _has(self, date: Date) -> bool:
        is_whole = date.year is not None and 1900 <= date.year < 2200 and None not in date
        return (self.is_relative and is_whole) or self._names(date)

    def _names(self, date: Date) -> bool:
        return any(_is_same(stated, date) for stated in self.dates)


def _blank(text: str, match: re.Match[str]) -> str:
    return text[: match.start()] + " " * len(match.group()) + text[match.end() :]


def _is_same(stated: Date, date: Date) -> bool:
    """Whether a stated date, which may leave its year or its day open, is this date, its month or its year."""
    if stated.year is not None and date.year is not None and stated.year != date.year:
        return False
    if stated.month is None:
        return date[1:] in ((1, 1), (12, 31), (1, None), (12, None)) and date.year is not None
    if stated.month != date.month:
        return False
    last = _last_day(date.year, stated.month)
    return date.day is None or stated.day == date.day or (stated.day is None and date.day in (1, last))


def _last_day(year: int | None, month: int) -> int:
    return calendar.monthrange(year or 2000, month)[1]


def _date_matches(text: str) -> list[re.Match[str]]:
    return [match for pattern in (*_NAMED_MONTH, *_NUMERIC) for match in pattern.finditer(text)]


def value_dates(value: str) -> Iterator[Date]:
    """The dates that a value may stand for."""
    for pattern in (*_NAMED_MONTH, *_NUMERIC):
        match = pattern.fullmatch(value)
        if match and not match.groupdict().get("last"):
            yield from _matched_dates(match)


def _matched_dates(match: re.Match[str]) -> Iterator[Date]:
    parts = match.groupdict()
    month = _MONTHS.get(parts["month"].casefold()) or int(parts["month"])
    year = int(parts["year"]) if parts.get("year") else None
    if year is not None and year < 100:
        year += 2000 if year < 70 else 1900
    if year == 0:
        return
    days = [day for day in (parts.get("day"), parts.get("last")) if day]
    for day in days:
        number = ORDINALS.get(day.casefold()) or int(day)
        if number <= _last_day(year, month):
            yield Date(year, month, number)
    if not days:
        yield Date(year, month, None)


def _time_matches(text: str) -> list[re.Match[str]]:
    return [match for pattern in (_CLOCK, _COLON, _WHOLE_HOUR, _NAMED_TIME) for match in pattern.finditer(text)]


def _matched_times(match: re.Match[str]) -> Iterator[int]:
    """Minutes since midnight; both halves of the day where the text does not say which."""
    parts = match.groupdict()
    if "hour" not in parts:
        yield _NAMED_TIMES[match.group().casefold()]
        return
    half = (parts.get("half") or "").casefold()
    yield from _halves(_hour(parts["hour"]), int(parts.get("minute") or 0), half)
    if parts.get("from"):
        yield from _halves(int(parts["from"]), int(parts["from_minute"] or 0), "")


def _hour(text: str) -> int:
    return int(text) if text.isdigit() else SMALL_NUMBERS.index(text.casefold())


def _halves(hour: int, minute: int, half: str) -> Iterator[int]:
    for other in (half,) if half or hour > 12 else ("a", "p"):
        yield _clock_minutes(hour, minute, other)


def minutes_of(value: str) -> int | None:
    """The minutes since midnight of a value that is a time of day; None for another value."""
    match = _TIME_VALUE.fullmatch(value)
    if match is None or not (match["minute"] or match["half"]):
        return None
    return _clock_minutes(int(match["hour"]), int(match["minute"] or 0), (match["half"] or "").casefold())


def _clock_minutes(hour: int, minute: int, half: str) -> int:
    if half and hour <= 12:
        hour = hour % 12 + (12 if half == "p" else 0)
    return hour * 60 + minute
