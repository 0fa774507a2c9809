"""Do the optional checks refuse what they should, say why, and stay silent when they are off?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest

from ttsi.chat.calls import FORMATS, Format
from ttsi.config import SynthesisConfig
from ttsi.models import Generation, Request
from ttsi.synthesis.example_filters import refusal
from ttsi.synthesis.model_filters import apply_model_filters, worst
from ttsi.types import Example, Input, Message, Prompt, Tool, ToolCall

CITY = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
TOOLS = (Tool("weather", "about the weather", CITY), Tool("hotel", "about a hotel", CITY))
ITEM = Input("1", (Message("system", "be brief"), Message("user", "will it rain today in Oslo or not")), TOOLS)
HERMES = FORMATS["hermes"]


def example(query: str, tool: str = "weather", city: str = "Rome", refused: str | None = None) -> Example:
    return Example(query, (ToolCall(tool, {"city": city}),), "", refused)


@dataclass
class Learner:
    """Answers by rule, and likes short requests."""

    says: str = ""
    format: Format = HERMES
    requests: list[Request] = field(default_factory=list)
    scored: int = 0

    def generate(self, requests: Sequence[Request]) -> list[Generation]:
        self.requests += requests
        return [Generation(self.says, 3, -1.0, -0.5, True) for _ in requests]

    def score(self, prompts: Sequence[Prompt], continuations: Sequence[Sequence[str]]) -> list[list[float]]:
        self.scored += len(prompts)
        return [
            [-float(len(prompt.messages[-1].content))] * len(texts)
            for prompt, texts in zip(prompts, continuations, strict=True)
        ]


def reasons(learner: Learner, *examples: Example, **settings: float) -> list[str | None]:
    [filtered] = apply_model_filters(learner, [ITEM], [list(examples)], SynthesisConfig(**settings))  # type: ignore[arg-type]
    assert [one.query for one in filtered] == [one.query for one in examples], "nothing is lost, it is refused"
    return [one.refused for one in filtered]


def call(tool: str, city: str) -> str:
    return HERMES.render([ToolCall(tool, {"city": city})])


@pytest.mark.parametrize(
    ("says", "reason"),
    [
        (call("weather", "Rome"), None),
        (call("weather", "Lima"), "round trip: the model calls weather with other arguments"),
        (call("hotel", "Rome"), "round trip: the model calls hotel"),
        ("it depends", "round trip: the model calls no tool"),
        ("<tool_call>{", "round trip: the model's own answer cannot be read"),
    ],
)
def test_the_round_trip_keeps_what_the_model_answers_alike(says: str, reason: str | None) -> None:
    learner = Learner(says)
    refused = example("b", refused="schema: no")
    assert reasons(learner, example("a"), refused, round_trip=True) == [reason, "schema: no"]
    [request] = learner.requests
    assert [message.content for message in request.prompt.messages] == ["be brief", "a"]
    assert request.temperature == 0 and request.adapter is None


def test_trimming_refuses_the_least_likely_of_each_input() -> None:
    learner = Learner()
    filtered = reasons(
        learner, example("aaaa"), example("a"), example("aaa", refused="x"), example("aa"), drop_worst=0.4
    )
    assert filtered == ["loss: among the 40% that the model finds least likely", None, "x", None]
    assert learner.scored == 3
    assert reasons(learner, example("aaaa"), drop_worst=0.9) == [None], "a single example is not trimmed below one"


def test_worst_takes_whole_examples() -> None:
    assert worst([], 0.5) == [] and worst([-1.0, -2.0, -3.0], 0.5) == [2] and worst([-1.0], 1.0) == [0]


def test_off_is_off() -> None:
    learner = Learner("whatever")
    assert reasons(learner, example("a"), example("b")) == [None, None]
    assert (learner.requests, learner.scored) == ([], 0)


@pytest.mark.parametrize(
    ("settings", "query", "reason"),
    [
        ({}, "will it rain today in Rome or not", None),
        ({"seed_overlap": 0.7}, "will it rain today in Rome or not", "copy: the request is nearly the input itself"),
        ({"seed_overlap": 0.7}, "an umbrella for Rome", None),
        ({"overlap": 0.5}, "umbrella for Rome please", "diversity: the request is nearly one that was written before"),
        ({"overlap": 0.5}, "sunny sky above Rome", None),
        ({}, "umbrella for Rome please", None),
    ],
)
def test_near_copies_are_refused_when_asked_for(settings: dict[str, float], query: str, reason: str | None) -> None:
    kept = [example("an umbrella for Rome please")]
    config = SynthesisConfig(unambiguous=False, **settings)  # type: ignore[arg-type]
    assert refusal(example(query), ITEM, kept, config) == reason
