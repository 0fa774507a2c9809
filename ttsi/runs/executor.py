"""Executor protocol, and the executor of this process.

Inputs: batches of the plan and the settings of the loop. Outputs: each batch with its episodes. `local_executor` works
through batches one after the other and checks after each that the base is unchanged; `ttsi.runs.cluster` does the same
in many processes. Gold stays with the caller: only `Input` reaches a model.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, TypeVar

from ttsi.config import AgentConfig, LoopConfig
from ttsi.environments.environment import Environment
from ttsi.errors import DataError
from ttsi.methods import adaptation_method
from ttsi.models import Model, Writer
from ttsi.runs.integrity import WeightsIntegrity
from ttsi.runs.plan import Batch, PlannedSample
from ttsi.types import Episode, Input, TrainingData

if TYPE_CHECKING:
    from ttsi.adaptation.shared import AdapterStore
    from ttsi.library import LibraryUse

Item = TypeVar("Item")

Executor = Callable[[Iterator[Batch], LoopConfig], Iterator[tuple[Batch, list[Episode]]]]
"""Takes batches one at a time, and returns each with its episodes, in any order."""


def local_executor(
    model: Model,
    writer: Writer,
    use: LibraryUse | None = None,
    run_id: str = "",
    agent: AgentConfig | None = None,
    store: AdapterStore | None = None,
) -> Executor:
    """Batches one after the other, in this process.

    Args:
        model: the model that answers.
        writer: the writer of the examples, or the training data.
        use: a library whose adapters answer first, and that learns from each batch; None is none.
        run_id: names the run in the library.
        agent: the settings of agents' tasks; None is the defaults.
        store: keeps the adapter of a method that has one for the whole run; None keeps it nowhere.

    Raises:
        ModelError: when a batch is taken: the base's weights have changed.
        LibraryError: when a batch is taken: the library cannot be written, or another run has used it since.
    """

    def execute(batches: Iterator[Batch], config: LoopConfig) -> Iterator[tuple[Batch, list[Episode]]]:
        integrity = WeightsIntegrity(model)
        with prepared(model, writer, config, store) as (run_model, run_writer):
            for batch in batches:
                with nullcontext() if use is None else use.library.step(_step_tag(run_id, batch)):
                    if batch[0].sample.environment is not None:
                        episodes = act_in_batch(batch, run_model, run_writer, config, agent)
                    else:
                        questions = [(item.sample.input, item.repeat) for item in batch]
                        episodes = answer_batch(questions, run_model, run_writer, config, use)
                integrity.check()
                yield batch, episodes
        integrity.check_fully()

    return execute


def _step_tag(run_id: str, batch: Batch) -> str:
    return f"{run_id}/{batch[0].input_hash}/{batch[0].repeat}"


@contextmanager
def prepared(
    model: Model, writer: Writer, loop: LoopConfig, store: AdapterStore | None = None
) -> Iterator[tuple[Model, Writer]]:
    """The model and the writer as the loop takes them; for SFT the model is one that learns the training data."""
    if adaptation_method(loop.adaptation.method).shared and isinstance(writer, TrainingData):
        from ttsi.adaptation.shared import supervised

        with supervised(model, writer, loop.adaptation, loop.seed, store) as fine_tuned:
            yield fine_tuned, fine_tuned
    else:
        yield model, writer


def act_in_batch(
    batch: Batch, model: Model, writer: Writer, config: LoopConfig, agent: AgentConfig | None
) -> list[Episode]:
    """The episodes of agents' tasks, in order."""
    from ttsi.agents.task_episode import Task, task_episodes

    def act(group: list[PlannedSample], repeat: int) -> list[Episode]:
        tasks = [Task(item.sample.input, environment_of(item)) for item in group]
        return task_episodes(tasks, model, writer, config, agent or AgentConfig(), repeat)

    return _by_repeat(batch, [item.repeat for item in batch], act)


def environment_of(item: PlannedSample) -> Callable[[], Environment]:
    """The maker of a task's environment.

    Raises:
        DataError: it is a single request among agents' tasks.
    """
    if item.sample.environment is None:
        raise DataError(f"{item.sample.input.id!r} has no environment, and other samples have: split the benchmark")
    return item.sample.environment


def _by_repeat(
    batch: Sequence[Item], repeats: Sequence[int], work: Callable[[list[Item], int], list[Episode]]
) -> list[Episode]:
    """Episodes in the order of the batch; equal inputs differ by their repeat alone, and one call has one repeat."""
    done: dict[int, Episode] = {}
    for repeat in sorted(set(repeats)):
        group = [i for i, other in enumerate(repeats) if other == repeat]
        done.update(zip(group, work([batch[i] for i in group], repeat), strict=True))
    return [done[i] for i in range(len(batch))]


def answer_batch(
    batch: Sequence[tuple[Input, int]],
    model: Model,
    writer: Writer,
    config: LoopConfig,
    use: LibraryUse | None = None,
) -> list[Episode]:
    """The episodes of (input, repeat) pairs, in order; with a library within a step of it."""
    # Not at the top: reading a run folder needs none of the stages.
    from ttsi.library.improvement import improve_with_library
    from ttsi.loop import improve

    def answer(inputs: list[Input], repeat: int) -> list[Episode]:
        if use is None:
            return improve(inputs, model, writer, config, repeat)
        return improve_with_library(use, inputs, model, writer, config, repeat)

    return _by_repeat([item for item, _ in batch], [repeat for _, repeat in batch], answer)
