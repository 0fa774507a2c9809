"""Plausible argument values for a JSON Schema, drawn by a seed. No model writes them.

Inputs: a parameter's name, its schema, a generator of random numbers. Outputs: a JSON value. A value comes from the
first of these that the schema has: `const`, `enum`, `examples`, the words of its description (`described_values`), its
bounds or those in words (`number_values`), its format, or what a parameter of such a name has (`string_values`). What a
schema says behind `$ref`, `anyOf` or `allOf` counts, too.
The paper (arXiv:2510.07841) has a model write the values.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any

from ttsi.chat.alternatives import alternatives
from ttsi.chat.described_examples import is_layout
from ttsi.synthesis.argument_order import in_order
from ttsi.synthesis.described_values import described_values
from ttsi.synthesis.number_values import sample_number
from ttsi.synthesis.string_values import sample_string

Schema = Mapping[str, Any]

DEPTH = 4
"""Deepest nesting of objects and lists that is filled."""

_NUMBERS = re.compile(r"\b(?:numbers|integers|floats|decimals|numeric|coordinates|scores)\b", re.IGNORECASE)
"""Words about a list whose items are numbers, where its schema does not say what they are."""


class NoValueError(Exception):
    """A schema of which no value can be made by rule."""


_ATTEMPTS = 8
"""Draws for each item of a list that must differ from the others."""
MOST_ITEMS = 8
"""Longest list that a request states."""
MOST_OPTIONAL = 3
"""Most optional arguments in one call."""
MOST_UNMARKED = 4
"""Most arguments in one call of a tool whose schema marks none as required."""


UNUSABLE = (NoValueError, ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError)
"""What a schema from outside may raise: bounds that no value meets, endless references, keywords of another type."""


StateLookup = Callable[[str, str | None], Sequence[Any]]
"""(a parameter's name, its JSON type) -> values that it may have in the state that was reached."""


def _nothing(name: str, kind: str | None) -> Sequence[Any]:
    return ()


def sample_arguments(
    parameters: Schema, draw: random.Random, optional: float, state: StateLookup = _nothing
) -> dict[str, Any]:
    """Arguments of a call: the required ones, and some of the optional ones.

    Optional booleans and objects are left out, because a request seldom states them. Where none is required, the
    author mostly did not mark them: then all are there, up to `MOST_UNMARKED` of them.

    Args:
        parameters: the tool's schema.
        draw: the random numbers.
        optional: the probability of each optional argument, up to `MOST_OPTIONAL` of them.
        state: values of an environment's state, which go before all others but those of an `enum`.

    Raises:
        Exception: one of `UNUSABLE`, where a required argument has no value that can be made by rule.
    """
    plain = _first(parameters, parameters)
    required, properties = set(plain.get("required") or ()), plain.get("properties") or {}
    unmarked = not required
    optional_names = [name for name in properties if name not in required and (unmarked or draw.random() < optional)]
    most = MOST_UNMARKED if unmarked else MOST_OPTIONAL
    chosen = required | set(draw.sample(optional_names, min(most, len(optional_names))))
    arguments: dict[str, Any] = {}
    for name, schema in properties.items():
        if name not in chosen:
            continue
        try:
            if name not in required and _is_seldom_stated(schema, parameters):
                continue
            arguments[name] = _in_state(name, schema, parameters, draw, state)
        except UNUSABLE:
            if name in required:
                raise
    return _put_in_order(arguments, properties, parameters)


def _is_seldom_stated(schema: Any, root: Schema) -> bool:
    """Whether it is a boolean or an object, which a request seldom states where it need not."""
    return _type(_first(schema, root)) in ("boolean", "object")


def _put_in_order(arguments: Mapping[str, Any], properties: Mapping[str, Any], root: Schema) -> dict[str, Any]:
    return in_order(arguments, {name: _first(properties[name], root) for name in arguments if name in properties})


def _in_state(name: str, schema: Any, root: Schema, draw: random.Random, state: StateLookup) -> Any:
    """A value of the state, or of the schema where it has none or lists its values."""
    plain = _first(schema, root)
    values = [] if "const" in plain or plain.get("enum") else [*state(name, _type(plain))]
    return draw.choice(values) if values else sample_value(name, schema, root, draw)


def sample_value(name: str, schema: Any, root: Schema, draw: random.Random, depth: int = 0) -> Any:
    """One value for a parameter.

    Args:
        name: the parameter's name, which chooses the kind of a string.
        schema: the parameter's schema.
        root: the schema that its `$ref`s point into.
        draw: the random numbers; equal ones give the equal value.

    Raises:
        NoValueError: it is nested too deeply, has a pattern without an example, or admits nothing.
    """
    plain = _first(schema, root)
    listed = [value for value in plain.get("enum") or () if value is not None]
    if "const" in plain or listed:
        return plain["const"] if "const" in plain else draw.choice(listed)
    kind = _type(plain)
    if examples := _examples(plain, kind):
        return draw.choice(examples)
    if kind == "boolean":
        return draw.random() < 0.5
    if kind in ("integer", "number"):
        number = sample_number(name, plain, kind, draw)
        if number is None:
            raise NoValueError(f"{name} has bounds that no number meets")
        return number
    if depth >= DEPTH:
        raise NoValueError(f"{name} is nested too deeply")
    if kind == "array":
        return _array(name, plain, root, draw, depth)
    if kind == "object":
        return _object(name, plain, root, draw, depth)
    if "pattern" in plain:
        raise NoValueError(f"{name} has a pattern and no example")
    return sample_string(name, plain, draw)[: plain.get("maxLength")]


def _array(name: str, plain: Schema, root: Schema, draw: random.Random, depth: int) -> list[Any]:
    least = int(plain.get("minItems") or 0)
    count = max(least, min(2, int(plain.get("maxItems", 2))))
    if count > MOST_ITEMS:
        raise NoValueError(f"{name} wants {count} items, more than a request states")
    items = _items(plain)
    values = [sample_value(name, items, root, draw, depth + 1) for _ in range(count)]
    if not plain.get("uniqueItems"):
        return values
    distinct = {json.dumps(value, sort_keys=True): value for value in values}
    for _ in range(_ATTEMPTS * (count - len(distinct))):
        if len(distinct) < count:
            value = sample_value(name, items, root, draw, depth + 1)
            distinct.setdefault(json.dumps(value, sort_keys=True), value)
    if len(distinct) < least:
        raise NoValueError(f"{name} wants {least} items that differ")
    return list(distinct.values())


def _object(name: str, plain: Schema, root: Schema, draw: random.Random, depth: int) -> dict[str, Any]:
    """The required properties; where none is marked as required, up to `MOST_UNMARKED`, as `sample_arguments` does."""
    properties, required = plain.get("properties") or {}, plain.get("required") or ()
    values = {key: sample_value(key, properties.get(key, {}), root, draw, depth + 1) for key in required}
    if not required:
        chosen = set(draw.sample(list(properties), min(MOST_UNMARKED, len(properties))))
        usable = [key for key in properties if key in chosen and alternatives(properties[key], root)]
        stated = [key for key in usable if not _is_seldom_stated(properties[key], root)]
        _add(values, stated, len(stated), properties, root, draw, depth)
    # What a request seldom states still goes before an object that is empty or too small.
    least = max(int(plain.get("minProperties") or 0), min(1, len(properties)))
    _add(values, properties, least, properties, root, draw, depth)
    if len(values) < int(plain.get("minProperties") or 0):
        raise NoValueError(f"{name} wants more properties than it lists")
    return _put_in_order(values, properties, root)


def _add(
    values: dict[str, Any], keys: Iterable[str], least: int, properties: Mapping[str, Any], root: Schema,
    draw: random.Random, depth: int,
) -> None:  # fmt: skip
    """Add the properties of these names that have a value by rule, until there are enough."""
    for key in keys:
        if len(values) < least and key not in values:
            with suppress(*UNUSABLE):
                values[key] = sample_value(key, properties[key], root, draw, depth + 1)


def _items(plain: Schema) -> Any:
    """The schema of a list's items; what it leaves out is in the words about the list."""
    items, text = plain.get("items"), plain.get("description")
    if items is False or not isinstance(text, str):
        return {"type": "string"} if items in (None, True) else items
    if not isinstance(items, Mapping) or not items:
        items = {"type": "number" if _NUMBERS.search(text) else "string"}
    return {"description": text, **items}


def _first(schema: Any, root: Schema) -> Schema:
    """The first plain alternative of a schema that is not null."""
    for plain in alternatives(schema, root, described=True):
        if plain.get("type") != "null":
            return {**plain, "const": schema["const"]} if isinstance(schema, Mapping) and "const" in schema else plain
    raise NoValueError("the schema admits no value")


def _type(plain: Schema) -> str | None:
    kind = plain.get("type")
    return next((one for one in kind if one != "null"), None) if isinstance(kind, list) else kind


def _examples(plain: Schema, kind: str | None) -> list[Any]:
    """Values that the schema gives as examples, of the right type; texts also from its description."""
    types: dict[str, tuple[type, ...]] = {"integer": (int,), "number": (int, float), "string": (str,)}
    allowed = types.get(kind or "string", ())
    typed = [_read(value, kind) for value in plain.get("examples") or ()]
    typed = [value for value in typed if isinstance(value, allowed) and not isinstance(value, bool)]
    typed = [value for value in typed if not isinstance(value, str) or not is_layout(value)]
    description = plain.get("description")
    if typed or kind not in ("string", None) or not isinstance(description, str):
        return typed
    return described_values(description)


def _read(value: Any, kind: str | None) -> Any:
    """An example that was written as text, as the type that the schema wants."""
    if isinstance(value, str) and kind in ("integer", "number"):
        try:
            return json.loads(value)
        except ValueError:
            return None
    return value
