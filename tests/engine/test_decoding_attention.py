"""A few new tokens attend as exactly as with torch's fused kernel, and whatever else is asked is left to it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.integrations.sdpa_attention import sdpa_attention_forward

from ttsi.engine import decoding_attention as module
from ttsi.engine.decoding import DecodingRow, decode
from ttsi.engine.decoding_attention import decoding_attention, decoding_attention_forward, fused_attention_only


class Layer(nn.Module):
    """What an attention function of transformers asks of its layer."""

    num_key_value_groups = 3
    is_causal = True


def tensors(new: int, keys: int, dtype: torch.dtype = torch.bfloat16) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Queries of six heads, keys and values of two, and a mask that hides padding and the future."""
    draw = torch.Generator().manual_seed(new)
    q_BHTD = torch.randn(2, new, 6, 16, generator=draw).transpose(1, 2) * 3  # strided, as a model gives them
    k_BGKD, v_BGKD = (torch.randn(2, 2, keys, 16, generator=draw) for _ in range(2))
    hidden_TK = torch.arange(keys) > torch.arange(keys - new, keys)[:, None]
    mask_B1TK = torch.zeros(2, 1, new, keys).masked_fill(hidden_TK, torch.finfo(dtype).min)
    mask_B1TK[1, :, :, 2:5] = torch.finfo(dtype).min
    return q_BHTD.to(dtype), k_BGKD.to(dtype), v_BGKD.to(dtype), mask_B1TK.to(dtype)


def exact(q_BHTD: Tensor, k_BGKD: Tensor, v_BGKD: Tensor, mask_B1TK: Tensor, scaling: float) -> Tensor:
    """The formula in float64 [B, T, H, D]."""
    k_BHKD, v_BHKD = (part.double().repeat_interleave(3, dim=1) for part in (k_BGKD, v_BGKD))
    scores_BHTK = q_BHTD.double() @ k_BHKD.transpose(2, 3) * scaling + mask_B1TK.double()
    return (scores_BHTK.softmax(-1) @ v_BHKD).transpose(1, 2)


@pytest.mark.parametrize(("new", "keys"), [(1, 40), (3, 43), (16, 60)])
def test_it_is_as_exact_as_the_fused_kernel(new: int, keys: int) -> None:
    given = tensors(new, keys)
    expected = exact(*given, 0.3)
    ours, _ = decoding_attention_forward(Layer(), *given, scaling=0.3)
    fused, _ = sdpa_attention_forward(Layer(), *given, scaling=0.3)
    error, fused_error = ((found - expected).abs().mean() for found in (ours, fused))
    assert ours.shape == fused.shape and ours.dtype == torch.bfloat16 and ours.is_contiguous()
    assert float(error) < 1.5 * float(fused_error) < 0.02
    unmasked, _ = decoding_attention_forward(Layer(), *given[:3], torch.zeros_like(given[3]), scaling=0.3)
    assert float((unmasked - expected).abs().max()) > 0.05  # control: the mask counts


def test_without_a_mask_one_token_sees_all() -> None:
    q, k, v, mask = tensors(1, 20)
    ours, _ = decoding_attention_forward(Layer(), q, k, v, None)
    assert torch.equal(ours, decoding_attention_forward(Layer(), q, k, v, torch.zeros_like(mask))[0])


def left_to_the_kernel(monkeypatch: pytest.MonkeyPatch, call: Callable[[], object]) -> bool:
    """Whether a call of the attention function goes to torch's kernel."""
    calls: list[int] = []

    def watching(*arguments: Any, **more: Any) -> tuple[Tensor, None]:
        calls.append(1)
        output, _ = sdpa_attention_forward(*arguments, **more)
        return output, None

    with monkeypatch.context() as patch:
        patch.setattr(module, "sdpa_attention_forward", watching)
        call()
    return bool(calls)


def test_what_it_cannot_do_better_is_left_to_the_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    def leaves(given: tuple[Tensor, ...], **more: Any) -> bool:
        return left_to_the_kernel(monkeypatch, lambda: decoding_attention_forward(Layer(), *given, **more))  # type: ignore[arg-type]

    q, k, v, mask = tensors(2, 20)
    assert not leaves((q, k, v, mask))  # control
    assert not leaves((q, k, v, mask), position_ids=mask, use_cache=True)
    assert leaves(tensors(17, 40))
    assert leaves(tensors(2, 20, torch.float32))
    assert leaves((q, k, v, None)), "two tokens without a mask are causal"
    assert leaves((q.clone().requires_grad_(), k, v, mask))
    assert leaves((q, k, v, mask), dropout=0.1)
    assert leaves((q, k, v, mask), soft_cap=30.0)


def test_decoding_uses_it_in_bfloat16_and_leaves_the_model_as_it_was(
    model: PreTrainedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    used: list[bool] = []
    plain = module._is_usable

    def watching(*arguments: Any) -> bool:
        used.append(plain(*arguments))
        return used[-1]

    monkeypatch.setattr(module, "_is_usable", watching)
    rows = [DecodingRow((1, 2, 3), 6), DecodingRow(tuple(range(30, 50)), 6)]
    decode(model, rows)
    assert not used, "control: float32 has no need of it"
    narrow = model.to(torch.bfloat16)
    found = decode(narrow, rows)
    assert used and all(used[-2:])
    count = len(used)
    with fused_attention_only():
        expected = decode(narrow, rows)
    assert len(used) == count
    for ours, fused in zip(found, expected, strict=True):
        assert ours.logprob == pytest.approx(fused.logprob, rel=0.02)
    assert narrow.config._attn_implementation == "sdpa"
    with pytest.raises(KeyboardInterrupt), decoding_attention(narrow):
        assert narrow.config._attn_implementation == module.IMPLEMENTATION
        raise KeyboardInterrupt
    assert narrow.config._attn_implementation == "sdpa"
