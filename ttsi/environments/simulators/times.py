"""Times of the day as people type them.

Inputs: a text such as "9:30". Outputs: the same time as "09:30". The paper (arXiv:2510.07841) has no environments.
"""

from __future__ import annotations

import re

_TIME = re.compile(r"([01]?\d|2[0-3])[:.]([0-5]\d)")


def clock_time(text: str) -> str:
    """A time as HH:MM, 24 hours.

    >>> clock_time("9:30")
    '09:30'

    Raises:
        ValueError: it is no time.
    """
    match = _TIME.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"{text} is no time; write it like 09:30")
    return f"{int(match[1]):02d}:{match[2]}"
