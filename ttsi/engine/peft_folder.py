"""One adapter in PEFT's format: a folder with adapter_model.safetensors and adapter_config.json, or that file alone.

Inputs: tensors under PEFT's names, PEFT's settings. Outputs: a folder that `peft.PeftModel.from_pretrained` loads, the
bytes of the file, and the tensors in them. The paper (arXiv:2510.07841) discards its adapters.
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
