"""The pythonic formats: calls as a list of Python calls.

    pythonic   [f(city="Oslo", days=3), g()]                                  (Llama 3.2 and 4, ToolACE)
    lfm2       <|tool_call_start|>[f(city="Oslo")]<|tool_call_end|>           (LFM2)

True, False and None are Python's, but JSON's within lists and objects. Both spellings are read. Nothing is evaluated.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from ttsi.chat.families.bare_json import strip_fence
from ttsi.chat.format import FramedFormat, check_end, join_words
from ttsi.chat.json_text import json_text, object_of_pairs, skip_space
from ttsi.chat.lark import Rule, kind_of, kinds, listed_values, pairs, resolve, string_literal
from ttsi.chat.schema_mask import json_value
from ttsi.types import Tool, ToolCall

_CONSTANTS = {"True": True, "False": False, "None": None, "true": True, "false": False, "null": None}
_STRING = re.compile(r"\"(?:[^\"\\]|\\.)*\"|'(?:[^'\\]|\\.)*'", re.DOTALL)
_NUMBER = re.compile(r"-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?")
_WORD = re.compile(r"[A-Za-z]+")
_NAME = re.compile(r"[^\s()\[\],=\"']+(?: [^\s()\[\],=\"']+)*")
_FIRST = re.compile(r"^[ \t]*(?=\[\s*[^\s()\[\],=\"']+\()", re.MULTILINE)
_MAX_DEPTH = 64
_PYTHON = ("<|python_start|>", "<|python_end|>")


class _Pythonic(FramedFormat):
    def name_prefix(self, number: int) -> str:
        return ""

    def name_text(self, name: str) -> str:
        if not _NAME.fullmatch(name):
            raise ValueError(f"the {self.name} format cannot hold the name {name[:40]!r}")
        return f"{name}("

    def arguments_text(self, arguments: dict[str, Any]) -> str:
        if bad := next((key for key in arguments if not _NAME.fullmatch(key)), None):
            raise ValueError(f"the {self.name} format cannot hold the argument name {bad[:40]!r}")
        return ", ".join(f"{key}={_value_text(value)}" for key, value in arguments.items()) + ")"

    def arguments_rule(self, tool: Tool, label: str) -> Rule:
        def pair(key: str, schema: Mapping[str, Any], part: str) -> Rule:
            if resolve(schema, tool.parameters).get("type") == "boolean":
                return Rule(f'{string_literal(key + "=")} ("True" | "False")')
            named = map(string_literal, _constants(schema, tool.parameters))
            return Rule(f"{string_literal(key + '=')} ({' | '.join([*named, json_value(schema, tool)])})")

        inner = pairs(tool, label, pair, separator=", ")
        return Rule(f'{inner.text} ")"'.strip(), inner.named)

    def read(self, text: str, tools: Sequence[Tool]) -> tuple[str, list[ToolCall]]:
        if self.marks:
            return self._read_marked(text)
        text = strip_fence(text)
        if text.startswith(_PYTHON[0]):  # Llama 4
            text = text.removeprefix(_PYTHON[0]).strip().removesuffix(_PYTHON[1])
        match = _FIRST.search(text) or _first_spaced(text, tools)
        if match is None:
            return text, []
        calls, end = _calls(text, match.end())
        check_end(text, end)
        return text[: match.start()].strip(), calls

    def _read_marked(self, text: str) -> tuple[str, list[ToolCall]]:
        begin, stop = self.marks
        words, at, calls = [], 0, []
        while (start := text.find(begin, at)) >= 0:
            words.append(text[at:start])
            more, at = _calls(text, start + len(begin))
            calls += more
            at = skip_space(text, at)
            if not text.startswith(stop, at):
                raise ValueError(f"a call that does not end with {stop}")
            at += len(stop)
        return join_words([*words, text[at:]], self.marks), calls


def _first_spaced(text: str, tools: Sequence[Tool]) -> re.Match[str] | None:
    """The beginning of a list whose first tool has spaces in its name, as some of ToolACE's do."""
    names = "|".join(re.escape(tool.name) for tool in tools if " " in tool.name)
    return re.search(rf"^[ \t]*(?=\[\s*(?:{names})\()", text, re.MULTILINE) if names else None


def _constants(schema: Any, root: Mapping[str, Any]) -> list[str]:
    """The constants of Python that a schema admits."""
    values = listed_values(schema, root)
    if values:
        return [str(value) for value in values if kind_of(value) in ("null", "boolean")]
    admitted = kinds(schema, root)
    return [str(value) for value in (None, True, False) if kind_of(value) in admitted]


def _value_text(value: Any) -> str:
    return str(value) if value is None or isinstance(value, bool) else json_text(value)


def _calls(text: str, at: int) -> tuple[list[ToolCall], int]:
    """The calls of the list that begins at `at`, and the place behind it."""
    at = skip_space(text, at)
    if not text.startswith("[", at):
        raise ValueError("a call that is not in a list")
    calls, at = [], skip_space(text, at + 1)
    while True:
        call, at = _call(text, at)
        calls.append(call)
        at = _next(text, at, "]")
        if text.startswith("]", at):
            return calls, at + 1


def _call(text: str, at: int) -> tuple[ToolCall, int]:
    name = _NAME.match(text, at)
    if name is None:
        raise ValueError("a call without a name")
    arguments: list[tuple[str, Any]] = []
    at = skip_space(text, _expect(text, name.end(), "("))
    while not text.startswith(")", at):
        key = _NAME.match(text, at)
        if key is None:
            raise ValueError("an argument without a name")
        value, at = _value(text, skip_space(text, _expect(text, skip_space(text, key.end()), "=")), 0)
        arguments.append((key[0], value))
        at = _next(text, at, ")")
    return ToolCall(name[0], object_of_pairs(arguments)), at + 1


def _value(text: str, at: int, depth: int) -> tuple[Any, int]:
    if depth > _MAX_DEPTH:
        raise ValueError("values nested too deeply")
    if match := _STRING.match(text, at):
        return _string(match[0]), match.end()
    if match := _NUMBER.match(text, at):
        return json.loads(match[0]), match.end()
    if (match := _WORD.match(text, at)) and match[0] in _CONSTANTS:
        return _CONSTANTS[match[0]], match.end()
    if text[at : at + 1] in ("[", "("):
        return _items(text, at, depth)
    if text.startswith("{", at):
        return _object(text, at, depth)
    raise ValueError(f"no value: {text[at : at + 40]!r}")


def _items(text: str, at: int, depth: int) -> tuple[list[Any], int]:
    end = "]" if text[at] == "[" else ")"
    items, at = [], skip_space(text, at + 1)
    while not text.startswith(end, at):
        value, at = _value(text, at, depth + 1)
        items.append(value)
        at = _next(text, at, end)
    return items, at + 1


def _object(text: str, at: int, depth: int) -> tuple[dict[str, Any], int]:
    members: list[tuple[str, Any]] = []
    at = skip_space(text, at + 1)
    while not text.startswith("}", at):
        key = _STRING.match(text, at)
        if key is None:
            raise ValueError("a key that is no string")
        value, at = _value(text, skip_space(text, _expect(text, skip_space(text, key.end()), ":")), depth + 1)
        members.append((_string(key[0]), value))
        at = _next(text, at, "}")
    return object_of_pairs(members), at + 1


def _next(text: str, at: int, end: str) -> int:
    """The place of the next item, or of the end."""
    at = skip_space(text, at)
    return at if text.startswith(end, at) else skip_space(text, _expect(text, at, ","))


def _expect(text: str, at: int, letter: str) -> int:
    if not text.startswith(letter, at):
        raise ValueError(f"{letter} is missing before {text[at : at + 40]!r}")
    return at + 1


def _string(token: str) -> str:
    """The text of a Python string literal, read as JSON plus single quotes and escapes that JSON lacks."""

    def escape(match: re.Match[str]) -> str:
        if match[0] == '"':
            return '\\"'
        if match[1] == "'":
            return "'"
        return match[0] if match[1] in '"\\/bfnrtu' else "\\" + match[0]

    return str(json.loads('"' + re.sub(r'\\(.)|"', escape, token[1:-1], flags=re.DOTALL) + '"', strict=False))


FORMATS = (
    _Pythonic(
        name="lfm2",
        gloss="LFM2",
        opening="<|tool_call_start|>[",
        closing="]<|tool_call_end|>",
        between=", ",
        marks=("<|tool_call_start|>", "<|tool_call_end|>"),
        order=33,
    ),
    _Pythonic(
        name="pythonic", gloss="Llama 3.2 and 4 (pythonic), ToolACE", opening="[", closing="]", between=", ", order=81
    ),
)
