"""Export of a temporary adapter in PEFT's format.

Inputs: a model of this process, an input and its `Episode`. Outputs: a folder that `peft.PeftModel.from_pretrained`
loads. The adapter is trained once more from the kept examples with the seed of the episode, which gives the same
adapter but for rounding, so a run keeps none. For local use only: the server has no route to it, because an adapter
holds personal data of its user. The paper (arXiv:2510.07841) drops every adapter.
"""

from __future__ import annotations

from pathlib import Path
from typing import Protocol, runtime_checkable

from ttsi.adaptation import adapters
from ttsi.config import LoopConfig
from ttsi.errors import ModelError
from ttsi.models import Model
from ttsi.types import Episode, Input, stage_seed


@runtime_checkable
class SupportsExport(Protocol):
    """A model that writes its adapters to files."""

    def save_adapter(self, index: int, folder: Path) -> Path:
        """Write a job's adapter in PEFT's format; within the `adapted` block."""
        ...


def export(model: Model, item: Input, episode: Episode, config: LoopConfig, folder: Path, repeat: int = 0) -> Path:
    """Write the adapter that answered `item` in PEFT's format; the folder.

    Args:
        model: the model that was adapted.
        item: the input.
        episode: the input's record.
        config: the settings of the loop.
        folder: where to write; made when it does not exist.
        repeat: which repetition the episode is of.

    Raises:
        ModelError: nothing was trained, the training began from a library's adapter, which the episode does not hold,
            or this model has no weights of its own.
    """
    if not isinstance(model, SupportsExport):
        raise ModelError(f"{model.spec} has no adapters to export: choose a model whose weights are local")
    if episode.adaptation.status != "trained":
        raise ModelError(f"there is no adapter to export: the adaptation of {item.id} is {episode.adaptation.status!r}")
    if episode.adaptation.refused:
        raise ModelError(f"the adapter of {item.id} did not answer: {episode.adaptation.refused}")
    if episode.adaptation.started_from:
        raise ModelError(f"the training for {item.id} began from a library's adapter, so it cannot be done again alone")
    seed = stage_seed(config.seed, episode.input_hash, repeat, "adaptation")
    awareness = () if episode.awareness is None else (episode.awareness,)
    with adapters(model, [item], [episode.examples], (), config, [seed], awareness) as tuned:
        if tuned.adapters[0] is None:
            raise ModelError(f"the adapter of {item.id} could not be trained again: {tuned.adaptations[0].reason}")
        return model.save_adapter(0, folder)
