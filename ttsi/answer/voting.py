"""Majority vote over sampled answers (self-consistency, arXiv:2203.11171).

Inputs: sampled answers. Outputs: the groups of equal answers, largest first, and the winner.

Two answers are equal when they make the same calls with the same arguments, in any order; an answer in words makes no
call, and all such answers are equal. An unreadable answer equals no other. The paper (arXiv:2510.07841, Table 1) gives
neither the number of samples nor the temperature nor what happens on a tie; ours gives ties to the likelier sample.
"""

from __future__ import annotations

from collections.abc import Sequence

from ttsi.call_equality import canonical_calls
from ttsi.types import SampledAnswer


def groups(samples: Sequence[SampledAnswer]) -> list[list[SampledAnswer]]:
    """Readable samples by equal answer, most votes first; ties go to the group with the likelier sample.

    Within a group the likeliest sample comes first.
    """
    by_answer: dict[str, list[SampledAnswer]] = {}
    for sample in samples:
        if sample.error is None:
            by_answer.setdefault(canonical_calls(sample.calls), []).append(sample)
    ranked = [sorted(group, key=lambda sample: -sample.logprob) for group in by_answer.values()]
    return sorted(ranked, key=lambda group: (-len(group), -group[0].logprob))


def winner(samples: Sequence[SampledAnswer]) -> int:
    """The index of the winner: the likeliest sample of the largest group; the first where none can be read.

    >>> from ttsi.types import ToolCall
    >>> votes = [(ToolCall("a", {}), -1.0), (ToolCall("b", {}), -3.0), (ToolCall("b", {}), -2.0)]
    >>> winner([SampledAnswer("", (call,), None, logprob) for call, logprob in votes])
    2
    """
    ranked = groups(samples)
    return next((i for i, sample in enumerate(samples) if ranked and sample is ranked[0][0]), 0)
