"""Adapters attached to a model for the length of a `with` block.

Inputs: any module with linear layers, a number of slots, settings. Outputs: a `LoraStack` whose adapters are fresh; at
the end of the block, in whatever way it is left, the module is what it was.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from torch import nn

from ttsi.engine.architecture import check_architecture
from ttsi.engine.engine_config import EngineConfig
from ttsi.engine.lora import LoraStack, refuse_in_use
from ttsi.engine.targets import is_language_model
from ttsi.errors import ConfigError


@contextmanager
def attach(
    model: nn.Module, slots: int, config: EngineConfig | None = None, *, seeds: Sequence[int] | None = None
) -> Iterator[LoraStack]:
    """Put `slots` LoRA adapters on a model; the base is frozen meanwhile and never written.

    Args:
        model: a causal language model of transformers, or any module with `nn.Linear` layers.
        slots: how many adapters live at once.
        config: rank, alpha and targets; by default `EngineConfig()`.
        seeds: one per slot, from which its A is drawn; by default the slot's number.

    Raises:
        ModelError: the model has no layer to adapt, carries adapters already, or is a language model whose forward
            pass the engine does not compute exactly.
        ConfigError: there is no slot.
        ValueError: another number of seeds than slots.
    """
    config = config or EngineConfig()
    if slots < 1:
        raise ConfigError(f"slots must be at least 1, not {slots}")
    if seeds is not None and len(seeds) != slots:
        raise ValueError(f"{slots} slots, but {len(seeds)} seeds")
    refuse_in_use(model)
    stack = LoraStack(model, slots, config.rank, config.alpha, config.targets)
    if is_language_model(model):
        stack.max_tokens = check_architecture(model)
    stack.reset(range(slots), seeds or range(slots))
    stack.attach()
    try:
        yield stack
    finally:
        stack.detach()
        stack.clear()
        stack.released = True
