"""The tool-call format of a model family: what it writes for a call, and how that is read and constrained.

Inputs -> outputs: calls -> text (`Format.render`) and text -> `Parsed` (`Format.parse`); pieces of a grammar
(`ttsi.chat.grammar`). `FramedFormat` is the shape that nearly all families share:

    words  OPENING before NAME spelled ARGUMENTS  BETWEEN before NAME spelled ARGUMENTS  CLOSING

Nothing is repaired silently: what begins like a call and cannot be read is an error line. Text without any call is no
error. Not in the paper (arXiv:2510.07841), which uses its models' own formats.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from ttsi.chat.attempts import attempt
from ttsi.chat.json_text import call_of, check_value, checked, json_text, value_at, why
from ttsi.chat.lark import Rule, literal, quoted
from ttsi.chat.schema_mask import json_arguments
from ttsi.chat.thinking import ThinkingNeverEnds, without_thinking
from ttsi.types import Tool, ToolCall


@dataclass(frozen=True)
class Parsed:
    """What a model's text says."""

    reasoning: str
    """The text outside the calls and outside of thinking; all of that when there is no call."""
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
    def gloss(self) -> str:
        """Which models write so, in a few words."""
        ...

    @property
    def no_tool(self) -> str | None:
        """The text by which the model says that no tool fits; None when the family has no such text."""
        ...

    @property
    def instruction(self) -> str | None:
        """How a model is asked to write calls so, where its template does not."""
        ...

    @property
    def marks(self) -> tuple[str, ...]:
        """The texts that frame calls and that no reasoning may contain; control tokens in some tokenizers."""
        ...

    @property
    def several(self) -> bool:
        """Whether one turn can hold several calls."""
        ...

    def render(self, calls: Sequence[ToolCall], reasoning: str | Sequence[str] = "", tools: Sequence[Tool] = ()) -> str:
        """The assistant's turn that makes these calls, without the end of turn.

        Args:
            calls: what is called.
            reasoning: the words before the first call, or one text per call where the format has a place for each.
            tools: what is on offer; a format whose values are typed by a schema writes them exactly only with it.

        Raises:
            ValueError: an argument is no JSON value (NaN, infinite), or the format cannot hold it.
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
    """As `Format.marks`; where there are any, `opening` begins with the first."""
    several: bool = True
    no_tool: str | None = None
    one_call: bool = False
    """Whether a mask admits one call a turn only: a model that nobody trained to call goes on calling, tool after tool
    (`ttsi.chat.handshake` sets it)."""
    order: int = 50
    """Which of two families that read the same text is meant: the one with the smaller number."""

    @property
    def instruction(self) -> str | None:
        """How a model is asked to write calls so."""
        example = self.render([ToolCall("TOOL_NAME", {"ARGUMENT": "VALUE"})])
        return f"To call a tool, answer with this and nothing else:\n{example}\nIf no tool fits, answer in words."

    # ---- what a family fills in

    def before(self, number: int) -> str:
        """One call's text before the tool's name; `number` counts from 0 within the turn."""
        raise NotImplementedError

    def lead_rule(self, name: str) -> str:
        """`before` and `name_text` as a grammar expression, for any number."""
        return literal(self.marks, self.before(0) + self.name_text(name))

    def name_text(self, name: str) -> str:
        """The tool's name with what closes it."""
        raise NotImplementedError

    def written(self, arguments: dict[str, Any]) -> str:
        """One call's text behind the name.

        Raises:
            ValueError: the format cannot hold these arguments.
        """
        raise NotImplementedError

    def arguments_rule(self, tool: Tool, label: str) -> Rule:
        """`written` as a grammar; `label` is unique in the grammar."""
        raise NotImplementedError

    def read(self, text: str, tools: Sequence[Tool]) -> tuple[str, list[ToolCall]]:
        """Text without thinking -> (reasoning, calls).

        Raises:
            ValueError: something begins like a call of this family and is none.
        """
        raise NotImplementedError

    # ---- what all of them share

    @property
    def trigger(self) -> str:
        """The text at which a first call begins: the first mark, or the first letter of the opening."""
        return self.marks[0] if self.marks and self.opening.startswith(self.marks[0]) else self.opening[0]

    def render(self, calls: Sequence[ToolCall], reasoning: str | Sequence[str] = "", tools: Sequence[Tool] = ()) -> str:
        """As `Format.render`, all words before the first call; no call at all is the words alone."""
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
        return self.before(number) + self.name_text(call.name) + self.written(dict(call.arguments))

    def parse(self, text: str, tools: Sequence[Tool]) -> Parsed:
        """As `Format.parse`."""
        try:
            outside = without_thinking(text, (self.trigger, *self.marks, "{"))
            reasoning, calls = self.read(outside, tools)
            if not calls and (line := attempt(outside, tools, self.name)):
                return Parsed(text, (), line)
            return Parsed(reasoning, tuple(map(checked, calls)))
        except ThinkingNeverEnds as error:
            return Parsed("", (), str(error))
        except (ValueError, RecursionError) as error:
            return Parsed(text, (), why(error))

    def name_span(self, name: str) -> tuple[str, str]:
        """As `Format.name_span`, e.g. ('{"name": "', 'f"')."""
        return self.opening + self.before(0), self.name_text(name)

    def reason(self, tool: Tool, request: str, others: Sequence[Tool] = ()) -> str:
        """No reason: these families call at once."""
        return ""

    def reasons(self, tool: Tool) -> tuple[str, ...]:
        """No words."""
        return ("",)


@dataclass(frozen=True)
class JsonFormat(FramedFormat):
    """A format whose calls are JSON objects: {"name": ..., KEY: {...}}."""

    key: str = "arguments"
    """What the family calls the arguments."""
    extra: tuple[str, ...] = ("id",)
    """Further fields of a call's object that carry no meaning."""
    # The opening ends with the first brace and the closing begins with the last: a brace alone can be a trigger.

    def before(self, number: int) -> str:
        """As `FramedFormat.before`."""
        return '"name": "'

    def name_text(self, name: str) -> str:
        """As `FramedFormat.name_text`."""
        return json_text(name)[1:]

    def written(self, arguments: dict[str, Any]) -> str:
        """As `FramedFormat.written`."""
        return f', "{self.key}": {json_text(arguments)}'

    def arguments_rule(self, tool: Tool, label: str) -> Rule:
        """As `FramedFormat.arguments_rule`."""
        return Rule(f"{quoted(f', {json_text(self.key)}: ')} {json_arguments(tool)}")

    def call(self, value: Any) -> ToolCall:
        """The call that one JSON object says.

        Raises:
            ValueError: none.
        """
        return call_of(value, self.key, extra=self.extra)


def blocks(text: str, opening: str, closing: str) -> tuple[list[str], list[str]]:
    """What stands in OPENING ... CLOSING, and the words outside.

    Raises:
        ValueError: a block does not end, or an end has no beginning.
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


def joined(words: Sequence[str], stray: Sequence[str] = ()) -> str:
    """Words outside calls as one text.

    Raises:
        ValueError: they hold a mark that belongs to a call.
    """
    for mark in stray:
        if any(mark in part for part in words):
            raise ValueError(f"{mark} without a call")
    return words[0] if len(words) == 1 else "\n".join(part.strip() for part in words if part.strip())


def json_list(text: str, at: int) -> tuple[list[Any], int]:
    """The JSON list that begins at `at`, and where the text goes on.

    Raises:
        ValueError: there is none, or it is empty.
    """
    value, end = value_at(text, at)
    if not isinstance(value, list) or not value:
        raise ValueError("a call must be an object in a list")
    return value, end
