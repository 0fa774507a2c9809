"""The text of an answer for the user, without calls, thinking and control tokens.

Inputs: a model's `Format`, its answer, the tools on offer. Outputs: the user's text, or "". No mark of any family and
nothing between marks is passed on. A call that is cut off or unreadable ends the text before it. Bare JSON is a call
only if it names a tool of the conversation, because a user may ask for JSON.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import lru_cache

from ttsi.chat.calls import FORMATS, Format
from ttsi.chat.thinking import THINKING, ThinkingNeverEnds, strip_thinking
from ttsi.types import Tool

_PAIRS = (
    *THINKING,
    ("<|START_ACTION|>", "<|END_ACTION|>"),
    ("<|tool_call_start|>", "<|tool_call_end|>"),
    ("<start_function_call>", "<end_function_call>"),
    ("<|tool_calls_section_begin|>", "<|tool_calls_section_end|>"),
    ("<|tool_call>", "<tool_call|>"),
    ("<｜tool▁calls▁begin｜>", "<｜tool▁calls▁end｜>"),  # noqa: RUF001  DeepSeek writes it so
)
"""Marks around thoughts or calls, besides XML tags."""
_TAG = r"(tool_calls?|function_calls?|function|tool_response|minimax:tool_call)"
_BLOCKS = re.compile(
    "|".join([rf"<{_TAG}(?:[ =][^<>\n]*)?>.*?</\1>", *(f"{re.escape(a)}.*?{re.escape(b)}" for a, b in _PAIRS)]),
    re.DOTALL,
)
_OPEN = rf"</?{_TAG}(?:[ =][^<>\n]*)?>|\[TOOL_CALLS\]|\[/?ARGS\]|\[CALL_ID\]|functools\["
_CONTROL = re.compile(
    r"<\|[^<>|\n]{1,40}\|>|<｜[^<>｜\n]{1,40}｜>|</?s>|<(?:bos|eos|pad)>|<(?:start|end)_(?:of_turn|function_call)>"  # noqa: RUF001
)
_LEADING = re.compile(rf"\A(?:\s|{_CONTROL.pattern})+")
_HALF_MARK = re.compile(r"(?:<[^<>\s]{0,60}|\[[A-Z_/]{0,30}|`{1,3}\w*\s*)\Z")
_BEGUN = re.compile(r"^[ \t]*(?:```\w*\s*)?(?:\[\s*)*(?:\{|\[\s*(?:\{|[A-Za-z_]|$))", re.MULTILINE)
"""The beginning of a call without marks: a line with an object or a list."""
_ANY_TOOL = Tool("find", "find a word", {"type": "object", "properties": {}})
"""A tool to test whether a family writes reasons."""
_BARE = re.compile(
    r'^[ \t]*(?:```\w*\s*)?(?:\[\s*)?(?:\{\s*(?:"type"\s*:\s*"function"\s*,\s*)?"(?:name|function|tool)"\s*:\s*'
    r'"(?P<name>[^"\n]*)(?:"|\Z)|(?<=\[)(?P<function>\w[\w.]*)(?:\(|\Z))',
    re.MULTILINE,
)


def user_text(fmt: Format, text: str, tools: Sequence[Tool], names: Iterable[str] = (), finished: bool = True) -> str:
    """The text of an answer for the user, stripped.

    Args:
        fmt: the model's own format.
        text: the whole answer.
        tools: the tools on offer. Without tools, no part of the text is a call.
        names: further tools in the conversation. Bare JSON that calls one of them is removed, too.
        finished: False where the answer was cut off at its limit.
    """
    try:
        text = strip_thinking(text, fmt.marks)
    except ThinkingNeverEnds:
        return ""
    parsed = fmt.parse(text, tools)
    begun = any(mark in text for mark in fmt.marks) or (tools and (parsed.error or not finished))
    if begun and any(fmt.reasons(_ANY_TOOL)):
        return ""  # words before a call of this family are its reason, not for the user
    tool_names = frozenset([*(tool.name for tool in tools), *names])
    framed = any(mark in text for mark in _frames(fmt))
    words = parsed.reasoning if parsed.error is None and (framed or (tools and parsed.calls)) else text
    for other in (fmt, *FORMATS.values()):
        words = _strip_calls(other, words, tools, tool_names)
    words = _text_before(_marks(), _BLOCKS.sub("\n", words))
    words = _text_before_bare_call(words, tool_names) if tool_names else words
    words = _text_before(_BEGUN, words) if tools and (parsed.error or not finished) else words
    words = _text_before(_CONTROL, _LEADING.sub("", words))
    return (words if finished else _HALF_MARK.sub("", words)).strip()


def _strip_calls(fmt: Format, text: str, tools: Sequence[Tool], tool_names: frozenset[str]) -> str:
    """The text without the calls of this family."""
    parsed = fmt.parse(text, tools)
    framed = any(mark in text for mark in _frames(fmt))
    if parsed.calls and (framed or all(call.name in tool_names for call in parsed.calls)):
        return parsed.reasoning
    return text


def _frames(fmt: Format) -> list[str]:
    """The marks that cannot be words; a code fence can."""
    return [mark for mark in fmt.marks if not mark.startswith("```")]


def _text_before(pattern: re.Pattern[str], text: str) -> str:
    match = pattern.search(text)
    return text if match is None else text[: match.start()]


@lru_cache(maxsize=1)
def _marks() -> re.Pattern[str]:
    """The marks of all families."""
    marks = {mark for fmt in FORMATS.values() for mark in _frames(fmt)}
    paired = {mark for pair in _PAIRS for mark in pair}
    return re.compile("|".join([*map(re.escape, sorted(marks | paired)), _OPEN]))


def _text_before_bare_call(text: str, tool_names: frozenset[str]) -> str:
    """The text before a call without marks of one of these tools, also in a fence or a list."""
    for begun in _BARE.finditer(text):
        name = begun["name"] if begun["name"] is not None else begun["function"]
        if name in tool_names or begun.end() == len(text):  # a name that is cut off may be any
            return text[: begun.start()]
    return text
