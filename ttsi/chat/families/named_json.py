"""The formats with marks around a name and its JSON object: Mistral, DeepSeek, Kimi, gpt-oss.

    mistral         [TOOL_CALLS] [{"name": "f", "arguments": {"city": "Oslo"}}]            (Mistral up to Small 3.1)
    mistral-v11     [TOOL_CALLS]f[CALL_ID]call00000[ARGS]{"city": "Oslo"}                   (Mistral Small 3.2)
    mistral-v13     [TOOL_CALLS]f[ARGS]{"city": "Oslo"}                             (Devstral, Magistral, Ministral 3)
    deepseek-v3.1   <calls><call>f<sep>{"city": "Oslo"}<end of call><end of calls>, in DeepSeek's marks
    deepseek-v3     the same, with the word function, a line break and a code fence          (DeepSeek V3, R1)
    kimi-k2         <|tool_calls_section_begin|><|tool_call_begin|>functions.f:0<|tool_call_argument_begin|>{...}...
    harmony         <|channel|>commentary to=functions.f <|constrain|>json<|message|>{"city": "Oslo"}<|call|>  (gpt-oss)

The three of Mistral read each other, because the models do not keep to one.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ttsi.chat.format import FramedFormat, JsonFormat, check_end, join_words, json_list, json_object
from ttsi.chat.json_text import json_text, skip_space
from ttsi.chat.lark import Rule, literal
from ttsi.chat.schema_mask import json_arguments
from ttsi.types import Tool, ToolCall


@dataclass(frozen=True)
class _NamedJson(FramedFormat):
    """FRONT NAME MIDDLE {arguments} BEHIND, in a frame."""

    front: str = ""
    """Before the name."""
    middle: str = ""
    """Between the name and the arguments."""
    middle_rule: str = ""
    """Grammar of `middle` behind its first mark, where the text varies."""
    behind: str = ""
    """Behind the arguments."""

    def name_prefix(self, number: int) -> str:
        return self.front

    def name_text(self, name: str) -> str:
        return name + self._stop

    @property
    def _stop(self) -> str:
        return next(mark for mark in (*self.marks, ":", " ", "\n") if self.middle.startswith(mark))

    def arguments_text(self, arguments: dict[str, Any]) -> str:
        return self.middle.removeprefix(self._stop) + json_text(arguments) + self.behind

    def arguments_rule(self, tool: Tool, label: str) -> Rule:
        middle = self.middle_rule or literal(self.marks, self.middle.removeprefix(self._stop))
        return Rule(f"{middle} {json_arguments(tool)} {literal(self.marks, self.behind)}")


_CALLS, _ID, _ARGS = "[TOOL_CALLS]", "[CALL_ID]", "[ARGS]"


def _read_mistral(text: str) -> tuple[str, list[ToolCall]]:
    start = text.find(_CALLS)
    if start < 0:
        return join_words([text], [_ARGS, _ID]), []
    calls: list[ToolCall] = []
    at = start
    while text.startswith(_CALLS, at):
        more, at = _mistral_calls(text, at + len(_CALLS))
        calls += more
    check_end(text, at)
    return text[:start].strip(), calls


def _mistral_calls(text: str, at: int) -> tuple[list[ToolCall], int]:
    """The calls in a list, or one call in a newer format, and the place behind them."""
    if text.startswith("[{", skip_space(text, at)) or re.match(r"\s*\[\s", text[at:]):
        values, end = json_list(text, at)
        return [_OLD_MISTRAL.call(value) for value in values], end
    name, mark, _ = text[at:].partition(_ARGS)
    if not mark or "\n" in name.strip() or _CALLS in name:
        raise ValueError(f"a call without a list and without {_ARGS}")
    arguments, end = json_object(text, at + len(name) + len(mark))
    return [ToolCall(name.partition(_ID)[0].strip(), arguments)], end


class _OldMistral(JsonFormat):
    def read(self, text: str, tools: Sequence[Tool]) -> tuple[str, list[ToolCall]]:
        return _read_mistral(text)


class _Mistral(_NamedJson):
    def read(self, text: str, tools: Sequence[Tool]) -> tuple[str, list[ToolCall]]:
        return _read_mistral(text)


_OLD_MISTRAL = _OldMistral(
    name="mistral",
    gloss="Mistral 7B v0.3, Nemo, Small up to 3.1",
    opening=f"{_CALLS} [{{",
    closing="}]",
    between="}, {",
    marks=(_CALLS, _ARGS, _ID),
    order=10,
)


@dataclass(frozen=True)
class _Blocks(_NamedJson):
    """Calls between a mark that opens and one that ends each, in a section that is optional when read.

    Its five marks are: the section's opening, the call's opening, a separator, the call's end, the section's end.
    """

    name_pattern: str = r"(?P<name>.+?)"

    def read(self, text: str, tools: Sequence[Tool]) -> tuple[str, list[ToolCall]]:
        begin_section, begin, _, end, end_section = self.marks
        start = text.find(begin_section)
        first = text.find(begin)
        start = first if start < 0 else start
        if start < 0 or first < 0:
            return join_words([text], self.marks), []
        words, rest = text[:start], text[start:].removeprefix(begin_section)
        calls = []
        at = skip_space(rest, 0)
        while rest.startswith(begin, at):
            match = re.compile(self.name_pattern + r"\s*", re.DOTALL).match(rest, at + len(begin))
            if match is None or "\n" in match["name"].strip():
                raise ValueError("a call without a name or without its marks")
            arguments, at = json_object(rest, match.end())
            fence = re.compile(r"```\s*").match(rest, at)
            at = fence.end() if fence and "```" in self.middle else at
            if not rest.startswith(end, at):
                raise ValueError(f"a call that does not end with {end}")
            at = skip_space(rest, at + len(end))
            calls.append(ToolCall(match["name"].strip(), arguments))
        check_end(rest[at:].removeprefix(end_section), 0)
        return words.strip(), calls


_DS = tuple(
    f"<\uff5ctool\u2581{word}\uff5c>"
    for word in ("calls\u2581begin", "call\u2581begin", "sep", "call\u2581end", "calls\u2581end")
)
_DS_CALLS, _DS_CALL, _DS_SEP, _DS_END, _DS_CLOSE = _DS
_KIMI = (
    "<|tool_calls_section_begin|>",
    "<|tool_call_begin|>",
    "<|tool_call_argument_begin|>",
    "<|tool_call_end|>",
    "<|tool_calls_section_end|>",
)


class _Kimi(_Blocks):
    def _call(self, call: ToolCall, number: int) -> str:
        return super()._call(call, number).replace(":0" + _KIMI[2], f":{number}" + _KIMI[2], 1)


_COMMENTARY = "<|channel|>commentary to=functions."
_HARMONY = re.compile(
    r"(?:(?:<\|start\|>assistant)?<\|channel\|>(?:commentary|analysis)\s*|<\|start\|>assistant\s*)?"
    r"to=functions\.(?P<name>[^\s<]{1,200})\s*"
    r"(?:<\|channel\|>(?:commentary|analysis)\s*)?(?:<\|constrain\|>)?(?:json)?<\|message\|>"
)
_HARMONY_WORDS = re.compile(
    r"<\|channel\|>(?P<channel>analysis|commentary|final)<\|message\|>(?P<words>.*?)(?=<\|(?:end|return|start|channel)\|>|$)",
    re.DOTALL,
)
_HARMONY_ENDS = ("<|call|>", "<|end|>", "<|return|>", "<|start|>assistant")


class _Harmony(_NamedJson):
    def read(self, text: str, tools: Sequence[Tool]) -> tuple[str, list[ToolCall]]:
        match = _HARMONY.search(text)
        words = _HARMONY_WORDS.sub(
            lambda match: match["words"] if match["channel"] != "analysis" else "",
            text[: match.start()] if match else text,
        )
        for mark in _HARMONY_ENDS:
            words = words.replace(mark, "")
        if match is None:
            return (words if words == text else join_words([words.strip()], [*self.marks, "to=functions."])), []
        arguments, end = json_object(text, match.end())
        check_end(text[end:].removeprefix("<|call|>"), 0)
        return words.strip(), [ToolCall(match["name"], arguments)]


FORMATS = (
    _OLD_MISTRAL,
    _Mistral(
        name="mistral-v11",
        gloss="Mistral Small 3.2",
        opening=_CALLS,
        closing="",
        between=_CALLS,
        marks=(_CALLS, _ARGS, _ID),
        middle=f"{_ID}call00000{_ARGS}",
        middle_rule="/[a-zA-Z0-9]{9}/ mark_1",
        order=12,
    ),
    _Mistral(
        name="mistral-v13",
        gloss="Devstral, Magistral, Ministral 3",
        opening=_CALLS,
        closing="",
        between=_CALLS,
        marks=(_CALLS, _ARGS, _ID),
        middle=_ARGS,
        order=11,
    ),
    _Blocks(
        name="deepseek-v3.1",
        gloss="DeepSeek V3.1",
        opening=_DS_CALLS + _DS_CALL,
        closing=_DS_CLOSE,
        between=_DS_CALL,
        marks=_DS,
        middle=_DS_SEP,
        behind=_DS_END,
        name_pattern=rf"(?!function{_DS_SEP}[^\n{{]+\n```)(?P<name>[^{{]+?){_DS_SEP}",
        order=40,
    ),
    _Blocks(
        name="deepseek-v3",
        gloss="DeepSeek V3, R1",
        opening=_DS_CALLS + _DS_CALL,
        closing=_DS_CLOSE,
        between="\n" + _DS_CALL,
        marks=_DS,
        front=f"function{_DS_SEP}",
        middle="\n```json\n",
        behind=f"\n```{_DS_END}",
        name_pattern=rf"function{_DS_SEP}(?P<name>[^{{\n]+)\n```(?:json)?",
        order=41,
    ),
    _Kimi(
        name="kimi-k2",
        gloss="Kimi K2",
        opening=_KIMI[0] + _KIMI[1],
        closing=_KIMI[4],
        between=_KIMI[1],
        marks=_KIMI,
        front="functions.",
        middle=f":0{_KIMI[2]}",
        middle_rule="/[0-9]{1,3}/ mark_2",
        behind=_KIMI[3],
        name_pattern=rf"\s*(?:functions\.)?(?P<name>(?!\s)[^{{]+?):\d+\s*{re.escape(_KIMI[2])}",
        order=42,
    ),
    _Harmony(
        name="harmony",
        gloss="gpt-oss",
        opening=_COMMENTARY,
        closing="<|call|>",
        between="",
        marks=("<|channel|>", "<|constrain|>", "<|message|>", "<|call|>"),
        several=False,
        middle=" <|constrain|>json<|message|>",
        order=43,
    ),
)
