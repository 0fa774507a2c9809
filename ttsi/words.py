"""Words of a text, and how many of them two texts share.

Inputs: texts. Outputs: lower-case runs of letters and digits; the Jaccard index of two texts. Filters of examples,
retrieval, training pools and the leak check all compare texts by these words.
"""

from __future__ import annotations

import re

WORD = re.compile(r"[^\W_]+")


def words(text: str) -> list[str]:
    """The words of a text in lower case, in order.

    >>> words("  Where's  A-12?")
    ['where', 's', 'a', '12']
    """
    return WORD.findall(text.lower())


def jaccard(left: str, right: str, empty: float = 0.0) -> float:
    """Distinct words that two texts share, as a share of all words of both; `empty` where neither has any.

    >>> jaccard("book a flight", "Book a hotel!")
    0.5
    """
    left_words, right_words = set(words(left)), set(words(right))
    either = left_words | right_words
    return len(left_words & right_words) / len(either) if either else empty
