"""A measure, a filter and a model of one's own, for a server under test."""

from __future__ import annotations

from collections.abc import Sequence

from ttsi.awareness.measures import Evidence
from ttsi.config import SynthesisConfig
from ttsi.models import ModelWrapper
from ttsi.models.scripted import DemoModel
from ttsi.types import Example, Input


def minus_two(evidence: Evidence) -> float:
    """Unsure about everything."""
    return -2.0


def refuse_all(example: Example, item: Input, kept: Sequence[Example], config: SynthesisConfig) -> str | None:
    """Keep no example."""
    return "own: no"


def load(device: str = "auto", dtype: str = "auto") -> ModelWrapper:
    """The demo behind a wrapper."""
    return ModelWrapper(DemoModel())


class NotHere:
    """A model whose weights lie elsewhere."""

    spec, format = "elsewhere", DemoModel().format


def load_elsewhere(device: str = "auto", dtype: str = "auto") -> ModelWrapper:
    """A wrapper around nothing that could be served."""
    return ModelWrapper(NotHere())  # type: ignore[arg-type]
