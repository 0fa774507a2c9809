"""Plain alternatives of a composed JSON Schema, without allOf, anyOf, $ref and the like.

Inputs: a schema of Draft 2020-12 and the schema that its `$ref`s point into. Outputs: a list of schemas without
applicators at their top (`alternatives`). A value that is legal for the schema is legal for at least one of them.
Where they cannot be exact (`not`, endless references, too many combinations) they admit more, never less.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import unquote

MAX_ALTERNATIVES = 64
_MOST_REFERENCES = 200
"""References followed for one schema, because a chain may double at each step."""
_OBJECT = ("properties", "required", "additionalProperties", "patternProperties", "minProperties", "maxProperties")
_PLAIN = (
    "type", "enum", *_OBJECT, "items", "prefixItems", "minItems", "maxItems", "pattern", "minLength", "maxLength",
    "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum",
)  # fmt: skip
ANNOTATIONS = ("description", "examples", "default", "format")
"""Keywords that describe a value; of several schemas that meet, the outer one's count."""
_MORE = (*ANNOTATIONS, "multipleOf", "uniqueItems")
"""Keywords that only those who draw values need: no grammar here enforces them."""
_HIGHER = ("minProperties", "minItems", "minLength", "minimum", "exclusiveMinimum")
_LOWER = ("maxProperties", "maxItems", "maxLength", "maximum", "exclusiveMaximum")


@dataclass(frozen=True)
class _Way:
    """One alternative."""

    schema: Mapping[str, Any]
    others: Mapping[str, Sequence[Any]] | None = field(default_factory=dict)
    """Names that other options of an `anyOf` may admit, with their schemas; None: any name."""


def alternatives(schema: Any, root: Mapping[str, Any], described: bool = False) -> list[dict[str, Any]]:
    """The plain schemas that together admit all values of `schema`; none for a schema without values.

    Args:
        schema: a schema of Draft 2020-12.
        root: the schema that its `$ref`s point into.
        described: each alternative also has `ANNOTATIONS`, `multipleOf` and `uniqueItems`.

    >>> text = {"properties": {"a": {"type": "string"}}}
    >>> alternatives({"type": "object", "anyOf": [text, {"required": ["b"]}]}, {})
    [{'type': 'object', 'properties': {'a': {'type': 'string'}}}, {'type': 'object', 'required': ['b']}]
    >>> day = {"$ref": "#/day", "description": "the first day"}
    >>> alternatives(day, {"day": {"format": "date", "description": "a day"}}, described=True)
    [{'description': 'the first day', 'format': 'date'}]
    """
    return [dict(way.schema) for way in _Flattening(root, described).ways(schema, frozenset())]


def resolve_reference(ref: Any, root: Mapping[str, Any]) -> Any:
    """The target of a local `$ref` (a JSON Pointer, RFC 6901); None where there is none."""
    if not isinstance(ref, str) or not (ref == "#" or ref.startswith("#/")):
        return None
    node: Any = root
    for step in unquote(ref[2:]).split("/") if len(ref) > 1 else ():
        name = step.replace("~1", "/").replace("~0", "~")
        if isinstance(node, list | tuple):
            node = node[int(name)] if name.isdecimal() and int(name) < len(node) else None
        else:
            node = node.get(name) if isinstance(node, Mapping) else None
    return node


class _Flattening:
    """One walk through the applicators of a schema."""

    def __init__(self, root: Mapping[str, Any], described: bool) -> None:
        self._root, self._references = root, 0
        self._keywords = (*_PLAIN, *_MORE) if described else _PLAIN

    def ways(self, schema: Any, seen: frozenset[str]) -> list[_Way]:
        if schema is False:
            return []
        if not isinstance(schema, Mapping):
            return [_Way({})]
        ways = _own_ways(schema, self._keywords)
        for conjunct in self._conjuncts(schema, seen):
            ways = _conjunction(ways, conjunct)
        if "unevaluatedProperties" in schema:
            rest = schema["unevaluatedProperties"]
            order = {name: None for way in ways for name in way.schema.get("properties", {})}
            ways = [_forbid_rest(way, rest, list(order)) for way in ways]
        return ways

    def _conjuncts(self, schema: Mapping[str, Any], seen: frozenset[str]) -> Iterable[list[_Way]]:
        """The alternatives of each applicator; a value must fit one of each."""
        if "$ref" in schema:
            yield self._target(schema["$ref"], seen)
        if "$dynamicRef" in schema:
            yield [_Way({}, None)]
        for part in _list(schema.get("allOf")):
            yield self.ways(part, seen)
        if options := _list(schema.get("anyOf")):
            yield _disjunction([self.ways(option, seen) for option in options])
        if options := _list(schema.get("oneOf")):
            yield [way for option in options for way in self.ways(option, seen)]
        if "if" in schema:
            then = _conjunction(self.ways(schema["if"], seen), self.ways(schema.get("then", True), seen))
            yield then + self.ways(schema.get("else", True), seen)
        for name, part in _map(schema.get("dependentSchemas")).items():
            yield [_absence(name), *_conjunction([_Way({"required": [name]})], self.ways(part, seen))]
        for name, needed in _map(schema.get("dependentRequired")).items():
            yield [_absence(name), _Way({"required": list(dict.fromkeys([name, *_list(needed)]))})]

    def _target(self, ref: Any, seen: frozenset[str]) -> list[_Way]:
        target = resolve_reference(ref, self._root)
        self._references += 1
        if target is None or ref in seen or self._references > _MOST_REFERENCES:
            return [_Way({}, None)]
        return self.ways(target, seen | {ref})


def _list(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list | tuple) else []


def _map(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _absence(name: str) -> _Way:
    return _Way({"properties": {name: False}})


def _own_ways(schema: Mapping[str, Any], keywords: Sequence[str]) -> list[_Way]:
    """The schema's own keywords, one alternative per type."""
    plain = {key: schema[key] for key in keywords if key in schema}
    if "const" in schema:
        plain["enum"] = [schema["const"]]
    if isinstance(plain.get("type"), list | tuple):
        return [_Way({**plain, "type": kind}) for kind in plain["type"]]
    return [_Way(plain)]


def _conjunction(left: Sequence[_Way], right: Sequence[_Way]) -> list[_Way]:
    """The ways to fit both sides; where they are too many, the left ones alone."""
    if len(left) * len(right) > MAX_ALTERNATIVES**2:
        return [replace(way, others=None) for way in left]
    met = [way for one in left for other in right if (way := _meet(one, other)) is not None]
    return met if len(met) <= MAX_ALTERNATIVES else [replace(way, others=None) for way in left]


def _disjunction(options: Sequence[Sequence[_Way]]) -> list[_Way]:
    """The ways to fit one option or several: another option may admit a name that one does not list."""
    result = []
    for number, option in enumerate(options):
        rest = [way for other, ways in enumerate(options) if other != number for way in ways]
        others: dict[str, list[Any]] = {}
        free = any({"additionalProperties", "patternProperties"} & way.schema.keys() for way in rest)
        for way in rest:
            free = free or way.others is None
            for name, part in [*_map(way.schema.get("properties")).items(), *(way.others or {}).items()]:
                others.setdefault(name, []).append({"anyOf": part} if isinstance(part, list) else part)
        result += [replace(way, others=None if free else _merge(way.others, others)) for way in option]
    return result


def _merge(
    left: Mapping[str, Sequence[Any]] | None, right: Mapping[str, Sequence[Any]] | None
) -> Mapping[str, Sequence[Any]] | None:
    if left is None or right is None:
        return None
    return {name: [*left.get(name, ()), *right.get(name, ())] for name in {**left, **right}}


def _forbid_rest(way: _Way, rest: Any, order: Sequence[str]) -> _Way:
    """The way with `unevaluatedProperties: rest`, which also counts the names of other options."""
    if "additionalProperties" in way.schema or way.others is None:
        return _Way(way.schema)
    listed = dict(_map(way.schema.get("properties")))
    for name, parts in way.others.items():
        listed.setdefault(name, {"anyOf": [*parts, *([] if rest is False else [rest])]})
    listed = {name: listed[name] for name in [*order, *listed] if name in listed}
    return _Way({**way.schema, "properties": listed, "additionalProperties": rest})


# ---- the conjunction of two plain schemas


def _meet(one: _Way, other: _Way) -> _Way | None:
    left, right = one.schema, other.schema
    result = {**left, **right, **{key: left[key] for key in ANNOTATIONS if key in left}}
    if "type" in left and "type" in right and left["type"] != right["type"]:
        if {left["type"], right["type"]} != {"integer", "number"}:
            return None
        result["type"] = "integer"
    if "enum" in left and "enum" in right:
        result["enum"] = [value for value in left["enum"] if any(_equal(value, own) for own in right["enum"])]
        if not result["enum"]:
            return None
    for keys, choose in ((_HIGHER, max), (_LOWER, min)):
        for key in keys:
            if key in left and key in right:
                result[key] = choose(left[key], right[key])
    if "multipleOf" in left and "multipleOf" in right:
        result["multipleOf"] = _common_multiple(left["multipleOf"], right["multipleOf"])
    if "uniqueItems" in result:
        result["uniqueItems"] = bool(left.get("uniqueItems") or right.get("uniqueItems"))
    if "pattern" in left:
        result["pattern"] = left["pattern"]  # only one of two can be enforced
    if {"items", "prefixItems"} & left.keys() and {"items", "prefixItems"} & right.keys():
        result = {key: value for key, value in result.items() if key not in ("items", "prefixItems")}
        result |= _items(left, right)
    if set(_OBJECT) & left.keys() and set(_OBJECT) & right.keys():
        names = _names(left, right)
        if names is None:
            return None
        result |= names
    return _Way(result, _merge(one.others, other.others))


def _common_multiple(left: Any, right: Any) -> Any:
    """The least step of two; of fractions the first."""
    return math.lcm(left, right) if isinstance(left, int) and isinstance(right, int) else left


def _equal(left: Any, right: Any) -> bool:
    """Equality of JSON values; `true` is not 1."""
    if isinstance(left, bool) or isinstance(right, bool):
        return left is right
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(map(_equal, left, right))
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(_equal(left[key], right[key]) for key in left)
    return bool(left == right)


def _items(left: Mapping[str, Any], right: Mapping[str, Any]) -> dict[str, Any]:
    """The item keywords of two schemas; where one has `prefixItems`, that one's."""
    if "prefixItems" not in left and "prefixItems" not in right:
        return {"items": _conjoin(left["items"], right["items"])}
    side = left if "prefixItems" in left else right
    return {key: side[key] for key in ("prefixItems", "items") if key in side}


def _conjoin(left: Any, right: Any) -> Any:
    if left is False or right is False:
        return False
    if left is True or left == {} or left == right:
        return right
    return left if right is True or right == {} else {"allOf": [left, right]}


def _names(left: Mapping[str, Any], right: Mapping[str, Any]) -> dict[str, Any] | None:
    """The object keywords of two schemas; None when a required name is forbidden."""
    first, second = _map(left.get("properties")), _map(right.get("properties"))
    properties: dict[str, Any] = {}
    for name in {**first, **second}:
        if name in first and name in second:
            properties[name] = _conjoin(first[name], second[name])
        else:
            part, stranger = (first[name], right) if name in first else (second[name], left)
            # A name that a pattern may cover is not an additional one.
            extra = True if stranger.get("patternProperties") else stranger.get("additionalProperties", True)
            properties[name] = _conjoin(part, extra)
    result: dict[str, Any] = {"properties": properties} if properties else {}
    required = list(dict.fromkeys([*_list(left.get("required")), *_list(right.get("required"))]))
    if any(properties.get(name) is False for name in required):
        return None
    if required:
        result["required"] = required
    patterns: dict[str, Any] = {**_map(left.get("patternProperties"))}
    for text, part in _map(right.get("patternProperties")).items():
        patterns[text] = _conjoin(patterns.get(text, True), part)
    if patterns:
        result["patternProperties"] = patterns
    extras = [side["additionalProperties"] for side in (left, right) if "additionalProperties" in side]
    if extras:
        result["additionalProperties"] = _conjoin(True, extras[0]) if len(extras) == 1 else _conjoin(*extras)
    return result
