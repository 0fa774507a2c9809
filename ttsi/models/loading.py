"""Loading a model and its tokenizer from files.

Inputs: a folder or the name of a Hugging Face model, a device, a number format. Outputs: the model, complete and ready
to answer, with its tokenizer; or a refusal in one line that names the fault. A folder that holds a PEFT adapter gives
the base that it names, with the adapter merged into the weights (`ttsi.models.merging`).

Only safetensors weights are read, and no code that comes with a model is run (`ttsi.models.weight_files`).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
import transformers
from safetensors import SafetensorError
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForImageTextToText,
    AutoTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)

from ttsi import cpu
from ttsi.errors import ModelError, on_one_line
from ttsi.models import hub, merging, weight_files

DTYPES = {
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
    "int8": torch.bfloat16,
}
"""The number format by its name. int8 means weights (`ttsi.engine.int8_linear`); the rest is bfloat16."""
BFLOAT16_MIN_PARAMETERS = 50_000_000
"""Parameters below which a model stays in float32 on a CPU; one of 135 million writes 1.8 times as fast in bfloat16."""
PROBE = "The quick brown fox, 123."
"""A text that every tokenizer can encode."""


@dataclass(frozen=True)
class Loaded:
    """A model with its tokenizer."""

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerFast
    origin: dict[str, Any] = field(default_factory=dict)
    """For the record: the base and the adapter merged into it, where there is one."""


def read_model(spec: str, rest: str, device: str, dtype: str) -> Loaded:
    """Model and tokenizer from a folder or from the Hugging Face hub.

    Args:
        spec: the name that the user gave, for messages; "embedded" needs a manifest.
        rest: a folder, or "OWNER/NAME" with an optional "@REVISION".
        device: "auto" is cuda where there is one, else cpu.
        dtype: "auto" is bfloat16, but on a CPU float32 where it has no instructions for it or the model is small.
            "int8" is read as bfloat16 (`ttsi.models.local_loading` makes it int8).

    Raises:
        ModelError: not found, not readable, or it brings code of its own; one line.
    """
    place = _device(device)
    numbers = _Dtype(dtype, place)
    name, revision = _place_of(rest)
    adapter = merging.adapter_folder(spec, name, revision)
    if adapter is None:
        model = _read_weights(spec, name, revision, numbers)
        return Loaded(_move_to(model, place), _read_tokenizer(spec, name, revision))
    base, base_revision = _place_of(adapter.base)
    if merging.adapter_folder(spec, base, base_revision) is not None:
        raise ModelError(f"cannot load {spec}: its base {base} is an adapter itself; merge that one first")
    model = merging.merge(
        spec, _read_weights(f"{adapter.base}, the base of {spec},", base, base_revision, numbers), adapter
    )
    own = any((adapter.folder / file).is_file() for file in ("tokenizer.json", "tokenizer_config.json"))
    tokenizer = _read_tokenizer(spec, *((str(adapter.folder), "") if own else (base, base_revision)))
    return Loaded(_move_to(model, place), tokenizer, adapter.origin())


def _place_of(rest: str) -> tuple[str, str]:
    """(folder or hub name, revision)."""
    name, _, revision = (rest, "", "") if Path(rest).is_dir() else rest.partition("@")
    if not Path(name).is_dir() and name.startswith((".", "/", "~")):
        raise ModelError(f"there is no folder {name}")
    return name, revision


def _settings(spec: str, name: str, revision: str) -> dict[str, Any]:
    """Options for transformers' readers, after the files have been checked."""
    trusted = weight_files.check(Path(name), manifest_required=spec == "embedded") if Path(name).is_dir() else False
    return {"trust_remote_code": trusted, "revision": revision or "main", "local_files_only": hub.is_local(name)}


def _read_weights(spec: str, name: str, revision: str, numbers: _Dtype) -> PreTrainedModel:
    settings = _settings(spec, name, revision)
    with _errors_on_one_line(spec, name):
        config = AutoConfig.from_pretrained(name, **settings)
        check_unquantised(spec, config)
        kind = class_of(config)
        if kind is None:
            raise ModelError(f"cannot load {spec}: {config.model_type!r} is no language model that writes")
        # Attention is left to transformers: sdpa, or eager for the few whose arithmetic sdpa does not know (Gemma 2).
        dtype = numbers.of(config, kind)
        model, about = kind.from_pretrained(
            name, config=config, dtype=dtype, use_safetensors=True, output_loading_info=True, **settings
        )
    missing = sorted(about["missing_keys"])  # transformers would make them up
    if missing:
        raise ModelError(f"cannot load {spec}: its weights lack {missing[0]}")
    loaded: PreTrainedModel = model
    return loaded


_TOKENIZER = ("*token*", "*vocab*", "*.model", "tekken.json")
"""Names of files that make up a tokenizer; a folder with none of them has none."""


def _read_tokenizer(spec: str, name: str, revision: str) -> PreTrainedTokenizerFast:
    local = hub.is_local(name)
    settings: dict[str, Any] = {"trust_remote_code": False, "revision": revision or "main", "local_files_only": local}
    if Path(name).is_dir():
        settings["trust_remote_code"] = weight_files.is_trusted(Path(name))
        if not any(file for pattern in _TOKENIZER for file in Path(name).glob(pattern)):
            raise ModelError(f"cannot load {spec}: {name} has no tokenizer: copy tokenizer.json and the like into it")
    with _errors_on_one_line(spec, name):
        tokenizer = AutoTokenizer.from_pretrained(name, **settings)
    if not isinstance(tokenizer, PreTrainedTokenizerFast):
        raise ModelError(f"cannot load {spec}: its tokenizer has no fast version (tokenizer.json)")
    check_vocabulary(spec, tokenizer)
    return tokenizer


def check_vocabulary(spec: str, tokenizer: PreTrainedTokenizerFast) -> None:
    """Refuse a tokenizer that knows no words.

    Raises:
        ModelError: one line.
    """
    ids = set(tokenizer(PROBE, add_special_tokens=False)["input_ids"]) - {tokenizer.unk_token_id}
    if len(ids) < 2:  # one token for everything is as good as none
        raise ModelError(f"cannot load {spec}: its tokenizer has no vocabulary; is tokenizer.json there, and whole?")


def class_of(config: Any) -> Any:
    """The transformers class that reads such a model: one that writes text, of models that see images, too; or None."""
    if type(config) in AutoModelForCausalLM._model_mapping or "AutoModelForCausalLM" in getattr(config, "auto_map", {}):
        return AutoModelForCausalLM
    return AutoModelForImageTextToText if type(config) in AutoModelForImageTextToText._model_mapping else None


def check_unquantised(spec: str, config: Any) -> None:
    """Refuse a model whose weights are quantised.

    Raises:
        ModelError: one line that names the method.
    """
    if method := quantisation_of(config):
        raise ModelError(f"cannot load {spec}: its weights are quantised ({method}); take the unquantised model")


def quantisation_of(config: Any) -> str:
    """The method by which a model's weights are quantised; empty where they are not."""
    parts = [config, config.get_text_config()]
    settings = next((value for part in parts if (value := getattr(part, "quantization_config", None))), None)
    if not settings:
        return ""
    about = settings if isinstance(settings, dict) else settings.to_dict()
    return str(about.get("quant_method") or next((key for key in about if key.startswith("load_in_")), "unknown"))


@contextmanager
def _errors_on_one_line(spec: str, name: str) -> Iterator[None]:
    """Within the block every error becomes one line, and nothing is printed."""
    with _without_progress_bars():
        try:
            yield
        except ModelError:
            raise
        except SafetensorError as error:
            what = f"a file of weights is damaged or not whole ({on_one_line(error)}): copy or download it again"
            raise ModelError(f"cannot load {spec}: {what}") from error
        except Exception as error:  # the hub client, the tokenizer and the weight reader each raise their own kinds
            raise ModelError(f"cannot load {spec}: {hub.advice(name) or on_one_line(error)}") from error


def _move_to(model: Any, device: torch.device) -> PreTrainedModel:
    # Any: transformers' decorators hide the signatures of these two from type checkers.
    placed: PreTrainedModel = model.to(device).eval()
    return placed


def _device(name: str) -> torch.device:
    place = ("cuda" if torch.cuda.is_available() else "cpu") if name == "auto" else name
    try:
        return torch.empty(0, device=place).device
    except (RuntimeError, AssertionError) as error:
        why = "choose auto, cpu, cuda, cuda:1 or mps" if "Expected one of" in str(error) else on_one_line(error)
        raise ModelError(f"device {name!r} is not available: {why}") from error


class _Dtype:
    """The number format that a model is computed in."""

    def __init__(self, name: str, device: torch.device) -> None:
        if name != "auto" and name not in DTYPES:
            raise ModelError(f"unknown dtype {name!r}; choose one of: auto, {', '.join(DTYPES)}")
        self._name, self._device = name, device

    def of(self, config: Any, kind: Any) -> torch.dtype:
        """The number format for a model of this configuration and class."""
        if self._name != "auto":
            return DTYPES[self._name]
        if self._device.type != "cpu":
            return torch.bfloat16
        if not cpu.is_fast_with_bfloat16():
            return torch.float32
        with torch.device("meta"):  # counted without weights
            model = kind.from_config(config)
        # A small model gains nothing; its figures would change for nothing, the embedded model's too.
        return torch.float32 if int(model.num_parameters()) < BFLOAT16_MIN_PARAMETERS else torch.bfloat16


@contextmanager
def _without_progress_bars() -> Iterator[None]:
    logging: Any = transformers.utils.logging
    enabled = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if enabled:
            logging.enable_progress_bar()
