"""Is what the writer writes refused for good reasons, replaced, and written without the answer?"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from itertools import count
from pathlib import Path

import pytest

from ttsi.awareness.measures import softmax
from ttsi.chat.calls import FORMATS, Format
from ttsi.chat.grounding import leaves, normalise
from ttsi.config import SynthesisConfig
from ttsi.errors import ConfigError
from ttsi.models import Generation, Model, Request
from ttsi.models.scripted import DemoModel
from ttsi.synthesis import check_synthesis, synthesise
from ttsi.synthesis.example_filters import groundedness, refusal
from ttsi.synthesis.prompts import LEAD, writing_prompt
from ttsi.types import NO_TOOL, Awareness, Candidate, Example, Input, Message, Tool, ToolCall

CITY = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
TOOLS = (Tool("get_weather", "get the weather of a city", CITY), Tool("find_hotel", "find a hotel in a city", CITY))
RAIN = Input("rain", (Message("system", "be brief"), Message("user", "rain in Oslo?")), TOOLS)
BED = Input("bed", (Message("user", "a bed in Lima"),), TOOLS)
HERMES = FORMATS["hermes"]
TWO = SynthesisConfig(k=2)


def awareness_of(*actions: str) -> Awareness:
    """Candidates in this order, likeliest first."""
    shares = softmax([-float(i) for i in range(len(actions))])
    ranked = tuple(Candidate(a, a, 0.0, share) for a, share in zip(actions, shares, strict=True))
    return Awareness(ranked, "margin", 0.1, 0.95, True)


UNSURE = awareness_of("find_hotel", NO_TOOL, "get_weather")
CITIES = ("Rome", "Kyoto", "Cairo", "Quito", "Delhi", "Paris", "Porto", "Leeds", "Turin", "Perth", "Ghent", "Lyon")


def good(request: Request, number: int) -> str:
    """A different grounded example each time, behind whatever is written already."""
    city = CITIES[number % len(CITIES)]
    start = request.prompt.prefix or '<tool_call>\n{"name": "get_weather"'
    tail = f', "arguments": {{"city": "{city}"}}}}\n</tool_call>{LEAD}something about {city}, number {number}'
    return (start + tail).removeprefix(request.prompt.prefix)


@dataclass
class Writer:
    """Writes by a rule; remembers what it was asked, one list per call of `generate`."""

    rule: Callable[[Request, int], str] = good
    format: Format = HERMES
    finished: bool = True
    rounds: list[Sequence[Request]] = field(default_factory=list)
    _number: count[int] = field(default_factory=count)

    def generate(self, requests: Sequence[Request]) -> list[Generation]:
        self.rounds.append(requests)
        return [Generation(self.rule(r, next(self._number)), 5, -1.0, -0.5, self.finished) for r in requests]


def write(
    writer: Writer | DemoModel, inputs: Sequence[Input], config: SynthesisConfig, ranked: Awareness = UNSURE
) -> list[tuple[Example, ...]]:
    """`synthesise`, for a writer that has only what synthesis may use."""
    spoken: Model = writer  # type: ignore[assignment]
    return synthesise(spoken, inputs, [ranked] * len(inputs), config, [100 * i for i in range(len(inputs))])


def reasons(examples: Sequence[Example]) -> list[str | None]:
    return [example.refused for example in examples]


def test_k_examples_per_input_in_order() -> None:
    writer = Writer()
    rain, bed = write(writer, [RAIN, BED], replace(TWO, k=3))
    assert reasons(rain) == reasons(bed) == [None] * 3
    assert len(writer.rounds) == 1, "nothing was refused, so there is no second try"
    assert [example.query[-1] for example in (*rain, *bed)] == list("012345")
    assert write(Writer(), [], TWO) == []


@pytest.mark.parametrize(
    ("tools", "called"),
    [
        ("round-robin", ["find_hotel", "get_weather", "find_hotel"]),
        ("likely", ["find_hotel"] * 3),
        ("free", ["get_weather"] * 3),
    ],
)
def test_which_tool_an_example_calls(tools: str, called: list[str]) -> None:
    [examples] = write(Writer(), [RAIN], SynthesisConfig(k=3, tools=tools))  # type: ignore[arg-type]
    assert [example.calls[0].name for example in examples] == called


def test_without_a_ranking_the_tools_take_turns_as_listed() -> None:
    [examples] = write(Writer(), [RAIN], TWO, awareness_of(NO_TOOL))
    assert [example.calls[0].name for example in examples] == ["get_weather", "find_hotel"]


def after_the_name(arguments: str, text: str) -> Callable[[Request, int], str]:
    return lambda request, number: f', "arguments": {arguments}}}\n</tool_call>{LEAD}{text}'


BAD: list[tuple[str, Callable[[Request, int], str], bool]] = [
    ("grounded: the value of city is not in the request", after_the_name('{"city": "Rome"}', "weather, please"), True),
    ("copy: the request is the input itself", after_the_name('{"city": "Oslo"}', " Rain in Oslo"), True),
    ("schema: ", after_the_name('{"town": "Rome"}', "weather in Rome"), True),
    ("schema: ", after_the_name('{"city": 7}', "weather in 7"), True),
    ("schema: ", after_the_name("{}", "weather"), True),
    ("parse: broken JSON", after_the_name('{"city": "Rome}', "weather in Rome"), True),
    ("parse: no request behind the call", lambda r, n: ', "arguments": {"city": "Rome"}}\n</tool_call>', True),
    ("parse: empty request", after_the_name('{"city": "Rome"}', "  \n "), True),
    ("parse: cut off at max_tokens", after_the_name('{"city": "Rome"}', "weather in Ro"), False),
]


@pytest.mark.parametrize(("reason", "rule", "finished"), BAD, ids=[reason for reason, _, _ in BAD])
def test_what_is_wrong_is_refused_with_the_reason(
    reason: str, rule: Callable[[Request, int], str], finished: bool
) -> None:
    [examples] = write(Writer(rule, finished=finished), [RAIN], SynthesisConfig(k=1, max_rounds=1))
    [example] = examples
    assert example.refused is not None
    assert example.refused.startswith(reason)
    assert example.text, "what was written stays in the record"


def test_a_repetition_is_refused_once_the_first_is_kept() -> None:
    same = after_the_name('{"city": "Rome"}', "weather in Rome")
    [examples] = write(Writer(same), [RAIN], SynthesisConfig(k=2, max_rounds=1, unambiguous=False))
    assert reasons(examples) == [None, "copy: the request was written before"]
    each = write(Writer(same), [RAIN, BED], SynthesisConfig(k=1, max_rounds=1, unambiguous=False))
    assert [reasons(examples) for examples in each] == [[None], [None]], "another input's examples are no repetition"


def test_a_call_where_no_tool_is_called_teaches_nothing() -> None:
    [examples] = write(
        Writer(lambda r, n: f"I cannot.{LEAD}what can you do"), [RAIN], SynthesisConfig(k=1, max_rounds=1, tools="free")
    )
    assert reasons(examples) == ["parse: no call"]


def test_control_unchecked_grounding_keeps_what_was_refused() -> None:
    loose = SynthesisConfig(k=1, max_rounds=1, grounded=False, unambiguous=False)
    [examples] = write(Writer(after_the_name('{"city": "Rome"}', "weather, please")), [RAIN], loose)
    assert reasons(examples) == [None]


def test_the_second_try_replaces_only_what_was_refused() -> None:
    def sometimes_broken(request: Request, number: int) -> str:
        return "nonsense" if number in (1, 4) else good(request, number)

    writer = Writer(sometimes_broken)
    rain, bed = write(writer, [RAIN, BED], SynthesisConfig(k=3, max_rounds=2))
    assert [len(requests) for requests in writer.rounds] == [6, 2]
    assert [reason is None for reason in reasons(rain)] == [True, False, True, True]
    assert [reason is None for reason in reasons(bed)] == [True, False, True, True]


def test_tries_end() -> None:
    writer = Writer(lambda request, number: "nonsense")
    [examples] = write(writer, [RAIN], SynthesisConfig(k=2, max_rounds=3))
    assert [len(requests) for requests in writer.rounds] == [2, 2, 2]
    assert len(examples) == 6
    assert None not in reasons(examples)


def test_every_example_samples_with_its_own_seed() -> None:
    writer = Writer(lambda request, number: "nonsense")
    write(writer, [RAIN, BED], SynthesisConfig(k=4, max_rounds=3))
    seeds = [request.seed for requests in writer.rounds for request in requests]
    assert len(set(seeds)) == len(seeds) == 24


def test_the_writer_sees_the_system_message_the_last_request_and_nothing_else() -> None:
    talk = (*RAIN.messages, Message("assistant", "secret"), Message("user", "and in Rome?"))
    writer = Writer()
    write(writer, [replace(RAIN, messages=talk)], TWO)
    for request in writer.rounds[0]:
        system, turn = request.prompt.messages
        assert system == RAIN.messages[0]
        assert turn.content == writing_prompt("hermes", "call-first").fill("and in Rome?")
        assert "secret" not in turn.content
        assert request.adapter is None
        assert (request.temperature, request.max_tokens) == (TWO.temperature, TWO.max_tokens)


def test_the_grammar_is_the_tools_own_or_absent() -> None:
    writer = Writer()
    write(writer, [RAIN], TWO)
    write(writer, [RAIN], replace(TWO, schema_grammar=False))
    masked, free = writer.rounds
    assert all(request.grammar for request in masked)
    assert [request.grammar for request in free] == [None, None]


def test_query_first_asks_for_the_request_and_then_for_the_call() -> None:
    def rule(request: Request, number: int) -> str:
        return f"weather in {CITIES[number]}\nmore" if request.prompt.prefix else HERMES.render([call(number - 2)])

    writer = Writer(rule)
    [examples] = write(writer, [RAIN], replace(TWO, order="query-first"))
    written, answered = writer.rounds
    assert [request.prompt.prefix for request in written] == ["Request: "] * 2
    assert [request.prompt.messages[-1].content for request in answered] == ["weather in Rome", "weather in Kyoto"]
    assert [request.temperature for request in answered] == [0.0, 0.0]
    assert [(e.query, e.calls, e.refused) for e in examples] == [
        ("weather in Rome", (call(0),), None),
        ("weather in Kyoto", (call(1),), None),
    ]


def call(number: int) -> ToolCall:
    return ToolCall("get_weather", {"city": CITIES[number]})


@pytest.mark.parametrize("order", ["call-first", "query-first"])
def test_the_demo_writes_what_is_kept(order: str) -> None:
    config = SynthesisConfig(k=4, max_rounds=4, order=order)  # type: ignore[arg-type]
    [examples] = write(DemoModel(), [RAIN], config)
    assert reasons(examples).count(None) == 4
    assert [write(DemoModel(), [RAIN], config)] == [[examples]], "the same seeds write the same examples"


@pytest.mark.parametrize("order", ["call-first", "query-first"])
def test_prompts_are_known_by_their_hash(order: str) -> None:
    ours, general = writing_prompt("marked", order), writing_prompt("hermes", order)  # type: ignore[arg-type]
    assert general == writing_prompt("plain", order)  # type: ignore[arg-type]
    assert ours.version() != general.version()
    for prompt in (ours, general):
        assert prompt.text.count("{seed}") == 1
        assert len(prompt.version()) == 12


def grounding(example: Example) -> str | None:
    return groundedness(example, RAIN, [], TWO)


def test_every_value_must_be_stated_but_booleans() -> None:
    arguments = {"a": "New York", "b": [3, {"c": 2.5}], "d": True, "e": None}
    assert list(leaves(arguments)) == [("a", "New York"), ("b", 3), ("c", 2.5)]
    example = Example("to NEW-YORK, 3 of 2.5", (ToolCall("f", arguments),), "")
    assert grounding(example) is None
    assert grounding(replace(example, query="to York, 3 of 2.5")) == "grounded: the value of a is not in the request"
    assert (
        grounding(replace(example, query="to New York, 13 of 2.5")) == "grounded: the value of b is not in the request"
    )


@pytest.mark.parametrize(
    ("value", "query", "stated"),
    [
        (5, "set it to 5 degrees", True),
        (-5, "set it to 5 degrees", False),
        (-5, "set it to -5 degrees", True),
        (5, "set it to -5 degrees", False),
        (20.0, "warm it to 20", True),
        (1500, "pay 1,500 to Ann", True),
        (12, "seat A-12", True),
        (-12, "seat A-12", False),
        (5, "5kg of it", True),
        (5, "see 5.2", False),
        (3, "on 2027-03-01", True),
        (4, "on 2027-03-01", False),
        (3, "between 3-5", True),
        (5, "between 3-5", True),
        (3, "version 3.1.2", False),
        (7, "at seven", True),
        (7, "at six", False),
    ],
)
def test_numbers_are_stated_as_numbers(value: float, query: str, stated: bool) -> None:
    reason = grounding(Example(query, (ToolCall("f", {"a": value}),), ""))
    assert reason == (None if stated else "grounded: the value of a is not in the request")


def test_texts_are_compared_without_case_and_marks() -> None:
    assert normalise("Rain, in Oslo?!") == normalise("rain in  oslo")
    example = Example("RAIN in Oslo!", (ToolCall("get_weather", {"city": "Oslo"}),), "")
    assert refusal(example, RAIN, [], TWO) == "copy: the request is the input itself"
    assert refusal(replace(example, query="rain in Oslo now"), RAIN, [], TWO) is None


def test_a_request_that_sounds_like_another_tool_is_refused() -> None:
    rain = (ToolCall("get_weather", {"city": "Oslo"}),)
    wrong = Example("find a hotel in Oslo", rain, "")
    assert refusal(wrong, RAIN, [], TWO) == "unambiguous: the request sounds like find_hotel"
    assert refusal(replace(wrong, query="get the weather of Oslo"), RAIN, [], TWO) is None
    assert refusal(replace(wrong, query="umbrella, Oslo?"), RAIN, [], TWO) is None  # another way of saying it is kept
    assert refusal(wrong, RAIN, [], replace(TWO, unambiguous=False)) is None  # control


def test_a_filter_of_your_own_refuses_with_its_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "own_filter.py").write_text(
        "def first_only(example, item, kept, config):\n    return 'enough: one is kept' if kept else None\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    config = SynthesisConfig(k=2, max_rounds=1, filter=("own_filter:first_only",))
    [examples] = write(Writer(), [RAIN], config)
    assert reasons(examples) == [None, "enough: one is kept"]
    [plain] = write(Writer(), [RAIN], replace(config, filter=()))
    assert reasons(plain) == [None, None], "control"
    with pytest.raises(ConfigError, match="own_filter has no 'second'"):
        check_synthesis(replace(config, filter=("own_filter:second",)))
    with pytest.raises(ConfigError, match="unknown example filter 'groundet'; did you mean 'grounded'"):
        check_synthesis(replace(config, filter=("groundet",)))


def test_a_filter_that_speaks_of_a_teacher_does_not_silence_the_writer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = "def blame(example, item, kept, config): return 'teacher: too long' if '0' in example.query else None\n"
    (tmp_path / "blaming_filter.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    config = SynthesisConfig(k=1, max_rounds=2, filter=("blaming_filter:blame",))
    [examples] = write(Writer(), [RAIN], config)
    assert reasons(examples) == ["teacher: too long", None], "it is written again"

    class Silent(Writer):
        def generate(self, requests: Sequence[Request]) -> list[Generation]:
            return [replace(one, text="", error="timeout") for one in super().generate(requests)]

    # Control: a writer that gave no text is not asked again.
    [silent] = write(Silent(), [RAIN], config)
    assert reasons(silent) == ["teacher: timeout"]
