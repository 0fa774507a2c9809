"""Does an adapter also learn when not to call?"""

from __future__ import annotations

import pytest

from tests.adaptation.test_examples import ALSO, BAD, GOOD, ITEM, SYSTEM, TOOLS, Fake, as_model
from ttsi.adaptation import adapters
from ttsi.adaptation.irrelevance import DECLINED, distractor_tools, no_tool_examples
from ttsi.chat.calls import FORMATS
from ttsi.config import AdaptationConfig, LoopConfig
from ttsi.methods import preset
from ttsi.types import Example, Input, Message, Tool, TrainingExample


def learned(count: int) -> list[TrainingExample]:
    fake = Fake()
    config = LoopConfig(adaptation=AdaptationConfig(irrelevance=count))
    with adapters(as_model(fake), [ITEM], [(BAD, GOOD, ALSO)], (), config, [1]):
        return list(fake.jobs[0])


@pytest.mark.parametrize("family", FORMATS)
def test_the_request_is_asked_again_without_its_tool_and_nothing_is_called(family: str) -> None:
    form = FORMATS[family]
    first, second = no_tool_examples(form, ITEM, [GOOD, ALSO], 2)
    assert first.prompt.messages == (SYSTEM, Message("user", GOOD.query))
    assert (first.prompt.tools, second.prompt.tools) == (TOOLS[1:], TOOLS[:1])
    for lesson in (first, second):
        parsed = form.parse(lesson.target, lesson.prompt.tools)
        assert (parsed.calls, parsed.error) == ((), None)
        assert lesson.target == (form.no_tool or DECLINED)


def test_so_many_of_the_kept_examples_are_learned_that_way_behind_the_calls() -> None:
    lessons = [(lesson.prompt.messages[-1].content, len(lesson.prompt.tools)) for lesson in learned(1)]
    assert lessons == [(GOOD.query, 2), (ALSO.query, 2), (GOOD.query, 1)]
    assert len(learned(2)) == len(learned(9)) == 4, "never more than there are examples; refused ones teach nothing"


def test_control_without_it_every_lesson_is_a_call() -> None:
    calls = [FORMATS["hermes"].parse(lesson.target, TOOLS).calls for lesson in learned(0)]
    assert calls == [GOOD.calls, ALSO.calls]
    assert preset("ttsi", "embedded").adaptation.irrelevance > 0
    assert preset("ttsi-paper", "embedded").adaptation.irrelevance == 0, "the paper learns calls only"


def test_of_two_called_tools_neither_is_left_and_an_examples_own_tools_count() -> None:
    third = Tool("play_song", "play a song", {"type": "object", "properties": {}})
    both = Example("weather of Rome and a bed in Lima", GOOD.calls + ALSO.calls, "...", tools=(*TOOLS, third))
    [lesson] = no_tool_examples(FORMATS["marked"], ITEM, [both], 1)
    assert lesson.prompt.tools == (third,)


def test_where_nothing_else_is_on_offer_everyday_tools_stand_in() -> None:
    alone = Input("alone", ITEM.messages, TOOLS[:1])
    [lesson] = no_tool_examples(FORMATS["marked"], alone, [GOOD], 1)
    assert len(lesson.prompt.tools) == 2
    assert GOOD.calls[0].name not in {tool.name for tool in lesson.prompt.tools}
    [same, *_] = distractor_tools("something else")
    assert same.name not in {tool.name for tool in distractor_tools("something else", called={same.name})}
    assert distractor_tools("play a song by the title Yesterday")[0].name != "play_song"
