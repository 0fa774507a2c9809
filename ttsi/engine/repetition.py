"""Endless repetition in greedy decoding: an answer that has begun to repeat itself goes on to its last token.

Inputs: the token ids that were written so far. Outputs: whether their end repeats itself. Small models run into such
loops inside a value ("id": "12345678901234567890...), and each loop holds up its whole batch until `max_tokens`. The
paper (arXiv:2510.07841) reports no limit.
"""

from __future__ import annotations

from collections.abc import Sequence

REPEATS = 4
"""How often the same tokens stand at the end, at least."""


def repeats_itself(ids: Sequence[int], limit: int) -> bool:
    """Whether the last `limit` tokens are the same few tokens, at least `REPEATS` times in a row.

    Args:
        ids: the tokens of an answer so far.
        limit: how many of them; below `REPEATS` is never.

    >>> repeats_itself([7, 1, 2, 1, 2, 1, 2, 1, 2], 8), repeats_itself([1, 2, 3, 1, 2, 3, 1, 2], 8)
    (True, False)
    """
    if limit < REPEATS or len(ids) < limit:
        return False
    end = ids[-limit:]
    return any(end[period:] == end[:-period] for period in range(1, limit // REPEATS + 1))
