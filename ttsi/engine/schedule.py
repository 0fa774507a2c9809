"""The learning rate of each step.

Inputs: the settings and the number of steps. Outputs: one learning rate per step. The paper (arXiv:2510.07841) uses
cosine with a warm-up ratio of 0.03, which at five steps is one warm-up step. Hugging Face schedules give that step the
learning rate 0, so a pass of five steps learns nothing in the first. `warmup_from_zero` keeps that for comparison; the
default wastes no step.
"""

from __future__ import annotations

import math

from ttsi.engine.engine_config import EngineConfig


def learning_rates(config: EngineConfig, steps: int) -> tuple[float, ...]:
    """The learning rate of each step s = 0 .. steps - 1.

    With W = ceil(warmup_ratio * steps) and progress q = (s - W) / max(1, steps - W):

        s < W, warmup_from_zero:      lr * s / W
        s < W, otherwise:             lr * (s + 1) / W
        s >= W, "cosine":             lr * (1 + cos(pi * q)) / 2
        s >= W, "linear":             lr * (1 - q)
        s >= W, "constant":           lr

    A single warm-up step without `warmup_from_zero` therefore starts at the full rate. With it, "cosine" is
    transformers' `get_cosine_schedule_with_warmup`.
    """
    warmup = math.ceil(config.warmup_ratio * steps)
    start = 0 if config.warmup_from_zero else 1
    rising = [config.lr * (step + start) / warmup for step in range(min(warmup, steps))]
    span = max(1, steps - warmup)
    falling = [config.lr * _decay(config.schedule, (step - warmup) / span) for step in range(warmup, steps)]
    return tuple(rising + falling)


def _decay(schedule: str, progress: float) -> float:
    if schedule == "cosine":
        return max(0.0, 0.5 * (1.0 + math.cos(math.pi * progress)))
    return 1.0 - progress if schedule == "linear" else 1.0
