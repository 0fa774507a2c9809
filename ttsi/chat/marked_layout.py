"""Layout of a tool's arguments in the embedded model's format: as text, items, dotted keys or JSON.

Inputs: a tool. Outputs: a tree of `Slot`s, one per argument (`layout`). `ttsi.chat.marked` writes and reads with it,
and `ttsi.chat.marked_grammar` makes the mask from it, so that the three agree about composed schemas.

Text without quotation marks is one kind of value in each slot: a list where the schema allows lists of strings, else a
string. Other values of the slot are JSON, and so is text that would be read as JSON.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ttsi.chat.alternatives import alternatives
from ttsi.chat.lark import kind_of
from ttsi.chat.schema_mask import enforceable_schema
from ttsi.types import Tool

_KINDS = frozenset({"string", "number", "boolean", "null", "array", "object"})
_MAX_DEPTH = 4
_MAX_SLOTS = 200
"""Slots of one tool; arguments beyond, or deeper, are written as JSON."""


def _lines_unlike(word: str) -> str:
    """Lines that begin with the word's first letter and are not the word."""
    cut = [rf"{word[:end]}(?:[^{word[end]}\n][^\n]*)?" for end in range(1, len(word))]
    return "|".join([*cut, rf"{word}[^\n]+"])


BARE = (
    r'[^"\[{\-0-9tfn\n][^\n]*|' + "|".join(map(_lines_unlike, ("true", "false", "null")))
    + r"|[\-0-9][^\n]*[^0-9.eE+\-\n][^\n]*|[0-9]+[+\-][^\n]*|-?0[0-9][^\n]*|-?[0-9]+\.[0-9]+[.+\-][^\n]*"
)  # fmt: skip
"""Lines that are not read as JSON: a regular expression for token masks and for Python."""


@dataclass
class Slot:
    """One argument, or one name within it."""

    schema: Any
    """The schema of its values, as `enforceable_schema` gives it."""
    kinds: frozenset[str] = _KINDS
    owns_items: bool = False
    """Whether text without quotation marks is a list here."""
    parts: list[dict[str, Any]] = field(default_factory=list)
    """The plain alternatives of the schema."""
    shapes: list[dict[str, Any]] = field(default_factory=list)
    """The alternatives that are objects whose names may be dotted keys."""
    names: dict[str, Slot] = field(default_factory=dict)
    free: Slot | None = None
    """The slot of unlisted names, where the schema admits any."""

    @property
    def only_text(self) -> bool:
        """Whether every value is a string."""
        return self.kinds == {"string"}

    @property
    def only_lists(self) -> bool:
        """Whether every value is a list."""
        return self.kinds == {"array"}

    def child(self, name: str) -> Slot | None:
        """The slot of one name of an object."""
        return self.names.get(name, self.free)

    def is_dotted(self, value: Mapping[str, Any]) -> bool:
        """Whether an object is written as dotted keys."""
        return bool(value) and bool(self.shapes) and all(plain(name) and self.child(name) for name in value)


def plain(name: str) -> bool:
    """Whether a name can stand between dots as it is."""
    return bool(re.fullmatch(r'[^\s."<|][^\n.<|]*(?<!\s)', name))


def layout(tool: Tool) -> Slot:
    """The slots of a tool's arguments."""
    root = enforceable_schema(tool)
    top = _slot(root, root)
    top.shapes = [part for part in top.parts if part.get("type", "object") == "object"]
    queue, slots = deque([(top, 0)]), 0
    while queue:
        slot, depth = queue.popleft()
        _fill(slot, root)
        slots += len(slot.names)
        for name, inner in slot.names.items():
            # A listed name with a dot would read like a dotted key of the object before the dot.
            clash = depth == 0 and any(other.startswith(f"{name}.") for other in slot.names)
            listed = [part for part in inner.parts if _is_object(part)]
            if listed and plain(name) and not clash and depth < _MAX_DEPTH and slots + len(queue) < _MAX_SLOTS:
                inner.shapes = listed
                queue.append((inner, depth + 1))
    return top


def item_kinds(part: Mapping[str, Any], root: Mapping[str, Any]) -> frozenset[str]:
    """The kinds of value in a list that fits a plain schema."""
    if part.get("type", "array") != "array":
        return frozenset()
    if "enum" in part or "prefixItems" in part or "items" not in part:
        return _KINDS
    return _slot(part["items"], root).kinds


def _is_object(part: Mapping[str, Any]) -> bool:
    return "enum" not in part and part.get("type", "object" if "properties" in part else None) == "object"


def _fill(slot: Slot, root: Mapping[str, Any]) -> None:
    """Give an object's slot the slots of its names."""
    by_name: dict[str, list[Any]] = {}
    rest: list[Any] = []
    for shape in slot.shapes:
        for name, inner in (shape.get("properties") or {}).items():
            if inner is not False:
                by_name.setdefault(name, []).append(inner)
        extra = shape.get("additionalProperties", True)
        rest += [*(shape.get("patternProperties") or {}).values(), *([] if extra is False else [extra])]
    slot.names = {name: _slot(_union([*inner, *rest]), root) for name, inner in by_name.items()}
    slot.free = _slot(_union(rest), root) if rest else None


def _union(schemas: Sequence[Any]) -> Any:
    some = [schema for number, schema in enumerate(schemas) if schema not in schemas[:number]]
    return some[0] if len(some) == 1 else {"anyOf": some}


def _slot(schema: Any, root: Mapping[str, Any]) -> Slot:
    parts = alternatives(schema, root)
    kinds = frozenset(kind for part in parts for kind in part_kinds(part)) or _KINDS
    slot = Slot(schema, kinds, parts=parts)
    slot.owns_items = slot.only_lists or any("type" in part and item_kinds(part, root) == {"string"} for part in parts)
    return slot


def part_kinds(part: Mapping[str, Any]) -> frozenset[str]:
    """The kinds of value that a plain schema admits."""
    if "type" not in part and "enum" not in part:
        return frozenset({"object"}) if _is_object(part) else _KINDS
    kinds = [part["type"]] if "type" in part else map(kind_of, part["enum"])
    return frozenset("number" if kind == "integer" else kind for kind in kinds)
