"""An adapter may answer the later steps of its turn: for its own key, for a limited time, and no longer."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from functools import partial
from typing import Any

import pytest

from tests.agents.actors import always
from tests.serve.conftest import UNSURE, body
from tests.serve.test_worker import job
from ttsi.models import Request
from ttsi.models.scripted import DemoModel
from ttsi.serve.chat_request import read_request
from ttsi.serve.interruptible import Interrupts
from ttsi.serve.limits import Limits, TurnAdapterLimits
from ttsi.serve.metrics import Metrics
from ttsi.serve.pipe import AnswerJob, Outcome
from ttsi.serve.turn_adapters import TurnAdapters
from ttsi.serve.worker import answer_job
from ttsi.types import ToolCall

CALL = {"id": "1", "type": "function", "function": {"name": "get_weather", "arguments": '{"city": "Lima"}'}}
STEP = [
    {"role": "assistant", "content": None, "tool_calls": [CALL]},
    {"role": "tool", "tool_call_id": "1", "content": "x"},
]


class Clock:
    """A time that the test moves."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def step(text: str = UNSURE, steps: int = 0, **more: Any) -> AnswerJob:
    """The request of a step: the user's message, and so many calls with their results."""
    request = json.loads(body(text, **more))
    request["messages"] += STEP * steps
    options = read_request(json.dumps(request).encode(), Limits(), "id")
    config = replace(always(), seed=options.seed or 0)
    return job(text).model_copy(update={"options": options, "config": config})


def ask(turns: TurnAdapters, request: AnswerJob, tenant: str = "ada") -> Outcome:
    outcome = answer_job(DemoModel(), request, Interrupts(), None, partial(turns.improve, tenant))
    assert outcome.state == "answered" and outcome.fallback is None
    return outcome


def is_reused(outcome: Outcome) -> bool:
    return outcome.episodes[0].adaptation.status == "reused"


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def turns(clock: Clock) -> TurnAdapters:
    return TurnAdapters(TurnAdapterLimits(seconds=60, most=2), clock)


def test_a_later_step_of_the_turn_is_answered_untrained(turns: TurnAdapters) -> None:
    first, second = ask(turns, step()), ask(turns, step(steps=1))
    assert (is_reused(first), is_reused(second)) == (False, True)
    assert second.episodes[0].adaptation.steps == 0 and not second.episodes[0].examples
    alone = answer_job(DemoModel(), step(steps=1), Interrupts())
    assert not is_reused(alone)  # the control: without it every step trains


@pytest.mark.parametrize(
    "other",
    [
        step("Do I need an umbrella in Rome", steps=1),
        step(steps=1, seed=7),
    ],
    ids=["message", "seed"],
)
def test_another_turn_trains_its_own(turns: TurnAdapters, other: AnswerJob) -> None:
    ask(turns, step())
    if other.options.seed is not None:
        other = other.model_copy(
            update={"config": always().__class__(**{**vars(always()), "seed": other.options.seed})}
        )
    assert not is_reused(ask(turns, other))


def test_a_repeated_first_step_trains_again(turns: TurnAdapters) -> None:
    assert [is_reused(ask(turns, step())) for _ in range(2)] == [False, False]
    assert is_reused(ask(turns, step(steps=1)))  # the control


def test_no_key_reaches_anothers_adapter(turns: TurnAdapters) -> None:
    ask(turns, step())
    assert not is_reused(ask(turns, step(steps=1), tenant="bob"))
    assert is_reused(ask(turns, step(steps=1)))


def test_an_adapter_ends_with_its_time_and_with_newer_turns(turns: TurnAdapters, clock: Clock) -> None:
    ask(turns, step())
    clock.now = 59.0
    assert is_reused(ask(turns, step(steps=1)))
    clock.now = 60.0
    assert turns.count() == 0
    assert not is_reused(ask(turns, step(steps=1)))
    for place in ("Rome", "Oslo"):
        ask(turns, step(f"Do I need an umbrella in {place}"))
    assert turns.count() == 2
    assert not is_reused(ask(turns, step(steps=1)))


def test_they_are_off_unless_turned_on_and_counted_where_used(turns: TurnAdapters) -> None:
    assert turns.on and not TurnAdapters(TurnAdapterLimits()).on
    metrics = Metrics()
    for outcome in (ask(turns, step()), ask(turns, step(steps=1))):
        metrics.count(outcome)
    assert b"ttsi_turn_adapters_total 1.0" in metrics.text()


class Inventive(DemoModel):
    """Invents a city behind a result; with an adapter that of an example, or another one."""

    def __init__(self, of_example: bool) -> None:
        super().__init__()
        self._of_example = of_example

    def _text(self, request: Request) -> str:
        if request.prompt.messages[-1].role != "tool" or self._only_tool(request):
            return super()._text(request)
        targets = [one.target for one in self._training_examples(request) if "Lima" not in one.target]
        cities = [match[1] for target in targets if (match := re.search(r'"city": "([^"]+)"', target))]
        city = "Bergen" if not cities else cities[0] if self._of_example else "Turin"
        return self.format.render([ToolCall("get_weather", {"city": city})])


@pytest.mark.parametrize("of_example", [True, False])
def test_a_later_steps_answer_has_no_value_that_only_the_turns_examples_state(
    turns: TurnAdapters, of_example: bool
) -> None:
    model, config = Inventive(of_example), always()
    guarded = replace(config, adaptation=replace(config.adaptation, refuse_unstated=True))
    for request in (step(), step(steps=1)):
        request = request.model_copy(update={"config": guarded})
        outcome = answer_job(model, request, Interrupts(), None, partial(turns.improve, "ada"))
    assert is_reused(outcome)
    [episode] = outcome.episodes
    refused = "an example states its city, and the conversation does not" if of_example else ""
    assert (episode.adaptation.refused, episode.adapted == episode.base) == (refused, of_example)
