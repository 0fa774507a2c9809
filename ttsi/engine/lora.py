"""Many LoRA adapters in one model, without touching its weights.

Every target layer computes, for each row b of a batch with its own slot s(b),

    y_b = W x_b + (alpha / rank) * B[s(b)] A[s(b)] x_b

with one product W x for all rows and two batched products for the adapters. A[slots, rank, in] and B[slots, out,
rank] of all layers are views of one fp32 tensor `values_SP` [slots, parameters of one adapter], so that reset,
optimizer and export are one operation each. A row without a slot gets no addition at all. The base is never
written: layers are wrapped and unwrapped.

Inputs: a module with linear layers, slots, seeds. Outputs: the same module with adapters on it, adapters as PEFT
tensors or folders. The adapter is the paper's (arXiv:2510.07841: LoRA, all linear layers, B starts at zero); the
paper trains one at a time.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ttsi.engine.engine_config import ALL_LINEAR
from ttsi.engine.peft_folder import check_adapter, write_peft_folder
from ttsi.engine.targets import is_language_model, linear_at, peft_targets, replace_layer, target_names
from ttsi.errors import ConfigError, ModelError

_PEFT_PREFIX = "base_model.model."


@dataclass(frozen=True)
class BoundRows:
    """Adapters gathered for the rows of a batch."""

    rows: int
    """Rows in the batch."""
    adapted_B: Tensor | None
    """Row numbers that have an adapter; None when all have."""
    pairs: tuple[tuple[Tensor, Tensor], ...]
    """Per target layer A [B, rank, in] and B [B, out, rank] of the rows that have an adapter, in the type in which they
    are multiplied."""


class AdaptedLinear(nn.Module):
    """A frozen linear layer and the adapters of the rows that are bound at the moment."""

    def __init__(self, frozen: nn.Linear, stack: LoraStack, layer: int) -> None:
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
        if x_BTD.dim() == 2 and x_BTD.shape[0] in self._stack.flat_sizes(bound.rows):
            apart_BTD, x_BTD = (tensor.unflatten(0, (bound.rows, -1)) for tensor in (out_BTD, x_BTD))
            return self._stack.add(apart_BTD, x_BTD, bound, self._layer).flatten(0, 1)
        raise ModelError(
            "adapters need layers that keep batch rows apart: "
            f"{bound.rows} rows are bound, and a layer's input has the shape {tuple(x_BTD.shape)}"
        )


class LoraStack:
    """Stacked adapters for the target layers of one model."""

    def __init__(
        self, model: nn.Module, slots: int, rank: int, alpha: float, targets: str | Sequence[str] = ALL_LINEAR
    ) -> None:
        """Allocate `slots` adapters, all zero, not attached yet.

        Args:
            model: the base; its weights are only read.
            slots: how many adapters live at once.
            rank: LoRA rank.
            alpha: the update is scaled by alpha / rank.
            targets: "all-linear", or the last parts of the layers' names.

        Raises:
            ModelError: there is no linear layer, or none has such a name.
        """
        self.model, self.slots, self.rank, self.alpha = model, slots, rank, alpha
        self.names = target_names(model, targets)
        self._linears = [linear_at(model, name) for name in self.names]
        self._factor_types = [_factor_type(linear) for linear in self._linears]
        self._language = is_language_model(model)
        sizes_A = [rank * linear.in_features for linear in self._linears]
        sizes_B = [linear.out_features * rank for linear in self._linears]
        self.sizes, self.size_A = sizes_A + sizes_B, sum(sizes_A)
        self.values_SP = torch.zeros(slots, sum(self.sizes), dtype=torch.float32, device=self._linears[0].weight.device)
        self.bound: BoundRows | None = None
        self.max_tokens: int | None = None
        """Longest sequence on which the engine is exact with this model; None is no limit."""
        self.length: int | None = None
        """Tokens per row of the pass under way, once a layer has seen them row by row."""
        self.released = False
        """The block that attached these adapters has ended, and what they had learned is gone."""
        self._frozen_flags: list[tuple[nn.Parameter, bool]] = []

    @property
    def scaling(self) -> float:
        """What the update is multiplied with."""
        return self.alpha / self.rank

    @property
    def attached(self) -> bool:
        """Whether the layers are wrapped at the moment."""
        return bool(self._frozen_flags)

    def flat_sizes(self, rows: int) -> tuple[int, ...]:
        """The first dimensions that a layer's input of two dimensions may have.

        All tokens of all rows, one behind the other (OPT, the shared expert of Qwen2 MoE); in a module that is no
        language model also one vector per row.
        """
        tokens = (rows * self.length,) if self.length else ()
        return tokens if self._language else (*tokens, rows)

    def attach(self) -> None:
        """Wrap the target layers and freeze the base. Without bound rows the model computes the base's bits.

        Raises:
            ModelError: the model carries adapters already.
        """
        refuse_in_use(self.model)
        self._frozen_flags = [(parameter, parameter.requires_grad) for parameter in self.model.parameters()]
        self.model.requires_grad_(False)
        for layer, (name, linear) in enumerate(zip(self.names, self._linears, strict=True)):
            replace_layer(self.model, name, AdaptedLinear(linear, self, layer))

    def detach(self) -> None:
        """Put the very same layers and their flags back; does nothing when not attached."""
        if not self.attached:
            return
        for name, linear in zip(self.names, self._linears, strict=True):
            replace_layer(self.model, name, linear)
        for parameter, flag in self._frozen_flags:
            parameter.requires_grad_(flag)
        self._frozen_flags = []
        self.bound = None

    def gather(self, slots_B: Sequence[int]) -> BoundRows | None:
        """The adapters of each row (-1: none), for `using`; None when no row has one.

        Neighbouring or equal slots are a view, any other choice is a copy, so that rows gathered before a change may
        show the old values.

        Raises:
            ModelError: there is no such slot.
        """
        self.check_slots(slots_B, lowest=-1)
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
        return BoundRows(len(slots_B), index_B, self.factors_of(values_BP))

    def pairs_of(self, values_BP: Tensor) -> tuple[tuple[Tensor, Tensor], ...]:
        """Flat adapters [B, parameters] as (A, B) per layer, as views; differentiable."""
        parts = torch.split(values_BP, self.sizes, dim=1)
        half = len(self._linears)
        rows, rank = len(values_BP), self.rank
        return tuple(
            (a.view(rows, rank, linear.in_features), b.view(rows, linear.out_features, rank))
            for a, b, linear in zip(parts[:half], parts[half:], self._linears, strict=True)
        )

    def factors_of(self, values_BP: Tensor) -> tuple[tuple[Tensor, Tensor], ...]:
        """The same in the type in which each layer multiplies them, as views where it is fp32; differentiable.

        A bfloat16 layer multiplies bfloat16, as mixed precision does elsewhere; the numbers that the optimizer changes
        stay fp32. float16 would lose small gradients, so that its layers multiply fp32.
        """
        return tuple(
            (a_BRD.to(dtype), b_BDR.to(dtype))
            for (a_BRD, b_BDR), dtype in zip(self.pairs_of(values_BP), self._factor_types, strict=True)
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
    def bind(self, slots_B: Sequence[int]) -> Iterator[None]:
        """Within the block row b of every forward pass has the adapter in slot `slots_B[b]`, or none where it is -1.

        Raises:
            ModelError: there is no such slot, or the adapters are not attached.
        """
        self.check_attached()
        with self.using(self.gather(slots_B)):
            yield

    def parameters(self) -> list[Tensor]:
        """All adapters as one tensor [slots, parameters of one adapter] with gradients on, for a torch optimizer.

        Elementwise optimizers (SGD, Adam, AdamW) then update every adapter as if it were alone.
        """
        return [self.values_SP.requires_grad_()]

    def add(self, out_BTD: Tensor, x_BTD: Tensor, bound: BoundRows, layer: int) -> Tensor:
        """The layer's output with the bound adapters added; rows without one keep their bits."""
        a_BRD, b_BDR = bound.pairs[layer]
        if bound.adapted_B is None:
            return self._sum(out_BTD, x_BTD, a_BRD, b_BDR)
        index_B = bound.adapted_B
        changed = self._sum(out_BTD[index_B], x_BTD[index_B], a_BRD, b_BDR)
        return out_BTD.index_copy(0, index_B, changed)

    def _sum(self, out_BTD: Tensor, x_BTD: Tensor, a_BRD: Tensor, b_BDR: Tensor) -> Tensor:
        low_BTR = torch.bmm(x_BTD.to(a_BRD.dtype), a_BRD.transpose(1, 2))
        # In place: what the frozen layer gave out is nobody else's, and a copy of it would cost as much as the sum.
        full = out_BTD.to(a_BRD.dtype).baddbmm_(low_BTR, b_BDR.transpose(1, 2), alpha=self.scaling)
        return full.to(out_BTD.dtype)

    @torch.no_grad()
    def reset(self, slots: Sequence[int], seeds: Sequence[int]) -> None:
        """Fresh adapters in place: B zero, A uniform in +-1/sqrt(in) (PEFT's default), each slot from its own seed.

        The draw happens on the CPU with one generator per slot: the same on every device, whoever the neighbours are.

        Raises:
            ModelError: there is no such slot.
        """
        self.check_slots(slots)
        bounds_P = torch.cat([
            torch.full((self.rank * linear.in_features,), 1.0 / math.sqrt(linear.in_features))
            for linear in self._linears
        ])  # fmt: skip
        for slot, seed in zip(slots, seeds, strict=True):
            generator = torch.Generator().manual_seed(seed)
            sampled_P = (torch.rand(self.size_A, generator=generator) * 2 - 1) * bounds_P
            self.values_SP[slot, : self.size_A].copy_(sampled_P)
            self.values_SP[slot, self.size_A :].zero_()

    def check_attached(self) -> None:
        """Refuse to go on without adapters on the model.

        Raises:
            ModelError: they are not attached.
        """
        if not self.attached:
            raise ModelError("these adapters are not attached: use them within `with ttsi.engine.attach(...)`")

    def check_trainable(self, slots: Sequence[int], rank: int) -> None:
        """Refuse slots that cannot be trained together, or not with settings of this rank.

        Raises:
            ModelError: the adapters are not attached, there is no such slot, a slot stands twice, or torch records no
                gradients.
            ConfigError: the adapters have another rank.
        """
        self.check_attached()
        self.check_slots(slots)
        if rank != self.rank:
            raise ConfigError(f"the config has rank {rank}, and these adapters were attached with rank {self.rank}")
        if torch.is_inference_mode_enabled() or self.values_SP.is_inference():
            raise ModelError("torch.inference_mode records no gradients: attach and train adapters outside of it")
        twice = next((slot for slot in slots if slots.count(slot) > 1), None)
        if twice is not None:
            raise ModelError(f"slot {twice} stands twice: give each adapter its examples in one job")

    def check_slots(self, slots: Sequence[int], lowest: int = 0) -> None:
        """Refuse slots that do not exist.

        Raises:
            ModelError: the first of them.
        """
        wrong = next((slot for slot in slots if not lowest <= slot < self.slots), None)
        if wrong is not None:
            raise ModelError(f"there is no slot {wrong}: there are {self.slots}, 0 to {self.slots - 1}")

    @torch.no_grad()
    def values_of(self, slots: Sequence[int]) -> Tensor:
        """A copy of some adapters, flat [B, parameters of one adapter]."""
        return self.values_SP[torch.tensor(slots, dtype=torch.long, device=self.values_SP.device)]

    @torch.no_grad()
    def write(self, slots: Sequence[int], values_BP: Tensor) -> None:
        """Fill slots with flat adapters [B, parameters of one adapter]."""
        for slot, values_P in zip(slots, values_BP, strict=True):
            self.values_SP[slot].copy_(values_P)

    @torch.no_grad()
    def clear(self) -> None:
        """Zero every adapter, in place: nothing that was learned stays."""
        self.values_SP.zero_()

    @torch.no_grad()
    def export(self, slot: int) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """(tensors under PEFT's names, PEFT's adapter_config) of one adapter, as copies on the CPU.

        Raises:
            ModelError: there is no such slot, or the block that attached the adapters has ended.
        """
        self.check_slots([slot])
        if self.released:
            raise ModelError(
                "these adapters are no longer attached and hold nothing: save them within the `with` block"
            )
        state = {name: tensor.cpu().clone() for name, tensor in self._peft_tensors(slot).items()}
        return state, self.peft_config()

    def save(self, slot: int, folder: Path | str) -> Path:
        """Write one adapter into a folder that `peft.PeftModel.from_pretrained` loads; the folder.

        Raises:
            ModelError: there is no such slot, or the block that attached the adapters has ended.
        """
        return write_peft_folder(Path(folder), *self.export(slot))

    @torch.no_grad()
    def load(self, slot: int, state: Mapping[str, Tensor], settings: Mapping[str, Any]) -> None:
        """Fill one slot with what `export` or PEFT wrote: tensors and adapter_config.

        Raises:
            ModelError: there is no such slot, or the adapter has another rank, alpha, scaling or other layers than
                these; nothing is written then.
        """
        self.check_slots([slot])
        own = self._peft_tensors(slot)
        check_adapter(state, settings, own, self.rank, self.alpha)
        for name, tensor in own.items():
            tensor.copy_(state[name])

    def _peft_tensors(self, slot: int) -> dict[str, Tensor]:
        """The numbers of one adapter under PEFT's names, as views."""
        pairs = self.pairs_of(self.values_SP[slot : slot + 1])
        return {
            f"{_PEFT_PREFIX}{name}.lora_{letter}.weight": tensor[0]
            for name, pair in zip(self.names, pairs, strict=True)
            for letter, tensor in zip("AB", pair, strict=True)
        }

    def peft_config(self) -> dict[str, Any]:
        """What PEFT's adapter_config.json says of these adapters."""
        return {
            "peft_type": "LORA",
            "task_type": "CAUSAL_LM" if self._language else None,
            "base_model_name_or_path": getattr(getattr(self.model, "config", None), "name_or_path", None) or None,
            "r": self.rank,
            "lora_alpha": self.alpha,
            "lora_dropout": 0.0,
            "bias": "none",
            "target_modules": peft_targets(self.model, self.names),
            "inference_mode": True,
        }


def _factor_type(linear: nn.Linear) -> torch.dtype:
    return torch.bfloat16 if linear.weight.dtype in (torch.bfloat16, torch.int8) else torch.float32


def refuse_in_use(model: nn.Module) -> None:
    """Refuse a model that carries adapters.

    Raises:
        ModelError: it does.
    """
    if any(isinstance(module, AdaptedLinear) for module in model.modules()):
        raise ModelError(f"this {type(model).__name__} carries adapters already: detach them first")
