"""What may the model write, so that whatever it writes is a legal call?

Inputs: a `Format` and the tools on offer. Outputs: a grammar as text, in llguidance's dialect of Lark, from which the
engine makes a token mask. Strings only: nothing here imports llguidance.

`answer_grammar`: words, then any number of legal calls. `tool_grammar`: exactly one call of exactly this tool.
`call_then_text_grammar`: the rest of an example written call first. `localise`: for marks that are control tokens.

Legal means: an offered name, keys in the schema's order, required ones present, typed values, nothing unlisted, no free
white space. What a mask cannot hold of a schema (`not`, `if`, look-ahead patterns ...) gives way to any JSON value of
the stated type, never to an error, and `ttsi.chat.schema.problem` judges the rest.
Not in the paper (arXiv:2510.07841), which samples freely.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence

from ttsi.chat import ours
from ttsi.chat.calls import Format, JsonFormat
from ttsi.chat.ours_grammar import arguments_rule, calls_rules, quoted
from ttsi.chat.schema_mask import json_arguments
from ttsi.types import Tool

_ANY = "/(?s:.*)/"
_BRACELESS_LINE = r"/[ \t]*([^{ \t\n][^\n]*)?/"
"""A line without a brace at its beginning, which would begin a call in formats without marks."""
_BRACELESS_LINES = r"/([ \t]*([^{ \t\n][^\n]*)?\n)*/"
_REQUEST = r"/ ?[^\s][^\n]+[^\s]/"


def answer_grammar(fmt: Format, tools: Sequence[Tool]) -> str:
    """Words that begin no call, then zero or more legal calls, and nothing else.

    In our own format a call's words quote that tool's line, and words alone say that no tool fits.
    """
    if not isinstance(fmt, JsonFormat):
        calls = [f"{_reason(['', *ours.suffixes(tool.description)])} call_{i}" for i, tool in enumerate(tools)]
        some = f"{quoted(ours.NO_TOOL_TEXT)} | ({' | '.join(calls)})+" if tools else _ANY
        return _text([f"start: {some}", *calls_rules(tools)])
    if not tools:
        return _text(["start: WORDS", _words(fmt)])
    head, first = _head(fmt, tools)
    more = f"({_literal(fmt, fmt.between)} ({_names(tools)}))*"
    rules = [f"start: WORDS | head ({first}) {more} {_literal(fmt, fmt.closing)}", head, _words(fmt)]
    return _text([*rules, *_json_calls(fmt, tools), *_mark_rules(fmt)])


def tool_grammar(fmt: Format, tool: Tool, reasons: Sequence[str] = ("",)) -> str:
    """Exactly one call of `tool`, behind exactly one of `reasons` ("" is no reason).

    Raises:
        ValueError: there is no reason to choose from.
    """
    if not reasons:
        raise ValueError("tool_grammar needs at least one reason, which may be empty")
    behind = "\n" if isinstance(fmt, JsonFormat) else ""
    reason = _reason([reason and reason + behind for reason in reasons])
    return _text([f"start: {reason} {_one_call(fmt, [tool])}", *_calls(fmt, [tool])])


def call_then_text_grammar(fmt: Format, tool: Tool | None, tools: Sequence[Tool], lead: str) -> str:
    """The remainder of an example written call first: the call's arguments, then `lead`, then one line of words.

    With a tool, the text up to and including its name is taken as written (`Format.name_span`); without one, the whole
    call is free, of any of `tools`. The line has at least 3 characters and none of the format's marks.

    Raises:
        ValueError: there is no tool to call.
    """
    if tool is None and not tools:
        raise ValueError("there is no tool to call")
    literal = _literal(fmt, lead) if isinstance(fmt, JsonFormat) else quoted(lead)
    request = " & ".join([_REQUEST, *_without(fmt.marks)])
    call = _one_call(fmt, tools) if tool is None else _after_name(fmt, tool)
    rules = _calls(fmt, tools) if tool is None else _mark_rules(fmt)
    return _text([f"start: {call} {literal} REQUEST", f"REQUEST: {request}", *rules])


def localise(grammar: str, special_ids: Mapping[str, int]) -> str:
    """The grammar for a tokenizer in which some marks are control tokens, given as text -> id.

    Such a token is never matched by text, so the rule of its mark names the id instead. A mark that the tokenizer
    spells out stays text. The embedded format's marks are always control tokens and already named.
    """

    def name_id(match: re.Match[str]) -> str:
        mark = json.loads(match["mark"])
        if mark not in special_ids:
            return match[0]
        return f"{match['rule']}: {match['before'] or ''}<[{special_ids[mark]}]>"

    rule = r"^(?P<rule>mark_\d+|head)(?:\[lazy\])?: (?P<before>FREE )?(?P<mark>\"[^\"\\]*\")$"
    return re.sub(rule, name_id, grammar, flags=re.MULTILINE)


def _text(rules: Sequence[str]) -> str:
    return "\n".join(rule.rstrip() for rule in rules) + "\n"


def _reason(reasons: Sequence[str]) -> str:
    """One of the reasons, or nothing where "" is among them."""
    texts = [quoted(reason) for reason in dict.fromkeys(reasons) if reason]
    return f"({' | '.join(texts)}){'?' if '' in reasons else ''}" if texts else ""


def _names(tools: Sequence[Tool]) -> str:
    return " | ".join(f"call_{i}" for i in range(len(tools)))


def _calls(fmt: Format, tools: Sequence[Tool]) -> list[str]:
    """Rules call_0, call_1, ... and the marks' rules."""
    if isinstance(fmt, JsonFormat):
        return [*_json_calls(fmt, tools), *_mark_rules(fmt)]
    return calls_rules(tools)


def _one_call(fmt: Format, tools: Sequence[Tool]) -> str:
    if isinstance(fmt, JsonFormat):
        return f"{_literal(fmt, fmt.opening)} ({_names(tools)}) {_literal(fmt, fmt.closing)}"
    return f"({_names(tools)})"


def _after_name(fmt: Format, tool: Tool) -> str:
    if not isinstance(fmt, JsonFormat):
        return arguments_rule(tool)
    return f'{quoted(_separator(fmt))} {json_arguments(tool)} "}}" {_literal(fmt, fmt.closing)}'


# ---- formats whose calls are JSON objects


def _separator(fmt: JsonFormat) -> str:
    return f', "{fmt.key}": '


def _call_object(fmt: JsonFormat, tool: Tool, cut: str = "") -> str:
    """One call as JSON, without `cut` at its beginning."""
    name = ('{"name": ' + json.dumps(tool.name, ensure_ascii=False) + _separator(fmt)).removeprefix(cut)
    return f'{quoted(name)} {json_arguments(tool)} "}}"'


def _json_calls(fmt: JsonFormat, tools: Sequence[Tool]) -> list[str]:
    return [f"call_{i}: {_call_object(fmt, tool)}" for i, tool in enumerate(tools)]


def _head(fmt: JsonFormat, tools: Sequence[Tool]) -> tuple[str, str]:
    """The rule of the words up to and including what begins a first call, and the rest of that call.

    The head is lazy: it ends at the first mark, and from there on only calls are possible.
    """
    free = [_ANY if fmt.opening else _BRACELESS_LINES, *_without(fmt.marks[1:] if fmt.opening else fmt.marks)]
    mark = fmt.marks[0] if fmt.opening else "{"
    head = f"head[lazy]: FREE {quoted(mark)}\nFREE: {' & '.join(free)}"
    if not fmt.opening:
        return head, " | ".join(_call_object(fmt, tool, cut=mark) for tool in tools)
    return head, f"{_literal(fmt, fmt.opening.removeprefix(mark))} ({_names(tools)})"


def _words(fmt: JsonFormat) -> str:
    """The terminal of a whole answer without any call."""
    words = _ANY if fmt.opening else f"{_BRACELESS_LINES} {_BRACELESS_LINE}"
    return " & ".join([f"WORDS: {words}", *_without(fmt.marks)])


def _without(marks: Sequence[str]) -> list[str]:
    """What to intersect a terminal with, so that it holds none of the marks."""
    return [f"~({_ANY} {quoted(mark)} {_ANY})" for mark in marks]


def _literal(fmt: JsonFormat, text: str) -> str:
    """A literal in which each mark is a reference to its own rule, for `localise`."""
    if not fmt.marks or not text:
        return quoted(text)
    parts = re.split("(" + "|".join(map(re.escape, fmt.marks)) + ")", text)
    return " ".join(f"mark_{fmt.marks.index(part)}" if part in fmt.marks else quoted(part) for part in parts if part)


def _mark_rules(fmt: Format) -> list[str]:
    marks = fmt.marks if isinstance(fmt, JsonFormat) else ()
    return [f"mark_{i}: {quoted(mark)}" for i, mark in enumerate(marks)]
