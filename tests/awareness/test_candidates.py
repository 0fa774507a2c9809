"""Do the right actions compete, in order, scored as the model would write them?"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import pytest

import ttsi
from ttsi.awareness import estimate
from ttsi.awareness.candidates import score_candidates
from ttsi.awareness.selection import is_selected
from ttsi.chat.calls import FORMATS, Format
from ttsi.chat.marked import suffixes
from ttsi.config import AwarenessConfig
from ttsi.errors import ConfigError
from ttsi.models import Generation, Model, Request
from ttsi.types import NO_TOOL, Answer, Awareness, Input, Message, Prompt, SampledAnswer, Tool, ToolCall

CITY = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
TOOLS = (Tool("get_weather", "get the weather of a city", CITY), Tool("find_hotel", "find a hotel in a city", CITY))
RAIN = Input("rain", (Message("user", "rain in Oslo?"),), TOOLS)
BED = Input("bed", (Message("user", "a bed in Lima"),), TOOLS[1:])
SAID = Answer("x", (), logprob=-2.0, min_logprob=-1.5, tokens=4)
NAMES = AwarenessConfig(candidates="names")
CALLS = AwarenessConfig(candidates="calls")


@dataclass
class Fake:
    """Scores by a rule and remembers what it was asked."""

    rule: Callable[[str], float]
    format: Format = FORMATS["hermes"]
    requests: list[Request] = field(default_factory=list)
    texts: list[Sequence[str]] = field(default_factory=list)

    def score(self, prompts: Sequence[Prompt], continuations: Sequence[Sequence[str]]) -> list[list[float]]:
        self.texts += continuations
        return [[self.rule(text) for text in texts] for texts in continuations]

    def generate(self, requests: Sequence[Request]) -> list[Generation]:
        self.requests += requests
        grammars = [request.grammar or "" for request in requests]
        return [Generation(f"call {i}", 3, self.rule(text), -0.1, True) for i, text in enumerate(grammars)]


def hotel_is_better(text: str) -> float:
    return -0.5 if "find_hotel" in text else -1.5 if "get_weather" in text else -4.0


def judge(model: Fake, inputs: Sequence[Input], config: AwarenessConfig) -> list[Awareness]:
    """`estimate`, for a fake that has only what awareness may use."""
    spoken: Model = model  # type: ignore[assignment]
    return estimate(spoken, inputs, [SAID] * len(inputs), config)


@pytest.mark.parametrize("kind", ["names", "calls"])
def test_one_awareness_per_input_in_order(kind: str) -> None:
    config = replace(NAMES, candidates=kind)  # type: ignore[arg-type]
    model = Fake(hotel_is_better)
    awareness = judge(model, [RAIN, BED, RAIN], config)
    assert [{c.action for c in k.candidates} for k in awareness] == [
        {"get_weather", "find_hotel"},
        {"find_hotel"},
        {"get_weather", "find_hotel"},
    ]
    assert awareness[0] == awareness[2] or kind == "calls"
    assert judge(model, [], config) == []


def test_names_are_scored_up_to_the_closing_quote() -> None:
    model = Fake(hotel_is_better)
    judge(model, [RAIN], NAMES)
    [texts] = model.texts
    assert texts == ['<tool_call>\n{"name": "get_weather"', '<tool_call>\n{"name": "find_hotel"']


def test_whole_calls_are_written_under_a_grammar_of_one_tool_each() -> None:
    model = Fake(hotel_is_better)
    [awareness] = judge(model, [RAIN], CALLS)
    assert [r.prompt for r in model.requests] == [Prompt(RAIN.messages, RAIN.tools)] * 2
    for request, mine, other in zip(model.requests, TOOLS, reversed(TOOLS), strict=True):
        assert request.grammar is not None
        assert mine.name in request.grammar
        assert other.name not in request.grammar
        assert (request.temperature, request.adapter) == (0.0, None)
    assert [(c.action, c.text, c.logprob) for c in awareness.candidates] == [
        ("find_hotel", "call 1", -0.5),
        ("get_weather", "call 0", -1.5),
    ]


def test_a_reasoning_family_may_use_any_reason_it_knows() -> None:
    model = Fake(hotel_is_better, FORMATS["marked"])
    judge(model, [BED], CALLS)
    grammar = model.requests[0].grammar or ""
    assert all(reason.strip() in grammar for reason in suffixes(TOOLS[1].description))
    plain = Fake(hotel_is_better)
    judge(plain, [BED], CALLS)
    assert "a hotel in a city" not in (plain.requests[0].grammar or "")


def test_the_name_of_a_reasoning_family_is_summed_over_its_reasons() -> None:
    model = Fake(hotel_is_better, FORMATS["marked"])
    [awareness] = judge(model, [BED], replace(NAMES, no_tool=False))
    [texts] = model.texts
    assert texts == [f"{reason}<|call|> find_hotel<|args|>" for reason in suffixes(TOOLS[1].description)]
    single = hotel_is_better(texts[0])
    [candidate] = awareness.candidates
    assert candidate.logprob == pytest.approx(single + math.log(len(texts)))
    assert candidate.logprob > single  # control: one reason alone is less likely than any of several


@pytest.mark.parametrize("kind", ["names", "calls"])
@pytest.mark.parametrize(
    ("family", "wanted", "competes"), [("marked", True, True), ("marked", False, False), ("hermes", True, False)]
)
def test_no_tool_competes_last_where_the_family_writes_it(kind: str, family: str, wanted: bool, competes: bool) -> None:
    config = AwarenessConfig(candidates=kind, no_tool=wanted)  # type: ignore[arg-type]
    spoken: Model = Fake(hotel_is_better, FORMATS[family])  # type: ignore[assignment]
    [actions] = score_candidates(spoken, [RAIN], config)
    assert [action for action, _, _ in actions][2:] == ([NO_TOOL] if competes else [])


def test_candidates_are_ranked_with_their_shares() -> None:
    [awareness] = judge(Fake(hotel_is_better), [RAIN], NAMES)
    first, second = awareness.candidates
    assert (first.action, second.action) == ("find_hotel", "get_weather")
    assert first.probability == pytest.approx(1 / (1 + math.exp(-1.0)))
    assert first.probability + second.probability == pytest.approx(1.0)
    assert awareness.value == pytest.approx(math.tanh(0.5))


@pytest.mark.parametrize(("tau", "unsure"), [(0.95, True), (0.2, False)])
def test_the_gate_is_the_deciding_measure_below_tau(tau: float, unsure: bool) -> None:
    [awareness] = judge(Fake(hotel_is_better), [RAIN], replace(NAMES, tau=tau))
    assert (awareness.tau, awareness.measure, awareness.unsure) == (tau, "margin", unsure)
    [by_answer] = judge(Fake(hotel_is_better), [RAIN], replace(NAMES, measure="answer_min", tau=-1.0))
    assert (by_answer.value, by_answer.unsure) == (-1.5, True)
    assert by_answer.measures == awareness.measures


@pytest.mark.parametrize(
    ("gate", "unsure_passes", "sure_passes"), [("unsure", True, False), ("sure", False, True), ("all", True, True)]
)
def test_who_passes_the_gate(gate: str, unsure_passes: bool, sure_passes: bool) -> None:
    unsure = Awareness((), "margin", 0.1, 0.95, unsure=True)
    assert is_selected(unsure, gate) is unsure_passes
    assert is_selected(replace(unsure, unsure=False), gate) is sure_passes


@pytest.mark.parametrize("measure", ["margin", "top1", "entropy", "grounded_margin", "vote_share"])
@pytest.mark.parametrize(("broken", "unsure"), [(3, True), (0, False)])  # the second is the control
def test_an_input_of_which_no_sample_can_be_read_is_unsure(measure: str, broken: int, unsure: bool) -> None:
    call = (ToolCall("find_hotel", {"city": "Lima"}),)
    garbled = SampledAnswer("{", (), "broken JSON", -0.1)
    samples = (garbled,) * broken + (SampledAnswer("x", call, None, -0.1),) * (3 - broken)
    spoken: Model = Fake(hotel_is_better)  # type: ignore[assignment]
    config = AwarenessConfig(candidates="samples", measure=measure, tau=0.1)
    [judged] = estimate(spoken, [BED], [replace(SAID, samples=samples)], config)
    assert (judged.unsure, judged.value) == (unsure, 0.0 if unsure else 1.0)


def test_an_unknown_measure_is_named_before_anything_is_scored() -> None:
    model = Fake(hotel_is_better)
    with pytest.raises(ConfigError, match="did you mean 'margin'"):
        judge(model, [RAIN], replace(NAMES, measure="margn"))
    assert not model.texts


def unstated_margin(answer: Answer, request: str = "Will it rain in Oslo?") -> float:
    """How much the deciding value for one request is below the margin, given the base's answer to it."""
    item = Input("1", (Message("user", request),), TOOLS[:1])
    config = AwarenessConfig(measure="grounded_margin")
    [awareness] = estimate(ttsi.load_model("scripted:demo"), [item], [answer], config)
    return awareness.value - awareness.measures["margin"]


def test_the_grounded_margin_counts_the_values_that_the_conversation_does_not_state() -> None:
    assert unstated_margin(Answer("", (ToolCall("get_weather", {"city": "Oslo"}),))) == 0
    assert unstated_margin(Answer("", (ToolCall("get_weather", {"city": "Rome"}),))) == -1
    assert unstated_margin(Answer("", (), error="cut off")) == -1
    assert unstated_margin(Answer("No tool fits.", ())) == 0, "the control: words invent nothing"


def test_the_grounded_margin_counts_the_literals_that_the_call_leaves_out() -> None:
    nowhere, oslo = (Answer("", (ToolCall("get_weather", arguments),)) for arguments in ({}, {"city": "Oslo"}))
    assert unstated_margin(nowhere, "Will it rain in 'Oslo'?") == -1
    assert unstated_margin(oslo, "Will it rain in 'Oslo'?") == 0, "the control"
    assert unstated_margin(oslo, "Will it rain in 'Oslo' at 5?") == 0, "no argument is left for it"
