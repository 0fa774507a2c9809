"""The grammar of the embedded model's calls.

Inputs: the tools on offer. Outputs: rules in llguidance's dialect of Lark, one per tool (`calls_rules`), or the grammar
of one tool's arguments (`arguments_rule`), for texts as `ttsi.chat.marked` writes them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from ttsi.chat import marked
from ttsi.chat.alternatives import alternatives
from ttsi.chat.lark import string_literal
from ttsi.chat.marked_layout import BARE, Slot, item_kinds, layout, plain
from ttsi.chat.schema_mask import enforceable_schema, json_rule
from ttsi.types import Tool

_NOTHING = '""'


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
    before = re.escape(prefix).replace("/", r"\/").replace(r"\ ", " ")
    name = f"/ {before}{bare}/" if prefix else rf"/ ({bare}|\"([^\n\"\\]|\\.)*\")/"
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
    item = r"/ [^\n\[][^\n]*/"
    if slot.only_lists:
        return f"({json} | {item} ({marked.ITEM} {item})*)" if any("string" in kind for kind in kinds) else json
    if not (slot.owns_items or "string" in slot.kinds):
        return json
    # The longest terminal wins, so numbers and the like must be part of the terminal of bare text.
    bare = f"/ ({'|'.join([BARE, *_scalars(slot)])})/"
    items = [rf"/ [^\n\"\[{{][^\n]*/ ({marked.ITEM} {item})+"] if slot.owns_items else []
    return f"({' | '.join([json, bare, *items])})"


def _scalars(slot: Slot) -> list[str]:
    """Regular expressions of the numbers and the like that fit a slot."""
    whole = r"-?(0|[1-9][0-9]*)"
    integers = all(part.get("type") not in (None, "number") for part in slot.parts)
    number = whole if integers else whole + r"(\.[0-9]+)?([eE][+\-]?[0-9]+)?"
    texts = {"number": number, "boolean": "true|false", "null": "null"}
    return [text for kind, text in texts.items() if kind in slot.kinds]


def _list(schema: Mapping[str, Any], root: Mapping[str, Any]) -> str:
    parts = alternatives(schema["items"], root)
    item = r"/ [^\n\[][^\n]*/"
    if all("enum" in part for part in parts):
        texts = [value for part in parts for value in part["enum"] if isinstance(value, str)]
        item = _one_of([string_literal(f" {marked.render_value([text])}") for text in texts]) if texts else item
    least, most = schema.get("minItems", 0), schema.get("maxItems")
    if not isinstance(most, int) or most < max(least, 1):
        most = None
    more = f"{{{max(least - 1, 0)},{'' if most is None else most - 1}}}"
    items = f"{item} ({marked.ITEM} {item}){more}"
    return items if least else f'({items} | " []")'
