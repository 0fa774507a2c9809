"""The formats without marks: JSON objects, one a line or in a code fence.

    plain    {"name": "f", "arguments": {"city": "Oslo"}}                            (models without tool training)
    fenced   ```json\\n{"name": "f", "arguments": {"city": "Oslo"}}\\n```           (Qwen2.5-Coder)
    llama3   {"name": "f", "parameters": {"city": "Oslo"}}; {"name": "g", "parameters": {}}     (Llama 3)

The first two read each other, because models that write the one often write the other. They differ when calls are
written and constrained.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ttsi.chat.format import JsonFormat
from ttsi.chat.json_text import value_at
from ttsi.types import Tool, ToolCall

FENCE = "```"
_FIRST = re.compile(r"^[ \t]*(?=\{)|<\|python_tag\|>\s*", re.MULTILINE)
_FENCED = re.compile(r"^[ \t]*```[ \t]*(?:(?:json|tool_call)[ \t]*)?(?:\n[ \t]*)?(?=[\{\[])", re.MULTILINE)
_FENCE_LINE = re.compile(r"^[ \t]*```[ \t]*(?P<language>\w*)", re.MULTILINE)
_ANY_FENCE = re.compile(r"```.*?(?:```|$)", re.DOTALL)
_NEW_LINE = re.compile(r"[ \t\r]*\n\s*")
_SEMICOLON = re.compile(r"\s*;\s*|[ \t\r]*\n\s*")
_SAYS_CALL = re.compile(r'^\s*[\[\s]*\{[^{}]*"(?:name|arguments|parameters)"\s*:')


@dataclass(frozen=True)
class _JsonLines(JsonFormat):
    """JSON objects from the first line that begins with one to the end."""

    gap: re.Pattern[str] = _NEW_LINE
    fenced: bool = True

    @property
    def instruction(self) -> str:
        where = " in a code fence" if FENCE in self.opening else ""
        return (
            f'To call a tool, answer with one JSON object per line{where} and nothing else: {{"name": the name of the '
            f'tool, "{self.key}": {{its arguments}}}}. If no tool fits, answer in words.'
        )

    def read(self, text: str, tools: Sequence[Tool]) -> tuple[str, list[ToolCall]]:
        if self.fenced and (fences := _fences(text)):
            values, words = fences
            return words, [self.call(value) for value in values]
        # A fence without a call is an illustration.
        match = _FIRST.search(_ANY_FENCE.sub(lambda fence: "." * len(fence[0]), text) if self.fenced else text)
        if match is None:
            return text, []
        values, at = [], match.end()
        while True:
            value, end = value_at(text, at)
            values.append(value)
            if end == len(text):
                return text[: match.start()].strip(), [self.call(value) for value in values]
            gap = self.gap.match(text, _last(text, end))
            if gap is None or not text.startswith("{", gap.end()):
                raise ValueError(f"text behind a call: {text[end : end + 40]!r}")
            at = gap.end()


def _last(text: str, at: int) -> int:
    """The end of the value before the white space that ends at `at`."""
    while text[at - 1] in " \t\r\n":
        at -= 1
    return at


def _fences(text: str) -> tuple[list[Any], str] | None:
    """The JSON values in the fences that hold calls, and the words around them; None when no fence holds one.

    Raises:
        ValueError: a fence begins like a call and is none.
    """
    values: list[Any] = []
    words, read, at = [], 0, 0
    while fence := _FENCE_LINE.search(text, at):
        match = _FENCED.match(text, fence.start())
        if match is None or not _SAYS_CALL.match(text[match.end() :]):
            following = _FENCE_LINE.search(text, fence.end())
            if following is None:
                break
            # It closes this one, unless it names a language: then it opens another one.
            at = following.start() if following["language"] else following.end()
            continue
        words.append(text[read : match.start()])
        at = match.end()
        while not text.startswith(FENCE, at):
            value, at = value_at(text, at)
            values += value if isinstance(value, list) else [value]
            if at == len(text):
                raise ValueError(f"a call that does not end with {FENCE}")
        read = at = at + len(FENCE)
    if not values:
        return None
    rest = text[read:]
    if "{" in rest and _FIRST.search(rest):
        raise ValueError(f"text behind a call: {rest.strip()[:40]!r}")
    return values, "\n".join(part.strip() for part in [*words, rest] if part.strip())


def strip_fence(text: str) -> str:
    """The text inside a code fence, where the fence is the whole text; else the text itself.

    >>> strip_fence("```json\\n[1]\\n```")
    '[1]\\n'
    """
    match = re.fullmatch(r"\s*```(?:\w+)?[ \t]*\n(.*?)```\s*", text, re.DOTALL)
    return match[1] if match else text


FORMATS = (
    _JsonLines(
        name="plain",
        gloss="models without tool training, and teachers: one JSON object a line",
        opening="{",
        closing="}",
        between="}\n{",
        order=90,
    ),
    _JsonLines(
        name="fenced",
        gloss="Qwen2.5-Coder: JSON in a code fence",
        opening=f"{FENCE}json\n{{",
        closing=f"}}\n{FENCE}",
        between="}\n{",
        marks=(f"{FENCE}json",),
        order=91,
        reads_unmarked=True,
    ),
    _JsonLines(
        name="llama3",
        gloss="Llama 3.1, 3.2, 3.3",
        key="parameters",
        opening="{",
        closing="}",
        between="}; {",
        marks=("<|python_tag|>",),
        gap=_SEMICOLON,
        fenced=False,
        order=20,
    ),
)
