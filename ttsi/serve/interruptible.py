"""A model whose stages a deadline or a disconnected client can interrupt.

Inputs: a model and a request's interrupts. Outputs: a `Model` for the loop. It records which stage is running and lets
an interrupt stop it there, but never during the removal of an adapter. It records why trainings were given up, too, in
words that a client may read: those of this package's models, and one sentence for all others. What fails is logged.

Signals raise the interrupts in the main thread of the worker, so they stop training between two tensor operations.
They are not `Exception`s, because the loop (`ttsi.loop`) handles those itself.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import replace
from typing import TypeVar

from ttsi.batch import Interruption
from ttsi.config import AdaptationConfig
from ttsi.models import Generation, Jobs, Model, ModelWrapper, Request, Starts, adapter_keeper
from ttsi.models.checked_model import has_own_code
from ttsi.models.prefix_store import PrefixStore
from ttsi.serve.failure_log import FailureLog
from ttsi.types import Adaptation, Prompt, TrainingExample

Entered = TypeVar("Entered")


class ClientDisconnected(BaseException):
    """The client closed the connection before the answer was ready."""


class DeadlineExceeded(Interruption):
    """The time for adaptation is over; it carries what was known by then."""


class Interrupts:
    """The interrupts of one request: those that are pending, and those that may be raised now."""

    def __init__(self) -> None:
        self._pending: set[type[BaseException]] = set()
        self._allowed: frozenset[type[BaseException]] = frozenset()

    def interrupt(self, kind: type[BaseException]) -> None:
        """Raise this interrupt now if it is allowed, else as soon as it is."""
        self._pending.add(kind)
        self._raise()

    @contextmanager
    def allowing(self, *kinds: type[BaseException]) -> Iterator[None]:
        """Within the block these interrupts, and only these, may be raised."""
        before, self._allowed = self._allowed, frozenset(kinds)
        try:
            self._raise()
            yield
        except BaseException:
            self._allowed = before
            raise
        self._allowed = before
        self._raise()

    def _raise(self) -> None:
        for kind in self._pending & self._allowed:
            self._pending.discard(kind)
            self._allowed = frozenset()  # the clean-up that follows is not interrupted
            raise kind


SERVE_STAGES = ("base", "awareness", "synthesis", "adaptation", "answer")
GIVEN_UP = "the model gave the training up"
"""What a client reads in place of the reason of a model of the operator's own, which may name anything."""


class StageProgress:
    """The last stage that was reached; a stage that is repeated after a failure does not count."""

    def __init__(self) -> None:
        self.stage = SERVE_STAGES[0]
        self.reasons: set[str] = set()
        """Why trainings were given up, as a client may read it."""
        self._failures = FailureLog()

    def reach(self, stage: str) -> None:
        """Note that a stage begins."""
        self.stage = max(self.stage, stage, key=SERVE_STAGES.index)

    def report(self, error: BaseException) -> None:
        """Log what failed at this stage."""
        self._failures.report(self.stage, error)


class InterruptibleModel(ModelWrapper):
    """A model for one request, whose calls can be interrupted."""

    def __init__(self, model: Model, interrupts: Interrupts, progress: StageProgress) -> None:
        super().__init__(model)
        self._interrupts, self._progress = interrupts, progress
        self._adapting, self._has_own_code = False, has_own_code(model)

    def generate(self, requests: Sequence[Request]) -> list[Generation]:
        """The model's continuations. An empty batch reaches no stage: the loop runs stages without inputs, too."""
        if not requests:
            return []
        self._progress.reach("answer" if self._adapting else "awareness")
        return self._model.generate(requests)

    def score(
        self, prompts: Sequence[Prompt], continuations: Sequence[Sequence[str]], adapters: Sequence[int | None] = ()
    ) -> list[list[float]]:
        """The model's scores, in the stage "awareness", which a later one does not return to."""
        self._progress.reach("awareness")
        return super().score(prompts, continuations, adapters)

    @contextmanager
    def prefix_cache(self, store: PrefixStore | None = None) -> Iterator[None]:
        """The model's block. The loop works within one, and makes an episode of what leaves it: it is logged here."""
        with super().prefix_cache(store):
            try:
                yield
            except Exception as error:
                self._progress.report(error)
                raise

    @contextmanager
    def adapted(
        self, jobs: Sequence[Sequence[TrainingExample]], config: AdaptationConfig, seeds: Sequence[int]
    ) -> Iterator[list[Adaptation]]:
        """The model's block of adapters; leaving it cannot be interrupted."""
        with self._adapted(self._model.adapted(jobs, config, seeds), jobs) as adaptations:
            yield adaptations

    @contextmanager
    def adapted_from(
        self, files: Starts, jobs: Jobs, config: AdaptationConfig, seeds: Sequence[int]
    ) -> Iterator[list[Adaptation]]:
        """The same from stored adapters."""
        block = adapter_keeper(self._model).adapted_from(files, jobs, config, seeds)
        with self._adapted(block, jobs) as adaptations:
            yield adaptations

    @contextmanager
    def _adapted(
        self, block: AbstractContextManager[list[Adaptation]], jobs: Sequence[Sequence[TrainingExample]]
    ) -> Iterator[list[Adaptation]]:
        if jobs:
            self._progress.reach("adaptation")
        with self._always_left(block) as adaptations:
            self._adapting = True
            try:
                yield [self._in_public_words(adaptation) for adaptation in adaptations]
            finally:
                self._adapting = False

    def _in_public_words(self, adaptation: Adaptation) -> Adaptation:
        if self._has_own_code and adaptation.reason:
            adaptation = replace(adaptation, reason=GIVEN_UP if adaptation.status == "training-failed" else "")
        self._progress.reasons.add(adaptation.reason)
        return adaptation

    @contextmanager
    def with_adapters(self, files: Sequence[bytes], config: AdaptationConfig) -> Iterator[None]:
        """The model's block of stored adapters; leaving it cannot be interrupted."""
        with self._always_left(adapter_keeper(self._model).with_adapters(files, config)):
            yield

    @contextmanager
    def _always_left(self, block: AbstractContextManager[Entered]) -> Iterator[Entered]:
        with self._interrupts.allowing(), ExitStack() as exits:
            exits.push(block)  # before it is entered, so that an interrupt at any moment still leaves it
            with self._interrupts.allowing(ClientDisconnected, DeadlineExceeded):
                yield block.__enter__()


class InterruptibleWriter(InterruptibleModel):
    """The same model in the role of the writer."""

    def generate(self, requests: Sequence[Request]) -> list[Generation]:
        """The model's continuations, in the stage "synthesis"."""
        if requests:
            self._progress.reach("synthesis")
        return self._model.generate(requests)
