"""Is a call that leaves out literals of its request filled from the same tool's whole call, and no other answer?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from ttsi.answer import generate_answers
from ttsi.answer.omissions import MOST_ARGUMENTS, TOKENS_PER_ARGUMENT
from ttsi.chat.calls import FORMATS
from ttsi.chat.grammar import answer_grammar, tool_grammar
from ttsi.config import AnswerConfig
from ttsi.models import Generation, Model, Request
from ttsi.types import Answer, Input, Message, Tool, ToolCall

HERMES = FORMATS["hermes"]
GRADE = Tool(
    "grade",
    "",
    {
        "type": "object",
        "properties": {
            "scores": {"type": "array", "items": {"type": "integer"}},
            "student": {"type": "string"},
            "weight": {"type": "number"},
            "strict": {"type": "boolean"},
        },
    },
)
ASKED = Input("1", (Message("user", "Grade Ann: 90 and 85, each at 0.5."),), (GRADE, Tool("other", "", {})))
FILL = AnswerConfig(fill_omitted=True, calls="required")


def text(name: str = "grade", **arguments: Any) -> str:
    return HERMES.render([ToolCall(name, arguments)])


@dataclass
class Writer:
    """Writes one text first, another one where all arguments of the tool are required, and keeps the requests."""

    first: str
    whole: str
    format: Any = HERMES
    requests: list[Request] = field(default_factory=list)

    def generate(self, requests: Sequence[Request]) -> list[Generation]:
        self.requests += requests
        return [Generation(self._text(request), 5, -2.0, -1.0, True) for request in requests]

    def _text(self, request: Request) -> str:
        properties = dict(GRADE.parameters["properties"])
        whole = replace(GRADE, parameters={**GRADE.parameters, "required": list(properties)})
        return self.whole if request.grammar == tool_grammar(HERMES, whole, HERMES.reasons(whole)) else self.first


def answered(writer: Writer, config: AnswerConfig = FILL, item: Input = ASKED, **options: Any) -> Answer:
    model: Model = writer  # type: ignore[assignment]
    [only] = generate_answers(model, [item], config, **options)
    return only


WHOLE = text(scores=[90, 85], student="Ann", weight=0.5, strict=True)


def test_what_the_request_states_is_taken_over_and_nothing_else() -> None:
    filled = answered(Writer(text(weight=0.5), WHOLE))
    assert filled.calls == (ToolCall("grade", {"weight": 0.5, "scores": [90, 85], "student": "Ann"}),)
    assert filled.text == text(weight=0.5), "the text stays what the model wrote"
    unfilled = answered(Writer(text(weight=0.5), WHOLE), replace(FILL, fill_omitted=False))
    assert unfilled.calls == (ToolCall("grade", {"weight": 0.5}),), "the control"


def test_an_invented_value_gives_way_and_a_stated_one_does_not() -> None:
    whole = text(scores=[90, 85], student="Bob", weight=85.0, strict=True)
    filled = answered(Writer(text(scores=[1, 2], weight=0.5, student="Ann"), whole))
    assert filled.calls[0].arguments == {"scores": [90, 85], "weight": 0.5, "student": "Ann"}


@pytest.mark.parametrize(
    "whole",
    [
        text(scores=[90, 86], student="Bob", weight=0.5, strict=False),
        text(scores=[], student="Ann", weight=0.5, strict=False),
        text("other"),
        "words",
    ],
    ids=["partly-invented", "still-left-out", "another-tool", "no-call"],
)
def test_where_nothing_better_is_written_the_answer_stands(whole: str) -> None:
    writer = Writer(text(weight=0.5), whole)
    assert answered(writer).calls == (ToolCall("grade", {"weight": 0.5}),)
    assert len(writer.requests) == 2, "the control: it was written again"


def test_an_illegal_filling_is_not_taken() -> None:
    limited = {**GRADE.parameters, "maxProperties": 1}
    item = replace(ASKED, tools=(replace(GRADE, parameters=limited),))

    class Same(Writer):
        def _text(self, request: Request) -> str:
            return self.first if len(self.requests) == 1 else self.whole

    assert answered(Same(text(weight=0.5), WHOLE), item=item).calls[0].arguments == {"weight": 0.5}
    assert len(answered(Same(text(weight=0.5), WHOLE)).calls[0].arguments) == 3, "the control"


def test_a_call_of_the_only_tool_that_may_be_called_is_filled() -> None:
    forced = replace(FILL, calls="one", tools=("grade",))
    writer = Writer(text(weight=0.5), WHOLE)
    assert len(answered(writer, forced).calls[0].arguments) == 3
    assert writer.requests[0].grammar == answer_grammar(HERMES, ASKED.tools[:1], "one")
    assert writer.requests[0].prompt.tools == ASKED.tools, "the model reads all tools"
    free = Writer(text(weight=0.5), WHOLE)
    answered(free, replace(FILL, calls="one"))
    assert free.requests[0].grammar == answer_grammar(HERMES, ASKED.tools, "one"), "control: any may be called"
    with pytest.raises(ValueError, match="none of the tools that may be called is on offer: grades"):
        answered(Writer(text(), WHOLE), replace(forced, tools=("grades",)))


@pytest.mark.parametrize(
    ("first", "config"),
    [
        (WHOLE, FILL),
        (HERMES.render([ToolCall("grade", {"weight": 0.5}), ToolCall("grade", {"student": "Ann"})]), FILL),
        ("words", replace(FILL, calls="auto")),
        (text("other"), FILL),
        (text(weight=0.5), replace(FILL, grammar="start: /.*/")),
        (text(weight=0.5), replace(FILL, decoding="free", calls="auto")),
    ],
    ids=["nothing-left-out", "several", "words", "no-arguments", "own-grammar", "free"],
)
def test_every_other_answer_stays_and_costs_nothing(first: str, config: AnswerConfig) -> None:
    writer = Writer(first, WHOLE)
    assert answered(writer, config) == answered(Writer(first, WHOLE), replace(config, fill_omitted=False))
    assert len(writer.requests) == 1
    assert len(answered(Writer(text(weight=0.5), WHOLE), FILL).calls[0].arguments) == 3, "the control"


def test_a_tool_of_many_arguments_is_not_written_again() -> None:
    many = {f"a{at}": {"type": "integer"} for at in range(MOST_ARGUMENTS - 3)}
    wide = replace(GRADE, parameters={**GRADE.parameters, "properties": {**GRADE.parameters["properties"], **many}})
    writer = Writer(text(weight=0.5), WHOLE)
    answered(writer, item=replace(ASKED, tools=(wide,)))
    assert len(writer.requests) == 1


@pytest.mark.parametrize(("tokens", "most"), [(5, 5 + 3 * TOKENS_PER_ARGUMENT), (0, 999), (998, 999)])
def test_a_call_that_runs_on_costs_no_more_than_its_arguments(tokens: int, most: int) -> None:
    class Counting(Writer):
        def generate(self, requests: Sequence[Request]) -> list[Generation]:
            return [replace(generation, tokens=tokens) for generation in super().generate(requests)]

    writer = Counting(text(weight=0.5), WHOLE)
    answered(writer, replace(FILL, max_tokens=999))
    assert [request.max_tokens for request in writer.requests] == [999, most]


def test_the_adapter_fills_its_own_answer() -> None:
    writer = Writer(text(weight=0.5), WHOLE)
    answered(writer, adapters=[3])
    assert [request.adapter for request in writer.requests] == [3, 3]


def test_the_winner_of_a_vote_is_filled_and_its_samples_are_not() -> None:
    vote = replace(FILL, strategy="vote", samples=2)
    won = answered(Writer(text(weight=0.5), WHOLE), vote, seeds=[0])
    assert won.calls[0].arguments == {"weight": 0.5, "scores": [90, 85], "student": "Ann"}
    assert [dict(sample.calls[0].arguments) for sample in won.samples] == [{"weight": 0.5}] * 2


def test_demonstrations_state_nothing() -> None:
    shown = replace(
        ASKED, messages=(Message("user", "Grade Bob: 1 and 2."), Message("assistant", "ok"), *ASKED.messages)
    )
    whole = text(scores=[1, 2], student="Bob", weight=0.5, strict=True)
    assert answered(Writer(text(weight=0.5), whole), item=shown, base=([ASKED], [])).calls[0].arguments == {
        "weight": 0.5
    }


def test_arguments_behind_a_reference_are_filled() -> None:
    behind = {"type": "object", "$ref": "#/$defs/Grade", "$defs": {"Grade": GRADE.parameters}}
    item = replace(ASKED, tools=(replace(GRADE, parameters=behind),))

    class Whole(Writer):
        def _text(self, request: Request) -> str:
            names = list(GRADE.parameters["properties"])
            whole = replace(GRADE, parameters={**behind, "required": names})
            return self.whole if request.grammar == tool_grammar(HERMES, whole, HERMES.reasons(whole)) else self.first

    assert answered(Whole(text(weight=0.5), WHOLE), item=item).calls[0].arguments == {
        "weight": 0.5,
        "scores": [90, 85],
        "student": "Ann",
    }
    assert len(answered(Whole(text(weight=0.5), "words"), item=item).calls[0].arguments) == 1, "the control"
