"""How is a temporary adapter kept for use elsewhere?

Inputs: a model of this process, an input, and what the loop told about it (its `Episode`). Outputs: a folder that
`peft.PeftModel.from_pretrained` loads. The adapter is trained once more from the kept examples with the seed of the
episode, which gives the same adapter: nothing has to be kept during a run. For local use only; the server has no route
to it, since an adapter is personal data of whoever asked. The paper (arXiv:2510.07841) throws every adapter away.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from ttsi.adaptation import adapters
from ttsi.config import LoopConfig
from ttsi.errors import ModelError
from ttsi.models import Model
from ttsi.types import Episode, Input, stage_seed


@runtime_checkable
class Exporting(Protocol):
    """A model that can hand out the adapter it uses."""

    def export_adapter(self, index: int) -> tuple[dict[str, Any], dict[str, Any]]:
        """(tensors, adapter_config) of a job's adapter in PEFT's format; within the `adapted` block."""
        ...


def export(model: Model, item: Input, episode: Episode, config: LoopConfig, folder: Path, repeat: int = 0) -> Path:
    """Write the adapter that answered `item` in PEFT's format; the folder.

    Args:
        model: the model that was adapted.
        item: what it was asked.
        episode: what the loop told about it.
        config: the settings of the loop.
        folder: where to write; made when it does not exist.
        repeat: which repetition the episode is of.

    Raises:
        ModelError: nothing was trained, or this model has no weights of its own.
    """
    from safetensors.torch import save_file

    if not isinstance(model, Exporting):
        raise ModelError(f"{model.spec} has no adapters to export: choose a model whose weights are local")
    if episode.adaptation.status != "trained":
        raise ModelError(f"there is no adapter to export: the adaptation of {item.id} is {episode.adaptation.status!r}")
    seed = stage_seed(config.seed, episode.input_hash, repeat, "adaptation")
    with adapters(model, [item], [episode.examples], config.adaptation, [seed]) as tuned:
        if tuned.adapters[0] is None:
            raise ModelError(f"the adapter of {item.id} could not be trained again: {tuned.adaptations[0].reason}")
        tensors, about = model.export_adapter(0)
    folder.mkdir(parents=True, exist_ok=True)
    save_file(tensors, folder / "adapter_model.safetensors")
    (folder / "adapter_config.json").write_text(json.dumps(about, indent=2) + "\n", encoding="utf-8")
    return folder
