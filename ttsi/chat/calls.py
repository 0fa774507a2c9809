"""How does each model family write tool calls, and what did it write?

Inputs -> outputs: calls -> text (`Format.render`) and text -> `Parsed` (`Format.parse`). The families:

    ours     <|call|> f<|args|> city<|=|> Oslo<|,|>                                    (`ttsi.chat.ours`)
    hermes   <tool_call>\\n{"name": "f", "arguments": {"city": "Oslo"}}\\n</tool_call>    (Qwen, Hermes)
    llama3   {"name": "f", "parameters": {"city": "Oslo"}}                             (Llama 3)
    mistral  [TOOL_CALLS] [{"name": "f", "arguments": {"city": "Oslo"}}]               (Mistral)
    plain    {"name": "f", "arguments": {"city": "Oslo"}}                              (any model, told how)

Nothing is repaired silently: broken JSON, missing, unknown or doubled fields, NaN and text behind a call are an error
line. Text without any call is no error. Not in the paper (arXiv:2510.07841), which uses its models' own formats.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from ttsi.chat import ours
from ttsi.types import Tool, ToolCall


@dataclass(frozen=True)
class Parsed:
    """What a model's text says."""

    reasoning: str
    """The text outside the calls; all of it when there is no call."""
    calls: tuple[ToolCall, ...]
    error: str | None = None
    """One line when there is something that begins like a call and is none; then `calls` is empty."""


class Format(Protocol):
    """How a model family writes tool calls."""

    @property
    def name(self) -> str:
        """The key in `FORMATS`."""
        ...

    @property
    def no_tool(self) -> str | None:
        """The text by which the model says that no tool fits; None when the family has no such text."""
        ...

    @property
    def instruction(self) -> str | None:
        """What to tell a model whose template takes no tools; None when its template says it."""
        ...

    @property
    def marks(self) -> tuple[str, ...]:
        """The texts that frame calls and that no reasoning may contain; control tokens in some tokenizers."""
        ...

    def render(self, calls: Sequence[ToolCall], reasoning: str | Sequence[str] = "") -> str:
        """The assistant's turn that makes these calls, without the end of turn.

        `reasoning` is the words before the first call, or one text per call where the format has a place for each.

        Raises:
            ValueError: an argument is no JSON value (NaN, infinite).
        """
        ...

    def parse(self, text: str, tools: Sequence[Tool]) -> Parsed:
        """What `render` writes, read back. Never raises."""
        ...

    def name_span(self, name: str) -> tuple[str, str]:
        """The assistant's turn up to a call's name, and the name with what closes it."""
        ...

    def reason(self, tool: Tool, request: str, others: Sequence[Tool] = ()) -> str:
        """The words before a call of `tool` where the family was trained to write some, else ""."""
        ...

    def reasons(self, tool: Tool) -> tuple[str, ...]:
        """Everything that `reason` could be for this tool; ("",) where nothing is written."""
        ...


@dataclass(frozen=True)
class OursFormat:
    """The embedded model's format; see `ttsi.chat.ours`."""

    name: str = "ours"
    no_tool: str | None = ours.NO_TOOL_TEXT
    instruction: str | None = None
    marks: tuple[str, ...] = ours.MARKS

    def render(self, calls: Sequence[ToolCall], reasoning: str | Sequence[str] = "") -> str:
        """As `Format.render`; no call at all is NO_TOOL_TEXT."""
        for call in calls:
            _check_value(call.arguments)
        return ours.render(calls, [reasoning] if isinstance(reasoning, str) else reasoning)

    def parse(self, text: str, tools: Sequence[Tool]) -> Parsed:
        """As `Format.parse`, typed by the tools' schemas."""
        reasoning = text.partition(ours.CALL)[0]
        try:
            calls = ours.parse_calls(text, tools)
            for call in calls:
                _check_call(call)
        except (ValueError, TypeError, AttributeError, RecursionError) as error:
            return Parsed(reasoning, (), _reason_why(error))
        return Parsed(reasoning, calls)

    def name_span(self, name: str) -> tuple[str, str]:
        """As `Format.name_span`."""
        return ours.CALL, f" {name}{ours.ARGS}"

    def reason(self, tool: Tool, request: str, others: Sequence[Tool] = ()) -> str:
        """A quotation of the tool's own line (`ours.quote`)."""
        return ours.quote(tool, request, others)

    def reasons(self, tool: Tool) -> tuple[str, ...]:
        """Every quotation of the tool's own line."""
        return ours.suffixes(tool.description)


@dataclass(frozen=True)
class JsonFormat:
    """A format whose calls are JSON objects between marks."""

    name: str
    key: str
    """What the family calls the arguments."""
    read: Callable[[str], tuple[str, list[Any]]] = field(repr=False)
    """Text -> (reasoning, one JSON value per call); raises ValueError."""
    opening: str = ""
    closing: str = ""
    between: str = "\n"
    marks: tuple[str, ...] = ()
    """As `Format.marks`; where there is an `opening`, it begins with the first."""
    instruction: str | None = None
    no_tool: str | None = None

    def render(self, calls: Sequence[ToolCall], reasoning: str | Sequence[str] = "") -> str:
        """As `Format.render`, all words before the first call; no call at all is the words alone."""
        words = reasoning if isinstance(reasoning, str) else "\n".join(filter(None, reasoning))
        if not calls:
            return words
        objects = [self._object(call) for call in calls]
        return (words and words + "\n") + self.opening + self.between.join(objects) + self.closing

    def _object(self, call: ToolCall) -> str:
        _check_value(call.arguments)
        return json.dumps({"name": call.name, self.key: dict(call.arguments)}, ensure_ascii=False, allow_nan=False)

    def parse(self, text: str, tools: Sequence[Tool]) -> Parsed:
        """As `Format.parse`; the tools are not needed."""
        try:
            reasoning, objects = self.read(text)
            return Parsed(reasoning, tuple(_call(value, self.key) for value in objects))
        except (ValueError, RecursionError) as error:
            return Parsed(text, (), _reason_why(error))

    def name_span(self, name: str) -> tuple[str, str]:
        """As `Format.name_span`, e.g. ('{"name": "', 'f"')."""
        return self.opening + '{"name": "', json.dumps(name, ensure_ascii=False)[1:]

    def reason(self, tool: Tool, request: str, others: Sequence[Tool] = ()) -> str:
        """No reason: these families call at once."""
        return ""

    def reasons(self, tool: Tool) -> tuple[str, ...]:
        """No words."""
        return ("",)


def _call(value: Any, key: str) -> ToolCall:
    if not isinstance(value, dict):
        raise ValueError("a call must be a JSON object")
    name, arguments = value.get("name"), value.get(key)
    if not isinstance(name, str) or not name:
        raise ValueError("a call without a name")
    if not isinstance(arguments, dict):
        raise ValueError(f"the {key} of {name} are missing" if key not in value else f"the {key} are no JSON object")
    # Templates of two families write these beside the call; they carry no meaning of their own.
    extra = value.keys() - {"name", key, "id"} - ({"type"} if value.get("type") == "function" else set())
    if extra:
        raise ValueError(f"unknown field {min(extra)} beside the {key}")
    call = ToolCall(name, arguments)
    _check_call(call)
    return call


def _check_call(call: ToolCall) -> None:
    if not call.name:
        raise ValueError("a call without a name")
    _check_value(call.name)
    _check_value(call.arguments)


def _check_value(value: Any) -> None:
    """Refuse what is no JSON value or cannot be encoded as UTF-8."""
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{value} is no JSON number")
    if isinstance(value, str) and any("\ud800" <= letter <= "\udfff" for letter in value):
        raise ValueError("a string holds half a character (a lone surrogate)")
    if isinstance(value, Mapping):
        for key, inner in value.items():
            _check_value(key)
            _check_value(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            _check_value(inner)


def _reason_why(error: Exception) -> str:
    if isinstance(error, RecursionError):
        return "JSON nested too deeply"
    if isinstance(error, json.JSONDecodeError):
        return f"broken JSON at character {error.pos}: {error.msg}"
    if isinstance(error, TypeError | AttributeError):
        return "an argument is given both as a value and as an object"
    return " ".join(str(error).split())[:160]


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"{next(name for name in names if names.count(name) > 1)} is given twice")
    return result


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON number")


_DECODER = json.JSONDecoder(object_pairs_hook=_no_duplicates, parse_constant=_refuse_constant)
_SPACE = re.compile(r"[ \t\r\n]*")


def _skip(text: str, at: int) -> int:
    match = _SPACE.match(text, at)
    return match.end() if match else at


def _value(text: str, at: int) -> tuple[Any, int]:
    """The JSON value that begins at `at` (behind white space), and where the text goes on after it."""
    value, end = _DECODER.raw_decode(text, _skip(text, at))
    return value, _skip(text, end)


def _read_hermes(text: str) -> tuple[str, list[Any]]:
    # A block says where it ends, so words behind it are words, not garbage.
    opening, closing = "<tool_call>", "</tool_call>"
    objects: list[Any] = []
    words, at = [], 0
    while (start := text.find(opening, at)) >= 0:
        words.append(text[at:start])
        value, end = _value(text, start + len(opening))
        if not text.startswith(closing, end):
            raise ValueError(f"a call that does not end with {closing}")
        objects.append(value)
        at = end + len(closing)
    words.append(text[at:])
    return _words(words, closing) if objects else _words([text], closing, strip=False), objects


def _words(parts: list[str], stray: str, strip: bool = True) -> str:
    if any(stray in part for part in parts):
        raise ValueError(f"{stray} without a call")
    return "\n".join(part.strip() for part in parts if part.strip()) if strip else parts[0]


_MISTRAL, _MISTRAL_ARGS = "[TOOL_CALLS]", "[ARGS]"


def _read_mistral(text: str) -> tuple[str, list[Any]]:
    start = text.find(_MISTRAL)
    if start < 0:
        return _words([text], _MISTRAL_ARGS, strip=False), []
    objects: list[Any] = []
    at = start
    while text.startswith(_MISTRAL, at):
        value, at = _mistral_calls(text, at + len(_MISTRAL))
        objects += value
    if at < len(text):
        raise ValueError(f"text behind a call: {text[at : at + 40]!r}")
    return text[:start].strip(), objects


def _mistral_calls(text: str, at: int) -> tuple[list[Any], int]:
    """A list of calls, or one call in the newer way (`name[ARGS]{...}`), and where the text goes on."""
    if text.startswith("[", _skip(text, at)):
        value, end = _value(text, at)
        return value, end
    name, mark, _ = text[at:].partition(_MISTRAL_ARGS)
    if not mark or "\n" in name.strip():
        raise ValueError(f"a call without a list and without {_MISTRAL_ARGS}")
    value, end = _value(text, at + len(name) + len(mark))
    return [{"name": name.strip(), "arguments": value}], end


_LINE_CALL = re.compile(r"^[ \t]*(?=\{)|<\|python_tag\|>\s*", re.MULTILINE)
_FENCED = re.compile(r"\s*```(?:json)?[ \t]*\n(.*)\n[ \t]*```\s*", re.DOTALL)
_NEW_LINE = re.compile(r"[ \t\r]*\n\s*")
_SEMICOLON = re.compile(r"\s*;\s*|[ \t\r]*\n\s*")


def _read_lines(text: str, separator: re.Pattern[str]) -> tuple[str, list[Any]]:
    """JSON objects from the first line that begins with one to the end."""
    match = _LINE_CALL.search(text)
    if match is None:
        return text, []
    objects, at = [], match.end()
    while True:
        value, end = _DECODER.raw_decode(text, at)
        objects.append(value)
        if not text[end:].strip():
            return text[: match.start()].strip(), objects
        gap = separator.match(text, end)
        if gap is None:
            raise ValueError(f"text behind a call: {text[end : end + 40]!r}")
        at = gap.end()


def _read_llama3(text: str) -> tuple[str, list[Any]]:
    return _read_lines(text, _SEMICOLON)


def _read_plain(text: str) -> tuple[str, list[Any]]:
    fenced = _FENCED.fullmatch(text)
    if fenced and _LINE_CALL.search(fenced[1]):
        return _read_lines(fenced[1], _NEW_LINE)
    return _read_lines(text, _NEW_LINE)


FORMATS: dict[str, Format] = {
    "ours": OursFormat(),
    "hermes": JsonFormat(
        name="hermes",
        key="arguments",
        read=_read_hermes,
        opening="<tool_call>\n",
        closing="\n</tool_call>",
        between="\n</tool_call>\n<tool_call>\n",
        marks=("<tool_call>", "</tool_call>"),
    ),
    "llama3": JsonFormat(name="llama3", key="parameters", read=_read_llama3, between="; ", marks=("<|python_tag|>",)),
    "mistral": JsonFormat(
        name="mistral",
        key="arguments",
        read=_read_mistral,
        opening="[TOOL_CALLS] [",
        closing="]",
        between=", ",
        marks=("[TOOL_CALLS]", "[ARGS]"),
    ),
    "plain": JsonFormat(
        name="plain",
        key="arguments",
        read=_read_plain,
        marks=("<|python_tag|>",),
        instruction='To call a tool, answer with one JSON object per line and nothing else: {"name": the name of the '
        'tool, "arguments": {its arguments}}. If no tool fits, answer in words.',
    ),
}
"""Every format by name."""


def detect(chat_template: str | None) -> Format:
    """The format that a chat template asks for; `plain` when it says nothing about calls."""
    template = chat_template or ""
    if ours.CALL in template:
        return FORMATS["ours"]
    if "<tool_call>" in template:
        return FORMATS["hermes"]
    if "[TOOL_CALLS]" in template:
        return FORMATS["mistral"]
    if "python_tag" in template or ('"parameters"' in template and "ipython" in template):
        return FORMATS["llama3"]
    return FORMATS["plain"]
