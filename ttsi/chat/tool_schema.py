"""Validation of tool calls against the offered tools.

Inputs: a `ToolCall` and the offered tools. Their parameters are JSON Schema of any draft (`ttsi.chat.dialect`).
Outputs: None, or one short line with the error; and `Tool` objects from OpenAI's JSON. Nothing is coerced: "3" is not
an integer. A schema that lists `properties` is read as complete, so an invented argument name is an error, as it is
for the benchmarks' graders.

The paper (arXiv:2510.07841) uses a synthetic example as the model wrote it. Here its calls must be legal.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from functools import cache
from typing import Any
from urllib.parse import unquote

from ttsi.chat.alternatives import resolve_reference
from ttsi.chat.dialect import DATA_KEYWORDS, SCHEMA_MAPS, draft_of, to_draft_2020
from ttsi.chat.patterns import python_pattern
from ttsi.errors import DataError
from ttsi.types import Tool, ToolCall

MAX_DEPTH = 64
"""Deepest nesting of a schema; native code that compiles schemas must never see an unbounded one."""
MAX_LINE = 160
"""Longest error line, in characters."""

APPLICATORS = frozenset({"allOf", "anyOf", "oneOf", "$ref", "$dynamicRef", "if", "then", "else", "dependentSchemas"})
"""Keywords that apply further schemas to the same object."""
_NAMING = APPLICATORS | {
    "properties", "patternProperties", "additionalProperties", "unevaluatedProperties", "required", "dependentRequired",
    "minProperties",
}  # fmt: skip
"""Keywords that say which names an object has."""
_OPTIONS = ("anyOf", "oneOf", "allOf")
_PARTS = ("items", "prefixItems", "additionalProperties")
"""Keywords whose schemas are of parts of a value."""
_DEFINITIONS = ("$defs", "definitions")
_NAME_FORBIDS = re.compile(r'[<>\[\]{}|"\\\x00-\x1f\x7f-\x9f\ud800-\udfff\u2028\u2029]')
_EMPTY: Mapping[str, Any] = {"type": "object", "properties": {}}


def problem(call: ToolCall, tools: Sequence[Tool]) -> str | None:
    """The error in a call as one line, such as "schema: city is missing"; None for a legal call of an offered tool.

    Never raises: a schema that cannot be used is an error of the call.
    """
    tool = next((tool for tool in tools if tool.name == call.name), None)
    if tool is None:
        return _line(f"no tool is called {call.name!r}")
    try:
        schema = forbid_unlisted(to_draft_2020(tool.parameters, draft_of(tool.parameters)))
        errors = list(_validator(schema).iter_errors(dict(call.arguments)))
    except Exception as error:  # a schema from outside: unresolvable or endless $ref, broken pattern, ...
        return _line(f"the schema of {tool.name} cannot be used ({type(error).__name__})")
    if not errors:
        return None
    return _line(_describe(min(errors, key=_rank)))


def normalise(parameters: Any) -> dict[str, Any]:
    """A tool's parameters as an object schema. None and {} are a tool without arguments.

    Raises:
        DataError: the parameters are no usable object schema. The message is one line.
    """
    if parameters is None or parameters == {}:
        return dict(_EMPTY)
    if not isinstance(parameters, Mapping):
        raise DataError(f"parameters must be a JSON object, not {type(parameters).__name__}")
    kind = parameters.get("type", "object")
    if kind != "object" and not (isinstance(kind, list) and "object" in kind):
        raise DataError(f"parameters must be a schema of type object, not {kind!r}")
    schema = {key: value for key, value in parameters.items() if not (key in ("properties", "required") and not value)}
    schema = {**schema, "type": "object", "properties": schema.get("properties", {})}
    _check(schema)
    return schema


def tool_from_openai(obj: Any) -> Tool:
    """A tool from `{"type": "function", "function": {...}}` or bare `{"name", "description", "parameters"}`.

    Raises:
        DataError: the tool has no usable name, description or parameters. The message is one line.
    """
    if not isinstance(obj, Mapping):
        raise DataError(f"a tool must be a JSON object, not {type(obj).__name__}")
    function = obj.get("function", obj)
    if not isinstance(function, Mapping):
        raise DataError("a tool's function must be a JSON object")
    name = _name(function.get("name"))
    description = function.get("description") or ""
    if not isinstance(description, str):
        raise DataError(f"tool {name}: the description must be a string")
    try:
        return Tool(name, description, normalise(function.get("parameters")))
    except DataError as error:
        raise DataError(f"tool {name}: {error}") from error


def forbid_unlisted(schema: Mapping[str, Any], top: bool = True) -> dict[str, Any]:
    """The schema, closed to unlisted names wherever it lists `properties` and does not mention other names.

    Descends into the parts of a value, into options that stand alone, and into the definitions that no schema joins
    with others. An empty `properties` means "no arguments" at the top and a free-form object below it. Where further
    schemas apply to the same object (`allOf`, `$ref` and the like), the keyword is `unevaluatedProperties`, which
    counts their properties too. Required but unlisted names take any value.
    """
    result = dict(schema)
    listed = schema.get("properties")
    for key in (*_PARTS, *(_OPTIONS if _stands_alone(schema) else ())):
        if key in schema:
            result[key] = _forbid_unlisted_inner(schema[key])
    if isinstance(schema.get("patternProperties"), Mapping):
        result["patternProperties"] = _forbid_unlisted_each(schema["patternProperties"])
    if isinstance(listed, Mapping) and (listed or top):
        properties = _forbid_unlisted_each(listed)
        result["properties"] = properties | {name: True for name in _required_keys(schema) if name not in properties}
        if not {"additionalProperties", "unevaluatedProperties"} & schema.keys():
            result["unevaluatedProperties" if APPLICATORS & schema.keys() else "additionalProperties"] = False
    if top:
        joined = _joined_references(schema)
        for place in _DEFINITIONS:
            if isinstance(schema.get(place), Mapping):
                free = {name for name in schema[place] if not _is_any_within(joined, f"#/{place}/{name}")}
                closed = _forbid_unlisted_each({name: schema[place][name] for name in free})
                result[place] = {**schema[place], **closed}
    return result


def _forbid_unlisted_each(schemas: Mapping[str, Any]) -> dict[str, Any]:
    return {name: _forbid_unlisted_inner(inner) for name, inner in schemas.items()}


def _stands_alone(schema: Mapping[str, Any]) -> bool:
    """Whether at most one keyword of a schema says which names an object has."""
    every = schema.get("allOf")
    return len(_NAMING & schema.keys()) <= 1 and not (isinstance(every, list | tuple) and len(every) > 1)


def _joined_references(root: Mapping[str, Any]) -> set[str]:
    """The targets of `$ref`s that share an object with another schema: closed, they would refuse its names."""
    joined, waiting = set[str](), list(_references_joined_in(root, False))
    for ref in waiting:  # grows meanwhile
        if ref not in joined:
            joined.add(ref)
            waiting += _references_joined_in(resolve_reference(ref, root), True)
    return joined


def _references_joined_in(node: Any, joined: bool) -> Iterator[str]:
    if isinstance(node, list | tuple):
        for part in node:
            yield from _references_joined_in(part, joined)
    if not isinstance(node, Mapping):
        return
    joined = joined or not _stands_alone(node)
    if joined and isinstance(node.get("$ref"), str):
        yield node["$ref"]
    for key, value in node.items():
        if key not in DATA_KEYWORDS:
            by_name = key in (*SCHEMA_MAPS, "dependencies") and isinstance(value, Mapping)
            inner = joined if key in _OPTIONS else key in APPLICATORS
            for part in value.values() if by_name else [value]:
                yield from _references_joined_in(part, inner)


def _is_any_within(references: Iterable[str], place: str) -> bool:
    """Whether a reference is to this place or a part of it; an anchor may stand anywhere."""
    for reference in references:
        target = unquote(reference).replace("~1", "/").replace("~0", "~")
        if target == place or target.startswith(f"{place}/") or not target.startswith("#/"):
            return True
    return False


def _forbid_unlisted_inner(schema: Any) -> Any:
    if isinstance(schema, list | tuple):
        return list(map(_forbid_unlisted_inner, schema))
    return forbid_unlisted(schema, top=False) if isinstance(schema, Mapping) else schema


def _required_keys(schema: Mapping[str, Any]) -> list[str]:
    required = schema.get("required")
    return [name for name in required if isinstance(name, str)] if isinstance(required, list) else []


def _validator(schema: Mapping[str, Any]) -> Any:
    from referencing import Registry

    # An empty registry: by default a remote $ref would be fetched from the network.
    return _decimal_validator()(schema, registry=Registry())


@cache
def _decimal_validator() -> Any:
    """jsonschema's validator, but multiples are those of the decimal numbers that a call writes."""
    from jsonschema import Draft202012Validator, ValidationError
    from jsonschema.validators import extend

    def multiple_of(validator: Any, factor: Any, value: Any, schema: Any) -> Iterator[ValidationError]:
        if validator.is_type(value, "number") and not is_multiple(value, factor):
            yield ValidationError(f"{value!r} is not a multiple of {factor}")

    validator: Any = extend(Draft202012Validator, {"multipleOf": multiple_of})  # type: ignore[no-untyped-call]
    return validator


def is_multiple(value: float, factor: float) -> bool:
    """Whether a number is a whole multiple of another, both as the decimal numbers that they are written as.

    >>> is_multiple(19.99, 0.01), is_multiple(19.995, 0.01), is_multiple(float("inf"), 1)
    (True, False, False)
    """
    if factor == 0 or any(isinstance(number, float) and not math.isfinite(number) for number in (value, factor)):
        return False
    (top, bottom), (factor_top, factor_bottom) = _ratio(value), _ratio(factor)
    return top * factor_bottom % (bottom * factor_top) == 0


def _ratio(number: float) -> tuple[int, int]:
    # Of the shortest decimal that reads back as this float: 19.99 is 1999/100, not the binary number next to it.
    return number.as_integer_ratio() if isinstance(number, int) else Decimal(str(number)).as_integer_ratio()


def _rank(error: Any) -> tuple[int, list[str]]:
    # A missing argument is the most useful error; the rest in a stable order.
    return (error.validator != "required", [str(step) for step in error.absolute_path])


def _describe(error: Any) -> str:
    path = [str(step) for step in error.absolute_path]
    place = ".".join(path) or "the arguments"
    if error.validator == "required":
        missing = next(name for name in error.validator_value if name not in error.instance)
        return ".".join([*path, missing]) + " is missing"
    if error.validator == "additionalProperties" and error.validator_value is False:
        properties = error.schema.get("properties", {})
        extra = next((name for name in error.instance if name not in properties), "")
        return "unknown argument " + ".".join([*path, extra])
    if error.validator == "type":
        return f"{place} is not of type {error.validator_value}"
    if error.validator == "enum":
        return f"{place} is not one of {error.validator_value}"
    return f"{place}: {error.message}"


def _line(text: str) -> str:
    line = " ".join(f"schema: {text}".split())
    return line if len(line) <= MAX_LINE else line[: MAX_LINE - 3] + "..."


def _name(name: Any) -> str:
    if not isinstance(name, str) or not name.strip():
        raise DataError("a tool needs a name, a non-empty string")
    if name != name.strip() or _NAME_FORBIDS.search(name):
        # Such a name could end a quoted name or imitate a control token in a prompt.
        raise DataError(f'tool name {name!r} contains a space at its ends, a control character or one of <>[]{{}}|"\\')
    return name


def _check(schema: Mapping[str, Any]) -> None:
    from jsonschema import SchemaError

    try:
        _check_json(schema)
        for reference in _references(schema):
            _check_reference(reference, schema)
        _metaschema(draft_of(schema)).check_schema(schema, format_checker=None)
        _check_patterns(schema)
    except SchemaError as error:
        place = ".".join(str(step) for step in error.absolute_path) or "parameters"
        raise DataError(_line(f"{place}: {error.message}")) from error


def _metaschema(draft: int) -> Any:
    import jsonschema

    names = {4: "Draft4", 6: "Draft6", 7: "Draft7", 2019: "Draft201909"}
    return getattr(jsonschema, names.get(draft, "Draft202012") + "Validator")


def _check_reference(value: str, root: Mapping[str, Any]) -> None:
    if not value.startswith("#"):
        raise DataError(f"$ref {value!r} must point into the schema itself and start with #")
    if value.startswith("#/") and resolve_reference(value, root) is None:
        raise DataError(f"$ref {value!r} names no part of the schema")


def _check_patterns(schema: Mapping[str, Any]) -> None:
    def compile_pattern(pattern: str) -> str | None:
        try:
            return python_pattern(pattern)
        except ValueError as error:
            raise DataError(_line(f"pattern {pattern!r} is not a regular expression: {error}")) from error

    to_draft_2020(schema, draft_of(schema), compile_pattern)


def _check_json(node: Any, depth: int = 0) -> None:
    if depth > MAX_DEPTH:
        raise DataError(f"parameters are nested deeper than {MAX_DEPTH} levels")
    if isinstance(node, float) and not math.isfinite(node):
        raise DataError(f"{node} is not a JSON number")
    if isinstance(node, Mapping):
        for key in node:
            if not isinstance(key, str):
                raise DataError(f"a schema's keys must be strings, not {key!r}")
    for value in _inner(node):
        _check_json(value, depth + 1)


def _references(node: Any) -> Iterator[str]:
    """The targets of the `$ref`s of a schema; in a default or an example, "$ref" is a key like any other."""
    if isinstance(node, Mapping):
        if isinstance(node.get("$ref"), str):
            yield node["$ref"]
        for key, value in node.items():
            if key not in DATA_KEYWORDS:
                by_name = key in (*SCHEMA_MAPS, "dependencies") and isinstance(value, Mapping)
                for part in value.values() if by_name else [value]:
                    yield from _references(part)
    elif isinstance(node, list | tuple):
        for part in node:
            yield from _references(part)


def _inner(node: Any) -> Iterator[Any]:
    if isinstance(node, Mapping):
        yield from node.values()
    elif isinstance(node, list | tuple):
        yield from node
