"""Do our graders say what the scorers of NexusRaven and Hammer say, verdict by verdict?

Inputs: the data folder, `raven/utils.py` of github.com/nexusflowai/NexusRaven (f3288276) and `evaluation/evaluate.py`
of github.com/MadeAgents/Hammer (5e3ca28c), fetched by hand: both are programs of others and run as they are, so read
them first. Outputs: per scorer the number of comparisons and the disagreements. NexusRaven's answers are written as
Python, once by name and once with what is required by position, as its own models write them. Hammer's script knows
only whole files, so that each file of one row is one comparison of its six numbers.

    python dev/upstream_agreement.py --data DIR --nexusraven raven/utils.py --hammer evaluation/evaluate.py
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import io
import json
import math
import runpy
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from types import ModuleType
from typing import Any
from unittest.mock import MagicMock, patch

from tests.benchmarks.mutations import Mutant, mutants
from ttsi.benchmarks import Sample, load, micro_f1, places
from ttsi.benchmarks.files import read_json
from ttsi.benchmarks.toolalpaca import KEYS
from ttsi.types import ToolCall

HAMMER_SETS = (("nexusraven", "test"), ("apibank-l1", "hammer"), ("apibank-l2", "hammer"), ("toolalpaca", "test"))


def main() -> int:
    """Compare, print, and say by the exit code whether all agree."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--nexusraven", type=Path, required=True)
    parser.add_argument("--hammer", type=Path, required=True)
    chosen = parser.parse_args()
    # What the two programs import and do not need for scoring.
    with patch.dict(sys.modules, {name: MagicMock() for name in ("datasets", "pandas", "tqdm")}):
        nexusraven = list(compare_nexusraven(chosen.data, chosen.nexusraven))
        hammer = list(compare_hammer(chosen.data, chosen.hammer))
    for name, results in (("NexusRaven", nexusraven), ("Hammer's F1", hammer)):
        wrong = [found for found in results if found]
        print(f"{name}: {len(results)} comparisons, {len(wrong)} disagreements")
        print("".join(f"  {line}\n" for line in wrong[:20]), end="")
    return int(any([*nexusraven, *hammer]))


def changed(data: Path, name: str, split: str) -> Iterator[tuple[Sample, Mutant]]:
    """Every row of a set under every change it allows."""
    random = Random(0)
    for sample in load(name, data, split).samples:
        assert sample.gold
        for mutant in mutants(sample.gold, sample.input.tools, random, KEYS):
            yield sample, mutant


def compare_nexusraven(data: Path, program: Path) -> Iterator[str]:
    """One line per comparison, empty where both agree."""
    upstream = ModuleType("raven_utils")
    exec(compile(program.read_text(encoding="utf-8"), str(program), "exec"), upstream.__dict__)
    [described], _ = read_json([places.find(data, "nexusraven", "derived_standardized_api_list.json")])
    domains = {domain: [f for f in described if f["dataset"] == domain] for domain in {f["dataset"] for f in described}}
    functions = {domain: upstream.build_functions(rows) for domain, rows in domains.items()}
    for sample, mutant in changed(data, "nexusraven", "test"):
        assert sample.gold
        assert sample.official
        [gold] = sample.gold
        stubs = functions[sample.tags["domain"]]
        reference = stubs[gold.name](**gold.arguments)
        required = {tool.name: tool.parameters["required"] for tool in sample.input.tools}
        for by_position in (False, True):
            text = "; ".join(python(call, required.get(call.name, []) if by_position else []) for call in mutant.calls)
            theirs = run_stub(upstream.parse_function_call_to_name_and_args, stubs, text) == reference
            ours = sample.official(mutant.calls)
            yield "" if ours is theirs else f"{sample.input.id} {mutant.change}: ours {ours}, theirs {theirs}: {text}"


def python(call: ToolCall, positional: list[str]) -> str:
    """A call as a line of Python; the parameters of `positional` that are given in this order lose their names."""
    given = dict(call.arguments)
    first = []
    for name in positional:
        if name not in given:
            break
        first.append(repr(given.pop(name)))
    return f"{call.name}({', '.join([*first, *(f'{key}={value!r}' for key, value in given.items())])})"


def run_stub(parse: Callable[[str], tuple[str, list[Any], dict[str, Any]]], stubs: Any, text: str) -> Any:
    """What the stub returns for a text; an error, as upstream counts it, is (None, None)."""
    try:
        name, positional, named = parse(text)
        return stubs[name](*positional, **named)
    except (SyntaxError, IndexError, AttributeError, KeyError, TypeError, ValueError):
        return (None, None)


def compare_hammer(data: Path, program: Path) -> Iterator[str]:
    """One line per comparison, empty where both agree."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "said.jsonl"
        for name, split in HAMMER_SETS:
            for sample, mutant in changed(data, name, split):
                assert sample.gold
                unreadable = mutant.change == "no call" and int(sample.input.id[-1]) % 2 == 0
                said = None if unreadable else mutant.calls
                row = {"label": as_json(sample.gold), "predict": "oops" if said is None else as_json(said)}
                file.write_text(json.dumps(row), encoding="utf-8")
                ours, theirs = our_numbers(micro_f1.count(said, sample.gold)), their_numbers(program, file)
                same = ours.keys() == theirs.keys() and all(math.isclose(ours[k], theirs[k]) for k in ours)
                yield "" if same else f"{sample.input.id} {mutant.change}: ours {ours}, theirs {theirs}"


def as_json(calls: tuple[ToolCall, ...]) -> str:
    """Calls as Hammer's models write them."""
    return json.dumps([{"name": call.name, "arguments": dict(call.arguments)} for call in calls])


def our_numbers(counts: micro_f1.Counts) -> dict[str, float]:
    """Our counts under upstream's names, which leaves out what has a zero among its three counts."""
    numbers = {}
    for what, right, said, gold in (
        ("api", counts.right_tools, counts.said_tools, counts.gold_tools),
        ("param", counts.right_arguments, counts.said_arguments, counts.gold_arguments),
    ):
        if right * said * gold:
            score = micro_f1.f1(counts)["f1_tools" if what == "api" else "f1_arguments"]
            numbers |= {f"P_{what}": right / said, f"R_{what}": right / gold, f"F1_{what}": (score or 0) / 100}
    return numbers


def their_numbers(program: Path, file: Path) -> dict[str, float]:
    """What upstream's script prints about a file."""
    with patch.object(sys, "argv", [str(program), str(file)]), contextlib.redirect_stdout(io.StringIO()) as said:
        runpy.run_path(str(program), run_name="__main__")
    numbers: dict[str, float] = ast.literal_eval(said.getvalue().strip())
    return numbers


if __name__ == "__main__":
    sys.exit(main())
