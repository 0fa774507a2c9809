"""The quick checksum sees a merge, one bit and a swap; it does not see adapters that are beside the weights."""

from __future__ import annotations

import random
import zlib
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from transformers import PreTrainedModel

from ttsi.engine.checksum import CHUNK, SAMPLED, _weighted_sum, weights_checksum, weights_fingerprint
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


class WithoutFloat64(TorchDispatchMode):
    """Within the block the meta device stands for one without float64, as mps is; a copy of it to the CPU is zeros."""

    def __init__(self) -> None:
        super().__init__()
        self.copies = 0

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if function is torch.ops.aten._to_copy.default and args[0].is_meta and kwargs.get("device") is not None:
            self.copies += 1
            return torch.zeros(args[0].shape, dtype=kwargs.get("dtype") or args[0].dtype)
        result = function(*args, **kwargs)
        if isinstance(result, torch.Tensor) and result.is_meta and result.dtype == torch.float64:
            raise TypeError("this device has no float64")
        return result


def of_several_types(device: str = "cpu") -> nn.Module:
    generator = torch.Generator().manual_seed(0)
    parts = [nn.Linear(size, 5, device=device) for size in (3, 40, 7)]
    net = nn.Sequential(parts[0], parts[1].bfloat16(), parts[2].half())
    net.register_buffer("count", torch.arange(50, device=device))
    net.register_buffer("flags", torch.tensor([True, False], device=device))
    net.register_buffer("nothing", torch.zeros(0, device=device))
    if device == "cpu":
        for parameter in net.parameters():
            parameter.data.copy_(torch.randn(parameter.shape, generator=generator))
    return net


def widened_where_they_lie(net: nn.Module) -> int:
    """The fingerprint by its formula, in float64 on the model's device."""
    flat = [tensor.detach().reshape(-1) for tensor in (*net.parameters(), *net.buffers())]
    samples = [flat_N[:: max(1, len(flat_N) // SAMPLED)][:SAMPLED].double() for flat_N in flat]
    return zlib.crc32(torch.cat(samples).cpu().numpy().tobytes())


def test_a_fingerprint_has_the_bits_of_its_formula(any_model: PreTrainedModel) -> None:
    for net in (any_model, of_several_types()):
        assert weights_fingerprint(net) == widened_where_they_lie(net)
    net = of_several_types()
    with torch.no_grad():
        net[1].weight[0, 0] += 1
    assert weights_fingerprint(net) != weights_fingerprint(of_several_types()), "control"


def test_a_fingerprint_needs_no_float64_on_the_device_and_one_copy_per_type() -> None:
    net = of_several_types("meta")
    with WithoutFloat64() as device:
        weights_fingerprint(net)
    types = {tensor.dtype for tensor in (*net.parameters(), *net.buffers())}
    assert device.copies == len(types) == 5
    with WithoutFloat64(), pytest.raises(TypeError, match="no float64"):  # control: widened where they lie
        widened_where_they_lie(net)
