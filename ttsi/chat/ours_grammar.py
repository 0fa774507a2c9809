"""The grammar of the embedded model's calls.

Inputs: the tools on offer. Outputs: rules in llguidance's dialect of Lark, one per tool (`calls_rules`), or the grammar
of one tool's arguments (`arguments_rule`), for texts as `ttsi.chat.ours` writes them.
Not in the paper (arXiv:2510.07841), which samples freely.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from ttsi.chat import ours
from ttsi.chat.schema_mask import json_value
from ttsi.types import Tool


def quoted(text: str) -> str:
    """A Lark literal; llguidance reads it as JSON, so a line break or a quotation mark cannot escape."""
    return json.dumps(text, ensure_ascii=False) if text else ""


def calls_rules(tools: Sequence[Tool]) -> list[str]:
    """The rules call_0, call_1, ..., one whole call of each tool."""
    return [
        f"call_{i}: {ours.CALL} {quoted(' ' + tool.name)} {ours.ARGS} {arguments_rule(tool)}"
        for i, tool in enumerate(tools)
    ]


def arguments_rule(tool: Tool) -> str:
    """What follows the name of a call of this tool."""
    return _in_order(_pairs(tool.parameters, tool, ""))


def _in_order(pairs: Sequence[tuple[str, bool]]) -> str:
    return " ".join(pair if required else f"({pair})?" for pair, required in pairs)


def _at_least_one(pairs: Sequence[tuple[str, bool]]) -> str:
    """The pairs in order, but not none of them: an object is only written by what is in it."""
    if any(required for _, required in pairs):
        return _in_order(pairs)
    starts = (_in_order([(pair, True), *pairs[i + 1 :]]) for i, (pair, _) in enumerate(pairs))
    return "(" + " | ".join(starts) + ")"


def _pairs(schema: Mapping[str, Any], tool: Tool, prefix: str) -> list[tuple[str, bool]]:
    """(grammar of one argument, whether it is required) in the order of `ours.leaves_of`; objects are groups."""
    required = schema.get("required") or []
    pairs = []
    for key, inner in (schema.get("properties") or {}).items():
        inner = inner if isinstance(inner, Mapping) else {}
        if inner.get("type") == "object" and inner.get("properties") and "." not in key:
            text = _at_least_one(_pairs(inner, tool, f"{prefix}{key}."))
        else:
            text = f"{quoted(f' {prefix}{key}')} {ours.IS} {_value(inner, tool)} {ours.NEXT}"
        pairs.append((text, key in required))
    return pairs


def _value(schema: Mapping[str, Any], tool: Tool) -> str:
    """One value behind one space: a string as it is, a list of strings by items, all else as compact JSON."""
    kind = schema.get("type")
    if kind == "string":
        return _string(schema, r"/ [^\n]+/")
    if kind == "array" and _string_items(schema.get("items")):
        return _list(schema)
    return f'" " {json_value(schema, tool)}'


def _string(schema: Mapping[str, Any], free: str) -> str:
    values = [schema["const"]] if "const" in schema else schema.get("enum")
    texts = [quoted(" " + value) for value in values or [] if isinstance(value, str)]
    return f"({' | '.join(texts)})" if texts else free


def _string_items(items: Any) -> bool:
    """Whether the items can be told from a JSON list, which begins with a bracket."""
    if not isinstance(items, Mapping) or items.get("type") != "string":
        return False
    return not any(str(value).startswith("[") or not value for value in items.get("enum", ["."]))


def _list(schema: Mapping[str, Any]) -> str:
    item = _string(schema["items"], r"/ [^\n\[][^\n]*/")
    least, most = schema.get("minItems", 0), schema.get("maxItems")
    if not isinstance(most, int) or most < max(least, 1):
        most = None
    more = f"{{{max(least - 1, 0)},{'' if most is None else most - 1}}}"
    items = f"{item} ({ours.ITEM} {item}){more}"
    return items if least else f'({items} | " []")'
