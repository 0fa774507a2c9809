"""The Hermes format: JSON between <tool_call> and </tool_call> (Qwen 2.5 and 3, Hermes 2 and 3, Granite 4).

<tool_call>\\n{"name": "f", "arguments": {"city": "Oslo"}}\\n</tool_call>
"""

from __future__ import annotations

from collections.abc import Sequence

from ttsi.chat.format import JsonFormat, join_words
from ttsi.chat.json_text import value_at
from ttsi.types import Tool, ToolCall

OPENING, CLOSING = "<tool_call>", "</tool_call>"


class _Hermes(JsonFormat):
    def read(self, text: str, tools: Sequence[Tool]) -> tuple[str, list[ToolCall]]:
        # A block has an end, so the text behind it is words.
        calls: list[ToolCall] = []
        words, at = [], 0
        while (start := text.find(OPENING, at)) >= 0:
            words.append(text[at:start])
            value, end = value_at(text, start + len(OPENING))
            if not text.startswith(CLOSING, end):
                raise ValueError(f"a call that does not end with {CLOSING}")
            calls.append(self.call(value))
            at = end + len(CLOSING)
        return join_words([*words, text[at:]], [CLOSING]), calls


FORMATS = (
    _Hermes(
        name="hermes",
        gloss="Qwen 2.5 and 3, Hermes 2 and 3, Granite 4",
        opening=f"{OPENING}\n{{",
        closing=f"}}\n{CLOSING}",
        between=f"}}\n{CLOSING}\n{OPENING}\n{{",
        marks=(OPENING, CLOSING),
        order=10,
    ),
)
