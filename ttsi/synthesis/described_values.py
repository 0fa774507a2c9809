"""Values that a parameter's description gives in words: its examples, the options it lists, its default, its layout.

Inputs: the text of a description. Outputs: the values that it names, or the layout ("HH:MM") in which a value is
written. Published tools often say in words what a schema would say with `enum`, `examples` or `format`: 329 of 1,292
string parameters without `enum` in a public training pool (toolrl-sft400) do. The paper (arXiv:2510.07841)
has a model write the values.
"""

from __future__ import annotations

import random
import re

LONGEST_DESCRIPTION = 2000
"""Characters of a description that are searched."""
_LONGEST_VALUE = 40
"""Characters of a value that a description names, or of a layout."""

_EXAMPLES = re.compile(
    r"(?:\be\.?g\b\.?|\bsuch as\b|\bfor example\b|\bfor instance\b|\bexamples?:)[,:]?\s*((?:[^).;:\n]|[.:](?=\w))+)",
    re.IGNORECASE,
)
"""The dots and colons of "10.0.0.0/16" and "09:00" belong to the example."""
_SEPARATOR = re.compile(r",|\bor\b|\band\b")
_MEANING = re.compile(r"(\S+) (?:for|means|is|=) .+")
"""An example with its meaning: "GOOG for Google"."""

_OPENING, _CLOSING = "\"'`\u2018\u201c", "\"'`\u2019\u201d"
_QUOTED = rf"(?<!\w)[{_OPENING}]([^{_OPENING}{_CLOSING}\n]{{1,40}})[{_CLOSING}](?!\w)"
_LIST_SEPARATOR = r"\s*(?:,\s*(?:or\b|and\b)?|/|\||\bor\b|\band\b)\s*"
_QUOTED_LIST = re.compile(rf"{_QUOTED}(?:{_LIST_SEPARATOR}{_QUOTED})+")
_OPTIONS = re.compile(
    r"\b(?:one of(?: the following)?|(?:(?:valid|possible|allowed|supported|accepted|available)\s+\w+|options|choices)"
    r"(?:\s+are|\s+include)?)\b\s*:?\s*([^).;\n]+)",
    re.IGNORECASE,
)
_CHOICE = re.compile(r"\b(?:can be|must be|either|one of|options|choices|values)\b([^.;\n]+)", re.IGNORECASE)
_OPTION = re.compile(r"[\w.+#-]{1,20}")
_DEFAULT = re.compile(rf"\bdefaults?(?:\s+value)?(?:\s+(?:is|to)|\s*[:=])\s*{_QUOTED}", re.IGNORECASE)
_NO_VALUE = frozenset({"", "...", "\u2026", "etc", "none", "null", "undefined"})

_PARTS = r"(?:YYYY|yyyy|MM|mm|DD|dd|HH|hh|SS|ss)"
_LAYOUT = re.compile(rf"\b(?:{_PARTS}(?:[-/.: T]?{_PARTS})+Z?(?:\s*(?:AM/PM|am/pm))?|YYYY)(?!\w)")
_PLACEHOLDER = re.compile(r"[YMDHSymdhsTZ\W]*([YMDHSymdhs])\1[YMDHSymdhsTZ\W]*")
"""An example that is a layout, with at least one letter twice: "DD/MM", and not "MD"."""


def described_values(description: str) -> list[str]:
    """The values that a description names: its examples, else the options that it lists.

    >>> described_values("the unit (e.g. kg, lb)"), described_values("Can be 'daily' or 'weekly'. Default is 'daily'.")
    (['kg', 'lb'], ['daily', 'weekly'])
    >>> described_values("Possible values: asc, desc"), described_values("the name of the city")
    (['asc', 'desc'], [])
    """
    text = description[:LONGEST_DESCRIPTION]
    return _examples(text) or _options(text)


def described_default(description: str) -> str | None:
    """The default that a description names in quotation marks.

    >>> described_default("Name of the champion. Defaults to 'cait'."), described_default("by default, all")
    ('cait', None)
    """
    default = _DEFAULT.search(description[:LONGEST_DESCRIPTION])
    return default.group(1) if default and is_value(default.group(1)) else None


def _examples(text: str) -> list[str]:
    parts = (_without_quotes(part) for passage in _EXAMPLES.findall(text) for part in _SEPARATOR.split(passage))
    return [value for part in parts if is_value(value := _without_quotes(_MEANING.sub(r"\1", part)))]


def _options(text: str) -> list[str]:
    passages = [match.group() for match in _QUOTED_LIST.finditer(text)] + _CHOICE.findall(text)
    for passage in passages:
        values = [value for value in re.findall(_QUOTED, passage) if is_value(value)]
        if len(values) > 1:
            return values
    for listed in _OPTIONS.findall(text):
        parts = [_without_quotes(part) for part in re.split(_LIST_SEPARATOR, listed)]
        parts = [part for part in parts if part]
        if len(parts) > 1 and all(_OPTION.fullmatch(part) and is_value(part) for part in parts):
            return parts
    return []


def _without_quotes(text: str) -> str:
    return text.strip(f" {_OPENING}{_CLOSING}")


def is_layout(text: str) -> bool:
    """Whether an example is a layout itself, as "DD/MM" is.

    >>> is_layout("YYYY-MM-DD"), is_layout("MD"), is_layout("mm")
    (True, False, False)
    """
    return 2 < len(text) <= _LONGEST_VALUE and _PLACEHOLDER.fullmatch(text) is not None


def is_value(text: str) -> bool:
    """Whether a text may be a value: short, and neither a layout nor a word for none."""
    few_words = 0 < len(text) <= _LONGEST_VALUE and len(text.split()) <= 4
    return few_words and text.lower() not in _NO_VALUE and not is_layout(text)


def layout_of(text: str) -> str | None:
    """The layout of dates or times that a text gives.

    >>> layout_of("the start, as HH:MM"), layout_of("date (MM/DD/YYYY)"), layout_of("the start")
    ('HH:MM', 'MM/DD/YYYY', None)
    """
    layout = _LAYOUT.search(text)
    return layout.group() if layout else None


def sample_in_layout(layout: str, draw: random.Random) -> str:
    """A date or a time in a layout; "MM" beside a colon is the minute, else the month.

    >>> sample_in_layout("YYYY-MM-DD HH:MM", random.Random(0))
    '2026-07-02 08:45'
    """
    half_day = layout.lower().endswith("am/pm")

    def part(match: re.Match[str]) -> str:
        kind, around = match.group().upper(), layout[max(0, match.start() - 1) : match.end() + 1]
        if (kind == "MM" and ":" in around) or kind == "SS":
            return f"{draw.choice((0, 15, 30, 45)):02}"
        hours = (1, 12) if half_day else (0, 23)
        low, high = {"YYYY": (2020, 2027), "MM": (1, 12), "DD": (1, 28), "HH": hours}[kind]
        return f"{draw.randint(low, high):02}"

    written = re.sub(_PARTS, part, layout)
    return re.sub(r"AM/PM$", draw.choice(("AM", "PM")), written, flags=re.IGNORECASE) if half_day else written
