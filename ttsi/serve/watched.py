"""How is a model asked on behalf of somebody who may leave, and whose time may run out?

Inputs: a model and a request's interrupts. Outputs: a `Model` for the loop that knows which stage is under way, lets a
deadline or a client that left stop it there, and never lets either stop the removal of an adapter. A base's answer that
was given once is not computed again when a later stage fails.

The interrupts are raised in the main thread of the worker by signals, so that they stop training between two tensor
operations; they are no `Exception`s, because the loop (`ttsi.loop`) answers those by itself.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager

from ttsi.config import AdaptationConfig
from ttsi.models import Generation, Model, ModelWrapper, Request
from ttsi.types import Adaptation, Prompt, TrainingExample


class Left(BaseException):
    """Nobody waits for the answer any more."""


class Late(BaseException):
    """The time for adapting is over."""


class Interrupts:
    """Which interruption has come, and which may be raised right now."""

    def __init__(self) -> None:
        """None has come and none may be raised."""
        self._came: set[type[BaseException]] = set()
        self._open: frozenset[type[BaseException]] = frozenset()

    def come(self, kind: type[BaseException]) -> None:
        """Raise it here and now if it may be, else at the next place where it may."""
        self._came.add(kind)
        self._raise()

    @contextmanager
    def open_to(self, *kinds: type[BaseException]) -> Iterator[None]:
        """Within the block these, and only these, may be raised."""
        before, self._open = self._open, frozenset(kinds)
        try:
            self._raise()
            yield
        except BaseException:
            self._open = before
            raise
        self._open = before
        self._raise()

    def _raise(self) -> None:
        for kind in self._came & self._open:
            self._came.discard(kind)
            self._open = frozenset()  # whoever cleans up now does so undisturbed
            raise kind


STAGES = ("base", "awareness", "synthesis", "adaptation", "answer")


class Progress:
    """Which stage was reached last; one that is repeated after a failure does not count."""

    def __init__(self) -> None:
        """At the beginning."""
        self.stage = STAGES[0]

    def reach(self, stage: str) -> None:
        """A stage begins."""
        self.stage = max(self.stage, stage, key=STAGES.index)


class InterruptibleModel(ModelWrapper):
    """A model as one request sees it."""

    def __init__(self, model: Model, interrupts: Interrupts, progress: Progress) -> None:
        """Nothing was asked yet."""
        super().__init__(model)
        self._interrupts, self._progress = interrupts, progress
        self._adapting = False
        self._said: list[tuple[list[Request], list[Generation]]] = []

    def generate(self, requests: Sequence[Request]) -> list[Generation]:
        """As the model; the base's first answer is remembered."""
        asked = list(requests)
        if not asked:
            return []  # the loop goes through every stage, also when nothing is to be done there
        for known, said in self._said:
            if known == asked:
                return said
        if not self._said:
            with self._interrupts.open_to(Left):  # the base's answer is what a deadline falls back to
                said = self._model.generate(asked)
            self._said.append((asked, said))
            return said
        self._progress.reach("answer" if self._adapting else "awareness")
        return self._model.generate(asked)

    def score(self, prompts: Sequence[Prompt], continuations: Sequence[Sequence[str]]) -> list[list[float]]:
        """As the model."""
        self._progress.reach("awareness")
        return self._model.score(prompts, continuations)

    @contextmanager
    def adapted(
        self, jobs: Sequence[Sequence[TrainingExample]], config: AdaptationConfig, seeds: Sequence[int]
    ) -> Iterator[list[Adaptation]]:
        """As the model; leaving cannot be interrupted."""
        if jobs:
            self._progress.reach("adaptation")
        block = self._model.adapted(jobs, config, seeds)
        with self._interrupts.open_to(), ExitStack() as exits:
            exits.push(block)  # before it is entered, so that an interruption finds the way out at any moment
            with self._interrupts.open_to(Left, Late):
                done = block.__enter__()
                self._adapting = True
                try:
                    yield done
                finally:
                    self._adapting = False


class InterruptibleWriter(InterruptibleModel):
    """The same model in the role of the writer."""

    def generate(self, requests: Sequence[Request]) -> list[Generation]:
        """As the model."""
        if requests:
            self._progress.reach("synthesis")
        return self._model.generate(requests)
