"""The formats with one tag per argument, strings as they are and other values as JSON: Qwen3-Coder, GLM.

    qwen3-coder   <tool_call>\\n<function=f>\\n<parameter=city>\\nOslo\\n</parameter>\\n</function>\\n</tool_call>
                  (Qwen3-Coder, Qwen3.5, Nemotron 3)
    glm           <tool_call>f\\n<arg_key>city</arg_key>\\n<arg_value>Oslo</arg_value>\\n</tool_call>     (GLM 4.5, 4.6)
    glm-4.7       <tool_call>f<arg_key>city</arg_key><arg_value>Oslo</arg_value></tool_call>              (GLM 4.7, 5)

A string is typed by the tool's schema when it is read, so a call cannot be read without its tool. A string that holds
the closing tag cannot be written.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ttsi.chat.format import FramedFormat, blocks, check_end, join_words
from ttsi.chat.json_text import json_text, object_of_pairs, strict_json
from ttsi.chat.lark import Rule, arguments_of, kind_of, kinds, listed_values, literal, pairs, string_literal, text_until
from ttsi.chat.schema_mask import json_value
from ttsi.types import Tool, ToolCall


@dataclass(frozen=True)
class _Tagged(FramedFormat):
    """Arguments as KEY_OPEN key KEY_CLOSE value VALUE_CLOSE."""

    key_open: str = ""
    key_close: str = ""
    """The text between the key and the value."""
    value_close: str = ""
    """The text between the value and the next argument."""
    stop: str = ""
    """The beginning of `value_close`, at which a free string ends."""
    name_close: str = ""
    """Behind the name; part of its span."""
    pattern: re.Pattern[str] = re.compile("")
    """One argument, with the groups key and value, spaces around the value included."""
    head: re.Pattern[str] = re.compile("")
    """A call's text up to its arguments, with the group name."""
    tail: str = ""
    """The text behind the arguments, within a call."""

    def name_prefix(self, number: int) -> str:
        return ""

    def name_text(self, name: str) -> str:
        return name + self.name_close

    def arguments_text(self, arguments: dict[str, Any]) -> str:
        return "".join(self._pair(key, value) for key, value in arguments.items())

    def _pair(self, key: str, value: Any) -> str:
        text = _text(value)
        for part in (key, text):
            if any(mark in part for mark in (*self.marks, self.value_close.strip())):
                raise ValueError(f"the {self.name} format cannot hold the text {part[:40]!r}")
        return f"{self.key_open}{key}{self.key_close}{text}{self.value_close}"

    def arguments_rule(self, tool: Tool, label: str) -> Rule:
        def pair(key: str, schema: Mapping[str, Any], part: str) -> Rule:
            start = f"{literal(self.marks, self.key_open + key + self.key_close)}"
            if texts := [_text(value) for value in listed_values(schema, tool.parameters)]:
                listed = " | ".join(map(string_literal, texts))
                return Rule(f"{start} ({listed}) {literal(self.marks, self.value_close)}")
            # Where strings are admitted beside other values, any text is: a string stands without quotation marks.
            if "string" not in kinds(schema, tool.parameters):
                return Rule(f"{start} {json_value(schema, tool)} {literal(self.marks, self.value_close)}")
            free = text_until(self.stop, part, self.stop.strip())
            rest = literal(self.marks, self.value_close.partition(self.stop)[2])
            return Rule(f"{start} {free.text} {rest}".rstrip(), free.named)

        return pairs(tool, label, pair)

    def read(self, text: str, tools: Sequence[Tool]) -> tuple[str, list[ToolCall]]:
        inner, words = blocks(text, *self.marks[:2])
        return join_words(words, self.marks[1:]), [self._read_call(body, tools) for body in inner]

    def _read_call(self, body: str, tools: Sequence[Tool]) -> ToolCall:
        head = self.head.match(body)
        if head is None:
            raise ValueError("a call without a name")
        name = head["name"].strip()
        tool = next((tool for tool in tools if tool.name == name), None)
        schemas = arguments_of(tool)[0] if tool else {}
        root = tool.parameters if tool else {}
        arguments, at = [], head.end()
        while match := self.pattern.match(body, at):
            key = match["key"].strip()
            arguments.append((key, _typed_value(match["value"], schemas.get(key, {}), root)))
            at = match.end()
        rest = body[at:].strip()
        if rest != self.tail:
            raise ValueError(f"text that is no argument: {rest[:40]!r}")
        return ToolCall(name, object_of_pairs(arguments))


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json_text(value)


def _typed_value(value: str, schema: Mapping[str, Any], root: Mapping[str, Any]) -> Any:
    for listed in listed_values(schema, root):
        if _text(listed) == value:
            return listed
    try:
        typed = strict_json(value)
    except (ValueError, RecursionError):
        return value
    # Where the schema admits strings too, a text that reads as another kind of value is that value if it is admitted.
    admitted, kind = kinds(schema, root), kind_of(typed)
    fits = kind in admitted or (kind == "integer" and "number" in admitted)
    return value if kind == "string" or ("string" in admitted and not fits) else typed


class _Coder(_Tagged):
    def read(self, text: str, tools: Sequence[Tool]) -> tuple[str, list[ToolCall]]:
        # These models often leave out the opening tag around the function.
        if "<function=" in text and "<tool_call>" not in text:
            start = text.index("<function=")
            end = text.find("</function>", start) + len("</function>")
            if end < len("</function>") + start:
                raise ValueError("a call that does not end with </function>")
            rest = text[end:].strip().removesuffix("</tool_call>")
            check_end(rest, 0)
            return text[:start].strip(), [self._read_call(text[start:end], tools)]
        return super().read(text, tools)


_GLM_MARKS = ("<tool_call>", "</tool_call>", "<arg_key>", "</arg_key>", "<arg_value>", "</arg_value>")
_GLM_HEAD = re.compile(r"\s*(?P<name>[^\s<{}\[\]\"][^\n<{}\[\]\"]*)\s*")
_GLM_PAIR = re.compile(r"<arg_key>(?P<key>.*?)</arg_key>\s*<arg_value>(?P<value>.*?)</arg_value>\s*", re.DOTALL)


def _glm(name: str, gloss: str, order: int, gap: str) -> _Tagged:
    """A format of GLM with `gap` between its tags."""
    return _Tagged(
        name=name,
        gloss=gloss,
        opening="<tool_call>",
        closing="</tool_call>",
        between=f"</tool_call>{gap}<tool_call>",
        marks=_GLM_MARKS,
        name_close=gap,
        key_open="<arg_key>",
        key_close=f"</arg_key>{gap}<arg_value>",
        value_close=f"</arg_value>{gap}",
        stop="</arg_value>",
        head=_GLM_HEAD,
        pattern=_GLM_PAIR,
        order=order,
    )


FORMATS = (
    _Coder(
        name="qwen3-coder",
        gloss="Qwen3-Coder, Qwen3.5, Nemotron 3",
        opening="<tool_call>\n<function=",
        closing="</function>\n</tool_call>",
        between="</function>\n</tool_call>\n<tool_call>\n<function=",
        marks=("<tool_call>", "</tool_call>", "<function=", "</function>", "<parameter=", "</parameter>"),
        name_close=">\n",
        key_open="<parameter=",
        key_close=">\n",
        value_close="\n</parameter>\n",
        stop="\n</parameter>\n",
        head=re.compile(r"\s*<function=(?P<name>[^>\n]+)>\n?"),
        pattern=re.compile(r"\s*<parameter=(?P<key>[^>\n]+)>\n?(?P<value>.*?)\n?</parameter>\n?", re.DOTALL),
        tail="</function>",
        order=21,
    ),
    _glm("glm", "GLM 4.5, 4.6", order=22, gap="\n"),
    _glm("glm-4.7", "GLM 4.7, 5", order=23, gap=""),
)
