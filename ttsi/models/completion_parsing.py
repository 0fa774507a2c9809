"""Defensive parsing of chat completions from an endpoint that is not trusted.

Inputs: the body of a reply, and the text that the answer was to begin with. Outputs: text, whether it is finished,
token counts; or one word that names the fault. Nothing is executed, repaired or trusted: no NaN, no lone surrogates, no
deep nesting, no numbers where text should be.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, NoReturn


@dataclass(frozen=True)
class CompletionReply:
    """A chat completion."""

    text: str
    finished: bool
    prompt_tokens: int | None
    """Where the server counted them."""
    completion_tokens: int | None
    fault: str = ""
    """"garbage", "empty" or "truncated"; "" when the text can be used."""


GARBAGE = CompletionReply("", False, None, None, "garbage")


def read_completion(body: bytes) -> CompletionReply:
    """The text of a chat completion; never raises.

    >>> read_completion(b'{"choices": [{"message": {"content": "hi"}, "finish_reason": "stop"}]}').text
    'hi'
    >>> read_completion(b'{"choices": []}').fault
    'garbage'
    """
    try:
        content = json.loads(body.decode("utf-8"), parse_constant=_refuse)
        choice = content["choices"][0]
        text, reason = choice["message"].get("content"), choice.get("finish_reason")
        usage = content.get("usage") or {}
        counts = _count(usage.get("prompt_tokens")), _count(usage.get("completion_tokens"))
        text = "" if text is None else text
        text.encode("utf-8")  # a lone surrogate is legal JSON and no text
    except (ValueError, KeyError, IndexError, TypeError, AttributeError, RecursionError):
        return GARBAGE
    if reason == "length":
        return CompletionReply(text, False, *counts, "truncated")
    return CompletionReply(text, True, *counts, "" if text.strip() else "empty")


def without_prefix(prefix: str, text: str) -> str | None:
    r"""The text behind the prefix, whose white space may differ; None when the text begins otherwise.

    >>> without_prefix('{"name": "f"', '{ "name":"f", "arguments": {}}')
    ', "arguments": {}}'
    >>> without_prefix('{"name": "f"', '{"name": "g"}') is None
    True
    """
    rest = text
    for letter in prefix:
        if letter.isspace():
            continue
        rest = rest.lstrip()
        if not rest.startswith(letter):
            return None
        rest = rest[1:]
    return rest.lstrip(" ") if prefix.endswith(" ") else rest


def _count(value: Any) -> int | None:
    return value if type(value) is int and 0 <= value < 10**9 else None


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not JSON")
