"""Token grammars that limit a model's answers to legal calls.

Inputs: a `Format` and the tools on offer. Outputs: a grammar as text, in llguidance's dialect of Lark, from which the
engine makes a token mask. llguidance is not imported.

`answer_grammar`: an answer; words, calls, or calls alone. `tool_grammar`: exactly one call of exactly this tool.
`call_then_text_grammar`: the rest of an example written call first. `json_answer`: one JSON value.
`ttsi.chat.lark.localise`: for marks that are control tokens.

A legal call has an offered name, keys in the schema's order, all required ones, typed values, no unlisted name, no free
white space but in a call without its format's marks. A part of a schema that no mask can enforce admits any JSON value
of the stated type (`ttsi.chat.schema_mask`); `ttsi.chat.tool_schema.problem` checks it afterwards.
The paper (arXiv:2510.07841) samples freely.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Literal

from ttsi.chat import marked
from ttsi.chat.format import Format, FramedFormat
from ttsi.chat.lark import ANY, exclude_marks, literal, localise, mark_rules, string_literal
from ttsi.chat.marked_grammar import arguments_rule, calls_rules
from ttsi.chat.schema_mask import json_arguments
from ttsi.types import Tool

__all__ = [
    "Demand",
    "answer_grammar",
    "call_then_text_grammar",
    "callable_tools",
    "json_answer",
    "localise",
    "tool_grammar",
]

Demand = Literal["auto", "required", "one"]
"""How many calls an answer makes: any number, one or more, or exactly one."""
_UNMARKED_NAME = r'/\{\s*"name"\s*:\s*"/'
_UNMARKED_KEY = r'/,\s*"arguments"\s*:\s*/'
_UNMARKED_END = r"/\s*\}/"
_NEW_LINE = r"/\s*\n\s*/"
_REQUEST = r"/ ?[^\s][^\n]+[^\s]/"


def answer_grammar(fmt: Format, tools: Sequence[Tool], calls: Demand = "auto", only: Sequence[str] = ()) -> str:
    """Words that begin no call, then zero or more legal calls.

    A demanded call has no words before it, except a reason that the family writes. In the format `marked` a reason
    quotes the tool's line, and words alone are its text for "no tool fits".

    Args:
        fmt: how the model writes calls.
        tools: those on offer.
        calls: whether calls are demanded, as `answer.calls`.
        only: the names of the tools that may be called, as `answer.tools`; () is all.

    Raises:
        ValueError: a call is demanded, and there is no tool; or none of those that may be called is on offer.
    """
    tools = callable_tools(tools, only)
    if calls != "auto" and not tools:
        raise ValueError("there is no tool to call")
    if not isinstance(fmt, FramedFormat):
        return _text(["start: " + _marked_answer(tools, calls), *(calls_rules(tools) if tools else [])])
    if not tools:
        return _text(["start: WORDS", _words(fmt)])
    if calls != "auto":
        return _text([f"start: {_calls(fmt, tools, calls == 'required')}", *_rules(fmt, tools)])
    body = f"WORDS | head {literal(fmt.marks, fmt.opening.removeprefix(fmt.trigger))} {_calls_text(fmt, tools, True)}"
    unmarked = _unmarked_calls(fmt, tools) if fmt.reads_unmarked else []
    start = f"start: {body}" + (" | unmarked" if unmarked else "")
    return _text([start, *_rules(fmt, tools), _head(fmt), _words(fmt), *unmarked])


def callable_tools(tools: Sequence[Tool], only: Sequence[str]) -> list[Tool]:
    """Those of the tools that an answer may call: the named ones, or all where none is named.

    Raises:
        ValueError: some are named, and none of them is on offer.
    """
    left = [tool for tool in tools if not only or tool.name in only]
    if only and not left:
        raise ValueError(f"none of the tools that may be called is on offer: {', '.join(only)}")
    return left


def tool_grammar(fmt: Format, tool: Tool, reasons: Sequence[str] = ("",)) -> str:
    """Exactly one call of `tool`, behind exactly one of `reasons` ("" is no reason).

    Raises:
        ValueError: `reasons` is empty.
    """
    if not reasons:
        raise ValueError("tool_grammar needs at least one reason, which may be empty")
    behind = "\n" if isinstance(fmt, FramedFormat) else ""
    reason = _reason([reason and reason + behind for reason in reasons])
    return _text([f"start: {reason} {_calls(fmt, [tool])}", *_rules(fmt, [tool])])


def call_then_text_grammar(fmt: Format, tool: Tool | None, tools: Sequence[Tool], lead: str) -> str:
    """The rest of an example written call first: the call's arguments, then `lead`, then one line of words.

    With a tool, the text up to and including its name stands already (`Format.name_span`). Without one, the call is a
    whole call of any of `tools`. The line has at least 3 characters and none of the format's marks.

    Raises:
        ValueError: there is no tool to call.
    """
    if tool is None and not tools:
        raise ValueError("there is no tool to call")
    request = " & ".join([_REQUEST, *exclude_marks(fmt.marks)])
    if tool is None:
        call, rules = _calls(fmt, tools), _rules(fmt, tools)
    elif isinstance(fmt, FramedFormat):
        rest = fmt.arguments_rule(tool, "t0")
        call, rules = f"{rest.text} {literal(fmt.marks, fmt.closing)}", [*rest.named, *mark_rules(fmt.marks)]
    else:
        call, rules = arguments_rule(tool), []
    between = literal(fmt.marks, lead) if isinstance(fmt, FramedFormat) else string_literal(lead)
    return _text([f"start: {call} {between} REQUEST", f"REQUEST: {request}", *rules])


def json_answer(schema: str) -> str:
    """One JSON value that fits the schema (given as JSON text), without free white space.

    >>> json_answer('{"type": "null"}')
    'start: %json {"type": "null", "x-guidance": {"whitespace_flexible": false}}'
    """
    return "start: %json " + json.dumps({**json.loads(schema), "x-guidance": {"whitespace_flexible": False}})


def _marked_answer(tools: Sequence[Tool], calls: Demand) -> str:
    each = [f"{_reason(['', *marked.suffixes(tool.description)])} call_{i}" for i, tool in enumerate(tools)]
    if not tools:
        return ANY
    if calls == "one":
        return " | ".join(each)
    some = f"({' | '.join(each)})+"
    return some if calls == "required" else f"{string_literal(marked.NO_TOOL_TEXT)} | {some}"


def _text(rules: Sequence[str]) -> str:
    return "\n".join(re.sub(" +$|(?<=start: ) +", "", rule) for rule in rules) + "\n"


def _reason(reasons: Sequence[str]) -> str:
    """One of the reasons, or nothing where "" is among them."""
    texts = [string_literal(reason) for reason in dict.fromkeys(reasons) if reason]
    return f"({' | '.join(texts)}){'?' if '' in reasons else ''}" if texts else ""


def _names(tools: Sequence[Tool]) -> str:
    return " | ".join(f"call_{i}" for i in range(len(tools)))


def _rules(fmt: Format, tools: Sequence[Tool]) -> list[str]:
    """Rules call_0, call_1, ... and the marks' rules."""
    if not isinstance(fmt, FramedFormat):
        return calls_rules(tools)
    rules = []
    for i, tool in enumerate(tools):
        rest = fmt.arguments_rule(tool, f"t{i}")
        rules += [f"call_{i}: {fmt.lead_rule(tool.name)} {rest.text}", *rest.named]
    return [*rules, *mark_rules(fmt.marks)]


def _calls(fmt: Format, tools: Sequence[Tool], repeated: bool = False) -> str:
    """One call of any of the tools; several where they are `repeated` and the format admits it."""
    if isinstance(fmt, FramedFormat):
        return f"{literal(fmt.marks, fmt.opening)} {_calls_text(fmt, tools, repeated)}"
    return f"({_names(tools)})"


def _calls_text(fmt: FramedFormat, tools: Sequence[Tool], repeated: bool) -> str:
    """Calls up to the end of the last one's frame, without the opening."""
    again = repeated and fmt.several and not fmt.one_call
    more = f"({literal(fmt.marks, fmt.between)} ({_names(tools)}))*" if again else ""
    return f"({_names(tools)}) {more} {literal(fmt.marks, fmt.closing)}"


def _unmarked_calls(fmt: FramedFormat, tools: Sequence[Tool]) -> list[str]:
    """Rules of calls without the format's marks, one a line, behind words or none.

    White space before the arguments is the model's own, because these are models that were not trained to write calls.
    """
    free = " & ".join([r"/((?s:.*)\n)?[ \t]*/", *exclude_marks(fmt.marks), *_exclude_unmarked(fmt)])
    names = " | ".join(f"unmarked_{i}" for i in range(len(tools)))
    rules = [
        f"unmarked: unmarked_head ({names}) {_UNMARKED_END} ({_NEW_LINE} {_UNMARKED_NAME} ({names}) {_UNMARKED_END})*",
        f"unmarked_head[lazy]: FREE_UNMARKED {_UNMARKED_NAME}",
        f"FREE_UNMARKED: {free}",
    ]
    for i, tool in enumerate(tools):
        rules.append(f"unmarked_{i}: {string_literal(fmt.name_text(tool.name))} {_UNMARKED_KEY} {json_arguments(tool)}")
    return rules


def _exclude_unmarked(fmt: FramedFormat) -> list[str]:
    """The terminal that matches text in which no call without marks begins."""
    return [r'~/((?s:.*)\n)?[ \t]*\{\s*"name"\s*:(?s:.*)/'] if fmt.reads_unmarked else []


def _head(fmt: FramedFormat) -> str:
    """The rule of the words up to and including the first trigger of a call.

    The head is lazy: it ends at the first trigger, and only calls can follow.
    """
    # A control token spelled letter by letter begins no call.
    lines = ANY if fmt.trigger in fmt.marks else _lines_without(fmt.trigger)
    free = [lines, *exclude_marks(fmt.marks), *_exclude_unmarked(fmt)]
    return f"head[lazy]: FREE {string_literal(fmt.trigger)}\nFREE: {' & '.join(free)}"


def _words(fmt: FramedFormat) -> str:
    """The terminal of a whole answer without any call."""
    last_line = rf"/[ \t]*([^{re.escape(fmt.trigger)} \t\n][^\n]*)?/"
    words = ANY if fmt.trigger in fmt.marks else f"{_lines_without(fmt.trigger)} {last_line}"
    return " & ".join([f"WORDS: {words}", *exclude_marks(fmt.marks), *_exclude_unmarked(fmt)])


def _lines_without(letter: str) -> str:
    """Lines that do not begin with this letter, which begins a call in formats without marks."""
    return rf"/([ \t]*([^{re.escape(letter)} \t\n][^\n]*)?\n)*/"
