"""Agreement of our BFCL rule with the official AST checker, verdict by verdict.

Inputs: the BFCL data (`--data DIR`, the folder that holds `bfcl`) and the official package, imported from a virtual
environment of its own, since its dependencies do not go together with ours:

    python -m venv VENV && VENV/bin/pip install --no-deps bfcl-eval==2026.3.23
    python -m tests.agreement.bfcl --data DIR --official VENV/lib/python3.11/site-packages

and run folders of the benchmark (`--run FOLDER`), whose answers are compared, too.

Outputs: one line per kind of mutation (verdicts, called right, disagreements), every disagreement, exit code 1 if there
was one. For each gold answer of each row it asks both about the answer as it is and about `--per-row` mutants of each
kind; and about Java and JavaScript literals, valid and broken, as values of their arguments.

The checker is imported without the vendors' SDKs: it only asks them whether a name's dots were replaced, so a table
with that one fact stands in for them.
"""

from __future__ import annotations

import argparse
import copy
import random
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

from ttsi.benchmarks import Sample, bfcl, bfcl_literals
from ttsi.benchmarks.bfcl_rule import TYPES, AstRule, language_of
from ttsi.runs.store import read_rows
from ttsi.types import ToolCall

Arguments = dict[str, Any]
Calls = list[ToolCall]
LITERALS = [
    *r"""
1|-3|3L|3l|1.5|1.5f|1e3|2F|7n|true|True|'x'|"x y"|x|null|[]|[ ]|[1, 2]|[1,2|['a', "b"]|[[1, 2], [3, 4]]|[[1],[2]|{}|{a}
[ [ 1 ], [2] ] tail|[[1], [2]x]]|[true, x]|[{a: 1}]|new Array(1, 2)|new Array([1], [2])|new Array("a", 'b')|{a: 1}|{a: {
{'a': [1, 2], b: {c: true}}|{"k": 'v', "n": 2.5}|new int[]{1, 2}|new String[]{"a", "b"}|new String[] {a}|new int[0]|{,}
new long[]{1L, 2}|int[]{1}|new ArrayList<>()|new ArrayList<String>(Arrays.asList("a", "b"))|List.of(1)|Map.of("a", 1)
new ArrayList<>(Arrays.asList(1L, 2L))|new ArrayList<Integer>() {{ add(1); add(2); }}|Arrays.asList(1)|new HashMap<>()
new HashMap<String, Object>() {{ put("a", 1); put("b", "x"); }}|new HashMap<>() {{ put("limit", "50"); }} }
new HashMap<>() {|new HashMap<>() {{}}|new HashMap<String, Integer>() { { put("a", 1.5f); put("b", 2L); } }
new ArrayList<>() {{
""".strip()
    .replace("\n", "|")
    .split("|"),
    "",
    " ",
    "1\n",
    "\u0663",
]
"""Texts that are literals of some type, and texts that almost are."""


def _some(rng: random.Random, calls: Calls) -> tuple[int, str] | None:
    """A call and one of its arguments, by chance."""
    places = [(i, key) for i, call in enumerate(calls) for key in call.arguments]
    return rng.choice(places) if places else None


def _with(change: Callable[[random.Random, Any], Any]) -> Callable[[random.Random, Calls, Sample], Calls | None]:
    """A mutation that changes one value."""

    def mutate(rng: random.Random, calls: Calls, sample: Sample) -> Calls | None:
        place = _some(rng, calls)
        if place is None:
            return None
        i, key = place
        calls[i].arguments[key] = change(rng, calls[i].arguments[key])  # type: ignore[index]
        return calls

    return mutate


def _leaf(rng: random.Random, value: Any, change: Callable[[Any], Any]) -> Any:
    """Change something inside a value, at any depth."""
    if isinstance(value, list) and value:
        i = rng.randrange(len(value))
        value[i] = _leaf(rng, value[i], change)
        return value
    if isinstance(value, dict) and value:
        key = rng.choice(list(value))
        value[key] = _leaf(rng, value[key], change)
        return value
    return change(value)


def _other_type(rng: random.Random, value: Any) -> Any:
    return rng.choice([1, 0, 2.5, "x", "", True, False, None, [], {}, [1], ["x"], [{}], {"x": 1}, [[1]], [True]])


def _other_value(value: Any) -> Any:
    if isinstance(value, bool):
        return not value
    if isinstance(value, int | float):
        return value + 1
    return f"{value}x" if isinstance(value, str) else value


def _number_forms(rng: random.Random, value: Any) -> Any:
    def change(leaf: Any) -> Any:
        if isinstance(leaf, bool):
            return int(leaf)
        return float(leaf) if isinstance(leaf, int) else int(leaf) if isinstance(leaf, float) else leaf

    return _leaf(rng, value, change)


def _case(rng: random.Random, value: Any) -> Any:
    return _leaf(rng, value, lambda leaf: leaf.swapcase() if isinstance(leaf, str) else leaf)


def _spaces(rng: random.Random, value: Any) -> Any:
    marks = rng.choice([" {} ", "{},", "-{}", "{}.", "{}_^*/"])
    return _leaf(rng, value, lambda leaf: marks.format(leaf) if isinstance(leaf, str) else leaf)


def _quotes(rng: random.Random, value: Any) -> Any:
    mark = rng.choice("'\"")
    return _leaf(rng, value, lambda leaf: f"{mark}{leaf}{mark}" if isinstance(leaf, str) else leaf)


def _longer(rng: random.Random, value: Any) -> Any:
    if isinstance(value, list):
        return rng.choice([value[:-1], value + value[:1], value[::-1], [value]])
    if isinstance(value, dict):
        return rng.choice([dict(list(value.items())[:-1]), {**value, "more": 1}, [value]])
    return [value]


def _wrong_tool(rng: random.Random, calls: Calls, sample: Sample) -> Calls | None:
    i = rng.randrange(len(calls))
    names = [tool.name for tool in sample.input.tools] + [calls[i].name.upper(), calls[i].name.replace(".", "_"), "x"]
    calls[i] = ToolCall(rng.choice(names), calls[i].arguments)
    return calls


def _missing(rng: random.Random, calls: Calls, sample: Sample) -> Calls | None:
    place = _some(rng, calls)
    if place is None:
        return None
    del calls[place[0]].arguments[place[1]]  # type: ignore[attr-defined]
    return calls


def _extra(rng: random.Random, calls: Calls, sample: Sample) -> Calls | None:
    i = rng.randrange(len(calls))
    tool = next((tool for tool in sample.input.tools if tool.name == calls[i].name), None)
    listed = [key for key in (tool.parameters["properties"] if tool else ()) if key not in calls[i].arguments]
    calls[i].arguments[rng.choice([*listed, "more"])] = rng.choice(["x", 1, True, "", None])  # type: ignore[index]
    return calls


def _accepted(rng: random.Random, calls: Calls, sample: Sample) -> Calls | None:
    """Another accepted value of one argument, left out where that is accepted."""
    rule = sample.official
    assert isinstance(rule, AstRule)
    i = rng.randrange(len(calls))
    values = next((answer[calls[i].name] for answer in rule.answers if calls[i].name in answer), {})
    if not values:
        return None
    key = rng.choice(list(values))
    arguments: Arguments = calls[i].arguments  # type: ignore[assignment]
    chosen = copy.deepcopy(rng.choice(list(values[key]) or [""]))
    if chosen == "":
        arguments.pop(key, None)
    else:
        arguments[key] = chosen
    return calls


def _reordered(rng: random.Random, calls: Calls, sample: Sample) -> Calls | None:
    rng.shuffle(calls)
    return [ToolCall(call.name, dict(reversed(list(call.arguments.items())))) for call in calls]


def _count(rng: random.Random, calls: Calls, sample: Sample) -> Calls | None:
    return rng.choice([[], calls[1:], [*calls, calls[0]], [*calls, ToolCall("x", {})]])


MUTATIONS: dict[str, Callable[[random.Random, Calls, Sample], Calls | None]] = {
    "right": lambda rng, calls, sample: calls,
    "another accepted value": _accepted,
    "wrong tool": _wrong_tool,
    "missing argument": _missing,
    "extra argument": _extra,
    "more or fewer calls": _count,
    "reordered": _reordered,
    "wrong value": _with(lambda rng, value: _leaf(rng, value, _other_value)),
    "wrong type": _with(_other_type),
    "wrong type inside": _with(lambda rng, value: _leaf(rng, value, lambda leaf: _other_type(rng, leaf))),
    "number as text": _with(lambda rng, value: _leaf(rng, value, str)),
    "integer, float, truth": _with(_number_forms),
    "case": _with(_case),
    "spaces and marks": _with(_spaces),
    "quotation marks": _with(_quotes),
    "longer or shorter": _with(_longer),
    "literal": _with(lambda rng, value: rng.choice(LITERALS)),
}


def official_checker(folder: Path) -> Callable[[Sample, Calls], bool]:
    """The official verdict, with a table in place of the vendors' SDKs."""
    sys.path.append(str(folder))
    table = ModuleType("bfcl_eval.constants.model_config")
    table.MODEL_CONFIG_MAPPING = {"ours": SimpleNamespace(underscore_to_dot=False)}  # type: ignore[attr-defined]
    sys.modules[table.__name__] = table
    from bfcl_eval.constants.enums import Language
    from bfcl_eval.eval_checker.ast_eval.ast_checker import ast_checker

    def verdict(sample: Sample, calls: Calls) -> bool:
        rule = sample.official
        assert isinstance(rule, AstRule)
        made = [{call.name: copy.deepcopy(dict(call.arguments))} for call in calls]
        language = Language(language_of(rule.category))
        given = copy.deepcopy((list(rule.functions), made, list(rule.answers)))
        return bool(ast_checker(*given, language, rule.category, "ours")["valid"])

    return verdict


def compare_readings(seed: int, rounds: int) -> tuple[int, list[str]]:
    """How many literals, valid and broken, both sides read the same way, and those that they do not."""
    from bfcl_eval.eval_checker.ast_eval.type_convertor.java_type_converter import java_type_converter
    from bfcl_eval.eval_checker.ast_eval.type_convertor.js_type_converter import js_type_converter

    convert = {bfcl_literals.JAVA: java_type_converter, bfcl_literals.JAVASCRIPT: js_type_converter}
    rng = random.Random(seed)
    texts = [*LITERALS, *(_scratched(rng, rng.choice(LITERALS)) for _ in range(rounds))]
    asked, differing = 0, []
    for language, kinds in ((one, list(TYPES[one])) for one in convert):
        for text in texts:
            for kind in kinds:
                for inner in kinds if kind in bfcl_literals.COLLECTIONS else [None]:
                    ours = _outcome(bfcl_literals.read, text, kind, language, inner)
                    theirs = _outcome(convert[language], text, kind, inner)
                    asked += 1
                    if ours != theirs:
                        differing.append(f"{language} {kind} of {inner}: {text!r} ours {ours}, official {theirs}")
    return asked, differing


def _scratched(rng: random.Random, text: str) -> str:
    """A text with a piece lost, doubled or exchanged."""
    if not text:
        return text
    i = rng.randrange(len(text))
    j = min(len(text), i + rng.choice([1, 1, 2, 5]))
    return text[:i] + rng.choice(["", text[i:j] * 2, rng.choice("[]{}(),\"': 1a")]) + text[j:]


def _outcome(function: Callable[..., Any], *arguments: Any) -> str:
    """What came back, or that nothing did."""
    try:
        return repr(function(*arguments))
    except Exception:
        return "an exception"


@dataclass
class Tally:
    """What both sides said so far."""

    asked: Counter[str] = field(default_factory=Counter)
    right: Counter[str] = field(default_factory=Counter)
    stopped: Counter[str] = field(default_factory=Counter)
    disagreements: list[str] = field(default_factory=list)

    def compare(self, kind: str, sample: Sample, calls: Calls, official: Callable[[Sample, Calls], bool]) -> None:
        """Ask both sides about one answer."""
        assert sample.official is not None
        ours = sample.official(calls)
        try:
            theirs = official(sample, calls)
        except Exception as error:  # the official checker stops: by our rule the answer is wrong
            self.stopped[f"{kind}: {type(error).__name__}"] += 1
            theirs = False
        self.asked[kind] += 1
        self.right[kind] += theirs
        if ours != theirs:
            self.disagreements.append(f"{sample.input.id} [{kind}] ours {ours}, official {theirs}: {calls}")

    def show(self) -> None:
        """One line per kind, then everything that differs."""
        for kind in self.asked:
            wrong = sum(f"[{kind}]" in line for line in self.disagreements)
            print(f"{kind:<24} {self.asked[kind]:>6} verdicts, {self.right[kind]:>6} right, {wrong} disagreements")
        print(f"{'all':<24} {self.asked.total():>6} verdicts, {self.right.total():>6} right")
        print(f"the official checker stopped with an exception: {dict(self.stopped) or 'never'}")


def compare_mutants(samples: Sequence[Sample], per_row: int, seed: int, tally: Tally, official: Any) -> None:
    """Golds as they are, and changed in every way of MUTATIONS."""
    for sample in samples:
        for kind, mutate in MUTATIONS.items():
            for n in range(1 if kind == "right" else per_row):
                rng = random.Random(f"{seed} {sample.input.id} {kind} {n}")
                calls = mutate(rng, copy.deepcopy(list(sample.gold or ())), sample)
                if calls is not None:
                    tally.compare(kind, sample, calls, official)


def compare_run(folder: Path, samples: Sequence[Sample], tally: Tally, official: Any) -> None:
    """The answers of a run, base and adapted."""
    by_id = {sample.input.id: sample for sample in samples}
    for row in read_rows(folder):
        if row.episode.input_id not in by_id:
            continue
        said = [answer.calls for answer in (row.episode.base, row.episode.adapted) if answer is not None]
        for calls in said[:1] if len(said) == 2 and said[0] == said[1] else said:
            tally.compare(f"run {folder.name}", by_id[row.episode.input_id], list(calls), official)


def main() -> int:
    """Compare, report, and say by the exit code whether all verdicts agree."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--data", type=Path, required=True, help="the folder that holds bfcl")
    parser.add_argument("--official", type=Path, required=True, help="site-packages with bfcl-eval")
    parser.add_argument("--per-row", type=int, default=1, help="mutants of each kind per row")
    parser.add_argument("--readings", type=int, default=300, help="broken literals to read, beside the listed ones")
    parser.add_argument("--run", type=Path, action="append", default=[], help="a run folder of bfcl; may be repeated")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    official = official_checker(given.official)
    samples = [sample for sample in bfcl.BFCL(given.data).samples if sample.gold]
    tally = Tally()
    compare_mutants(samples, given.per_row, given.seed, tally, official)
    for folder in given.run:
        compare_run(folder, samples, tally, official)
    tally.show()
    readings, differing = compare_readings(given.seed, given.readings)
    wrong = tally.disagreements + differing
    print(f"{'readings of literals':<24} {readings:>6}, {len(differing)} disagreements")
    print("\n".join([f"{len(wrong)} disagreements in all", *wrong[:50]]))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
