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
_FUNCTION_TAG = re.compile(r"<function[=\s][^<>\n]+>|<invoke name=")


def attempt(text: str, tools: Sequence[Tool], spoken: str) -> str | None:
    """What an answer without a call begins like, as one line; None when it is words."""
    from ttsi.chat.families import FORMATS  # late: each family's reader asks this module

    for form in FORMATS.values():
        mark = next((mark for mark in form.marks if mark in text and not mark.startswith("```")), None)
        if mark is not None and form.name != spoken:
            return f"it begins like a call in the {form.name} format: {mark}"
    if _FUNCTION_TAG.search(text):
        return "it begins like a call in tags"
    if _OBJECT.search(text) and _ARGUMENTS.search(text):
        return "it begins like a call in JSON that is not where the format has it"
    names = "|".join(re.escape(tool.name) for tool in tools)
    if names and re.search(rf"(?:^|[>\[`])[\s`\[(]*(?:{names})\s*\(", text, re.MULTILINE):
        return "it begins like a call in Python"
    if names and re.search(rf"^\s*(?:{names})\s*\n\s*\{{", text, re.MULTILINE):
        return "it begins like a call: a tool's name above its arguments"
    return None
