"""Fields that OpenAI's clients send: null counts as absent, ignored ones are named, unsupported ones are rejected."""

from __future__ import annotations

import json
from typing import Any

import openai
import pytest
from pydantic import BaseModel

from tests.serve.conftest import Server, body, chat_body
from tests.serve.test_chat_request import read, rejection

NULLABLE = [
    "tools", "tool_choice", "parallel_tool_calls", "n", "stop", "seed", "max_tokens", "max_completion_tokens",
    "response_format", "stream", "stream_options", "temperature", "top_p", "frequency_penalty", "presence_penalty",
    "logit_bias", "logprobs", "top_logprobs", "user", "metadata", "store", "service_tier", "reasoning_effort",
    "prompt_cache_key", "modalities", "audio", "prediction", "web_search_options", "functions", "function_call",
]  # fmt: skip


@pytest.mark.parametrize("field", NULLABLE)
def test_null_counts_as_absent(field: str) -> None:
    options = read(body(**{field: None}))
    assert options.ignored == () and (options.choices, options.stream, options.parallel_calls) == (1, False, True)


NEUTRAL: list[tuple[str, Any]] = [
    ("temperature", 0), ("top_p", 1), ("top_p", 1.0), ("frequency_penalty", 0.0), ("logprobs", False),
    ("logit_bias", {}), ("top_logprobs", 0), ("modalities", ["text"]), ("store", False),
    ("metadata", {}), ("functions", []),
    ("chat_template_kwargs", {}),
]  # fmt: skip


@pytest.mark.parametrize(("field", "value"), NEUTRAL)
def test_neutral_values_are_not_named(field: str, value: Any) -> None:
    assert read(body(**{field: value})).ignored == ()


IGNORED: list[tuple[str, Any]] = [
    ("temperature", 0.7), ("top_p", 0.9), ("store", True), ("service_tier", "auto"), ("reasoning_effort", "low"),
    ("prompt_cache_key", "k"), ("user", "ann"), ("metadata", {"a": "b"}), ("verbosity", "low"), ("tool_choise", "none"),
    ("prediction", {"type": "content"}), ("safety_identifier", "x"), ("top_k", 5),
]  # fmt: skip


@pytest.mark.parametrize(("field", "value"), IGNORED)
def test_ignored_fields_are_named(field: str, value: Any) -> None:
    assert read(body(**{field: value})).ignored == (field,)


def test_inner_fields_are_named_with_their_place() -> None:
    messages = [{"role": "user", "content": "x", "name": "ann"}]
    options = {"include_usage": True, "chunk_size": 3}
    options = read(body(messages=messages, stream=True, stream_options=options))
    assert options.ignored == ("messages.name", "stream_options.chunk_size")


def test_unsafe_names_and_names_beyond_the_limit_are_only_counted() -> None:
    odd = read(body(**{"a\r\nset-cookie: x": 1, "ä": 1, "x" * 99: 1}))
    assert odd.ignored == ("and 3 more",)
    many = read(body(**{f"field_{number:03}": 1 for number in range(40)}))
    assert len(many.ignored) == 25 and many.ignored[-1] == "and 16 more"


UNSUPPORTED: list[tuple[str, Any]] = [
    ("logit_bias", {"50256": -100}), ("logprobs", True), ("top_logprobs", 2), ("frequency_penalty", 0.5),
    ("presence_penalty", -1), ("modalities", ["text", "audio"]), ("audio", {"voice": "x"}),
    ("web_search_options", {"a": 1}), ("functions", [{"name": "f"}]), ("function_call", "auto"), ("n", 9),
    ("response_format", {"type": "grammar"}), ("tools", [{"type": "web_search"}]),
    ("tools", [{"type": "custom", "custom": {"name": "f"}}]),
]  # fmt: skip


@pytest.mark.parametrize(("field", "value"), UNSUPPORTED)
def test_unsupported_fields_are_rejected(field: str, value: Any) -> None:
    error = rejection(body(**{field: value}))
    assert (error.param or "").startswith(field)


def test_a_missing_field_is_named_with_its_misspelling() -> None:
    request = chat_body()
    request["mesages"] = request.pop("messages")
    assert (
        str(rejection(json.dumps(request).encode()))
        == "messages: this field is required; did you misspell it as mesages?"
    )
    assert str(rejection(b'{"model": "m", "zzz": 1}')) == "messages: this field is required"


@pytest.mark.parametrize("stream", [False, True])
def test_the_header_names_the_ignored_fields(server: Server, stream: bool) -> None:
    with server.client() as client:
        raw: Any = client.chat.completions.with_raw_response
        named = raw.create(**chat_body(stream=stream, store=True, service_tier="auto", temperature=0.5))
        assert named.headers["x-ttsi-ignored"] == "service_tier, store, temperature"
        assert "x-ttsi-ignored" not in raw.create(**chat_body(stream=stream)).headers


def test_the_loop_of_parse_and_stream_goes_on_with_their_own_messages(client: openai.OpenAI) -> None:
    class Weather(BaseModel):
        city: str

    tools = [openai.pydantic_function_tool(Weather, name="get_weather", description="Look up the weather of a city")]
    messages: list[Any] = [{"role": "user", "content": "Is the weather fine in Oslo"}]
    for way in ("parse", "stream"):
        if way == "parse":
            message: Any = client.chat.completions.parse(model="scripted:demo", messages=messages, tools=tools)
        else:
            with client.chat.completions.stream(model="scripted:demo", messages=messages, tools=tools) as events:
                message = events.get_final_completion()
        message = message.choices[0].message
        assert message.tool_calls and message.tool_calls[0].function.parsed_arguments == Weather(city="Oslo")
        messages += [message, {"role": "tool", "tool_call_id": message.tool_calls[0].id, "content": "rain"}]
    wrong = [*messages[:-1], {"role": "tool", "tool_call_id": "call_of_nobody", "content": "rain"}]
    with pytest.raises(openai.BadRequestError, match="names no earlier call"):
        client.chat.completions.create(model="scripted:demo", messages=wrong, tools=tools)
