"""JSON Schemas of types that data sets name as Python does.

Inputs: "str", "int, optional", "List[float]", "list(str)", "datetime", or a list of JSON Schema's own names. Outputs: a
schema; {} allows anything and stands for what cannot be expressed (`Union[...]`, `Any`, unknown names).
"""

from __future__ import annotations

from typing import Any

JSON_TYPES = {
    "str": "string", "string": "string", "datetime": "string", "date": "string", "time": "string",
    "callable": "string", "int": "integer", "integer": "integer", "float": "number", "number": "number",
    "bool": "boolean", "boolean": "boolean", "list": "array", "array": "array", "tuple": "array", "dict": "object",
    "object": "object",
}  # fmt: skip
"""A plain type's name in lower case -> the type in JSON Schema."""


def schema_of(kind: Any, strict: bool = False) -> dict[str, Any]:
    """The schema of a type's name.

    >>> schema_of("List[float]"), schema_of("int, optional"), schema_of("Tuple[float, str]")
    ({'type': 'array', 'items': {'type': 'number'}}, {'type': 'integer'}, {'type': 'array'})
    >>> schema_of("Union[int, float]"), schema_of(["string", "null"]), schema_of("list(str)")
    ({}, {'type': ['string', 'null']}, {'type': 'array', 'items': {'type': 'string'}})

    Raises:
        KeyError: the name is unknown, where that is forbidden (`strict`).
    """
    if isinstance(kind, list):
        return {"type": kind}
    name, _, inner = str(kind).removesuffix(", optional").strip().replace("(", "[").replace(")", "]").partition("[")
    if name.lower() not in JSON_TYPES:
        if strict:
            raise KeyError(kind)
        return {}
    plain = JSON_TYPES[name.lower()]
    items = inner.removesuffix("]")
    alike = {part.strip() for part in items.split(",")} if items.count("[") == 0 else {items}
    if plain == "array" and items and len(alike) == 1:
        return {"type": "array", "items": schema_of(alike.pop(), strict)}
    return {"type": plain}
