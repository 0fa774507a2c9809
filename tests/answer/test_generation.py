"""Is an answer decoded as asked, the same for the base and for every adapter?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import pytest

from ttsi.answer import generate_answers
from ttsi.chat.calls import FORMATS, Format
from ttsi.config import AnswerConfig
from ttsi.models import Generation, Model, Request
from ttsi.types import Answer, Input, Message, Tool, ToolCall

CITY = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
TOOL = Tool("get_weather", "get the weather of a city", CITY)
CALL = ToolCall("get_weather", {"city": "Oslo"})
RAIN = Input("rain", (Message("user", "rain in Oslo?"),), (TOOL,))
BED = Input("bed", (Message("user", "a bed in Lima"),), (TOOL,))


@dataclass
class Fake:
    """Says the same to everybody and remembers what it was asked."""

    generation: Generation
    format: Format = FORMATS["hermes"]
    requests: list[Request] = field(default_factory=list)

    def generate(self, requests: Sequence[Request]) -> list[Generation]:
        self.requests += requests
        return [replace(self.generation, tokens=len(r.prompt.messages[-1].content)) for r in requests]


GOOD = Generation(FORMATS["hermes"].render([CALL]), 9, -1.25, -0.75, True)


def ask(
    model: Fake, inputs: Sequence[Input], config: AnswerConfig, adapters: Sequence[int | None] | None = None
) -> list[Answer]:
    """`reply`, for a fake that has only what answering may use."""
    spoken: Model = model  # type: ignore[assignment]
    return generate_answers(spoken, inputs, config, adapters)


def test_one_answer_per_input_in_order() -> None:
    answers = ask(Fake(GOOD), [RAIN, BED, RAIN], AnswerConfig())
    assert [answer.tokens for answer in answers] == [13, 13, 13]
    assert [answer.calls for answer in answers] == [(CALL,)] * 3
    assert ask(Fake(GOOD), [], AnswerConfig()) == []


def test_an_answer_keeps_the_evidence() -> None:
    [answer] = ask(Fake(GOOD), [RAIN], AnswerConfig())
    assert (answer.text, answer.logprob, answer.min_logprob) == (GOOD.text, -1.25, -0.75)
    assert (answer.error, answer.finish_reason) == (None, "stop")


def test_base_and_adapted_are_asked_alike() -> None:
    model = Fake(GOOD)
    ask(model, [RAIN], AnswerConfig())
    ask(model, [RAIN], AnswerConfig(), [3])
    base, adapted = model.requests
    assert (base.adapter, adapted.adapter) == (None, 3)
    assert (base.with_base, adapted.with_base) == (False, True)
    assert replace(adapted, adapter=None, with_base=False) == base


def test_control_another_way_of_decoding_would_be_seen() -> None:
    model = Fake(GOOD)
    ask(model, [RAIN], AnswerConfig("constrained"))
    ask(model, [RAIN], AnswerConfig("free"), [3])
    base, adapted = model.requests
    assert replace(adapted, adapter=None) != base


@pytest.mark.parametrize(("decoding", "masked"), [("free", False), ("constrained", True)])
def test_only_constrained_decoding_has_a_grammar(decoding: str, masked: bool) -> None:
    model = Fake(GOOD)
    ask(model, [RAIN], AnswerConfig(decoding, max_tokens=7))  # type: ignore[arg-type]
    [request] = model.requests
    assert (request.grammar is not None) is masked
    assert (request.max_tokens, request.temperature) == (7, 0.0)


def test_without_tools_there_is_nothing_to_constrain() -> None:
    model = Fake(GOOD)
    ask(model, [replace(RAIN, tools=())], AnswerConfig())
    assert model.requests[0].grammar is None


def test_every_input_has_its_own_adapter_or_none() -> None:
    model = Fake(GOOD)
    ask(model, [RAIN, BED, RAIN], AnswerConfig(), [1, None, 0])
    assert [request.adapter for request in model.requests] == [1, None, 0]
    with pytest.raises(ValueError, match="shorter"):
        ask(model, [RAIN, BED], AnswerConfig(), [1])


def test_an_answer_that_was_cut_is_no_call() -> None:
    [answer] = ask(Fake(replace(GOOD, finished=False)), [RAIN], AnswerConfig())
    assert answer.calls == ()
    assert (answer.error, answer.finish_reason) == ("cut off at max_tokens", "length")


def test_an_answer_that_cannot_be_read_says_why_and_is_not_mended() -> None:
    broken = replace(GOOD, text=GOOD.text.replace('"Oslo"', '"Oslo'))
    [answer] = ask(Fake(broken), [RAIN], AnswerConfig())
    assert answer.calls == ()
    assert answer.error is not None
    assert answer.error.startswith("broken JSON")


def test_words_alone_are_no_error() -> None:
    [answer] = ask(Fake(replace(GOOD, text="It will rain.")), [RAIN], AnswerConfig())
    assert (answer.calls, answer.error) == ((), None)
