"""Strict reader of JSON values inside a model's text.

Inputs: a text and a place in it. Outputs: the value there and the place behind it. Nothing is repaired: a key given
twice, NaN, an infinite number and half a character are errors of one line.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from typing import Any

from ttsi.errors import on_one_line
from ttsi.types import ToolCall


def value_at(text: str, at: int) -> tuple[Any, int]:
    """The JSON value that begins at `at`, and the place behind it. White space around the value is skipped.

    Raises:
        ValueError: there is no value.
    """
    value, end = _DECODER.raw_decode(text, skip_space(text, at))
    return value, skip_space(text, end)


def strict_json(text: str) -> Any:
    """A whole JSON text, in which no object has a name twice and no number is NaN or infinite.

    Raises:
        ValueError: the text is not strict JSON.
    """
    return json.loads(text, object_pairs_hook=object_of_pairs, parse_constant=_refuse_constant)


def skip_space(text: str, at: int) -> int:
    """The end of the white space that begins at `at`."""
    match = _SPACE.match(text, at)
    return match.end() if match else at


def call_of(value: Any, key: str, name_key: str = "name", extra: tuple[str, ...] = ("id",)) -> ToolCall:
    """The call in a JSON object.

    Args:
        value: the object.
        key: the family's key for the arguments.
        name_key: the family's key for the tool's name.
        extra: further fields without meaning here.

    Raises:
        ValueError: the object is no call; the message names the fault.
    """
    if not isinstance(value, dict):
        raise ValueError("a call must be a JSON object")
    name, arguments = value.get(name_key), value.get(key)
    if not isinstance(name, str) or not name:
        raise ValueError("a call without a name")
    if not isinstance(arguments, dict):
        raise ValueError(f"the {key} of {name} are missing" if key not in value else f"the {key} are not a JSON object")
    # Templates of two families write extra fields beside the call, without meaning.
    unknown = value.keys() - {name_key, key, *extra} - ({"type"} if value.get("type") == "function" else set())
    if unknown:
        raise ValueError(f"unknown field {min(unknown)} beside the {key}")
    return validate_call(ToolCall(name, arguments))


def validate_call(call: ToolCall) -> ToolCall:
    """The call itself, if it has a name and its arguments are JSON values that UTF-8 can encode.

    Raises:
        ValueError: it has no name, or a value is refused.
    """
    if not call.name:
        raise ValueError("a call without a name")
    check_value(call.name)
    check_value(call.arguments)
    return call


def check_value(value: Any) -> None:
    """Refuse a value that is not JSON (NaN, infinite) or that UTF-8 cannot encode (a lone surrogate).

    Raises:
        ValueError: the value is refused.
    """
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{value} is not a JSON number")
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


def error_line(error: Exception) -> str:
    """An error of a reader as one short line."""
    if isinstance(error, RecursionError):
        return "JSON nested too deeply"
    if isinstance(error, json.JSONDecodeError):
        return f"broken JSON at character {error.pos}: {error.msg}"
    if isinstance(error, TypeError | AttributeError):
        return "an argument is given both as a value and as an object"
    return on_one_line(error, 160)


def object_of_pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """The object of (key, value) pairs.

    Raises:
        ValueError: a key is given twice.
    """
    result = dict(pairs)
    if len(result) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"{next(name for name in names if names.count(name) > 1)} is given twice")
    return result


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not a JSON number")


_DECODER = json.JSONDecoder(object_pairs_hook=object_of_pairs, parse_constant=_refuse_constant)
_SPACE = re.compile(r"[ \t\r\n]*")
