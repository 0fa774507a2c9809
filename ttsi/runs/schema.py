"""What does an episode look like to somebody who does not read Python?

Inputs: our frozen dataclasses. Outputs: a JSON Schema (2020-12) of one line of `ttsi export RUN --format jsonl`, made
from the fields, their annotations and the line under each, so that it cannot say anything else than the code.
`docs/episode.schema.json` is this schema; a test compares them (`ttsi export --schema` prints it).

Not in the paper (arXiv:2510.07841).
"""

from __future__ import annotations

import ast
import inspect
import textwrap
import types
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from ttsi.record import RunRow

NUMBER = {"anyOf": [{"type": "number"}, {"enum": ["nan", "inf", "-inf"]}]}
"""A float: JSON has no word for these three, and they are never null or 0 (`ttsi.runs.codec`)."""
_PLAIN: dict[Any, dict[str, Any]] = {
    str: {"type": "string"},
    bool: {"type": "boolean"},
    int: {"type": "integer"},
    float: NUMBER,
    Any: {},
}


def row_schema() -> dict[str, Any]:
    """The JSON Schema of an exported row."""
    definitions: dict[str, Any] = {}
    root = _schema(RunRow, definitions)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "One input of a ttsi run, as `ttsi export --format jsonl` writes it",
        **root,
        "$defs": dict(sorted(definitions.items())),
    }


def _schema(kind: Any, definitions: dict[str, Any]) -> dict[str, Any]:
    if kind in _PLAIN:
        return _PLAIN[kind]
    origin, arguments = get_origin(kind), get_args(kind)
    if origin in (Union, types.UnionType):
        return {"anyOf": [_schema(one, definitions) for one in arguments if one is not types.NoneType] + [_NULL]}
    if origin is Literal:
        return {"enum": list(arguments)}
    if origin is tuple:
        return {"type": "array", "items": _schema(arguments[0], definitions)}
    if origin is Mapping:
        return {"type": "object", "additionalProperties": _schema(arguments[1], definitions)}
    if not is_dataclass(kind) or not isinstance(kind, type):
        raise TypeError(f"{kind} has no JSON Schema")
    _define(kind, definitions)
    return {"$ref": f"#/$defs/{kind.__name__}"}


_NULL = {"type": "null"}


def _define(kind: type[Any], definitions: dict[str, Any]) -> None:
    if kind.__name__ in definitions:
        return
    definitions[kind.__name__] = {}  # so that a kind may hold itself
    hints, lines = get_type_hints(kind), _lines_under_fields(kind)
    definitions[kind.__name__] = {
        "description": (kind.__doc__ or "").strip(),
        "type": "object",
        "properties": {
            field.name: {
                **_schema(hints[field.name], definitions),
                **({"description": lines[field.name]} if field.name in lines else {}),
            }
            for field in fields(kind)
            if field.compare  # ids of calls are not written
        },
        "required": [field.name for field in fields(kind) if field.compare],
        "additionalProperties": False,
    }


def _lines_under_fields(kind: type) -> dict[str, str]:
    """The string under each field of a dataclass, which Python itself throws away."""
    [body] = ast.parse(textwrap.dedent(inspect.getsource(kind))).body
    assert isinstance(body, ast.ClassDef)
    return {
        field.target.id: " ".join(str(text.value.value).split())
        for field, text in zip(body.body, body.body[1:], strict=False)
        if isinstance(field, ast.AnnAssign)
        and isinstance(field.target, ast.Name)
        and isinstance(text, ast.Expr)
        and isinstance(text.value, ast.Constant)
    }
