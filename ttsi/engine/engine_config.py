"""The engine's settings: adapters, optimizer, schedule, objective.

Nothing here knows of a method or of text; `ttsi.models.temporary_adapters` makes an `EngineConfig` of an
`AdaptationConfig`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Integral
from typing import Literal

from ttsi.engine.objective import Objective, cross_entropy
from ttsi.errors import ConfigError

ALL_LINEAR = "all-linear"
"""Target of every linear layer except a vocabulary head, as PEFT calls it."""

Schedule = Literal["cosine", "linear", "constant"]


@dataclass(frozen=True)
class EngineConfig:
    """Settings of the adapters and of their training."""

    rank: int = 8
    """LoRA rank; read when adapters are attached."""
    alpha: float = 16.0
    """LoRA alpha; the update is scaled by alpha / rank. Read when adapters are attached."""
    targets: str | Sequence[str] = ALL_LINEAR
    """"all-linear", or the last parts of the layers' names ("q_proj", "v_proj"); read when adapters are attached."""
    lr: float = 1e-3
    """Peak learning rate of AdamW."""
    epochs: int = 5
    """Passes over each adapter's examples."""
    batch_size: int = 0
    """Examples per optimizer step; 0 means all of an adapter's examples at once."""
    warmup_ratio: float = 0.03
    """Share of the steps with a rising learning rate."""
    schedule: Schedule = "cosine"
    """How the learning rate falls after the warm-up: "cosine", "linear" or "constant"."""
    warmup_from_zero: bool = False
    """Give the first warm-up step learning rate 0, as Hugging Face schedules do."""
    weight_decay: float = 0.0
    """AdamW weight decay."""
    max_grad_norm: float = 1.0
    """Gradient clipping, per adapter; 0 turns it off."""
    max_loss_rise: float = 0.2
    """Reject an adapter when its last loss is above the first by this share."""
    objective: Objective = cross_entropy
    """(logprobs_BT, mask_BT) -> loss_B; see `ttsi.engine.objective`."""

    def __post_init__(self) -> None:
        """Refuse values that cannot be trained with.

        Raises:
            ConfigError: one line that names the setting.
        """
        schedules = ("cosine", "linear", "constant")
        for name, least in (("rank", 1), ("epochs", 1), ("batch_size", 0)):
            count = getattr(self, name)
            if not isinstance(count, Integral) or count < least:
                raise ConfigError(f"{name} must be a whole number of at least {least}, not {count!r}")
        for name in ("alpha", "lr", "weight_decay"):
            if not 0 <= getattr(self, name) < math.inf:
                raise ConfigError(f"{name} must be a finite number of at least 0, not {getattr(self, name)}")
        if not self.max_grad_norm >= 0:
            raise ConfigError(f"max_grad_norm must be a number of at least 0, not {self.max_grad_norm}")
        if math.isnan(self.max_loss_rise):
            raise ConfigError("max_loss_rise is not a number: no adapter would be rejected")
        if self.schedule not in schedules:
            raise ConfigError(f"unknown schedule {self.schedule!r}; choose one of: {', '.join(schedules)}")
        if not 0 <= self.warmup_ratio <= 1:
            raise ConfigError(f"warmup_ratio must lie between 0 and 1, not {self.warmup_ratio}")
