"""The named benchmarks: found by name, complete, and every gold call possible with the tools shown."""

from __future__ import annotations

import gzip
import json
import os
from pathlib import Path

import pytest

from ttsi.benchmarks import BENCHMARK_GLOSS, BENCHMARKS, Benchmark, load, sealtools
from ttsi.benchmarks.matching import grade
from ttsi.errors import ConfigError, DataError
from ttsi.types import Answer, input_hash

DATA = Path(os.environ.get("TTSI_BENCHMARKS") or Path(__file__).parents[2] / ".." / "shared" / "benchmarks")
needs_data = pytest.mark.skipif(
    not (DATA / "hammer-eval").is_dir(), reason="no benchmark data: set TTSI_BENCHMARKS to the folder with hammer-eval"
)


def check(benchmark: Benchmark, n: int) -> None:
    assert len(benchmark.samples) == n
    assert len({sample.input.id for sample in benchmark.samples}) == n
    assert len(benchmark.checksum) == 64
    for sample in benchmark.samples:
        assert sample.gold is not None
        assert {call.name for call in sample.gold} <= {tool.name for tool in sample.input.tools}
        # A perfect answer is right, and silence is wrong unless it is the answer.
        assert grade(Answer("", sample.gold), sample.gold)[benchmark.matcher]
        assert grade(Answer("", ()), sample.gold)[benchmark.matcher] is (not sample.gold)


@needs_data
def test_sealtool_has_294_single_calls() -> None:
    benchmark = load("sealtool", DATA)
    check(benchmark, 294)
    assert benchmark.matcher == "lenient"
    assert all(len(sample.gold or ()) == 1 and len(sample.input.tools) == 5 for sample in benchmark.samples)
    assert sum(not sample.gold[0].arguments for sample in benchmark.samples if sample.gold) == 23
    assert sum(sample.tags["domain_seen"] == "yes" for sample in benchmark.samples) == 200
    assert load("sealtool", DATA / "hammer-eval").checksum == benchmark.checksum


@needs_data
def test_sealtool_dev_has_200_other_questions() -> None:
    dev, test = load("sealtool-dev", DATA), load("sealtool", DATA)
    check(dev, 200)
    assert load("sealtool", DATA, split="dev") == dev
    shared = {input_hash(s.input) for s in dev.samples} & {input_hash(s.input) for s in test.samples}
    assert not shared


def test_sealtool_without_data_says_where_to_look(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="pass --data DIR"):
        load("sealtool", None)
    with pytest.raises(DataError, match="pass --data DIR"):
        load("sealtool", tmp_path)
    with pytest.raises(ConfigError, match="unknown split"):
        load("sealtool", tmp_path, split="tset")


def test_sealtool_reads_a_row_and_refuses_another_form(tmp_path: Path) -> None:
    parameters = {"day": {"type": "str", "description": "d", "required": True}, "lanes": {"type": "int"}}
    tool = {"name": "getPool", "description": "Pool", "parameters": parameters, "required": ["day"]}
    made = [{"query": "open?", "tools": [tool], "answers": [{"tool": "getPool", "parameters": {"day": "Sunday"}}]}]
    path = tmp_path / "sealtool.json.gz"
    path.write_bytes(gzip.compress(json.dumps(made).encode()))
    [sample] = sealtools.load(tmp_path).samples
    assert sample.input.tools[0].parameters == {
        "type": "object",
        "properties": {"day": {"type": "string", "description": "d"}, "lanes": {"type": "integer", "description": ""}},
        "required": ["day"],
    }
    path.write_bytes(gzip.compress(json.dumps([{"question": "open?"}]).encode()))
    with pytest.raises(DataError, match="row 1"):
        sealtools.load(tmp_path)
    path.write_bytes(gzip.compress(b"{oops"))
    with pytest.raises(DataError, match="not the expected JSON"):
        sealtools.load(tmp_path)


def test_toolworld_ships_complete() -> None:
    test, validation = load("toolworld"), load("toolworld-validation")
    check(test, 640)
    check(validation, 400)
    assert (test.name, validation.name) == ("toolworld", "toolworld-validation")
    shared = {input_hash(s.input) for s in test.samples} & {input_hash(s.input) for s in validation.samples}
    assert not shared
    assert load("toolworld", split="validation") == validation
    with pytest.raises(ConfigError, match="did you mean 'validation'"):
        load("toolworld", split="validate")


def test_unknown_names_get_a_hint() -> None:
    with pytest.raises(ConfigError, match="did you mean 'toolworld'"):
        load("tool-world")
    assert set(BENCHMARKS) < set(BENCHMARK_GLOSS)
