"""Attempts at a call that the spoken format does not read.

Inputs: an answer in which no call was read, the tools on offer. Outputs: None, or one line that says which family's way
of calling the text begins like. Such a text is no answer in words: a model that always calls in another way would
otherwise be right on every row where nothing should be called.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from ttsi.types import Tool

_OBJECT = re.compile(r'\{\s*"(?:tool_call_id|tool_name|name|function|function_name|tool|type)"\s*:\s*["{]')
_ARGUMENTS = re.compile(r'"(?:arguments|parameters)"\s*:\s*[{"]')
_CALLED = r"[ \t]*\((?:\s*(?:\w+\s*[=:]|[\"'{])|[^()\n]*(?:\Z|\)[\s\])`;]*(?:$|,\s*[\w.-]+\()))"
"""Behind a tool's name: brackets with named or quoted values, or with anything where nothing follows in the line. Words
that speak of a tool, as in `get_weather(city)` shows the weather, are no call."""
_LOOK_BACK = 40
"""Characters before a name that are looked at, so that a long text takes no longer than its length."""
_FUNCTION_TAG = re.compile(r"<function[=\s][^<>\n]+>|<invoke name=")


def attempt(text: str, tools: Sequence[Tool], own: str) -> str | None:
    """What an answer without a call begins like, as one line; None when it is words."""
    from ttsi.chat.families import FORMATS  # late: each family's reader asks this module

    for form in FORMATS.values():
        mark = next((mark for mark in form.marks if mark in text and not mark.startswith("```")), None)
        if mark is not None and form.name != own:
            return f"it begins like a call in the {form.name} format: {mark}"
    if _FUNCTION_TAG.search(text):
        return "it begins like a call in tags"
    if _OBJECT.search(text) and _ARGUMENTS.search(text):
        return "it begins like a call in JSON that is not where the format has it"
    names = "|".join(re.escape(tool.name) for tool in tools)
    if names and any(
        _begins(text[max(0, match.start() - _LOOK_BACK) : match.start()])
        for match in re.finditer(rf"(?:{names}){_CALLED}", text, re.MULTILINE)
    ):
        return "it begins like a call in Python"
    if names and re.search(rf"^[ \t]*(?:{names})[ \t\r]*\n\s*\{{", text, re.MULTILINE):
        return "it begins like a call: a tool's name above its arguments"
    return None


def _begins(before: str) -> bool:
    """Whether what follows stands at the beginning of a line, or behind a tag, a bracket or a mark of code."""
    rest = before.rstrip(" \t\r\n`[(")
    return not rest or rest.endswith(">") or any(letter in before[len(rest) :] for letter in "\n`[")
