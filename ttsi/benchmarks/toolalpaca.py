r"""How often are all the calls right that a question about an unknown API needs? (ToolAlpaca)

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
fields stay told in words. The pseudo function `components` is no tool. Calls count without order.

Official metric: a GPT-4 judge reads the whole trajectory, which is not done here. In its place `official` is the
lenient rule without the arguments that hold a third-party key, which no question tells (`Keyless` in
`ttsi.benchmarks.official`). Known defects: 45 golds of the real set need such a key (tag key=needed), 4 are malformed
(`"symbols": "symbols": ...`) and mended, and 6 rows call a tool that is not offered (tag solvable=no). Of the simulated
rows 34 cannot be met in one turn (solvable=no): they ask back (getDetails, 8 calls), do something "[Optional]" (1) or
have gold values that stand for earlier results, `${id from search}` (32 calls), which are kept as text.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ttsi.benchmarks import Benchmark, Sample, places
from ttsi.benchmarks.files import read_json
from ttsi.benchmarks.official import Keyless
from ttsi.errors import ConfigError, DataError, unknown_name
from ttsi.types import Input, Message, Tool, ToolCall

SPLITS = {"test": "real", "simulated": "simulated"}
KEYS = frozenset({"access_key", "api_key", "appid"})
"""The arguments that hold a key, by the names they have in the 45 golds that need one."""
NO_TOOL = "components"
TYPES: Mapping[str, Mapping[str, Any]] = {
    "string": {"type": "string"},
    "integer": {"type": "integer"},
    "number": {"type": "number"},
    "boolean": {"type": "boolean"},
    "Object": {"type": "object"},
    "Array[string]": {"type": "array", "items": {"type": "string"}},
}

_PARAMETERS = re.compile(r"(?:^|\n)Parameters: (\{.*?\})(?:\nOutput:|$)", re.DOTALL)
_PARAMETER = re.compile(r"(Required\. )?(Array\[Object\{.*\}[. ]*\]|[\w\[\]]+)\.\s*(.*)", re.DOTALL)
_PLACEHOLDER = re.compile(r'"?\$\{([^}",]*)\}?"?')
_TWICE = re.compile(r'("\w+": )\1')
_UNMEETABLE = re.compile(r"\$\{|\{(start|end) date\}")


def load(data_dir: Path | None = None, split: str = "test") -> Benchmark:
    """The questions about real APIs.

    Args:
        data_dir: the folder with the data.
        split: "test", or "simulated" for the other set.

    Raises:
        ConfigError: there is no such split.
        DataError: the data are missing or not in the known form.
    """
    if split not in SPLITS:
        raise ConfigError(unknown_name("split of toolalpaca", split, SPLITS))
    kind = SPLITS[split]
    path = places.find(data_dir, "toolalpaca", f"eval_{kind}.json")
    [apis], checksum = read_json([path])
    name = "toolalpaca" if kind == "real" else "toolalpaca-simulated"
    try:
        rows = list(_rows(apis))
        samples = tuple(_sample(f"{name}-{number:03d}", *row) for number, row in enumerate(rows, start=1))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise DataError(f"{path}: {error!r}; this is not ToolAlpaca's {path.name}") from None
    return Benchmark(name, samples, checksum, str(path), matcher="official")


def load_simulated(data_dir: Path | None = None, split: str = "simulated") -> Benchmark:
    """The questions about simulated APIs, whatever the split asked for; otherwise as `load`."""
    return load(data_dir, "simulated")


def _rows(apis: list[Any]) -> Iterator[tuple[str, tuple[Tool, ...], tuple[ToolCall, ...]]]:
    for api in apis:
        functions = api["Function_Description"].items()
        tools = tuple(_tool(name, text) for name, text in functions if name != NO_TOOL)
        for question, steps in zip(api["Instructions"], api["Golden_Answers"], strict=True):
            yield question, tools, tuple(_call(step["Action"], step["Action_Input"]) for step in steps)


def _sample(name: str, question: str, tools: tuple[Tool, ...], gold: tuple[ToolCall, ...]) -> Sample:
    offered = {tool.name for tool in tools}
    solvable = all(call.name in offered and not _UNMEETABLE.search(json.dumps(call.arguments)) for call in gold)
    tags = {
        "kind": "single" if len(gold) == 1 else "several",
        "key": "needed" if any(KEYS & call.arguments.keys() for call in gold) else "no",
        "solvable": "yes" if solvable else "no",
    }
    return Sample(Input(name, (Message("user", question),), tools), gold, tags, Keyless(gold, KEYS))


def _call(name: str, arguments: str) -> ToolCall:
    """A gold call; what is no JSON in it, a placeholder or a name said twice, is mended.

    >>> _call("f", '{"id": ${id from g}, "of": "of": ["a"]}').arguments
    {'id': '${id from g}', 'of': ['a']}
    """
    text = _TWICE.sub(r"\1", _PLACEHOLDER.sub(lambda found: json.dumps("${" + found[1] + "}"), arguments))
    return ToolCall(name, dict(json.loads(text)))


def _tool(name: str, text: str) -> Tool:
    """A function from its description, whose line "Parameters:" is JSON.

    >>> made = _tool("f", 'Does it.\\nParameters: {"n": "Required. integer. How often."}\\nOutput: OK.')
    >>> made.parameters["properties"], made.parameters["required"]
    ({'n': {'type': 'integer', 'description': 'How often.'}}, ['n'])
    """
    found = _PARAMETERS.search(text)
    if found is None:
        raise ValueError(f"{name} has no line of parameters")
    parsed = {key: _PARAMETER.fullmatch(line) for key, line in json.loads(found[1]).items()}
    properties = {key: _schema(key, match) for key, match in parsed.items()}
    required = [key for key, match in parsed.items() if match and match[1]]
    description = text[: found.start()].strip()
    return Tool(name, description, {"type": "object", "properties": properties, "required": required})


def _schema(key: str, line: re.Match[str] | None) -> dict[str, Any]:
    if line is None:
        raise ValueError(f"the type of {key} is in no known form")
    if line[2].startswith("Array[Object"):
        # Its fields are told in words only, so the words stay.
        return {"type": "array", "items": {"type": "object"}, "description": f"{line[2]}. {line[3]}"}
    return {**TYPES[line[2]], **({"description": line[3]} if line[3] else {})}
