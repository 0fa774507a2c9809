"""What is learned from an example, and where do demonstrations go?"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

import pytest

from ttsi.adaptation import adapters
from ttsi.adaptation.examples import training_examples, with_demonstrations
from ttsi.chat.calls import FORMATS, Format
from ttsi.chat.marked import quote
from ttsi.config import AdaptationConfig, LoopConfig, SynthesisConfig
from ttsi.models import Model
from ttsi.types import Adaptation, Example, Input, Message, Prompt, Tool, ToolCall, TrainingExample

CITY = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
TOOLS = (Tool("get_weather", "get the weather of a city", CITY), Tool("find_hotel", "find a hotel in a city", CITY))
SYSTEM = Message("system", "be brief")
TALK = (SYSTEM, Message("user", "hello"), Message("assistant", "hi"), Message("user", "rain in Oslo?"))
ITEM = Input("rain", TALK, TOOLS)
GOOD = Example("the weather of Rome", (ToolCall("get_weather", {"city": "Rome"}),), "...")
ALSO = Example("a bed in Lima", (ToolCall("find_hotel", {"city": "Lima"}),), "...")
BAD = Example("rain", (ToolCall("get_weather", {"city": "Paris"}),), "...", "grounded: ...")
IN_CONTEXT = LoopConfig(adaptation=AdaptationConfig(method="in-context"))


@pytest.mark.parametrize("family", FORMATS)
def test_a_lesson_is_the_request_alone_and_the_call_as_the_family_writes_it(family: str) -> None:
    form = FORMATS[family]
    first, second = training_examples(form, ITEM, [GOOD, ALSO])
    assert first.prompt.messages == (SYSTEM, Message("user", GOOD.query))
    assert first.prompt.tools == ITEM.tools
    assert first.prompt.prefix == ""
    for lesson, example in ((first, GOOD), (second, ALSO)):
        assert form.parse(lesson.target, TOOLS).calls == example.calls


def test_the_embedded_family_learns_its_reason_too() -> None:
    [lesson] = training_examples(FORMATS["marked"], ITEM, [GOOD])
    assert lesson.target.startswith(quote(TOOLS[0], GOOD.query, TOOLS))
    [plain] = training_examples(FORMATS["hermes"], ITEM, [GOOD])
    assert plain.target.startswith("<tool_call>")


def test_each_call_of_an_example_has_its_own_reason() -> None:
    both = Example("weather of Rome and a hotel in Lima", GOOD.calls + ALSO.calls, "...")
    [lesson] = training_examples(FORMATS["marked"], ITEM, [both])
    assert FORMATS["marked"].parse(lesson.target, TOOLS).calls == both.calls
    assert all(quote(tool, both.query, TOOLS) in lesson.target for tool in TOOLS)


def test_demonstrations_stand_behind_the_system_and_before_the_talk() -> None:
    prompted = with_demonstrations(ITEM, [GOOD, ALSO])
    assert prompted.messages == (
        SYSTEM,
        Message("user", GOOD.query),
        Message("assistant", "", GOOD.calls),
        Message("user", ALSO.query),
        Message("assistant", "", ALSO.calls),
        *TALK[1:],
    )
    assert prompted.messages[-1] == ITEM.messages[-1]
    assert (prompted.id, prompted.tools) == (ITEM.id, ITEM.tools)


def test_no_demonstration_changes_nothing() -> None:
    assert with_demonstrations(ITEM, []) == ITEM


@dataclass
class Fake:
    """Trains nothing; remembers the jobs, and whether its adapters are still there."""

    outcome: Adaptation = field(default=Adaptation("trained", samples=1))
    format: Format = FORMATS["hermes"]
    jobs: Sequence[Sequence[TrainingExample]] = ()
    seeds: Sequence[int] = ()
    alive: bool = False

    def fits(self, prompt: Prompt, max_new_tokens: int) -> str | None:
        return None

    @contextmanager
    def adapted(
        self, jobs: Sequence[Sequence[TrainingExample]], config: AdaptationConfig, seeds: Sequence[int]
    ) -> Iterator[list[Adaptation]]:
        self.jobs, self.seeds, self.alive = jobs, seeds, True
        try:
            yield [self.outcome if job else Adaptation("none") for job in jobs]
        finally:
            self.alive = False


def as_model(fake: Fake) -> Model:
    """The fake has only what adaptation may use."""
    return fake  # type: ignore[return-value]


def test_one_job_per_input_in_order_and_only_kept_examples_are_learned() -> None:
    fake = Fake()
    with adapters(
        as_model(fake), [ITEM] * 3, [(BAD, GOOD), (BAD,), (ALSO, GOOD)], (), LoopConfig(), [5, 6, 7]
    ) as tuned:
        assert fake.alive
        assert [[lesson.prompt.messages[-1].content for lesson in job] for job in fake.jobs] == [
            [GOOD.query],
            [],
            [ALSO.query, GOOD.query],
        ]
        assert fake.seeds == [5, 6, 7]
        assert tuned.inputs == (ITEM,) * 3
        assert tuned.adapters == (0, None, 2)
        assert [a.status for a in tuned.adaptations] == ["trained", "none", "trained"]
    assert not fake.alive


def test_the_adapters_are_gone_after_a_failure_too() -> None:
    fake = Fake()
    with (
        pytest.raises(RuntimeError, match="in the middle"),
        adapters(as_model(fake), [ITEM], [(GOOD,)], (), LoopConfig(), [1]),
    ):
        raise RuntimeError("in the middle")
    assert not fake.alive


@pytest.mark.parametrize("status", ["training-failed", "none"])
def test_whoever_was_not_trained_is_answered_by_the_base(status: str) -> None:
    fake = Fake(outcome=Adaptation(status, reason="the loss rose"))  # type: ignore[arg-type]
    with adapters(as_model(fake), [ITEM], [(GOOD,)], (), LoopConfig(), [1]) as tuned:
        assert tuned.adapters == (None,)
        assert tuned.adaptations[0].reason == "the loss rose"


def test_in_context_asks_with_demonstrations_and_trains_nothing() -> None:
    fake = Fake()
    with adapters(as_model(fake), [ITEM, ITEM], [(GOOD, BAD), (BAD,)], (), IN_CONTEXT, [1, 2]) as tuned:
        assert tuned.inputs == (with_demonstrations(ITEM, [GOOD]), ITEM)
        assert tuned.adapters == (None, None)
        assert [(a.status, a.samples) for a in tuned.adaptations] == [("in-context", 1), ("none", 0)]
    assert not fake.jobs


@dataclass
class Small(Fake):
    """Has room for one demonstration."""

    def fits(self, prompt: Prompt, max_new_tokens: int) -> str | None:
        turns = [message for message in prompt.messages if message.role == "user"]
        return None if len(turns) <= 1 + len([m for m in ITEM.messages if m.role == "user"]) else "too long"


@pytest.mark.parametrize(("source", "left"), [("writer", GOOD), ("nearest", ALSO)])
def test_the_best_demonstrations_stay_when_room_is_short(source: str, left: Example) -> None:
    config = replace(IN_CONTEXT, synthesis=SynthesisConfig(source=source))  # type: ignore[arg-type]
    with adapters(as_model(Small()), [ITEM], [(GOOD, ALSO)], (), config, [1]) as tuned:
        assert tuned.inputs == (with_demonstrations(ITEM, [left]),)
        assert tuned.adaptations[0].left_out == 1


def test_control_the_query_of_the_input_is_no_lesson() -> None:
    """A lesson that contained the input's own last turn would be a leak; the check above sees one."""
    leak = replace(GOOD, query=ITEM.messages[-1].content)
    [lesson] = training_examples(FORMATS["hermes"], ITEM, [leak])
    assert lesson.prompt.messages[-1] == ITEM.messages[-1]
    [clean] = training_examples(FORMATS["hermes"], ITEM, [GOOD])
    assert clean.prompt.messages[-1] != ITEM.messages[-1]
