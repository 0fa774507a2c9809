"""A measure, a filter and a model of one's own, for a server under test."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any

from ttsi.awareness.measures import Evidence
from ttsi.config import AdaptationConfig, SynthesisConfig
from ttsi.models import Generation, ModelWrapper, Request
from ttsi.models.scripted import DemoModel
from ttsi.types import Adaptation, Example, Input, Prompt, TrainingExample


def minus_two(evidence: Evidence) -> float:
    """Unsure about everything."""
    return -2.0


def broken(evidence: Evidence) -> float:
    """Fails."""
    return 1 / len(())


def worded(evidence: Evidence) -> float:
    """Returns what is no number."""
    return "secret"  # type: ignore[return-value]


def refuse_all(example: Example, item: Input, kept: Sequence[Example], config: SynthesisConfig) -> str | None:
    """Keep no example."""
    return "own: no"


def load(device: str = "auto", dtype: str = "auto") -> ModelWrapper:
    """The demo behind a wrapper."""
    return ModelWrapper(DemoModel())


class Rule:
    """A rule in place of a model, with the documented members alone."""

    spec, format = "rule", DemoModel().format

    def __init__(self, device: str = "auto", dtype: str = "auto") -> None:
        self._demo = DemoModel()

    def describe(self) -> dict[str, Any]:
        """Its name."""
        return {"spec": self.spec}

    def fits(self, prompt: Prompt, max_new_tokens: int) -> str | None:
        """Always."""
        return None

    def generate(self, requests: Sequence[Request]) -> list[Generation]:
        """What the demo writes."""
        return self._demo.generate(requests)

    def score(
        self, prompts: Sequence[Prompt], continuations: Sequence[Sequence[str]], adapters: Sequence[int | None] = ()
    ) -> list[list[float]]:
        """The demo's scores."""
        return self._demo.score(prompts, continuations)

    def adapted(
        self, jobs: Sequence[Sequence[TrainingExample]], config: AdaptationConfig, seeds: Sequence[int]
    ) -> AbstractContextManager[list[Adaptation]]:
        """The demo's adapters."""
        return self._demo.adapted(jobs, config, seeds)


class Vague(Rule):
    """A rule whose context is no number."""

    def describe(self) -> dict[str, Any]:
        """Its context in a word."""
        return {"context": "4k"}


class NotHere:
    """A model whose weights lie elsewhere."""

    spec, format = "elsewhere", DemoModel().format


def load_elsewhere(device: str = "auto", dtype: str = "auto") -> ModelWrapper:
    """A wrapper around nothing that could be served."""
    return ModelWrapper(NotHere())  # type: ignore[arg-type]
