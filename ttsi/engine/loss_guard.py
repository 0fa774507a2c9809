"""The loss guard: reject an adapter whose training went wrong.

Inputs: the losses before each step. Outputs: None, or the reason to throw the adapter away. The paper uses
every adapter that it trains; one that made its own examples less likely can only hurt.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import fmean


def loss_guard(losses: Sequence[float], max_rise: float, steps_per_epoch: int = 1) -> str | None:
    """None when the adapter may be used, else one line saying why not.

    Rejects a loss that is not finite, and last > first + max_rise * |first|. `last` is the mean over the last epoch,
    `first` the mean of the same steps in the first epoch, because other examples have other losses. Without a second
    epoch losses say nothing about their direction.

    >>> loss_guard([1.2, 4.6, 1.1, 4.4], 0.2, steps_per_epoch=2)
    >>> loss_guard([1.2, 4.6, 2.2, 5.4], 0.2, steps_per_epoch=2)
    'the loss rose from 2.9 to 3.8'
    """
    for step, loss in enumerate(losses, start=1):
        if not math.isfinite(loss):
            return f"non-finite loss at step {step}"
    later = range(max(steps_per_epoch, len(losses) - steps_per_epoch), len(losses))
    if not later:
        return None
    first, last = fmean(losses[step % steps_per_epoch] for step in later), fmean(losses[step] for step in later)
    sign = -1 if first < 0 else 1  # an objective may be negative; cross-entropy is not
    return f"the loss rose from {first:.3g} to {last:.3g}" if last > first * (1 + sign * max_rise) else None
