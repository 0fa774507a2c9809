"""The loss of a training step: one per adapter, from the labels of its branches.

Inputs: log-probabilities of all labels of a step, branch after branch (`ttsi.engine.training_job`). Outputs: the loss
of each adapter, and its held-back loss, which has no gradient. The paper (arXiv:2510.07841) has the mean cross-entropy
of the learned labels and nothing else.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from ttsi.engine.objective import CONTRAST_WEIGHT, Objective, contrast_loss
from ttsi.engine.training_job import Branch, Role


def step_losses(values_N: Tensor, branches_B: Sequence[Sequence[Branch]], objective: Objective) -> Tensor:
    """The loss of each adapter [B].

    Args:
        values_N: log-probabilities of the labels of all branches, in their order; minus the divergence from the teacher
            where a label has one, so that the objective averages both alike.
        branches_B: the branches of each adapter; the n-th that is rejected belongs to the n-th that is preferred.
        objective: of the labels that are learned.
    """
    roles_B = _by_role(values_N, branches_B)
    rows = [torch.cat(roles["learned"]) for roles in roles_B]
    logprobs_BT = pad_sequence(rows, batch_first=True)
    counts_B1 = torch.tensor([len(row) for row in rows], device=values_N.device)[:, None]
    losses_B = objective(logprobs_BT, torch.arange(logprobs_BT.shape[1], device=values_N.device) < counts_B1)
    if any(roles["preferred"] for roles in roles_B):
        losses_B = losses_B + CONTRAST_WEIGHT * torch.stack([_contrast(roles, values_N) for roles in roles_B])
    return losses_B


def held_back_losses(values_N: Tensor, branches_B: Sequence[Sequence[Branch]]) -> list[float | None]:
    """The loss of each adapter on what it holds back, in nats per label token; None where it holds nothing back."""
    parts_B = [roles["held-back"] for roles in _by_role(values_N.detach(), branches_B)]
    return [-float(torch.cat(parts).mean()) if sum(map(len, parts)) else None for parts in parts_B]


def _by_role(values_N: Tensor, branches_B: Sequence[Sequence[Branch]]) -> list[dict[Role, list[Tensor]]]:
    """The labels of each branch, by adapter and role."""
    parts = iter(torch.split(values_N, [len(branch.labels) for branches in branches_B for branch in branches]))
    roles_B: list[dict[Role, list[Tensor]]] = []
    for branches in branches_B:
        roles_B.append({"learned": [], "preferred": [], "rejected": [], "held-back": []})
        for branch in branches:
            roles_B[-1][branch.role].append(next(parts))
    return roles_B


def _contrast(roles: dict[Role, list[Tensor]], values_N: Tensor) -> Tensor:
    if not roles["preferred"]:
        return values_N.new_zeros(())
    preferred_K, rejected_K = (
        torch.stack([part.sum() for part in parts]) for parts in (roles["preferred"], roles["rejected"])
    )
    return contrast_loss(preferred_K, rejected_K)
