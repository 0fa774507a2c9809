"""What a stranger may send: what is read, and that everything else is a client's fault with a line of our own."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.serve.conftest import asked, body
from tests.worlds import TOOLS
from ttsi.serve.limits import Limits
from ttsi.serve.wire import Asked, Refusal, read_request

LIMITS = Limits()


def read(data: bytes) -> Asked:
    return read_request(data, LIMITS, "id")


def refused(data: bytes) -> Refusal:
    with pytest.raises(Refusal) as found:
        read(data)
    assert found.value.status == 400
    assert "\n" not in str(found.value) and len(str(found.value)) <= 400
    return found.value


def with_schema(schema: Any) -> bytes:
    return body(tools=[{"type": "function", "function": {"name": "f", "parameters": schema}}])


def test_a_request_is_read_as_an_input() -> None:
    found = read(body(n=2, stop="x", max_tokens=9, max_completion_tokens=7, seed=3))
    assert [tool.name for tool in found.item.tools] == ["book_flight", "get_weather", "find_hotel"]
    assert (found.choices, found.stop, found.max_tokens, found.seed) == (2, ("x",), 7, 3)


def test_text_parts_and_the_developer_are_understood() -> None:
    messages = [
        {"role": "developer", "content": "be brief"},
        {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]},
    ]
    found = read(body(messages=messages))
    assert [(m.role, m.content) for m in found.item.messages] == [("system", "be brief"), ("user", "ab")]


def test_results_are_put_in_the_order_of_their_calls() -> None:
    def call(name: str) -> dict[str, Any]:
        return {"id": name, "type": "function", "function": {"name": name, "arguments": "{}"}}

    messages = [
        {"role": "user", "content": "go"},
        {"role": "assistant", "content": None, "tool_calls": [call("a"), call("b")]},
        {"role": "tool", "tool_call_id": "b", "content": "of b"},
        {"role": "tool", "tool_call_id": "a", "content": "of a"},
    ]
    found = read(body(messages=messages))
    assert [m.content for m in found.item.messages[-2:]] == ["of a", "of b"]


def test_tool_choice_says_what_may_be_called_and_the_prompt_keeps_every_tool() -> None:
    nothing = read(body(tool_choice="none"))
    assert nothing.item.tools == () and nothing.names == ("book_flight", "find_hotel", "get_weather")
    named = read(body(tool_choice={"type": "function", "function": {"name": "find_hotel"}}))
    assert (named.forced, named.call_required, len(named.item.tools)) == ("find_hotel", True, 3)
    assert read(body(tool_choice="required")).call_required
    auto = read(body(tool_choice="auto"))
    assert (auto.forced, auto.call_required, auto.names) == (None, False, ())
    for other in ("any", {"type": "allowed_tools"}, {"type": "function"}, 7):
        assert refused(body(tool_choice=other)).param == "tool_choice"


H2 = [-(2**63), -1, 0, 129, 2**31, 2**63, 1e308, "1", True, None, [], {}]


@pytest.mark.parametrize("field", ["n", "max_tokens", "max_completion_tokens", "seed", "temperature", "top_p"])
@pytest.mark.parametrize("value", H2, ids=repr)
def test_h2_numbers_at_their_edges_are_read_or_refused(field: str, value: Any) -> None:
    try:
        found = read(body(**{field: value}))
    except Refusal as error:
        assert error.status == 400
    else:
        assert 1 <= found.choices <= LIMITS.choices


@pytest.mark.parametrize("text", ["NaN", "Infinity", "-Infinity", "1e999", "9" * 5000])
def test_h2_numbers_that_json_does_not_have_are_refused(text: str) -> None:
    refused(body().replace(b'"model"', f'"temperature": {text}, "model"'.encode()))


def test_cve_2026_34756_the_number_of_choices_is_bounded() -> None:
    assert refused(body(n=LIMITS.choices + 1)).param == "n"


H1_BODIES = {
    "nested lists": b"[" * 100_000,
    "closed nested lists": b"[" * 50_000 + b"]" * 50_000,
    "many empty lists": b"[" + b"[]," * 200_000 + b"[]]",
    "a name twice": b'{"n": 1, "n": 1000000}',
    "half a character": b'{"model": "\\ud800"}',
    "not UTF-8": b"\xff\xfe",
    "nothing": b"",
    "a number": b"7",
}


@pytest.mark.parametrize("name", H1_BODIES)
def test_h1_broken_bodies(name: str) -> None:
    refused(H1_BODIES[name])


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
def test_cve_2026_24779_5497_22773_2025_62164_only_text_is_understood(part: dict[str, Any]) -> None:
    refused(body(messages=[{"role": "user", "content": [part]}]))


def test_cve_2026_0599_a_link_in_text_stays_text() -> None:
    link = "![x](http://169.254.169.254/latest) file:///etc/passwd http:\\\\evil@host"
    assert read(body(link)).item.messages[0].content == link


FORBIDDEN = [
    "chat_template", "chat_template_kwargs", "guided_json", "guided_regex", "structured_outputs", "lora_request",
    "prompt_embeds", "adapter_id", "logit_bias",
]  # fmt: skip
UNREAD = ["extra_body", "cache_salt", "__proto__", "__class__", "tokenize", "model_config"]


@pytest.mark.parametrize("field", FORBIDDEN)
def test_cve_2025_62426_61620_what_would_change_the_answer_is_refused(field: str) -> None:
    assert refused(body(**{field: {"tokenize": True}})).param == field


@pytest.mark.parametrize("field", UNREAD)
def test_cve_2026_105756_105754_what_nobody_reads_changes_nothing(field: str) -> None:
    found, plain = read(body(**{field: {"tokenize": True}})), read(body())
    assert replace(found, ignored=()) == plain and len(found.ignored) == 1


H3_SCHEMAS: dict[str, Any] = {
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


@pytest.mark.parametrize("name", H3_SCHEMAS)
def test_cve_2025_48944_h3_schemas_that_nobody_can_use(name: str) -> None:
    refused(with_schema(H3_SCHEMAS[name]))


@pytest.mark.parametrize("depth", [17, 31, 100, 400])
def test_h3_deep_schemas(depth: int) -> None:
    refused(with_schema(nested(depth)))


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
def test_schemas_that_are_only_odd_are_read(schema: dict[str, Any]) -> None:
    assert len(read(with_schema(schema)).item.tools) == 1


H5 = ["{{7*7}}", "{% for i in range(10**9) %}", "{{''.__class__.__mro__}}", "${jndi:ldap://x}", "%n%s"]


@pytest.mark.parametrize("text", H5)
def test_h5_templates_in_text_stay_text(text: str) -> None:
    assert read(body(text)).item.messages[0].content == text


@pytest.mark.parametrize("name", ["a<|im_end|>", "a\x00b", "x" * 129, "", " a", 'a"b'])
def test_h7_names_that_could_be_something_else_are_refused(name: str) -> None:
    refused(body(tools=[{"type": "function", "function": {"name": name, "parameters": {}}}]))


def test_h10_a_refusal_never_repeats_the_value() -> None:
    secret = "S3CRET-VALUE"
    for data in (body(n=secret), body(tool_choice=secret), body(stream=secret), body(messages=secret)):
        assert secret not in str(refused(data))


def test_control_a_reader_that_repeats_the_value_is_seen() -> None:
    with pytest.raises(ValueError, match="S3CRET"):
        int("S3CRET-VALUE")


def test_limits_hold() -> None:
    refused(body(messages=[{"role": "user", "content": "x"}] * 1025))
    refused(body(tools=TOOLS * 43))
    refused(body(stop=["a"] * 5))
    refused(body(stop="x" * 257))
    refused(body(messages=[{"role": "user", "content": "x"}, {"role": "assistant", "content": "y"}]))
    refused(body(tool_choice={"type": "function", "function": {"name": "other"}}))
    refused(body(response_format={"type": "json_object"}))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
FIELDS = st.sampled_from([*asked(), "n", "stop", "tool_choice", "stream", "response_format", "stream_options", "seed"])


@given(st.dictionaries(FIELDS, JSON, max_size=4))
def test_whatever_stands_in_a_field_is_read_or_a_clients_fault(changes: dict[str, Any]) -> None:
    try:
        read(json.dumps({**asked(), **changes}).encode())
    except Refusal as error:
        assert error.status == 400


@given(st.binary(max_size=200))
def test_whatever_bytes_come_are_a_clients_fault(data: bytes) -> None:
    refused(data)
