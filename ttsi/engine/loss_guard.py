"""The loss guard: reject an adapter whose training went wrong.

Inputs: the losses before each step. Outputs: None, or the reason to throw the adapter away. The paper uses
every adapter that it trains; one that made its own examples less likely can only hurt.
"""

from __future__ import annotations

import math
from collections.abc import Sequence


def loss_guard(losses: Sequence[float], max_rise: float) -> str | None:
    """None when the adapter may be used, else one line saying why not.

    Rejects a loss that is not finite, and last > first + max_rise * |first|. Fewer than two losses say nothing about
    their direction.
    """
    for step, loss in enumerate(losses, start=1):
        if not math.isfinite(loss):
            return f"non-finite loss at step {step}"
    sign = -1 if losses and losses[0] < 0 else 1  # an objective may be negative; cross-entropy is not
    if len(losses) > 1 and losses[-1] > losses[0] * (1 + sign * max_rise):
        return f"the loss rose from {losses[0]:.3g} to {losses[-1]:.3g}"
    return None
