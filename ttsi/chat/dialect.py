"""Translation of JSON Schemas of older drafts into Draft 2020-12.

Inputs: the parameters of a tool, and a translation of patterns (`ttsi.chat.patterns`). Outputs: an equivalent schema
of Draft 2020-12 (`to_draft_2020`), and the keywords that cannot be enforced (`unenforced_keywords`).

A schema may name its draft in `$schema`. Drafts 4, 6, 7 and 2019-09 are translated keyword by keyword. A pattern that
cannot be enforced is omitted, and names that it may cover are then admitted. Nothing is fetched.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ttsi.chat.patterns import python_pattern

Pattern = Callable[[str], str | None]
"""A translation of a pattern; None for one that cannot be enforced."""

_DRAFTS = {"draft-04": 4, "draft-06": 6, "draft-07": 7, "2019-09": 2019}
DATA_KEYWORDS = ("enum", "const", "default", "examples", "example")
"""Keywords whose value is an instance and no schema."""
SCHEMA_MAPS = ("properties", "patternProperties", "$defs", "definitions", "dependentSchemas")
"""Keywords whose value has a schema for each of its names."""
_SINCE = {
    "const": 6, "contains": 6, "propertyNames": 6, "if": 7, "then": 7, "else": 7, "minContains": 2019,
    "maxContains": 2019, "dependentRequired": 2019, "dependentSchemas": 2019, "unevaluatedProperties": 2019,
    "unevaluatedItems": 2019, "prefixItems": 2020, "$dynamicRef": 2020,
}  # fmt: skip
"""The first draft with each keyword; earlier drafts ignore the keyword."""


def draft_of(schema: Mapping[str, Any]) -> int:
    """The draft that `$schema` names: 4, 6, 7, 2019, or 2020 where it names none or another.

    >>> draft_of({"$schema": "http://json-schema.org/draft-07/schema#"})
    7
    """
    name = schema.get("$schema")
    return next((draft for part, draft in _DRAFTS.items() if isinstance(name, str) and part in name), 2020)


def to_draft_2020(schema: Any, draft: int = 2020, pattern: Pattern = python_pattern) -> Any:
    """The schema in Draft 2020-12, its patterns translated by `pattern`.

    Raises:
        ValueError: a pattern is no regular expression.
    """
    return _DraftTranslator(draft, pattern).schema(schema, ())


def unenforced_keywords(parameters: Mapping[str, Any]) -> list[str]:
    """The places of keywords that cannot be enforced, e.g. "properties.a.pattern"."""
    translator = _DraftTranslator(draft_of(parameters), python_pattern)
    translator.schema(parameters, ())
    return translator.unenforced


class _DraftTranslator:
    """One walk through a schema."""

    def __init__(self, draft: int, pattern: Pattern) -> None:
        self._draft, self._pattern = draft, pattern
        self.unenforced: list[str] = []

    def schema(self, schema: Any, path: Sequence[str]) -> Any:
        if isinstance(schema, list | tuple):
            return [self.schema(one, (*path, str(number))) for number, one in enumerate(schema)]
        if not isinstance(schema, Mapping):
            return schema
        result = {}
        for key, value in schema.items():
            if key == "$schema" or _SINCE.get(key, 0) > self._draft:
                continue
            if self._draft < 2019 and "$ref" in schema and key not in ("$ref", "$defs", "definitions"):
                continue  # keywords beside a reference are ignored before draft 2019-09
            result[key] = self._value(key, value, (*path, key))
        if isinstance(result.get("$ref"), str) and self._draft < 2020:
            result["$ref"] = re.sub(r"/items/(?=\d)", "/prefixItems/", result["$ref"])
        self._patterns(result, path)
        self._translate_keywords(result)
        return result

    def _value(self, key: str, value: Any, path: Sequence[str]) -> Any:
        if key in DATA_KEYWORDS:
            return value
        if key in (*SCHEMA_MAPS, "dependencies") and isinstance(value, Mapping):
            return {name: self.schema(inner, (*path, name)) for name, inner in value.items()}
        return self.schema(value, path)

    def _patterns(self, result: dict[str, Any], path: Sequence[str]) -> None:
        if isinstance(result.get("pattern"), str):
            translated = self._translate(result.pop("pattern"), (*path, "pattern"))
            if translated is not None:
                result["pattern"] = translated
        by_name = result.get("patternProperties")
        if not isinstance(by_name, Mapping):
            return
        held = {name: self._translate(name, (*path, "patternProperties", name)) for name in by_name}
        result["patternProperties"] = {text: by_name[name] for name, text in held.items() if text is not None}
        if None in held.values():
            # The omitted pattern may cover any name, so no name is an unlisted one.
            result["additionalProperties"] = True

    def _translate(self, text: str, path: Sequence[str]) -> str | None:
        translated = self._pattern(text)
        if translated is None:
            self.unenforced.append(".".join(path))
        return translated

    def _translate_keywords(self, result: dict[str, Any]) -> None:
        if self._draft < 6:
            for limit, exclusive in (("minimum", "exclusiveMinimum"), ("maximum", "exclusiveMaximum")):
                if result.pop(exclusive, False) is True and limit in result:
                    result[exclusive] = result.pop(limit)
        if self._draft < 2020:
            rest = result.pop("additionalItems", None)
            if isinstance(result.get("items"), list):
                if prefix := result.pop("items"):
                    result["prefixItems"] = prefix
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
