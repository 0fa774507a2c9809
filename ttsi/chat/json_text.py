"""JSON values inside a model's text, read strictly.

Inputs: text and where a value begins. Outputs: the value and where the text goes on. Nothing is repaired: a key given
twice, NaN, an infinite number and half a character are errors with one line that says so. Not in the paper
(arXiv:2510.07841), which does not say how answers are read.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from typing import Any

from ttsi.types import ToolCall


def value_at(text: str, at: int) -> tuple[Any, int]:
    """The JSON value that begins at `at` (behind white space), and where the text goes on behind it.

    Raises:
        ValueError: there is none.
    """
    value, end = _DECODER.raw_decode(text, skip_space(text, at))
    return value, skip_space(text, end)


def value_of(text: str) -> Any:
    """The JSON value that a text is, white space around it aside.

    Raises:
        ValueError: it is none, or more than one.
    """
    value, end = value_at(text, 0)
    if end < len(text):
        raise ValueError(f"text behind a value: {text[end : end + 40]!r}")
    return value


def strict_json(text: str) -> Any:
    """A whole JSON text, in which no object has a name twice and no number is NaN or infinite.

    Raises:
        ValueError: it is something else.
    """
    return json.loads(text, object_pairs_hook=unique, parse_constant=_refuse_constant)


def skip_space(text: str, at: int) -> int:
    """Where the white space that begins at `at` ends."""
    match = _SPACE.match(text, at)
    return match.end() if match else at


def call_of(value: Any, key: str, name_key: str = "name", extra: tuple[str, ...] = ("id",)) -> ToolCall:
    """The call that a JSON object says.

    Args:
        value: the object.
        key: what the family calls the arguments.
        name_key: what it calls the tool's name.
        extra: further fields that carry no meaning here.

    Raises:
        ValueError: it says no call; the message says why.
    """
    if not isinstance(value, dict):
        raise ValueError("a call must be a JSON object")
    name, arguments = value.get(name_key), value.get(key)
    if not isinstance(name, str) or not name:
        raise ValueError("a call without a name")
    if not isinstance(arguments, dict):
        raise ValueError(f"the {key} of {name} are missing" if key not in value else f"the {key} are no JSON object")
    # Templates of two families write these beside the call; they carry no meaning of their own.
    unknown = value.keys() - {name_key, key, *extra} - ({"type"} if value.get("type") == "function" else set())
    if unknown:
        raise ValueError(f"unknown field {min(unknown)} beside the {key}")
    return checked(ToolCall(name, arguments))


def checked(call: ToolCall) -> ToolCall:
    """The call, if it has a name and its arguments are JSON values that UTF-8 can hold.

    Raises:
        ValueError: one of that is missing.
    """
    if not call.name:
        raise ValueError("a call without a name")
    check_value(call.name)
    check_value(call.arguments)
    return call


def check_value(value: Any) -> None:
    """Refuse what is no JSON value or cannot be encoded as UTF-8.

    Raises:
        ValueError: it is refused.
    """
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{value} is no JSON number")
    if isinstance(value, str) and any("\ud800" <= letter <= "\udfff" for letter in value):
        raise ValueError("a string holds half a character (a lone surrogate)")
    if isinstance(value, Mapping):
        for key, inner in value.items():
            check_value(key)
            check_value(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            check_value(inner)


def json_text(value: Any) -> str:
    """A JSON value as text, as most chat templates write it.

    >>> json_text({"a": ["é", None]})
    '{"a": ["é", null]}'
    """
    return json.dumps(value, ensure_ascii=False, allow_nan=False)


def why(error: Exception) -> str:
    """An error of reading as one short line."""
    if isinstance(error, RecursionError):
        return "JSON nested too deeply"
    if isinstance(error, json.JSONDecodeError):
        return f"broken JSON at character {error.pos}: {error.msg}"
    if isinstance(error, TypeError | AttributeError):
        return "an argument is given both as a value and as an object"
    return " ".join(str(error).split())[:160]


def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Pairs as an object.

    Raises:
        ValueError: a key is given twice.
    """
    result = dict(pairs)
    if len(result) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"{next(name for name in names if names.count(name) > 1)} is given twice")
    return result


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON number")


_DECODER = json.JSONDecoder(object_pairs_hook=unique, parse_constant=_refuse_constant)
_SPACE = re.compile(r"[ \t\r\n]*")
