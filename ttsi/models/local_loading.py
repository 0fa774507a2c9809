"""Models in this process from files: a folder, the Hugging Face hub, or the weights that ship with the package.

Inputs: a name, the device and the type to compute in (`ttsi.models.loading` reads the files). Outputs: a `LocalModel`
after the handshake with it, or the refusal of one that cannot be used.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from ttsi.chat import templates
from ttsi.engine.anatomy import vocabulary_size
from ttsi.engine.int8_linear import to_int8
from ttsi.errors import ConfigError, ModelError
from ttsi.models.introduction import ask
from ttsi.models.loading import Loaded, read_model
from ttsi.models.local import LocalModel

EMBEDDED_WEIGHTS = Path(__file__).parent.parent / "embedded" / "weights"


def load(rest: str, *, device: str = "auto", dtype: str = "auto", format: str | None = None) -> LocalModel:
    """A model from a folder or from the Hugging Face hub, after the handshake with it.

    Args:
        rest: a folder, or "OWNER/NAME" with an optional "@REVISION".
        device: "auto" is cuda where there is one, else cpu.
        dtype: "auto", "float32", "bfloat16", "float16", "int8" (`ttsi.models.loading.read_model`).
        format: the tool-call format (`ttsi ls formats`), instead of what the handshake chooses.

    Raises:
        ModelError: not found, not readable, brings code of its own, has no chat template or is of an unknown kind.
        ConfigError: there is no such format.
    """
    spec = rest if Path(rest).is_dir() else f"hf:{rest}"
    return assemble(spec, _read(spec, rest, device, dtype), format)


def load_embedded(
    rest: str = "", *, device: str = "auto", dtype: str = "auto", format: str | None = None
) -> LocalModel:
    """The small model that ships with the package. It was trained on one format and is not asked for another.

    Raises:
        ModelError: its weights are not installed.
        ConfigError: another format than its own is wanted.
    """
    if format not in (None, "marked"):
        raise ConfigError(f"the embedded model only writes the format 'marked', not {format!r}: omit --format")
    if rest:
        raise ModelError(f"unknown model 'embedded:{rest}'; there is one embedded model: 'embedded'")
    if not (EMBEDDED_WEIGHTS / "config.json").is_file():
        raise ModelError("the embedded weights are not installed: reinstall ttsi, or choose --model hf:OWNER/NAME")
    return assemble("embedded", _read("embedded", str(EMBEDDED_WEIGHTS), device, dtype))


def _read(spec: str, rest: str, device: str, dtype: str) -> Loaded:
    loaded = read_model(spec, rest, device, dtype)
    try:
        return replace(loaded, model=to_int8(loaded.model)) if dtype == "int8" else loaded
    except ModelError as error:
        raise ModelError(f"cannot load {spec}: {error}") from error


def assemble(spec: str, loaded: Loaded, form: str | None = None) -> LocalModel:
    """A model from its parts, after the handshake with it.

    Raises:
        ModelError: the parts do not fit together, the engine does not fit the model, or its calls cannot be read.
    """
    model = LocalModel(spec, loaded.model, loaded.tokenizer, form)
    model.origin = loaded.origin
    end, size = templates.end_of_turn(loaded.tokenizer), vocabulary_size(loaded.model)
    if end >= size:
        raise ModelError(f"cannot load {spec}: its end of turn is token {end}, but its weights hold only {size} tokens")
    model.use(ask(model, model.handshake, templates.renderer(model.tokenizer)))
    return model
