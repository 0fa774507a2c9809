"""Stated numbers: the numbers that a text states, in digits or in English words.

Inputs: a text. Outputs: the numbers, in each way in which they can be read: 4 % is 4 and 0.04, "1.5 million" is 1.5 and
1,500,000. Parts of a date, a version or a code are none. The paper (arXiv:2510.07841) checks no values.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from ttsi.chat.number_words import SCALES, numbers_in_words
from ttsi.words import is_spaceless, separate_scripts

_UNIT = (
    r"(?:USD|EUR|GBP|JPY|CNY|RMB|INR|AUD|NZD|CAD|CHF|HKD|SGD|TWD|SEK|NOK|DKK|PLN|KRW|THB|BRL|MXN|ZAR|RUB|TRY|AED|Rs\.?"
    r"|x(?=[\d.,]*\d(?![\w-])))"
)
"""What may stand right before a number and makes no code of it: a currency, or the x of "x10"."""
GROUPED = re.compile(r"(?<!\d,)(?<!\d)[1-9]\d{0,2}(?:,\d{3})+(?:\.\d+)?(?![.,]?\d)")
"""A number with commas between groups of three digits."""
_NUMBER = re.compile(
    rf"(?<!\w)(?:(?<!\.)|{_UNIT})(?P<minus>(?<![\w)])-)?"
    rf"(?P<digits>{GROUPED.pattern}|(?!0\d)\d+(?:\.\d+)?|\.\d+)(?P<exponent>e[+-]?\d+(?!\w))?(?!\.?\d)"
    r"(?:(?P<per_cent>\s?[%\uff05]|\s?per\s?cent\b)"
    rf"|[\s-]?(?P<scale>{'|'.join(SCALES)})\b|(?P<letter>k|(?-i:[MB])|bn)(?!\w))?",
    re.IGNORECASE,
)
_LETTERS = {"k": 10**3, "m": 10**6, "b": 10**9, "bn": 10**9}
_MINUS = re.compile(
    r"\b(?:minus|negative)\s{1,3}(?=[\d.])|\u2212(?=[\d.])|(?<![\w)])-[$\u20ac\u00a3](?=\d)", re.IGNORECASE
)
_FRACTIONS = (
    (re.compile(r"\bhalf\s{1,3}an?\b|\bone\s{1,3}half\b|(?<![\w/.])1/2(?![\w/.])|\u00bd", re.IGNORECASE), 0.5),
    (re.compile(r"\ba\s{1,3}(?:couple|pair)\s{1,3}of\b", re.IGNORECASE), 2.0),
)
_AND_A_HALF = re.compile(r"\band\s{1,3}a\s{1,3}half\b", re.IGNORECASE)
_SIZE = re.compile(
    r"(?<![\w.,-])(?!0x)\d+(?:\.\d+)?(?:x\d+(?:\.\d+)?)+(?=(?:[pc]x|[cmk]?m|in|ft)?(?![\w-]))", re.IGNORECASE
)
"""Numbers with an x between, as in 800x600."""
_LIST = re.compile(r"[\[({][\s\d.,+-]*[\])}]|(?<![\w.,])\d+(?:\.\d+)?(?:,\d+(?:\.\d+)?){2,}(?![.,]?\d)")
"""Numbers alone in brackets, or at least three with commas and no spaces between."""


def numbers(text: str) -> set[float]:
    """The numbers that a text states; parts of a date, a version or a code such as A-07 are none.

    A per cent is a fraction as well, and a number before "million" or k is both what stands there and what it means.
    Digits with two commas and more may be one number or a list, and so may digits alone in brackets: both count.

    >>> sorted(numbers("1,500 of 20.0 below -5, not 3.1.2 or 2027-05-03"))
    [-5.0, 20.0, 1500.0, 2027.0]
    >>> sorted(numbers("4% of [1,500] and 12,34,56"))
    [0.04, 1.0, 4.0, 12.0, 34.0, 56.0, 500.0, 1500.0]
    >>> sorted(numbers("two pictures of 800x600 for $1.5 million"))
    [1.5, 2.0, 600.0, 800.0, 1500000.0]
    """
    text = _MINUS.sub(" -", text)
    text = _SIZE.sub(lambda size: re.sub("x", " x ", size.group(), flags=re.IGNORECASE), separate_scripts(text))
    digits = {number for reading in {text, spread_lists(text)} for number in _read(reading)}
    words = set(map(float, numbers_in_words(text)))
    halves = {number for pattern, number in _FRACTIONS if pattern.search(text)}
    halves |= {float(number) + 0.5 for number in digits | words if _AND_A_HALF.search(text)}
    return digits | words | halves


def _read(text: str) -> Iterator[float]:
    for match in _NUMBER.finditer(text):
        readings = _readings(match)
        if not match["minus"]:
            yield from readings
        if match["minus"] or _is_after_dash(text, match.start()):
            yield from (-number for number in readings)


def _readings(match: re.Match[str]) -> list[float]:
    """What digits may mean, without their sign: the number, and with a per cent or a scale behind it another one."""
    digits, exponent = match["digits"].replace(",", ""), match["exponent"] or ""
    plain = float(digits + exponent)
    if exponent:
        return [plain]
    if match["per_cent"]:
        return [plain, float(f"{digits}e-2")]
    factor = SCALES.get((match["scale"] or "").lower()) or _LETTERS.get((match["letter"] or "").lower())
    return [plain, round(plain * factor, 6)] if factor else [plain]


def _is_after_dash(text: str, at: int) -> bool:
    """Whether a minus stands before it that may be the dash of a range as well: after a letter without a space."""
    return at > 1 and text[at - 1] == "-" and is_spaceless(text[at - 2])


def spread_lists(text: str, sure: bool = False) -> str:
    """The text with a space after each comma of a list of numbers; `sure`: not where it may be one number.

    >>> spread_lists("[1,500] of 12,34,56 or 1,234,567 and 1,500")
    '[1, 500] of 12, 34, 56 or 1, 234, 567 and 1,500'
    >>> spread_lists("[1,500] of 12,34,56 or 1,234,567 and 1,500", sure=True)
    '[1, 500] of 12, 34, 56 or 1,234,567 and 1,500'
    """

    def spread(match: re.Match[str]) -> str:
        listed = match.group()
        is_number = re.search(r",0\d", listed) or (sure and GROUPED.fullmatch(listed))
        return listed if is_number else listed.replace(",", ", ")

    return _LIST.sub(spread, text)
