"""Formats of dates and times that a parameter states, and calls whose dates take them.

    {"type": "string", "description": "first day (YYYY-MM-DD)"}, "October 6, 2008"  ->  "2008-10-06"

Inputs: an answer and its tools. A parameter states a format by the keyword `format`, by a layout in words
("YYYY-MM-DD"), or by examples of one layout ("e.g. 2027-05-03"). Outputs: the same answer; a date or a time in another
form is written in that format. Nothing is changed where the description leaves a choice ("YYYY-MM-DD or 'today'"), a
default or an example has another format, the value has two readings ("05/06/2024"), or the two do not have the same
parts (a date without its year).

Small models copy a date as the request writes it. A grammar of the format would make them write one in its form, but
another one: SmolLM2-135M made 2016-01-11 of "May 11, 2016" (dev/log.md). The paper (arXiv:2510.07841) takes such a
value as it is written.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any

from ttsi.chat.described_examples import described_examples
from ttsi.chat.grounding import arguments_place
from ttsi.chat.schema_choices import SchemaPlace
from ttsi.chat.stated_dates import MOMENT, minutes_of, value_dates
from ttsi.chat.tool_schema import problem
from ttsi.types import Answer, Tool, ToolCall

LONGEST_DESCRIPTION = 2000
"""Characters of a description that are searched."""
LAYOUT_PART = re.compile("YYYY|yyyy|MM|mm|DD|dd|HH|hh|SS|ss")
"""The letters of a layout that stand for digits."""
_PARTS = f"(?:{LAYOUT_PART.pattern})"
_LAYOUT = re.compile(rf"\b(?:{_PARTS}(?:[-/.: T]?{_PARTS})+Z?(?:\s*(?:AM/PM|am/pm))?|YYYY)(?!\w)")
_LONE_PART = re.compile(r"\b(?:MM|mm|DD|dd)\b")
_STRFTIME = {
    "%Y": "YYYY", "%m": "MM", "%d": "DD", "%H": "HH", "%I": "HH", "%M": "MM", "%S": "SS", "%p": "AM/PM",
}  # fmt: skip
_HALF_DAY = re.compile(r"\s*AM/PM$", re.IGNORECASE)
_CHOICE = re.compile(
    r"\b(?:or|either|any|range|between|separated|list|multiple|several|dates|times|relative|optionally)\b",
    re.IGNORECASE,
)
"""Words that leave a choice of formats, or want more than one value."""
_KEYWORDS = {"date": "YYYY-MM-DD", "date-time": "YYYY-MM-DDTHH:MM:SSZ"}
"""What the keyword `format` says (RFC 3339)."""
_SHOWN_LAYOUTS = (
    "YYYY-MM-DD", "HH:MM", "HH:MM:SS", "YYYY-MM-DD HH:MM", "YYYY-MM-DD HH:MM:SS", "YYYY-MM-DDTHH:MM",
    "YYYY-MM-DDTHH:MM:SS", "YYYY-MM-DDTHH:MM:SSZ",
)  # fmt: skip
"""Layouts that examples can show: of "03/05/2027" nobody knows which is the month."""


def with_stated_formats(answer: Answer, tools: Sequence[Tool]) -> Answer:
    """The answer with the dates and times of its calls in the formats that their parameters state; the text stays."""
    return replace(answer, calls=tuple(_with_stated_formats(call, tools) for call in answer.calls))


def _with_stated_formats(call: ToolCall, tools: Sequence[Tool]) -> ToolCall:
    converted = replace(call, arguments=_convert(call.arguments, arguments_place(call, tools)))
    return call if converted == call or problem(converted, tools) else converted


def stated_layout(place: SchemaPlace) -> str | None:
    """The layout of dates or times that a parameter states; None where it states none for certain.

    >>> stated_layout(SchemaPlace.of({"type": "string", "description": "first day (YYYY-MM-DD)"}))
    'YYYY-MM-DD'
    >>> stated_layout(SchemaPlace.of({"type": "string", "description": "first day, YYYY-MM-DD or 'today'"})) is None
    True
    """
    if place.choices or place.keyword_values("pattern"):
        return None
    given = [value for value in (*place.defaults, *place.keyword_values("example")) if value is not None]
    given += [value for listed in place.keyword_values("examples") if isinstance(listed, list) for value in listed]
    texts = (*place.keyword_values("description"), *place.keyword_values("format"), *given)
    if not all(isinstance(text, str) for text in texts):
        return None
    description = " ".join(place.keyword_values("description"))[:LONGEST_DESCRIPTION]
    return _layout(description, next(iter(place.keyword_values("format")), ""), tuple(given))


@lru_cache(maxsize=4096)
def _layout(description: str, keyword: str, given: tuple[str, ...]) -> str | None:
    examples = (*described_examples(description), *given)
    stated = _layouts(description) or list(filter(None, [_KEYWORDS.get(keyword)]))
    if len(stated) > 1 or _CHOICE.search(description) or not (stated or examples):
        return None
    fitting = (layout for layout in stated or _SHOWN_LAYOUTS if all(_fits(text, layout) for text in examples))
    return next(fitting, None)


def layout_of(text: str) -> str | None:
    """The layout of dates or times that a text gives first.

    >>> layout_of("the start, as HH:MM"), layout_of("in %d.%m.%Y"), layout_of("as Month DD, YYYY"), layout_of("start")
    ('HH:MM', 'DD.MM.YYYY', None, None)
    """
    return next(iter(_layouts(text)), None)


def _layouts(text: str) -> list[str]:
    """The layouts that a text gives, those of `strftime` too; "Month DD, YYYY" is none, and nor is its year."""
    for code, letters in _STRFTIME.items():
        text = text.replace(code, letters)
    layouts = [match.group() for match in _LAYOUT.finditer(text)]
    return [layout for layout in layouts if layout != "YYYY" or not _LONE_PART.search(text)]


def part_of_time(layout: str, part: re.Match[str]) -> str:
    """What the letters of a layout stand for; "MM" beside a colon is the minute, else the month."""
    letters, around = part.group().upper(), layout[max(0, part.start() - 1) : part.end() + 1]
    if letters == "MM":
        return "minute" if ":" in around else "month"
    return {"YYYY": "year", "DD": "day", "HH": "hour", "SS": "second"}[letters]


def in_layout(value: str, layout: str) -> str | None:
    """A date or a time in a layout; None where it is none, has two readings, or has other parts than the layout.

    >>> in_layout("October 6, 2008", "YYYY-MM-DD"), in_layout("5 pm", "HH:MM"), in_layout("5/3/2027", "MM/DD/YYYY")
    ('2008-10-06', '17:00', '05/03/2027')
    >>> in_layout("10/06/2008", "YYYY-MM-DD"), in_layout("October 6", "YYYY-MM-DD"), in_layout("5 pm", "YYYY-MM-DD")
    (None, None, None)
    """
    numbers = _numbers(value.strip(), layout)
    wanted = {part_of_time(layout, part) for part in LAYOUT_PART.finditer(layout)}
    if numbers is None or wanted != numbers.keys():
        return None
    half = "AM" if numbers.get("hour", 0) < 12 else "PM"
    if _HALF_DAY.search(layout):
        numbers["hour"] = (numbers["hour"] - 1) % 12 + 1
    written = LAYOUT_PART.sub(lambda part: f"{numbers[part_of_time(layout, part)]:0{len(part.group())}}", layout)
    return re.sub("AM/PM$", half, written, flags=re.IGNORECASE)


def _numbers(value: str, layout: str) -> dict[str, int] | None:
    """The parts of a date or a time, as a reader of the layout takes them; None where there are two readings."""
    match = re.fullmatch(_pattern(layout, padded=False), value)
    if match and (numbers := _of_match(match, layout)).get("month", 1) in range(1, 13):
        return numbers
    moment = MOMENT.fullmatch(value)
    if moment and moment["rest"] == ("Z" if layout.endswith("Z") else ""):
        return _of_date(moment["date"], _of_time(moment["time"], layout))
    return None if moment else _of_time(value, layout) or _of_date(value, {})


def _of_match(match: re.Match[str], layout: str) -> dict[str, int]:
    names = [part_of_time(layout, part) for part in LAYOUT_PART.finditer(layout)]
    numbers = {name: int(digits) for name, digits in zip(names, match.groups(), strict=False)}
    if _HALF_DAY.search(layout):
        numbers["hour"] = numbers["hour"] % 12 + (12 if match.groups()[-1].lower() == "pm" else 0)
    return numbers


def _of_time(value: str, layout: str) -> dict[str, int]:
    minutes, seconds = minutes_of(value), value.split(":")[2:]
    if minutes is None:
        return {}
    second = {"second": int(seconds[0][:2]) if seconds else 0} if seconds or "SS" in layout.upper() else {}
    return {"hour": minutes // 60, "minute": minutes % 60, **second}


def _of_date(value: str, time: dict[str, int]) -> dict[str, int] | None:
    dates = set(value_dates(value))
    if len(dates) != 1 or not re.search(r"\d{4}", value):
        return None
    [date] = dates
    return {name: number for name, number in date._asdict().items() if number is not None} | time


def _fits(text: str, layout: str) -> bool:
    return re.fullmatch(_pattern(layout), text) is not None


@lru_cache(maxsize=256)
def _pattern(layout: str, padded: bool = True) -> str:
    """The pattern of texts in a layout; not `padded`: also without zeros before single digits."""
    pattern, end = "", 0
    for part in LAYOUT_PART.finditer(layout):
        digits = len(part.group())
        pattern += re.escape(layout[end : part.start()]) + rf"(\d{{{digits if padded or digits == 4 else 1},{digits}}})"
        end = part.end()
    rest = layout[end:]
    return pattern + (r"\s?([AaPp][Mm])" if _HALF_DAY.fullmatch(rest) else re.escape(rest))


def _convert(value: Any, place: SchemaPlace) -> Any:
    if isinstance(value, Mapping):
        return {name: _convert(inner, place.part(str(name))) for name, inner in value.items()}
    if isinstance(value, list):
        return [_convert(inner, place.part(at)) for at, inner in enumerate(value)]
    layout = stated_layout(place) if isinstance(value, str) and any(map(str.isdigit, value)) else None
    if layout is None or _fits(value, layout):
        return value
    return in_layout(value, layout) or value
