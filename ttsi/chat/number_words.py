"""Number words: the numbers that an English text states in words, "two", "twenty-five" or "the third".

Inputs: a text. Outputs: the numbers, each phrase once as a whole: "two hundred and five" is 205 and neither 2 nor 200.
Requests say "two tickets" and "the third floor" where a call has 2 and 3. Other languages are not read. The paper
(arXiv:2510.07841) checks no values.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

SMALL_NUMBERS = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
    "eighteen nineteen"
).split()
"""The words of 0 to 19."""
_TENS = "twenty thirty forty fifty sixty seventy eighty ninety".split()
_SMALL_ORDINALS = (
    "first second third fourth fifth sixth seventh eighth ninth tenth eleventh twelfth thirteenth fourteenth fifteenth "
    "sixteenth seventeenth eighteenth nineteenth"
).split()
ORDINALS = {word: at + 1 for at, word in enumerate(_SMALL_ORDINALS)}
"""Word -> number, from first to nineteenth."""
_UNITS = {word: at for at, word in enumerate(SMALL_NUMBERS)} | {"twice": 2}
_ROUND = {word: 10 * at + 20 for at, word in enumerate(_TENS)}
_ROUND_ORDINALS = {f"{word[:-1]}ieth": value for word, value in _ROUND.items()}
SCALES = {"hundred": 100, "thousand": 10**3, "million": 10**6, "billion": 10**9, "trillion": 10**12, "dozen": 12}
"""What a number before it is multiplied by, in words or in digits."""
_SCALE_ORDINALS = {f"{word}th": value for word, value in SCALES.items() if word != "dozen"}
_LAST = {**ORDINALS, **_ROUND_ORDINALS, **_SCALE_ORDINALS}
"""Words that end a number."""
_NUMBERS = {**_UNITS, **_ROUND, **_LAST}
"""Words that are a number by themselves, or end one."""
_WORD = re.compile(r"(?<![\w\u2019.])(?<!\w')[a-z]+(?!\w|['\u2019]\w)", re.IGNORECASE)
_NO_NUMBER = re.compile(
    r"\b(?:(?:no|which|this|that|the|any|every|each|some|another|next|last|other)\s{1,3}ones?|one[- ]way|one\s{1,3}of"
    r"|at\s{1,3}first|first\s{1,3}of\s{1,3}all|(?:an?|per|every)\s{1,3}second|third[- ]part(?:y|ies))\b",
    re.IGNORECASE,
)
"""Number words that count nothing."""
_BETWEEN = re.compile(r"[\s-]+")


def numbers_in_words(text: str) -> Iterator[int]:
    """The numbers that a text states in English words, in order; a single "a" before a scale counts as one.

    >>> list(numbers_in_words("Two rooms for twenty-five people on the third floor, a hundred and fifty euros"))
    [2, 25, 3, 150]
    >>> list(numbers_in_words("nineteen ninety-nine, a dozen, hundreds of them, ten twenty"))
    [1999, 19, 99, 12, 10, 20]
    """
    for phrase in _phrases(_NO_NUMBER.sub(" . ", text).lower()):
        values = list(_values(phrase))
        if len(values) == 2 and all(10 <= value < 100 for value in values) and values[0] in (19, 20):
            yield values[0] * 100 + values[1]  # a year
        yield from values


def _phrases(text: str) -> Iterator[list[str]]:
    """Runs of number words with spaces or hyphens between; "and" may join what follows a scale, "a" may begin one."""
    run: list[str] = []
    end = 0
    for match in _WORD.finditer(text):
        word = match.group()
        joined = bool(run) and _BETWEEN.fullmatch(text, end, match.start()) is not None
        if run and not (joined and _may_follow(run[-1], word)):
            yield run
            run = []
        if run or word == "a" or word in _NUMBERS:
            run.append(word)
        end = match.end()
    if run:
        yield run


def _may_follow(before: str, word: str) -> bool:
    if word == "and":
        return before in SCALES
    if before == "a":
        return word in SCALES
    return word in _NUMBERS or (word in SCALES and before not in _LAST)


def _values(phrase: Sequence[str]) -> Iterator[int]:
    """The numbers of a run of number words: what cannot be added to the number before it begins a new one."""
    total, hundreds, rest = 0, 0, -1  # 1,203,045 is 1,203,000 and 0 and 45; a rest of -1 is none
    for word in (word for word in phrase if word not in ("and", "a")):
        scale = SCALES.get(word, _SCALE_ORDINALS.get(word, 0))
        if scale >= 1000:
            total, hundreds, rest = total + (hundreds + max(rest, 0) or 1) * scale, 0, -1
        elif scale:
            if hundreds:
                yield total + hundreds
                total = 0
            hundreds, rest = (rest if rest > 0 else 1) * scale, -1
        else:
            value = _NUMBERS[word]
            if rest >= 0 and not (rest >= 20 and rest % 10 == 0 and 0 < value < 10):
                yield total + hundreds + rest
                total, hundreds, rest = 0, 0, -1
            rest = max(rest, 0) + value
    if total or hundreds or rest >= 0:
        yield total + hundreds + max(rest, 0)
