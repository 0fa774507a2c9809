"""What may a client say, and what does it hear?

Inputs: the bytes of a request body in OpenAI's chat format. Outputs: an `Asked`: our `Input` and what this request
lowers; and back, an outcome as a completion or as the chunks of a stream. Whatever is wrong is a `Refusal` with the
status, the field and one line of our own words: a client's fault must never look like ours, since clients repeat what
fails with 5xx.

Nothing is fetched, no client text is a template, and no field is passed on unread: an unknown one is refused.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ttsi.chat.schema import tool_from_openai
from ttsi.errors import DataError
from ttsi.serve.limits import Limits, check_nesting, check_schemas
from ttsi.types import Input, Message, Tool, ToolCall


class Refusal(Exception):
    """A request that is not answered: status, field, code and one line."""

    def __init__(self, status: int, message: str, param: str | None = None, code: str | None = None) -> None:
        """Say why."""
        super().__init__(message)
        self.status, self.param, self.code = status, param, code


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class TextPart(_Strict):
    """A piece of a message's content; nothing but text is understood."""

    type: Literal["text"]
    text: str


class FunctionCall(_Strict):
    """What a call calls."""

    name: str
    arguments: str


class Call(_Strict):
    """A call that the assistant made in an earlier turn."""

    id: Annotated[str, Field(max_length=256)]
    type: Literal["function"] = "function"
    function: FunctionCall


class Turn(_Strict):
    """A message."""

    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: str | list[TextPart] | None = None
    name: str | None = None
    tool_calls: list[Call] | None = None
    tool_call_id: str | None = None
    refusal: None = None
    audio: None = None
    function_call: None = None
    annotations: list[Any] | None = None


class Named(_Strict):
    """A function by name."""

    name: str


class Choose(_Strict):
    """The one function that has to be called."""

    type: Literal["function"]
    function: Named


class JsonSchema(_Strict):
    """The schema that an answer has to fit."""

    name: Annotated[str, Field(max_length=64)]
    description: str | None = None
    strict: bool | None = None
    schema_: Annotated[dict[str, Any], Field(alias="schema")]


class Shape(_Strict):
    """The form of an answer in words."""

    type: Literal["text", "json_object", "json_schema"]
    json_schema: JsonSchema | None = None


class StreamOptions(_Strict):
    """What a stream says beside the answer."""

    include_usage: bool = False
    include_obfuscation: bool = False


class ChatRequest(_Strict):
    """A chat completion request; fields that are not listed are refused."""

    model: Annotated[str, Field(max_length=256)]
    messages: Annotated[list[Turn], Field(min_length=1)]
    tools: list[dict[str, Any]] | None = None
    tool_choice: Literal["none", "auto", "required"] | Choose | None = None
    parallel_tool_calls: bool = True
    n: Annotated[int, Field(ge=1, le=128)] = 1
    stop: str | list[str] | None = None
    seed: Annotated[int, Field(ge=-(2**63), lt=2**63)] | None = None
    max_tokens: Annotated[int, Field(ge=1, lt=2**31)] | None = None
    max_completion_tokens: Annotated[int, Field(ge=1, lt=2**31)] | None = None
    response_format: Shape | None = None
    stream: bool = False
    stream_options: StreamOptions | None = None
    temperature: Annotated[float, Field(ge=0, le=2, strict=False)] | None = None
    """Accepted and without effect: answers are greedy, as the method's are."""
    top_p: Annotated[float, Field(ge=0, le=1, strict=False)] | None = None
    """As `temperature`."""
    frequency_penalty: Annotated[float, Field(ge=0, le=0, strict=False)] | None = None
    presence_penalty: Annotated[float, Field(ge=0, le=0, strict=False)] | None = None
    logprobs: Literal[False] | None = None
    user: Annotated[str, Field(max_length=256)] | None = None
    """Accepted and not read, like the next three."""
    metadata: Annotated[dict[str, str], Field(max_length=16)] | None = None
    store: Literal[False] | None = None
    safety_identifier: Annotated[str, Field(max_length=256)] | None = None


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
    parallel: bool
    answer_schema: str | None
    stream: bool
    include_usage: bool


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
        raise _refusal(error) from None
    try:
        return _asked(request, limits, request_id)
    except DataError as error:
        raise Refusal(400, _shown(str(error))) from None


def _refusal(error: ValidationError) -> Refusal:
    """The first fault, in pydantic's words for types and bounds, never with the value itself."""
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    place = ".".join(str(step) for step in first["loc"] if isinstance(step, int) or step.isidentifier())[:120]
    what = "this field is not known here" if first["type"] == "extra_forbidden" else first["msg"]
    return Refusal(400, _shown(f"{place or 'the body'}: {what}"), param=place or None)


def _shown(text: str) -> str:
    return " ".join(text.split())[:300]


def _asked(request: ChatRequest, limits: Limits, request_id: str) -> Asked:
    if len(request.messages) > limits.messages:
        raise Refusal(400, f"there are more than {limits.messages} messages", "messages")
    if request.n > limits.choices:
        raise Refusal(400, f"at most {limits.choices} choices are given at once", "n")
    tools, must_call = _tools(request, limits)
    wanted = [count for count in (request.max_tokens, request.max_completion_tokens) if count is not None]
    return Asked(
        item=Input(request_id, _messages(request.messages), tools),
        model=request.model,
        choices=request.n,
        max_tokens=min(wanted, default=None),
        seed=request.seed,
        stop=_stop(request.stop),
        call_required=must_call,
        parallel=request.parallel_tool_calls,
        answer_schema=_answer_schema(request.response_format, bool(tools), limits),
        stream=request.stream,
        include_usage=request.stream_options is not None and request.stream_options.include_usage,
    )


def _tools(request: ChatRequest, limits: Limits) -> tuple[tuple[Tool, ...], bool]:
    """The tools that may be called, and whether one has to be."""
    given = request.tools or []
    if len(given) > limits.tools:
        raise Refusal(400, f"there are more than {limits.tools} tools", "tools")
    check_schemas([_parameters(tool) for tool in given], limits)
    tools = tuple(tool_from_openai(tool) for tool in given)
    names = {tool.name for tool in tools}
    if len(names) < len(tools):
        raise Refusal(400, "two tools have the same name", "tools")
    if any(len(name) > 128 for name in names):
        raise Refusal(400, "a tool's name has more than 128 characters", "tools")
    choice = request.tool_choice
    if choice == "none":
        return (), False
    if isinstance(choice, Choose):
        if choice.function.name not in names:
            raise Refusal(400, "tool_choice names a tool that is not offered", "tool_choice")
        return tuple(tool for tool in tools if tool.name == choice.function.name), True
    if choice == "required" and not tools:
        raise Refusal(400, "a call is required, but no tool is offered", "tool_choice")
    return tools, choice == "required"


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


def _messages(turns: Sequence[Turn]) -> tuple[Message, ...]:
    if turns[-1].role not in ("user", "tool"):
        raise Refusal(400, "the last message must be the user's or a tool's, for the model to answer", "messages")
    return tuple(_message(turn) for turn in _in_order_of_calls(turns))


def _in_order_of_calls(turns: Sequence[Turn]) -> list[Turn]:
    """The turns with each run of tool results in the order of the calls they answer, which is how models know them."""
    ordered: list[Turn] = []
    places: dict[str, int] = {}
    run: list[Turn] = []
    for turn in [*turns, None]:
        if turn is not None and turn.role == "tool":
            run.append(turn)
            continue
        ordered += sorted(run, key=lambda result: places.get(result.tool_call_id or "", len(places)))
        run = []
        if turn is not None:
            ordered.append(turn)
            places = {call.id: place for place, call in enumerate(turn.tool_calls or [])}
    return ordered


def _message(turn: Turn) -> Message:
    calls = tuple(_call(call) for call in turn.tool_calls or [])
    if calls and turn.role != "assistant":
        raise Refusal(400, "only the assistant calls tools", "messages")
    content = turn.content or ""
    if isinstance(content, list):
        content = "".join(part.text for part in content)
    return Message("system" if turn.role == "developer" else turn.role, content, calls)


def _call(call: Call) -> ToolCall:
    try:
        arguments = json.loads(call.function.arguments or "{}", object_pairs_hook=_once, parse_constant=_no_constant)
        check_nesting(arguments, Limits())
    except (ValueError, RecursionError):
        raise Refusal(400, "the arguments of an earlier call are not JSON", "messages") from None
    if not isinstance(arguments, dict):
        raise Refusal(400, "the arguments of an earlier call are no JSON object", "messages")
    return ToolCall(call.function.name, arguments)
