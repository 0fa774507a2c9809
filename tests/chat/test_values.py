"""Values and names that a schema admits: written, admitted by the mask and read back, or refused.

Strings beside other types, lists of mixed values, Python's constants, names with spaces; words that only speak of a
tool; long texts; templates that change what they carry. Each has a control.
"""

from __future__ import annotations

from typing import Any

import pytest

from tests.chat.test_grammar import accepts, tool
from ttsi.chat import thinking
from ttsi.chat.attempts import attempt
from ttsi.chat.calls import FORMATS
from ttsi.chat.grammar import answer_grammar, tool_grammar
from ttsi.chat.handshake import probe_template
from ttsi.chat.lark import kinds, listed_values
from ttsi.chat.template_source import TemplateSource
from ttsi.chat.template_turns import call_text
from ttsi.chat.thinking import strip_thinking
from ttsi.errors import ModelError
from ttsi.types import Tool, ToolCall

NULLABLE = {"anyOf": [{"type": "string", "minLength": 3, "pattern": "^[a-z ]+$"}, {"type": "null"}]}
VALUES: list[tuple[dict[str, Any], Any]] = [
    (NULLABLE, "wool socks"),
    (NULLABLE, None),
    ({"type": ["string", "null"]}, "wool"),
    ({"type": ["string", "null"]}, None),
    ({"type": ["boolean", "null"]}, True),
    ({"type": ["boolean", "null"]}, None),
    ({"type": ["integer", "null"]}, None),
    ({"anyOf": [{"type": "string"}, {"type": "integer"}]}, "three"),
    ({"anyOf": [{"type": "string"}, {"type": "integer"}]}, 3),
    ({"enum": [1, "two", None, True]}, 1),
    ({"enum": [1, "two", None, True]}, "two"),
    ({"enum": [1, "two", None, True]}, None),
    ({"enum": [1, "two", None, True]}, True),
    ({}, "wool"),
    ({}, False),
    ({"type": "array"}, [1, "two", {"three": None}]),
    ({"type": "object"}, {"城市": 1, "first name": {"größe": ["x"]}, "1": None}),
]


@pytest.mark.parametrize("name", FORMATS)
def test_values_of_mixed_schemas_are_admitted_and_read_back(name: str) -> None:
    fmt = FORMATS[name]
    for schema, value in VALUES:
        offered, call = tool("f", {"x": schema}, ["x"]), ToolCall("f", {"x": value})
        text = fmt.render([call], "", [offered])
        assert fmt.parse(text, [offered]).calls == (call,), text
        for demand in ("auto", "required", "one"):
            assert accepts(answer_grammar(fmt, [offered], demand), text), text


@pytest.mark.parametrize("name", ["qwen3-coder", "glm", "glm-4.7", "pythonic", "lfm2", "functiongemma", "gemma4"])
def test_control_what_a_mixed_schema_does_not_admit_stays_out(name: str) -> None:
    fmt = FORMATS[name]
    for schema, value in [
        ({"type": ["integer", "null"]}, True),
        ({"type": ["integer", "null"]}, "x"),
        ({"enum": [1, None]}, True),
    ]:
        offered = tool("f", {"x": schema}, ["x"])
        assert not accepts(answer_grammar(fmt, [offered]), fmt.render([ToolCall("f", {"x": value})]))


@pytest.mark.parametrize("name", ["functiongemma", "gemma4"])
def test_control_a_key_in_quotation_marks_would_be_another_key(name: str) -> None:
    offered = tool("f", {"x": {"type": "object"}}, ["x"])
    text = FORMATS[name].render([ToolCall("f", {"x": {"city": 1}})], "", [offered])
    assert accepts(tool_grammar(FORMATS[name], offered), text)
    for key in ('"city"', " city", "ci:ty", FORMATS[name].marks[2]):
        assert not accepts(tool_grammar(FORMATS[name], offered), text.replace("city", key))


def test_a_text_that_reads_as_a_type_which_nobody_admits_is_text() -> None:
    offered = tool("f", {"x": {"anyOf": [{"type": "string"}, {"type": "null"}]}}, ["x"])
    text = "<tool_call>f\n<arg_key>x</arg_key>\n<arg_value>3</arg_value>\n</tool_call>"
    assert FORMATS["glm"].parse(text, [offered]).calls == (ToolCall("f", {"x": "3"}),)
    wider = tool("f", {"x": {"anyOf": [{"type": "string"}, {"type": "number"}]}}, ["x"])  # control
    assert FORMATS["glm"].parse(text, [wider]).calls == (ToolCall("f", {"x": 3}),)
    assert kinds({"enum": ["a", None]}, {}) == {"string", "null"}


@pytest.mark.parametrize("name", [name for name in FORMATS if name != "marked"])
def test_a_name_that_cannot_be_read_back_is_not_written(name: str) -> None:
    fmt = FORMATS[name]
    for odd in ('say "hi"', "f{", "f>x", "a b", "f.g-h", "見る", "f<|call|>"):
        for call in (ToolCall(odd, {}), ToolCall("f", {odd: 1}), ToolCall("f", {"x": {"": 1}}), ToolCall("f", {"": 1})):
            offered = tool(call.name, {key: {} for key in call.arguments})
            try:
                text = fmt.render([call], "", [offered])
            except ValueError as error:
                assert "cannot hold" in str(error)
            else:
                assert fmt.parse(text, [offered]).calls == (call,), text
    assert fmt.parse(fmt.render([ToolCall("f.g-h", {})]), []).calls == (ToolCall("f.g-h", {}),)


def test_a_list_may_begin_with_a_tool_whose_name_holds_spaces() -> None:
    fmt, offered = FORMATS["pythonic"], tool("Market Trends API", {"country": {"type": "string"}})
    call = ToolCall("Market Trends API", {"country": "Norway"})
    assert fmt.parse(fmt.render([call]), [offered]).calls == (call,)
    assert fmt.parse("[as Smith says (2020)], no.", [offered]).error is None  # control: other words are no name


MENTIONS = (
    "`get_weather(city)` shows it.",
    "I would use `search(query)` for this, but no.",
    "search (for words) is what you need.",
    "sum(1, 2) is 3 in Python.",
    "None of them fits: [get_weather(city)] lacks hours.",
)
ATTEMPTS = (
    'get_weather(city="Oslo")',
    "I will: `get_weather(city='Oslo')` now",
    "get_weather(Oslo)",
    "get_weather()",
    "get_weather(city: Oslo, days: 3) is it",
    '[get_weather({"city": "Oslo"})] done',
    "[sum(1, 2), sum(3, 4)]",
    "<|python_tag|>get_weather(Oslo)",
    "get_weather(city",
)


def test_words_that_speak_of_a_tool_are_no_call() -> None:
    offered = [tool(name, {}) for name in ("get_weather", "search", "sum")]
    assert [text for text in MENTIONS if attempt(text, offered, "hermes")] == []
    assert [text for text in ATTEMPTS if not attempt(text, offered, "hermes")] == []  # control


@pytest.mark.parametrize("unit", ["\n", " \n", "[", "`", "[`\n", "f\n", "f("])
def test_a_long_text_is_looked_at_once(unit: str) -> None:
    """A pattern that starts again at every line takes an hour for this, one that does not a moment."""
    assert attempt(unit * 300_000, [tool("f", {})], "hermes") is None


@pytest.mark.parametrize("name", ["harmony", "kimi-k2", "plain", "fenced"])
@pytest.mark.parametrize("front", ["x", "```", "```json", "<|tool_calls_section_begin|><|tool_call_begin|>"])
@pytest.mark.parametrize("unit", [" ", "\n", "to=functions.", "to=functions.f "])
def test_a_family_reads_a_long_text_once(name: str, front: str, unit: str) -> None:
    assert FORMATS[name].parse(front + unit * (500_000 // len(unit)), [tool("f", {})]).calls == ()


@pytest.mark.parametrize("name", FORMATS)
def test_an_earlier_call_that_the_format_cannot_hold_is_worded(name: str) -> None:
    odd = ToolCall("f", {"x": 'a</arg_value>b\n</parameter>\n<escape><|"|>c'})
    text = call_text(FORMATS[name], [odd, ToolCall("g", {})], "well")
    assert "a</arg_value>b" in text and "g" in text and text.startswith("well")
    if name in ("glm", "qwen3-coder", "gemma4"):  # control
        with pytest.raises(ValueError, match="cannot hold"):
            FORMATS[name].render([odd])


def test_thoughts_without_end_to_end_are_found_in_one_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    looks = 0
    first = thinking._first

    def count_first(text: str, signs: Any, at: int = 0) -> int:
        nonlocal looks
        looks += 1
        return first(text, signs, at)

    monkeypatch.setattr(thinking, "_first", count_first)
    assert strip_thinking("<think>a <call></think>" * 1000 + " No.", ["<call>", "{"]) == " No."
    few = looks
    assert strip_thinking("<think>a</think>" * 1000 + " No.", ["<call>", "{"]) == " No."
    assert looks - few < 50 < few  # control: a sign within a thought is passed and looked for again


TEMPLATE = (
    "{%- for m in messages %}[{{ m.role }}] CONTENT\n{% endfor %}{% if add_generation_prompt %}[assistant]{% endif %}"
)


@pytest.mark.parametrize(
    "content", ["{{ m.content | e }}", "{{ m.content[:2000] }}", "{{ m.content | replace('\"', '') }}"]
)
def test_a_template_that_changes_what_the_user_says_is_refused(content: str) -> None:
    with pytest.raises(ModelError, match="changes the user's text"):
        probe_template(TemplateSource(TEMPLATE.replace("CONTENT", content)))
    probe_template(TemplateSource(TEMPLATE.replace("CONTENT", "{{ m.content | trim }}")))  # control


@pytest.mark.parametrize("form", ["%F", "%c", "%x %T", "%D", "%e %b", "%-d %B"])
def test_every_way_of_writing_the_date_is_fixed(form: str) -> None:
    source = f"{{{{ strftime_now('{form}') }}}} " + TEMPLATE.replace("CONTENT", "{{ m.content }}")
    assert probe_template(TemplateSource(source)).dated
    assert "%" not in TemplateSource(source)([{"role": "user", "content": "hi"}], [])
    assert not probe_template(TemplateSource(source.replace(form, "no date"))).dated  # control


@pytest.mark.parametrize("ref", ["#/properties/unit", "#/$defs/metric~1imperial"])
@pytest.mark.parametrize("name", FORMATS)
def test_a_reference_to_any_part_of_the_schema_is_followed(name: str, ref: str) -> None:
    unit = {"enum": ["m", "ft"]}
    properties = {"unit": unit, "other": {"$ref": ref}}
    schema = {"type": "object", "properties": properties, "required": ["other"], "$defs": {"metric/imperial": unit}}
    offered, form = Tool("measure", "Measure.", schema), FORMATS[name]
    assert listed_values(properties["other"], schema) == ["m", "ft"]
    call = ToolCall("measure", {"other": "ft"})
    text = form.render([call], tools=[offered])
    assert form.parse(text, [offered]).calls == (call,)
    assert accepts(tool_grammar(form, offered), text)
    other = form.render([ToolCall("measure", {"other": "mile"})], tools=[offered])
    assert not accepts(tool_grammar(form, offered), other)  # control
