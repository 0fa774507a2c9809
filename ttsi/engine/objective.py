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


CONTRAST_WEIGHT = 1.0
"""Weight of `contrast_loss` beside the objective. Both are cross-entropies in nats: one of a token among all tokens,
the other of a text among two. CPO (arXiv:2401.08417) weighs its two terms equally, too."""


def contrast_loss(preferred_K: Tensor, rejected_K: Tensor) -> Tensor:
    """The mean of softplus(rejected - preferred) over pairs of texts, from their summed log-probabilities in nats.

    That is -log of the preferred text's share of the two: the cross-entropy of the softmax over candidates from which
    the paper (arXiv:2510.07841) reads how sure the model is. Contrastive preference optimization (arXiv:2401.08417) has
    a factor beta before the difference, which here is 1.
    """
    return torch.nn.functional.softplus(rejected_K - preferred_K).mean()


OBJECTIVES: dict[str, Objective] = dict.fromkeys(("cross-entropy", "contrast", "distill"), cross_entropy)
"""Objectives by name. The last two differ in what a job brings: pairs to contrast, or labels with a teacher, for which
minus the divergence stands in the place of the log-probability (`ttsi.engine.training_job`)."""
