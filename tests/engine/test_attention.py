"""Does attention by key-value head equal transformers' own, in value and gradient, and is it undone?

The reference is `sdpa_attention_forward` in float64 on the same queries, keys and values.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import PreTrainedModel
from transformers.integrations.sdpa_attention import sdpa_attention_forward

from tests.conftest import build_model
from tests.engine.test_training import distance
from ttsi.engine import attention
from ttsi.engine.attention import IMPLEMENTATION, RowLengths, packed_attention_forward, row_attention
from ttsi.engine.decoding_attention import fused_attention_only
from ttsi.engine.engine_config import EngineConfig
from ttsi.engine.lora import LoraStack
from ttsi.engine.packing import collate, label_logprobs, pack
from ttsi.engine.prefix import CachedPrompt, cache_of, prefill
from ttsi.engine.training import TrainingJob, train
from ttsi.engine.windows import spans_of

LENGTHS = RowLengths((40, 0, 25), (30, 21, 1), 40)
"""Rows with long, no and shorter beginnings, and one of a single token."""
SCALING = 0.4

Tensors = tuple[Tensor, Tensor, Tensor, Tensor]


class Layer(torch.nn.Module):
    """What an attention function sees of its module."""

    is_causal = True

    def __init__(self, repeats: int) -> None:
        super().__init__()
        self.num_key_value_groups = repeats


@pytest.fixture(autouse=True)
def use_always(monkeypatch: pytest.MonkeyPatch) -> None:
    """In these tests one score is enough."""
    monkeypatch.setattr(attention, "MIN_SCORES", 0)


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Fills with one number for each layer's attention that this module computes."""
    counts: list[int] = []
    whole = attention._RowAttention.apply

    def counting(*arguments: Any) -> Any:
        counts.append(1)
        return whole(*arguments)  # type: ignore[no-untyped-call]

    monkeypatch.setattr(attention._RowAttention, "apply", counting)
    return counts


def inputs(dtype: torch.dtype, repeats: int = 3, size: float = 1.0, features: tuple[int, int] = (16, 16)) -> Tensors:
    """Queries, the rows' own keys and values, and a mask in which a token sees only every other one before it."""
    generator = torch.Generator().manual_seed(0)
    cached, length = LENGTHS.cache_length, max(LENGTHS.own_B)
    q_BHTD, k_BGKD, v_BGKD = (
        torch.randn(3, heads, tokens, width, generator=generator).to(dtype)
        for heads, tokens, width in (
            (2 * repeats, length, features[0]),
            (2, cached + length, features[0]),
            (2, cached + length, features[1]),
        )
    )
    visible = torch.ones(length, length).tril() * (torch.rand(length, length, generator=generator) < 0.5)
    visible = visible.bool() | torch.eye(length, dtype=torch.bool)
    held = torch.arange(cached) < torch.tensor(LENGTHS.cached_B)[:, None]
    seen = torch.cat([held[:, None].expand(3, length, cached), visible.expand(3, length, length)], dim=2)
    mask_B1TK = torch.zeros(seen.shape, dtype=dtype).masked_fill_(~seen, torch.finfo(dtype).min)[:, None]
    return (q_BHTD.float() * size).to(dtype), k_BGKD, v_BGKD, mask_B1TK


def results(attend: Callable[..., Any], tensors: Tensors, lengths: RowLengths = LENGTHS) -> list[Tensor]:
    """Output, and gradients of queries and of the rows' own keys and values; nothing of padding."""
    q_BHTD, k_BGKD, v_BGKD, mask_B1TK = tensors
    cached = lengths.cache_length
    leaves = [q_BHTD.clone(), k_BGKD[:, :, cached:].clone(), v_BGKD[:, :, cached:].clone()]
    q, k, v = (leaf.requires_grad_() for leaf in leaves)
    keys, values = torch.cat([k_BGKD[:, :, :cached], k], 2), torch.cat([v_BGKD[:, :, :cached], v], 2)
    out, _ = attend(Layer(q.shape[1] // k.shape[1]), q, keys, values, mask_B1TK, 0.0, SCALING)
    weights = torch.randn(out.shape, generator=torch.Generator().manual_seed(1)).to(out.dtype)
    for row, own in enumerate(lengths.own_B):
        weights[row, own:] = 0
    gradients = torch.autograd.grad((out * weights).sum(), leaves)
    return [out.detach() * (weights != 0), *gradients]


def ours(tensors: Tensors, lengths: RowLengths = LENGTHS) -> list[Tensor]:
    token = attention._rows.set(lengths)
    try:
        return results(packed_attention_forward, tensors, lengths)
    finally:
        attention._rows.reset(token)


def in_float64(tensors: Tensors) -> list[Tensor]:
    q, k, v, mask = (tensor.double() for tensor in tensors)
    return results(sdpa_attention_forward, (q, k, v, mask.clamp_min(torch.finfo(torch.float64).min)))


def errors(given: Sequence[Tensor], expected: Sequence[Tensor]) -> list[float]:
    return [distance(a.double(), b) for a, b in zip(given, expected, strict=True)]


@pytest.mark.parametrize("block", [1, 300, 2**20], ids=["queries-in-blocks", "some", "one-block"])
@pytest.mark.parametrize("repeats", [1, 3])
@pytest.mark.parametrize("features", [(16, 16), (16, 8)], ids=["equal", "narrow-values"])
def test_values_and_gradients_are_exact(
    calls: list[int], monkeypatch: pytest.MonkeyPatch, block: int, repeats: int, features: tuple[int, int]
) -> None:
    monkeypatch.setattr(attention, "BLOCK_SCORES", block)
    monkeypatch.setattr(attention, "MIN_QUERIES", 8)
    tensors = inputs(torch.float32, repeats, features=features)
    assert max(errors(ours(tensors), in_float64(tensors))) < 1e-6
    assert calls


@pytest.mark.parametrize("size", [1.0, 5.0], ids=["small-scores", "scores-to-30"])
def test_bfloat16_gradients_are_as_exact_as_the_fused_kernels(calls: list[int], size: float) -> None:
    tensors = inputs(torch.bfloat16, size=size)
    expected = in_float64(tensors)
    fused = errors(results(sdpa_attention_forward, tensors), expected)
    if not attention._multiplies_bfloat16():
        pytest.skip("this processor has no bfloat16 instructions")
    own = errors(ours(tensors), expected)
    assert sum(own[1:]) < 1.05 * sum(fused[1:])
    assert own[0] < 1.35 * fused[0]  # probabilities are rounded once more than in the fused kernel
    assert calls


def test_control_without_the_maximum_bfloat16_is_less_exact(monkeypatch: pytest.MonkeyPatch) -> None:
    if not attention._multiplies_bfloat16():
        pytest.skip("this processor has no bfloat16 instructions")
    tensors = inputs(torch.bfloat16, size=5.0)
    expected = in_float64(tensors)
    with_maximum = errors(ours(tensors), expected)
    again = attention._Row.probabilities_again

    def plainly(row: attention._Row, head: int, start: int, end: int, highest_N1: Tensor) -> Tensor:
        return again(row, head, start, end, torch.zeros_like(highest_N1))

    monkeypatch.setattr(attention._Row, "probabilities_again", plainly)
    without = errors(ours(tensors), expected)
    assert without[0] == with_maximum[0]
    assert all(worse > 1.5 * better for worse, better in zip(without[1:], with_maximum[1:], strict=True))


def read(tensors: Tensors) -> Tensor:
    """The output as a long prompt is read: without gradients."""
    q_BHTD, k_BGKD, v_BGKD, mask_B1TK = tensors
    token = attention._rows.set(LENGTHS)
    try:
        out_BTHD, _ = packed_attention_forward(Layer(3), q_BHTD, k_BGKD, v_BGKD, mask_B1TK, 0.0, SCALING)
    finally:
        attention._rows.reset(token)
    for row, own in enumerate(LENGTHS.own_B):
        out_BTHD[row, own:] = 0
    return out_BTHD


@pytest.mark.skipif(not attention._multiplies_bfloat16(), reason="this processor has no bfloat16 instructions")
@pytest.mark.parametrize("block", [300, 2**20], ids=["queries-in-blocks", "one-block"])
@pytest.mark.parametrize("size", [1.0, 5.0], ids=["small-scores", "scores-to-30"])
def test_long_prompts_are_read_nearly_as_exactly_as_by_the_fused_kernel(
    calls: list[int], monkeypatch: pytest.MonkeyPatch, size: float, block: int
) -> None:
    monkeypatch.setattr(attention, "BLOCK_SCORES", block)
    monkeypatch.setattr(attention, "MIN_QUERIES", 8)
    tensors = inputs(torch.bfloat16, size=size)
    expected = in_float64(tensors)[0]
    fused = distance(read(tensors).double(), expected)
    assert not calls
    monkeypatch.setattr(attention, "MIN_KEYS_READ", 0)
    assert distance(read(tensors).double(), expected) < 1.6 * fused
    assert len(calls) == 1
    with fused_attention_only():
        assert distance(read(tensors).double(), expected) == fused
    assert len(calls) == 1


@pytest.mark.skipif(not attention._multiplies_bfloat16(), reason="this processor has no bfloat16 instructions")
def test_control_one_product_reads_less_exactly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attention, "MIN_KEYS_READ", 0)
    tensors = inputs(torch.bfloat16, size=5.0)
    expected = in_float64(tensors)[0]
    with_maximum = distance(read(tensors).double(), expected)
    again = attention._Row.probabilities_again

    def plainly(row: attention._Row, head: int, start: int, end: int, highest_N1: Tensor) -> Tensor:
        return again(row, head, start, end, torch.zeros_like(highest_N1))

    monkeypatch.setattr(attention._Row, "probabilities_again", plainly)
    assert distance(read(tensors).double(), expected) > 1.5 * with_maximum


def test_control_a_wrong_length_is_seen() -> None:
    tensors = inputs(torch.float32)
    shorter = RowLengths((39, 0, 25), LENGTHS.own_B, LENGTHS.cache_length)
    assert max(errors(ours(tensors, shorter), in_float64(tensors))) > 1e-3


@pytest.mark.parametrize(
    "change", [{"dropout": 0.5}, {"softcap": 30.0}, {"s_aux": torch.ones(6)}, {"is_causal": True}], ids=str
)
def test_what_it_does_not_do_is_left_to_sdpa(calls: list[int], change: dict[str, Any]) -> None:
    q, k, v, mask = inputs(torch.float32)
    arguments = {"dropout": 0.0, "scaling": SCALING} | change
    token = attention._rows.set(LENGTHS)
    try:
        for attend in (sdpa_attention_forward, packed_attention_forward):
            if "softcap" in change:
                with pytest.raises(ValueError, match="softcap"):
                    attend(Layer(3), q, k, v, mask, **arguments)
            else:
                attend(Layer(3), q, k, v, mask, **arguments)
    finally:
        attention._rows.reset(token)
    assert calls == []


def test_float16_other_rows_and_bfloat16_without_gradients_are_left_to_sdpa(calls: list[int]) -> None:
    ours(inputs(torch.float16))
    for dtype, lengths in ((torch.bfloat16, LENGTHS), (torch.float32, RowLengths((1, 1), (1, 1), 1))):
        q, k, v, mask = inputs(dtype)
        token = attention._rows.set(lengths)
        try:
            packed_attention_forward(Layer(3), q, k, v, mask)
        finally:
            attention._rows.reset(token)
    assert calls == []


TREE = [((*range(1, 60), 5, 6, 7), 58), ((*range(1, 60), 9, 6), 58), ((*range(1, 45), 3, 8), 40)]


def adapters(model: PreTrainedModel, unadapted: int) -> Tensor:
    """One adapter, trained on a tree behind a beginning on which it does not act."""
    config = EngineConfig(rank=4, alpha=8.0, lr=2e-2, epochs=2)
    stack = LoraStack(model, 1, config.rank, config.alpha)
    stack.reset([0], [7])
    stack.attach()
    try:
        (report,) = train(stack, [TrainingJob(0, tuple(TREE), (unadapted,) * 3)], config)
        assert report.ok
        return stack.values_SP[0].clone()
    finally:
        stack.detach()


@pytest.mark.parametrize("unadapted", [0, 35])
@pytest.mark.parametrize("window", [None, 12])
def test_training_is_what_it_was(
    calls: list[int], monkeypatch: pytest.MonkeyPatch, unadapted: int, window: int | None
) -> None:
    model = build_model("mistral")
    model.config.sliding_window = window
    monkeypatch.setattr(RowLengths, "are_faster_apart", lambda self, dtype: True)
    new_P = adapters(model, unadapted)
    assert len(calls) == 2 * 2  # layers, steps
    monkeypatch.setattr(RowLengths, "are_faster_apart", lambda self, dtype: False)
    assert distance(new_P, adapters(model, unadapted)) < 1e-4
    assert len(calls) == 2 * 2


def test_float32_without_beginnings_keeps_the_fused_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    behind, alone = RowLengths((40,), (30,), 40), RowLengths((0,), (70,), 0)
    assert behind.are_faster_apart(torch.float32) and not alone.are_faster_apart(torch.float32)
    assert behind.are_faster_apart(torch.bfloat16) and alone.are_faster_apart(torch.bfloat16)
    monkeypatch.setattr(attention, "MIN_SCORES", 2**40)
    assert not behind.are_faster_apart(torch.float32) and not alone.are_faster_apart(torch.bfloat16)


def test_a_window_hides_what_it_did(calls: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    """Control: without a look at the mask over the beginning, the row sees too much of it."""
    model = build_model("mistral")
    model.config.sliding_window = 12
    expected_P = adapters(model, 35)
    monkeypatch.setattr(RowLengths, "hides_beginning", lambda self, mask: [False] * len(mask))
    assert distance(adapters(model, 35), expected_P) > 1e-3


def test_the_models_setting_is_restored(model: PreTrainedModel, calls: list[int]) -> None:
    lengths = RowLengths((4,), (30,), 4)
    for implementation in ("sdpa", "eager"):
        model.set_attn_implementation(implementation)
        with pytest.raises(KeyError), row_attention(model, lengths):
            inside = model.config._attn_implementation
            assert inside == (IMPLEMENTATION if implementation == "sdpa" else "eager")
            raise KeyError
        assert model.config._attn_implementation == implementation
        assert attention._rows.get() is None


def test_others_who_use_the_model_meanwhile_get_what_they_always_get(model: PreTrainedModel, calls: list[int]) -> None:
    from threading import Thread

    ids = torch.tensor([[1, 2, 3, 4]])
    before = model(input_ids=ids).logits
    found: list[Tensor] = []
    with row_attention(model, RowLengths((0,), (4,), 0)):
        other = Thread(target=lambda: found.append(model(input_ids=ids).logits))
        other.start()
        other.join()
    assert torch.equal(found[0], before) and calls == []


def test_a_beginning_with_gradients_keeps_them(model: PreTrainedModel, calls: list[int]) -> None:
    (entry,) = prefill(model, [CachedPrompt(tuple(range(1, 36)))])
    cache, length = cache_of([CachedPrompt(TREE[0][0], before=entry, cached=35)])
    layers: list[Any] = list(cache.layers)
    for layer in layers:
        layer.values.requires_grad_()
    first = layers[0].values
    batch = collate([pack(TREE, length)], model.device, model.dtype, length, spans_of(model))
    (gradient,) = torch.autograd.grad(label_logprobs(model, batch, cache).sum(), first)
    assert gradient.any() and calls == []
