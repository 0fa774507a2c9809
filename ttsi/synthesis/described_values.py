"""Values that a parameter's description gives in words: its examples, the options it lists, its layout.

Inputs: the text of a description. Outputs: the values that it names, or the layout ("HH:MM") in which a value is
written. Published tools often say in words what a schema would say with `enum`, `examples` or `format`: 329 of 1,292
string parameters without `enum` in a public training pool (toolrl-sft400) do. The paper (arXiv:2510.07841)
has a model write the values.
"""

from __future__ import annotations

import random
import re

from ttsi.chat.date_formats import LAYOUT_PART, LONGEST_DESCRIPTION, part_of_time
from ttsi.chat.described_examples import (
    CLOSING,
    OPENING,
    described_examples,
    is_negated,
    is_value,
    without_quotes,
)

_QUOTED = rf"(?<!\w)[{OPENING}]([^{OPENING}{CLOSING}\n]{{1,40}})[{CLOSING}](?!\w)"
_LIST_SEPARATOR = r"\s*(?:,\s*(?:or\b|and\b)?|/|\||\bor\b|\band\b)\s*"
_QUOTED_LIST = re.compile(rf"{_QUOTED}(?:{_LIST_SEPARATOR}{_QUOTED})+")
_OPTIONS = re.compile(
    r"\b(?:one of(?: the following)?|(?:(?:valid|possible|allowed|supported|accepted|available)\s+\w+|options|choices)"
    r"(?:\s+are|\s+include)?)\b\s*:?\s*([^).;\n]+)",
    re.IGNORECASE,
)
_CHOICE = re.compile(r"\b(?:can be|must be|either|one of|options|choices|values)\b([^.;\n]+)", re.IGNORECASE)
_OPTION = re.compile(r"[\w.+#-]{1,20}")

_IN_JSON = re.compile(r"\{\s*[\"']\w+[\"']\s*:")
"""What follows describes keys, not the value."""


def described_values(description: str) -> list[str]:
    """The values that a description names: its examples, else the options that it lists.

    >>> described_values("the unit (e.g. kg, lb)"), described_values("Can be 'daily' or 'weekly'. Default is 'daily'.")
    (['kg', 'lb'], ['daily', 'weekly'])
    >>> described_values("Possible values: asc, desc"), described_values("the name of the city")
    (['asc', 'desc'], [])
    """
    text = _IN_JSON.split(description[:LONGEST_DESCRIPTION])[0]
    return described_examples(text) or _options(text)


def _options(text: str) -> list[str]:
    for match in (*_QUOTED_LIST.finditer(text), *_CHOICE.finditer(text)):
        quoted = list(re.finditer(_QUOTED, match.group()))
        values = [value[1] for value in quoted if is_value(value[1])]
        if len(values) > 1 and not is_negated(text[: match.start() + quoted[0].start()]):
            return values
    for listed in _OPTIONS.findall(text):
        parts = [without_quotes(part) for part in re.split(_LIST_SEPARATOR, listed)]
        parts = [part for part in parts if part]
        if len(parts) > 1 and all(_OPTION.fullmatch(part) and is_value(part) for part in parts):
            return parts
    return []


def sample_in_layout(layout: str, draw: random.Random) -> str:
    """A date or a time in a layout; "MM" beside a colon is the minute, else the month.

    >>> sample_in_layout("YYYY-MM-DD HH:MM", random.Random(0))
    '2026-07-02 08:45'
    """
    hours = (1, 12) if layout.lower().endswith("am/pm") else (0, 23)
    bounds = {"year": (2020, 2027), "month": (1, 12), "day": (1, 28), "hour": hours}

    def part(match: re.Match[str]) -> str:
        kind = part_of_time(layout, match)
        value = draw.randint(*bounds[kind]) if kind in bounds else draw.choice((0, 15, 30, 45))
        return f"{value:02}"

    written = LAYOUT_PART.sub(part, layout)
    if written.lower().endswith("am/pm"):
        written = re.sub(r"AM/PM$", draw.choice(("AM", "PM")), written, flags=re.IGNORECASE)
    return written
