r"""ToolAlpaca: all calls that a question about an unknown API needs.

Source: ToolAlpaca, arXiv:2306.05301, github.com/tangqiaoyu/ToolAlpaca at 18906999, data/eval_real.json and
eval_simulated.json (Apache-2.0; written by OpenAI models). `toolalpaca` is the 114 questions about 11 real APIs, which
the paper (arXiv:2510.07841) presumably uses; github.com/MadeAgents/Hammer has the same questions, tools and answers.
`toolalpaca-simulated` is the 100 questions about 10 simulated APIs.

Inputs: a data folder with `toolalpaca/eval_real.json[.gz]` or `toolalpaca/eval_simulated.json[.gz]`. Outputs: a
`Benchmark`. An API, made up in the same form (its OpenAPI text and other fields are not read):

    {"Name": "Pool",
     "Function_Description": {"bookLane": "Books a lane.\nParameters: {\"lane\": \"Required. integer. The lane.\"}\n
      Output: ...", "components": "..."},
     "Instructions": ["Lane 2, please."],
     "Golden_Answers": [[{"Action": "bookLane", "Action_Input": "{\"lane\": 2}"}]]}

Parameters are read from their one-line texts: `Required.` -> required, `integer`, `number`, `boolean` and `string` as
they are, `Array[string]` -> array of strings, `Object` -> object, `Array[Object{...}]` -> array of objects, whose
fields stay described in words. The pseudo function `components` is no tool. Calls count without order.

Official metric: a GPT-4 judge reads the whole trajectory, which is not done here. In its place `official` is the
lenient rule without the arguments that hold a third-party key, which is in no question (`Keyless` in
`ttsi.benchmarks.official`). Known defects: 45 golds of the real set need such a key (tag key=needed), 4 are malformed
(`"symbols": "symbols": ...`) and mended, and 6 rows call a tool that is not offered (tag solvable=no). Of the simulated
rows 34 cannot be met in one turn (solvable=no): they ask back (getDetails, 8 calls), do something "[Optional]" (1) or
have gold values that stand for earlier results, `${id from search}` (32 calls), which are kept as text.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from functools import partial
from typing import Any

from ttsi.benchmarks.conversion import Conversion, PublicBenchmark, call_row, message_row, solvable_tag, tool_row
from ttsi.benchmarks.jsonl import Row
from ttsi.benchmarks.type_schemas import schema_of

KEYS = frozenset({"access_key", "api_key", "appid"})
"""The arguments that hold a key, by the names they have in the 45 golds that need one."""
NO_TOOL = "components"

_PARAMETERS = re.compile(r"(?:^|\n)Parameters: (\{.*?\})(?:\nOutput:|$)", re.DOTALL)
_PARAMETER = re.compile(r"(Required\. )?(Array\[Object\{.*\}[. ]*\]|[\w\[\]]+)\.\s*(.*)", re.DOTALL)
_PLACEHOLDER = re.compile(r'"?\$\{([^}",]*)\}?"?')
_TWICE = re.compile(r'("\w+": )\1')
_UNSOLVABLE = re.compile(r"\$\{|\{(start|end) date\}")


def convert(apis: list[Any], prefix: str) -> Iterator[Row]:
    """Rows from APIs with their questions and golds; ids start with `prefix`."""
    number = 0
    for api in apis:
        functions = api["Function_Description"].items()
        tools = [_tool(name, text) for name, text in functions if name != NO_TOOL]
        offered = {tool["name"] for tool in tools}
        for question, steps in zip(api["Instructions"], api["Golden_Answers"], strict=True):
            number += 1
            gold = [_call(step["Action"], step["Action_Input"]) for step in steps]
            solvable = all(
                call["name"] in offered and not _UNSOLVABLE.search(json.dumps(call["arguments"])) for call in gold
            )
            yield {
                "id": f"{prefix}-{number:03d}",
                "messages": [message_row("user", question)],
                "tools": tools,
                "gold": gold,
                "tags": {
                    "kind": "single" if len(gold) == 1 else "several",
                    "key": "needed" if any(KEYS & call["arguments"].keys() for call in gold) else "no",
                    **solvable_tag(solvable),
                },
                "official": {"rule": "keyless", "ignored": sorted(KEYS)},
            }


def _call(name: str, arguments: str) -> Row:
    """A gold call; a placeholder or a doubled name, which are no JSON, are mended.

    >>> _call("f", '{"id": ${id from g}, "of": "of": ["a"]}')["arguments"]
    {'id': '${id from g}', 'of': ['a']}
    """
    text = _TWICE.sub(r"\1", _PLACEHOLDER.sub(lambda match: json.dumps("${" + match[1] + "}"), arguments))
    return call_row(name, json.loads(text))


def _tool(name: str, text: str) -> Row:
    """A function from its description, whose line "Parameters:" is JSON.

    >>> tool = _tool("f", 'Does it.\\nParameters: {"n": "Required. integer. How often."}\\nOutput: OK.')
    >>> tool["parameters"]["properties"], tool["parameters"]["required"]
    ({'n': {'type': 'integer', 'description': 'How often.'}}, ['n'])
    """
    line = _PARAMETERS.search(text)
    if line is None:
        raise ValueError(f"{name} has no line of parameters")
    parsed = {key: _PARAMETER.fullmatch(words) for key, words in json.loads(line[1]).items()}
    properties = {key: _schema(key, match) for key, match in parsed.items()}
    required = [key for key, match in parsed.items() if match and match[1]]
    return tool_row(name, text[: line.start()].strip(), properties, required)


def _schema(key: str, line: re.Match[str] | None) -> dict[str, Any]:
    if line is None:
        raise ValueError(f"the type of {key} is not in the documented form")
    if line[2].startswith("Array[Object"):
        # Its fields are described in words only, so the words stay.
        return {"type": "array", "items": {"type": "object"}, "description": f"{line[2]}. {line[3]}"}
    return {**schema_of(line[2], strict=True), **({"description": line[3]} if line[3] else {})}


def _conversion(file: str, prefix: str) -> tuple[Conversion]:
    return (Conversion("toolalpaca", (file,), partial(convert, prefix=prefix), f"ToolAlpaca's {file}"),)


_SIMULATED = {"simulated": _conversion("eval_simulated.json", "toolalpaca-simulated")}
REAL = PublicBenchmark(
    "toolalpaca",
    "ToolAlpaca, 114 questions about 11 real APIs, keys ignored; ttsi data get toolalpaca",
    {"test": _conversion("eval_real.json", "toolalpaca"), **_SIMULATED},
)
SIMULATED = PublicBenchmark(
    "toolalpaca-simulated",
    "ToolAlpaca, 100 questions about 10 simulated APIs; ttsi data get toolalpaca",
    _SIMULATED,
)
