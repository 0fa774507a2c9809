"""The choice of the step by examples that an adapter does not train on.

Inputs: the loss on an adapter's held-back examples before each step and after the last, with the adapter's numbers at
that moment. Outputs: the step with the lowest loss (early stopping), its numbers, or a refusal where no step helps. The
paper (arXiv:2510.07841) holds nothing back and answers with the adapter of the last step.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import Tensor

MIN_FALL = 0.01
"""An adapter must lower the held-back loss by this share. No chance is in the loss, so any fall is real. But a
hundredth lies well above the rounding by which batches differ (a thousandth with bfloat16), so no refusal depends on an
input's neighbours. A smaller fall means that the adapter learned hardly anything that another example needs."""


@dataclass
class StepChoice:
    """The held-back losses of one adapter, and the best numbers so far; with no loss at all it chooses nothing."""

    losses: list[float] = field(default_factory=list)
    """After 0, 1, ... steps: the first is that of the base. In nats per label token."""
    best_P: Tensor | None = None
    """The adapter with the lowest loss."""

    def record(self, loss: float, values_P: Tensor) -> None:
        """The loss of the adapter as it is now; of equal losses the earlier counts."""
        if not self.losses or loss < min(self.losses):
            self.best_P = values_P.detach().clone()
        self.losses.append(loss)

    @property
    def step(self) -> int | None:
        """How many steps the best adapter has had; None where nothing was held back."""
        return self.losses.index(min(self.losses)) if self.losses else None

    @property
    def refusal(self) -> str:
        """Why no adapter is to be used, or ""."""
        if not self.losses or min(self.losses) < self.losses[0] * (1 - MIN_FALL):
            return ""
        return "the held-back loss did not fall"
