"""The record of an agent's task: what the base did in it, what was done in the end, as one episode.

Inputs: tasks, each with a maker of its environment, and the settings. Outputs: an `Episode` per task that runs, reports
and exports treat like any other: its two answers hold all calls of the two trajectories. Both begin in a new
environment, so the comparison is paired by task.

The episode's awareness is the base's, at its least confident decision: what it predicts is whether the base's whole
trajectory is right. A task is unsure where the base was unsure at any decision.
"""

from __future__ import annotations

import logging
import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import count

from ttsi.agents.conversation_loop import run_episodes
from ttsi.config import AgentConfig, LoopConfig
from ttsi.environments.environment import Environment
from ttsi.errors import GrammarError, ModelError, UnrenderablePrompt, first_line
from ttsi.models import Model, Writer
from ttsi.plurals import with_noun
from ttsi.types import Adaptation, Answer, Awareness, Episode, Input, ToolCall, Trajectory

log = logging.getLogger(__name__)

OUTSIDE = ("environment:", *(f"{kind.__name__}:" for kind in (ModelError, GrammarError, UnrenderablePrompt)))
"""How the errors of a failed environment, and of a model that gives no text, begin. Such a task failed, on whichever
side, and may be tried again; a call that does not return, or a conversation that grows too long, is the agent's own
doing and counts as wrong."""


@dataclass(frozen=True)
class Task:
    """A conversation to be had."""

    input: Input
    """Its beginning: the first turn's messages and tools."""
    environment: Callable[[], Environment]


def task_episodes(
    tasks: Sequence[Task],
    model: Model,
    writer: Writer | None,
    config: LoopConfig,
    agent: AgentConfig,
    repeat: int = 0,
) -> list[Episode]:
    """Let the base act in each task, and then the improved agent, both from the beginning; one episode per task.

    Raises:
        ConfigError: a setting is wrong. An environment that cannot be made is an episode with an error.
    """
    before = _trajectories("base", tasks, model, None, replace(config, adapt=False), agent, repeat)
    after = _trajectories("adapted", tasks, model, writer, config, agent, repeat) if config.adapt else before
    return [_episode(task, *both) for task, *both in zip(tasks, before, after, strict=True)]


def _trajectories(
    side: str,
    tasks: Sequence[Task],
    model: Model,
    writer: Writer | None,
    config: LoopConfig,
    agent: AgentConfig,
    repeat: int,
) -> list[Trajectory]:
    made: dict[int, Environment] = {}
    failed: dict[int, Trajectory] = {}
    for number, task in enumerate(tasks):
        try:
            made[number] = task.environment()
        except Exception as error:
            failed[number] = Trajectory((), f"environment: {type(error).__name__}: {first_line(error)}")
    named = [(f"{number}/{tasks[number].input.id}", environment) for number, environment in made.items()]
    decisions = count(1)

    def report(_: str, __: Trajectory) -> None:
        _log_decisions(side, next(decisions))

    _log_decisions(side, 0)
    done = dict(zip(made, run_episodes(named, model, writer, config, agent, repeat, report), strict=True)) | failed
    return [done[number] for number in range(len(tasks))]


def _log_decisions(side: str, decisions: int) -> None:
    """Log how many decisions the agent has taken in all tasks; the command line shows it as progress."""
    log.info("decisions taken side=%s decisions=%d", side, decisions)


def _episode(task: Task, before: Trajectory, after: Trajectory) -> Episode:
    errors = [one.error for one in (after, before) if one.error and one.error.startswith(OUTSIDE)]
    error = errors[0] if errors else None
    return Episode(
        task.input.id,
        task.input.content_hash,
        None if error else _answer(before),
        None if error else _answer(after),
        _least_confident(before),
        tuple(example for step in after.steps for example in step.examples),
        _adaptation(after),
        _seconds(after),
        error,
        {"base": before, "adapted": after},
    )


def _least_confident(trajectory: Trajectory) -> Awareness | None:
    """The awareness of the decision with the least value; None where no decision was measured.

    Each other measure is its own least value over all decisions, so that measures are compared alike. In words it is
    where all unsure decisions are.
    """
    measured = [step.awareness for step in trajectory.steps if step.awareness is not None]
    if not measured:
        return None
    least = min(measured, key=lambda one: _rank(one.value))
    values = {name: [one.measures[name] for one in measured if name in one.measures] for name in least.measures}
    return replace(
        least,
        measures={name: min(by_decision, key=_rank) for name, by_decision in values.items()},
        in_words=all(one.in_words for one in measured if one.unsure or not least.unsure),
    )


def _rank(value: float) -> float:
    """A measure's value as an order: one that is no number is unsure at every tau."""
    return -math.inf if math.isnan(value) else value


def _answer(trajectory: Trajectory) -> Answer:
    """All calls of a trajectory as one answer."""
    answers = [step.answer for step in trajectory.steps if step.answer is not None]
    return Answer(
        "\n".join(answer.text for answer in answers),
        tuple(call for calls in executed_calls(trajectory) for call in calls),
        trajectory.error,
        sum(answer.logprob for answer in answers),
        min((answer.min_logprob for answer in answers), default=0.0),
        sum(answer.tokens for answer in answers),
    )


def _adaptation(trajectory: Trajectory) -> Adaptation:
    """What was learned in a trajectory, as one record."""
    records = [step.adaptation for step in trajectory.steps if step.adaptation.status != "none"]
    if not records:
        return Adaptation("none")
    statuses = Counter(record.status for record in records)
    status = next((one for one in statuses if one != "training-failed"), records[0].status)
    refused = sum(bool(record.refused) for record in records)
    counted = ", ".join(f"{count} {one}" for one, count in (*statuses.items(), ("refused", refused)) if count)
    return Adaptation(
        status,
        samples=sum(record.samples for record in records),
        steps=sum(record.steps for record in records),
        reason=f"{len(records)} of {with_noun(len(trajectory.steps), 'decision')}: {counted}",
        left_out=sum(record.left_out for record in records),
        lr=next((record.lr for record in records if record.lr is not None), None),
    )


def _seconds(trajectory: Trajectory) -> dict[str, float]:
    total: Counter[str] = Counter()
    for step in trajectory.steps:
        total.update(step.seconds)
    return dict(total)


def executed_calls(trajectory: Trajectory) -> list[list[ToolCall]]:
    """The calls of each turn that were executed, failed ones included."""
    return [
        [call for step in turn.steps if step.answer for call in step.answer.calls[: len(step.results)]]
        for turn in trajectory.turns
    ]
