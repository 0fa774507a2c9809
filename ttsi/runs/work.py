"""How is one batch of a run done, wherever it is done?

Inputs: inputs with their repeats, a model, a writer, the settings of the loop. Outputs: episodes, in order. `here` does
batches one after the other in this process and checks after each that the base is unchanged; `ttsi.runs.cluster` does
them in many. Test gold stays with the caller: only `Input` comes here. The paper (arXiv:2510.07841) has no batches.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from ttsi.benchmarks import Sample
from ttsi.config import LoopConfig
from ttsi.models import Model, Writer
from ttsi.record import Key
from ttsi.runs.integrity import WeightsIntegrity
from ttsi.runs.sources import ready
from ttsi.types import Episode, Input


@dataclass(frozen=True)
class Place:
    """A sample at its place in the plan."""

    sample: Sample
    position: int
    input_hash: str
    repeat: int
    """How many samples with the same content came before it; they are told apart by it."""

    @property
    def key(self) -> Key:
        """What its row is known by."""
        return self.input_hash, self.repeat


Batch = Sequence[Place]
Solve = Callable[[Iterator[Batch], LoopConfig], Iterator[tuple[Batch, list[Episode]]]]
"""Does batches as they are asked for, and returns each with its episodes, in any order."""


def here(model: Model, writer: Writer) -> Solve:
    """Batches one after the other, in this process.

    Raises:
        ModelError: when a batch is asked for: the base's weights have changed.
    """

    def solve(batches: Iterator[Batch], config: LoopConfig) -> Iterator[tuple[Batch, list[Episode]]]:
        seal = WeightsIntegrity(model)
        with ready(model, writer, config) as (speaker, source):
            for batch in batches:
                told = answer([(place.sample.input, place.repeat) for place in batch], speaker, source, config)
                seal.check()
                yield batch, told
        seal.check_fully()

    return solve


def answer(batch: Sequence[tuple[Input, int]], model: Model, writer: Writer, config: LoopConfig) -> list[Episode]:
    """The episodes of (input, repeat) pairs, in order."""
    # Not at the top: reading a run folder needs none of the stages.
    from ttsi.loop import improve

    told: dict[int, Episode] = {}
    for repeat in sorted({repeat for _, repeat in batch}):
        # Equal inputs differ by their repeat alone, and one call of the loop has one repeat.
        group = [i for i, (_, other) in enumerate(batch) if other == repeat]
        episodes = improve([batch[i][0] for i in group], model, writer, config, repeat)
        told.update(zip(group, episodes, strict=True))
    return [told[i] for i in range(len(batch))]
