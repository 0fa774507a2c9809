"""Attempts at a call in another format than the model's own.

Inputs: an answer in which no call was read, the tools on offer. Outputs: None, or one line that names the other format.
Such a text is no answer in words. Otherwise a model that always calls in another format would be right on every row
without a call.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from ttsi.types import Tool

MARKS: dict[str, tuple[str, ...]] = {}
"""The marks around the calls of every format, by its name; `ttsi.chat.families` fills it."""
_OBJECT = re.compile(r'\{\s*"(?:tool_call_id|tool_name|name|function|function_name|tool|type)"\s*:\s*["{]')
_ARGUMENTS = re.compile(r'"(?:arguments|parameters)"\s*:\s*[{"]')
_CALLED = r"[ \t]*\((?:\s*(?:\w+\s*[=:]|[\"'{])|[^()\n]*(?:\Z|\)[\s\])`;]*(?:$|,\s*[\w.-]+\()))"
"""Behind a tool's name: brackets with named or quoted values, or brackets at the end of a line. Words about a tool, as
in `get_weather(city)` shows the weather, are no call."""
_LOOK_BACK = 40
"""Characters read before a name; the limit keeps the time linear in the text's length."""
_FUNCTION_TAG = re.compile(r"<function[=\s][^<>\n]+>|<invoke name=")


def attempt(text: str, tools: Sequence[Tool], own: str) -> str | None:
    """One line about an attempted call in an answer without a call; None for words.

    Args:
        own: the name of the format that the answer was read in.
    """
    for name, marks in MARKS.items():
        mark = next((mark for mark in marks if mark in text and not mark.startswith("```")), None)
        if mark is not None and name != own:
            return f"it begins like a call in the {name} format: {mark}"
    if _FUNCTION_TAG.search(text):
        return "it begins like a call in tags"
    if _OBJECT.search(text) and _ARGUMENTS.search(text):
        return "it begins like a call in JSON, in the wrong place for this format"
    names = "|".join(re.escape(tool.name) for tool in tools)
    if names and any(
        _starts_call(text[max(0, match.start() - _LOOK_BACK) : match.start()])
        for match in re.finditer(rf"(?:{names}){_CALLED}", text, re.MULTILINE)
    ):
        return "it begins like a call in Python"
    if names and re.search(rf"^[ \t]*(?:{names})[ \t\r]*\n\s*\{{", text, re.MULTILINE):
        return "it begins like a call: a tool's name above its arguments"
    return None


def _starts_call(before: str) -> bool:
    """Whether this text ends with a line's beginning, a tag, a bracket or a mark of code."""
    rest = before.rstrip(" \t\r\n`[(")
    return not rest or rest.endswith(">") or any(letter in before[len(rest) :] for letter in "\n`[")
