"""The part of a JSON Schema that a token mask can hold.

Inputs: a schema, and the tool's parameters that its `$ref`s point into. Outputs: a schema that llguidance compiles
(`maskable`), or the rule of JSON that fits it
(`json_arguments`, `json_value`). What a mask cannot hold (`not`, `if`, look-ahead patterns ...) gives way to
any JSON value of the stated type, never to an error. Text and dictionaries only: nothing here imports llguidance.
Not in the paper (arXiv:2510.07841), which samples freely.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping
from typing import Any

from ttsi.chat.schema import closed
from ttsi.types import Tool

_COMPACT = {"item_separator": ", ", "key_separator": ": ", "whitespace_flexible": False}
_MAX_DEPTH = 32
_MAX_COUNT = 1000
"""Longest string or list whose length is enforced; counting further makes the mask slow."""

_KINDS: Mapping[str, tuple[type, ...]] = {
    "string": (str,), "integer": (int,), "number": (int, float), "boolean": (bool,), "null": (type(None),),
    "array": (list,), "object": (dict,),
}  # fmt: skip
_SAFE_PATTERN = re.compile(
    r"""(?: [A-Za-z0-9_ ,:;/@%#=!"'<>.^$()|] | - | \\[dws.^$()|/\\+*?{}\[\]-]
          | \[\^?(?: [A-Za-z0-9_ ,:;/@%#=!.+*?()] | -(?!-) | \\[dws.^$()|/\\+*?{}\[\]-] )+\]
          | (?<![*+?}(|^])[*+?](?![*+?{]) | (?<![*+?}(|^])\{\d{1,3}(?:,\d{0,3})?\}(?![*+?{]) )*""",
    re.VERBOSE,
)


def json_arguments(tool: Tool) -> str:
    """The rule of all arguments of a call as one JSON object."""
    return _json(closed(tool.parameters), tool)


def json_value(schema: Any, tool: Tool) -> str:
    """The rule of one JSON value that fits `schema`, which is a part of the tool's parameters."""
    return _json(closed(schema, top=False), tool)


def _json(schema: Any, tool: Tool) -> str:
    body = {**maskable(schema, tool.parameters), **definitions(tool.parameters), "x-guidance": _COMPACT}
    return "%json " + json.dumps(body)


def definitions(root: Mapping[str, Any]) -> dict[str, Any]:
    """The `$defs` and `definitions` of a tool's parameters, to stand beside each value that may refer to them."""
    return {
        place: {name: maskable(schema, root) for name, schema in root[place].items()}
        for place in ("$defs", "definitions")
        if isinstance(root.get(place), Mapping) and root[place]
    }


def maskable(schema: Any, root: Mapping[str, Any], depth: int = 0) -> dict[str, Any]:
    """What a mask can hold of `schema`; `root` is the schema that its `$ref`s point into."""
    if not isinstance(schema, Mapping) or depth > _MAX_DEPTH:
        return {}
    if "const" in schema or "enum" in schema:
        return _listed(schema)
    if "$ref" in schema:
        return {"$ref": schema["$ref"]} if _leads_somewhere(schema, root) else {}
    if "type" not in schema and "properties" not in schema:
        return _chosen(schema, root, depth)
    kinds = schema.get("type", "object")
    kinds = [kinds] if isinstance(kinds, str) else list(kinds)
    parts = [_of_kind(kind, schema, root, depth) for kind in kinds]
    return parts[0] if len(parts) == 1 else {"anyOf": parts}


def _listed(schema: Mapping[str, Any]) -> dict[str, Any]:
    values = [schema["const"]] if "const" in schema else list(schema["enum"])
    kinds = schema.get("type", list(_KINDS))
    wanted = tuple(t for kind in ([kinds] if isinstance(kinds, str) else kinds) for t in _KINDS.get(kind, ()))
    legal = [value for value in values if isinstance(value, wanted) and (type(value) is not bool or bool in wanted)]
    return {"enum": legal} if legal else {}


def _leads_somewhere(schema: Mapping[str, Any], root: Mapping[str, Any]) -> bool:
    """Whether a chain of `$ref`s ends in a definition, and not in itself or nowhere."""
    seen = set()
    while "$ref" in schema:
        match = re.fullmatch(r"#/(\$defs|definitions)/([\w.\- ]+)", str(schema["$ref"]))
        target = (root.get(match[1]) or {}).get(match[2]) if match else None
        if not isinstance(target, Mapping) or schema["$ref"] in seen:
            return False
        seen.add(schema["$ref"])
        schema = target
    # A definition that may be itself consumes nothing; only one with a type of its own surely does.
    return "type" in schema or "properties" in schema or "enum" in schema or "const" in schema


def _chosen(schema: Mapping[str, Any], root: Mapping[str, Any], depth: int) -> dict[str, Any]:
    options = schema.get("anyOf") or schema.get("oneOf") or []
    parts = [maskable(option, root, depth + 1) for option in options]
    if not parts or {} in parts or "allOf" in schema:
        return {}
    return {"anyOf": parts}


def _of_kind(kind: str, schema: Mapping[str, Any], root: Mapping[str, Any], depth: int) -> dict[str, Any]:
    rules: dict[str, Callable[[Mapping[str, Any], Mapping[str, Any], int], dict[str, Any]]] = {
        "object": _of_object, "array": _of_array, "string": _of_string, "integer": _of_number, "number": _of_number,
    }  # fmt: skip
    rest = rules[kind](schema, root, depth) if kind in rules else {}
    return {"type": kind, **rest}


def _of_object(schema: Mapping[str, Any], root: Mapping[str, Any], depth: int) -> dict[str, Any]:
    properties = {
        name: maskable(inner, root, depth + 1)
        for name, inner in (schema.get("properties") or {}).items()
        if inner is not False
    }
    result: dict[str, Any] = {"properties": properties} if properties else {}
    required = [name for name in schema.get("required") or [] if name in properties]
    if required:
        result["required"] = required
    extra = schema.get("additionalProperties", schema.get("unevaluatedProperties", True))
    result["additionalProperties"] = extra if isinstance(extra, bool) else maskable(extra, root, depth + 1)
    return result


def _of_array(schema: Mapping[str, Any], root: Mapping[str, Any], depth: int) -> dict[str, Any]:
    result = _counts(schema, "minItems", "maxItems")
    if isinstance(schema.get("items"), Mapping):
        result["items"] = maskable(schema["items"], root, depth + 1)
    if isinstance(schema.get("prefixItems"), list):
        result["prefixItems"] = [maskable(item, root, depth + 1) for item in schema["prefixItems"]]
    return result


def _of_string(schema: Mapping[str, Any], root: Mapping[str, Any], depth: int) -> dict[str, Any]:
    pattern = schema.get("pattern")
    if isinstance(pattern, str) and _SAFE_PATTERN.fullmatch(pattern):
        return {"pattern": pattern}  # without lengths: the two together may allow nothing
    return _counts(schema, "minLength", "maxLength")


def _counts(schema: Mapping[str, Any], least: str, most: str) -> dict[str, Any]:
    low, high = schema.get(least, 0), schema.get(most, _MAX_COUNT)
    if low > high or low > _MAX_COUNT:
        return {}
    counts = {least: int(low)} if low else {}
    return counts | ({most: int(high)} if most in schema and high <= _MAX_COUNT else {})


def _of_number(schema: Mapping[str, Any], root: Mapping[str, Any], depth: int) -> dict[str, Any]:
    bounds = {
        key: schema[key]
        for key in ("minimum", "exclusiveMinimum", "maximum", "exclusiveMaximum")
        if isinstance(schema.get(key), int | float) and math.isfinite(schema[key]) and abs(schema[key]) < 2**53
    }
    low = max((value for key, value in bounds.items() if key.lower().endswith("minimum")), default=-math.inf)
    high = min((value for key, value in bounds.items() if key.lower().endswith("maximum")), default=math.inf)
    whole = low == high and float(low).is_integer() and bounds.keys() <= {"minimum", "maximum"}
    # Narrow bounds may leave no integer between them, which would be no grammar at all; the validator still knows them.
    return bounds if whole or high - low >= 2 else {}
