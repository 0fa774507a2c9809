"""How do a model's files become a model and its tokenizer in this process?

Inputs: a folder or the name of a Hugging Face model, a device, a number format. Outputs: the model, whole and ready to
answer, with its tokenizer; or a refusal in one line that names what is wrong. Not in the paper (arXiv:2510.07841).

Only safetensors weights are read, and no code that comes with a model is run (`ttsi.models.files`).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
import transformers
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerFast

from ttsi import cpu
from ttsi.errors import ModelError
from ttsi.models import files

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}

SMALL = 50_000_000
"""Parameters below which a model stays in float32 on a CPU; one of 135 million writes 1.8 times as fast in bfloat16."""


def read_model(spec: str, rest: str, device: str, dtype: str) -> tuple[PreTrainedModel, PreTrainedTokenizerFast]:
    """Model and tokenizer from a folder or from the Hugging Face hub.

    Args:
        spec: what the user wrote, for messages; "embedded" needs a manifest.
        rest: a folder, or "OWNER/NAME" with an optional "@REVISION".
        device: "auto" is cuda where there is one, else cpu.
        dtype: "auto" is bfloat16, but on a CPU float32 where it has no instructions for it or the model is small.

    Raises:
        ModelError: not found, not readable, or it brings code of its own; one line.
    """
    place = _device(device)
    kind = _dtype(dtype, place)
    name, _, revision = (rest, "", "") if Path(rest).is_dir() else rest.partition("@")
    trusted = False
    if Path(name).is_dir():
        trusted = files.check(Path(name), manifest_required=spec == "embedded")
    elif name.startswith((".", "/", "~")):
        raise ModelError(f"there is no folder {name}")
    settings: dict[str, Any] = {"trust_remote_code": trusted, "revision": revision or "main"}
    with _without_progress_bars():
        try:
            if dtype == "auto" and kind == torch.bfloat16 and place.type == "cpu" and _is_small(name, settings):
                kind = torch.float32
            tokenizer = AutoTokenizer.from_pretrained(name, **settings)
            model, missing = _read_weights(name, kind, settings)
            model = _placed(model, place)
        except Exception as error:  # the hub client, the tokenizer and the weight reader each raise their own kinds
            raise ModelError(f"cannot load {spec}: {_one_line(error)}") from error
    if missing:
        raise ModelError(f"cannot load {spec}: its weights lack {missing[0]}")
    if not isinstance(tokenizer, PreTrainedTokenizerFast):
        raise ModelError(f"cannot load {spec}: its tokenizer has no fast version (tokenizer.json)")
    return model, tokenizer


def _read_weights(name: str, dtype: torch.dtype, settings: dict[str, Any]) -> tuple[PreTrainedModel, list[str]]:
    """The model, and the names of parameters that its files do not hold (transformers would make them up)."""
    found: Any = AutoModelForCausalLM.from_pretrained(
        name, dtype=dtype, use_safetensors=True, attn_implementation="sdpa", output_loading_info=True, **settings
    )
    return found[0], sorted(found[1]["missing_keys"])


def _placed(model: Any, device: torch.device) -> PreTrainedModel:
    # Any: transformers' decorators hide the signatures of these two from type checkers.
    found: PreTrainedModel = model.to(device).eval()
    return found


def _device(name: str) -> torch.device:
    place = ("cuda" if torch.cuda.is_available() else "cpu") if name == "auto" else name
    try:
        return torch.empty(0, device=place).device
    except (RuntimeError, AssertionError) as error:
        why = "choose auto, cpu, cuda, cuda:1 or mps" if "Expected one of" in str(error) else _one_line(error)
        raise ModelError(f"device {name!r} is not available: {why}") from error


def _dtype(name: str, device: torch.device) -> torch.dtype:
    if name == "auto":
        return torch.float32 if device.type == "cpu" and not cpu.is_fast_with_bfloat16() else torch.bfloat16
    if name not in DTYPES:
        raise ModelError(f"unknown dtype {name!r}; choose one of: auto, {', '.join(DTYPES)}")
    return DTYPES[name]


def _is_small(name: str, settings: dict[str, Any]) -> bool:
    """Is the model too small to gain by bfloat16? Its figures would change for nothing, the embedded model's too."""
    config = AutoConfig.from_pretrained(name, **settings)
    with torch.device("meta"):  # counted without weights
        model: Any = AutoModelForCausalLM.from_config(config)
    return int(model.num_parameters()) < SMALL


@contextmanager
def _without_progress_bars() -> Iterator[None]:
    logging: Any = transformers.utils.logging
    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
