"""Parsing of the writer's text into examples.

Inputs: the writer's raw text. Outputs: an `Example`, refused with the reason where it cannot be read. Nothing is
repaired. The paper does not say what happens to text that does not parse; ours keeps it in the record and does not
train on it.
"""

from __future__ import annotations

from collections.abc import Sequence

from ttsi.chat.calls import Format
from ttsi.synthesis.prompts import LEAD
from ttsi.types import Example, Tool


def stripped_line(text: str) -> str:
    """The first line that is not blank, stripped."""
    return next((line.strip() for line in text.splitlines() if line.strip()), "")


def read_call_first(text: str, finished: bool, form: Format, tools: Sequence[Tool]) -> Example:
    """Read a call followed by LEAD and the request."""
    call, lead, request = text.partition(LEAD)
    if not lead:
        return Example("", (), text, "parse: no request behind the call")
    return _example(stripped_line(request), call, text, finished, form, tools)


def read_query_first(query: str, answer: str, finished: bool, form: Format, tools: Sequence[Tool]) -> Example:
    """Read a request and the call that was written for it."""
    return _example(query, answer, f"{LEAD.lstrip()}{query}\n{answer}", finished, form, tools)


def _example(query: str, call: str, text: str, finished: bool, form: Format, tools: Sequence[Tool]) -> Example:
    parsed = form.parse(call, tools)
    if not finished:
        return Example(query, parsed.calls, text, "parse: cut off at max_tokens")
    if parsed.error:
        return Example(query, (), text, f"parse: {parsed.error}")
    if not query:
        return Example(query, parsed.calls, text, "parse: empty request")
    if not parsed.calls:
        return Example(query, (), text, "parse: no call")
    return Example(query, parsed.calls, text)
