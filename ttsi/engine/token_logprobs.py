"""Log-probabilities of chosen tokens from bfloat16 logits, a few rows at a time.

    logprob(n) = logits[n, target(n)] - logsumexp(logits[n])

torch's cross-entropy writes an fp32 copy of all logits [N, V], their log-softmax, its gradient and that gradient in
bfloat16: five passes over memory, 80 MB each for 400 labels of a vocabulary of 49,152. Here the logits stay as the head
gave them, and only a few rows at a time are fp32, in the processor's cache; the backward pass computes their
probabilities again.

Inputs: logits [N, V], targets [N]. Outputs: fp32 log-probabilities [N], equal to torch's up to rounding, with
gradients.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

BLOCK_LOGITS = {"cpu": 2**20}
"""Logits that are fp32 at a time, by device: four megabytes."""
BLOCK_LOGITS_ELSEWHERE = 2**26


class _TokenLogprobs(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, logits_NV: Tensor, targets_N: Tensor) -> Tensor:
        lse_N = torch.cat([block_MV.float().logsumexp(dim=-1) for block_MV in _blocks(logits_NV)])
        ctx.save_for_backward(logits_NV, targets_N, lse_N)
        return logits_NV.gather(1, targets_N[:, None])[:, 0].float() - lse_N

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        logits_NV, targets_N, lse_N = ctx.saved_tensors
        grad_N1 = grads[0][:, None]
        grad_NV = torch.empty_like(logits_NV)
        start = 0
        for block_MV in _blocks(logits_NV):
            rows = slice(start, start + len(block_MV))
            grad_MV = torch.exp(block_MV.float() - lse_N[rows, None]).mul_(-grad_N1[rows])
            grad_NV[rows] = grad_MV.scatter_add_(1, targets_N[rows, None], grad_N1[rows])
            start = rows.stop
        return grad_NV, None


def token_logprobs(logits_NV: Tensor, targets_N: Tensor) -> Tensor:
    """fp32 log-probabilities [N] of the targets, with gradients for the logits where they are on."""
    if logits_NV.dtype != torch.bfloat16 or not len(targets_N):
        return -torch.nn.functional.cross_entropy(logits_NV.float(), targets_N, reduction="none")
    logprobs_N: Tensor = _TokenLogprobs.apply(logits_NV, targets_N)  # type: ignore[no-untyped-call]
    return logprobs_N


def _blocks(logits_NV: Tensor) -> Iterator[Tensor]:
    most = BLOCK_LOGITS.get(logits_NV.device.type, BLOCK_LOGITS_ELSEWHERE)
    yield from logits_NV.split(max(1, most // logits_NV.shape[1]))
