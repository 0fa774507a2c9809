"""How often is a single call to one of five tools right? (Seal-Tools)

Source: Seal-Tools, arXiv:2405.08355, github.com/fairyshine/Seal-Tools (Apache-2.0; its texts were written by ChatGPT).
`sealtool` is the cut of it in github.com/MadeAgents/Hammer (Apache-2.0), `data/test/original/sealtool.json`: the 294
test rows with one call, 200 of known domains and 94 of new ones. 294 is the size that the paper (arXiv:2510.07841)
reports for SealTool, so this is most likely its test set. `sealtool-dev` is the 200 single-call rows of Seal-Tools'
own dev split: choose settings there, never on the test rows.

Inputs: a data folder with `hammer-eval/sealtool.json[.gz]` (or the file itself), and for dev
`seal-tools/dev.jsonl[.gz]` and `seal-tools/dataset_for_finetune/dev.json[.gz]`. Outputs: a `Benchmark`. A sample, made
up in the same form:

    {"query": "Is the pool open on Sunday?",
     "tools": [{"name": "getPoolHours", "description": "...",
                "parameters": {"day": {"type": "str", "description": "...", "required": true}}, "required": ["day"]}],
     "answers": [{"tool": "getPoolHours", "parameters": {"day": "Sunday"}}]}

Types become JSON Schema: str -> string, int -> integer, float -> number, bool -> boolean, list -> array,
dict -> object; `example(s)`, `default` and `choices` become `examples`, `default` and `enum`, a `unit` joins the
description.

Metric: upstream counts micro F1 of names and of arguments over the whole file, values compared as text; the paper
reports a share of rows. Here a row is right when its call is right, values compared as text (`lenient`) for the
headline, `strict` beside it. Known defects: 68 gold values of int and float parameters are strings, so `strict` and a
schema-constrained answer cannot agree on these rows; 23 golds have no arguments; some values are not in the query.
"""

from __future__ import annotations

import ast
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ttsi.benchmarks import Benchmark, Sample, jsonl
from ttsi.errors import ConfigError, DataError, unknown_name
from ttsi.types import Input, Message, Tool, ToolCall

TYPES = {
    "str": "string",
    "int": "integer",
    "float": "number",
    "bool": "boolean",
    "list": "array",
    "dict": "object",
}
SEEN_DOMAINS = 200
"""So many rows of the test file come first and are of domains that Seal-Tools' training split has."""


def load(data_dir: Path | None = None, split: str = "test") -> Benchmark:
    """The 294 test rows.

    Args:
        data_dir: the folder with the data.
        split: "test" or "dev".

    Raises:
        ConfigError: there is no such split.
        DataError: the data are missing or not in the known form.
    """
    if split == "dev":
        return load_dev(data_dir)
    if split != "test":
        raise ConfigError(unknown_name("split of sealtool", split, ("test", "dev")))
    path = _find(data_dir, "hammer-eval", "sealtool.json")
    data = jsonl.read_bytes(path)
    samples = tuple(_test_sample(i, row, path) for i, row in enumerate(_json(data, path), start=1))
    return Benchmark("sealtool", samples, jsonl.sha256(data), str(path), matcher="lenient")


def load_dev(data_dir: Path | None = None, split: str = "dev") -> Benchmark:
    """The 200 single-call dev rows, whatever the split asked for: tuning data.

    Raises:
        DataError: the data are missing or not in the known form.
    """
    path = _find(data_dir, "seal-tools", "dev.jsonl")
    shown_path = _find(data_dir, "seal-tools", "dataset_for_finetune/dev.json")
    data, shown_data = jsonl.read_bytes(path), jsonl.read_bytes(shown_path)
    prompts = {row["id"]: row["conversations"][0]["value"] for row in _json(shown_data, shown_path)}
    rows = [_json(line, path) for line in data.splitlines()]
    single = [row for row in rows if len(row["calling"]) == 1]
    samples = tuple(_dev_sample(row, prompts[row["id"]], shown_path) for row in single)
    return Benchmark("sealtool-dev", samples, jsonl.sha256(data + shown_data), str(path), matcher="lenient")


def _find(data_dir: Path | None, folder: str, name: str) -> Path:
    if data_dir is None:
        raise DataError(f"Seal-Tools does not ship with ttsi: pass --data DIR, the folder with {folder}/{name}")
    places = [data_dir / inner / (name + end) for inner in (folder, "") for end in ("", ".gz")]
    for place in places:
        if place.is_file():
            return place
    raise DataError(f"{data_dir} has no {folder}/{name}[.gz]: pass --data DIR, the folder that holds {folder}")


def _json(data: bytes, path: Path) -> Any:
    try:
        return json.loads(data)
    except ValueError as error:
        raise DataError(f"{path} is not the expected JSON ({error}); fetch it again") from None


def _test_sample(number: int, row: Mapping[str, Any], path: Path) -> Sample:
    try:
        tools = tuple(_tool(t["name"], t["description"], t) for t in row["tools"])
        gold = tuple(ToolCall(a["tool"], a["parameters"]) for a in row["answers"])
        item = Input(f"sealtool-{number:03d}", (Message("user", row["query"]),), tools)
    except (KeyError, TypeError) as error:
        raise DataError(f"{path}, row {number}: {error!r}; this is not Hammer's sealtool.json") from None
    return Sample(item, gold, {"kind": "single", "domain_seen": "yes" if number <= SEEN_DOMAINS else "no"})


def _dev_sample(row: Mapping[str, Any], prompt: str, path: Path) -> Sample:
    tools = tuple(_tool(t["api_name"], t["api_description"], t) for t in _shown_tools(prompt, path))
    gold = tuple(ToolCall(call["api"], call["parameters"]) for call in row["calling"])
    return Sample(Input(row["id"], (Message("user", row["query"]),), tools), gold, {"kind": "single"})


def _shown_tools(prompt: str, path: Path) -> list[Mapping[str, Any]]:
    """The five candidates, which the file quotes in its prompt as a Python literal."""
    text = prompt.partition("api_list = ")[2].partition("\ntask_instruction = ")[0]
    try:
        shown: list[Mapping[str, Any]] = ast.literal_eval(text)
    except (SyntaxError, ValueError) as error:
        raise DataError(f"{path}: a candidate list cannot be read ({error}); fetch the file again") from None
    return shown


def _tool(name: str, description: str, row: Mapping[str, Any]) -> Tool:
    parameters = row["parameters"]
    required = [key for key in parameters if key in row.get("required", ()) or parameters[key].get("required")]
    properties = {key: _schema(value) for key, value in parameters.items()}
    return Tool(name, description, {"type": "object", "properties": properties, "required": required})


def _schema(parameter: Mapping[str, Any]) -> dict[str, Any]:
    """One parameter of Seal-Tools as JSON Schema.

    >>> _schema({"type": "float", "description": "Weight", "unit": "kg", "example": "2.5"})
    {'type': 'number', 'description': 'Weight (kg)', 'examples': ['2.5']}
    """
    unit = f" ({parameter['unit']})" if "unit" in parameter else ""
    schema = {"type": TYPES[parameter["type"]], "description": parameter.get("description", "") + unit}
    examples = parameter.get("example", parameter.get("examples"))
    if examples is not None:
        schema["examples"] = examples if isinstance(examples, list) else [examples]
    if "default" in parameter:
        schema["default"] = parameter["default"]
    if "choices" in parameter:
        schema["enum"] = list(parameter["choices"])
    return schema
