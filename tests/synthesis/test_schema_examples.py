"""Examples made from the tools' schemas: legal calls, requests that state them, nothing that no schema admits."""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import ttsi
from ttsi.chat.tool_schema import problem
from ttsi.config import SynthesisConfig, check
from ttsi.environments.experience import FailedCalls
from ttsi.errors import ConfigError
from ttsi.models import Generation, Request
from ttsi.models.scripted import DemoModel
from ttsi.synthesis import prompt_hash, synthesise
from ttsi.synthesis.example_filters import refusal
from ttsi.synthesis.schema_examples import schema_example
from ttsi.synthesis.schema_values import NoValueError, sample_arguments, sample_value
from ttsi.types import Awareness, Candidate, Example, Input, Message, Tool, ToolCall

BOOK = Tool(
    "book_table",
    "Reserves a table at a restaurant. Needs a credit card.",
    {
        "type": "object",
        "properties": {
            "city": {"type": "string", "description": "the city (e.g., Oslo, Paris)"},
            "guests": {"type": "integer", "minimum": 1, "maximum": 12},
            "day": {"type": "string", "description": "day of the visit, DD/MM/YYYY"},
            "area": {"type": "string", "enum": ["terrace", "indoors"]},
            "silent": {"type": "boolean"},
        },
        "required": ["city", "guests"],
    },
)
RIDE = Tool("orderRide", "", {"type": "object", "properties": {"to": {"type": "string"}}, "required": ["to"]})
ITEM = Input("1", (Message("user", "a table for two in Rome"),), (BOOK, RIDE))


def unsure(*actions: str) -> Awareness:
    candidates = tuple(Candidate(action, "", -1.0, 1 / len(actions)) for action in actions)
    return Awareness(candidates, "margin", 0.0, 0.95, True)


def examples(tool: Tool, n: int = 200) -> list[Example]:
    return [schema_example(tool, seed) for seed in range(n)]


def test_every_example_is_legal_and_states_its_values() -> None:
    for example in [*examples(BOOK), *examples(RIDE)]:
        assert problem(example.calls[0], ITEM.tools) is None
        assert refusal(example, ITEM, (), SynthesisConfig()) is None, example


def test_control_a_request_that_hides_a_value_is_refused() -> None:
    example = schema_example(BOOK, 0)
    hidden = replace(example, query="Reserve a table at a restaurant.")
    assert "grounded" in (refusal(hidden, ITEM, (), SynthesisConfig()) or "")


def test_optional_arguments_are_sometimes_absent_and_then_nowhere_in_the_request() -> None:
    drawn = examples(BOOK)
    absent = [example for example in drawn if "area" not in example.calls[0].arguments]
    assert 0 < len(absent) < len(drawn)
    assert not any("area" in example.query for example in absent)
    assert any("area" in example.query for example in drawn)  # control
    assert not any("silent" in example.calls[0].arguments for example in drawn)


def test_where_no_argument_is_marked_as_required_a_request_states_them_all() -> None:
    unmarked = replace(BOOK, parameters={**BOOK.parameters, "required": []})
    stated = {len(example.calls[0].arguments) for example in examples(unmarked)}
    assert stated == {3, 4}, "all but the boolean, or four of the five"
    assert {len(example.calls[0].arguments) for example in examples(BOOK)} > {2}, (
        "control: two are required, two optional"
    )
    many = {f"p{number}": {"type": "integer"} for number in range(9)}
    drawn = examples(replace(BOOK, parameters={"type": "object", "properties": many}))
    assert {len(example.calls[0].arguments) for example in drawn} == {4}


def test_a_tool_that_was_called_in_this_turn_is_not_taught_again() -> None:
    searched = (
        Message("user", "a table in Rome, and a ride"),
        Message("assistant", "", (ToolCall("orderRide", {"to": "Rome"}),)),
        Message("tool", "on its way"),
    )
    config = SynthesisConfig(source="schema", k=4)

    def taught(messages: tuple[Message, ...], tools: tuple[Tool, ...] = (BOOK, RIDE)) -> set[str]:
        item = Input("1", messages, tools)
        confidence = unsure(*(tool.name for tool in tools))
        [written] = synthesise(DemoModel(), [item], [confidence], config, [3])
        return {example.calls[0].name for example in written}

    assert taught(searched) == {"book_table"}
    assert taught((*searched, Message("user", "and a ride to Bonn"))) == {"book_table", "orderRide"}  # control
    assert taught(searched, (RIDE,)) == {"orderRide"}, "the only tool there is"


def test_values_come_from_the_schema_s_own_words() -> None:
    drawn = [example.calls[0].arguments for example in examples(BOOK)]
    assert {arguments["city"] for arguments in drawn} == {"Oslo", "Paris"}
    assert {arguments["guests"] for arguments in drawn} <= set(range(1, 13))
    assert {arguments["area"] for arguments in drawn if "area" in arguments} == {"terrace", "indoors"}
    assert all(arguments["day"][2] == arguments["day"][5] == "/" for arguments in drawn if "day" in arguments)


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "string", "description": "first day (e.g., YYYY/MM/DD)"},
        {"type": "string", "description": "first day", "examples": ["YYYY/MM/DD"]},
    ],
)
def test_a_layout_of_dates_is_no_value(schema: dict[str, Any]) -> None:
    value = sample_value("day", schema, {}, random.Random(0))
    assert re.fullmatch(r"\d{4}/\d\d/\d\d", value)
    other = {"type": "string", "examples": ["Monday"]}
    assert sample_value("day", other, {}, random.Random(0)) == "Monday"  # control


@pytest.mark.parametrize(
    ("name", "schema", "expected"),
    [
        ("a", {"const": 3}, 3),
        ("a", {"enum": [None, "x"]}, "x"),
        ("a", {"type": ["null", "integer"], "minimum": 4, "maximum": 4}, 4),
        ("a", {"anyOf": [{"type": "null"}, {"type": "string", "enum": ["only"]}]}, "only"),
        ("a", {"$ref": "#/$defs/deep"}, {"b": 7}),
        ("a", {"type": "array", "minItems": 3, "maxItems": 3, "items": {"const": 1}}, [1, 1, 1]),
        ("a", {"type": "integer", "examples": ["12"]}, 12),
        ("a", {"type": "string", "description": "addresses (e.g., 10.0.0.0/16)"}, "10.0.0.0/16"),
        ("a", {"type": "string", "description": "hours, e.g. 09:00-21:00. Local: yes"}, "09:00-21:00"),
        ("a", {"type": "integer", "multipleOf": 5, "minimum": 6, "maximum": 14}, 10),
    ],
)
def test_a_schema_that_leaves_one_choice_gives_it(name: str, schema: dict[str, Any], expected: object) -> None:
    deep = {"type": "object", "properties": {"b": {"const": 7}}, "required": ["b"]}
    assert sample_value(name, schema, {"$defs": {"deep": deep}}, random.Random(0)) == expected


OPTIONAL_DAY = {"anyOf": [{"type": "string", "format": "date-time"}, {"type": "null"}], "default": None}
DEFINITIONS = {
    "$defs": {
        "Day": {"type": "string", "format": "date"},
        "Airport": {"type": "string", "examples": ["JFK", "LHR"]},
        "Size": {"type": "integer", "multipleOf": 10, "minimum": 10, "maximum": 100},
        "Unit": {"type": "string", "description": "the unit (e.g. kg, lb)"},
        "Tree": {"type": "object", "properties": {"name": {"const": "n"}, "below": {"$ref": "#/$defs/Tree"}}},
    }
}


@pytest.mark.parametrize(
    ("name", "schema", "form"),
    [
        ("due", OPTIONAL_DAY, r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ"),
        ("start", {"$ref": "#/$defs/Day"}, r"\d{4}-\d\d-\d\d"),
        ("airport", {"$ref": "#/$defs/Airport"}, "JFK|LHR"),
        ("airport", {"$ref": "#/$defs/Airport", "examples": ["OSL"]}, "OSL"),
        ("size", {"allOf": [{"$ref": "#/$defs/Size"}], "description": "how large"}, r"[1-9]0|100"),
        ("amount", {"anyOf": [{"$ref": "#/$defs/Unit"}, {"type": "null"}]}, "kg|lb"),
    ],
)
def test_what_describes_a_value_reaches_it_through_references(name: str, schema: dict[str, Any], form: str) -> None:
    values = [str(sample_value(name, schema, DEFINITIONS, random.Random(seed))) for seed in range(40)]
    assert all(re.fullmatch(form, value) for value in values), values
    plain = {"type": "integer"} if name == "size" else {"type": "string"}
    other = [str(sample_value(name, plain, {}, random.Random(seed))) for seed in range(40)]
    assert not all(re.fullmatch(form, value) for value in other)  # control


def test_an_object_that_marks_nothing_as_required_states_up_to_four_of_its_properties() -> None:
    inner = {"type": "object", "properties": {f"p{number}": {"type": "integer"} for number in range(6)}}
    small = {"type": "object", "properties": {"a": {"type": "integer"}, "b": {"type": "boolean"}}}
    draw = random.Random(0)
    assert len(sample_value("x", inner, {}, draw)) == 4
    assert [len(value) for value in sample_value("x", {"type": "array", "items": inner}, {}, draw)] == [4, 4]
    assert sample_value("x", small, {}, draw).keys() == {"a"}, "a request seldom states whether"
    assert sample_value("x", {**small, "minProperties": 2}, {}, draw).keys() == {"a", "b"}
    assert len(sample_value("x", {**inner, "minProperties": 5}, {}, draw)) == 5
    assert sample_value("x", {**inner, "required": ["p5"]}, {}, draw).keys() == {"p5"}  # control
    assert sample_value("x", {"type": "object"}, {}, draw) == {}  # control
    assert sample_value("x", {"type": "object", "properties": {"a": False, "b": {"const": 1}}}, {}, draw) == {"b": 1}
    with pytest.raises(NoValueError, match="x wants more properties than it lists"):
        sample_value("x", {**small, "minProperties": 3}, {}, draw)


def test_an_object_of_objects_is_not_empty_and_ends_at_the_deepest_nesting() -> None:
    only = {"type": "object", "properties": {"a": {"type": "object", "properties": {"b": {"const": 1}}}}}
    assert sample_value("x", only, {}, random.Random(0)) == {"a": {"b": 1}}
    tree = {"$ref": "#/$defs/Tree"}
    assert sample_value("x", tree, DEFINITIONS, random.Random(0)) == {"name": "n"}
    linked = {"type": "object", "properties": {"next": {"$ref": "#/$defs/Chain"}}}
    assert str(sample_value("x", linked, {"$defs": {"Chain": linked}}, random.Random(0))).count("next") == 3


def test_items_that_must_differ_do() -> None:
    pair = {"type": "array", "items": {"enum": ["a", "b"]}, "minItems": 2}
    drawn = [sample_value("x", {**pair, "uniqueItems": True}, {}, random.Random(seed)) for seed in range(40)]
    assert all(sorted(value) == ["a", "b"] for value in drawn)
    assert any(len({*sample_value("x", pair, {}, random.Random(seed))}) == 1 for seed in range(40))  # control
    one = {"type": "array", "items": {"const": "a"}, "uniqueItems": True}
    assert sample_value("x", one, {}, random.Random(0)) == ["a"]
    with pytest.raises(NoValueError, match="x wants 2 items that differ"):
        sample_value("x", {**one, "minItems": 2}, {}, random.Random(0))


def test_an_argument_without_a_value_by_rule_refuses_the_example_only_where_it_is_required() -> None:
    code = {"type": "string", "pattern": "^[A-Z]{3}-[0-9]$"}
    parameters: dict[str, Any] = {"type": "object", "properties": {"code": code}, "required": ["code"]}
    refused = schema_example(Tool("f", "Find it now", parameters), 0)
    assert refused.refused == "schema: code has a pattern and no example" and not refused.calls
    with pytest.raises(NoValueError):
        sample_arguments(parameters, random.Random(0), 1.0)
    assert sample_arguments({**parameters, "required": []}, random.Random(0), 1.0) == {}  # control


def test_the_request_takes_its_words_from_the_description_or_the_name() -> None:
    assert all("eserve a table at a restaurant" in example.query for example in examples(BOOK, 20))
    assert all("order ride" in example.query.lower() for example in examples(RIDE, 20))
    api = replace(BOOK, name="bookTable", description="This API books a table.")
    assert all("book a table" in example.query.lower() for example in examples(api, 20))
    gerund = replace(BOOK, description="API for booking tables.")
    assert all("help with booking tables" in example.query.lower() for example in examples(gerund, 20))
    noun = replace(BOOK, name="tableBooker", description="The tables of a restaurant")
    assert all("use table booker" in example.query.lower() for example in examples(noun, 20))


def test_the_loop_learns_them_without_asking_the_writer_and_in_the_order_of_awareness() -> None:
    class NoWriter:
        def __getattr__(self, name: str) -> Any:
            raise AssertionError(f"the writer was asked for {name}")

    config = SynthesisConfig(source="schema", k=4)
    writer: Any = NoWriter()
    [written] = synthesise(writer, [ITEM], [unsure("orderRide", "book_table")], config, [5])
    assert [example.calls[0].name for example in written] == ["orderRide", "book_table"] * 2
    assert not any(example.refused for example in written)
    [again] = synthesise(writer, [ITEM], [unsure("orderRide", "book_table")], config, [5])
    [other] = synthesise(writer, [ITEM], [unsure("orderRide", "book_table")], config, [6])
    assert written == again != other
    with pytest.raises(AssertionError, match="the writer was asked"):  # control: the model writes by default
        synthesise(writer, [ITEM], [unsure("orderRide", "book_table")], SynthesisConfig(k=1), [5])


def test_a_teacher_that_would_write_nothing_is_refused() -> None:
    model, teacher = ttsi.load_model("scripted:demo"), ttsi.load_model("scripted:demo")
    teacher.spec = "a teacher"
    settings = ttsi.preset("ttsi", "hf:some/model")
    with pytest.raises(ConfigError, match="no teacher writes any: use method ttd"):
        ttsi.improve([ITEM], model, teacher, settings)
    [alone] = ttsi.improve([ITEM], model, model, settings)
    [taught] = ttsi.improve([ITEM], model, teacher, ttsi.preset("ttd", "hf:some/model"))  # control
    assert alone.error is None and taught.error is None


def test_a_prompt_that_no_model_reads_is_refused() -> None:
    settings = ttsi.preset("ttsi", "hf:some/model")
    with pytest.raises(ConfigError, match="use method ttsi-written"):
        check(replace(settings, synthesis=replace(settings.synthesis, prompt=Path("prompt.txt"))))
    written = ttsi.preset("ttsi-written", "hf:some/model")  # control
    check(replace(written, synthesis=replace(written.synthesis, prompt=Path("prompt.txt"))))


def test_an_input_without_tools_gets_no_example() -> None:
    [written] = synthesise(
        ttsi.load_model("scripted:demo"), [replace(ITEM, tools=())], [unsure()], SynthesisConfig(source="schema"), [0]
    )
    assert all(example.refused for example in written)


class Rewriter:
    """A writer of which every answer is the same text."""

    def __init__(self, text: str, finished: bool = True) -> None:
        self.text, self.finished, self.requests = text, finished, list[Request]()

    def generate(self, requests: Sequence[Request]) -> list[Generation]:
        self.requests += requests
        return [Generation(self.text, 5, -1.0, -1.0, self.finished) for _ in requests]


def reworded(text: str, finished: bool = True, **settings: Any) -> tuple[list[Example], Rewriter]:
    writer: Any = Rewriter(text, finished)
    config = SynthesisConfig(order="schema-first", k=1, max_rounds=1, **settings)
    tool = replace(RIDE, parameters={**RIDE.parameters, "properties": {"to": {"enum": ["Oslo"]}}})
    [written] = synthesise(writer, [replace(ITEM, tools=(tool,))], [unsure("orderRide")], config, [5])
    return list(written), writer


def test_the_writer_rewords_the_request_of_a_call_made_from_the_schema() -> None:
    [example], writer = reworded("Get me a ride to Oslo, please.")
    assert example.query == "Get me a ride to Oslo, please." and example.refused is None
    assert example.calls[0].arguments == {"to": "Oslo"} and example.tokens == 5
    [request] = writer.requests
    assert "Oslo" in request.prompt.messages[-1].content and request.prompt.tools == ()


def test_control_words_that_lose_a_value_or_never_end_are_refused() -> None:
    assert "grounded" in (reworded("Get me a ride.")[0][0].refused or "")
    assert "parse" in (reworded("Get me a ride to Oslo", finished=False)[0][0].refused or "")
    assert "parse" in (reworded(" ")[0][0].refused or "")


def test_the_prompt_of_rewording_has_a_version_and_takes_no_file() -> None:
    config = SynthesisConfig(order="schema-first")
    assert prompt_hash(config, "") != prompt_hash(SynthesisConfig(), "")
    with pytest.raises(ConfigError, match="schema-first has its own prompt"):
        prompt_hash(replace(config, prompt=Path("mine.txt")), "")


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "integer", "multipleOf": 0.5},
        {"type": "integer", "minimum": 10**400},
        {"type": "number", "multipleOf": 0.5},
        {"type": "string", "maxLength": 2},
        {"type": "array", "items": {"type": "string"}, "minItems": 1_000_000},
        {"type": "integer", "minimum": 1, "exclusiveMinimum": 5, "maximum": 6},
        {"type": "integer", "minimum": "5"},
        {"type": "number", "multipleOf": "x"},
        {"type": "object", "properties": {"start": {"type": "integer", "minimum": "5"}, "end": {"type": "integer"}}},
        {"type": "object", "properties": {"a": False}},
        {"type": "array", "items": {"enum": ["a"]}, "uniqueItems": True, "minItems": 2},
        {"$ref": "#/properties/x"},
        {"type": "string", "description": "e.g. " + "a, " * 100_000},
    ],
)
def test_an_odd_schema_gives_a_call_or_a_refusal_and_never_an_exception(schema: dict[str, Any]) -> None:
    tool = Tool("f", "Find it now", {"type": "object", "properties": {"x": schema}, "required": ["x"]})
    for seed in range(8):
        example = schema_example(tool, seed)
        assert bool(example.calls) is (example.refused is None)
        optional = schema_example(replace(tool, parameters={**tool.parameters, "required": []}), seed)
        assert optional.refused is None, "an optional argument can always be left out"


def test_halves_and_short_texts_are_met() -> None:
    draw = random.Random(0)
    assert {2 * sample_value("x", {"type": "number", "multipleOf": 0.5}, {}, draw) % 1 for _ in range(20)} == {0}
    assert len(sample_value("x", {"type": "string", "maxLength": 2}, {}, draw)) == 2
    assert sample_value("x", {"type": "integer", "minimum": 1, "exclusiveMinimum": 5, "maximum": 6}, {}, draw) == 6


class Turns:
    """Environments in which every call succeeds, and whose examples may be turns of two calls."""

    whole_turns = True

    def observations(self, item: Input) -> Sequence[str]:
        return ()

    def execute(self, item: Input, example: Example) -> Example:
        return example

    def failures(self, item: Input, calls: Sequence[ToolCall]) -> FailedCalls:
        return FailedCalls(0, 0)

    def earlier(self, item: Input) -> Sequence[Example]:
        return ()


def test_turns_of_one_call_and_of_two_state_optional_arguments_alike() -> None:
    config = SynthesisConfig(source="schema", k=1, tools="likely", max_rounds=1)
    drawn = [
        written[0].calls
        for written in synthesise(
            DemoModel(), [ITEM] * 300, [unsure(BOOK.name)] * 300, config, range(300), experience=Turns()
        )
    ]
    for length in (1, 2):
        optional = [calls[-1].arguments.keys() & {"day", "area"} for calls in drawn if len(calls) == length]
        assert len(optional) > 60
        # Drawn from one stream, the first argument would be in every turn of two calls, and in no other.
        for name in ("day", "area"):
            assert 0.2 < sum(name in one for one in optional) / len(optional) < 0.5, (length, name)
