"""Training objectives over label tokens: one loss per adapter.

Inputs: log-probabilities of the label tokens, one row per adapter. Outputs: one loss per row. The rows of a step never
mix: the engine sums the losses, so the gradient of each adapter is that of its own loss.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

Objective = Callable[[Tensor, Tensor], Tensor]
"""(logprobs_BT, mask_BT) -> loss_B. A row holds the fp32 log-probabilities (nats) of the label tokens of one adapter's
examples in this step, one example after the other; the mask is True where there is a label and False at padding."""


def cross_entropy(logprobs_BT: Tensor, mask_BT: Tensor) -> Tensor:
    """The mean of -log p over the label tokens of each row, in nats: what a causal language model is trained with."""
    return torch.stack([-row_T[mask_T].mean() for row_T, mask_T in zip(logprobs_BT, mask_BT, strict=True)])


OBJECTIVES: dict[str, Objective] = {"cross-entropy": cross_entropy}
"""Objectives by name."""
