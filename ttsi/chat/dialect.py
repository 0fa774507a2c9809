"""A tool's JSON Schema in one dialect, whatever draft and regular expressions it was written in.

Inputs: the parameters of a tool, and what to do with a pattern (`ttsi.chat.patterns`). Outputs: a schema of Draft
2020-12 that means the same (`modern`), and the names of the keywords that nothing can enforce (`left_out`).

A schema may name its draft in `$schema`; draft 4, 6, 7 and 2019-09 are translated, keyword by keyword. A pattern that
cannot be enforced is left out alone, and what then could not be told apart stays open. Nothing is fetched.
Not in the paper (arXiv:2510.07841).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ttsi.chat.patterns import python_pattern

Pattern = Callable[[str], str | None]
"""A pattern as the reader of the schema takes it; None for one that it cannot hold."""

_DRAFTS = {"draft-04": 4, "draft-06": 6, "draft-07": 7, "2019-09": 2019}
_DATA = ("enum", "const", "default", "examples", "example")
"""Keywords whose value is an instance and no schema."""
_MAPS = ("properties", "patternProperties", "$defs", "definitions", "dependentSchemas")
_SINCE = {
    "const": 6, "contains": 6, "propertyNames": 6, "if": 7, "then": 7, "else": 7, "minContains": 2019,
    "maxContains": 2019, "dependentRequired": 2019, "dependentSchemas": 2019, "unevaluatedProperties": 2019,
    "unevaluatedItems": 2019, "prefixItems": 2020, "$dynamicRef": 2020,
}  # fmt: skip
"""The first draft of each keyword that an earlier one does not know, and hence ignores."""


def draft_of(schema: Mapping[str, Any]) -> int:
    """The draft that `$schema` names: 4, 6, 7, 2019, or 2020 where it names none or another.

    >>> draft_of({"$schema": "http://json-schema.org/draft-07/schema#"})
    7
    """
    name = schema.get("$schema")
    return next((draft for part, draft in _DRAFTS.items() if isinstance(name, str) and part in name), 2020)


def modern(schema: Any, draft: int = 2020, pattern: Pattern = python_pattern) -> Any:
    """The schema in Draft 2020-12 with its patterns as `pattern` gives them.

    Raises:
        ValueError: a pattern is no regular expression.
    """
    return _Reading(draft, pattern).schema(schema, ())


def left_out(parameters: Mapping[str, Any]) -> list[str]:
    """The places of the keywords that are not enforced since no dialect at hand can, e.g. "properties.a.pattern"."""
    reading = _Reading(draft_of(parameters), python_pattern)
    reading.schema(parameters, ())
    return reading.left_out


class _Reading:
    """One walk through a schema."""

    def __init__(self, draft: int, pattern: Pattern) -> None:
        self._draft, self._pattern = draft, pattern
        self.left_out: list[str] = []

    def schema(self, schema: Any, path: Sequence[str]) -> Any:
        """One schema, and everything in it."""
        if isinstance(schema, list | tuple):
            return [self.schema(one, (*path, str(number))) for number, one in enumerate(schema)]
        if not isinstance(schema, Mapping):
            return schema
        result = {}
        for key, value in schema.items():
            if key == "$schema" or _SINCE.get(key, 0) > self._draft:
                continue
            if self._draft < 2019 and "$ref" in schema and key not in ("$ref", "$defs", "definitions"):
                continue  # what stands beside a reference had no say before draft 2019-09
            result[key] = self._value(key, value, (*path, key))
        if isinstance(result.get("$ref"), str) and self._draft < 2020:
            result["$ref"] = re.sub(r"/items/(?=\d)", "/prefixItems/", result["$ref"])
        self._patterns(result, path)
        self._old_keywords(result)
        return result

    def _value(self, key: str, value: Any, path: Sequence[str]) -> Any:
        if key in _DATA:
            return value
        if key in (*_MAPS, "dependencies") and isinstance(value, Mapping):
            return {name: self.schema(inner, (*path, name)) for name, inner in value.items()}
        return self.schema(value, path)

    def _patterns(self, result: dict[str, Any], path: Sequence[str]) -> None:
        if isinstance(result.get("pattern"), str):
            translated = self._translated(result.pop("pattern"), (*path, "pattern"))
            if translated is not None:
                result["pattern"] = translated
        by_name = result.get("patternProperties")
        if not isinstance(by_name, Mapping):
            return
        held = {name: self._translated(name, (*path, "patternProperties", name)) for name in by_name}
        result["patternProperties"] = {text: by_name[name] for name, text in held.items() if text is not None}
        if None in held.values():
            # Which names the lost pattern covers is unknown, so that no name can be called an unlisted one.
            result["additionalProperties"] = True

    def _translated(self, text: str, path: Sequence[str]) -> str | None:
        translated = self._pattern(text)
        if translated is None:
            self.left_out.append(".".join(path))
        return translated

    def _old_keywords(self, result: dict[str, Any]) -> None:
        if self._draft < 6:
            for limit, exclusive in (("minimum", "exclusiveMinimum"), ("maximum", "exclusiveMaximum")):
                if result.pop(exclusive, False) is True and limit in result:
                    result[exclusive] = result.pop(limit)
        if self._draft < 2020:
            rest = result.pop("additionalItems", None)
            if isinstance(result.get("items"), list):
                result["prefixItems"] = result.pop("items")
                if not result["prefixItems"]:
                    del result["prefixItems"]
                if rest is not None:
                    result["items"] = rest
            if "$recursiveRef" in result and "$ref" not in result:
                result["$ref"] = result.pop("$recursiveRef")
        dependencies = result.pop("dependencies", None) if self._draft < 2020 else None
        if isinstance(dependencies, Mapping):
            names = {key: value for key, value in dependencies.items() if isinstance(value, list)}
            schemas = {key: value for key, value in dependencies.items() if not isinstance(value, list)}
            for key, values in (("dependentRequired", names), ("dependentSchemas", schemas)):
                if values:
                    result[key] = {**result.get(key, {}), **values}
