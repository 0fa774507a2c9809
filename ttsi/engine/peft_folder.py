"""One adapter in PEFT's format: a folder with adapter_model.safetensors and adapter_config.json, or that file alone.

Inputs: tensors under PEFT's names, PEFT's settings. Outputs: a folder that `peft.PeftModel.from_pretrained` loads, the
bytes of the file, and the tensors in them; or the refusal of an adapter that does not fit some layers, a rank and an
alpha. The paper (arXiv:2510.07841) discards its adapters.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from ttsi.errors import ModelError, first_line


def write_peft_folder(folder: Path, tensors: Mapping[str, Tensor], settings: Mapping[str, Any]) -> Path:
    """Write tensors and adapter_config, as `LoraStack.export` gives them, into a folder; the folder.

    The folder is made where it does not exist.
    """
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    save_file(dict(tensors), folder / "adapter_model.safetensors")
    (folder / "adapter_config.json").write_text(json.dumps(dict(settings), indent=2) + "\n", encoding="utf-8")
    return folder


def to_safetensors(tensors: Mapping[str, Tensor], header: Mapping[str, str]) -> bytes:
    """Tensors as the bytes of a safetensors file, with texts in its header."""
    from safetensors.torch import save

    return save(dict(tensors), metadata={"format": "pt", **header})


def read_safetensors(file: bytes) -> dict[str, Tensor]:
    """The tensors of a safetensors file.

    Raises:
        ModelError: it is none.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load

    try:
        return load(file)
    except (SafetensorError, ValueError, KeyError) as error:
        raise ModelError(f"this is no safetensors file: {first_line(error)}") from None


_OTHER_SCALING = ("use_rslora", "rank_pattern", "alpha_pattern")
"""PEFT's settings by which an adapter, or some of its layers, is scaled by something else than alpha / rank."""


def check_adapter(
    tensors: Mapping[str, Tensor], settings: Mapping[str, Any], wanted: Mapping[str, Tensor], rank: int, alpha: float
) -> None:
    """Refuse an adapter of another kind, rank, alpha or scaling, or of other layers: it would compute something else.

    Args:
        tensors: the adapter's.
        settings: its adapter_config.
        wanted: tensors with the names and shapes that it must have.
        rank: LoRA rank that it must have.
        alpha: LoRA alpha that it must have.

    Raises:
        ModelError: the first difference.
    """
    difference = _difference_of_settings(settings, rank, alpha) or _difference_of_tensors(tensors, wanted)
    if difference:
        raise ModelError(f"the adapter does not fit: {difference}")


def _difference_of_settings(settings: Mapping[str, Any], rank: int, alpha: float) -> str:
    if settings.get("peft_type") != "LORA":
        return f"its adapter_config names the kind {settings.get('peft_type')}, not LORA"
    for name, key, own in (("rank", "r", rank), ("alpha", "lora_alpha", alpha)):
        if settings.get(key) != own:
            return f"it has {name} {settings.get(key)}, not {own}"
    return next((f"it has {key}, and is not scaled by alpha / rank" for key in _OTHER_SCALING if settings.get(key)), "")


def _difference_of_tensors(tensors: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> str:
    for name, tensor in wanted.items():
        if name not in tensors:
            return f"it lacks {name}"
        if tensors[name].shape != tensor.shape:
            return f"{name} has the shape {tuple(tensors[name].shape)}, not {tuple(tensor.shape)}"
    return next((f"there is no place for its {name}" for name in tensors if name not in wanted), "")
