"""JSON Schema (2020-12) of a row as `ttsi export RUN --format jsonl` writes it.

Inputs: the dataclasses of `ttsi.record` as `ttsi.codec` writes them; the line under each field is its description.
Outputs: the schema. `docs/episode.schema.json` is this schema; a test compares them (`ttsi export --schema` prints it).
"""

from __future__ import annotations

import inspect
from typing import Any

from pydantic.json_schema import GenerateJsonSchema
from pydantic_core import core_schema

from ttsi.codec import core_schema_of
from ttsi.record import RunRow


def row_schema() -> dict[str, Any]:
    """The JSON Schema of an exported row."""
    definitions = _RowSchema().generate(core_schema_of(RunRow), mode="serialization")["$defs"]
    root = definitions.pop(RunRow.__name__)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "One input of a ttsi run, as `ttsi export --format jsonl` writes it",
        **root,
        "$defs": dict(sorted(definitions.items())),
    }


class _RowSchema(GenerateJsonSchema):
    """Every field is written, so every field is required; Python's defaults and generated titles are left out."""

    def field_is_required(self, field: Any, total: bool) -> bool:
        return True

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False

    def default_schema(self, schema: core_schema.WithDefaultSchema) -> dict[str, Any]:
        return self.generate_inner(schema["schema"])

    def dataclass_schema(self, schema: core_schema.DataclassSchema) -> dict[str, Any]:
        # Older versions of pydantic leave both out for a standard dataclass.
        always = {"description": inspect.cleandoc(schema["cls"].__doc__ or ""), "additionalProperties": False}
        return {key: value for key, value in super().dataclass_schema(schema).items() if key != "title"} | always
