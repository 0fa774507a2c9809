"""The formats of Gemma: a name and its arguments in braces, strings between marks instead of quotes.

    functiongemma   <start_function_call>call:f{city:<escape>Oslo<escape>,days:3}<end_function_call>
    gemma4          <|tool_call>call:f{city:<|"|>Oslo<|"|>,days:3}<tool_call|>

Keys are bare, the arguments sorted by name; lists and objects look the same all the way down.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from ttsi.chat.format import FramedFormat, blocks, check_end, join_words
from ttsi.chat.json_text import json_text, object_of_pairs
from ttsi.chat.lark import Rule, kinds, listed_values, literal, pairs, resolve, string_literal, text_until
from ttsi.chat.schema_mask import json_value
from ttsi.types import Tool, ToolCall

_MAX_DEPTH = 64
_NAME = re.compile(r"[^{}<>\s][^{}<>\n]*")
_KEY = re.compile(r"[^:{}\[\],]+")
_FREE_KEY = r'/[^\s:{}\[\],<"]([^:{}\[\],<"\n]*[^\s:{}\[\],<"])?/'
"""Grammar of the keys of an object whose schema lists none: in quotation marks, they would be other keys."""
_PLAIN = re.compile(r"(?:-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?|true|false|null)(?=[,}\]])")


class _Gemma(FramedFormat):
    @property
    def quote(self) -> str:
        """The mark at both ends of a string."""
        return self.marks[2]

    def name_prefix(self, number: int) -> str:
        return "call:"

    def name_text(self, name: str) -> str:
        if not _NAME.fullmatch(name):
            raise ValueError(f"the {self.name} format cannot hold the name {name[:40]!r}")
        return name + "{"

    def arguments_text(self, arguments: dict[str, Any]) -> str:
        return self._members(arguments) + "}"

    def _members(self, values: Mapping[str, Any]) -> str:
        if bad := next((key for key in values if not _KEY.fullmatch(key) or key != key.strip()), None):
            raise ValueError(f"the {self.name} format cannot hold the argument name {bad[:40]!r}")
        return ",".join(f"{key}:{self._value_text(value)}" for key, value in sorted(values.items()))

    def _value_text(self, value: Any) -> str:
        if isinstance(value, str):
            if bad := next((mark for mark in self.marks if mark in value), None):
                raise ValueError(f"the {self.name} format cannot hold the text {bad!r}")
            return self.quote + value + self.quote
        if isinstance(value, Mapping):
            return "{" + self._members(value) + "}"
        if isinstance(value, list | tuple):
            return "[" + ",".join(map(self._value_text, value)) + "]"
        return json_text(value)

    def arguments_rule(self, tool: Tool, label: str) -> Rule:
        inner = self._members_rule(tool, tool, label, 0)
        return Rule(f'{inner.text} "}}"'.strip(), inner.named)

    def _members_rule(self, members: Tool, tool: Tool, label: str, depth: int) -> Rule:
        """The grammar of `members`, which are the tool's arguments or those of an object within them."""

        def pair(key: str, schema: Mapping[str, Any], part: str) -> Rule:
            value = self._value_rule(schema, tool, part, depth)
            return Rule(f"{string_literal(key + ':')} {value.text}", value.named)

        return pairs(members, label, pair, separator=",", sort=True)

    def _value_rule(self, schema: Any, tool: Tool, label: str, depth: int) -> Rule:
        """The grammar of a value: strings between marks, lists and objects of them, JSON for the rest."""
        plain = resolve(schema, tool.parameters)
        kind = plain.get("type")
        if values := listed_values(plain, tool.parameters):
            return Rule(f"({' | '.join(literal(self.marks, self._value_text(value)) for value in values)})")
        if kind == "string":
            free = text_until(self.quote, label)
            return Rule(f"{literal(self.marks, self.quote)} {free.text}", free.named)
        if kind == "array" and depth < 4:
            item = self._value_rule(plain.get("items", {}), tool, f"{label}_i", depth + 1)
            least = int(plain.get("minItems", 0) or 0) > 0
            items = f"{label}_item ({string_literal(',')} {label}_item)*"
            return Rule(
                f'"[" {items} "]"' if least else f'"[" ({items})? "]"', (*item.named, f"{label}_item: {item.text}")
            )
        if kind == "object" and depth < 4 and plain.get("properties"):
            inner = Tool(tool.name, "", {**plain, "$defs": tool.parameters.get("$defs", {})})
            members = self._members_rule(inner, tool, f"{label}_o", depth + 1)
            return Rule(f'"{{" {members.text} "}}"', members.named)
        if kinds(plain, tool.parameters) <= {"integer", "number", "boolean", "null"}:
            return Rule(json_value(plain, tool))
        return self._any_rule(label)

    def _any_rule(self, label: str) -> Rule:
        free = text_until(self.quote, label)
        number = r"/-?(0|[1-9][0-9]*)(\.[0-9]+)?/"
        return Rule(
            f"{label}_any",
            (
                *free.named,
                f'{label}_any: {literal(self.marks, self.quote)} {free.text} | {number} | "true" | "false" | "null" '
                f'| "[" ({label}_any ("," {label}_any)*)? "]" '
                f'| "{{" ({label}_key ":" {label}_any ("," {label}_key ":" {label}_any)*)? "}}"',
                f"{label}_key: {_FREE_KEY}",
            ),
        )

    def read(self, text: str, tools: Sequence[Tool]) -> tuple[str, list[ToolCall]]:
        inner, words = blocks(text, self.marks[0], self.marks[1])
        return join_words(words, self.marks[:2]), [self._read_call(body.strip()) for body in inner]

    def _read_call(self, body: str) -> ToolCall:
        if not body.startswith("call:"):
            raise ValueError("a call without call:")
        name = _NAME.match(body, len("call:"))
        if name is None or not body.startswith("{", name.end()):
            raise ValueError("a call without a name")
        arguments, end = self._read_object(body, name.end(), 0)
        check_end(body, end)
        return ToolCall(name[0], arguments)

    def _read_object(self, text: str, at: int, depth: int) -> tuple[dict[str, Any], int]:
        members: list[tuple[str, Any]] = []
        at += 1
        while not text.startswith("}", at):
            key = _KEY.match(text, at)
            if key is None or not text.startswith(":", key.end()):
                raise ValueError("an argument without a name")
            value, at = self._read_value(text, key.end() + 1, depth + 1)
            members.append((key[0].strip(), value))
            at = _next(text, at, "}")
        return object_of_pairs(members), at + 1

    def _read_value(self, text: str, at: int, depth: int) -> tuple[Any, int]:
        if depth > _MAX_DEPTH:
            raise ValueError("values nested too deeply")
        if text.startswith(self.quote, at):
            end = text.find(self.quote, at + len(self.quote))
            if end < 0:
                raise ValueError("a string that does not end")
            return text[at + len(self.quote) : end], end + len(self.quote)
        if text.startswith("{", at):
            return self._read_object(text, at, depth)
        if text.startswith("[", at):
            items, at = [], at + 1
            while not text.startswith("]", at):
                value, at = self._read_value(text, at, depth + 1)
                items.append(value)
                at = _next(text, at, "]")
            return items, at + 1
        if match := _PLAIN.match(text, at):
            return json.loads(match[0]), match.end()
        raise ValueError(f"no value: {text[at : at + 40]!r}")


def _next(text: str, at: int, end: str) -> int:
    if text.startswith(",", at) and not text.startswith(end, at + 1):
        return at + 1
    if not text.startswith(end, at):
        raise ValueError(f"{end} is missing before {text[at : at + 40]!r}")
    return at


def _gemma(name: str, gloss: str, order: int, opening: str, closing: str, quote: str) -> _Gemma:
    return _Gemma(name, gloss, opening, closing, closing + opening, (opening, closing, quote), order=order)


FORMATS = (
    _gemma("functiongemma", "FunctionGemma", 34, "<start_function_call>", "<end_function_call>", "<escape>"),
    _gemma("gemma4", "Gemma 4", 35, "<|tool_call>", "<tool_call|>", '<|"|>'),
)
