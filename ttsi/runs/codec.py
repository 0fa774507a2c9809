"""How does an episode become JSON and come back the same?

Inputs -> outputs: any of our frozen dataclasses -> JSON text (`dumps`) and back (`loads`). One pair of functions over
dataclass fields and their annotations serves all of them; nothing is listed twice.

A field that does not count when two records are compared, the id of a call, is not written: equal records, equal text.

JSON has no NaN and no infinity. Written as null, such a loss would come back as another number; here it is written as
the string "nan", "inf" or "-inf" where a field is annotated as a float, and refused everywhere else.
"""

from __future__ import annotations

import json
import math
import types
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from functools import cache
from pathlib import Path
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

Record = TypeVar("Record")


def dumps(record: object) -> str:
    """A dataclass as canonical JSON: equal values, equal text.

    Raises:
        ValueError: a number that is not finite where no float field is.
    """
    return canonical(_encode(type(record), record))


def canonical(value: Any) -> str:
    """A JSON value as text with sorted keys.

    Raises:
        ValueError: it holds a number that is not finite.
    """
    text = json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    if _encodable(text):
        return text
    # Half a surrogate pair, which a model can write as "\\ud800" in a call, has no place in UTF-8.
    return json.dumps(value, sort_keys=True, ensure_ascii=True, separators=(",", ":"), allow_nan=False)


def _encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def loads(kind: type[Record], text: str) -> Record:
    """Read what `dumps` wrote.

    Raises:
        ValueError, TypeError, KeyError: the text is not of this kind.
    """
    record: Record = _decode(kind, json.loads(text))
    return record


def _hints(kind: Any) -> dict[str, Any]:
    """Field name -> annotation of a dataclass."""
    return _cached_hints(kind)


@cache
def _cached_hints(kind: type) -> dict[str, Any]:
    return get_type_hints(kind)


def _encode(kind: Any, value: Any) -> Any:
    if value is None:
        return None
    kind = _some(kind)
    if kind is float:
        return float(value) if math.isfinite(value) else repr(float(value))
    if is_dataclass(value):
        hints = _hints(type(value))
        return {f.name: _encode(hints[f.name], getattr(value, f.name)) for f in fields(value) if f.compare}
    inner = _inner(kind)
    if isinstance(value, Mapping):
        return {key: _encode(inner, item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_encode(inner, item) for item in value]
    return str(value) if isinstance(value, Path) else value


def _decode(kind: Any, value: Any) -> Any:
    if value is None:
        return None
    kind = _some(kind)
    if kind is float:
        return float(value)
    if is_dataclass(kind) and isinstance(kind, type):
        hints = _hints(kind)
        # A field that the text lacks was added since; the class fills in its default, or refuses.
        return kind(**{f.name: _decode(hints[f.name], value[f.name]) for f in fields(kind) if f.name in value})
    if get_origin(kind) is tuple:
        return tuple(_decode(_inner(kind), item) for item in value)
    if get_origin(kind) is Mapping:
        return {key: _decode(_inner(kind), item) for key, item in value.items()}
    return value


def _some(kind: Any) -> Any:
    """X of X | None, and any other kind as it is."""
    if get_origin(kind) in (Union, types.UnionType):
        [kind] = [arg for arg in get_args(kind) if arg is not types.NoneType]
    return kind


def _inner(kind: Any) -> Any:
    """X of tuple[X, ...] and Mapping[str, X]."""
    arguments = get_args(kind)
    if get_origin(kind) is tuple:
        return arguments[0]
    return arguments[1] if get_origin(kind) is Mapping else Any
