"""What does a stranger's reply say? Bytes from a chat endpoint, read as hostile.

Inputs: the body of a reply to a chat completion, and the text that the answer was to begin with. Outputs: text, whether
it was finished, token counts; or the one word that says what is wrong with it. Nothing is executed, repaired or
trusted: no NaN, no lone surrogates, no deep nesting, no numbers where text should be.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, NoReturn


@dataclass(frozen=True)
class Said:
    """What a body says."""

    text: str
    finished: bool
    read: int | None
    """Tokens of the prompt, where the server counted them."""
    written: int | None
    fault: str = ""
    """"garbage", "empty" or "truncated"; "" when the text can be used."""


GARBAGE = Said("", False, None, None, "garbage")


def read_completion(body: bytes) -> Said:
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
        read, written = _count(usage.get("prompt_tokens")), _count(usage.get("completion_tokens"))
        text = "" if text is None else text
        text.encode("utf-8")  # a lone surrogate is legal JSON and no text
    except (ValueError, KeyError, IndexError, TypeError, AttributeError, RecursionError):
        return GARBAGE
    if reason == "length":
        return Said(text, False, read, written, "truncated")
    return Said(text, True, read, written, "" if text.strip() else "empty")


def behind(prefix: str, text: str) -> str | None:
    r"""What follows the prefix, whatever white space the writer put into it; None when the text begins otherwise.

    >>> behind('{"name": "f"', '{ "name":"f", "arguments": {}}')
    ', "arguments": {}}'
    >>> behind('{"name": "f"', '{"name": "g"}') is None
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
    raise ValueError(f"{constant} is no JSON")
