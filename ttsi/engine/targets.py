"""Target layers: which linear layers of a model get adapters.

Inputs: a model and a choice of targets. Outputs: names of layers, in the model's order; the same choice for PEFT. In a
causal language model of transformers these are the layers of its language model, without the vocabulary head; in any
other module all `nn.Linear` layers.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeGuard

from torch import nn
from transformers import PreTrainedModel

from ttsi.engine.anatomy import decoder_of, head_of
from ttsi.engine.engine_config import ALL_LINEAR
from ttsi.errors import ModelError

_UNFIT = ("Router", "NonDynamicallyQuantizableLinear")
"""Kinds of linear layers that no adapter fits: Llama 4's router gives out more than a linear layer does, and
`nn.MultiheadAttention` reads the weight of its output layer without calling the layer."""


def is_language_model(model: nn.Module) -> TypeGuard[PreTrainedModel]:
    """Whether this is a causal language model of transformers, with a vocabulary head."""
    return isinstance(model, PreTrainedModel) and isinstance(model.get_output_embeddings(), nn.Linear)


def target_names(model: nn.Module, targets: str | Sequence[str] = ALL_LINEAR) -> list[str]:
    """The layers to adapt, in the model's order. Experts get none: each sees the tokens of some rows only.

    Args:
        model: a causal language model, or any module.
        targets: "all-linear", or the last parts of the layers' names.

    Raises:
        ModelError: there is no linear layer, or none has such a name.
    """
    names = _linear_names(model)
    if not names:
        raise ModelError(f"{type(model).__name__} is not supported: it has no linear layer to adapt (nn.Linear)")
    if targets == ALL_LINEAR:
        return names
    wanted = {targets} if isinstance(targets, str) else set(targets)
    chosen = [name for name in names if name.rpartition(".")[2] in wanted]
    if not chosen:
        endings = sorted({name.rpartition(".")[2] for name in names})
        raise ModelError(
            f"{type(model).__name__} has no linear layer named {', '.join(sorted(wanted))}; "
            f"choose among {', '.join(endings)}"
        )
    return chosen


def _linear_names(model: nn.Module) -> list[str]:
    inside = set(model.modules())
    if is_language_model(model):
        inside = set(decoder_of(model).modules()) - {head_of(model)}
    return [
        name
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear)
        and name
        and not any(kind in type(module).__name__ for kind in _UNFIT)
        and module in inside
        and "experts" not in name.split(".")
    ]


def linear_at(model: nn.Module, name: str) -> nn.Linear:
    """The linear layer of this name."""
    module = model.get_submodule(name)
    assert isinstance(module, nn.Linear)
    return module


def replace_layer(model: nn.Module, name: str, module: nn.Module) -> None:
    """Put another module in a layer's place."""
    parent, _, attribute = name.rpartition(".")
    setattr(model.get_submodule(parent), attribute, module)


def peft_targets(model: nn.Module, names: Sequence[str]) -> list[str]:
    """The layers for PEFT, by the last parts of their names, or whole where these would match other layers too."""
    short = {name.rpartition(".")[2] for name in names}
    hit = {name for name, _ in model.named_modules() if name.rpartition(".")[2] in short}
    return sorted(short if hit == set(names) else names)


def unadapted_share(model: PreTrainedModel) -> float:
    """Share of the weights in the language model's layers that no adapter reaches, embeddings and head left out.

    Experts that are one tensor of three dimensions get no adapter: one for each of them would be as large as the model.
    """
    reached = {id(linear_at(model, name).weight) for name in target_names(model)}
    left_out = {id(module.weight) for module in model.modules() if isinstance(module, nn.Embedding)}
    left_out.add(id(head_of(model).weight))
    weights = [tensor for tensor in decoder_of(model).parameters() if tensor.dim() > 1 and id(tensor) not in left_out]
    total = sum(tensor.numel() for tensor in weights)
    return sum(tensor.numel() for tensor in weights if id(tensor) not in reached) / max(total, 1)
