"""Who speaks? What a model must offer to the loop, and how one is found by its name.

Inputs: a model spec, "embedded", "hf:OWNER/NAME[@REVISION]", a folder, or "scripted:NAME|FILE".
Outputs: an object that satisfies `Model`.

The stages know only this protocol: text and messages in, text and log-probabilities out. Tokens and tensors stay
below it (`ttsi.engine`), so that a scripted model needs no torch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from ttsi.chat.calls import Format
from ttsi.config import AdaptationConfig
from ttsi.errors import ModelError, unknown_name
from ttsi.types import Adaptation, Message, Tool


@dataclass(frozen=True)
class Prompt:
    """What the model reads before it writes: a conversation, the tools, and the begun answer."""

    messages: tuple[Message, ...]
    tools: tuple[Tool, ...]
    prefix: str = ""
    """Text of the assistant's turn that is already written (prefill)."""


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


@dataclass(frozen=True)
class Lesson:
    """One training pair: a prompt and what the assistant should have said."""

    prompt: Prompt
    target: str


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
        self, jobs: Sequence[Sequence[Lesson]], config: AdaptationConfig, seeds: Sequence[int]
    ) -> AbstractContextManager[list[Adaptation]]:
        """Train one temporary adapter per job; inside the block, requests may name it by its index.

        A job without lessons, or whose training went wrong, gets no adapter (see its Adaptation); naming it then
        means the base. Leaving the block drops every adapter; the base weights are untouched throughout.
        """
        ...


@runtime_checkable
class Rereader(Protocol):
    """A model that is quicker where prompts begin as others did, and may remember them for a while."""

    def remembering(self) -> AbstractContextManager[None]:
        """Within the block nothing is read twice; leaving it forgets everything that was read."""
        ...


def remembering(model: Model) -> AbstractContextManager[None]:
    """The block in which this model remembers what it read, where it can."""
    return model.remembering() if isinstance(model, Rereader) else nullcontext()


MODELS: dict[str, str] = {
    "embedded": "ttsi.models.local:load_embedded",
    "hf": "ttsi.models.local:load",
    "scripted": "ttsi.models.scripted:load",
}
"""Kind of spec -> "module:function"; the function takes what follows the colon (and device, dtype)."""

MODEL_GLOSS = {
    "embedded": "the small model that ships with the package (2M parameters, offline)",
    "hf:OWNER/NAME": "a causal language model of the Hugging Face hub, or a local folder (PATH)",
    "scripted:NAME": "says what it is told; for tests and examples, needs no torch",
}
"""One line per kind, for `ttsi ls models`."""


def load(spec: str, *, device: str = "auto", dtype: str = "auto") -> Model:
    """Find and load a model.

    Args:
        spec: "embedded", "hf:OWNER/NAME[@REVISION]", a folder, or "scripted:NAME|FILE".
        device: "auto", "cpu", "cuda", "cuda:1", "mps".
        dtype: "auto", "float32", "bfloat16", "float16".

    Raises:
        ModelError: there is no such model, or its files cannot be used.
    """
    kind, _, rest = spec.partition(":")
    if Path(spec).is_dir():
        kind, rest = "hf", spec
    if kind not in MODELS or (kind == "hf" and not rest):
        hint = unknown_name("model", spec, MODELS)
        raise ModelError(f"{hint} (or give a folder, or hf:OWNER/NAME)")
    module, _, name = MODELS[kind].partition(":")
    loader: Callable[..., Model] = getattr(import_module(module), name)
    return loader(rest, device=device, dtype=dtype)
