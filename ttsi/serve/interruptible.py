"""A model whose stages a deadline or a disconnected client can interrupt.

Inputs: a model and a request's interrupts. Outputs: a `Model` for the loop, which an interrupt stops in any stage, but
never during the removal of an adapter. It records why trainings were given up, in words that a client may read: those
of this package's models, and one sentence for all others. What fails is logged with the stage that the loop was in.

Signals raise the interrupts in the main thread of the worker, so they stop training between two tensor operations.
They are not `Exception`s, because the loop (`ttsi.loop`) handles those itself.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import replace
from typing import TypeVar

from ttsi.batch import Interruption
from ttsi.config import AdaptationConfig
from ttsi.log_listener import STAGE_LOG, listening_to
from ttsi.models import Jobs, Model, ModelWrapper, Starts, adapter_keeper
from ttsi.models.checked_model import has_own_code
from ttsi.models.prefix_store import PrefixStore
from ttsi.serve.failure_log import FailureLog
from ttsi.types import Adaptation, TrainingExample

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


class StageProgress(logging.Handler):
    """The last stage that the loop reached; a stage that is repeated after a failure does not count."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.stage = self._last = SERVE_STAGES[0]
        self.reasons: set[str] = set()
        """Why trainings were given up, as a client may read it."""
        self._failures = FailureLog()

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Follow the loop's stages for as long as the block lasts."""
        with listening_to(STAGE_LOG, self):
            yield

    def emit(self, record: logging.LogRecord) -> None:
        """A stage begins. An answer that follows no adaptation is the base's, which the loop is given."""
        match record.args:
            case (str(stage), int()) if stage in SERVE_STAGES:
                if stage != "answer" or self._last == "adaptation":
                    self.stage = max(self.stage, stage, key=SERVE_STAGES.index)
                self._last = stage

    def report(self, error: BaseException) -> None:
        """Log what failed at this stage."""
        self._failures.report(self.stage, error)


class InterruptibleModel(ModelWrapper):
    """A model for one request, whose calls can be interrupted."""

    def __init__(self, model: Model, interrupts: Interrupts, progress: StageProgress) -> None:
        super().__init__(model)
        self._interrupts, self._progress = interrupts, progress
        self._has_own_code = has_own_code(model)

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
        with self._adapted(self._model.adapted(jobs, config, seeds)) as adaptations:
            yield adaptations

    @contextmanager
    def adapted_from(
        self, files: Starts, jobs: Jobs, config: AdaptationConfig, seeds: Sequence[int]
    ) -> Iterator[list[Adaptation]]:
        """The same from stored adapters."""
        with self._adapted(adapter_keeper(self._model).adapted_from(files, jobs, config, seeds)) as adaptations:
            yield adaptations

    @contextmanager
    def _adapted(self, block: AbstractContextManager[list[Adaptation]]) -> Iterator[list[Adaptation]]:
        with self._always_left(block) as adaptations:
            yield [self._in_public_words(adaptation) for adaptation in adaptations]

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
