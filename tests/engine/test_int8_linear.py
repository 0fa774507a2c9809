"""Are int8 layers the bfloat16 layers up to the rounding of their weights, in value, in gradient, in a whole model?"""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from tests.conftest import build_model
from ttsi.engine.anatomy import head_of, parameter_count
from ttsi.engine.checksum import weights_sha256
from ttsi.engine.engine_config import EngineConfig
from ttsi.engine.int8_linear import MAX_PACKED_TOKENS, Int8Linear, int8_weights, is_int8, to_int8
from ttsi.engine.lora import LoraStack
from ttsi.engine.training import TrainingJob, train
from ttsi.errors import ModelError


def layer(inputs: int, outputs: int, bias: bool = True) -> nn.Linear:
    """A bfloat16 layer whose rows differ in size by a factor of 10."""
    torch.manual_seed(3)
    made = nn.Linear(inputs, outputs, bias=bias)
    with torch.no_grad():
        made.weight.mul_(torch.linspace(0.2, 2.0, outputs)[:, None])
    return made.to(torch.bfloat16).requires_grad_(False)


def exact(int8: Int8Linear, x: Tensor) -> Tensor:
    """What the int8 weights stand for, in float64."""
    weight_DE = int8.weight.double() * int8.scale.double()[:, None]
    bias = 0 if int8.bias is None else int8.bias.double()
    return x.double() @ weight_DE.T + bias


def error(found: Tensor, expected: Tensor) -> float:
    """Largest difference by the largest value."""
    return float((found.double() - expected).abs().max() / expected.abs().max())


def test_a_weight_is_off_by_half_a_step_at_most() -> None:
    weight_DE = layer(96, 50).weight
    int8_DE, scale_D = int8_weights(weight_DE)
    assert int8_DE.dtype == torch.int8 and int(int8_DE.abs().max()) == 127
    off_DE = (weight_DE.double() - int8_DE.double() * scale_D.double()[:, None]).abs()
    # A scale that was rounded down clamps a row's largest weights: 127 steps, each a 512th too short.
    assert bool((off_DE <= (0.5 + 127 / 512) * scale_D.double()[:, None]).all())
    assert float((off_DE / scale_D.double()[:, None]).mean()) < 0.27


def test_control_one_scale_for_all_rows_is_worse() -> None:
    weight_DE = layer(96, 50).weight.double()
    int8_DE, scale_D = int8_weights(weight_DE)
    apart = (weight_DE - int8_DE.double() * scale_D.double()[:, None]).abs().mean()
    one = weight_DE.abs().max() / 127
    together = (weight_DE - (weight_DE / one).round() * one).abs().mean()
    assert float(together) > 1.5 * float(apart)


@pytest.mark.parametrize("tokens", [1, 3, MAX_PACKED_TOKENS, MAX_PACKED_TOKENS + 1, 40])
@pytest.mark.parametrize("inputs", [64, 96, 33, 7])  # 33 and 7: the kernel would read behind the end of a row
@pytest.mark.parametrize("bias", [True, False])
def test_few_and_many_tokens_give_the_same_product(tokens: int, inputs: int, bias: bool) -> None:
    int8 = Int8Linear(layer(inputs, 50, bias))
    x_BTD = torch.randn(1, tokens, inputs, generator=torch.Generator().manual_seed(1)).to(torch.bfloat16)
    found = int8(x_BTD)
    assert found.shape == (1, tokens, 50) and found.dtype == torch.bfloat16
    assert error(found, exact(int8, x_BTD)) < 2**-7


def test_no_token_gives_no_output() -> None:
    assert Int8Linear(layer(64, 50))(torch.zeros(2, 0, 64, dtype=torch.bfloat16)).shape == (2, 0, 50)


@pytest.mark.parametrize("tokens", [2, 40])
def test_gradients_flow_to_the_input_and_nowhere_else(tokens: int) -> None:
    int8 = Int8Linear(layer(64, 50))
    x_TD = torch.randn(tokens, 64, generator=torch.Generator().manual_seed(1)).to(torch.bfloat16).requires_grad_()
    y_TE = torch.randn(tokens, 50, generator=torch.Generator().manual_seed(2)).to(torch.bfloat16)
    int8(x_TD).backward(y_TE)
    assert x_TD.grad is not None and int8.weight.grad is None
    assert error(x_TD.grad, y_TE.double() @ (int8.weight.double() * int8.scale.double()[:, None])) < 2**-7


def test_a_weight_that_is_not_finite_is_refused_and_zeros_stay_zeros() -> None:
    broken = layer(64, 50)
    broken.weight[3, 5] = torch.inf
    with pytest.raises(ModelError, match="not all finite"):
        Int8Linear(broken)
    zero = layer(64, 50, bias=False)
    zero.weight[3] = 0
    assert not Int8Linear(zero)(torch.ones(1, 64, dtype=torch.bfloat16))[0, 3]


def test_a_model_with_a_shared_head_keeps_its_answers_its_size_and_its_bits() -> None:
    whole, model = (build_model("qwen2").to(torch.bfloat16) for _ in range(2))
    size = parameter_count(whole)
    to_int8(model)
    assert is_int8(model) and not is_int8(whole)
    assert isinstance(head_of(model), Int8Linear) and model.get_input_embeddings().weight.dtype == torch.bfloat16
    assert parameter_count(model) == size and model.dtype == torch.bfloat16
    ids_BT = torch.arange(1, 31).reshape(1, 30)
    with torch.no_grad():
        before, after = (m(input_ids=ids_BT).logits.float().log_softmax(-1) for m in (whole, model))
    assert 0 < float((before - after).abs().max()) < 0.2
    digest = weights_sha256(model)
    with torch.no_grad():
        model.get_submodule("model.layers.0.mlp.up_proj").weight[0, 0] += 1
    assert weights_sha256(model) != digest


def test_adapters_learn_on_int8_and_leave_it_as_it_was() -> None:
    model = to_int8(build_model("llama").to(torch.bfloat16))
    digest, config = weights_sha256(model), EngineConfig(rank=4, alpha=8, lr=1e-2, epochs=6)
    stack = LoraStack(model, 2, config.rank, config.alpha)
    stack.reset([0, 1], [1, 2])
    stack.attach()
    jobs = [TrainingJob(slot, (((1, 2, 3, 4 + slot, 5, 6), 3),)) for slot in range(2)]
    reports = train(stack, jobs, config)
    stack.detach()
    assert all(report.ok and report.losses[-1] < report.losses[0] - 0.3 for report in reports)
    assert weights_sha256(model) == digest
