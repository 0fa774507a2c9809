"""The embedded model's format, `marked`, with marks that are tokens of their own (`ttsi.chat.marked`).

<|call|> f<|args|> city<|=|> Oslo<|,|>
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ttsi.chat import marked
from ttsi.chat.attempts import attempt
from ttsi.chat.format import Parsed
from ttsi.chat.json_text import check_value, error_line, validate_call
from ttsi.types import Tool, ToolCall


@dataclass(frozen=True)
class _MarkedFormat:
    """The format of `ttsi.chat.marked`."""

    name: str = "marked"
    gloss: str = "the embedded model"
    no_tool: str | None = marked.NO_TOOL_TEXT
    instruction: str | None = None
    marks: tuple[str, ...] = marked.MARKS
    several: bool = True
    order: int = 0

    def render(self, calls: Sequence[ToolCall], reasoning: str | Sequence[str] = "", tools: Sequence[Tool] = ()) -> str:
        for call in calls:
            check_value(call.arguments)
        return marked.render(calls, [reasoning] if isinstance(reasoning, str) else reasoning, tools)

    def parse(self, text: str, tools: Sequence[Tool]) -> Parsed:
        reasoning = text.partition(marked.CALL)[0]
        try:
            calls = tuple(map(validate_call, marked.parse_calls(text, tools)))
        except (ValueError, TypeError, AttributeError, RecursionError) as error:
            return Parsed(reasoning, (), error_line(error))
        if not calls and (line := attempt(text, tools, self.name)):
            return Parsed(text, (), line)
        return Parsed(reasoning, calls)

    def name_span(self, name: str) -> tuple[str, str]:
        return marked.CALL, f" {name}{marked.ARGS}"

    def reason(self, tool: Tool, request: str, others: Sequence[Tool] = ()) -> str:
        return marked.quote(tool, request, others)

    def reasons(self, tool: Tool) -> tuple[str, ...]:
        return marked.suffixes(tool.description)


FORMATS = (_MarkedFormat(),)
