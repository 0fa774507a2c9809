"""Does an ungrounded call, and no other answer, give way to the likeliest tool's grounded one?"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from ttsi.answer import generate_answers
from ttsi.answer.reranking import NAME_MARGIN, RERANKED_TOOLS
from ttsi.chat.calls import FORMATS, Format
from ttsi.chat.grammar import tool_grammar
from ttsi.config import AnswerConfig, LoopConfig, check
from ttsi.errors import ConfigError
from ttsi.models import Generation, Model, Request
from ttsi.types import Answer, Input, Message, Prompt, Tool, ToolCall

HERMES = FORMATS["hermes"]
SCHEMA = {
    "type": "object",
    "properties": {"city": {"type": "string"}, "day": {"type": "string"}, "days": {"type": "integer", "default": 3}},
    "required": ["city"],
}
WEATHER, HOTEL, TAXI = (Tool(name, name, SCHEMA) for name in ("get_weather", "find_hotel", "call_taxi"))
RAIN = Input("rain", (Message("user", "rain in Oslo?"),), (WEATHER, HOTEL, TAXI))
RERANK = AnswerConfig(strategy="rerank", calls="required")


def call(name: str, **arguments: Any) -> str:
    return HERMES.render([ToolCall(name, arguments)])


@dataclass
class Chooser:
    """Answers with one text, with a text of its own under each tool's grammar, and remembers what it was asked."""

    greedy: str
    by_tool: Mapping[str, str] = field(default_factory=dict)
    logprobs: Mapping[str, float] = field(default_factory=dict)
    finished: bool = True
    format: Format = HERMES
    requests: list[Request] = field(default_factory=list)
    scored: list[Sequence[int | None]] = field(default_factory=list)

    def generate(self, requests: Sequence[Request]) -> list[Generation]:
        self.requests += requests
        return [Generation(self._text(request), 5, -2.0, -1.0, self.finished) for request in requests]

    def _text(self, request: Request) -> str:
        for tool in request.prompt.tools:
            if request.grammar == tool_grammar(HERMES, tool, HERMES.reasons(tool)):
                return self.by_tool.get(tool.name, call(tool.name, city="Nowhere"))
        return self.greedy

    def score(
        self, prompts: Sequence[Prompt], continuations: Sequence[Sequence[str]], adapters: Sequence[int | None] = ()
    ) -> list[list[float]]:
        self.scored.append(adapters)
        return [
            [next((value for name, value in self.logprobs.items() if name in text), -9.0) for text in texts]
            for texts in continuations
        ]


def answer(chooser: Chooser, config: AnswerConfig = RERANK, item: Input = RAIN, **options: Any) -> Answer:
    model: Model = chooser  # type: ignore[assignment]
    [only] = generate_answers(model, [item], config, **options)
    return only


GOOD = {"find_hotel": call("find_hotel", city="Oslo"), "call_taxi": call("call_taxi", city="Oslo")}
INVENTED = call("get_weather", city="Rome")


def test_an_ungrounded_answer_gives_way_to_the_likeliest_grounded_one() -> None:
    assert answer(Chooser(INVENTED, GOOD, {"find_hotel": -3, "call_taxi": -2})).text == GOOD["call_taxi"]
    assert answer(Chooser(INVENTED, GOOD, {"find_hotel": -1, "call_taxi": -2})).text == GOOD["find_hotel"]
    ungrounded = {**GOOD, "find_hotel": call("find_hotel", city="Lima")}
    assert answer(Chooser(INVENTED, ungrounded, {"find_hotel": -1, "call_taxi": -2})).text == GOOD["call_taxi"]
    greedy = replace(RERANK, strategy="greedy")
    assert answer(Chooser(INVENTED, GOOD), greedy).text == INVENTED, "the control: another strategy"


def test_where_no_call_is_grounded_the_answer_stands() -> None:
    chooser = Chooser(INVENTED)
    assert answer(chooser).text == INVENTED
    assert len(chooser.requests) == 3, "the answer's own tool is not tried again"


@pytest.mark.parametrize(
    ("greedy", "config"),
    [
        (call("get_weather", city="Oslo"), RERANK),
        (call("get_weather", city="Oslo", days=3), RERANK),
        (HERMES.render([ToolCall("get_weather", {"city": "Rome"}), ToolCall("find_hotel", {"city": "Rome"})]), RERANK),
        ("It will rain in Rome.", replace(RERANK, calls="auto")),
        (INVENTED, replace(RERANK, grammar="start: /.*/")),
        (INVENTED, replace(RERANK, decoding="free", calls="auto")),
        (INVENTED, replace(RERANK, tools=("get_weather",))),
    ],
    ids=["grounded", "default", "several", "words", "own-grammar", "free", "one-tool"],
)
def test_every_other_answer_stays_and_costs_nothing(greedy: str, config: AnswerConfig) -> None:
    chooser = Chooser(greedy, GOOD)
    plain = answer(Chooser(greedy, GOOD), replace(config, strategy="greedy"))
    assert answer(chooser, config) == plain
    assert (len(chooser.requests), chooser.scored) == (1, [])


@pytest.mark.parametrize(
    ("greedy", "config"),
    [
        ('<tool_call>\n{"name": "get_wea', RERANK),
        ("It will rain in Rome.", RERANK),
        (INVENTED, RERANK),
    ],
    ids=["unreadable", "no-call-where-one-is-demanded", "invented"],
)
def test_control_these_do_give_way(greedy: str, config: AnswerConfig) -> None:
    assert answer(Chooser(greedy, GOOD, {"find_hotel": -1}), config).text == GOOD["find_hotel"]


def test_words_that_were_cut_off_are_no_call_to_rerank() -> None:
    chooser = Chooser("It will rain and", finished=False)
    assert answer(chooser, replace(RERANK, calls="auto")).finish_reason == "length"
    assert len(chooser.requests) == 1
    chooser = Chooser('<tool_call>\n{"name": "get_wea', finished=False)
    answer(chooser, replace(RERANK, calls="auto"))
    assert len(chooser.requests) == 4, "the control: a call that was cut off"


def test_only_tools_that_may_be_called_are_tried() -> None:
    likely = {"get_weather": -9.0, "find_hotel": -8.5, "call_taxi": -1.0}
    limited = replace(RERANK, tools=("find_hotel", "get_weather"))
    chooser = Chooser(INVENTED, GOOD, likely)
    assert answer(chooser, limited).text == GOOD["find_hotel"], "the likeliest of those that may be called"
    assert len(chooser.requests) == 2 and chooser.requests[0].prompt.tools == RAIN.tools, "the model reads all"
    assert answer(Chooser(INVENTED, GOOD, likely)).text == GOOD["call_taxi"], "the control: all may be called"


@pytest.mark.parametrize("bad", ["words", call("call_taxi", city="Oslo"), call("find_hotel", city="Oslo", days="3")])
def test_a_model_that_ignores_the_grammar_answers_nothing(bad: str) -> None:
    assert answer(Chooser(INVENTED, {"find_hotel": bad})).text == INVENTED


def test_a_result_of_a_tool_states_values() -> None:
    result = (Message("assistant", "", (ToolCall("locate", {}),)), Message("tool", json.dumps({"city": "Rome"})))
    chooser = Chooser(INVENTED, GOOD)
    assert answer(chooser, item=replace(RAIN, messages=(*RAIN.messages, *result))).text == INVENTED
    assert answer(chooser).text != INVENTED, "the control: without the result"


def test_only_the_likeliest_names_are_tried() -> None:
    tools = tuple(Tool(f"tool_{letter}", "", SCHEMA) for letter in "abcdefgh")
    logprobs = {tool.name: -0.1 * i for i, tool in enumerate(tools)}
    chooser = Chooser(call("tool_b", city="Rome"), {}, logprobs)
    answer(chooser, item=replace(RAIN, tools=tools))
    grammars = [tool_grammar(HERMES, tool, HERMES.reasons(tool)) for tool in tools if tool.name != "tool_b"]
    assert [request.grammar for request in chooser.requests[1:]] == grammars[:RERANKED_TOOLS]


def test_an_unlikely_tool_is_not_tried_however_well_its_call_is_grounded() -> None:
    names = {"get_weather": -1.0, "find_hotel": -1.0 - NAME_MARGIN - 0.1, "call_taxi": -9.0}
    chooser = Chooser(INVENTED, GOOD, names)
    assert answer(chooser).text == INVENTED
    assert len(chooser.requests) == 1, "nothing is written for it"
    names["find_hotel"] += 0.2
    assert answer(Chooser(INVENTED, GOOD, names)).text == GOOD["find_hotel"], "the control: within the margin"


def test_the_adapter_writes_and_scores_its_own_alternatives() -> None:
    chooser = Chooser(INVENTED, GOOD)
    answer(chooser, adapters=[2])
    assert ([request.adapter for request in chooser.requests], chooser.scored) == ([2, 2, 2], [[2]])
    base = Chooser(INVENTED, GOOD)
    answer(base)
    assert ([request.adapter for request in base.requests], base.scored) == ([None] * 3, [()])
    assert [replace(request, adapter=None, with_base=False) for request in chooser.requests] == base.requests


def test_demonstrations_and_a_first_answer_state_nothing() -> None:
    shown = replace(RAIN, messages=(Message("user", "rain in Rome?"), *RAIN.messages))
    chooser = Chooser(INVENTED, GOOD)
    assert answer(chooser, item=shown, base=([RAIN], [])).text != INVENTED
    assert answer(chooser, item=shown).text == INVENTED, "the control: as the input's own words they do"


def test_the_base_is_not_asked_twice_by_the_method() -> None:
    first = answer(Chooser(call("get_weather", city="Oslo")), replace(RERANK, strategy="greedy"))
    chooser = Chooser("never asked", GOOD)
    config = replace(RERANK, strategy="greedy")
    assert answer(chooser, config, strategy="rerank", base=([RAIN], [first])) == first
    assert chooser.requests == []
    assert answer(chooser, config, adapters=[0], strategy="rerank", base=([RAIN], [first])) != first, "the control"


OMIT = AnswerConfig(omit_unstated=True)


def test_unstated_optional_arguments_are_left_out_of_the_calls_and_not_of_the_text() -> None:
    text = call("get_weather", city="Rome", day="Friday", days=3)
    left = answer(Chooser(text), OMIT)
    assert (left.text, left.calls) == (text, (ToolCall("get_weather", {"city": "Rome", "days": 3}),))
    assert answer(Chooser(text), OMIT, adapters=[1]) == left, "base and adapted alike"
    [written] = answer(Chooser(text), replace(OMIT, omit_unstated=False)).calls
    assert written.arguments["day"] == "Friday", "the control"


def test_a_number_that_stands_there_in_words_is_kept() -> None:
    text = call("get_weather", city="Oslo", days=4)
    in_words, without = (replace(RAIN, messages=(Message("user", words),)) for words in ("Oslo, four days?", "Oslo?"))
    assert answer(Chooser(text), OMIT, in_words).calls[0].arguments == {"city": "Oslo", "days": 4}
    assert answer(Chooser(text), OMIT, without).calls[0].arguments == {"city": "Oslo"}, "the control"


def test_what_is_left_out_counts_before_reranking() -> None:
    text = call("get_weather", city="Oslo", day="Friday")
    assert answer(Chooser(text, GOOD), replace(RERANK, omit_unstated=True)).text == text
    assert answer(Chooser(text, GOOD), RERANK).text != text, "the control: an unstated optional value"
    kept = {"find_hotel": call("find_hotel", city="Oslo", day="Friday")}
    [found] = answer(Chooser(INVENTED, kept), replace(RERANK, omit_unstated=True)).calls
    assert found == ToolCall("find_hotel", {"city": "Oslo"})
    assert answer(Chooser(INVENTED, kept), RERANK).text == INVENTED, "the control"


def test_samples_leave_out_the_same() -> None:
    text = call("get_weather", city="Oslo", day="Friday")
    voted = answer(Chooser(text), replace(OMIT, strategy="vote", samples=2), seeds=[0])
    assert [list(sample.calls[0].arguments) for sample in voted.samples] == [["city"], ["city"]]


def test_rerank_without_a_grammar_is_refused() -> None:
    free = AnswerConfig(decoding="free")
    for config in (
        LoopConfig(answer=replace(free, strategy="rerank")),
        LoopConfig(answer=free, adaptation=replace(LoopConfig().adaptation, method="rerank")),
    ):
        with pytest.raises(ConfigError, match=r"use answer\.decoding constrained"):
            check(config)
    check(LoopConfig(answer=free))
    check(LoopConfig(answer=AnswerConfig(strategy="rerank")))
