"""The formats with one JSON list of calls, with or without marks around it.

json-list   [{"name": "f", "arguments": {"city": "Oslo"}}]                          (xLAM, Hammer)
granite3    <|tool_call|>[{"name": "f", "arguments": {"city": "Oslo"}}]              (Granite 3)
phi4-mini   <|tool_call|>[{"name": "f", "arguments": {"city": "Oslo"}}]<|/tool_call|>
command     <|START_ACTION|>[\\n    {"tool_call_id": "0", "tool_name": "f", "parameters": {...}}\\n]<|END_ACTION|>
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ttsi.chat.families.bare_json import strip_fence
from ttsi.chat.format import JsonFormat, check_end, json_list
from ttsi.chat.json_text import call_of
from ttsi.chat.lark import string_literal
from ttsi.types import Tool, ToolCall

_LIST = re.compile(r"^[ \t]*\[\s*(?=\{)", re.MULTILINE)


class _BareList(JsonFormat):
    def read(self, text: str, tools: Sequence[Tool]) -> tuple[str, list[ToolCall]]:
        text = strip_fence(text)
        match = _LIST.search(text)
        if match is None:
            return text, []
        values, end = json_list(text, match.start())
        check_end(text, end)
        return text[: match.start()].strip(), [self.call(value) for value in values]


@dataclass(frozen=True)
class _MarkedList(JsonFormat):
    end: str = ""
    """The mark behind the list; "" where the turn ends there."""

    def read(self, text: str, tools: Sequence[Tool]) -> tuple[str, list[ToolCall]]:
        words, mark, rest = text.partition(self.marks[0])
        if not mark:
            if self.end and self.end in text:
                raise ValueError(f"{self.end} without a call")
            return text, []
        values, at = json_list(rest, 0)
        if self.end and not rest.startswith(self.end, at):
            raise ValueError(f"a call that does not end with {self.end}")
        check_end(rest, at + len(self.end))
        return words.strip(), [self.call(value) for value in values]


class _Command(_MarkedList):
    def name_prefix(self, number: int) -> str:
        return f'"tool_call_id": "{number}", "tool_name": "'

    def lead_rule(self, name: str) -> str:
        start, end = string_literal('"tool_call_id": "'), string_literal('", "tool_name": "' + self.name_text(name))
        return f"{start} /[0-9]{{1,3}}/ {end}"

    def call(self, value: Any) -> ToolCall:
        return call_of(value, self.key, name_key="tool_name", extra=("tool_call_id",))


FORMATS = (
    _BareList(name="json-list", gloss="xLAM, Hammer", opening="[{", closing="}]", between="}, {", order=80),
    _MarkedList(
        name="granite3",
        gloss="Granite 3",
        opening="<|tool_call|>[{",
        closing="}]",
        between="}, {",
        marks=("<|tool_call|>",),
        order=31,
    ),
    _MarkedList(
        name="phi4-mini",
        gloss="Phi-4-mini",
        opening="<|tool_call|>[{",
        closing="}]<|/tool_call|>",
        between="}, {",
        marks=("<|tool_call|>", "<|/tool_call|>"),
        end="<|/tool_call|>",
        order=30,
    ),
    _Command(
        name="command",
        gloss="Command R7B, Command A",
        key="parameters",
        opening="<|START_ACTION|>[\n    {",
        closing="}\n]<|END_ACTION|>",
        between="},\n    {",
        marks=("<|START_ACTION|>", "<|END_ACTION|>"),
        end="<|END_ACTION|>",
        order=32,
    ),
)
