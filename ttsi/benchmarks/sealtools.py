"""Seal-Tools: one to six calls to five tools on offer.

Source: Seal-Tools, arXiv:2405.08355, github.com/fairyshine/Seal-Tools at commit ce753ecd (Apache-2.0; its texts were
written by ChatGPT). `seal-tools-in` and `seal-tools-out` are its whole test splits: 700 rows of domains that its
training split has, 654 of others, with one to six calls; `seal-tools-dev` are 636 rows to choose settings on.
`sealtool` is the cut of it in github.com/MadeAgents/Hammer (Apache-2.0), `data/test/original/sealtool.json`: the 294
test rows with one call, 200 of known domains and 94 of new ones. 294 is the size that the paper (arXiv:2510.07841)
reports for SealTool, so this is most likely its test set. `sealtool-dev` is 136 single-call rows of dev.

`sealtool-sample` ships with the package: 64 of the 200 single-call rows of dev, drawn by a seed, in the order of the
draw, for the first run of a newcomer. Nothing else may use them, so every benchmark and pool made from dev leaves them
out. Licence and changes stand beside the file: `data/NOTICE`.

Inputs: a data folder with `hammer-eval/sealtool.json[.gz]` (or the file itself), and for the others
`seal-tools/SPLIT.jsonl[.gz]` and `seal-tools/dataset_for_finetune/SPLIT.json[.gz]`, whose prompts quote the five tools
on offer. Outputs: a `Benchmark`; of downloaded data tagged by kind (single, multi) and, for whole splits, by nested and
solvable. A row of Hammer's cut and one of a split, both made up in their form:

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
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from ttsi.benchmarks import Benchmark
from ttsi.benchmarks.conversion import Conversion, PublicBenchmark, call_row, message_row, solvable_tag, tool_row
from ttsi.benchmarks.data_files import parse_json, read_bytes, sha256
from ttsi.benchmarks.jsonl import Row, read_converted
from ttsi.benchmarks.type_schemas import JSON_TYPES
from ttsi.errors import ConfigError, unknown_name

EXAMPLES = ("example", "examples", "example_values")
"""What upstream calls the examples of a parameter."""
SEEN_DOMAINS = 200
"""So many rows of the test file come first and are of domains that Seal-Tools' training split has."""
SAMPLE = Path(__file__).parent / "data" / "sealtool-sample.jsonl"
"""The rows that ship, in the JSONL form."""


def convert_hammer(rows: list[Any]) -> Iterator[Row]:
    """Rows of Hammer's cut."""
    for number, row in enumerate(rows, start=1):
        yield {
            "id": f"sealtool-{number:03d}",
            "messages": [message_row("user", row["query"])],
            "tools": [_tool(tool["name"], tool["description"], tool) for tool in row["tools"]],
            "gold": [call_row(answer["tool"], answer["parameters"]) for answer in row["answers"]],
            "tags": {"kind": "single", "domain_seen": "yes" if number <= SEEN_DOMAINS else "no"},
        }


def convert(rows: list[Any], prompts: list[Any]) -> Iterator[Row]:
    """Rows of a whole split; the five tools on offer stand in the prompts for fine-tuning."""
    prompt_of = {row["id"]: row["conversations"][0]["value"] for row in prompts}
    for row in rows:
        offered = _offered_tools(prompt_of[row["id"]])
        names = {tool["api_name"] for tool in offered}
        gold = [call_row(call["api"], call["parameters"]) for call in row["calling"]]
        yield {
            "id": row["id"],
            "messages": [message_row("user", row["query"])],
            "tools": [_tool(tool["api_name"], tool["api_description"], tool) for tool in offered],
            "gold": gold,
            "tags": {
                "kind": "single" if len(gold) == 1 else "multi",
                "nested": "yes" if any("API_call_" in json.dumps(call["arguments"]) for call in gold) else "no",
                **solvable_tag(all(call["name"] in names for call in gold)),
            },
        }


def load_sample(split: str = "test") -> Benchmark:
    """Seal-Tools, 64 single-call dev rows that ship with the package; used for nothing else

    Args:
        split: "test", since there is one alone.

    Raises:
        ConfigError: there is no such split.
    """
    if split != "test":
        raise ConfigError(unknown_name("split of sealtool-sample", split, ("test",)))
    data = read_bytes(SAMPLE)
    # As converted rows, so that a model is shown the very tools that it is shown in the other rows of dev.
    samples = tuple(read_converted(row) for row in parse_json(data, SAMPLE, lines=True))
    return Benchmark("sealtool-sample", samples, sha256(data), f"ttsi/benchmarks/data/{SAMPLE.name}", "lenient")


def sample_ids() -> frozenset[str]:
    """The ids of the rows that ship, which the same rows have in dev."""
    return frozenset(sample.input.id for sample in load_sample().samples)


def _offered_tools(prompt: str) -> list[Mapping[str, Any]]:
    """The five candidates, which the file quotes in its prompt as a Python literal."""
    tools: list[Mapping[str, Any]] = ast.literal_eval(
        prompt.partition("api_list = ")[2].partition("\ntask_instruction = ")[0]
    )
    return tools


def _tool(name: str, description: str, row: Mapping[str, Any]) -> Row:
    parameters = row["parameters"]
    required = [key for key in parameters if key in row.get("required", ()) or parameters[key].get("required")]
    return tool_row(name, description, {key: _schema(value) for key, value in parameters.items()}, required)


def _schema(parameter: Mapping[str, Any]) -> dict[str, Any]:
    """One parameter of Seal-Tools as JSON Schema.

    >>> _schema({"type": "float", "description": "Weight", "unit": "kg", "example": "2.5"})
    {'type': 'number', 'description': 'Weight (kg)', 'examples': ['2.5']}
    """
    unit = f" ({parameter['unit']})" if "unit" in parameter else ""
    schema = {"type": JSON_TYPES[parameter["type"]], "description": parameter.get("description", "") + unit}
    examples = next((parameter[key] for key in EXAMPLES if key in parameter), None)
    if examples is not None:
        schema["examples"] = examples if isinstance(examples, list) else [examples]
    if "default" in parameter:
        schema["default"] = parameter["default"]
    if "choices" in parameter:
        schema["enum"] = list(parameter["choices"])
    return schema


def _conversion(file: str) -> Conversion:
    return Conversion("seal-tools", (f"{file}.jsonl", f"dataset_for_finetune/{file}.json"), convert, "Seal-Tools")


_HAMMER = Conversion("hammer-eval", ("sealtool.json",), convert_hammer, "Hammer's sealtool.json")
_DEV_ROWS = replace(_conversion("dev"), excluded_ids=sample_ids)
_DEV_SINGLE = replace(_DEV_ROWS, only={"kind": "single"})
_DEV = {"dev": (_DEV_ROWS,)}
SEALTOOL = PublicBenchmark(
    "sealtool",
    "Seal-Tools, 294 single-call test rows (Hammer's cut); ttsi data get hammer-eval",
    {"test": (_HAMMER,), "dev": (_DEV_SINGLE,)},
)
SEALTOOL_DEV = PublicBenchmark(
    "sealtool-dev",
    "Seal-Tools, 136 single-call dev rows, for choosing settings; ttsi data get seal-tools",
    {"dev": (_DEV_SINGLE,)},
)
IN_DOMAIN = PublicBenchmark(
    "seal-tools-in",
    "Seal-Tools, 700 test rows of known domains, one to six calls; ttsi data get seal-tools",
    {"test": (_conversion("test_in_domain"),)},
)
OUT_DOMAIN = PublicBenchmark(
    "seal-tools-out",
    "Seal-Tools, 654 test rows of new domains; ttsi data get seal-tools",
    {"test": (_conversion("test_out_domain"),)},
)
DEV = PublicBenchmark(
    "seal-tools-dev", "Seal-Tools, 636 dev rows, for choosing settings; ttsi data get seal-tools", _DEV
)
DEV_POOL = PublicBenchmark(
    "seal-tools-dev", "Seal-Tools' 636 dev rows; only for tests other than seal-tools-dev and sealtool-dev", _DEV
)
