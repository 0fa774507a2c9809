"""The grammar of the embedded model's calls.

Inputs: the tools on offer. Outputs: rules in llguidance's dialect of Lark, one per tool (`calls_rules`), or the grammar
of one tool's arguments (`arguments_rule`), for texts as `ttsi.chat.marked` writes them.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ttsi.chat import marked
from ttsi.chat.alternatives import alternatives
from ttsi.chat.lark import string_literal
from ttsi.chat.marked_layout import BARE, Slot, item_kinds, layout, part_kinds, plain
from ttsi.chat.schema_mask import MAX_COUNT, enforceable_schema, json_rule
from ttsi.types import Tool

_NOTHING = '""'
_ITEM = r"/ [^\n\[][^\n]*/"
"""Any string as an item of a list."""
_MAX_POSITIONS = 64
"""Listed items (`prefixItems`) that are told apart; of longer tuples any strings are admitted."""


def calls_rules(tools: Sequence[Tool]) -> list[str]:
    """The rules call_0, call_1, ..., one whole call of each tool."""
    return [
        f"call_{i}: {marked.CALL} {string_literal(' ' + tool.name)} {marked.ARGS} {arguments_rule(tool)}"
        for i, tool in enumerate(tools)
    ]


def arguments_rule(tool: Tool) -> str:
    """The grammar of the text behind the name in a call of this tool."""
    shapes = _shapes(layout(tool), enforceable_schema(tool), "")
    return _one_of([_in_order(pairs) for pairs in shapes])


def _one_of(texts: Sequence[str]) -> str:
    some = [text or _NOTHING for text in dict.fromkeys(texts)]
    return some[0].removeprefix(_NOTHING) if len(some) == 1 else f"({' | '.join(some)})"


def _in_order(pairs: Sequence[tuple[str, bool]]) -> str:
    return " ".join(pair if required else f"({pair})?" for pair, required in pairs)


def _at_least_one(pairs: Sequence[tuple[str, bool]]) -> str:
    """The pairs in order, at least one of them, because an object without pairs is not written."""
    if any(required for _, required in pairs):
        return _in_order(pairs)
    starts = (_in_order([(pair, True), *pairs[i + 1 :]]) for i, (pair, _) in enumerate(pairs))
    return "(" + " | ".join(starts) + ")"


def _shapes(slot: Slot, root: Mapping[str, Any], prefix: str) -> list[list[tuple[str, bool]]]:
    """For each shape of an object (grammar of one argument, whether it is required) in the schema's order."""
    shapes = []
    for shape in slot.shapes:
        required = shape.get("required") or []
        names = [name for name, inner in (shape.get("properties") or {}).items() if inner is not False]
        pairs = [(_argument(slot.names[name], root, prefix, name), name in required) for name in names]
        if slot.free and (shape.get("additionalProperties", True) is not False or shape.get("patternProperties")):
            pairs.append((_free(slot.free, root, prefix), False))
        shapes.append(pairs)
    return shapes


def _argument(slot: Slot, root: Mapping[str, Any], prefix: str, name: str) -> str:
    """One listed name: the dotted keys of an object, or the key and its value."""
    key = f"{prefix}{name}" if prefix else marked.key_text(name)
    texts = [_at_least_one(pairs) for pairs in _shapes(slot, root, f"{key}.") if pairs]
    leaf = f"{string_literal(f' {key}')} {marked.IS} "
    if not slot.shapes:
        return f"{leaf}{_value(slot, root)} {marked.NEXT}"
    if slot.kinds != {"object"} or slot.free or not all(map(plain, slot.names)) or not texts:
        texts.append(f"{leaf}{_value(slot, root)} {marked.NEXT}")
    elif any(not shape.get("required") and not shape.get("minProperties") for shape in slot.shapes):
        texts.append(f"{leaf}{string_literal(' {}')} {marked.NEXT}")
    return _one_of(texts)


def _free(slot: Slot, root: Mapping[str, Any], prefix: str) -> str:
    """Any number of unlisted names. The space is part of the name's terminal, because the longest terminal wins."""
    bare = r"[^\s.\"<|][^\n.<|]*"
    name = f"/ {_escape(prefix)}{bare}/" if prefix else rf"/ ({bare}|\"([^\n\"\\]|\\.)*\")/"
    return f"({name} {marked.IS} {_value(slot, root)} {marked.NEXT})+"


def _value(slot: Slot, root: Mapping[str, Any]) -> str:
    """One value behind one space: bare text, the items of a list of strings, or JSON."""
    if slot.parts and all("enum" in part for part in slot.parts):
        values = [value for part in slot.parts for value in part["enum"]]
        texts = [marked.render_value(value, slot) for value in values if not slot.only_text or isinstance(value, str)]
        if texts:
            return _one_of([string_literal(f" {text}") for text in texts])
    if slot.only_text:
        return r"/ [^\n]+/"
    kinds = [item_kinds(part, root) for part in slot.parts]
    if slot.only_lists and kinds == [{"string"}] and "enum" not in slot.parts[0]:
        return _list(slot.parts[0], root)
    json = f'" " {json_rule(slot.schema, root)}'
    if slot.only_lists:
        return _one_of([json, *filter(None, [_items(part, root) for part in slot.parts])])
    if not (slot.owns_items or "string" in slot.kinds):
        return json
    # The longest terminal wins, so numbers and the like must be part of the terminal of bare text.
    texts = [*_bare_texts(slot), *_scalars(slot)]
    bare = [f"/ ({'|'.join(texts)})/"] if texts else []
    items = [rf"/ [^\n\"\[{{][^\n]*/ ({marked.ITEM} {_ITEM})+"] if slot.owns_items else []
    return f"({' | '.join([json, *bare, *items])})"


def _bare_texts(slot: Slot) -> list[str]:
    """Regular expressions of the text without quotation marks that fits a slot: the choices, where only these do."""
    parts = [part for part in slot.parts if "string" in part_kinds(part)]
    if slot.owns_items or not all("enum" in part for part in parts):
        return [BARE]
    choices = [value for part in parts for value in part["enum"] if isinstance(value, str)]
    return [_escape(choice) for choice in choices if marked.render_value(choice, slot) == choice]


def _escape(text: str) -> str:
    """A regular expression that matches a text only."""
    return re.escape(text).replace("/", r"\/").replace(r"\ ", " ")


def _scalars(slot: Slot) -> list[str]:
    """Regular expressions of the numbers and the like that fit a slot."""
    whole = r"-?(0|[1-9][0-9]*)"
    integers = all(part.get("type") not in (None, "number") for part in slot.parts)
    number = whole if integers else whole + r"(\.[0-9]+)?([eE][+\-]?[0-9]+)?"
    texts = {"number": number, "boolean": "true|false", "null": "null"}
    return [text for kind, text in texts.items() if kind in slot.kinds]


def _list(schema: Mapping[str, Any], root: Mapping[str, Any]) -> str:
    """The lists of a schema that admits strings only as items."""
    items = _items(schema, root)
    if schema.get("minItems", 0):
        return items or f"{_ITEM} ({marked.ITEM} {_ITEM})*"
    return f'({items} | " []")' if items else '" []"'


def _items(schema: Mapping[str, Any], root: Mapping[str, Any]) -> str | None:
    """The lists of strings that fit a list's schema, at least one string, as items; None where none fits."""
    if "enum" in schema:
        return _literals(value for value in schema["enum"] if isinstance(value, list) and value)
    least, most = _item_counts(schema)
    listed, rest = _positions(schema, root)
    high = min(most, len(listed)) if rest is None else most
    if not listed or high < max(least, 1):
        return None
    more = f"{max(least - len(listed), 0)},{'' if high == math.inf else int(high) - len(listed)}"
    text = f" ({marked.ITEM} {rest}){{{more}}}" if rest is not None and high > len(listed) else ""
    for number in range(int(min(len(listed), high)) - 1, 0, -1):
        text = f"{marked.ITEM} {listed[number]}{text}"
        text = f" {text}" if number < least else f" ({text})?"
    return listed[0] + text


def _positions(schema: Mapping[str, Any], root: Mapping[str, Any]) -> tuple[list[str], str | None]:
    """The strings at each position of a list up to the first without one, and those behind; None is no string."""
    prefix = schema.get("prefixItems") or ()
    if len(prefix) > _MAX_POSITIONS:
        return [_ITEM], _ITEM
    listed: list[str] = []
    for part in prefix:
        item = _item(part, root)
        if item is None:
            return listed, None
        listed.append(item)
    rest = _item(schema.get("items", True), root)
    return listed or ([] if rest is None else [rest]), rest


def _item_counts(schema: Mapping[str, Any]) -> tuple[int, float]:
    """The least and the most items, as far as a mask can count."""
    least, most = int(schema.get("minItems") or 0), schema.get("maxItems")
    if not isinstance(most, int | float) or most < least or most > MAX_COUNT:
        most = math.inf
    return min(least, MAX_COUNT), most


def _item(schema: Any, root: Mapping[str, Any]) -> str | None:
    """The strings that fit a schema, as one item of a list; None where none fits."""
    parts = [part for part in alternatives(schema, root) if "string" in part_kinds(part)]
    if any("enum" not in part for part in parts):
        return _ITEM
    return _literals([value] for part in parts for value in part["enum"])


def _literals(lists: Iterable[list[Any]]) -> str | None:
    """The lists of strings among some lists, as they are written; None where there are none."""
    texts = [marked.render_value(value) for value in lists if all(isinstance(item, str) for item in value)]
    return _one_of([string_literal(f" {text}") for text in texts]) if texts else None
