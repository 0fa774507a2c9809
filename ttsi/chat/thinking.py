"""Removal of a model's thinking from its answer.

Inputs: an answer's text. Outputs: the text without its thinking, which may contain drafts of calls and marks. Only
thinking that begins before the first call is removed, because a string in an argument may contain such marks.
"""

from __future__ import annotations

from collections.abc import Sequence

THINKING = (
    ("<think>", "</think>"),
    ("<thinking>", "</thinking>"),
    ("[THINK]", "[/THINK]"),
    ("<|START_THINKING|>", "<|END_THINKING|>"),
    ("<seed:think>", "</seed:think>"),
    ("\u25c1think\u25b7", "\u25c1/think\u25b7"),
    ("<|channel>thought", "<channel|>"),
)
"""(opening, closing) mark by family: Qwen, DeepSeek and many more; Magistral; Command; Seed; Kimi; Gemma 4."""


class ThinkingNeverEnds(ValueError):
    """An answer that opens its thinking and does not close it."""


def strip_thinking(text: str, signs: Sequence[str] = ()) -> str:
    """The text without the thinking before the first call.

    Args:
        text: an answer.
        signs: texts that begin a call.

    Raises:
        ThinkingNeverEnds: the thinking is not closed.

    >>> strip_thinking("<think>perhaps <call>?</think> No.", ["<call>"])
    ' No.'
    >>> strip_thinking("<call>a <think> b", ["<call>"])
    '<call>a <think> b'
    """
    for opening, closing in THINKING:
        # A closing mark alone: the prompt opened it.
        if 0 <= text.find(closing) < min(_first(text, signs), _first(text, [opening])):
            text = text.partition(closing)[2]
        text = _strip(text, opening, closing, signs)
    return text


def _strip(text: str, opening: str, closing: str, signs: Sequence[str]) -> str:
    kept, at, sign = [], 0, -1
    while (start := text.find(opening, at)) >= 0:
        sign = _first(text, signs, at) if sign < at else sign
        if start >= sign:
            break
        end = text.find(closing, start)
        if end < 0:
            raise ThinkingNeverEnds("the model was still thinking when the answer ended")
        kept.append(text[at:start])
        at = end + len(closing)
    return "".join([*kept, text[at:]])


def thinking_end(text: str) -> str:
    """The text that closes the thinking at the end of a text; "" where none is open.

    >>> thinking_end("<|im_start|>assistant\\n<think>\\n"), thinking_end("<think></think>")
    ('\\n</think>\\n\\n', '')
    """
    for opening, closing in THINKING:
        if text.rfind(opening) > text.rfind(closing):
            return ("\n" if text.endswith("\n") else "") + closing + "\n\n"
    return ""


def _first(text: str, signs: Sequence[str], at: int = 0) -> int:
    places = [place for sign in signs if (place := text.find(sign, at)) >= 0]
    return min(places, default=len(text))
