"""Schemas read by the draft that they name, and patterns by ECMA-262."""

from __future__ import annotations

import re
from typing import Any

import pytest

from ttsi.chat.dialect import unenforced_keywords
from ttsi.chat.patterns import mask_pattern, python_pattern
from ttsi.chat.tool_schema import normalise, problem
from ttsi.errors import DataError
from ttsi.types import Tool, ToolCall

DRAFT_4, DRAFT_7 = (f"http://json-schema.org/draft-0{number}/schema#" for number in (4, 7))


@pytest.mark.parametrize(
    ("pattern", "fits", "fails"),
    [
        (r"^(?<year>\d{4})-\d\d$", ["2020-01"], ["2020-01\n", "٢٠٢٠-01"]),
        (r"^(?<a>x|y)\k<a>$", ["xx"], ["xy"]),
        ("^[^]*$", ["", "a\nb"], []),
        ("[]", [], ["", "a"]),
        (r"^[\u{1F600}-\u{1F64F}]$", ["😀"], ["a"]),
        (r"^\uD83D\uDE00$", ["😀"], ["a"]),
        (r"^\cA$", ["\x01"], ["A"]),
        (r"^\S+$", ["aé"], ["a b", "a\ufeff"]),
        (r"^[^\W\d]+$", ["a_"], ["a1", "é"]),
        (r"(?<=a)b", ["ab"], ["b"]),
        (r"^\/[[a&&b\-]$", ["/[", "/&", "/-"], ["/x"]),
        (r"(?P<python>a)", ["a"], ["b"]),
    ],
)
def test_patterns_mean_in_python_what_they_mean_in_javascript(pattern: str, fits: list[str], fails: list[str]) -> None:
    translated = python_pattern(pattern)
    assert translated is not None
    assert [text for text in (*fits, *fails) if re.search(translated, text)] == fits


@pytest.mark.parametrize("pattern", [r"^\p{L}+$", r"[\p{Lu}\d]", r"(?<=a+)b", r"a{99999999999}", "(?<a>x)(?<a>y)"])
def test_what_cannot_be_enforced_is_left_out_alone(pattern: str) -> None:
    assert python_pattern(pattern) is mask_pattern(pattern) is None
    parameters = {"properties": {"a": {"type": "string", "pattern": pattern, "minLength": 2}}}
    tool = Tool("f", "", normalise(parameters))
    assert unenforced_keywords(tool.parameters) == ["properties.a.pattern"]
    assert problem(ToolCall("f", {"a": "!!"}), [tool]) is None
    assert problem(ToolCall("f", {"a": "!"}), [tool]) is not None


def test_names_that_a_lost_pattern_covers_are_not_unlisted() -> None:
    parameters = {"patternProperties": {r"^\p{L}+$": {}, "^x": {"type": "integer"}}, "additionalProperties": False}
    tool = Tool("f", "", normalise(parameters))
    assert unenforced_keywords(tool.parameters) == [r"patternProperties.^\p{L}+$"]
    assert problem(ToolCall("f", {"é": 1}), [tool]) is None
    assert problem(ToolCall("f", {"x": "1"}), [tool]) is not None


@pytest.mark.parametrize("pattern", ["(", "a**", "[b-a]", "*a", r"\h"])
def test_what_is_no_regular_expression_is_refused_by_name(pattern: str) -> None:
    for broken in ({"pattern": pattern}, {"type": "object", "patternProperties": {pattern: {}}}):
        with pytest.raises(DataError, match="regular expression"):
            normalise({"properties": {"a": broken}})
    # Control: an example of a value is no schema.
    normalise({"properties": {"a": {"default": {"pattern": pattern}}}})


@pytest.mark.parametrize(
    ("draft", "schema", "legal", "illegal"),
    [
        (DRAFT_4, {"type": "integer", "minimum": 0, "exclusiveMinimum": True}, [1], [0]),
        (DRAFT_4, {"type": "integer", "maximum": 9, "exclusiveMaximum": False}, [9], [10]),
        (DRAFT_4, {"const": 3}, [3, 4], []),
        (
            DRAFT_7,
            {"type": "array", "items": [{"type": "string"}, {"type": "number"}]},
            [["a", 1], ["a"]],
            [["a", "b"]],
        ),
        (DRAFT_7, {"items": [{"type": "string"}], "additionalItems": False}, [["a"]], [["a", 1]]),
        (DRAFT_7, {"dependencies": {"a": ["b"], "c": {"required": ["d"]}}}, [{"a": 1, "b": 1}], [{"a": 1}, {"c": 1}]),
        (DRAFT_7, {"$ref": "#/definitions/t", "maxLength": 1}, ["long"], [3]),
        (None, {"$ref": "#/definitions/t", "maxLength": 1}, ["s"], ["long", 3]),
        ("https://json-schema.org/draft/2019-09/schema", {"items": [{"type": "null"}]}, [[None]], [[1]]),
    ],
)
def test_the_draft_that_a_schema_names_decides(
    draft: str | None, schema: dict[str, Any], legal: list[Any], illegal: list[Any]
) -> None:
    named = {"$schema": draft} if draft else {}
    parameters = {"properties": {"a": schema}, "definitions": {"t": {"type": "string"}}, **named}
    tool = Tool("f", "", normalise(parameters))
    assert [one for one in (*legal, *illegal) if problem(ToolCall("f", {"a": one}), [tool]) is None] == legal
    assert unenforced_keywords(tool.parameters) == []


@pytest.mark.parametrize("broken", [{"minimum": 0, "exclusiveMinimum": True}, {"items": [{"type": "string"}]}])
def test_control_an_old_keyword_without_its_draft_is_refused_by_name(broken: dict[str, Any]) -> None:
    with pytest.raises(DataError, match=r"exclusiveMinimum|items"):
        normalise({"properties": {"a": broken}})
