"""How long an adapter lives: a decision, a turn, an episode; and never longer."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

import pytest

from tests.agents.actors import Actor, FileStore, always, called, world
from ttsi.agents.conversation_loop import run_episode
from ttsi.config import AgentConfig
from ttsi.errors import ConfigError, ModelError
from ttsi.models import Model
from ttsi.types import Message, ToolCall, TrainingExample

Life = Literal["decision", "turn", "episode"]


def two_steps(messages: Sequence[Message], learned: Sequence[TrainingExample]) -> Sequence[ToolCall] | str:
    """Lists the files; only with an adapter it reads one, too."""
    if not called(messages):
        return [ToolCall("list_files", {})]
    return [ToolCall("read_file", {"file_name": "plan.txt"})] if learned and len(called(messages)) == 1 else "Done."


def act(life: Life, turns: int = 2) -> tuple[Actor, list[list[str]], list[int]]:
    """The actor; per turn the statuses of its decisions; and how much each decision learned."""
    actor = Actor(two_steps)
    environment = world(FileStore(), *[f"turn {number}" for number in range(turns)])
    trajectory = run_episode(environment, actor, config=always(), agent=AgentConfig(life=life, examples="call"))
    assert trajectory.error is None
    statuses = [[step.adaptation.status for step in turn.steps] for turn in trajectory.turns]
    return actor, statuses, [step.adaptation.samples for step in trajectory.steps]


def test_each_decision_trains_an_adapter_of_its_own() -> None:
    actor, statuses, _ = act("decision")
    assert statuses == [["trained"] * 3, ["trained"] * 3]
    assert actor.trained == 6


def test_a_turns_adapter_answers_its_later_decisions_untrained() -> None:
    actor, statuses, samples = act("turn")
    assert statuses == [["trained", "reused", "reused"]] * 2
    assert actor.trained == 2
    assert samples[0] == samples[3]  # the next turn begins from nothing


def test_a_reused_adapters_answer_is_a_stage_of_its_own(caplog: pytest.LogCaptureFixture) -> None:
    """So that the command line does not show the time of this answer as that of measuring confidence."""
    caplog.set_level("INFO", logger="ttsi.batch")
    act("turn", turns=1)
    begun = [record.getMessage().split("stage=")[1].split()[0] for record in caplog.records if record.args]
    assert begun[-10:] == ["answer", "awareness", "adaptation", "answer", "execution"] * 2


def test_an_episodes_adapter_learns_earlier_examples_again_in_the_next_turn() -> None:
    actor, statuses, samples = act("episode", turns=3)
    assert statuses == [["trained", "reused", "reused"]] * 3
    assert actor.trained == 3
    assert samples[3] > samples[0] and samples[6] >= samples[3]


def test_nothing_is_left_in_the_next_conversation() -> None:
    actor, _, samples = act("episode")
    environment = world(FileStore(), "turn 0", "turn 1")
    again = run_episode(environment, actor, config=always(), agent=AgentConfig(life="episode", examples="call"))
    assert [step.adaptation.samples for step in again.steps] == samples
    assert actor._jobs == []


def test_a_sure_decision_is_the_bases_while_an_adapter_lives() -> None:
    config = always()
    sure = replace(config, awareness=replace(config.awareness, gate="unsure", tau=-1e9))
    trajectory = run_episode(world(FileStore(), "go"), Actor(two_steps), config=sure, agent=AgentConfig(life="turn"))
    assert {step.adaptation.status for step in trajectory.steps} == {"none"}


def test_a_life_without_an_adapter_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"agent\.life is turn"):
        run_episode(
            world(FileStore(), "go"), Actor(two_steps), config=always(method="vote"), agent=AgentConfig(life="turn")
        )


def test_adapters_that_cannot_be_kept_are_refused() -> None:
    class Remote(Actor):
        adapter_file = None  # type: ignore[assignment]
        with_adapters = None  # type: ignore[assignment]

    model: Model = Remote(two_steps)
    with pytest.raises(ModelError, match="cannot be kept"):
        run_episode(world(FileStore(), "go"), model, config=always(), agent=AgentConfig(life="turn"))


@pytest.mark.parametrize("of_example", [True, False])
def test_a_reused_adapters_answer_has_no_value_that_only_its_examples_state(of_example: bool) -> None:
    def read_what_was_learned(messages: Sequence[Message], learned: Sequence[TrainingExample]) -> list[ToolCall] | str:
        """Invents a file; with an adapter that of an example."""
        if not called(messages):
            return [ToolCall("list_files", {})]
        names = [match[1] for one in learned if (match := re.search(r'"file_name": "([^"]+)"', one.target))]
        return [ToolCall("read_file", {"file_name": names[0] if names and of_example else f"x{len(names)}"})]

    config = always()
    guarded = replace(config, adaptation=replace(config.adaptation, refuse_unstated=True))
    agent = AgentConfig(life="turn", execute_examples=False, execute_answers=False, max_steps=2)
    trajectory = run_episode(world(FileStore(), "go"), Actor(read_what_was_learned), config=guarded, agent=agent)
    first, second = trajectory.steps
    assert (first.adaptation.status, second.adaptation.status) == ("trained", "reused")
    refused = "an example states its file_name, and the conversation does not" if of_example else ""
    assert (second.adaptation.refused, second.answer == second.base) == (refused, of_example)
