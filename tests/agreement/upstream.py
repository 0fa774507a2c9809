"""Agreement of our graders with the scorers of NexusRaven, Hammer and Seal-Tools, verdict by verdict.

Inputs: the data folder, `raven/utils.py` of github.com/nexusflowai/NexusRaven (f3288276), `evaluation/evaluate.py` of
github.com/MadeAgents/Hammer (5e3ca28c) and `LLM_Evaluation/src/calculate_pluginscore_detailed.py` of
github.com/fairyshine/Seal-Tools (d23f76f4), fetched by hand: all are programs of others and run as they are, so read
them first. Outputs: per scorer the number of comparisons and the disagreements. NexusRaven's answers are written as
Python, once by name and once with what is required by position, as its own models write them. Hammer's and Seal-Tools'
programs know only whole files, so that each file of one row is one comparison of all its numbers.

With `--run`, the answers that a model gave in recorded runs are compared as well.

    python -m tests.agreement.upstream --data DIR --nexusraven raven/utils.py --hammer evaluation/evaluate.py \\
        --seal-tools calculate_pluginscore_detailed.py [--run runs/NAME ...]
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
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from random import Random
from types import ModuleType
from typing import Any
from unittest.mock import MagicMock, patch

from tests.benchmarks.mutations import Mutant, mutants
from ttsi.benchmarks import Sample, load, micro_f1
from ttsi.benchmarks.data_files import find, parse_json, read_bytes
from ttsi.benchmarks.matching import readable
from ttsi.benchmarks.toolalpaca import KEYS
from ttsi.runs import store
from ttsi.types import ToolCall

Answers = dict[tuple[str, str, str], list[Mutant]]

SEAL_TOOLS_SETS = (("sealtool", "test"), ("seal-tools-in", "test"), ("seal-tools-out", "test"))
HAMMER_SETS = (("nexusraven", "test"), ("apibank-l1", "hammer"), ("apibank-l2", "hammer"), ("toolalpaca", "test"))


def main() -> int:
    """Compare, print, and say by the exit code whether all agree."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--nexusraven", type=Path, required=True)
    parser.add_argument("--hammer", type=Path, required=True)
    parser.add_argument("--seal-tools", type=Path, required=True)
    parser.add_argument("--run", type=Path, nargs="*", default=[], help="run folders, of these benchmarks")
    chosen = parser.parse_args()
    said = answers(chosen.run)
    # What the two programs import and do not need for scoring.
    with patch.dict(sys.modules, {name: MagicMock() for name in ("datasets", "pandas", "tqdm", "llm_tools.utils")}):
        nexusraven = list(compare_nexusraven(chosen.data, chosen.nexusraven, said))
        hammer = list(compare_hammer(chosen.data, chosen.hammer, said))
        seal_tools = list(compare_seal_tools(chosen.data, chosen.seal_tools, said))
    compared = {"NexusRaven": nexusraven, "Hammer's F1": hammer, "Seal-Tools' F1": seal_tools}
    for name, results in compared.items():
        wrong = [found for found in results if found]
        print(f"{name}: {len(results)} comparisons, {len(wrong)} disagreements")
        print("".join(f"  {line}\n" for line in wrong[:20]), end="")
    return int(any(found for results in compared.values() for found in results))


def answers(runs: Sequence[Path]) -> Answers:
    """What a model said in recorded runs, by benchmark, split and input; unreadable answers count as none."""
    found: Answers = {}
    for folder in runs:
        settings = store.read_json(folder / "config.json")["settings"]
        for row in store.read_rows(folder):
            said = [readable(one) or [] for one in (row.episode.base, row.episode.adapted) if one is not None]
            place = (settings["benchmark"], settings["split"], row.episode.input_id)
            found.setdefault(place, []).extend(Mutant("said", tuple(calls), frozenset()) for calls in said)
    return found


def changed(data: Path, name: str, split: str, answered: Answers) -> Iterator[tuple[Sample, Mutant]]:
    """Every row of a set under every change it allows, and with what a model said."""
    random = Random(0)
    for sample in load(name, data, split).samples:
        assert sample.gold
        said = answered.get((name, split, sample.input.id), [])
        for mutant in (*mutants(sample.gold, sample.input.tools, random, KEYS), *said):
            yield sample, mutant


def compare_nexusraven(data: Path, program: Path, answered: Answers) -> Iterator[str]:
    """One line per comparison, empty where both agree."""
    upstream = ModuleType("raven_utils")
    exec(compile(program.read_text(encoding="utf-8"), str(program), "exec"), upstream.__dict__)
    path = find(data, "nexusraven", "derived_standardized_api_list.json")
    described = parse_json(read_bytes(path), path)
    domains = {domain: [f for f in described if f["dataset"] == domain] for domain in {f["dataset"] for f in described}}
    functions = {domain: upstream.build_functions(rows) for domain, rows in domains.items()}
    for sample, mutant in changed(data, "nexusraven", "test", answered):
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


def compare_hammer(data: Path, program: Path, answered: Answers) -> Iterator[str]:
    """One line per comparison, empty where both agree."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "said.jsonl"
        for name, split in HAMMER_SETS:
            for sample, mutant in changed(data, name, split, answered):
                assert sample.gold
                said = None if unreadable(sample, mutant) else mutant.calls
                row = {"label": as_json(sample.gold), "predict": "oops" if said is None else as_json(said)}
                file.write_text(json.dumps(row), encoding="utf-8")
                yield differs(sample, mutant, our_numbers(micro_f1.count(said, sample.gold)), theirs_of(program, file))


def unreadable(sample: Sample, mutant: Mutant) -> bool:
    """Every other answer without a call is one that cannot be read."""
    return mutant.change == "no call" and int(sample.input.id[-1]) % 2 == 0


def differs(sample: Sample, mutant: Mutant, ours: dict[str, float], theirs: dict[str, float]) -> str:
    """What is not the same in two scores of one row; empty when nothing is."""
    same = ours.keys() == theirs.keys() and all(math.isclose(ours[k], theirs[k]) for k in ours)
    return "" if same else f"{sample.input.id} {mutant.change}: ours {ours}, theirs {theirs}"


def compare_seal_tools(data: Path, program: Path, answered: Answers) -> Iterator[str]:
    """One line per comparison, empty where both agree."""
    score = runpy.run_path(str(program))["calculate_score_ToolLearning"]
    for name, split in SEAL_TOOLS_SETS:
        for sample, mutant in changed(data, name, split, answered):
            assert sample.gold
            # What upstream's reader makes of a text that holds no list of calls is -1.
            said = mutant.calls or None
            gold = {"conversations": [{}, {"value": repr(as_seal_tools(sample.gold))}]}
            theirs = score([{"gold_data": gold, "predict": [as_seal_tools(said) if said else -1]}])
            ours = our_numbers(micro_f1.count_seal_tools(said, sample.gold)) | ({"AMOUNT": 1.0} if said else {})
            yield differs(sample, mutant, ours, theirs)


def as_seal_tools(calls: Sequence[ToolCall]) -> list[dict[str, Any]]:
    """Calls as Seal-Tools' models write them, without the names of the responses, which are not scored."""
    return [{"api": call.name, "parameters": dict(call.arguments)} for call in calls]


def as_json(calls: tuple[ToolCall, ...]) -> str:
    """Calls as Hammer's models write them."""
    return json.dumps([{"name": call.name, "arguments": dict(call.arguments)} for call in calls])


def our_numbers(counts: micro_f1.Counts) -> dict[str, float]:
    """Our counts under upstream's names, which leaves out what has a zero among its three counts."""
    numbers = {}
    for what, right, said, gold in (
        ("api", counts.right_tools, counts.predicted_tools, counts.gold_tools),
        ("param", counts.right_arguments, counts.predicted_arguments, counts.gold_arguments),
    ):
        if right * said * gold:
            score = micro_f1.f1(counts)["f1_tools" if what == "api" else "f1_arguments"]
            numbers |= {f"P_{what}": right / said, f"R_{what}": right / gold, f"F1_{what}": (score or 0) / 100}
    return numbers


def theirs_of(program: Path, file: Path) -> dict[str, float]:
    """What upstream's script prints about a file."""
    with patch.object(sys, "argv", [str(program), str(file)]), contextlib.redirect_stdout(io.StringIO()) as said:
        runpy.run_path(str(program), run_name="__main__")
    numbers: dict[str, float] = ast.literal_eval(said.getvalue().strip())
    return numbers


if __name__ == "__main__":
    sys.exit(main())
