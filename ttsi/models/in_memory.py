"""A language model that is in memory already: fine-tuned just now, merged by PEFT, or built in Python.

Inputs: a model of transformers and its fast tokenizer. Outputs: a `LocalModel` after the same handshake as for a model
from files (`ttsi.models.local_loading`), or a refusal in one line that says what to do. The weights stay where they
are, in their own number format, and are never written. The model is put into evaluation mode, as one from files is.
"""

from __future__ import annotations

from torch import nn
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from ttsi.errors import ConfigError, ModelError
from ttsi.models.loading import Loaded, check_unquantised, check_vocabulary
from ttsi.models.local import LocalModel
from ttsi.models.local_loading import assemble
from ttsi.plurals import kind_of

EXAMPLE = "load_model(model, tokenizer=tokenizer)"


def load(model: object, tokenizer: object, format: str | None = None) -> LocalModel:
    """A model of transformers and its tokenizer, after the handshake with it.

    Args:
        model: a causal language model; its name is its `name_or_path`, else that of its class.
        tokenizer: its fast tokenizer, with a chat template.
        format: the tool-call format (`ttsi ls formats`), instead of what the handshake chooses.

    Raises:
        ConfigError: one of the two is something else.
        ModelError: the model is quantised, holds adapters or lies on several devices, or cannot be met as one from
            files could not.
    """
    if isinstance(model, nn.Module) and _has_adapters(model):
        kind = type(model).__name__
        raise ModelError(f"the {kind} holds adapters of PEFT: use model = model.merge_and_unload(), then {EXAMPLE}")
    if not isinstance(model, PreTrainedModel):
        hint = f"use a spec such as 'embedded' or a folder's name (a str), or a model of transformers: {EXAMPLE}"
        raise ConfigError(f"{kind_of(model)} is no model to load: {hint}")
    if tokenizer is None:
        raise ConfigError(f"the {type(model).__name__} comes without a tokenizer: use {EXAMPLE}")
    if not isinstance(tokenizer, PreTrainedTokenizerFast):
        kind = kind_of(tokenizer)
        raise ConfigError(f"tokenizer is {kind}: use the model's fast one, AutoTokenizer.from_pretrained(NAME)")
    spec = str(getattr(model, "name_or_path", "") or type(model).__name__)
    check_unquantised(spec, model.config)
    check_vocabulary(spec, tokenizer)
    _check_place(spec, model)
    model.eval()
    return assemble(spec, Loaded(model, tokenizer), format)


def _has_adapters(model: nn.Module) -> bool:
    """Whether PEFT is around the model, or around a layer of it."""
    return any(type(module).__module__.partition(".")[0] == "peft" for module in model.modules())


def _check_place(spec: str, model: PreTrainedModel) -> None:
    """Refuse weights on several devices, or on none: they are computed with where they lie."""
    places = sorted({str(tensor.device) for tensor in model.parameters()})
    if len(places) > 1 or places == ["meta"]:
        raise ModelError(
            f"cannot load {spec}: its weights lie on {', '.join(places)}; load it without device_map, onto one device"
        )
