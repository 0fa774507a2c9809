"""Which JSON Schema does a type have that a data set names as Python does?

Inputs: "str", "int, optional", "List[float]", "datetime", or a list of JSON Schema's own names. Outputs: a schema; {}
allows anything and stands for what cannot be said (`Union[...]`, `Any`, unknown names).

Not in the paper (arXiv:2510.07841).
"""

from __future__ import annotations

from typing import Any

_PLAIN = {
    "str": "string", "string": "string", "datetime": "string", "date": "string", "time": "string",
    "callable": "string", "int": "integer", "integer": "integer", "float": "number", "number": "number",
    "bool": "boolean", "boolean": "boolean", "list": "array", "array": "array", "tuple": "array", "dict": "object",
    "object": "object",
}  # fmt: skip


def schema_of(kind: Any) -> dict[str, Any]:
    """The schema of a type's name.

    >>> schema_of("List[float]"), schema_of("int, optional"), schema_of("Tuple[float, str]")
    ({'type': 'array', 'items': {'type': 'number'}}, {'type': 'integer'}, {'type': 'array'})
    >>> schema_of("Union[int, float]"), schema_of(["string", "null"])
    ({}, {'type': ['string', 'null']})
    """
    if isinstance(kind, list):
        return {"type": kind}
    name, _, inner = str(kind).removesuffix(", optional").strip().partition("[")
    plain = _PLAIN.get(name.lower())
    if plain is None:
        return {}
    items = inner.removesuffix("]")
    alike = {part.strip() for part in items.split(",")} if items.count("[") == 0 else {items}
    if plain == "array" and items and len(alike) == 1:
        return {"type": "array", "items": schema_of(alike.pop())}
    return {"type": plain}
