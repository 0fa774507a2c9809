"""Are log-probabilities of bfloat16 logits those of float64, in value and gradient, whatever the block?"""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from ttsi.engine import token_logprobs as module
from ttsi.engine.token_logprobs import token_logprobs

TARGETS_N = torch.tensor([3, 0, 96, 3, 41])


def logits(dtype: torch.dtype, scale: float = 6.0) -> Tensor:
    """Five rows over 97 tokens, some of them far apart."""
    drawn_NV = torch.randn(5, 97, generator=torch.Generator().manual_seed(4)) * scale
    return drawn_NV.to(torch.bfloat16).to(dtype).requires_grad_()


def value_and_gradient(logits_NV: Tensor, exact: bool = False) -> tuple[Tensor, Tensor]:
    """Log-probabilities [N], and the gradient [N, V] of a weighted sum of them."""
    weights_N = torch.tensor([1.0, -2.0, 0.5, 3.0, 0.0], dtype=torch.float64)
    own = token_logprobs(logits_NV, TARGETS_N)
    logprobs_N = logits_NV.log_softmax(dim=-1)[range(5), TARGETS_N] if exact else own
    (logprobs_N * weights_N.to(logprobs_N.dtype)).sum().backward()
    assert logits_NV.grad is not None
    return logprobs_N.detach().double(), logits_NV.grad.double()


@pytest.mark.parametrize("rows", [1, 2, 5, 1000])
@pytest.mark.parametrize("scale", [0.5, 6.0, 60.0])
def test_blocks_change_nothing(rows: int, scale: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(module.BLOCK_LOGITS, "cpu", rows * 97)
    logprobs_N, grad_NV = value_and_gradient(logits(torch.bfloat16, scale))
    exact_N, exact_NV = value_and_gradient(logits(torch.float64, scale), exact=True)
    torch.testing.assert_close(logprobs_N, exact_N, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(grad_NV, exact_NV, rtol=2**-8, atol=1e-6)  # the gradient is bfloat16


def test_control_a_gradient_without_its_target_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Tensor, "scatter_add_", lambda self, *_: self)
    _, grad_NV = value_and_gradient(logits(torch.bfloat16))
    _, exact_NV = value_and_gradient(logits(torch.float64), exact=True)
    assert float((grad_NV - exact_NV).abs().max()) > 0.5


def test_float32_keeps_the_bits_of_torch() -> None:
    logits_NV = logits(torch.float32)
    wanted_N = -torch.nn.functional.cross_entropy(logits_NV, TARGETS_N, reduction="none")
    assert torch.equal(token_logprobs(logits_NV, TARGETS_N), wanted_N)


def test_no_targets_no_logprobs() -> None:
    none_NV = torch.zeros(0, 97, dtype=torch.bfloat16)
    assert token_logprobs(none_NV, torch.zeros(0, dtype=torch.long)).shape == (0,)
