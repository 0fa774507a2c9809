"""Chat completion requests: OpenAI's schema and its validation.

Inputs: the bytes of a request body in OpenAI's chat format, and the request's headers. Outputs: `RequestOptions`, the
one form in which a request passes through the server. Every invalid request raises `InvalidRequest` with a status, the
field and one line that never repeats a value. A client's error must never be a 5xx, because clients retry those.

Nothing is fetched, no client text is used as a template, and no field is passed on without being read. Fields without
effect are ignored and named in the response. Fields that would change the answer but are not supported are rejected.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError

from ttsi.chat.conversation import read_messages, read_tools
from ttsi.chat.json_text import strict_json
from ttsi.chat.tool_schema import normalise
from ttsi.errors import DataError
from ttsi.serve.limits import Limits, check_nesting, check_schemas
from ttsi.serve.tool_choice import SHAPES, CallRule, RequestPart, ToolChoice, read_tool_choice
from ttsi.types import Input, Tool


class InvalidRequest(Exception):
    """A client error (4xx): status, message, the field at fault and OpenAI's error code."""

    def __init__(self, status: int, message: str, param: str | None = None, code: str | None = None) -> None:
        super().__init__(message)
        self.status, self.param, self.code = status, param, code


class JsonSchema(RequestPart):
    """The schema that the answer must match."""

    name: Annotated[str, Field(max_length=64)]
    description: str | None = None
    strict: bool | None = None
    schema_: Annotated[dict[str, Any], Field(alias="schema")]


class ResponseFormat(RequestPart):
    """The format of a text answer."""

    type: Literal["text", "json_object", "json_schema"]
    json_schema: JsonSchema | None = None


class StreamOptions(RequestPart):
    """What a stream carries beside the answer."""

    include_usage: bool | None = None
    include_obfuscation: bool | None = None


class ChatRequest(RequestPart):
    """A chat completion request. Fields that are not listed are ignored and named in the header X-TTSI-Ignored."""

    model: Annotated[str, Field(max_length=256)]
    messages: Annotated[list[dict[str, Any]], Field(min_length=1)]
    """OpenAI's messages, text only (`ttsi.chat.conversation`)."""
    tools: list[dict[str, Any]] | None = None
    tool_choice: ToolChoice | None = None
    parallel_tool_calls: bool | None = None
    n: Annotated[int, Field(ge=1, le=128)] | None = None
    stop: str | list[str] | None = None
    seed: Annotated[int, Field(ge=-(2**63), lt=2**63)] | None = None
    max_tokens: Annotated[int, Field(ge=1, lt=2**31)] | None = None
    max_completion_tokens: Annotated[int, Field(ge=1, lt=2**31)] | None = None
    response_format: ResponseFormat | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    temperature: Annotated[float, Field(ge=0, le=2, strict=False)] | None = None
    """No effect: decoding is greedy, as in the method."""
    top_p: Annotated[float, Field(ge=0, le=1, strict=False)] | None = None
    """No effect, as `temperature`."""


_NEUTRAL_VALUES: Mapping[str, tuple[Any, ...]] = {
    "temperature": (0,), "top_p": (1,), "store": (False,), "reasoning_effort": ("none",),
}  # fmt: skip
"""Values that ask for what the server does anyway. They are not named as ignored."""

_UNSUPPORTED: Mapping[str, tuple[tuple[Any, ...], str]] = {
    "logit_bias": (({},), "token biases are not supported"),
    "logprobs": ((False,), "log probabilities are not returned"),
    "top_logprobs": ((0,), "log probabilities are not returned"),
    "frequency_penalty": ((0,), "penalties are not supported; omit it or send 0"),
    "presence_penalty": ((0,), "penalties are not supported; omit it or send 0"),
    "modalities": ((["text"], []), "only text output is supported"),
    "audio": ((), "only text output is supported"),
    "web_search_options": ((), "web search is not supported"),
    "functions": (([],), "deprecated by OpenAI; send tools instead"),
    "function_call": ((), "deprecated by OpenAI; send tool_choice instead"),
    "chat_template": ((), "the model's own chat template is always used"),
    "chat_template_kwargs": (({},), "the model's own chat template is always used"),
    "prompt_embeds": ((), "prompts must be text"),
    "lora_request": ((), "clients cannot choose an adapter"),
    "adapter_id": ((), "clients cannot choose an adapter"),
    **dict.fromkeys(
        ("guided_json", "guided_regex", "guided_choice", "guided_grammar", "structured_outputs"),
        ((), "send response_format, or tools with tool_choice"),
    ),
}  # fmt: skip
"""Fields that would change the answer but are not supported: their neutral values, and the reason."""

_SWITCH = {"on": True, "1": True, "true": True, "off": False, "0": False, "false": False}
"""Values of a header that switches something."""
_PLAIN_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,63}")
_MAX_NAMED = 24
"""Ignored fields that are named in the response; the others are counted."""


@dataclass(frozen=True)
class RequestOptions:
    """A validated request: its conversation, and what it asks for."""

    item: Input
    model: str
    choices: int
    max_tokens: int | None
    seed: int | None
    """0 or more, as the settings take it."""
    stop: tuple[str, ...]
    call_rule: CallRule
    """What the answer may call, and whether it must."""
    parallel_calls: bool
    """Whether one answer may hold several calls."""
    answer_schema: str | None
    """JSON Schema (as text) that the answer must match, for requests without tools."""
    stream: bool
    include_usage: bool
    disabled_tools: tuple[str, ...] = ()
    """Tools that the request offers and forbids (tool_choice "none")."""
    ignored: tuple[str, ...] = ()
    """Fields that were set and had no effect."""
    adapt: bool = True
    """False where the request switches adaptation off."""
    adapt_seconds: float | None = None
    """Time limit for adaptation; the operator's limit still applies."""
    details: bool = False
    """Whether the response carries the `ttsi` object."""


def read_json(body: bytes, limits: Limits) -> Any:
    """A request body as strict JSON.

    Raises:
        InvalidRequest: it is not JSON, has a duplicate name, or exceeds a limit.
    """
    if body.count(b"[") + body.count(b"{") + body.count(b",") > limits.json_nodes:
        raise InvalidRequest(400, f"the body holds more than {limits.json_nodes} values")
    try:
        value = strict_json(body.decode())
        check_nesting(value, limits)
    except DataError as error:
        raise InvalidRequest(400, str(error)) from None
    except RecursionError:
        raise InvalidRequest(400, f"the body is nested deeper than {limits.json_depth} levels") from None
    except ValueError:
        raise InvalidRequest(400, "the body is not valid JSON in UTF-8 without NaN or duplicate names") from None
    return value


def read_request(body: bytes, limits: Limits, request_id: str) -> RequestOptions:
    """Parse and validate the body of a chat completion request.

    Raises:
        InvalidRequest: it is not valid, or not supported.
    """
    value = read_json(body, limits)
    try:
        request = ChatRequest.model_validate(value)
    except ValidationError as error:
        raise _invalid_request(error, value) from None
    try:
        return _options(request, limits, request_id)
    except DataError as error:
        line = _one_line(str(error))
        place = re.match(r"(?:messages|tool_choice|tools)[\w.\[\]]*", line)
        raise InvalidRequest(400, line, place[0] if place else None) from None


def read_headers(options: RequestOptions, headers: Mapping[str, str]) -> RequestOptions:
    """The options with those that the X-TTSI headers set.

    Raises:
        InvalidRequest: a header has another value than it may.
    """
    seconds = headers.get("x-ttsi-seconds")
    if seconds is not None and not (
        seconds.isascii() and seconds.isdigit() and 0 < len(seconds) < 7 and int(seconds) > 0
    ):
        raise InvalidRequest(400, "the header X-TTSI-Seconds must be a positive whole number below 1000000")
    return replace(
        options,
        adapt=_switch(headers, "X-TTSI-Adapt", default="on"),
        adapt_seconds=float(seconds) if seconds else None,
        details=_switch(headers, "X-TTSI-Details", default="off"),
    )


def _switch(headers: Mapping[str, str], name: str, default: str) -> bool:
    value = headers.get(name.lower(), default).lower()
    if value not in _SWITCH:
        raise InvalidRequest(400, f"the header {name} must be `on` or `off`")
    return _SWITCH[value]


def _invalid_request(error: ValidationError, value: Any) -> InvalidRequest:
    """The first error, in pydantic's words for types and bounds, without the value itself."""
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    steps = [step for step in first["loc"] if isinstance(step, int) or step.isidentifier()]
    place = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in steps).removeprefix(".")[:120]
    message = first["msg"]
    if first["type"] == "missing":
        close = difflib.get_close_matches(str(first["loc"][-1]), _unknown_names(value, first["loc"][:-1]), n=1)
        message = "this field is required" + (f"; did you misspell it as {close[0]}?" if close else "")
    elif first["loc"][:1] == ("tool_choice",):
        place, message = "tool_choice", SHAPES
    elif first["loc"] == ("response_format", "type"):
        message = "must be text, json_object or json_schema"
    return InvalidRequest(400, _one_line(f"{place or 'the body'}: {message}"), param=place or None)


def _unknown_names(value: Any, place: Sequence[int | str]) -> list[str]:
    """The names beside a missing field that are no fields themselves: one of them may be meant."""
    for step in place:
        value = value.get(step) if isinstance(value, dict) else None
    names = [name for name in value if _PLAIN_NAME.fullmatch(name)] if isinstance(value, dict) else []
    kinds = (ChatRequest, ResponseFormat, JsonSchema, StreamOptions)
    fields = {field.alias or name for kind in kinds for name, field in kind.model_fields.items()}
    return [name for name in names if name not in fields]


def _one_line(text: str) -> str:
    return " ".join(text.split())[:300]


def _options(request: ChatRequest, limits: Limits, request_id: str) -> RequestOptions:
    if len(request.messages) > limits.messages:
        raise InvalidRequest(400, f"at most {limits.messages} messages are allowed", "messages")
    choices = 1 if request.n is None else request.n
    if choices > limits.choices:
        raise InvalidRequest(400, f"n must be at most {limits.choices}", "n")
    ignored = _ignored_fields(request)
    tools = offered = _tools(request, limits, ignored)
    parallel_calls = request.parallel_tool_calls is not False
    call_rule = read_tool_choice(request.tool_choice, tools, parallel_calls)
    if request.tool_choice == "none":  # a model that sees tools in its prompt calls them
        tools = ()
    messages = read_messages(request.messages, ignored)
    for call in (call for message in messages for call in message.tool_calls):
        check_nesting(call.arguments, limits)  # they came as text, which `read_json` did not look into
    token_limits = [count for count in (request.max_tokens, request.max_completion_tokens) if count is not None]
    return RequestOptions(
        item=Input(request_id, messages, tools),
        model=request.model,
        choices=choices,
        max_tokens=min(token_limits, default=None),
        seed=None if request.seed is None else request.seed % 2**64,  # OpenAI's may be negative; all stay distinct
        stop=_stop(request.stop),
        call_rule=call_rule,
        parallel_calls=parallel_calls,
        answer_schema=_answer_schema(request.response_format, bool(tools), limits),
        stream=bool(request.stream),
        include_usage=request.stream_options is not None and bool(request.stream_options.include_usage),
        disabled_tools=tuple(sorted(tool.name for tool in offered)) if request.tool_choice == "none" else (),
        ignored=_header_names(ignored),
    )


def _ignored_fields(request: ChatRequest) -> set[str]:
    """The fields outside messages and tools that are set and have no effect.

    Raises:
        InvalidRequest: one would change the answer.
    """
    extra = {**(request.model_extra or {}), "temperature": request.temperature, "top_p": request.top_p}
    for name, (neutral, why) in _UNSUPPORTED.items():
        if extra.get(name) is not None and extra.pop(name) not in neutral:
            raise InvalidRequest(400, f"{name}: {why}", name)
        extra.pop(name, None)
    inner = {"stream_options": request.stream_options, "response_format": request.response_format}
    for place, part in inner.items():
        extra |= {f"{place}.{name}": value for name, value in ((part.model_extra if part else None) or {}).items()}
    return {
        name for name, value in extra.items() if value is not None and value not in _NEUTRAL_VALUES.get(name, ([], {}))
    }


def _header_names(ignored: set[str]) -> tuple[str, ...]:
    """Names that are safe in a header: plain ones, and a count of the others."""
    plain = sorted(name for name in ignored if _PLAIN_NAME.fullmatch(name))
    more = len(ignored) - len(plain[:_MAX_NAMED])
    return (*plain[:_MAX_NAMED], *([f"and {more} more"] if more else []))


def _tools(request: ChatRequest, limits: Limits, ignored: set[str]) -> tuple[Tool, ...]:
    sent = request.tools or []
    if len(sent) > limits.tools:
        raise InvalidRequest(400, f"at most {limits.tools} tools are allowed", "tools")
    try:
        check_schemas([_parameters(tool) for tool in sent], limits)
    except DataError as error:
        raise InvalidRequest(400, str(error), "tools") from None
    tools = read_tools(sent, ignored) if sent else ()
    if any(len(tool.name) > 128 for tool in tools):
        raise InvalidRequest(400, "a function name has more than 128 characters", "tools")
    return tools


def _parameters(tool: dict[str, Any]) -> Any:
    function = tool.get("function", tool)
    return function.get("parameters") if isinstance(function, dict) else None


def _stop(stop: str | list[str] | None) -> tuple[str, ...]:
    texts = (stop,) if isinstance(stop, str) else tuple(stop or ())
    if len(texts) > 4 or any(not 1 <= len(text) <= 256 for text in texts):
        raise InvalidRequest(400, "stop takes at most 4 texts of 1 to 256 characters", "stop")
    return texts


def _answer_schema(response: ResponseFormat | None, with_tools: bool, limits: Limits) -> str | None:
    if response is None or response.type == "text":
        return None
    if with_tools:
        raise InvalidRequest(400, "response_format cannot be combined with tools", "response_format")
    if response.type == "json_object":
        return '{"type": "object"}'
    if response.json_schema is None:
        raise InvalidRequest(400, "json_schema is required", "response_format")
    schema = response.json_schema.schema_
    try:
        check_schemas([schema], limits)
        _check_answer_schema(schema)
    except DataError as error:
        reason = str(error).replace("properties.answer.", "")
        raise InvalidRequest(400, _one_line(f"response_format: {reason}"), "response_format") from None
    return json.dumps(schema, ensure_ascii=False)


def _check_answer_schema(schema: dict[str, Any]) -> None:
    """Check a schema that may be of any type, as a tool's parameters are checked; its references point into itself.

    Raises:
        DataError: it cannot be used.
    """
    normalise({**schema, "type": "object"})
    # The keywords that are not read as they stand where a schema is one of a tool's parameters.
    own = {key: schema[key] for key in ("type", "properties", "required") if key in schema}
    normalise({"properties": {"answer": {key: value for key, value in own.items() if key == "type" or not value}}})
