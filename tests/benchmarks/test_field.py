"""The field's own rows, all of them: counted with their defects, written in every format, changed and graded."""

from __future__ import annotations

import ast
import gzip
import json
from collections import Counter
from random import Random
from typing import Any

import pytest

from tests.benchmarks.mutations import mutants
from tests.benchmarks.places import DATA, needs
from tests.benchmarks.test_official import by_signature
from ttsi.benchmarks import Benchmark, Sample, load
from ttsi.benchmarks.matching import Calls, grade, lenient, strict
from ttsi.benchmarks.toolalpaca import KEYS
from ttsi.chat.calls import FORMATS, Format
from ttsi.chat.tool_schema import problem, tool_from_openai
from ttsi.types import Answer, ToolCall, to_openai

pytestmark = needs("api-bank")

# Name and split -> rows, rows that can be solved, rows whose gold the schema forbids, rows that repeat an earlier one.
SETS: dict[tuple[str, str], tuple[int, int, int, int]] = {
    ("nexusraven", "test"): (318, 317, 8, 0),
    ("apibank-l1", "test"): (399, 391, 48, 10),
    ("apibank-l2", "test"): (135, 121, 25, 17),
    ("apibank-l3", "test"): (245, 245, 55, 0),
    ("apibank-l1", "toolrl"): (399, 386, 48, 10),
    ("apibank-l2", "toolrl"): (67, 61, 15, 0),
    ("apibank-l3", "toolrl"): (131, 131, 55, 0),
    ("apibank-l1", "hammer"): (399, 391, 48, 10),
    ("apibank-l2", "hammer"): (127, 121, 17, 16),
    ("toolalpaca", "test"): (114, 108, 11, 0),
    ("toolalpaca-simulated", "test"): (100, 66, 20, 0),
}
TYPED = ("marked", "qwen3-coder", "glm", "glm-4.7")


def writers(calls: Calls) -> list[Format]:
    """The formats that can write these calls: all, but for several calls a turn."""
    return [fmt for fmt in FORMATS.values() if fmt.several or len(calls) < 2]


RULE = {"nexusraven": "nexusraven", "apibank": "toolrl", "toolalpaca": "keyless"}
"""First word of the name -> the rule that `official` is, where there is one."""


@pytest.fixture(params=sorted(SETS), ids="-".join)
def place(request: pytest.FixtureRequest) -> tuple[str, str]:
    chosen: tuple[str, str] = request.param
    return chosen


def gold_of(sample: Sample) -> tuple[ToolCall, ...]:
    assert sample.gold
    return sample.gold


def solvable(benchmark: Benchmark) -> list[Sample]:
    return [sample for sample in benchmark.samples if sample.tags["solvable"] == "yes"]


def legal(sample: Sample) -> bool:
    return all(problem(call, sample.input.tools) is None for call in gold_of(sample))


def test_every_row_is_there_and_every_defect_is_counted(place: tuple[str, str]) -> None:
    name, split = place
    benchmark = load(name, DATA, split)
    rows = benchmark.samples
    hashes = {sample.input.content_hash for sample in rows}
    assert (
        len(rows), len(solvable(benchmark)), sum(not legal(sample) for sample in rows), len(rows) - len(hashes),
    ) == SETS[place]  # fmt: skip
    assert len({sample.input.id for sample in rows}) == len(rows)
    for sample in rows:
        tools = sample.input.tools
        assert sample.input.messages[-1].role in ("user", "tool")
        assert len({tool.name for tool in tools}) == len(tools) > 0
        assert all(tool_from_openai(to_openai(tool)).name == tool.name for tool in tools)
        offered = {tool.name for tool in tools} >= {call.name for call in gold_of(sample)}
        assert offered or sample.tags["solvable"] == "no"
        assert (sample.official is None) is (name.startswith("apibank") and split != "toolrl")


def test_the_gold_is_right_in_every_format(place: tuple[str, str]) -> None:
    benchmark = load(place[0], DATA, place[1])
    for sample in solvable(benchmark):
        gold = gold_of(sample)
        for fmt in writers(gold):
            parsed = fmt.parse(text := fmt.render(gold), sample.input.tools)
            graded = grade(Answer(text, parsed.calls, parsed.error), gold, sample.official)
            # Some formats are typed by the schema: what that forbids does not come back as it was.
            if fmt.name not in TYPED or legal(sample):
                assert set(graded.values()) == {True}, (sample.input.id, fmt.name, text)


def test_control_a_changed_gold_is_wrong_in_every_format(place: tuple[str, str]) -> None:
    benchmark = load(place[0], DATA, place[1])
    random = Random(0)
    tried = 0
    for sample in solvable(benchmark):
        wrong = [m for m in mutants(gold_of(sample), sample.input.tools, random, KEYS) if not m.right_by]
        mutant = random.choice(wrong)
        for fmt in writers(mutant.calls):
            parsed = fmt.parse(text := fmt.render(mutant.calls), sample.input.tools)
            graded = grade(Answer(text, parsed.calls, parsed.error), gold_of(sample), sample.official)
            graded.pop("tool_choice")
            assert set(graded.values()) == {False}, (sample.input.id, fmt.name, mutant)
            tried += 1
    assert tried > (len(FORMATS) - 2) * len(solvable(benchmark))


def test_every_change_of_every_gold_is_judged_as_the_table_says(place: tuple[str, str]) -> None:
    benchmark = load(place[0], DATA, place[1])
    rule = RULE[place[0].split("-")[0]]
    random, counted = Random(0), Counter[tuple[str, bool]]()
    for sample in benchmark.samples:
        gold = gold_of(sample)
        for mutant in mutants(gold, sample.input.tools, random, KEYS):
            verdicts = {"strict": strict(mutant.calls, gold), "lenient": lenient(mutant.calls, gold)}
            if sample.official is not None:
                verdicts[rule] = sample.official(mutant.calls)
            for name, verdict in verdicts.items():
                assert verdict is (name in mutant.right_by), (sample.input.id, name, mutant)
                counted[name, verdict] += 1
            if rule == "nexusraven":
                assert by_signature(gold[0], sample.input.tools, mutant.calls) is (rule in mutant.right_by), mutant
    for name in {name for name, _ in counted}:
        assert counted[name, True] + counted[name, False] >= 500
        assert min(counted[name, True], counted[name, False]) > 50


def raw(path: str) -> Any:
    data = (DATA / path).read_bytes()
    return json.loads(gzip.decompress(data) if path.endswith(".gz") else data)


def python_call(text: str) -> ToolCall:
    """A line of Python as a call; positional arguments, of which the data have none, would be refused."""
    line = ast.parse(text.removeprefix("r = ").replace("nvdlib.", ""), mode="eval").body
    assert isinstance(line, ast.Call)
    assert isinstance(line.func, ast.Name)
    assert not line.args
    return ToolCall(line.func.id, {str(word.arg): ast.literal_eval(word.value) for word in line.keywords})


def test_nexusraven_is_what_its_repository_says() -> None:
    by_prompt = {sample.input.messages[0].content: gold_of(sample)[0] for sample in load("nexusraven", DATA).samples}
    for domain, n in (("cve_cpe", 78), ("emailrep", 38), ("virustotal", 151)):
        rows = raw(f"nexusraven/{domain}_queries.json")
        assert len(rows) == n
        for row in rows:
            call = python_call(row["reference"])
            # Upstream's conversion cuts floats to integers.
            cut = {key: int(value) if isinstance(value, float) else value for key, value in call.arguments.items()}
            assert by_prompt[row["query"]] == ToolCall(call.name, cut)


def test_hammers_cuts_are_the_same_questions() -> None:
    for name, cut in (("apibank-l1", "apibank_l1"), ("toolalpaca", "toolalpaca")):
        rows, samples = raw(f"hammer-eval/{cut}.json.gz"), load(name, DATA).samples
        for row, sample in zip(rows, samples, strict=True):
            assert [ToolCall(a["name"], a["arguments"]) for a in row["answers"]] == list(gold_of(sample))
            offered = {t["name"]: set(t["parameters"]) for t in row["tools"] if t["name"] != "components"}
            assert {t.name: set(t.parameters["properties"]) for t in sample.input.tools} == offered


def test_toolalpaca_needs_a_key_in_34_rows() -> None:
    samples = load("toolalpaca", DATA).samples
    assert Counter(sample.tags["key"] for sample in samples) == {"no": 80, "needed": 34}
    assert sum(bool(KEYS & call.arguments.keys()) for sample in samples for call in gold_of(sample)) == 45
    text = gzip.decompress((DATA / "toolalpaca/eval_real.json.gz").read_bytes()).decode()
    assert text.count("REDACTED_API_KEY") == 45


def test_level_2_has_45_searches_and_level_3_114() -> None:
    for name, n in (("apibank-l1", 0), ("apibank-l2", 45), ("apibank-l3", 114)):
        assert sum(sample.tags["kind"] == "search" for sample in load(name, DATA).samples) == n


def test_control_silence_and_noise_are_wrong_everywhere(place: tuple[str, str]) -> None:
    noise: list[Calls | None] = [None, (), (ToolCall("no_such_tool", {}),)]
    for sample in load(place[0], DATA, place[1]).samples:
        for calls in noise:
            answer = Answer("", tuple(calls or ()), error="broken" if calls is None else None)
            assert not any(grade(answer, gold_of(sample), sample.official).values())
