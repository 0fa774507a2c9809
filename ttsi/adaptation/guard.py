"""Did training go wrong, so that the base should answer instead?

Inputs: the losses before each step; later both answers. Outputs: None, or the reason why the base answers. The paper
(arXiv:2510.07841) uses every adapter it trains. An adapter that made its own examples less likely can only hurt, and
one that leaves the model less sure of its answer has mostly learned from bad examples (dev/log.md has the figures).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from ttsi.types import Answer


def verdict(losses: Sequence[float], max_rise: float) -> str | None:
    """None when the adapter may be used, else one line saying why not.

    Rejects a loss that is not finite, and last > first * (1 + max_rise). Losses are in nats per label token and not
    negative; fewer than two tell nothing about their direction.
    """
    for step, loss in enumerate(losses, start=1):
        if not math.isfinite(loss):
            return f"non-finite loss at step {step}"
    if len(losses) > 1 and losses[-1] > losses[0] * (1 + max_rise):
        return f"the loss rose from {losses[0]:.3g} to {losses[-1]:.3g}"
    return None


def less_sure(base: Answer, adapted: Answer, margin: float | None) -> str | None:
    """None when the adapted answer may be given, else one line saying why not.

    Each answer's mean log-probability per token (nats) is that under the weights that wrote it; the adapted one must
    be larger by more than `margin`. Without a margin every answer may be given.

    >>> old, new = Answer("", (), logprob=-2.0, tokens=10), Answer("", (), logprob=-1.0, tokens=10)
    >>> less_sure(old, new, 0.05), less_sure(new, old, 0.05)
    (None, 'the model is not surer of it: -0.200 nats per token, the base -0.100')
    >>> less_sure(new, old, None)
    """
    before, after = (answer.logprob / max(1, answer.tokens) for answer in (base, adapted))
    if margin is None or after > before + margin:
        return None
    return f"the model is not surer of it: {after:.3f} nats per token, the base {before:.3f}"
