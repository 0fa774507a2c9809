"""BFCL V4, the Berkeley Function-Calling Leaderboard: its single-turn categories.

Source: github.com/ShishirPatil/gorilla, `berkeley-function-call-leaderboard/bfcl_eval/data` at commit 6ea57973
(Apache-2.0). Inputs: a data folder with `bfcl/BFCL_v4_*.json[.gz]` and `bfcl/possible_answer/`. Outputs: a `Benchmark`
of 3,641 samples, tagged by category: 2,501 graded by their calls, 1,124 where no tool fits, 16 where one does. A split
is a category or a group of them (`GROUPS`). The multi-turn, memory and web categories need simulators and are not here.
A question, and its answer from the other file, both made up in their form:

    {"id": "simple_python_0", "question": [[{"role": "user", "content": "Is the pool open on Sunday?"}]],
     "function": [{"name": "pool.hours", "description": "...", "parameters": {"type": "dict", "required": ["day"],
                   "properties": {"day": {"type": "string"}, "lane": {"type": "integer"}}}}]}
    {"id": "simple_python_0", "ground_truth": [{"pool.hours": {"day": ["Sunday", "Sun"], "lane": ["", 1]}}]}

Metric: per row, all or nothing, by lists of accepted values (`ttsi.benchmarks.bfcl_rule`, the headline `official`).
The leaderboard averages categories; `strata` of a summary has them. `gold` takes the first accepted value of each
argument and leaves out what may be left out with no other value, so `strict` and `lenient` are harder than `official`.

Types become JSON Schema: dict -> object, float -> number, tuple -> array, any -> string; an `enum` beside `array` is
its items'. Java and JavaScript arguments are texts in the language's own syntax, as in the official runs, and their
description says of which type. Known defects: see `docs/benchmarks.md`; rows whose own gold the official rule refuses
are tagged `solvable=no`; four irrelevance rows have no tool at all.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from ttsi.benchmarks import bfcl_literals
from ttsi.benchmarks.bfcl_rule import PYTHON, AstRule, language_of
from ttsi.benchmarks.conversion import Conversion, PublicBenchmark, call_row, solvable_tag, tool_row
from ttsi.benchmarks.jsonl import Row
from ttsi.benchmarks.type_schemas import JSON_TYPES
from ttsi.types import ToolCall

NON_LIVE = ("simple_python", "simple_java", "simple_javascript", "multiple", "parallel", "parallel_multiple")
LIVE = ("live_simple", "live_multiple", "live_parallel", "live_parallel_multiple")
NO_CALL = ("irrelevance", "live_irrelevance")
CATEGORIES = (*NON_LIVE, *LIVE, *NO_CALL, "live_relevance")
GROUPS: dict[str, tuple[str, ...]] = {
    "test": CATEGORIES,
    "non_live": NON_LIVE,
    "live": LIVE,
    "no_call": NO_CALL,
} | {category: (category,) for category in CATEGORIES}
"""Split -> the categories in it."""

TYPES = {**JSON_TYPES, "any": "string"}
KEPT = ("description", "default", "enum", "format", "maximum", "minItems", "maxItems")
"""Keywords that mean the same in BFCL and in JSON Schema."""
SYNTAX = {bfcl_literals.JAVA: "Java", bfcl_literals.JAVASCRIPT: "JavaScript"}


def convert(questions: list[Any], keys: Sequence[Any] = (), *, category: str) -> Iterator[Row]:
    """Rows of a category; relevance and irrelevance rows have no file of keys."""
    language = language_of(category)
    accepted_of = {key["id"]: key["ground_truth"] for key in keys}
    group = "live" if category.startswith("live_") else "non-live"
    for row in questions:
        [messages] = row["question"]
        functions = {function["name"]: function for function in row["function"]}
        accepted = [] if "relevance" in category else accepted_of[row["id"]]
        gold = [_gold(answer, functions, language) for answer in accepted]
        rule = AstRule(category, tuple(row["function"]), tuple(accepted))
        # In a relevance row some call is right, and the data do not have it.
        unknown = category == "live_relevance"
        solvable = unknown or rule([ToolCall(call["name"], call["arguments"]) for call in gold])
        yield {
            "id": row["id"],
            "messages": messages,
            "tools": [_tool(function, language) for function in row["function"]],
            "gold": None if unknown else gold,
            "tags": {"category": category, "group": group, **solvable_tag(solvable)},
            "official": {
                "rule": "bfcl", "category": category, "functions": row["function"], "accepted": accepted,
            },
        }  # fmt: skip


def _tool(function: Mapping[str, Any], language: str) -> Row:
    parameters = function["parameters"]
    make = _schema if language == PYTHON else lambda spec: _literal_schema(spec, language)
    note = "" if language == PYTHON else f" ({SYNTAX[language]})"
    properties = {name: make(spec) for name, spec in parameters["properties"].items()}
    return tool_row(function["name"], function["description"] + note, properties, list(parameters.get("required", ())))


def _schema(spec: Mapping[str, Any]) -> dict[str, Any]:
    """One parameter as JSON Schema.

    >>> _schema({"type": "array", "items": {"type": "float"}, "description": "Weights"})
    {'description': 'Weights', 'type': 'array', 'items': {'type': 'number'}}
    """
    kind = TYPES[spec["type"]]
    schema = {key: spec[key] for key in KEPT if key in spec} | {"type": kind}
    if "items" in spec:
        schema["items"] = _schema(spec["items"])
        if "enum" in schema:
            schema["items"]["enum"] = schema.pop("enum")
    if "properties" in spec:
        schema["properties"] = {name: _schema(inner) for name, inner in spec["properties"].items()}
        schema["required"] = list(spec.get("required", ()))
    return schema


def _literal_schema(spec: Mapping[str, Any], language: str) -> dict[str, Any]:
    """A Java or JavaScript parameter: a text, with what to write in its description."""
    kind, syntax = spec["type"], SYNTAX[language]
    inner = f" of {spec['items']['type']}" if "items" in spec else ""
    entries = f" with the entries {json.dumps(spec['properties'])}" if "properties" in spec else ""
    wanted = f"any {syntax} value" if kind == "any" else f"a {syntax} {kind}{inner}{entries}"
    note = f"Write {wanted} as text in {syntax} syntax."
    schema = {key: spec[key] for key in ("default", "enum") if key in spec}
    return {"type": "string", "description": f"{spec.get('description', '')} {note}".strip(), **schema}


def _gold(answer: Mapping[str, Any], functions: Mapping[str, Any], language: str) -> Row:
    """The call that takes the first accepted value of each argument."""
    [(name, accepted)] = answer.items()
    parameters = functions[name]["parameters"]
    listed, required = parameters["properties"], parameters.get("required", ())
    arguments = {
        key: _first_value(values)
        for key, values in accepted.items()
        if not _left_out(values, unlisted=key not in listed) or key in required
    }
    if language != PYTHON:
        arguments = {key: _literal(value, listed[key], language) for key, value in arguments.items()}
    return call_row(name, arguments)


def _left_out(values: Sequence[Any], unlisted: bool) -> bool:
    """Whether to leave the argument out: no other value is accepted, or the schema does not list it."""
    return not values or ("" in values and (unlisted or all(value in ("", None) for value in values)))


def _first_value(values: Sequence[Any]) -> Any:
    """The first accepted value; a dictionary, alone or in a list, has accepted values of its own, one level deep."""
    value = next((one for one in values if one not in ("", None)), values[0] if values else None)
    if isinstance(value, list):
        return [_first_entries(item) if isinstance(item, dict) else item for item in value]
    return _first_entries(value) if isinstance(value, dict) else value


def _first_entries(accepted: Mapping[str, Any]) -> dict[str, Any]:
    return {key: first for key, values in accepted.items() for first in [v for v in values if v != ""][:1]}


def _literal(value: Any, spec: Mapping[str, Any], language: str) -> str:
    return bfcl_literals.write(value, spec["type"], language, spec.get("items", {}).get("type"))


def _conversion(category: str) -> Conversion:
    file = f"BFCL_v4_{category}.json"
    files = (file,) if "relevance" in category else (file, f"possible_answer/{file}")
    return Conversion("bfcl", files, partial(convert, category=category), "BFCL V4", lines=True)


BFCL = PublicBenchmark(
    "bfcl",
    "BFCL V4, 3,641 single-turn rows (--split live, parallel, ... for parts); ttsi data get bfcl",
    {split: tuple(map(_conversion, categories)) for split, categories in GROUPS.items()},
)
