"""Merging of a PEFT adapter into its base, for a model folder that holds an adapter only.

Inputs: a folder (or a repository of the hub) with PEFT's adapter_config.json. Outputs: the base that it names with the
adapter added to its weights, once, in memory: later adapters act on that sum, as if it had been saved. Files of base
and adapter are checked like those of any model (`ttsi.models.weight_files`).
"""

from __future__ import annotations

import hashlib
import json
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import safe_open
from transformers import PreTrainedModel
from transformers.utils.hub import cached_file

from ttsi.errors import ModelError, on_one_line
from ttsi.models import hub, weight_files
from ttsi.models.adapter_files import ACTIVATED, SETTINGS, WEIGHTS


@dataclass(frozen=True)
class Adapter:
    """A LoRA adapter on disk."""

    folder: Path
    name: str
    """As the user gave it."""
    base: str
    """A folder, or OWNER/NAME with an optional @REVISION."""

    def origin(self) -> dict[str, Any]:
        """Base and adapter, with the adapter's hashes, for the record."""
        hashes = {name: hashlib.sha256((self.folder / name).read_bytes()).hexdigest() for name in (SETTINGS, WEIGHTS)}
        return {"base": self.base, "adapter": self.name, "adapter_sha256": hashes}


def adapter_folder(spec: str, name: str, revision: str) -> Adapter | None:
    """The adapter that a folder or a repository of the hub holds; None where it holds a model.

    Raises:
        ModelError: its files cannot be used, it is no LoRA adapter, or it names no base.
    """
    place = Path(name) if Path(name).is_dir() else _download(name, revision)
    if place is None or not (place / SETTINGS).is_file():
        return None
    weight_files.check(place)
    if any(path.name != WEIGHTS for path in place.glob("*.safetensors")):
        raise ModelError(
            f"cannot load {spec}: it holds an adapter ({SETTINGS}) and other weights; take one of them out"
        )
    try:
        settings = json.loads((place / SETTINGS).read_text(encoding="utf-8"))
        kind, base = str(settings["peft_type"]), settings.get("base_model_name_or_path")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ModelError(f"cannot load {spec}: {place / SETTINGS} cannot be read ({type(error).__name__})") from None
    if kind != "LORA":
        raise ModelError(f"cannot load {spec}: it is an adapter of the kind {kind}; ttsi merges LORA only")
    if settings.get(ACTIVATED):
        raise ModelError(
            f"cannot load {spec}: it is an activated adapter (aLoRA), which cannot be merged into its base; train one "
            "that acts on the whole prompt (--adaptation.scope all)"
        )
    if not base or not isinstance(base, str):
        raise ModelError(f"cannot load {spec}: it is an adapter, but {SETTINGS} names no base_model_name_or_path")
    if not (place / WEIGHTS).is_file():
        raise ModelError(f"cannot load {spec}: it is an adapter, but has no {WEIGHTS}")
    if (place / base).is_dir():
        base = str(place / base)
    elif base.startswith((".", "/", "~")) and not Path(base).is_dir():
        raise ModelError(f"cannot load {spec}: it is an adapter on {base}, and there is no such folder")
    pinned = settings.get("revision")
    return Adapter(place, name, f"{base}@{pinned}" if pinned and not Path(base).is_dir() else base)


def merge(spec: str, model: PreTrainedModel, adapter: Adapter) -> PreTrainedModel:
    """The model with the adapter added to its weights.

    Raises:
        ModelError: peft is not installed, or the adapter does not fit.
    """
    try:
        from peft import PeftModel, get_peft_model_state_dict
    except ImportError as error:
        raise ModelError(f"{spec} is an adapter: pip install 'ttsi[peft]', or merge it into its base first") from error
    names = {name: tensor.shape for name, tensor in model.state_dict().items()}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # peft asks for names that transformers is about to change
            tuned = PeftModel.from_pretrained(model, str(adapter.folder))
        with safe_open(adapter.folder / WEIGHTS, "pt") as file:
            given = set(file.keys())
        wanted = get_peft_model_state_dict(tuned, save_embedding_layers=False).keys()  # "auto" would ask the hub
        unmatched = sorted((wanted - given) | (given - wanted - tuned.state_dict().keys()))
        if unmatched:  # peft ignores tensors without a place
            raise ValueError(f"{unmatched[0]} has no counterpart")
        merged_model: Any = tuned.merge_and_unload(safe_merge=True)
    except Exception as error:  # peft and torch raise many kinds
        raise ModelError(
            f"cannot load {spec}: the adapter does not fit {adapter.base}: {on_one_line(error)}"
        ) from error
    if {name: tensor.shape for name, tensor in merged_model.state_dict().items()} != names:
        raise ModelError(f"cannot load {spec}: the adapter adds more than LoRA to {adapter.base}; merge it first")
    result: PreTrainedModel = merged_model
    return result


def _download(name: str, revision: str) -> Path | None:
    """The folder with the hub's files of an adapter, or None for a model."""
    wanted: dict[str, Any] = {
        "revision": revision or "main",
        "local_files_only": hub.is_local(name),
        "_raise_exceptions_for_missing_entries": False,
        "_raise_exceptions_for_connection_errors": False,
        "_raise_exceptions_for_gated_repo": False,
    }
    try:
        settings = cached_file(name, SETTINGS, **wanted)
        if settings is None:
            return None
        for other in (WEIGHTS, "tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
            cached_file(name, other, **wanted)
    except Exception:  # not there, or no network: reading the model says so, in one line
        return None
    return Path(settings).parent
