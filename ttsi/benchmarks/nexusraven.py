"""NexusRaven: one call of a Python function, its defaults filled in.

Source: github.com/nexusflowai/NexusRaven at f3288276, and the hub's Nexusflow/NexusRaven_API_evaluation. Its data are
CC-BY-NC-4.0, for non-commercial use only (`Benchmark.notice`). The 318 standard queries about 65 functions: CVE and CPE
search 78, EmailRep 38, VirusTotal 151, ToolAlpaca 51. The paper (arXiv:2510.07841) reports this set as NexusRaven.

Inputs: a data folder with `nexusraven/derived_standardized_queries.json[.gz]` and `derived_standardized_api_list.json
[.gz]` beside it, in the hub's schema. Outputs: a `Benchmark`. A sample and a function, made up in the same form:

    {"dataset": "pool", "prompt": "Two lanes for me, please.", "python_function_name": "book_lanes",
     "python_args_dict": {"lanes": 2}, "context_functions": ["book_lanes", "get_hours"]}
    {"dataset": "pool", "name": "book_lanes", "description": "Books lanes.", "args_dicts": [
     {"name": "lanes", "type": "int", "required": true, "default": "None", "description": ""}]}

The hub's tables `standardized_queries` and `standardized_api_list`, saved as JSON lists under these names, have the
same form but for `python_args_dict`, which is JSON text there and is read, too.

Types become JSON Schema: str -> string, int -> integer, bool -> boolean, list -> array, dict -> object. The CVE and CPE
functions declare no types; theirs are those of their docstrings, `limit (int): ...`, dates as string. Defaults are
Python literals or `JSON:...`; all here are None.

Official metric: accuracy. The call is run against a stub that returns its name and all arguments, positional ones bound
and defaults filled in, and must equal what the gold returns (`ttsi.benchmarks.official.NexusRaven`). Calls are read in
the model's own format, where every argument has a name; an answer in Python, as NexusRaven's own models write it, is no
call here. Known defects: 8 ToolAlpaca rows pass None for typed arguments, which schema-constrained answers cannot; one
gold holds a literal "${string}" (tag solvable=no). Prompts have up to 17,000 characters. The ToolAlpaca rows are also
rows of ToolAlpaca's simulated set.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from ttsi.benchmarks.conversion import Conversion, PublicBenchmark, call_row, message_row, solvable_tag, tool_row
from ttsi.benchmarks.jsonl import Row
from ttsi.benchmarks.type_schemas import JSON_TYPES

NOTICE = "NexusRaven's data are licensed CC-BY-NC-4.0: for non-commercial use only"
PLACEHOLDER = "${"
_DOCUMENTED = re.compile(r"^\s*(\w+) \((\w+)", re.MULTILINE)


def convert(queries: list[Any], functions: list[Any]) -> Iterator[Row]:
    """Rows from the queries and the functions that they name."""
    tools = {function["name"]: _tool(function) for function in functions}
    for number, row in enumerate(queries, start=1):
        arguments = row["python_args_dict"]
        arguments = json.loads(arguments) if isinstance(arguments, str) else arguments
        yield {
            "id": f"nexusraven-{number:03d}",
            "messages": [message_row("user", row["prompt"])],
            "tools": [tools[name] for name in row["context_functions"]],
            "gold": [call_row(row["python_function_name"], arguments)],
            "tags": {"domain": row["dataset"], **solvable_tag(PLACEHOLDER not in json.dumps(arguments))},
            "official": "nexusraven",
        }


def _tool(function: Mapping[str, Any]) -> Row:
    documented = dict(_DOCUMENTED.findall(function["description"]))
    parameters = function["args_dicts"]
    properties = {p["name"]: _schema(p, documented.get(p["name"], "")) for p in parameters}
    required = [p["name"] for p in parameters if p["required"]]
    return tool_row(function["name"], function["description"].strip(), properties, required)


def _schema(parameter: Mapping[str, Any], documented: str) -> dict[str, Any]:
    """One parameter as JSON Schema.

    >>> _schema({"type": "None", "description": ": How many.", "required": False, "default": "None"}, "int")
    {'type': 'integer', 'description': 'How many.', 'default': None}
    """
    kind = parameter["type"] if parameter["type"] != "None" else documented
    schema: dict[str, Any] = {"type": JSON_TYPES[kind]}
    if text := parameter["description"].lstrip(": "):
        schema["description"] = text
    if not parameter["required"]:
        schema["default"] = _default(parameter["default"])
    return schema


def _default(text: str) -> Any:
    """A default as upstream writes it.

    >>> _default("None"), _default("JSON:[1, null]")
    (None, [1, None])
    """
    marked, _, value = text.partition("JSON:")
    return ast.literal_eval(text) if marked else json.loads(value)


_FILES = ("derived_standardized_queries.json", "derived_standardized_api_list.json")
NEXUSRAVEN = PublicBenchmark(
    "nexusraven",
    "NexusRaven, 318 calls of 65 functions; non-commercial; ttsi data import nexusraven DIR",
    {"test": (Conversion("nexusraven", _FILES, convert, "NexusRaven's standardized queries"),)},
    NOTICE,
)
