"""toolworld-agents: tasks of one to three turns in small simulators, with look-ups and follow-ups.

This package's own benchmark for agents: requests to eight simulators (`ttsi.environments.simulators`), four for
validation and four for the test, made by `toolworld.agent_tasks` from invented names, states and phrasings. Inputs:
nothing; the frozen files ship with the package. Outputs: two benchmarks of the same 240 test or 120 validation tasks:

- toolworld-agents: one sample per task, from its beginning to its end;
- toolworld-turns: one sample per user turn, which begins where the gold calls of the earlier turns lead, so that one
  wrong turn does not hide those after it.

Licence: the package's own. Kinds of turns: "single" (the request states everything), "state" (something must be looked
up first), "two" (two calls), "follow-up" (the request refers to the turn before); a task with turns of other kinds than
single is tagged "mixed". Rule, "episode": after every turn the state is that of the gold calls; where those only read,
their results are among the results of the turn's calls; a turn without any call is wrong. Upper and lower case do not
count: the simulators ignore them. More reading calls, and calls that the simulator refused, do no harm.

Known defects: the texts come from templates, so they are less varied than people. What the agent says in words is not
graded. Names, phrasings and tool descriptions were made easier, twice, after the embedded base model had scored too low
to show a gain, and its answers on both splits were read for that. So a base's score says nothing by itself; no method
was run before the files were frozen, and what counts is the difference between methods. The paper (arXiv:2510.07841)
has no agents.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from ttsi.benchmarks import Benchmark, Sample
from ttsi.benchmarks.data_files import read_bytes, sha256
from ttsi.embedded import DATA
from ttsi.environments.simulators import SimulatorEnvironment, simulator
from ttsi.errors import ConfigError, DataError, unknown_name
from ttsi.types import Input, Message, ToolCall, Trajectory

RULE = "episode"
"""The judge's rule, and the headline's."""
TURN_END = "done."
"""What the assistant says at the end of an earlier turn."""
_SPLITS = ("test", "validation")

_Calls = tuple[ToolCall, ...]


@dataclass(frozen=True)
class SimulatorJudge:
    """The verdict on a trajectory: its calls and the gold calls are executed again, in two fresh environments."""

    simulator: str
    state: Mapping[str, Any]
    """The state before the first turn."""
    gold: tuple[_Calls, ...]
    """The right calls, turn by turn."""

    def __call__(self, trajectory: Trajectory) -> Mapping[str, bool]:
        """Whether every turn was right: {"episode": verdict}."""
        turns = [
            [call for step in turn.steps if step.answer for call in step.answer.calls[: len(step.results)]]
            for turn in trajectory.turns
        ]
        agent, expected = (simulator(self.simulator, self.state) for _ in range(2))
        # A generator: the first wrong turn ends it.
        verdicts = (_is_right(agent, calls, expected, gold) for calls, gold in zip(turns, self.gold, strict=False))
        return {RULE: len(turns) == len(self.gold) and all(verdicts)}


def _is_right(
    agent: SimulatorEnvironment, calls: Sequence[ToolCall], expected: SimulatorEnvironment, gold: Sequence[ToolCall]
) -> bool:
    """Execute a turn in both environments and compare."""
    before = expected.state()
    needed = [expected.execute(call) for call in gold]
    results = [agent.execute(call) for call in calls]
    if agent.state() != expected.state() or (gold and not calls):
        return False
    return expected.state() != before or all(result in results for result in needed)


def load(data_dir: Path | None = None, split: str = "test") -> Benchmark:
    """240 agent tasks of one to three turns in four small simulators; ships with the package

    Args:
        data_dir: ignored; the files ship with the package.
        split: "test" or "validation".

    Raises:
        ConfigError: there is no such split.
        DataError: the file is missing or damaged.
    """
    return _benchmark("toolworld-agents", split, _task_samples)


def load_validation(data_dir: Path | None = None) -> Benchmark:
    """120 agent tasks in four other simulators, for choosing settings; ships with the package"""
    return load(data_dir, "validation")


def load_turns(data_dir: Path | None = None, split: str = "test") -> Benchmark:
    """The user turns of toolworld-agents one by one, each behind the right calls of the earlier ones

    Args:
        data_dir: ignored; the files ship with the package.
        split: "test" or "validation".

    Raises:
        ConfigError: there is no such split.
        DataError: the file is missing or damaged.
    """
    return _benchmark("toolworld-turns", split, _turn_samples)


def load_turns_validation(data_dir: Path | None = None) -> Benchmark:
    """The user turns of toolworld-agents-validation one by one, for choosing settings"""
    return load_turns(data_dir, "validation")


def _benchmark(name: str, split: str, samples: Any) -> Benchmark:
    if split not in _SPLITS:
        raise ConfigError(unknown_name(f"split of {name}", split, _SPLITS))
    file = f"toolworld-agents-{split}.json.gz"
    data = read_bytes(DATA / file)
    try:
        rows = tuple(sample for task in json.loads(data) for sample in samples(task))
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"{file} is damaged: install ttsi again") from error
    title = name if split == "test" else f"{name}-{split}"
    return Benchmark(title, rows, sha256(data), f"ttsi/embedded/data/{file}", matcher=RULE)


def _task_samples(task: Mapping[str, Any]) -> Iterator[Sample]:
    """The one sample of a task."""
    requests = [turn["request"] for turn in task["turns"]]
    make = partial(simulator, task["simulator"], task["state"], requests)
    gold = tuple(_gold(turn) for turn in task["turns"])
    kinds = {turn["kind"] for turn in task["turns"]}
    tags = {
        "simulator": task["simulator"],
        "kind": "single" if kinds == {"single"} else "mixed",
        "turns": str(len(gold)),
    }
    item = Input(task["id"], (Message("user", requests[0]),), tuple(make().tools()))
    judge = SimulatorJudge(task["simulator"], task["state"], gold)
    yield Sample(item, sum(gold, ()), tags, environment=make, judge=judge)


def _turn_samples(task: Mapping[str, Any]) -> Iterator[Sample]:
    """The samples of a task's turns."""
    name, replay = task["simulator"], simulator(task["simulator"], task["state"])
    conversation: tuple[Message, ...] = ()
    for number, turn in enumerate(task["turns"], 1):
        conversation += (Message("user", turn["request"]),)
        state, gold = json.loads(replay.state()), _gold(turn)
        make = partial(simulator, name, state, [conversation])
        tags = {"simulator": name, "kind": turn["kind"], "turn": str(number)}
        item = Input(f"{task['id']}/turn-{number}", conversation, tuple(replay.tools()))
        yield Sample(item, gold, tags, environment=make, judge=SimulatorJudge(name, state, (gold,)))
        conversation += _messages(replay, gold, one_by_one=turn["kind"] == "state")


def _gold(turn: Mapping[str, Any]) -> _Calls:
    return tuple(ToolCall(call["name"], call["arguments"]) for call in turn["calls"])


def _messages(environment: SimulatorEnvironment, calls: _Calls, one_by_one: bool) -> tuple[Message, ...]:
    """What the assistant and the tools say in an earlier turn; the calls are executed."""
    messages: list[Message] = []
    for step in [(call,) for call in calls] if one_by_one else [calls]:
        messages.append(Message("assistant", "", step))
        messages += [Message("tool", environment.execute(call).content) for call in step]
    return (*messages, Message("assistant", TURN_END))
