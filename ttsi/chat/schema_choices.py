"""Choices of a schema: the values that it supplies itself, at any depth and behind `$ref`, `allOf`, `anyOf`, `oneOf`.

Inputs: the parameters of a tool. Outputs: the values that its `enum`, `const` and `default` offer for an argument or a
part of it; the names of its arguments and the required ones among them.

`ttsi.chat.alternatives` lists the exact ways to fit a schema, and gives up where they are too many. Here every schema
that has a say about a value counts, once: a hundred options of one `const` each are a hundred choices. A value that one
part of an `allOf` offers and another forbids counts as well; such a call is illegal (`ttsi.chat.tool_schema`). A schema
comes from outside: whatever is no schema says nothing, and a `$ref` that comes back ends there.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from ttsi.chat.alternatives import resolve_reference

MOST_SCHEMAS = 2000
"""Schemas that are read for one value: a recursive schema may combine into ever more of them."""
_LONGEST_REFERENCE = 1000
_ALWAYS = ("$ref", "allOf")
_PERHAPS = ("anyOf", "oneOf", "then", "else")


@dataclass(frozen=True)
class SchemaPlace:
    """A place in a schema: all that it says about one value."""

    schemas: tuple[Any, ...]
    root: Mapping[str, Any]
    """What `$ref` points into."""
    _inner: dict[str | int, SchemaPlace] = field(default_factory=dict, compare=False, repr=False)

    @classmethod
    def of(cls, parameters: object) -> SchemaPlace:
        """The place of a tool's arguments as a whole.

        >>> unit = {"anyOf": [{"$ref": "#/$defs/Unit"}, {"type": "null"}]}
        >>> place = SchemaPlace.of({"$defs": {"Unit": {"enum": ["C", "F"]}}, "properties": {"unit": unit}})
        >>> place.names, place.part("unit").choices
        (('unit',), ['C', 'F'])
        """
        return cls((parameters,), parameters if isinstance(parameters, Mapping) else {})

    @cached_property
    def _applied(self) -> list[Mapping[str, Any]]:
        return list(_walk(self.schemas, self.root, (*_ALWAYS, *_PERHAPS)))

    @cached_property
    def _certain(self) -> list[Mapping[str, Any]]:
        """The schemas that hold for every value, whichever option it takes."""
        return list(_walk(self.schemas, self.root, _ALWAYS))

    @cached_property
    def choices(self) -> list[Any]:
        """The values of `enum` and `const`."""
        listed = [value for schema in self._applied for value in _list(schema.get("enum"))]
        return listed + [schema["const"] for schema in self._applied if "const" in schema]

    @cached_property
    def defaults(self) -> list[Any]:
        """The values of `default`."""
        return self.keyword_values("default")

    def keyword_values(self, keyword: str) -> list[Any]:
        """The values of a keyword in the schemas, the outermost first."""
        return [schema[keyword] for schema in self._applied if keyword in schema]

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The properties that are open to every value, in order."""
        return tuple(dict.fromkeys(name for schema in self._certain for name in _map(schema.get("properties"))))

    @cached_property
    def required(self) -> frozenset[str]:
        """The properties that no value can lack."""
        names = [name for schema in self._certain for name in _list(schema.get("required"))]
        return frozenset(name for name in names if isinstance(name, str))

    def offers(self, value: Any) -> bool:
        """Whether the schema chooses this value or has it as a default."""
        return is_among(value, self.choices) or is_among(value, self.defaults)

    def part(self, key: str | int) -> SchemaPlace:
        """The place of a property, or of the item at an index."""
        if isinstance(key, int):
            key = min(key, self._prefix)  # all items behind the prefix share one place
        if key not in self._inner:
            schemas = self._item(key) if isinstance(key, int) else self._property(key)
            unique = {id(schema): schema for schema in schemas if isinstance(schema, Mapping)}
            self._inner[key] = SchemaPlace(tuple(unique.values()), self.root)
        return self._inner[key]

    def _property(self, name: str) -> Iterator[Any]:
        for schema in self._applied:
            properties = _map(schema.get("properties"))
            yield properties[name] if name in properties else schema.get("additionalProperties")

    @cached_property
    def _prefix(self) -> int:
        return max((len(_prefix(schema)) for schema in self._applied), default=0)

    def _item(self, at: int) -> Iterator[Any]:
        for schema in self._applied:
            prefix = _prefix(schema)
            yield prefix[at] if at < len(prefix) else schema.get("items")


def parts(value: Any, place: SchemaPlace) -> Iterator[tuple[Any, SchemaPlace]]:
    """The members of an object or the items of a list, each with its place; none of another value."""
    if isinstance(value, Mapping):
        yield from ((inner, place.part(str(name))) for name, inner in value.items())
    elif isinstance(value, list | tuple):
        yield from ((inner, place.part(at)) for at, inner in enumerate(value))


def is_among(value: Any, choices: Iterable[Any]) -> bool:
    """Whether JSON values contain one; `true` is not 1."""
    return any(isinstance(value, bool) == isinstance(choice, bool) and value == choice for choice in choices)


def _walk(schemas: Iterable[Any], root: Mapping[str, Any], applicators: Iterable[str]) -> Iterator[Mapping[str, Any]]:
    """Every schema that these and their applicators apply to the same value, each once, the outermost first."""
    waiting, seen = list(schemas), set[int]()
    for schema in waiting:  # grows meanwhile
        if not isinstance(schema, Mapping) or id(schema) in seen:
            continue
        if len(seen) == MOST_SCHEMAS:
            return
        seen.add(id(schema))
        yield schema
        for applicator in applicators:
            applied = _target(schema.get("$ref"), root) if applicator == "$ref" else schema.get(applicator)
            waiting += applied if isinstance(applied, list | tuple) else [applied]


def _target(ref: Any, root: Mapping[str, Any]) -> Any:
    """The schema that a reference names; an index of thousands of digits is none that Python reads."""
    return resolve_reference(ref, root) if isinstance(ref, str) and len(ref) <= _LONGEST_REFERENCE else None


def _prefix(schema: Mapping[str, Any]) -> list[Any]:
    """The schemas of the first items; before Draft 2020-12, a list of `items`."""
    return _list(schema.get("prefixItems")) or _list(schema.get("items"))


def _list(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list | tuple) else []


def _map(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
