"""How often are the calls to one of five tools right? (Seal-Tools)

Source: Seal-Tools, arXiv:2405.08355, github.com/fairyshine/Seal-Tools at commit ce753ecd (Apache-2.0; its texts were
written by ChatGPT). `seal-tools-in` and `seal-tools-out` are its whole test splits: 700 rows of domains that its
training split has, 654 of others, with one to six calls; `seal-tools-dev` are the 700 rows to choose settings on.
`sealtool` is the cut of it in github.com/MadeAgents/Hammer (Apache-2.0), `data/test/original/sealtool.json`: the 294
test rows with one call, 200 of known domains and 94 of new ones. 294 is the size that the paper (arXiv:2510.07841)
reports for SealTool, so this is most likely its test set. `sealtool-dev` is the 200 single-call rows of dev.

Inputs: a data folder with `hammer-eval/sealtool.json[.gz]` (or the file itself), and for the others
`seal-tools/SPLIT.jsonl[.gz]` and `seal-tools/dataset_for_finetune/SPLIT.json[.gz]`, whose prompts quote the five tools
on offer. Outputs: a `Benchmark`, tagged by kind (single, multi) and, for whole splits, by nested and solvable. A row of
Hammer's cut and one of a split, both made up in their form:

    {"query": "Is the pool open on Sunday?",
     "tools": [{"name": "getPoolHours", "description": "...",
                "parameters": {"day": {"type": "str", "description": "...", "required": true}}, "required": ["day"]}],
     "answers": [{"tool": "getPoolHours", "parameters": {"day": "Sunday"}}]}
    {"id": "dev-easy-1", "query": "Is the pool open on Sunday?",
     "calling": [{"api": "getPoolHours", "parameters": {"day": "Sunday"}, "responses": ["API_call_0"]}]}

A nested call has `API_call_k` for a value, the k-th response counted over the row's calls so far. Models cannot know
that convention from the tools, and the question does not say it; it is left as it is, for the comparison's sake.

Types become JSON Schema: str -> string, int -> integer, float -> number, bool -> boolean, list -> array,
dict -> object; `example(s)`, `example_values`, `default` and `choices` become `examples`, `default` and `enum`, a
`unit` joins the description.

Metric: upstream counts micro F1 of names and of arguments over the whole file, values compared as text, and the share
of answers it can read (`ttsi.benchmarks.micro_f1`; `official_...` in a summary's metrics); the paper reports a share of
rows. Here a row is right when its calls are right in any order, values compared as text (`lenient`)
for the headline, `strict` beside it. Known defects: many gold values of int and float parameters are strings (68 in
Hammer's cut), so `strict` and a schema-constrained answer cannot agree on these rows; 23 golds of Hammer's cut have no
arguments; some values are not in the query; 2, 3 and 3 rows of in, out and dev lack a gold tool (`solvable=no`).
"""

from __future__ import annotations

import ast
import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from ttsi.benchmarks import Benchmark, Sample, jsonl, places
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
EXAMPLES = ("example", "examples", "example_values")
"""What upstream calls the examples of a parameter."""
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
    path = places.find(data_dir, "hammer-eval", "sealtool.json")
    data = jsonl.read_bytes(path)
    samples = tuple(_test_sample(i, row, path) for i, row in enumerate(_json(data, path), start=1))
    return Benchmark("sealtool", samples, jsonl.sha256(data), str(path), matcher="lenient")


def load_dev(data_dir: Path | None = None, split: str = "dev") -> Benchmark:
    """The 200 single-call dev rows, whatever the split asked for: tuning data.

    Raises:
        DataError: the data are missing or not in the known form.
    """
    whole = load_all_dev(data_dir)
    single = tuple(sample for sample in whole.samples if sample.tags["kind"] == "single")
    return replace(whole, name="sealtool-dev", samples=single)


def load_in(data_dir: Path | None = None, split: str = "test") -> Benchmark:
    """The 700 test rows of domains that the training split has."""
    return _whole("seal-tools-in", "test_in_domain", data_dir)


def load_out(data_dir: Path | None = None, split: str = "test") -> Benchmark:
    """The 654 test rows of other domains."""
    return _whole("seal-tools-out", "test_out_domain", data_dir)


def load_all_dev(data_dir: Path | None = None, split: str = "dev") -> Benchmark:
    """The 700 dev rows, whatever the split asked for: tuning data."""
    return _whole("seal-tools-dev", "dev", data_dir)


def _whole(name: str, split: str, data_dir: Path | None) -> Benchmark:
    path = places.find(data_dir, "seal-tools", f"{split}.jsonl")
    shown_path = places.find(data_dir, "seal-tools", f"dataset_for_finetune/{split}.json")
    data, shown_data = jsonl.read_bytes(path), jsonl.read_bytes(shown_path)
    rows = [_json(line, path) for line in data.splitlines()]
    try:
        prompts = {row["id"]: row["conversations"][0]["value"] for row in _json(shown_data, shown_path)}
        samples = tuple(_whole_sample(row, prompts[row["id"]], shown_path) for row in rows)
    except (KeyError, TypeError) as error:
        raise DataError(f"{path} or {shown_path}: {error!r}; this is not Seal-Tools") from None
    return Benchmark(name, samples, jsonl.sha256(data + shown_data), str(path), matcher="lenient")


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


def _whole_sample(row: Mapping[str, Any], prompt: str, path: Path) -> Sample:
    tools = tuple(_tool(t["api_name"], t["api_description"], t) for t in _shown_tools(prompt, path))
    gold = tuple(ToolCall(call["api"], call["parameters"]) for call in row["calling"])
    shown = {tool.name for tool in tools}
    tags = {
        "kind": "single" if len(gold) == 1 else "multi",
        "nested": "yes" if any("API_call_" in json.dumps(call.arguments) for call in gold) else "no",
        "solvable": "yes" if all(call.name in shown for call in gold) else "no",
    }
    return Sample(Input(row["id"], (Message("user", row["query"]),), tools), gold, tags)


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
    examples = next((parameter[key] for key in EXAMPLES if key in parameter), None)
    if examples is not None:
        schema["examples"] = examples if isinstance(examples, list) else [examples]
    if "default" in parameter:
        schema["default"] = parameter["default"]
    if "choices" in parameter:
        schema["enum"] = list(parameter["choices"])
    return schema
