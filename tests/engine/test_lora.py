"""Do adapters leave the base alone and act on their own rows only?"""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from transformers import PreTrainedModel

from ttsi.engine.checksum import weights_sha256
from ttsi.engine.lora import AdaptedLinear, BoundRows, LoraStack
from ttsi.errors import ModelError

IDS_BT = torch.arange(1, 19).reshape(3, 6)


def filled(model: PreTrainedModel, slots: int = 3, rank: int = 4) -> LoraStack:
    """A stack whose adapters all do something, attached."""
    stack = LoraStack(model, slots, rank, alpha=8.0)
    stack.values_SP.normal_(std=0.1, generator=torch.Generator().manual_seed(1))
    stack.attach()
    return stack


@torch.no_grad()
def logits(model: PreTrainedModel, ids_BT: torch.Tensor = IDS_BT) -> torch.Tensor:
    """fp32 logits [B, T, V]."""
    found: torch.Tensor = model(input_ids=ids_BT, use_cache=False).logits
    return found


def test_no_rows_no_slots_is_bitwise_the_base(any_model: PreTrainedModel) -> None:
    before = logits(any_model)
    stack = filled(any_model)
    assert torch.equal(logits(any_model), before)
    with stack.bind([-1, -1, -1]):
        assert torch.equal(logits(any_model), before)
    with stack.bind([0, 1, 2]):
        assert not torch.allclose(logits(any_model), before)


def test_row_without_slot_equals_the_base_beside_others(any_model: PreTrainedModel) -> None:
    before = logits(any_model)
    stack = filled(any_model)
    with stack.bind([2, -1, 0]):
        mixed = logits(any_model)
    assert torch.equal(mixed[1], before[1])
    assert not torch.allclose(mixed[0], before[0]) and not torch.allclose(mixed[2], before[2])


def test_broken_neighbour_does_not_leak(model: PreTrainedModel) -> None:
    before = logits(model)
    stack = filled(model)
    stack.values_SP[2] = torch.nan
    with stack.bind([2, -1, 0]):
        mixed = logits(model)
    assert torch.isnan(mixed[0]).all()
    assert torch.equal(mixed[1], before[1]) and torch.isfinite(mixed[2]).all()


@pytest.mark.parametrize("slots", [[0, 1, 2], [2, 0, 1], [1, 1, 1], [-1, 2, 2]])
def test_each_row_equals_its_adapter_alone(model: PreTrainedModel, slots: list[int]) -> None:
    stack = filled(model)
    with stack.bind(slots):
        together = logits(model)
    for row, slot in enumerate(slots):
        with stack.bind([slot]):
            torch.testing.assert_close(logits(model, IDS_BT[row : row + 1])[0], together[row], rtol=1e-5, atol=1e-5)


def test_layer_formula(model: PreTrainedModel) -> None:
    stack = filled(model)
    name = "model.layers.1.mlp.down_proj"
    layer = stack.names.index(name)
    a_BRD, b_BDR = stack.pairs_of(stack.values_SP)[layer]
    module = model.get_submodule(name)
    assert isinstance(module, AdaptedLinear)
    x_BTD = torch.randn(3, 5, 48, generator=torch.Generator().manual_seed(3))
    with stack.bind([0, 1, 2]), torch.no_grad():
        found = module(x_BTD)
        expected = torch.stack([
            x @ (module.weight + 8.0 / 4 * b_BDR[row] @ a_BRD[row]).T for row, x in enumerate(x_BTD)
        ])  # fmt: skip
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_multiplies_in_its_own_type_and_learns_in_fp32(dtype: torch.dtype) -> None:
    layer = torch.nn.Sequential(torch.nn.Linear(96, 64, bias=False)).to(dtype)
    stack = LoraStack(layer, 2, 4, alpha=8.0)
    stack.values_SP.normal_(std=0.1, generator=torch.Generator().manual_seed(1))
    weight_DE = layer[0].weight.double()
    (a_BRD, b_BDR), *_ = stack.pairs_of(stack.values_SP)
    x_BTD = torch.randn(2, 7, 96, generator=torch.Generator().manual_seed(2)).to(dtype)
    exact = torch.stack(
        [
            x @ (weight_DE + 2.0 * b @ a).T
            for x, a, b in zip(x_BTD.double(), a_BRD.double(), b_BDR.double(), strict=True)
        ]
    )
    stack.attach()
    values_BP = stack.values_SP.clone().requires_grad_()
    bound = BoundRows(2, None, stack.factors_of(values_BP))
    with stack.using(bound):
        found = layer(x_BTD)
    assert found.dtype == dtype
    assert {part.dtype for pair in bound.pairs for part in pair} == {
        torch.bfloat16 if dtype == torch.bfloat16 else torch.float32
    }
    rounding = 4 * torch.finfo(dtype).eps * float(exact.detach().abs().max())
    assert float((found.double() - exact).detach().abs().max()) < rounding
    base = layer[0].frozen(x_BTD).detach().double()
    assert float((base - exact.detach()).abs().max()) > 4 * rounding  # the base alone is not it
    found.float().sum().backward()
    assert values_BP.grad is not None and values_BP.grad.dtype == torch.float32 and bool(values_BP.grad.any())


def test_detach_restores_the_same_objects_flags_and_bits(model: PreTrainedModel) -> None:
    modules, digest = dict(model.named_modules()), weights_sha256(model)
    model.get_input_embeddings().weight.requires_grad_(False)
    flags = {name: parameter.requires_grad for name, parameter in model.named_parameters()}
    stack = filled(model)
    assert weights_sha256(model) == digest
    assert not any(parameter.requires_grad for parameter in model.parameters())
    stack.detach()
    after = dict(model.named_modules())
    assert after.keys() == modules.keys() and all(after[name] is module for name, module in modules.items())
    assert {name: parameter.requires_grad for name, parameter in model.named_parameters()} == flags
    assert weights_sha256(model) == digest
    stack.detach()


def test_hash_sees_a_merge_and_a_single_bit(model: PreTrainedModel) -> None:
    digest = weights_sha256(model)
    weight = model.get_parameter("model.layers.0.mlp.up_proj.weight")
    delta = torch.full_like(weight, 0.1)
    with torch.no_grad():
        weight.add_(delta).sub_(delta)  # merge and unmerge: close, but not the same bits
    assert weights_sha256(model) != digest


def test_attaching_twice_is_refused(model: PreTrainedModel) -> None:
    filled(model)
    with pytest.raises(ModelError, match="detach"):
        LoraStack(model, 1, 4, 8.0).attach()


def test_reset_draws_each_slot_from_its_own_seed(model: PreTrainedModel) -> None:
    state = torch.random.get_rng_state()
    one, many = LoraStack(model, 1, 4, 8.0), LoraStack(model, 3, 4, 8.0)
    one.reset([0], [7])
    many.values_SP.fill_(9.0)
    many.reset([2, 0], [7, 8])
    assert torch.equal(one.values_SP[0], many.values_SP[2])
    assert not torch.equal(many.values_SP[0], many.values_SP[2])
    assert bool((many.values_SP[1] == 9.0).all())
    assert torch.equal(torch.random.get_rng_state(), state)
    for a_BRD, b_BDR in one.pairs_of(one.values_SP):
        assert bool((b_BDR == 0).all())
        bound = a_BRD.shape[2] ** -0.5
        assert bool((a_BRD.abs() <= bound).all()) and float(a_BRD.abs().max()) > 0.9 * bound


def test_storage_is_reused(model: PreTrainedModel) -> None:
    stack = LoraStack(model, 2, 4, 8.0)
    address = stack.values_SP.data_ptr()
    stack.reset([0, 1], [1, 2])
    stack.clear()
    assert stack.values_SP.data_ptr() == address and not stack.values_SP.any()


@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_export_is_what_peft_loads(model: PreTrainedModel) -> None:
    from peft import LoraConfig, get_peft_model, set_peft_model_state_dict

    stack = filled(model)
    with stack.bind([1, 1, 1]):
        ours = logits(model)
    state, settings = stack.export(1)
    stack.detach()
    peft_model = get_peft_model(model, LoraConfig(**settings))
    outcome: Any = set_peft_model_state_dict(peft_model, state)
    assert not outcome.unexpected_keys
    with torch.no_grad():
        theirs = peft_model(input_ids=IDS_BT, use_cache=False).logits
    torch.testing.assert_close(theirs, ours, rtol=1e-5, atol=1e-5)


def test_load_is_the_way_back_of_export(model: PreTrainedModel) -> None:
    stack = filled(model)
    stack.load(2, *stack.export(0))
    assert torch.equal(stack.values_SP[0], stack.values_SP[2])
    assert not torch.equal(stack.values_SP[0], stack.values_SP[1]), "control"


Q, QV = ("q_proj",), ("q_proj", "v_proj")
STRANGERS: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    # The stack that wrote the adapter, changes of its settings, the refusal by one of rank 4, alpha 8 on q_proj.
    "alpha 32 on two layers": ({"alpha": 32.0, "targets": QV}, {}, "it has alpha 32.0, not 8.0"),
    "another rank": ({"rank": 2}, {}, "it has rank 2, not 4"),
    "another alpha": ({"alpha": 16.0}, {}, "it has alpha 16.0, not 8.0"),
    "more layers": ({"targets": QV}, {}, "there is no place for its .*v_proj.lora_A.weight"),
    "other layers": ({"targets": ("v_proj",)}, {}, "it lacks .*q_proj.lora_A.weight"),
    "the shape of another rank": ({"rank": 2}, {"r": 4}, "lora_A.weight has the shape .2, 32., not .4, 32."),
    "rslora": ({}, {"use_rslora": True}, "it has use_rslora, and is not scaled by alpha / rank"),
    "an alpha of its own for a layer": ({}, {"alpha_pattern": {"q_proj": 32}}, "it has alpha_pattern"),
    "a rank of its own for a layer": ({}, {"rank_pattern": {"q_proj": 2}}, "it has rank_pattern"),
    "another kind": ({}, {"peft_type": "LOHA"}, "names the kind LOHA, not LORA"),
    "no settings": ({}, {"r": None}, "it has rank None, not 4"),
}


@pytest.mark.parametrize("name", STRANGERS)
def test_an_adapter_that_would_compute_something_else_is_refused(model: PreTrainedModel, name: str) -> None:
    changes, settings, reason = STRANGERS[name]
    wrote = LoraStack(model, 1, **{"rank": 4, "alpha": 8.0, "targets": Q, **changes})
    wrote.reset([0], [7])
    state, written = wrote.export(0)
    stack = LoraStack(model, 2, 4, 8.0, Q)
    stack.reset([0, 1], [1, 2])
    before = stack.values_SP.clone()
    with pytest.raises(ModelError, match=f"^the adapter does not fit: .*{reason}") as refusal:
        stack.load(1, state, {**written, **settings})
    assert "\n" not in str(refusal.value)
    assert torch.equal(stack.values_SP, before), "nothing was written"


@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.parametrize(
    ("changes", "fits"),
    [({}, True), ({"lora_alpha": 8}, True), ({"lora_alpha": 32}, False), ({"target_modules": ["q_proj"]}, False),
     ({"use_rslora": True}, False), ({"use_dora": True}, False), ({"modules_to_save": ["norm"]}, False)],
)  # fmt: skip
def test_what_peft_wrote_is_loaded_where_it_computes_the_same(
    model: PreTrainedModel, changes: dict[str, Any], fits: bool
) -> None:
    from peft import LoraConfig, get_peft_model, get_peft_model_state_dict

    settings = {"r": 4, "lora_alpha": 8, "target_modules": list(QV), "init_lora_weights": False, **changes}
    tuned = get_peft_model(copy.deepcopy(model), LoraConfig(**settings))
    with torch.no_grad():
        theirs = tuned(input_ids=IDS_BT, use_cache=False).logits
    stack = LoraStack(model, 1, 4, 8.0, QV)
    state, written = get_peft_model_state_dict(tuned), tuned.peft_config["default"].to_dict()
    if not fits:
        with pytest.raises(ModelError, match="does not fit"):
            stack.load(0, state, written)
        return
    stack.load(0, state, written)
    stack.attach()
    with stack.bind([0, 0, 0]):
        torch.testing.assert_close(logits(model), theirs, rtol=1e-5, atol=1e-5)
    assert not torch.allclose(logits(model), theirs), "control: the adapter does something"


def test_targets_by_name(model: PreTrainedModel) -> None:
    assert len(LoraStack(model, 1, 4, 8.0).names) == 14
    assert len(LoraStack(model, 1, 4, 8.0, targets=("q_proj", "v_proj")).names) == 4
    with pytest.raises(ModelError, match="no linear layer"):
        LoraStack(model, 1, 4, 8.0, targets=("nothing",))
