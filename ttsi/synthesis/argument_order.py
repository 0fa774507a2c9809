"""The order of arguments that belong together: no end lies before its start.

Inputs: the arguments of a call, and their schemas. Outputs: the same arguments; where two names differ in a start and
an end only ("start_date" and "end_date", "min" and "max") and their values are the wrong way round, they are exchanged.
Numbers have an order, and dates and times in one and the same ISO layout.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from ttsi.synthesis.parameter_words import name_words

Schema = Mapping[str, Any]

_ENDS: tuple[tuple[str, str], ...] = (
    ("start", "end"), ("from", "to"), ("min", "max"), ("minimum", "maximum"), ("begin", "end"), ("since", "until"),
    ("after", "before"), ("lower", "upper"), ("low", "high"), ("check in", "check out"), ("checkin", "checkout"),
    ("departure", "return"), ("depart", "return"), ("outbound", "inbound"), ("pickup", "dropoff"),
    ("pick up", "drop off"), ("starting", "ending"),
)  # fmt: skip
"""Words of a name for a start, and those for its end."""
_ISO = re.compile(
    r"\d{4}-\d\d(?:-\d\d)?(?:[T ]\d\d:\d\d(?::\d\d)?(?:Z|[+-]\d\d:\d\d)?)?|\d{4}/\d\d/\d\d|\d{8}|\d\d:\d\d(?::\d\d)?"
)


def in_order(arguments: Mapping[str, Any], schemas: Mapping[str, Schema]) -> dict[str, Any]:
    """Arguments of which no end lies before its start.

    >>> in_order({"min_price": 9, "max_price": 4, "from": "Rome", "to": "Bonn"}, {})
    {'min_price': 4, 'max_price': 9, 'from': 'Rome', 'to': 'Bonn'}

    Args:
        arguments: what the values are, by name.
        schemas: plain schemas by name; values are exchanged only where each is legal in the other's place.
    """
    ordered = dict(arguments)
    for start, end in _pairs(arguments):
        first, last = ordered[start], ordered[end]
        legal = _admits(schemas.get(start, {}), last) and _admits(schemas.get(end, {}), first)
        if legal and _is_after(first, last):
            ordered[start], ordered[end] = last, first
    return ordered


def _pairs(arguments: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The names of each start with its end."""
    names = {f" {name_words(name)} ": name for name in arguments}
    pairs = []
    for padded, start in names.items():
        for word, opposite in _ENDS:
            end = names.get(padded.replace(f" {word} ", f" {opposite} ", 1))
            if end is not None and end != start:
                pairs.append((start, end))
    return pairs


def _is_after(first: Any, last: Any) -> bool:
    """Whether two values have an order, and the first comes after the last."""
    if isinstance(first, bool) or isinstance(last, bool):
        return False
    if isinstance(first, int | float) and isinstance(last, int | float):
        return first > last
    if not isinstance(first, str) or not isinstance(last, str) or not _ISO.fullmatch(first):
        return False
    return re.sub(r"\d", "0", first) == re.sub(r"\d", "0", last) and first > last


def _admits(schema: Schema, value: Any) -> bool:
    """Whether a value is within the bounds and the list of a plain schema."""
    if isinstance(value, int | float):
        step = schema.get("multipleOf")
        within = (
            schema.get("minimum", value) <= value <= schema.get("maximum", value)
            and ("exclusiveMinimum" not in schema or schema["exclusiveMinimum"] < value)
            and ("exclusiveMaximum" not in schema or value < schema["exclusiveMaximum"])
        )
        if not within or (schema.get("type") == "integer") > float(value).is_integer() or (step and value % step):
            return False
    if "pattern" in schema or "const" in schema:
        return False
    return not schema.get("enum") or value in schema["enum"]
