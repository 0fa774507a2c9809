"""The loss guard of a training run: did it go wrong?

Inputs: the losses before each step. Outputs: None, or the reason to throw the adapter away. The paper uses every adapter
that it trains; one that made its own examples less likely can only hurt.
"""

from __future__ import annotations

import math
from collections.abc import Sequence


def loss_guard(losses: Sequence[float], max_rise: float) -> str | None:
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
