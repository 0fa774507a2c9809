"""What may a client say, and what does it hear?

Inputs: the bytes of a request body in OpenAI's chat format. Outputs: an `Asked`: our `Input` and what this request
lowers; and back, an outcome as a completion or as the chunks of a stream. Whatever is wrong is a `Refusal` with the
status, the field and one line of our own words: a client's fault must never look like ours, since clients repeat what
fails with 5xx.

Nothing is fetched, no client text is a template, and no field is passed on unread: one that nobody here reads is
ignored and named in the reply, and one that would change the answer and cannot be honoured is refused.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ttsi.chat.conversation import read_messages, read_tools
from ttsi.chat.schema import tool_from_openai
from ttsi.errors import DataError
from ttsi.serve.limits import Limits, check_nesting, check_schemas
from ttsi.types import Input, Tool


class Refusal(Exception):
    """A request that is not answered: status, field, code and one line."""

    def __init__(self, status: int, message: str, param: str | None = None, code: str | None = None) -> None:
        """Say why."""
        super().__init__(message)
        self.status, self.param, self.code = status, param, code


class _Fields(BaseModel):
    model_config = ConfigDict(extra="allow", strict=True)


class Named(_Fields):
    """A function by name."""

    name: str


class Choose(_Fields):
    """The one function that has to be called."""

    type: Literal["function"]
    function: Named


class JsonSchema(_Fields):
    """The schema that an answer has to fit."""

    name: Annotated[str, Field(max_length=64)]
    description: str | None = None
    strict: bool | None = None
    schema_: Annotated[dict[str, Any], Field(alias="schema")]


class Shape(_Fields):
    """The form of an answer in words."""

    type: Literal["text", "json_object", "json_schema"]
    json_schema: JsonSchema | None = None


class StreamOptions(_Fields):
    """What a stream says beside the answer."""

    include_usage: bool | None = None
    include_obfuscation: bool | None = None


class ChatRequest(_Fields):
    """A chat completion request; a field that is not listed is ignored and named in the header X-TTSI-Ignored."""

    model: Annotated[str, Field(max_length=256)]
    messages: Annotated[list[dict[str, Any]], Field(min_length=1)]
    """As OpenAI's, of text only (`ttsi.chat.conversation`)."""
    tools: list[dict[str, Any]] | None = None
    tool_choice: Literal["none", "auto", "required"] | Choose | None = None
    parallel_tool_calls: bool | None = None
    n: Annotated[int, Field(ge=1, le=128)] | None = None
    stop: str | list[str] | None = None
    seed: Annotated[int, Field(ge=-(2**63), lt=2**63)] | None = None
    max_tokens: Annotated[int, Field(ge=1, lt=2**31)] | None = None
    max_completion_tokens: Annotated[int, Field(ge=1, lt=2**31)] | None = None
    response_format: Shape | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    temperature: Annotated[float, Field(ge=0, le=2, strict=False)] | None = None
    """Without effect: answers are greedy, as the method's are."""
    top_p: Annotated[float, Field(ge=0, le=1, strict=False)] | None = None
    """As `temperature`."""


_NOTHING: Mapping[str, tuple[Any, ...]] = {
    "temperature": (0,), "top_p": (1,), "store": (False,), "reasoning_effort": ("none",),
}  # fmt: skip
"""What asks for nothing that is not so anyhow, and need not be named as ignored."""

_REFUSED: Mapping[str, tuple[tuple[Any, ...], str]] = {
    "logit_bias": (({},), "tokens cannot be favoured"),
    "logprobs": ((False,), "no probabilities of tokens are given"),
    "top_logprobs": ((0,), "no probabilities of tokens are given"),
    "frequency_penalty": ((0,), "repetition is not penalised; leave it out or send 0"),
    "presence_penalty": ((0,), "repetition is not penalised; leave it out or send 0"),
    "modalities": ((["text"], []), "answers are text"),
    "audio": ((), "answers are text"),
    "web_search_options": ((), "nothing is looked up on the web"),
    "functions": (([],), "this is OpenAI's old form: send tools"),
    "function_call": ((), "this is OpenAI's old form: send tool_choice"),
    "chat_template": ((), "the template is the model's own"),
    "chat_template_kwargs": (({},), "the template is the model's own"),
    "prompt_embeds": ((), "prompts are text"),
    "lora_request": ((), "adapters are the server's own"),
    "adapter_id": ((), "adapters are the server's own"),
    **dict.fromkeys(
        ("guided_json", "guided_regex", "guided_choice", "guided_grammar", "structured_outputs"),
        ((), "send response_format, or tools with tool_choice"),
    ),
}  # fmt: skip
"""Fields that would change the answer and cannot be honoured: values that ask for nothing, and why not."""

_PLAIN_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,63}")
_MOST_NAMED = 24


@dataclass(frozen=True)
class Asked:
    """A request as it is answered."""

    item: Input
    model: str
    choices: int
    max_tokens: int | None
    seed: int | None
    stop: tuple[str, ...]
    call_required: bool
    """Words alone are no answer."""
    forced: str | None
    """The one tool that has to be called."""
    parallel: bool
    answer_schema: str | None
    stream: bool
    include_usage: bool
    names: tuple[str, ...] = ()
    """Tools that the request names and that may not be called."""
    ignored: tuple[str, ...] = ()
    """Fields that say something and had no effect."""


def read_json(body: bytes, limits: Limits) -> Any:
    """A request body as JSON, without what only some parsers accept.

    Raises:
        Refusal: it is no JSON, ambiguous, or beyond a limit.
    """
    if body.count(b"[") + body.count(b"{") + body.count(b",") > limits.json_nodes:
        raise Refusal(400, f"the body holds more than {limits.json_nodes} values")
    try:
        value = json.loads(body.decode(), object_pairs_hook=_once, parse_constant=_no_constant)
        check_nesting(value, limits)
    except DataError as error:
        raise Refusal(400, str(error)) from None
    except RecursionError:
        raise Refusal(400, f"the body is nested deeper than {limits.json_depth} levels") from None
    except ValueError:
        raise Refusal(400, "the body is not JSON in UTF-8") from None
    return value


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise DataError("the body gives a name twice in one object")
    return found


def _no_constant(name: str) -> Any:
    raise DataError(f"{name} is no JSON number")


def read_request(body: bytes, limits: Limits, request_id: str) -> Asked:
    """A chat completion request.

    Raises:
        Refusal: it is none that can be answered.
    """
    value = read_json(body, limits)
    try:
        request = ChatRequest.model_validate(value)
    except ValidationError as error:
        raise _refusal(error, value) from None
    try:
        return _asked(request, limits, request_id)
    except DataError as error:
        line = _shown(str(error))
        place = re.match(r"(?:messages|tools)[\w.\[\]]*", line)
        raise Refusal(400, line, place[0] if place else None) from None


def _refusal(error: ValidationError, value: Any) -> Refusal:
    """The first fault, in pydantic's words for types and bounds, never with the value itself."""
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    place = ".".join(str(step) for step in first["loc"] if isinstance(step, int) or step.isidentifier())[:120]
    what = first["msg"]
    if first["type"] == "missing":
        given = [key for key in value if _PLAIN_NAME.fullmatch(key)] if isinstance(value, dict) else []
        close = difflib.get_close_matches(place, given, n=1)
        what = f"this field is missing; did you mean it by {close[0]}?" if close else "this field is missing"
    elif first["loc"][:1] == ("tool_choice",):
        what = 'send "none", "auto", "required" or {"type": "function", "function": {"name": ...}}'
        place = "tool_choice"
    elif first["loc"] == ("response_format", "type"):
        what = "only text, json_object and json_schema are understood"
    return Refusal(400, _shown(f"{place or 'the body'}: {what}"), param=place or None)


def _shown(text: str) -> str:
    return " ".join(text.split())[:300]


def _asked(request: ChatRequest, limits: Limits, request_id: str) -> Asked:
    if len(request.messages) > limits.messages:
        raise Refusal(400, f"there are more than {limits.messages} messages", "messages")
    choices = 1 if request.n is None else request.n
    if choices > limits.choices:
        raise Refusal(400, f"at most {limits.choices} choices are given at once", "n")
    ignored = _ignored(request)
    tools = _tools(request, limits, ignored)
    names = {tool.name for tool in tools}
    choice = request.tool_choice
    forced = choice.function.name if isinstance(choice, Choose) else None
    if forced is not None and forced not in names:
        raise Refusal(400, "tool_choice names a tool that is not offered", "tool_choice")
    if choice == "required" and not tools:
        raise Refusal(400, "a call is required, but no tool is offered", "tool_choice")
    if choice == "none":  # a model that reads of tools calls them
        tools = ()
    messages = read_messages(request.messages, ignored)
    for call in (call for message in messages for call in message.tool_calls):
        check_nesting(call.arguments, limits)  # they came as text, which `read_json` did not look into
    wanted = [count for count in (request.max_tokens, request.max_completion_tokens) if count is not None]
    return Asked(
        item=Input(request_id, messages, tools),
        model=request.model,
        choices=choices,
        max_tokens=min(wanted, default=None),
        seed=request.seed,
        stop=_stop(request.stop),
        call_required=forced is not None or choice == "required",
        forced=forced,
        parallel=request.parallel_tool_calls is not False,
        answer_schema=_answer_schema(request.response_format, bool(tools), limits),
        stream=bool(request.stream),
        include_usage=request.stream_options is not None and bool(request.stream_options.include_usage),
        names=tuple(sorted(names)) if choice == "none" else (),
        ignored=_named(ignored),
    )


def _ignored(request: ChatRequest) -> set[str]:
    """The fields outside messages and tools that say something and have no effect.

    Raises:
        Refusal: one would change the answer.
    """
    extra = {**(request.model_extra or {}), "temperature": request.temperature, "top_p": request.top_p}
    for name, (nothing, why) in _REFUSED.items():
        if extra.get(name) is not None and extra.pop(name) not in nothing:
            raise Refusal(400, f"{name}: {why}", name)
        extra.pop(name, None)
    inner = {"stream_options": request.stream_options, "response_format": request.response_format}
    for place, part in inner.items():
        extra |= {f"{place}.{name}": value for name, value in ((part.model_extra if part else None) or {}).items()}
    return {name for name, value in extra.items() if value is not None and value not in _NOTHING.get(name, ([], {}))}


def _named(ignored: set[str]) -> tuple[str, ...]:
    """Names as they may stand in a header: plain ones, not too many."""
    plain = sorted(name for name in ignored if _PLAIN_NAME.fullmatch(name))
    more = len(ignored) - len(plain[:_MOST_NAMED])
    return (*plain[:_MOST_NAMED], *([f"and {more} more"] if more else []))


def _tools(request: ChatRequest, limits: Limits, ignored: set[str]) -> tuple[Tool, ...]:
    given = request.tools or []
    if len(given) > limits.tools:
        raise Refusal(400, f"there are more than {limits.tools} tools", "tools")
    check_schemas([_parameters(tool) for tool in given], limits)
    tools = read_tools(given, ignored) if given else ()
    if any(len(tool.name) > 128 for tool in tools):
        raise Refusal(400, "a tool's name has more than 128 characters", "tools")
    return tools


def _parameters(tool: dict[str, Any]) -> Any:
    function = tool.get("function", tool)
    return function.get("parameters") if isinstance(function, dict) else None


def _stop(stop: str | list[str] | None) -> tuple[str, ...]:
    texts = (stop,) if isinstance(stop, str) else tuple(stop or ())
    if len(texts) > 4 or any(not 1 <= len(text) <= 256 for text in texts):
        raise Refusal(400, "at most 4 stop texts of 1 to 256 characters are understood", "stop")
    return texts


def _answer_schema(shape: Shape | None, with_tools: bool, limits: Limits) -> str | None:
    if shape is None or shape.type == "text":
        return None
    if with_tools:
        raise Refusal(400, "an answer is either calls of tools or JSON: send one of them", "response_format")
    if shape.type == "json_object":
        return '{"type": "object"}'
    if shape.json_schema is None:
        raise Refusal(400, "json_schema is missing", "response_format")
    schema = shape.json_schema.schema_
    check_schemas([schema], limits)
    # Read as a tool's parameters are, which refuses schemas that nobody can use; the schema itself is what counts.
    tool_from_openai({"name": "answer", "parameters": {"type": "object", "properties": {"answer": schema}}})
    return json.dumps(schema, ensure_ascii=False)
