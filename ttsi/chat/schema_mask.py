"""The part of a JSON Schema that a token mask can enforce.

Inputs: a schema, and the tool's parameters that its `$ref`s point into. Outputs: a schema that llguidance compiles
(`mask_schema`), or the grammar of JSON that fits it (`json_arguments`, `json_value`). A part that no mask can enforce
(`not`, look-ahead patterns ...) admits any JSON value of the stated type and is never an error.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

from ttsi.chat.alternatives import alternatives
from ttsi.chat.dialect import draft_of, to_draft_2020
from ttsi.chat.patterns import mask_pattern
from ttsi.chat.tool_schema import forbid_unlisted
from ttsi.types import Tool

_COMPACT = {"item_separator": ", ", "key_separator": ": ", "whitespace_flexible": False}
_MAX_DEPTH = 32
_MAX_SCHEMAS = 2000
"""Schemas in one mask; those beyond admit any JSON value."""
MAX_COUNT = 1000
"""Longest string or list whose length is enforced; counting further makes the mask slow."""
_MAX_NAMES = 16
"""Most names whose number is enforced."""

_KINDS: Mapping[str, tuple[type, ...]] = {
    "string": (str,), "integer": (int,), "number": (int, float), "boolean": (bool,), "null": (type(None),),
    "array": (list,), "object": (dict,),
}  # fmt: skip
_ANNOTATIONS = frozenset((
    "title", "description", "default", "examples", "example", "deprecated", "readOnly", "writeOnly", "format",
    "$comment", "$defs", "definitions",
))  # fmt: skip
"""Keywords that constrain nothing."""


def json_arguments(tool: Tool) -> str:
    """The rule of all arguments of a call as one JSON object."""
    root = enforceable_schema(tool)
    return json_rule({"type": "object"} if _Mask(root).schema(root) is None else root, root)


def json_value(schema: Any, tool: Tool) -> str:
    """The rule of one JSON value that fits `schema`, which is a part of the tool's parameters."""
    part = to_draft_2020(schema, draft_of(tool.parameters), mask_pattern)
    return json_rule(forbid_unlisted(part, top=False) if isinstance(part, Mapping) else part, enforceable_schema(tool))


def enforceable_schema(tool: Tool) -> dict[str, Any]:
    """The tool's parameters in Draft 2020-12, with enforceable patterns only, closed to unlisted names."""
    return forbid_unlisted(to_draft_2020(tool.parameters, draft_of(tool.parameters), mask_pattern))


def json_rule(schema: Any, root: Mapping[str, Any]) -> str:
    """The rule of one JSON value that fits a schema, a part of `root` that `enforceable_schema` gave."""
    body = mask_schema(schema, root)
    if '"$ref"' in json.dumps(body):
        body = {**body, **definitions(root)}
    return "%json " + json.dumps({**body, "x-guidance": _COMPACT})


def mask_schema(schema: Any, root: Mapping[str, Any]) -> dict[str, Any]:
    """The enforceable part of `schema`; `root` is the schema that its `$ref`s point into."""
    return _Mask(root).schema(schema) or {}


def definitions(root: Mapping[str, Any]) -> dict[str, Any]:
    """The `$defs` and `definitions` of a tool's parameters, to stand beside each value that may refer to them."""
    mask = _Mask(root)
    return {
        place: {name: mask.schema(schema) or {} for name, schema in root[place].items()}
        for place in ("$defs", "definitions")
        if isinstance(root.get(place), Mapping) and root[place]
    }


class _Mask:
    """One walk through a schema."""

    def __init__(self, root: Mapping[str, Any]) -> None:
        self._root, self._schemas = root, 0

    def schema(self, schema: Any, depth: int = 0) -> dict[str, Any] | None:
        """The schema for a mask; {} admits any value, None no value."""
        self._schemas += 1
        if schema is False:
            return None
        if not isinstance(schema, Mapping) or depth > _MAX_DEPTH or self._schemas > _MAX_SCHEMAS:
            return {}
        keywords = schema.keys() - _ANNOTATIONS
        if keywords == {"$ref"} and _leads_somewhere(schema, self._root):
            return {"$ref": schema["$ref"]}
        if keywords in ({"anyOf"}, {"oneOf"}, {"allOf"}) and _leads_somewhere(schema, self._root):
            [options] = (schema[key] for key in keywords)
            if keywords != {"allOf"} or len(options) == 1:
                return _any_of([self.schema(option, depth + 1) for option in options])
        parts = [self._plain(part, depth) for part in alternatives(schema, self._root)]
        return _any_of(parts) if parts else None

    def _plain(self, schema: Mapping[str, Any], depth: int) -> dict[str, Any] | None:
        """The same for a schema without applicators at its top."""
        if "enum" in schema:
            return _enum(schema)
        lists = any(part is not False for part in (schema.get("properties") or {}).values())
        kind = schema.get("type", "object" if lists else None)
        if kind == "object":
            return self._object(schema, depth)
        if kind == "array":
            return {"type": kind, **self._array(schema, depth)}
        rules = {"string": _string_keywords, "integer": _number_keywords, "number": _number_keywords}
        return {"type": kind, **rules[kind](schema)} if kind in rules else {"type": kind} if kind else {}

    def _object(self, schema: Mapping[str, Any], depth: int) -> dict[str, Any] | None:
        properties = {}
        for name, inner in (schema.get("properties") or {}).items():
            part = self.schema(inner, depth + 1)
            if part is not None:
                properties[name] = part
            elif name in schema.get("required", ()):
                return None
        extra = schema.get("additionalProperties", True)
        extra = extra if isinstance(extra, bool) else self.schema(extra, depth + 1)
        free: bool | dict[str, Any] = False if extra is None else extra
        patterns = {
            text: part
            for text, inner in (schema.get("patternProperties") or {}).items()
            if (part := self.schema(inner, depth + 1)) is not None
        }
        if len(patterns) > 1:
            # A mask needs patterns that no name fits twice. Else every name takes a value of any of them.
            more = [] if free is False else [{} if free is True else free]
            free = _any_of([*patterns.values(), *more]) or {}
            patterns = {}
        result: dict[str, Any] = {"type": "object"}
        result |= {"properties": properties} if properties else {}
        result |= {"patternProperties": patterns} if patterns else {}
        required = [name for name in schema.get("required", ()) if name in properties or free is not False or patterns]
        result |= {"required": required} if required else {}
        result["additionalProperties"] = free if free != {} else True
        return _count_names(result, schema)

    def _array(self, schema: Mapping[str, Any], depth: int) -> dict[str, Any]:
        if schema.get("items") is False:
            listed = len(schema.get("prefixItems") or ())
            schema = {**schema, "maxItems": min(listed, schema.get("maxItems", listed))}
        result: dict[str, Any] = _counts(schema, "minItems", "maxItems")
        if isinstance(schema.get("items"), Mapping):
            result["items"] = self.schema(schema["items"], depth + 1) or {}
        if isinstance(schema.get("prefixItems"), list):
            result["prefixItems"] = [self.schema(item, depth + 1) or {} for item in schema["prefixItems"]]
        return result


def _any_of(parts: Sequence[dict[str, Any] | None]) -> dict[str, Any] | None:
    """A schema that admits the values of all parts; None is a part without values."""
    some = [part for part in parts if part is not None]
    if len(some) <= 1:
        return some[0] if some else None
    return {} if {} in some else {"anyOf": some}


def _count_names(result: dict[str, Any], schema: Mapping[str, Any]) -> dict[str, Any] | None:
    """The object with its limits on the number of names, as far as a mask can count."""
    names, required = result.get("properties", {}), result.get("required", [])
    low, high = int(schema.get("minProperties", 0)), int(schema.get("maxProperties", _MAX_NAMES))
    free = result["additionalProperties"] is not False or "patternProperties" in result
    if low > high or len(required) > high or (not free and len(names) < low):
        return None
    if names.keys() <= set(required):
        counts = {"minProperties": low} if len(required) < low <= _MAX_NAMES else {}
        return result | counts | ({"maxProperties": high} if free and "maxProperties" in schema else {})
    if low == 1 and not free and not required and len(names) <= _MAX_NAMES:
        return {"anyOf": [{**result, "required": [name]} for name in names]}
    return result


def _enum(schema: Mapping[str, Any]) -> dict[str, Any] | None:
    kinds = [schema["type"]] if "type" in schema else list(_KINDS)
    wanted = tuple(t for kind in kinds for t in _KINDS.get(kind, ()))
    legal = [
        value for value in schema["enum"] if isinstance(value, wanted) and (type(value) is not bool or bool in wanted)
    ]
    return {"enum": legal} if legal else None


def _leads_somewhere(schema: Any, root: Mapping[str, Any]) -> bool:
    """Whether every chain of `$ref`s ends in a definition, and none in itself or nowhere."""
    done: set[str] = set()

    def leads(node: Any, open_refs: frozenset[str]) -> bool:
        if not isinstance(node, Mapping):
            return True
        parts = [part for key in ("allOf", "anyOf", "oneOf") for part in node.get(key) or ()]
        if "$ref" in node:
            ref = str(node["$ref"])
            match = re.fullmatch(r"#/(\$defs|definitions)/([\w.\- ]+)", ref)
            target = (root.get(match[1]) or {}).get(match[2]) if match else None
            if target is None or ref in open_refs:
                return False
            if ref not in done:
                if not leads(target, open_refs | {ref}):
                    return False
                done.add(ref)
        return all(leads(part, open_refs) for part in parts)

    return leads(schema, frozenset())


def _string_keywords(schema: Mapping[str, Any]) -> dict[str, Any]:
    if "pattern" in schema:
        return {"pattern": schema["pattern"]}  # without lengths: the two together may admit no text
    return _counts(schema, "minLength", "maxLength")


def _counts(schema: Mapping[str, Any], least: str, most: str) -> dict[str, Any]:
    low, high = schema.get(least, 0), schema.get(most, MAX_COUNT)
    if low > high or low > MAX_COUNT:
        return {}
    counts = {least: int(low)} if low else {}
    return counts | ({most: int(high)} if most in schema and high <= MAX_COUNT else {})


def _number_keywords(schema: Mapping[str, Any]) -> dict[str, Any]:
    bounds = {
        key: schema[key]
        for key in ("minimum", "exclusiveMinimum", "maximum", "exclusiveMaximum")
        if isinstance(schema.get(key), int | float) and math.isfinite(schema[key]) and abs(schema[key]) < 2**53
    }
    low = max((value for key, value in bounds.items() if key.lower().endswith("minimum")), default=-math.inf)
    high = min((value for key, value in bounds.items() if key.lower().endswith("maximum")), default=math.inf)
    whole = low == high and float(low).is_integer() and bounds.keys() <= {"minimum", "maximum"}
    # No integer may lie between narrow bounds, and then there is no grammar. The validator still checks them.
    return bounds if whole or high - low >= 2 else {}
