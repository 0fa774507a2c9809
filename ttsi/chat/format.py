"""The tool-call format of a model family, written, read and constrained.

Inputs -> outputs: calls -> text (`Format.render`) and text -> `Parsed` (`Format.parse`); pieces of a grammar
(`ttsi.chat.grammar`). `FramedFormat` is the shape that nearly all families share:

    words  OPENING prefix NAME arguments  BETWEEN prefix NAME arguments  CLOSING

Nothing is repaired silently: text that begins like a call and cannot be read gives an error line. Text without any
call is no error.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from ttsi.chat.attempts import attempt
from ttsi.chat.json_text import call_of, check_value, error_line, json_text, validate_call, value_at
from ttsi.chat.lark import Rule, literal, string_literal
from ttsi.chat.schema_mask import json_arguments
from ttsi.chat.thinking import ThinkingNeverEnds, strip_thinking
from ttsi.types import Tool, ToolCall


@dataclass(frozen=True)
class Parsed:
    """What was read from a model's text."""

    reasoning: str
    """The text outside of calls and thinking."""
    calls: tuple[ToolCall, ...]
    error: str | None = None
    """One line when the text begins like a call that cannot be read; then `calls` is empty."""


class Format(Protocol):
    """How a model family writes tool calls."""

    @property
    def name(self) -> str:
        """The key in `FORMATS`."""
        ...

    @property
    def gloss(self) -> str:
        """The models that use the format, in a few words."""
        ...

    @property
    def no_tool(self) -> str | None:
        """The family's fixed text for "no tool fits", if it has one."""
        ...

    @property
    def instruction(self) -> str | None:
        """The prompt text that asks a model for this format, for templates that do not; None where none exists."""
        ...

    @property
    def marks(self) -> tuple[str, ...]:
        """The texts that frame calls. No reasoning may contain them. In some tokenizers they are control tokens."""
        ...

    @property
    def several(self) -> bool:
        """Whether one turn can hold several calls."""
        ...

    def render(self, calls: Sequence[ToolCall], reasoning: str | Sequence[str] = "", tools: Sequence[Tool] = ()) -> str:
        """The assistant's turn that makes these calls, without the end of turn.

        Args:
            calls: the calls, in order.
            reasoning: the words before the first call, or one text per call where the format has a place for each.
            tools: the tools on offer. A format whose values are typed by a schema needs them to write values exactly.

        Raises:
            ValueError: an argument is no JSON value (NaN, infinite), or the format cannot hold it.
        """
        ...

    def parse(self, text: str, tools: Sequence[Tool]) -> Parsed:
        """The calls and words of a text as `render` writes it. Never raises."""
        ...

    def name_span(self, name: str) -> tuple[str, str]:
        """The assistant's turn up to a call's name, and the name with the text that ends it."""
        ...

    def reason(self, tool: Tool, request: str, others: Sequence[Tool] = ()) -> str:
        """The words before a call of `tool` where the family was trained to write some, else ""."""
        ...

    def reasons(self, tool: Tool) -> tuple[str, ...]:
        """Every text that `reason` could return for this tool; ("",) for a family without reasons."""
        ...


@dataclass(frozen=True)
class FramedFormat:
    """A format whose calls stand between literal texts; each family fills in how one call is written and read."""

    name: str
    gloss: str
    opening: str
    """Before the first call."""
    closing: str
    """Behind the last call."""
    between: str
    """Between two calls."""
    marks: tuple[str, ...] = ()
    """The texts that frame calls; where there are any, `opening` begins with the first."""
    several: bool = True
    no_tool: str | None = None
    one_call: bool = False
    """Whether a mask admits one call a turn only: a model without tool training goes on calling, tool after tool
    (`ttsi.chat.handshake` sets it)."""
    order: int = 50
    """Rank among families that read the same text; the smallest number comes first."""
    reads_unmarked: bool = False
    """Whether JSON calls that stand on lines of their own, without the marks, are read as calls, too."""

    @property
    def instruction(self) -> str | None:
        """The prompt text that asks a model for this format, by an example."""
        example = self.render([ToolCall("TOOL_NAME", {"ARGUMENT": "VALUE"})])
        return f"To call a tool, answer with this and nothing else:\n{example}\nIf no tool fits, answer in words."

    # ---- filled in by a family

    def name_prefix(self, number: int) -> str:
        """One call's text before the tool's name; `number` counts from 0 within the turn."""
        raise NotImplementedError

    def lead_rule(self, name: str) -> str:
        """`name_prefix` and `name_text` as a grammar expression, for any number."""
        return literal(self.marks, self.name_prefix(0) + self.name_text(name))

    def name_text(self, name: str) -> str:
        """The tool's name with the text that ends it."""
        raise NotImplementedError

    def arguments_text(self, arguments: dict[str, Any]) -> str:
        """One call's text behind the name.

        Raises:
            ValueError: the format cannot hold these arguments.
        """
        raise NotImplementedError

    def arguments_rule(self, tool: Tool, label: str) -> Rule:
        """The grammar of `arguments_text`; `label` is unique in the whole grammar."""
        raise NotImplementedError

    def read(self, text: str, tools: Sequence[Tool]) -> tuple[str, list[ToolCall]]:
        """Text without thinking -> (reasoning, calls).

        Raises:
            ValueError: something begins like a call of this family and is none.
        """
        raise NotImplementedError

    # ---- shared by all families

    @property
    def trigger(self) -> str:
        """The text at which a first call begins: the first mark, or the first letter of the opening."""
        return self.marks[0] if self.marks and self.opening.startswith(self.marks[0]) else self.opening[0]

    def render(self, calls: Sequence[ToolCall], reasoning: str | Sequence[str] = "", tools: Sequence[Tool] = ()) -> str:
        """The assistant's turn, all words before the first call; without a call the words alone."""
        words = reasoning if isinstance(reasoning, str) else "\n".join(filter(None, reasoning))
        if not calls:
            return words
        if len(calls) > 1 and not self.several:
            raise ValueError(f"the {self.name} format holds one call a turn")
        body = self.opening + self.between.join(map(self._call, calls, range(len(calls)))) + self.closing
        self._check_read(calls, body)
        return (words and words + "\n") + body

    def _check_read(self, calls: Sequence[ToolCall], body: str) -> None:
        """Refuse names that cannot be read back; values are typed by schemas, which are not always at hand."""
        try:
            back = self.read(body, [Tool(call.name, "", {}) for call in calls])[1]
        except (ValueError, RecursionError):
            back = []
        if [(call.name, set(call.arguments)) for call in back] != [(c.name, set(c.arguments)) for c in calls]:
            raise ValueError(f"the {self.name} format cannot hold the call {body[:60]!r}")

    def _call(self, call: ToolCall, number: int) -> str:
        check_value(call.arguments)
        return self.name_prefix(number) + self.name_text(call.name) + self.arguments_text(dict(call.arguments))

    def parse(self, text: str, tools: Sequence[Tool]) -> Parsed:
        """The calls and words of a text; an attempt in another family's format is an error, too. Never raises."""
        try:
            outside = strip_thinking(text, (self.trigger, *self.marks, "{"))
            reasoning, calls = self.read(outside, tools)
            if not calls and (line := attempt(outside, tools, self.name)):
                return Parsed(text, (), line)
            return Parsed(reasoning, tuple(map(validate_call, calls)))
        except ThinkingNeverEnds as error:
            return Parsed("", (), str(error))
        except (ValueError, RecursionError) as error:
            return Parsed(text, (), error_line(error))

    def name_span(self, name: str) -> tuple[str, str]:
        """The turn up to a first call's name, and the name, e.g. ('{"name": "', 'f"')."""
        return self.opening + self.name_prefix(0), self.name_text(name)

    def reason(self, tool: Tool, request: str, others: Sequence[Tool] = ()) -> str:
        """The empty text, because these families write no reason."""
        return ""

    def reasons(self, tool: Tool) -> tuple[str, ...]:
        """The empty text alone."""
        return ("",)


@dataclass(frozen=True)
class JsonFormat(FramedFormat):
    """A format whose calls are JSON objects: {"name": ..., KEY: {...}}."""

    key: str = "arguments"
    """The family's key for the arguments."""
    extra: tuple[str, ...] = ("id",)
    """Further fields of a call's object that carry no meaning."""
    # The opening ends with the first brace and the closing begins with the last, so that a brace can be a trigger.

    def name_prefix(self, number: int) -> str:
        """The key of the tool's name."""
        return '"name": "'

    def name_text(self, name: str) -> str:
        """The name as a JSON string, without its first quotation mark."""
        return json_text(name)[1:]

    def arguments_text(self, arguments: dict[str, Any]) -> str:
        """The key of the arguments, and their JSON."""
        return f', "{self.key}": {json_text(arguments)}'

    def arguments_rule(self, tool: Tool, label: str) -> Rule:
        """The grammar of the arguments as one JSON object."""
        return Rule(f"{string_literal(f', {json_text(self.key)}: ')} {json_arguments(tool)}")

    def call(self, value: Any) -> ToolCall:
        """The call in one JSON object.

        Raises:
            ValueError: the value is no call.
        """
        return call_of(value, self.key, extra=self.extra)


def blocks(text: str, opening: str, closing: str) -> tuple[list[str], list[str]]:
    """The texts between OPENING and CLOSING, and the words outside.

    Raises:
        ValueError: a block does not end.
    """
    inner, words, at = [], [], 0
    while (start := text.find(opening, at)) >= 0:
        words.append(text[at:start])
        end = text.find(closing, start + len(opening))
        if end < 0:
            raise ValueError(f"a call that does not end with {closing}")
        inner.append(text[start + len(opening) : end])
        at = end + len(closing)
    return inner, [*words, text[at:]]


def join_words(words: Sequence[str], stray: Sequence[str] = ()) -> str:
    """The words outside calls as one text.

    Raises:
        ValueError: they contain one of the `stray` marks.
    """
    for mark in stray:
        if any(mark in part for part in words):
            raise ValueError(f"{mark} without a call")
    return words[0] if len(words) == 1 else "\n".join(part.strip() for part in words if part.strip())


def json_list(text: str, at: int) -> tuple[list[Any], int]:
    """The JSON list that begins at `at`, and the place behind it.

    Raises:
        ValueError: there is no list, or it is empty.
    """
    value, end = value_at(text, at)
    if not isinstance(value, list) or not value:
        raise ValueError("a call must be an object in a list")
    return value, end


def json_object(text: str, at: int) -> tuple[dict[str, Any], int]:
    """The JSON object of arguments that begins at `at`, and the place behind it.

    Raises:
        ValueError: there is no object.
    """
    value, end = value_at(text, at)
    if not isinstance(value, dict):
        raise ValueError("the arguments are not a JSON object")
    return value, end


def check_end(text: str, at: int) -> None:
    """Refuse anything but white space from `at` on.

    Raises:
        ValueError: there is more text.
    """
    if text[at:].strip():
        raise ValueError(f"text behind a call: {text[at : at + 40]!r}")
