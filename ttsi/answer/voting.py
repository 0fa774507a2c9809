"""Which of several sampled answers is meant?

Inputs: sampled answers. Outputs: the groups of equal answers, largest first, and the one to give.

Two answers are equal when they make the same calls with the same arguments, in any order; an answer in words makes no
call, and all such answers are equal. What cannot be read agrees with nothing. The paper (arXiv:2510.07841, Table 1)
says of its vote neither the number of samples nor the temperature nor what happens on a tie; ours gives ties to the
likelier sample. Reference: self-consistency (arXiv:2203.11171).
"""

from __future__ import annotations

from collections.abc import Sequence

from ttsi.types import SampledAnswer, canonical_calls


def groups(draws: Sequence[SampledAnswer]) -> list[list[SampledAnswer]]:
    """Readable samples that say the same, most votes first; ties go to the group with the likelier sample.

    Within a group the likeliest sample comes first.
    """
    found: dict[str, list[SampledAnswer]] = {}
    for draw in draws:
        if draw.error is None:
            found.setdefault(canonical_calls(draw.calls), []).append(draw)
    ranked = [sorted(group, key=lambda draw: -draw.logprob) for group in found.values()]
    return sorted(ranked, key=lambda group: (-len(group), -group[0].logprob))


def winner(draws: Sequence[SampledAnswer]) -> int:
    """The index of the sample to give: the likeliest of the largest group; the first when none can be read.

    >>> from ttsi.types import ToolCall
    >>> a, b = ToolCall("a", {}), ToolCall("b", {})
    >>> winner([SampledAnswer("", (a,), None, -1.0), SampledAnswer("", (b,), None, -3.0), SampledAnswer("", (b,), None, -2.0)])
    2
    """
    ranked = groups(draws)
    return next((i for i, draw in enumerate(draws) if ranked and draw is ranked[0][0]), 0)
