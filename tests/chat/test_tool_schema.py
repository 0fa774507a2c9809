"""Validation of calls by JSON Schema, and one line for every unusable tool."""

from __future__ import annotations

import math
from typing import Any

import pytest

from ttsi.chat.tool_schema import MAX_LINE, forbid_unlisted, normalise, problem, tool_from_openai
from ttsi.errors import DataError
from ttsi.types import Tool, ToolCall, to_openai

PARAMETERS: dict[str, Any] = {
    "type": "object",
    "properties": {
        "city": {"type": "string"},
        "days": {"type": "integer", "minimum": 1},
        "unit": {"enum": ["C", "F"]},
        "place": {"type": "object", "properties": {"street": {"type": "string"}}, "required": ["street"]},
        "free": {"type": "object"},
        "stops": {"type": "array", "items": {"type": "object", "properties": {"name": {"type": "string"}}}},
    },
    "required": ["city"],
}


def weather(**parameters: Any) -> Tool:
    return Tool("weather", "", normalise({**PARAMETERS, **parameters}))


def verdict(arguments: Any, tool: Tool | None = None) -> str | None:
    return problem(ToolCall("weather", arguments), [tool or weather()])


@pytest.mark.parametrize(
    "arguments",
    [
        {"city": "Oslo"},
        {"city": "Oslo", "days": 3, "unit": "C"},
        {"city": "", "place": {"street": "x"}, "free": {"any": [1]}, "stops": [{"name": "a"}, {}]},
    ],
)
def test_legal_calls_have_no_problem(arguments: dict[str, Any]) -> None:
    assert verdict(arguments) is None


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        ({}, "schema: city is missing"),
        ({"city": 3}, "schema: city is not of type string"),
        ({"city": "Oslo", "days": "3"}, "schema: days is not of type integer"),
        ({"city": "Oslo", "days": True}, "schema: days is not of type integer"),
        ({"city": "Oslo", "days": 0}, "schema: days: 0 is less than the minimum of 1"),
        ({"city": "Oslo", "unit": "K"}, "schema: unit is not one of ['C', 'F']"),
        ({"city": "Oslo", "place": {}}, "schema: place.street is missing"),
        ({"city": "Oslo", "mood": 1}, "schema: unknown argument mood"),
        ({"city": "Oslo", "place": {"street": "x", "floor": 1}}, "schema: unknown argument place.floor"),
        ({"city": "Oslo", "stops": [{"nmae": "a"}]}, "schema: unknown argument stops.0.nmae"),
        ({"days": "3"}, "schema: city is missing"),
    ],
)
def test_illegal_calls_say_what_is_wrong(arguments: dict[str, Any], line: str) -> None:
    assert verdict(arguments) == line


def test_a_tool_that_is_not_offered() -> None:
    assert problem(ToolCall("rain", {}), [weather()]) == "schema: no tool is called 'rain'"
    assert problem(ToolCall("weather", {"city": "Oslo"}), []) == "schema: no tool is called 'weather'"


def test_unknown_names_pass_where_the_schema_allows_them() -> None:
    assert verdict({"city": "Oslo", "mood": 1}, weather(additionalProperties=True)) is None
    assert verdict({"city": "Oslo", "mood": 1}, weather(additionalProperties={"type": "string"})) is not None
    assert verdict({"city": "Oslo", "xa": 1}, weather(patternProperties={"^x": {"type": "integer"}})) is None
    assert verdict({"city": "Oslo", "ya": 1}, weather(patternProperties={"^x": {"type": "integer"}})) is not None


def test_names_that_another_part_of_the_schema_lists_are_known() -> None:
    either = weather(anyOf=[{"properties": {"zip": {"type": "string"}}}, True])
    assert verdict({"city": "Oslo", "zip": "1"}, either) is None
    assert verdict({"city": "Oslo", "zap": "1"}, either) is not None


def test_a_required_but_unlisted_name_takes_any_value() -> None:
    tool = weather(required=["city", "zip"])
    assert verdict({"city": "Oslo", "zip": [1]}, tool) is None
    assert verdict({"city": "Oslo"}, tool) == "schema: zip is missing"


def test_a_tool_without_arguments_takes_none() -> None:
    tool = Tool("weather", "", normalise(None))
    assert verdict({}, tool) is None
    assert verdict({"city": "Oslo"}, tool) == "schema: unknown argument city"


@pytest.mark.parametrize(
    "broken",
    [{"$ref": "#"}, {"$ref": "#/nowhere"}, {"$ref": "http://localhost/x"}, {"pattern": "("}, {"type": "float"}],
)
def test_a_schema_that_cannot_be_used_is_a_problem_and_no_crash(broken: dict[str, Any]) -> None:
    tool = Tool("weather", "", {"type": "object", "properties": {"city": {**broken, "allOf": [broken]}}})
    line = verdict({"city": "Oslo"}, tool)
    assert line is not None and line.startswith("schema: ") and "\n" not in line


def test_lines_stay_short() -> None:
    line = verdict({"city": "Oslo", "unit": "K"}, weather(properties={"unit": {"enum": ["x" * 999]}}))
    assert line is not None and len(line) <= MAX_LINE


def test_closing_leaves_the_original_alone() -> None:
    before = normalise(PARAMETERS)
    assert forbid_unlisted(before)["additionalProperties"] is False
    assert before == normalise(PARAMETERS)


EMPTY = {"type": "object", "properties": {}}


@pytest.mark.parametrize("parameters", [None, {}, {"type": "object"}, {"type": "object", "properties": None}, EMPTY])
def test_missing_parameters_are_an_empty_object(parameters: Any) -> None:
    assert normalise(parameters) == EMPTY


def test_a_missing_type_is_object_and_the_rest_is_kept() -> None:
    assert normalise({"properties": {"a": {"type": "string"}}, "required": None}) == {
        "type": "object",
        "properties": {"a": {"type": "string"}},
    }


def nested(depth: int) -> dict[str, Any]:
    return {"type": "object", "properties": {"a": nested(depth - 1) if depth else {}}}


@pytest.mark.parametrize(
    ("parameters", "reason"),
    [
        ([], "JSON object"),
        ("object", "JSON object"),
        ({"type": "array"}, "type object"),
        ({"properties": []}, None),
        ({"properties": ["a"]}, "properties"),
        ({"properties": {"a": {"type": "float"}}}, "properties.a"),
        ({"properties": {"a": {"type": "string"}}, "required": "a"}, "required"),
        ({"properties": {"a": {"$ref": "http://localhost/schema"}}}, "into the schema"),
        ({"properties": {"a": {"pattern": "("}}}, "regular expression"),
        ({"properties": {"a": {"const": float("nan")}}}, "JSON number"),
        ({"properties": {"a": {3: 4}}}, "strings"),
        (nested(200), "deeper"),
    ],
)
def test_broken_parameters_are_refused_in_one_line(parameters: Any, reason: str | None) -> None:
    if reason is None:  # control: an empty list is the empty object that some writers mean by it
        assert normalise(parameters) == EMPTY
        return
    with pytest.raises(DataError) as caught:
        normalise(parameters)
    assert reason in str(caught.value) and "\n" not in str(caught.value)


def test_tools_are_read_from_both_openai_shapes() -> None:
    tool = Tool("weather", "The weather", PARAMETERS)
    assert tool_from_openai(to_openai(tool)) == tool
    assert tool_from_openai(to_openai(tool)["function"]) == tool
    assert tool_from_openai({"name": "ping"}) == Tool("ping", "", EMPTY)


@pytest.mark.parametrize(
    "broken",
    [
        None,
        [],
        {},
        {"type": "function", "function": None},
        {"type": "function", "function": "weather"},
        {"name": ""},
        {"name": "  "},
        {"name": 3},
        {"name": "two\nlines"},
        {"name": "<|im_end|>"},
        {"name": 'quo"te'},
        {"name": "a", "description": 3},
        {"name": "a", "parameters": []},
        {"name": "a", "parameters": {"type": "array"}},
        {"name": "a", "parameters": {"properties": {"x": {"type": "strnig"}}}},
    ],
)
def test_broken_tools_are_refused_in_one_line(broken: Any) -> None:
    with pytest.raises(DataError) as caught:
        tool_from_openai(broken)
    assert str(caught.value) and "\n" not in str(caught.value)


def test_a_reference_is_one_only_where_a_schema_stands() -> None:
    note = {"type": "object", "default": {"$ref": "#/nope"}, "examples": [{"$ref": "https://a.org/x"}]}
    normalise({"type": "object", "properties": {"note": note, "$ref": {"type": "string"}}})
    # Controls: a property named "default", and an option, are schemas.
    for part in ({"properties": {"default": {"$ref": "#/nope"}}}, {"anyOf": [{"$ref": "#/nope"}]}):
        with pytest.raises(DataError, match="names no part of the schema"):
            normalise({"type": "object", "properties": {"note": {"type": "object", **part}}})


@pytest.mark.parametrize("ref", ["#/nope", "#/$defs/nope", "#/$defs/list/9"])
def test_a_reference_to_nothing_is_named(ref: str) -> None:
    definitions = {"$defs": {"list": {"anyOf": [{"type": "string"}]}, "a/b": {"type": "string"}}}
    with pytest.raises(DataError, match="names no part of the schema"):
        normalise({"type": "object", "properties": {"city": {"$ref": ref}}, **definitions})
    # Control: what is there is found, by JSON Pointer's spelling.
    for good in ("#", "#/$defs/list", "#/$defs/list/anyOf/0", "#/$defs/a~1b"):
        normalise({"type": "object", "properties": {"city": {"$ref": good}}, **definitions})


def amount(step: float) -> Tool:
    return weather(properties={"amount": {"type": "number", "multipleOf": step}}, required=[])


@pytest.mark.parametrize(
    ("step", "values"),
    [
        (0.01, (19.99, 0.07, 1.1, 3, 10**30, 10**400)),
        (0.05, (0.3, 0.35, 0.7, 0.95, 1e20, -0.15)),
        (1e-7, (3e-7, 0.1)),
        (5e-324, (1e308,)),
        (3, (9, 9.0, 3 * 10**400)),
    ],
)
def test_decimal_multiples_are_legal(step: float, values: tuple[float, ...]) -> None:
    assert [problem(ToolCall("weather", {"amount": value}), [amount(step)]) for value in values] == [None] * len(values)


@pytest.mark.parametrize(
    ("step", "value"),
    [(0.01, 19.995), (0.05, 0.36), (0.1, 0.1 + 0.2), (3, 10), (3, 10**400), (0.1, math.nan), (0.1, -math.inf)],
)
def test_control_what_is_no_multiple_is_illegal(step: float, value: float) -> None:
    line = problem(ToolCall("weather", {"amount": value}), [amount(step)])
    assert line is not None and (value == 10**400 or line.endswith(f"is not a multiple of {step}"))


def test_a_number_too_long_to_print_raises_nothing() -> None:
    assert problem(ToolCall("weather", {"amount": 3 * 10**5000}), [amount(3)]) is None
    assert problem(ToolCall("weather", {"amount": 10**5000}), [amount(3)]) is not None, "control"


def test_multiples_behind_a_reference_to_the_whole_schema() -> None:
    inner = {"amount": {"type": "number", "multipleOf": 0.01}, "next": {"$ref": "#"}}
    tool = weather(**{"$schema": "https://json-schema.org/draft/2020-12/schema"}, properties=inner, required=[])
    assert verdict({"next": {"amount": 19.99, "next": {"amount": 0.07}}}, tool) is None
    assert verdict({"next": {"next": {"amount": 0.071}}}, tool) == (
        "schema: next.next.amount: 0.071 is not a multiple of 0.01"
    )
