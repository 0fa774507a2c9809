"""Forced tokens: those behind which a grammar leaves no choice, read together in one pass.

Half of a constrained call is brackets, names of arguments and the rest of a tool's name. Such tokens need no pass of
their own: a row takes them at once, and the next pass reads them together with the one that was chosen.

Inputs: a grammar's matcher; the unread tokens of each row. Outputs: the forced tokens; a block of unread tokens, each
row's at its right end, wide enough to gain and narrow enough not to waste time on padding. The paper (arXiv:2510.07841)
reads one token at a time; what is written is the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from llguidance import LLMatcher
from torch import Tensor

LEAST_FILLED = 0.75
"""Share of a block that must be tokens; the rest is padding, which costs the same time."""


def forced_tokens(matcher: LLMatcher | None, most: int) -> list[int]:
    """Have the matcher consume the tokens that its grammar forces next, and return them; at most so many."""
    if matcher is None or most < 1 or matcher.is_error():
        return []
    tokens = matcher.compute_ff_tokens()[:most]
    return tokens[: matcher.try_consume_tokens(tokens)] if tokens else []


@dataclass(frozen=True)
class Block:
    """The tokens that a pass reads."""

    ids_BT: Tensor
    """Each row's tokens at the right end, padding before them."""
    count_B: Tensor
    """How many of them are tokens."""
    offset_BT: Tensor
    """Each token's place among its row's, from 0 on; negative for padding."""


def aligned_block(unread: Sequence[Sequence[int]], device: torch.device) -> Block:
    """The first unread tokens of each row, as many as fill enough of the block; a row without any has padding only."""
    width = _width([len(tokens) for tokens in unread])
    parts = [list(tokens[:width]) for tokens in unread]
    ids_BT = torch.tensor([[0] * (width - len(part)) + part for part in parts], device=device)
    count_B = torch.tensor([len(part) for part in parts], device=device)
    offset_BT = torch.arange(width, device=device)[None, :] - (width - count_B)[:, None]
    return Block(ids_BT, count_B, offset_BT)


def _width(lengths: Sequence[int]) -> int:
    """The widest block that is filled enough; 1 always is.

    >>> _width([5, 5, 4]), _width([5, 1, 1]), _width([1, 0]), _width([2, 2, 2, 9])
    (5, 1, 1, 3)
    """
    fills = (width for width in range(max(lengths), 1, -1) if _share_filled(lengths, width) >= LEAST_FILLED)
    return next(fills, 1)


def _share_filled(lengths: Sequence[int], width: int) -> float:
    return sum(min(length, width) for length in lengths) / (width * len(lengths))
