"""Learn the examples, briefly, and forget them. (The paper's T.)

Inputs: unsure inputs with their examples. Outputs: a `with` block in which the model answers each input with its own
temporary adapter, or with its examples in the prompt (`method="in-context"`). Leaving the block is the reset.

The paper trains one adapter after another and merges it before answering; ours trains many side by side and never
merges, since merging and unmerging changes weights for good.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from ttsi.adaptation.examples import lessons, with_demonstrations
from ttsi.config import AdaptationConfig
from ttsi.models import Model
from ttsi.types import Adaptation, Example, Input


@dataclass(frozen=True)
class Tuned:
    """How the adapted model is to be asked."""

    inputs: tuple[Input, ...]
    """The inputs as they are now asked: with demonstrations, for the in-context variant."""
    adapters: tuple[int | None, ...]
    """Which adapter answers each input; None is the base."""
    adaptations: tuple[Adaptation, ...]


@contextmanager
def adapted(
    model: Model,
    inputs: Sequence[Input],
    examples: Sequence[Sequence[Example]],
    config: AdaptationConfig,
    seeds: Sequence[int],
) -> Iterator[Tuned]:
    """Adapt the model to each input's kept examples for as long as the block lasts."""
    kept = [[example for example in written if example.refused is None] for written in examples]
    if config.method == "in-context":
        yield _in_context(model, inputs, kept)
        return
    jobs = [lessons(model.format, item, good) for item, good in zip(inputs, kept, strict=True)]
    with model.adapted(jobs, config, seeds) as done:
        adapters = tuple(i if a.status == "trained" else None for i, a in enumerate(done))
        yield Tuned(tuple(inputs), adapters, tuple(done))


def _in_context(model: Model, inputs: Sequence[Input], kept: Sequence[Sequence[Example]]) -> Tuned:
    asked = [with_demonstrations(item, good) for item, good in zip(inputs, kept, strict=True)]
    states = [Adaptation("in-context", samples=len(good)) if good else Adaptation("none") for good in kept]
    return Tuned(tuple(asked), (None,) * len(asked), tuple(states))
