"""How do many temporary adapters live in one model without touching it?

Every target layer computes, for each row b of a batch with its own slot s(b),

    y_b = W x_b + (alpha / rank) * B[s(b)] A[s(b)] x_b

with one product W x for all rows and two batched products for the adapters. A[slots, rank, in] and B[slots, out,
rank] of all layers are views of one fp32 tensor `values_SP` [slots, parameters of one adapter], so that reset,
optimizer and export are one operation each. A row without a slot gets no addition at all. The base is never
written: layers are wrapped and unwrapped.

Inputs: a causal language model, slots, seeds. Outputs: the same model with adapters on it, adapters as PEFT
tensors. The adapter is the paper's (arXiv:2510.07841: LoRA, all linear layers, B starts at zero); the paper
trains one at a time.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from ttsi.engine.anatomy import decoder_of, head_of
from ttsi.errors import ModelError

ALL_LINEAR = "all-linear"
"""Target of every linear layer except the vocabulary head, as PEFT calls it."""

_WRAPPED = ".frozen."
_PEFT_PREFIX = "base_model.model."


@dataclass(frozen=True)
class BoundRows:
    """Adapters gathered for the rows of a batch."""

    rows: int
    """Rows in the batch."""
    adapted_B: Tensor | None
    """Row numbers that have an adapter; None when all have."""
    pairs: tuple[tuple[Tensor, Tensor], ...]
    """Per target layer A [B, rank, in] and B [B, out, rank] of the rows that have an adapter."""


class AdaptedLinear(nn.Module):
    """A frozen linear layer and the adapters of the rows that are bound at the moment."""

    def __init__(self, frozen: nn.Linear, stack: LoraStack, layer: int) -> None:
        """Wrap the `layer`-th target of the stack."""
        super().__init__()
        self.frozen = frozen
        self._stack, self._layer = stack, layer

    @property
    def weight(self) -> Tensor:
        """The frozen weight [out, in]."""
        return self.frozen.weight

    @property
    def bias(self) -> Tensor | None:
        """The frozen bias [out], or None."""
        return self.frozen.bias

    def forward(self, x_BTD: Tensor) -> Tensor:
        """The base's output, plus each row's own adapter where it has one."""
        out_BTD: Tensor = self.frozen(x_BTD)
        bound = self._stack.bound
        if bound is None:
            return out_BTD
        if x_BTD.dim() == 3 and x_BTD.shape[0] == bound.rows:
            self._stack.length = x_BTD.shape[1]
            return self._stack.add(out_BTD, x_BTD, bound, self._layer)
        if x_BTD.dim() > 3 and x_BTD.shape[0] == bound.rows:  # several vectors per token (DeepSeek's latent attention)
            flat_BTD = self._stack.add(out_BTD.flatten(1, -2), x_BTD.flatten(1, -2), bound, self._layer)
            return flat_BTD.view_as(out_BTD)
        if x_BTD.dim() == 2 and self._stack.length and x_BTD.shape[0] == bound.rows * self._stack.length:
            # All tokens of all rows, one behind the other (OPT, the shared expert of Qwen2 MoE).
            apart_BTD, x_BTD = (tensor.unflatten(0, (bound.rows, -1)) for tensor in (out_BTD, x_BTD))
            return self._stack.add(apart_BTD, x_BTD, bound, self._layer).flatten(0, 1)
        raise ModelError("adapters need layers that keep batch rows apart; this architecture does not")


class LoraStack:
    """Stacked adapters for the target layers of one model."""

    def __init__(
        self, model: PreTrainedModel, slots: int, rank: int, alpha: float, targets: str | Sequence[str] = ALL_LINEAR
    ) -> None:
        """Allocate `slots` adapters, all zero, not attached yet.

        Args:
            model: the base; its weights are only read.
            slots: how many adapters live at once.
            rank: LoRA rank.
            alpha: the update is scaled by alpha / rank.
            targets: "all-linear", or the last parts of the names of the layers meant.

        Raises:
            ModelError: no linear layer has such a name.
        """
        self.model, self.slots, self.rank, self.alpha = model, slots, rank, alpha
        self.names = _target_names(model, targets)
        self._linears = [_linear(model, name) for name in self.names]
        sizes_A = [rank * linear.in_features for linear in self._linears]
        sizes_B = [linear.out_features * rank for linear in self._linears]
        self.sizes, self.size_A = sizes_A + sizes_B, sum(sizes_A)
        self.values_SP = torch.zeros(slots, sum(self.sizes), dtype=torch.float32, device=model.device)
        self.bound: BoundRows | None = None
        self.length: int | None = None
        """Tokens per row of the pass under way, once a layer has seen them row by row."""
        self._frozen_flags: list[tuple[nn.Parameter, bool]] = []

    @property
    def scaling(self) -> float:
        """What the update is multiplied with."""
        return self.alpha / self.rank

    @property
    def attached(self) -> bool:
        """Whether the layers are wrapped at the moment."""
        return bool(self._frozen_flags)

    def attach(self) -> None:
        """Wrap the target layers and freeze the base. Without bound rows the model computes the base's bits."""
        if self.attached or any(isinstance(module, AdaptedLinear) for module in self.model.modules()):
            raise ModelError("this model carries adapters already: detach them first")
        self._frozen_flags = [(parameter, parameter.requires_grad) for parameter in self.model.parameters()]
        self.model.requires_grad_(False)
        for layer, (name, linear) in enumerate(zip(self.names, self._linears, strict=True)):
            _replace(self.model, name, AdaptedLinear(linear, self, layer))

    def detach(self) -> None:
        """Put the very same layers and their flags back; does nothing when not attached."""
        if not self.attached:
            return
        for name, linear in zip(self.names, self._linears, strict=True):
            _replace(self.model, name, linear)
        for parameter, flag in self._frozen_flags:
            parameter.requires_grad_(flag)
        self._frozen_flags = []
        self.bound = None

    def gather(self, slots_B: Sequence[int]) -> BoundRows | None:
        """The adapters of each row (-1: none), for `using`; None when no row has one.

        Neighbouring or equal slots are a view, any other choice is a copy, so that rows gathered before a change may
        show the old values.
        """
        adapted = [row for row, slot in enumerate(slots_B) if slot >= 0]
        if not adapted:
            return None
        slots = [slots_B[row] for row in adapted]
        if slots == list(range(slots[0], slots[0] + len(slots))):
            values_BP = self.values_SP.narrow(0, slots[0], len(slots))
        elif len(set(slots)) == 1:
            values_BP = self.values_SP.narrow(0, slots[0], 1).expand(len(slots), -1)
        else:
            values_BP = self.values_SP[torch.tensor(slots, device=self.values_SP.device)]
        partial = len(adapted) < len(slots_B)
        index_B = torch.tensor(adapted, device=values_BP.device) if partial else None
        return BoundRows(len(slots_B), index_B, self.pairs_of(values_BP))

    def pairs_of(self, values_BP: Tensor) -> tuple[tuple[Tensor, Tensor], ...]:
        """Flat adapters [B, parameters] as (A, B) per layer, as views; differentiable."""
        parts = torch.split(values_BP, self.sizes, dim=1)
        half = len(self._linears)
        rows, rank = len(values_BP), self.rank
        return tuple(
            (a.view(rows, rank, linear.in_features), b.view(rows, linear.out_features, rank))
            for a, b, linear in zip(parts[:half], parts[half:], self._linears, strict=True)
        )

    @contextmanager
    def using(self, bound: BoundRows | None) -> Iterator[None]:
        """Within the block every forward pass has these adapters on its rows."""
        before, self.bound, self.length = self.bound, bound, None
        try:
            yield
        finally:
            self.bound = before

    @contextmanager
    def rows(self, slots_B: Sequence[int]) -> Iterator[None]:
        """Within the block row b of every forward pass has the adapter in slot `slots_B[b]`, or none where it is -1."""
        with self.using(self.gather(slots_B)):
            yield

    def add(self, out_BTD: Tensor, x_BTD: Tensor, bound: BoundRows, layer: int) -> Tensor:
        """The layer's output with the bound adapters added; rows without one keep their bits."""
        a_BRD, b_BDR = bound.pairs[layer]
        if bound.adapted_B is None:
            return self._sum(out_BTD, x_BTD, a_BRD, b_BDR)
        index_B = bound.adapted_B
        changed = self._sum(out_BTD[index_B], x_BTD[index_B], a_BRD, b_BDR)
        return out_BTD.index_copy(0, index_B, changed)

    def _sum(self, out_BTD: Tensor, x_BTD: Tensor, a_BRD: Tensor, b_BDR: Tensor) -> Tensor:
        # In fp32 whatever the base's type is: the adapter's numbers are small and its steps smaller.
        low_BTR = torch.bmm(x_BTD.float(), a_BRD.transpose(1, 2))
        # In place: what the frozen layer gave out is nobody else's, and a copy of it would cost as much as the sum.
        full = out_BTD.float().baddbmm_(low_BTR, b_BDR.transpose(1, 2), alpha=self.scaling)
        return full.to(out_BTD.dtype)

    @torch.no_grad()
    def reset(self, slots: Sequence[int], seeds: Sequence[int]) -> None:
        """Fresh adapters in place: B zero, A uniform in +-1/sqrt(in) (PEFT's default), each slot from its own seed.

        The draw happens on the CPU with one generator per slot: the same on every device, whoever the neighbours are.
        """
        bounds_P = torch.cat([
            torch.full((self.rank * linear.in_features,), 1.0 / math.sqrt(linear.in_features))
            for linear in self._linears
        ])  # fmt: skip
        for slot, seed in zip(slots, seeds, strict=True):
            generator = torch.Generator().manual_seed(seed)
            drawn_P = (torch.rand(self.size_A, generator=generator) * 2 - 1) * bounds_P
            self.values_SP[slot, : self.size_A].copy_(drawn_P)
            self.values_SP[slot, self.size_A :].zero_()

    @torch.no_grad()
    def clear(self) -> None:
        """Zero every adapter, in place: nothing that was learned stays."""
        self.values_SP.zero_()

    @torch.no_grad()
    def export(self, slot: int) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """(tensors under PEFT's names, PEFT's adapter_config) of one adapter, as copies on the CPU."""
        state: dict[str, Tensor] = {}
        for name, (a_RD, b_DR) in self._named_pairs(slot):
            state[f"{_PEFT_PREFIX}{name}.lora_A.weight"] = a_RD.cpu().clone()
            state[f"{_PEFT_PREFIX}{name}.lora_B.weight"] = b_DR.cpu().clone()
        return state, self._peft_config()

    @torch.no_grad()
    def load(self, slot: int, state: Mapping[str, Tensor]) -> None:
        """Fill one slot with what `export` or PEFT wrote.

        Raises:
            ModelError: a tensor is missing or has another shape.
        """
        for name, (a_RD, b_DR) in self._named_pairs(slot):
            for key, target in (("A", a_RD), ("B", b_DR)):
                tensor = state.get(f"{_PEFT_PREFIX}{name}.lora_{key}.weight")
                if tensor is None or tensor.shape != target.shape:
                    raise ModelError(f"the adapter does not fit this model: {name}, lora_{key}")
                target.copy_(tensor)

    def _named_pairs(self, slot: int) -> Iterator[tuple[str, tuple[Tensor, Tensor]]]:
        for name, (a_BRD, b_BDR) in zip(self.names, self.pairs_of(self.values_SP[slot : slot + 1]), strict=True):
            yield name, (a_BRD[0], b_BDR[0])

    def _peft_config(self) -> dict[str, Any]:
        return {
            "peft_type": "LORA",
            "task_type": "CAUSAL_LM",
            "base_model_name_or_path": self.model.config.name_or_path or None,
            "r": self.rank,
            "lora_alpha": self.alpha,
            "lora_dropout": 0.0,
            "bias": "none",
            "target_modules": _peft_targets(self.model, self.names),
            "inference_mode": True,
        }


def weights_sha256(model: PreTrainedModel) -> str:
    """SHA-256 (hex) over names, types, shapes and bytes of all parameters and buffers, in the order of their names.

    The same whether adapters are attached or not: they are no parameters of the model.
    """
    tensors = {name.replace(_WRAPPED, "."): tensor for name, tensor in _tensors(model)}
    digest = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous()
        digest.update(f"{name}|{tensor.dtype}|{tuple(tensor.shape)}|".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def _tensors(model: PreTrainedModel) -> Iterator[tuple[str, Tensor]]:
    yield from model.named_parameters()
    yield from model.named_buffers()


def unadapted_share(model: PreTrainedModel) -> float:
    """Share of the weights in the language model's layers that no adapter reaches, embeddings and head left out.

    Experts that are one tensor of three dimensions get no adapter: one for each of them would be as large as the model.
    """
    reached = {id(_linear(model, name).weight) for name in _target_names(model, ALL_LINEAR)}
    left_out = {id(module.weight) for module in model.modules() if isinstance(module, nn.Embedding)}
    left_out.add(id(head_of(model).weight))
    weights = [tensor for tensor in decoder_of(model).parameters() if tensor.dim() > 1 and id(tensor) not in left_out]
    total = sum(tensor.numel() for tensor in weights)
    return sum(tensor.numel() for tensor in weights if id(tensor) not in reached) / max(total, 1)


def _target_names(model: PreTrainedModel, targets: str | Sequence[str]) -> list[str]:
    """Linear layers of the language model, but for the head, and for experts, which see some rows' tokens only."""
    head = head_of(model)
    inside = set(decoder_of(model).modules())
    linears = [
        name
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear)
        and "Router" not in type(module).__name__  # Llama 4's gives out more than a linear layer does
        and module is not head
        and module in inside
        and "experts" not in name.split(".")
    ]
    if targets != ALL_LINEAR:
        linears = [name for name in linears if name.rpartition(".")[2] in targets]
    if not linears:
        raise ModelError(f"{type(model).__name__} is not supported: it has no linear layer to adapt among {targets}")
    return linears


def _linear(model: PreTrainedModel, name: str) -> nn.Linear:
    module = model.get_submodule(name)
    assert isinstance(module, nn.Linear)
    return module


def _peft_targets(model: PreTrainedModel, names: Sequence[str]) -> list[str]:
    """The layers for PEFT, by the last parts of their names, or whole where these would mean other layers too."""
    short = {name.rpartition(".")[2] for name in names}
    hit = {name for name, _ in model.named_modules() if name.rpartition(".")[2] in short}
    return sorted(short if hit == set(names) else names)


def _replace(model: PreTrainedModel, name: str, module: nn.Module) -> None:
    parent, _, attribute = name.rpartition(".")
    setattr(model.get_submodule(parent), attribute, module)
