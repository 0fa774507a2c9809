"""Bounds and examples of numbers that a description gives in words.

Inputs: the text of a description. Outputs: the lowest and the highest value that it allows ("between 1 and 12", "at
most 5", "0-100"), and the numbers that it gives as examples ("e.g. 1985").
"""

from __future__ import annotations

import re

from ttsi.chat.date_formats import LONGEST_DESCRIPTION
from ttsi.synthesis.described_values import described_values

Bounds = tuple[float | None, float | None]
"""The lowest and the highest value; None: no bound."""

_NUMBER = r"[-\u2212]?(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?"
_UNIT = r"\s*(?:%|\u00b0)?(?:\s*\([^()\n]{1,60}\))?"
"""What may stand between a number and the next word: "0.0 (free) to 1.0"."""
_COUNTED = r"(?!\d|[.,]\d|[-\s]*(?:decimals?|digits?|characters?|chars?|letters?|words?|places?|significant|bits?)\b)"
"""A number of digits or letters is no bound of the value."""
_LOW = rf"(?<![\w.,-])\$?(?P<low>{_NUMBER}){_UNIT}"
_HIGH = rf"\$?(?P<high>{_NUMBER}){_COUNTED}(?!-?\w)"
_RANGES = tuple(
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        rf"\bbetween\s+{_LOW}(?:\s+\w+)?\s+and\s+{_HIGH}",
        rf"\bfrom\s+{_LOW}(?:\s+\w+)?\s+(?:up\s+)?to\s+{_HIGH}",
        rf"\b(?:range[sd]?|ranging|interval|values?|scale)\b[^.;\d]{{0,25}}?[\[(]?{_LOW}\s*(?:,|to|and|-|\u2013|\.\.+)\s*{_HIGH}",
        rf"[\[(]\s*{_LOW}\s*,\s*{_HIGH}\s*[\])]",
        rf"{_LOW}\s*(?:-|\u2013|\.\.+|\bto\b)\s*{_HIGH}(?!-)",
    )
)
_OF = r"(?:\s+(?:allowed|permitted|possible|value|length|number))*\s*(?:of|is|:|=)?\s*\$?"
_MOST = re.compile(
    rf"(?:\bmax(?:imum)?\b{_OF}|\b(?:at most|up to|no more than|not more than|(?:exceed(?:ing)?|above) )\s*\$?"
    rf"|\bout of\s+|(?:less|lower|smaller) than or equal to\s+|<=\s*|\u2264\s*)(?P<value>{_NUMBER}){_COUNTED}",
    re.IGNORECASE,
)
_LEAST = re.compile(
    rf"(?:\bmin(?:imum)?\b{_OF}|\b(?:at least|no less than|not less than|starting (?:at|from|with))\s+\$?"
    rf"|(?:greater|higher|larger|more) than or equal to\s+|>=\s*|\u2265\s*)(?P<value>{_NUMBER}){_COUNTED}",
    re.IGNORECASE,
)
_EXAMPLE = re.compile(rf"[$\u20ac\u00a3]?\s*({_NUMBER})(?:\s*[^\W\d]+)?")
_EXCEED = re.compile(r"\b(?:not|never|cannot|n't)\W+(?:\w+\W+){0,2}?(?:exceed|be above|be over)", re.IGNORECASE)


def described_bounds(description: str) -> Bounds:
    """The bounds that a text gives.

    >>> described_bounds("month between 1 and 12"), described_bounds("in the range [0, 1]"), described_bounds("the age")
    ((1.0, 12.0), (0.0, 1.0), (None, None))
    >>> described_bounds("a minimum of 3"), described_bounds("at most 1,000 rows"), described_bounds("2 to 4 digits")
    ((3.0, None), (None, 1000.0), (None, None))
    """
    text = description[:LONGEST_DESCRIPTION]
    for pattern in _RANGES:
        for match in pattern.finditer(text):
            low, high = _read(match["low"]), _read(match["high"])
            if low < high:
                return low, high
    least, most = _LEAST.search(text), _most(text)
    low_bound = _read(least["value"]) if least else None
    if low_bound is not None and most is not None and low_bound > most:
        return None, None
    return low_bound, most


def _most(text: str) -> float | None:
    """The highest value; "exceeding 5" is one only after "not"."""
    for match in _MOST.finditer(text):
        exceeds = match.group().lower().startswith(("exceed", "above"))
        if not exceeds or _EXCEED.search(text[: match.start() + 7]):
            return _read(match["value"])
    return None


def described_examples_of_numbers(description: str) -> list[float]:
    """The numbers that a text gives as examples or options.

    >>> described_examples_of_numbers("Year, e.g. 1985"), described_examples_of_numbers("e.g. 10,000 feet or 5 km")
    ([1985.0], [10000.0, 5.0])
    >>> described_examples_of_numbers("rate as a decimal, e.g. 5% is 0.05")
    []
    """
    matches = (_EXAMPLE.fullmatch(value) for value in described_values(description))
    return [_read(match[1]) for match in matches if match]


def _read(text: str) -> float:
    return float(text.replace(",", "").replace("\u2212", "-"))
