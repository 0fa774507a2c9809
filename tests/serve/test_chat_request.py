"""Chat requests: what is valid, and that everything else is a client error with a message of the server's own."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from tests.serve.conftest import body, chat_body
from tests.worlds import TOOLS
from ttsi.config import LoopConfig, check
from ttsi.errors import ConfigError
from ttsi.serve import chat_request
from ttsi.serve.chat_request import InvalidRequest, RequestOptions, read_headers, read_request
from ttsi.serve.limits import Limits
from ttsi.serve.tool_choice import CallRule

LIMITS = Limits()
TOOL = {"type": "function", "function": {"name": "f"}}


def read(data: bytes) -> RequestOptions:
    return read_request(data, LIMITS, "id")


def rejection(data: bytes) -> InvalidRequest:
    with pytest.raises(InvalidRequest) as error:
        read(data)
    assert error.value.status == 400
    assert "\n" not in str(error.value) and len(str(error.value)) <= 400
    return error.value


def with_schema(schema: Any) -> bytes:
    return body(tools=[{"type": "function", "function": {"name": "f", "parameters": schema}}])


def test_a_request_is_read_as_an_input() -> None:
    options = read(body(n=2, stop="x", max_tokens=9, max_completion_tokens=7, seed=3))
    assert [tool.name for tool in options.item.tools] == ["book_flight", "get_weather", "find_hotel"]
    assert (options.choices, options.stop, options.max_tokens, options.seed) == (2, ("x",), 7, 3)


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"tools": [TOOL, TOOL]}, "tools"),
        ({"tools": [TOOL, "f"]}, "tools[1]"),
        ({"tools": [TOOL, {}]}, "tools[1]"),
        ({"messages": ["hello"]}, "messages[0]"),
        ({"messages": [{"role": "user"}]}, "messages[0]"),
        ({"response_format": {"type": "json_schema", "json_schema": {}}}, "response_format.json_schema.name"),
    ],
)
def test_a_refusal_names_the_field_in_one_form(change: dict[str, Any], param: str) -> None:
    assert rejection(body(**change)).param == param
    read(body(tools=[TOOL]))  # the control


@pytest.mark.parametrize(("name", "unset"), [("adapt", True), ("details", False)])
def test_a_header_that_switches_something_says_on_or_off(name: str, unset: bool) -> None:
    def switched(headers: dict[str, str]) -> bool:
        options = read_headers(read(body()), headers)
        return {"adapt": options.adapt, "details": options.details}[name]

    assert switched({}) is unset
    for value, on in {"on": True, "ON": True, "1": True, "true": True, "off": False, "0": False}.items():
        assert switched({f"x-ttsi-{name}": value}) is on
    for value in ("yes", "", "2"):
        with pytest.raises(InvalidRequest, match=f"X-TTSI-{name.title()} must be `on` or `off`"):
            switched({f"x-ttsi-{name}": value})


def test_text_parts_and_the_developer_role_are_read() -> None:
    messages = [
        {"role": "developer", "content": "be brief"},
        {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]},
    ]
    options = read(body(messages=messages))
    assert [(m.role, m.content) for m in options.item.messages] == [("system", "be brief"), ("user", "a\nb")]


def test_results_are_put_in_the_order_of_their_calls() -> None:
    def call(name: str) -> dict[str, Any]:
        return {"id": name, "type": "function", "function": {"name": name, "arguments": "{}"}}

    messages = [
        {"role": "user", "content": "go"},
        {"role": "assistant", "content": None, "tool_calls": [call("a"), call("b")]},
        {"role": "tool", "tool_call_id": "b", "content": "of b"},
        {"role": "tool", "tool_call_id": "a", "content": "of a"},
    ]
    options = read(body(messages=messages))
    assert [m.content for m in options.item.messages[-2:]] == ["of a", "of b"]


def test_tool_choice_restricts_the_calls_and_the_prompt_keeps_every_tool() -> None:
    none = read(body(tool_choice="none"))
    assert none.item.tools == () and none.disabled_tools == ("book_flight", "find_hotel", "get_weather")
    named = read(body(tool_choice={"type": "function", "function": {"name": "find_hotel"}}))
    assert (named.call_rule, len(named.item.tools)) == (CallRule("one", ("find_hotel",)), 3)
    assert read(body(tool_choice="required")).call_rule == CallRule("required")
    assert read(body(tool_choice="required", parallel_tool_calls=False)).call_rule == CallRule("one")
    auto = read(body(tool_choice="auto"))
    assert (auto.call_rule, auto.disabled_tools) == (CallRule(), ())
    for other in ("any", {"type": "function"}, 7):
        assert rejection(body(tool_choice=other)).param == "tool_choice"


def allowing(*names: str, mode: str = "auto", **more: Any) -> dict[str, Any]:
    """OpenAI's choice among some of the tools."""
    named = [{"type": "function", "function": {"name": name}} for name in names]
    return {"type": "allowed_tools", "allowed_tools": {"mode": mode, "tools": named, **more}}


def test_some_tools_are_allowed_and_the_prompt_keeps_every_tool() -> None:
    some = read(body(tool_choice=allowing("find_hotel", "book_flight", "find_hotel")))
    assert (some.call_rule, len(some.item.tools)) == (CallRule("auto", ("book_flight", "find_hotel")), 3)
    demanded = allowing("find_hotel", mode="required")
    assert read(body(tool_choice=demanded)).call_rule == CallRule("required", ("find_hotel",))
    assert read(body(tool_choice=demanded, parallel_tool_calls=False)).call_rule == CallRule("one", ("find_hotel",))


@pytest.mark.parametrize(
    ("choice", "more", "says"),
    [
        (allowing(), {}, "tool_choice allows no tool: name one or more"),
        (allowing("find_hotel", "find_hotels"), {}, "tool_choice names a function that is not in tools"),
        (allowing("find_hotel"), {"tools": None}, "tool_choice names a function that is not in tools"),
        (allowing("find_hotel", mode="none"), {}, "tool_choice: send "),
        (allowing(tools=[{"type": "custom", "custom": {"name": "find_hotel"}}]), {}, "tool_choice: send "),
        (allowing(tools=None), {}, "tool_choice: send "),
        ({"type": "allowed_tools"}, {}, "tool_choice: send "),
        ({"type": "allowed_tools", "mode": "auto", "tools": []}, {}, "tool_choice: send "),
    ],
    ids=["empty", "unknown", "no-tools", "mode", "custom", "null", "nothing", "of-the-responses-api"],
)
def test_a_choice_that_allows_nothing_is_rejected(choice: Any, more: dict[str, Any], says: str) -> None:
    error = rejection(body(tool_choice=choice, **more))
    assert error.param == "tool_choice" and str(error).startswith(says)


EDGE_NUMBERS = [-(2**63), -1, 0, 129, 2**31, 2**63, 1e308, "1", True, None, [], {}]


@pytest.mark.parametrize("field", ["n", "max_tokens", "max_completion_tokens", "seed", "temperature", "top_p"])
@pytest.mark.parametrize("value", EDGE_NUMBERS, ids=repr)
def test_numbers_at_their_edges_are_read_or_rejected(field: str, value: Any) -> None:
    try:
        options = read(body(**{field: value}))
    except InvalidRequest as error:
        assert error.status == 400
    else:
        assert 1 <= options.choices <= LIMITS.choices


SEEDS = [0, 3, 2**63 - 1, -1, -3, -(2**63)]


def test_every_seed_of_64_bits_is_a_setting_of_its_own() -> None:
    seeds = [read(body(seed=seed)).seed for seed in SEEDS]
    assert seeds[:3] == SEEDS[:3] and len(set(seeds)) == len(SEEDS)
    for seed in seeds:
        check(LoopConfig(seed=seed or 0))
    for seed in (2**63, -(2**63) - 1):
        assert rejection(body(seed=seed)).param == "seed"
    with pytest.raises(ConfigError, match="seed is -3"):
        check(LoopConfig(seed=-3))  # the control: the request's number as it is


@pytest.mark.parametrize("text", ["NaN", "Infinity", "-Infinity", "1e999", "9" * 5000])
def test_numbers_that_json_does_not_have_are_rejected(text: str) -> None:
    rejection(body().replace(b'"model"', f'"temperature": {text}, "model"'.encode()))


def test_the_number_of_choices_is_bounded() -> None:  # compare CVE-2026-34756
    assert rejection(body(n=LIMITS.choices + 1)).param == "n"


BROKEN_BODIES = {
    "nested lists": b"[" * 100_000,
    "closed nested lists": b"[" * 50_000 + b"]" * 50_000,
    "many empty lists": b"[" + b"[]," * 200_000 + b"[]]",
    "a name twice": b'{"n": 1, "n": 1000000}',
    "half a character": b'{"model": "\\ud800"}',
    "not UTF-8": b"\xff\xfe",
    "nothing": b"",
    "a number": b"7",
}


@pytest.mark.parametrize("name", BROKEN_BODIES)
def test_broken_bodies_are_rejected(name: str) -> None:
    rejection(BROKEN_BODIES[name])


def in_messages(half: str) -> dict[str, Any]:
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": json.dumps({"x": half})}}
    made = {"role": "assistant", "content": None, "tool_calls": [call]}
    return {"messages": [made, {"role": "user", "content": "x"}]}


def in_a_tool(**parts: Any) -> dict[str, Any]:
    return {"tools": [{"type": "function", "function": {"name": "f", **parts}}]}


ANYWHERE: dict[str, Callable[[str], dict[str, Any]]] = {
    "a message": lambda half: {"messages": [{"role": "user", "content": half}]},
    "a part of a message": lambda half: {"messages": [{"role": "user", "content": [{"type": "text", "text": half}]}]},
    "the arguments of a call": in_messages,
    "a tool's name": lambda half: in_a_tool(name=half),
    "a description": lambda half: in_a_tool(description=half),
    "a schema": lambda half: in_a_tool(parameters={"type": "object", "properties": {"x": {"enum": [half]}}}),
    "a property's name": lambda half: in_a_tool(parameters={"type": "object", "properties": {half: {}}}),
    "a stop": lambda half: {"stop": half},
    "a field without effect": lambda half: {"user": half},
}


@pytest.mark.parametrize("place", ANYWHERE)
@pytest.mark.parametrize("half", ["\ud800", "\udfff"])
def test_half_a_character_is_rejected_wherever_it_stands(place: str, half: str) -> None:
    assert "surrogate" in str(rejection(body(**ANYWHERE[place](half))))


@pytest.mark.parametrize("place", ANYWHERE)
def test_control_a_whole_character_is_read_wherever_it_stands(place: str) -> None:
    assert len(read(body(**ANYWHERE[place]("\U0001f4a9"))).item.content_hash) == 64


@pytest.mark.parametrize(
    "part",
    [
        {"type": "image_url", "image_url": {"url": "http://169.254.169.254/"}},
        {"type": "input_audio", "input_audio": {"data": "", "format": "wav"}},
        {"type": "file", "file": {"file_id": "../../etc/passwd"}},
        {"type": "embedding", "embedding": [0.1]},
    ],
    ids=lambda part: str(part["type"]),
)
def test_content_other_than_text_is_rejected(part: dict[str, Any]) -> None:
    # Compare CVE-2026-24779, CVE-2026-5497, CVE-2026-22773 and CVE-2025-62164.
    rejection(body(messages=[{"role": "user", "content": [part]}]))


def test_a_link_in_text_stays_text() -> None:  # compare CVE-2026-0599
    link = "![x](http://169.254.169.254/latest) file:///etc/passwd http:\\\\evil@host"
    assert read(body(link)).item.messages[0].content == link


FORBIDDEN = [
    "chat_template", "chat_template_kwargs", "guided_json", "guided_regex", "structured_outputs", "lora_request",
    "prompt_embeds", "adapter_id", "logit_bias",
]  # fmt: skip
UNREAD = ["extra_body", "cache_salt", "__proto__", "__class__", "tokenize", "model_config"]


@pytest.mark.parametrize("field", FORBIDDEN)
def test_fields_that_would_change_the_answer_are_rejected(field: str) -> None:  # CVE-2025-62426, CVE-2025-61620
    assert rejection(body(**{field: {"tokenize": True}})).param == field


@pytest.mark.parametrize("field", UNREAD)
def test_unknown_fields_change_nothing(field: str) -> None:  # compare CVE-2026-105756 and CVE-2026-105754
    options, plain = read(body(**{field: {"tokenize": True}})), read(body())
    assert replace(options, ignored=()) == plain and len(options.ignored) == 1


UNUSABLE_SCHEMAS: dict[str, Any] = {
    "remote reference": {"$ref": "http://127.0.0.1:9/x"},
    "file reference": {"type": "object", "properties": {"a": {"$ref": "file:///etc/passwd"}}},
    "broken pattern": {"type": "object", "properties": {"a": {"type": "string", "pattern": "(?:"}}},
    "unknown type": {"type": "object", "properties": {"a": {"type": "sting"}}},
    "type of a list": {"type": "object", "properties": {"a": {"type": [[]]}}},
    "many values": {"type": "object", "properties": {"a": {"enum": list(range(1001))}}},
    "many alternatives": {"type": "object", "properties": {"a": {"anyOf": [{"type": "null"}] * 10_000}}},
    "exponential": {
        "type": "object",
        "properties": {"a": {"$ref": "#/$defs/d0"}},
        "$defs": {f"d{i}": {"allOf": [{"$ref": f"#/$defs/d{i + 1}"}] * 2} for i in range(40)} | {"d40": {}},
    },
    "a list": [1],
    "a string": "object",
}


def nested(depth: int) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "string"}
    for _ in range(depth):
        schema = {"type": "object", "properties": {"a": schema}}
    return schema


@pytest.mark.parametrize("name", UNUSABLE_SCHEMAS)
def test_unusable_schemas_are_rejected(name: str) -> None:  # compare CVE-2025-48944
    rejection(with_schema(UNUSABLE_SCHEMAS[name]))


@pytest.mark.parametrize("depth", [17, 31, 100, 400])
def test_deep_schemas_are_rejected(depth: int) -> None:
    rejection(with_schema(nested(depth)))


@pytest.mark.parametrize(
    "schema",
    [
        nested(7),
        {"type": "object", "properties": {"a": {"$ref": "#"}}},
        {
            "type": "object",
            "properties": {"a": {"$ref": "#/$defs/x"}},
            "$defs": {"x": {"anyOf": [{"$ref": "#/$defs/y"}, {"type": "null"}]}, "y": {"$ref": "#/$defs/x"}},
        },
        {"type": "object", "properties": {"__proto__": {"type": "string"}, "{{7*7}}": {"type": "string"}}},
        {"type": "object", "properties": {"a": {"type": "string", "pattern": "(a+)+$"}}},
    ],
)
def test_unusual_schemas_are_read(schema: dict[str, Any]) -> None:
    assert len(read(with_schema(schema)).item.tools) == 1


TEMPLATES = ["{{7*7}}", "{% for i in range(10**9) %}", "{{''.__class__.__mro__}}", "${jndi:ldap://x}", "%n%s"]


@pytest.mark.parametrize("text", TEMPLATES)
def test_templates_in_text_stay_text(text: str) -> None:
    assert read(body(text)).item.messages[0].content == text


@pytest.mark.parametrize("name", ["a<|im_end|>", "a\x00b", "x" * 129, "", " a", 'a"b'])
def test_names_with_control_tokens_or_quotes_are_rejected(name: str) -> None:
    rejection(body(tools=[{"type": "function", "function": {"name": name, "parameters": {}}}]))


SECRET = "S3CRET-VALUE"


def messages_that_repeat_a_value() -> int:
    """How many of four error messages contain the client's value."""
    bodies = (body(n=SECRET), body(tool_choice=SECRET), body(stream=SECRET), body(messages=SECRET))
    return sum(SECRET in str(rejection(data)) for data in bodies)


def test_an_error_message_never_repeats_the_value() -> None:
    assert messages_that_repeat_a_value() == 0


def test_control_a_message_with_pydantics_input_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    def talkative(error: ValidationError, _value: Any) -> InvalidRequest:
        return InvalidRequest(400, f"this is not valid: {error.errors()[0]['input']}")

    monkeypatch.setattr(chat_request, "_invalid_request", talkative)
    assert messages_that_repeat_a_value() == 4


def test_limits_hold() -> None:
    rejection(body(messages=[{"role": "user", "content": "x"}] * 1025))
    rejection(body(tools=TOOLS * 43))
    rejection(body(stop=["a"] * 5))
    rejection(body(stop="x" * 257))
    rejection(body(messages=[{"role": "user", "content": "x"}, {"role": "assistant", "content": "y"}]))
    rejection(body(tool_choice={"type": "function", "function": {"name": "other"}}))
    rejection(body(response_format={"type": "json_object"}))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
FIELDS = st.sampled_from(
    [*chat_body(), "n", "stop", "tool_choice", "stream", "response_format", "stream_options", "seed"]
)


@given(st.dictionaries(FIELDS, JSON, max_size=4))
def test_any_value_of_a_field_is_read_or_a_client_error(changes: dict[str, Any]) -> None:
    try:
        read(json.dumps({**chat_body(), **changes}).encode())
    except InvalidRequest as error:
        assert error.status == 400


@given(st.binary(max_size=200))
def test_any_bytes_are_a_client_error(data: bytes) -> None:
    rejection(data)
