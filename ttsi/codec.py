"""JSON codec of the dataclasses: the run record, exported rows, settings, and frames between processes.

Inputs -> outputs: a frozen dataclass -> canonical JSON text (`dumps`) or a JSON value (`to_json`), and text -> the same
dataclass (`loads`), checked by pydantic. Nothing is listed twice: the fields and their annotations are the format.

* Equal records give equal text: keys are sorted, numbers are written as Python writes them.
* A field that does not count in comparisons, the id of a call, is left out; a frame keeps it (`call_ids=True`).
* JSON has no NaN and no infinity. A field annotated as a float writes them as "nan", "inf" and "-inf"; anywhere else
  they are refused, because null or 0 would be another number.
* An unknown key is refused. Names that older versions wrote are read (`RENAMED_FIELDS`, `RENAMED_VALUES`).

pydantic's own JSON writer and reader are not used: it sorts no keys, writes NaN wherever it meets one, and does not
read half a surrogate pair, which a model can write in a call. Python's `json` does, and pydantic sees JSON values.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from dataclasses import fields, is_dataclass, replace
from functools import cache, partial
from typing import Any, TypeVar

from pydantic_core import PydanticSerializationError, SchemaSerializer, SchemaValidator, core_schema

Record = TypeVar("Record")

RENAMED_FIELDS: dict[str, dict[str, str]] = {
    "Answer": {"draws": "samples"},
    "Example": {"faults": "attempt_errors"},
    "RunRow": {"asked": "question"},
}
"""Class -> the name of a field in older records -> its name now."""
RENAMED_VALUES: dict[str, dict[str, dict[str, str]]] = {
    "Adaptation": {"status": {"again": "resampled", "rejected": "training-failed"}},
}
"""Class -> field -> a value in older records -> the value now."""
REFUSED_STATUSES = ("declined", "kept-base")
"""Statuses of an `Adaptation` in older records, which said that a guard refused the new answer and not how that was
written."""
REMOVED_FIELDS: dict[str, frozenset[str]] = {"Question": frozenset({"tags", "official"})}
"""Class -> fields of older records that mean nothing now."""
RENAMED_METRICS = {
    "answered_again": "resampled",
    "adaptations.rejected": "adaptations.training-failed",
    "adaptations.declined": "adaptations.refused",
    "adaptations.kept-base": "adaptations.refused",
}
"""Metrics of an older summary.json -> their names now."""


def dumps(record: object, *, call_ids: bool = False) -> str:
    """A dataclass as canonical JSON: equal values, equal text.

    Args:
        record: one of our dataclasses.
        call_ids: write the ids of calls too, which a conversation needs and a record does not.

    Raises:
        ValueError: a number that is not finite where no float field is, or a value of the wrong type.
    """
    # Not pydantic's mode "json": it replaces half a surrogate pair in a key of a call's arguments.
    kind: Any = type(record)
    serializer = _format(kind).serializer(call_ids)
    try:
        value = serializer.to_python(record, warnings="error")
    except PydanticSerializationError:
        value = serializer.to_python(_plain(record), warnings="error")
    return canonical(value)


def _plain(value: Any) -> Any:
    """With dictionaries for other mappings and tuples for lists, which the annotations admit and pydantic does not."""
    if is_dataclass(value) and not isinstance(value, type):
        return replace(value, **{field.name: _plain(getattr(value, field.name)) for field in fields(value)})
    if isinstance(value, Mapping):
        return {key: _plain(inner) for key, inner in value.items()}
    return tuple(_plain(inner) for inner in value) if isinstance(value, list | tuple) else value


def to_json(record: object) -> Any:
    """A dataclass as a JSON value; see `dumps`."""
    return json.loads(dumps(record))


def canonical(value: Any) -> str:
    """A JSON value as text with sorted keys.

    Raises:
        ValueError: it holds a number that is not finite.
    """
    text = _READABLE.encode(value)
    try:
        text.encode()
    except UnicodeEncodeError:
        return _ESCAPED.encode(value)  # half a surrogate pair has no place in UTF-8
    return text


def _write_other(value: Any) -> Any:
    return dict(value) if isinstance(value, Mapping) else os.fspath(value)


_READABLE, _ESCAPED = (
    json.JSONEncoder(sort_keys=True, ensure_ascii=ascii, separators=(",", ":"), allow_nan=False, default=_write_other)
    for ascii in (False, True)
)


def loads(kind: type[Record], text: str) -> Record:
    """Read what `dumps` wrote, also in an older version.

    Raises:
        ValueError: the text is not of this kind; a key that the kind lacks is an error too.
    """
    try:
        record: Record = from_json(kind, json.loads(text))
    except RecursionError:
        raise ValueError("it is nested too deeply to be read") from None
    return record


def from_json(kind: Any, value: Any) -> Any:
    """A JSON value as a dataclass; see `loads`."""
    return _format(kind).validator.validate_python(value)


def core_schema_of(kind: Any) -> core_schema.CoreSchema:
    """pydantic's schema of a dataclass with our rules, from which `ttsi.row_schema` makes a JSON Schema."""
    return _format(kind).core


class _Format:
    """How one dataclass is checked and written: pydantic's schema of it, with our rules in place of pydantic's."""

    def __init__(self, kind: Any) -> None:
        from pydantic import ConfigDict, TypeAdapter  # not at the top: most commands read no record

        config = ConfigDict(extra="forbid", use_attribute_docstrings=True)
        # "| None": pydantic takes a configuration for any type but a dataclass itself, and hands it on to those inside.
        schema = TypeAdapter(kind | None, config=config).core_schema
        self.core: core_schema.CoreSchema = _adapt(schema, call_ids=False)
        self.validator = SchemaValidator(self.core)
        self._serializers = {False: SchemaSerializer(self.core), True: SchemaSerializer(_adapt(schema, call_ids=True))}

    def serializer(self, call_ids: bool) -> SchemaSerializer:
        return self._serializers[call_ids]


@cache
def _format(kind: Any) -> _Format:
    return _Format(kind)


def _adapt(schema: Any, call_ids: bool) -> Any:
    """A copy of a pydantic schema with our floats, ids and renamed fields, all the way down."""
    if isinstance(schema, list | tuple):
        return type(schema)(_adapt(inner, call_ids) for inner in schema)
    if not isinstance(schema, dict):
        return schema
    adapted = {key: value if key == "metadata" else _adapt(value, call_ids) for key, value in schema.items()}
    if adapted.get("type") == "float":
        adapted["serialization"] = _FLOAT
    if adapted.get("type") == "dataclass":
        return _adapt_dataclass(adapted, call_ids)
    return adapted


def _adapt_dataclass(schema: Any, call_ids: bool) -> Any:
    kind = schema["cls"]
    ids = {field.name for field in fields(kind) if not field.compare}
    old_names = {new: old for old, new in RENAMED_FIELDS.get(kind.__name__, {}).items()}
    for field in schema["schema"]["fields"]:
        name = field["name"]
        if name in ids and not call_ids:
            field["serialization_exclude"] = True
        if name in old_names:
            field["validation_alias"] = [[name], [old_names[name]]]
        if values := RENAMED_VALUES.get(kind.__name__, {}).get(name):
            field["schema"] = _before(partial(_replace_value, values), field["schema"])
    if kind.__name__ == "Adaptation":
        schema["schema"] = _before(_with_refusal, schema["schema"])
    removed = REMOVED_FIELDS.get(kind.__name__)
    return _before(partial(_drop_keys, removed), schema) if removed else schema


_before = core_schema.no_info_before_validator_function


def _replace_value(new: Mapping[str, str], value: Any) -> Any:
    return new.get(value, value) if isinstance(value, str) else value


def _with_refusal(value: Any) -> Any:
    """An adaptation of an older record in which a refused answer was a status of its own."""
    if not isinstance(value, dict) or value.get("status") not in REFUSED_STATUSES:
        return value
    in_context = value.get("samples") and not value.get("steps")
    status = "in-context" if in_context else "trained" if value.get("steps") else "reused"
    return {**value, "status": status, "refused": value.get("reason") or "a guard refused it", "reason": ""}


def _drop_keys(names: frozenset[str], value: Any) -> Any:
    return {key: inner for key, inner in value.items() if key not in names} if isinstance(value, dict) else value


def _write_float(value: float) -> float | str:
    return float(value) if math.isfinite(value) else repr(float(value))


_WORDS = core_schema.literal_schema(["nan", "inf", "-inf"])
_FLOAT = core_schema.plain_serializer_function_ser_schema(
    _write_float, return_schema=core_schema.union_schema([core_schema.float_schema(), _WORDS])
)
"""A float field: a number, or one of the three words that JSON has no number for."""
