"""The protocol that the stages know a model by: requests in, generations and log-probabilities out.

Inputs: conversations with tools, as `Request`s. Outputs: `Generation`s, log-probabilities, temporary adapters. A model
of one's own has the members of `Model`, and a model in front of another is a `ModelWrapper`.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from ttsi.chat.format import Format
from ttsi.config import AdaptationConfig
from ttsi.errors import ModelError
from ttsi.models.prefix_store import PrefixStore
from ttsi.types import Adaptation, Prompt, TrainingData, TrainingExample

if TYPE_CHECKING:
    from ttsi.engine.checkpoint import CheckpointStore as CheckpointStore


@dataclass(frozen=True)
class Request:
    """One continuation to write."""

    prompt: Prompt
    max_tokens: int
    temperature: float = 0.0
    """0 is greedy."""
    seed: int = 0
    """Seed of this row's own generator; unused when greedy."""
    grammar: str | None = None
    """An llguidance Lark grammar of the continuation (`ttsi.chat.grammar`), or None for free text."""
    adapter: int | None = None
    """Index into the jobs given to `adapted`, or None for the base."""
    repetition_limit: int = 0
    """A greedy continuation ends where its last so many tokens repeat themselves; 0 is never."""
    with_base: bool = False
    """Compute what the base thinks of an adapter's answer, too (`Generation.base_logprob`)."""


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
    """False when max_tokens cut it, or it repeats itself."""
    error: str | None = None
    """Why a remote model gave no text; then `text` is empty."""
    dollars: float = 0.0
    attempt_errors: tuple[str, ...] = ()
    """What went wrong on the way to a remote model, one word per attempt that failed."""
    base_logprob: float | None = None
    """Sum over the same tokens under the base; None where no adapter wrote, and where the request does not want it."""
    repeats: bool = False
    """Whether it was cut because it repeats itself."""


class Model(Protocol):
    """A model the loop can work with."""

    spec: str
    format: Format
    """How this model family writes tool calls."""

    def describe(self) -> dict[str, Any]:
        """What identifies it: revision, weight and template hashes, size."""
        ...

    def fits(self, prompt: Prompt, max_new_tokens: int) -> str | None:
        """None when the prompt and `max_new_tokens` more fit the context, else one line saying why not."""
        ...

    def generate(self, requests: Sequence[Request]) -> list[Generation]:
        """One continuation per request, in order."""
        ...

    def score(
        self, prompts: Sequence[Prompt], continuations: Sequence[Sequence[str]], adapters: Sequence[int | None] = ()
    ) -> list[list[float]]:
        """Summed log-probability (nats) of each continuation of each prompt, under its adapter; () is the base."""
        ...

    def adapted(
        self, jobs: Sequence[Sequence[TrainingExample]], config: AdaptationConfig, seeds: Sequence[int]
    ) -> AbstractContextManager[list[Adaptation]]:
        """Train one temporary adapter per job; inside the block, requests may name it by its index.

        A job without examples, or whose training went wrong, gets no adapter (see its Adaptation); naming it then
        means the base. Leaving the block drops every adapter; the base weights are untouched throughout.
        """
        ...


@runtime_checkable
class SupportsPrefixCache(Protocol):
    """A model that is faster on prompts that begin alike, and may keep what it has read for a while."""

    def prefix_cache(self, store: PrefixStore | None = None) -> AbstractContextManager[None]:
        """Within the block nothing is read twice; within another such block, that one's cache goes on.

        Leaving it drops everything that was read but the beginnings of prompts (system text and tools), which stay in
        `store` for a later block. None is the model's own store.
        """
        ...


def prefix_cache(model: Model, store: PrefixStore | None = None) -> AbstractContextManager[None]:
    """The block in which this model keeps what it has read, where it can; see `SupportsPrefixCache`."""
    if not isinstance(model, SupportsPrefixCache):
        return nullcontext()
    return model.prefix_cache() if store is None else model.prefix_cache(store)


@runtime_checkable
class SupportsCheckpoints(Protocol):
    """A model whose training of one adapter goes on where it was interrupted."""

    def training_checkpoints(self, store: CheckpointStore) -> AbstractContextManager[None]:
        """Within the block the training of a single job keeps its state in the store, and starts from what is there."""
        ...


def training_checkpoints(model: Model, store: CheckpointStore) -> AbstractContextManager[None]:
    """The block in which this model's training keeps its state, where it can; see `SupportsCheckpoints`."""
    return model.training_checkpoints(store) if isinstance(model, SupportsCheckpoints) else nullcontext()


@runtime_checkable
class HasLocalWeights(Protocol):
    """A model whose weights lie in this process, so that one can check that their bits are the same."""

    def weights_checksum(self) -> int:
        """A fast checksum of all weights, adapters not included."""
        ...

    def weights_sha256(self) -> str:
        """SHA-256 (hex) of all weights, adapters not included."""
        ...


Jobs = Sequence[Sequence[TrainingExample]]
"""What each temporary adapter learns."""
Starts = Sequence[bytes | None]
"""The file of the adapter from which the training of each job starts; None is a fresh one."""

ADAPTER_CONFIG = "adapter_config"
"""Key of PEFT's settings, as JSON text, in the header of an adapter's file."""


@runtime_checkable
class KeepsAdapters(Protocol):
    """A model whose trained adapters can be kept, and put back into it later."""

    def adapter_file(self, index: int) -> bytes:
        """A job's adapter as a safetensors file with PEFT's names, `ADAPTER_CONFIG` in its header; in the block."""
        ...

    def with_adapters(self, files: Sequence[bytes], config: AdaptationConfig) -> AbstractContextManager[None]:
        """Within the block requests may name each of these adapters by its place; leaving it drops them.

        `config` has the rank, alpha and scope with which they were trained.
        """
        ...

    def adapted_from(
        self, files: Starts, jobs: Jobs, config: AdaptationConfig, seeds: Sequence[int]
    ) -> AbstractContextManager[list[Adaptation]]:
        """`Model.adapted`, where the training of a job starts from its file; None is a fresh adapter."""
        ...


def adapter_keeper(model: Model) -> KeepsAdapters:
    """The model, as one whose adapters can be kept.

    Raises:
        ModelError: it has none that can be: it is scripted, or runs behind an endpoint.
    """
    behind = model
    while isinstance(behind, ModelWrapper):
        behind = behind._model
    if not isinstance(behind, KeepsAdapters) or not isinstance(model, KeepsAdapters):
        raise ModelError(f"adapters of {model.spec} cannot be kept: use a model that runs in this process")
    return model


class ModelWrapper:
    """A model in front of another that passes everything on; a subclass overrides what it changes.

    `_model` is the model behind it. Where that has no prefix cache, the block does nothing. Where no weights lie in
    this process, their checksum is 0 and their hash is empty.
    """

    def __init__(self, model: Model) -> None:
        self._model = model
        self.spec, self.format = model.spec, model.format

    def describe(self) -> dict[str, Any]:
        """See `Model.describe`."""
        return self._model.describe()

    def fits(self, prompt: Prompt, max_new_tokens: int) -> str | None:
        """See `Model.fits`."""
        return self._model.fits(prompt, max_new_tokens)

    def generate(self, requests: Sequence[Request]) -> list[Generation]:
        """See `Model.generate`."""
        return self._model.generate(requests)

    def score(
        self, prompts: Sequence[Prompt], continuations: Sequence[Sequence[str]], adapters: Sequence[int | None] = ()
    ) -> list[list[float]]:
        """See `Model.score`."""
        return self._model.score(prompts, continuations, *([adapters] if adapters else []))

    def adapted(
        self, jobs: Sequence[Sequence[TrainingExample]], config: AdaptationConfig, seeds: Sequence[int]
    ) -> AbstractContextManager[list[Adaptation]]:
        """See `Model.adapted`."""
        return self._model.adapted(jobs, config, seeds)

    def adapter_file(self, index: int) -> bytes:
        """See `KeepsAdapters`."""
        return adapter_keeper(self._model).adapter_file(index)

    def with_adapters(self, files: Sequence[bytes], config: AdaptationConfig) -> AbstractContextManager[None]:
        """See `KeepsAdapters`."""
        return adapter_keeper(self._model).with_adapters(files, config)

    def adapted_from(
        self, files: Starts, jobs: Jobs, config: AdaptationConfig, seeds: Sequence[int]
    ) -> AbstractContextManager[list[Adaptation]]:
        """See `KeepsAdapters`."""
        return adapter_keeper(self._model).adapted_from(files, jobs, config, seeds)

    def prefix_cache(self, store: PrefixStore | None = None) -> AbstractContextManager[None]:
        """See `SupportsPrefixCache`."""
        return prefix_cache(self._model, store)

    def training_checkpoints(self, store: CheckpointStore) -> AbstractContextManager[None]:
        """See `SupportsCheckpoints`."""
        return training_checkpoints(self._model, store)

    def weights_checksum(self) -> int:
        """See `HasLocalWeights`."""
        return self._model.weights_checksum() if isinstance(self._model, HasLocalWeights) else 0

    def weights_sha256(self) -> str:
        """See `HasLocalWeights`."""
        return self._model.weights_sha256() if isinstance(self._model, HasLocalWeights) else ""

    def prompt_tokens(self, prompt: Prompt) -> int:
        """The length of a prompt in tokens, for `ttsi serve`; 0 where the model does not count them."""
        count: Any = getattr(self._model, "prompt_tokens", None)
        return count(prompt) if count else 0

    def forget(self) -> None:
        """Drop all that is cached between calls."""
        drop: Any = getattr(self._model, "forget", None)
        if drop:
            drop()


Writer = Model | TrainingData
"""Where examples come from: the model itself (TT-SI), a teacher (TT-D), or a training file (few-shot)."""
