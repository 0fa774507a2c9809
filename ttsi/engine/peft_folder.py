"""The folder of one adapter in PEFT's format: adapter_model.safetensors and adapter_config.json.

Inputs: tensors under PEFT's names, PEFT's settings. Outputs: a folder that `peft.PeftModel.from_pretrained` loads. The
paper (arXiv:2510.07841) discards its adapters.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor


def write_peft_folder(folder: Path, tensors: Mapping[str, Tensor], settings: Mapping[str, Any]) -> Path:
    """Write tensors and adapter_config, as `LoraStack.export` gives them, into a folder; the folder.

    The folder is made where it does not exist.
    """
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    save_file(dict(tensors), folder / "adapter_model.safetensors")
    (folder / "adapter_config.json").write_text(json.dumps(dict(settings), indent=2) + "\n", encoding="utf-8")
    return folder
