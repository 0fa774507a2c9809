"""The quick checksum sees a merge, one bit and a swap; it does not see adapters that are beside the weights."""

from __future__ import annotations

import random

import torch
from transformers import PreTrainedModel

from ttsi.engine.checksum import CHUNK, _weighted_sum, weights_checksum
from ttsi.engine.lora import LoraStack


def test_attached_adapters_do_not_show(any_model: PreTrainedModel) -> None:
    before = weights_checksum(any_model)
    stack = LoraStack(any_model, 2, 4, 8.0)
    stack.attach()
    stack.reset([0, 1], [1, 2])
    assert weights_checksum(any_model) == before
    stack.detach()
    assert weights_checksum(any_model) == before


def test_a_merge_that_was_taken_back_is_seen(model: PreTrainedModel) -> None:
    weight = model.get_submodule("model.layers.0.self_attn.q_proj").weight
    before, version = weights_checksum(model), weight._version
    generator = torch.Generator().manual_seed(0)
    update = torch.randn(weight.shape, generator=generator) * 1e-2
    weight.data.add_(update)
    weight.data.sub_(update)
    assert weight._version == version, "torch's own counter does not see it"
    assert weights_checksum(model) != before


def test_one_flipped_bit_anywhere_is_seen(model: PreTrainedModel) -> None:
    rng, tensors = random.Random(0), [*model.parameters(), *model.buffers()]
    before = weights_checksum(model)
    for _ in range(100):
        flat = rng.choice(tensors).detach().view(-1).view(torch.int32)
        place, bit = rng.randrange(len(flat)), rng.randrange(31)
        flat[place] ^= 1 << bit
        assert weights_checksum(model) != before
        flat[place] ^= 1 << bit
    assert weights_checksum(model) == before


def test_exchanged_values_and_exchanged_tensors_are_seen(model: PreTrainedModel) -> None:
    before = weights_checksum(model)
    layer = model.get_submodule("model.layers.0.mlp")
    with torch.no_grad():
        layer.up_proj.weight[0, :2] = layer.up_proj.weight[0, :2].flip(0)
    assert weights_checksum(model) != before
    with torch.no_grad():
        layer.up_proj.weight[0, :2] = layer.up_proj.weight[0, :2].flip(0)
    assert weights_checksum(model) == before
    layer.up_proj, layer.gate_proj = layer.gate_proj, layer.up_proj
    assert weights_checksum(model) != before


def test_every_type_is_read_as_bits_and_chunks_add_up() -> None:
    for kind in (torch.bfloat16, torch.float16, torch.float32, torch.float64, torch.uint8):
        assert _weighted_sum(torch.tensor([1, 2], dtype=kind)) != _weighted_sum(torch.tensor([2, 1], dtype=kind))
    long = torch.ones(CHUNK + 3, dtype=torch.int16)
    n = len(long)
    assert _weighted_sum(long) == n * (n + 1) // 2
    assert _weighted_sum(torch.full((2,), float("nan"))) != 0
