"""Executor protocol, and the executor of this process.

Inputs: batches of the plan and the settings of the loop. Outputs: each batch with its episodes. `local_executor` works
through batches one after the other and checks after each that the base is unchanged; `ttsi.runs.cluster` does the same
in many processes. Gold stays with the caller: only `Input` reaches a model.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from ttsi.config import LoopConfig
from ttsi.methods import adaptation_method
from ttsi.models import Model, Writer
from ttsi.runs.integrity import WeightsIntegrity
from ttsi.runs.plan import Batch
from ttsi.types import Episode, Input, TrainingData

Executor = Callable[[Iterator[Batch], LoopConfig], Iterator[tuple[Batch, list[Episode]]]]
"""Takes batches one at a time, and returns each with its episodes, in any order."""


def local_executor(model: Model, writer: Writer) -> Executor:
    """Batches one after the other, in this process.

    Raises:
        ModelError: when a batch is taken: the base's weights have changed.
    """

    def execute(batches: Iterator[Batch], config: LoopConfig) -> Iterator[tuple[Batch, list[Episode]]]:
        integrity = WeightsIntegrity(model)
        with prepared(model, writer, config) as (run_model, run_writer):
            for batch in batches:
                episodes = answer_batch(
                    [(item.sample.input, item.repeat) for item in batch], run_model, run_writer, config
                )
                integrity.check()
                yield batch, episodes
        integrity.check_fully()

    return execute


@contextmanager
def prepared(model: Model, writer: Writer, loop: LoopConfig) -> Iterator[tuple[Model, Writer]]:
    """The model and the writer as the loop takes them; for SFT the model is one that learns the training data."""
    if adaptation_method(loop.adaptation.method).shared and isinstance(writer, TrainingData):
        from ttsi.adaptation.shared import supervised

        with supervised(model, writer, loop.adaptation, loop.seed) as fine_tuned:
            yield fine_tuned, fine_tuned
    else:
        yield model, writer


def answer_batch(batch: Sequence[tuple[Input, int]], model: Model, writer: Writer, config: LoopConfig) -> list[Episode]:
    """The episodes of (input, repeat) pairs, in order."""
    # Not at the top: reading a run folder needs none of the stages.
    from ttsi.loop import improve

    answered: dict[int, Episode] = {}
    for repeat in sorted({repeat for _, repeat in batch}):
        # Equal inputs differ by their repeat alone, and one call of the loop has one repeat.
        group = [i for i, (_, other) in enumerate(batch) if other == repeat]
        episodes = improve([batch[i][0] for i in group], model, writer, config, repeat)
        answered.update(zip(group, episodes, strict=True))
    return [answered[i] for i in range(len(batch))]
