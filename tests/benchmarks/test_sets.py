"""The named benchmarks: found by name, complete, and every gold call possible with the tools shown."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from tests.benchmarks.places import DATA, needs
from tests.worlds import rows, write
from ttsi.benchmarks import BENCHMARKS, Benchmark, load, summaries
from ttsi.benchmarks.matching import grade
from ttsi.chat.calls import FORMATS
from ttsi.errors import ConfigError, DataError
from ttsi.types import Answer, ToolCall

needs_data = needs("hammer-eval")


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
def test_sealtool_dev_has_136_other_questions() -> None:
    dev, test = load("sealtool-dev", DATA), load("sealtool", DATA)
    check(dev, 136)
    assert load("sealtool", DATA, split="dev") == dev
    shared = {s.input.content_hash for s in dev.samples} & {s.input.content_hash for s in test.samples}
    assert not shared


@needs("seal-tools")
@pytest.mark.parametrize(
    ("name", "rows", "calls", "nested", "unsolvable"),
    [
        ("seal-tools-in", 700, 1795, 30, 2),
        ("seal-tools-out", 654, 1937, 27, 3),
        ("seal-tools-dev", 636, 1740, 28, 3),
    ],
)
def test_the_whole_splits_of_seal_tools(name: str, rows: int, calls: int, nested: int, unsolvable: int) -> None:
    samples = load(name, DATA).samples
    assert (len(samples), len({sample.input.id for sample in samples})) == (rows, rows)
    assert sum(len(sample.gold or ()) for sample in samples) == calls
    assert all(len(sample.input.tools) == 5 for sample in samples)
    assert sum(sample.tags["nested"] == "yes" for sample in samples) == nested
    assert sum(sample.tags["solvable"] == "no" for sample in samples) == unsolvable


@needs("seal-tools")
@pytest.mark.parametrize("spoken", FORMATS)
@pytest.mark.parametrize("name", ["sealtool", "seal-tools-in", "seal-tools-out"])
def test_golds_of_seal_tools_can_be_said_in_every_format_and_mutated_ones_are_wrong(name: str, spoken: str) -> None:
    fmt = FORMATS[spoken]
    for sample in load(name, DATA).samples:
        gold = sample.gold or ()
        if sample.tags.get("solvable") == "no" or (len(gold) > 1 and not fmt.several):
            continue
        parsed = fmt.parse(fmt.render(gold), sample.input.tools)
        assert grade(Answer("", parsed.calls, parsed.error), gold)["lenient"], sample.input.id
        for wrong in (gold[1:], (*gold, gold[0]), (ToolCall("x", gold[0].arguments), *gold[1:])):
            assert not grade(Answer("", wrong), gold)["lenient"]
        for key in gold[0].arguments:
            wrong = (ToolCall(gold[0].name, {**gold[0].arguments, key: "another value"}), *gold[1:])
            assert not grade(Answer("", wrong), gold)["lenient"]


def test_a_row_of_a_whole_split_becomes_a_sample(tmp_path: Path) -> None:
    pool_tool = {
        "api_name": "getPool", "api_description": "Find a pool.", "field": "Sport/Pools", "required": ["city"],
        "parameters": {"city": {"type": "str", "description": "City", "example_values": ["Oslo"]}}, "responses": {},
    }  # fmt: skip
    hours = {
        **pool_tool,
        "api_name": "getHours",
        "parameters": {"pool": {"type": "str", "description": "Pool"}},
        "required": [],
    }
    rows: list[dict[str, Any]] = [
        {"id": "t-1", "query": "When?", "calling": [
            {"api": "getPool", "parameters": {"city": "Oslo"}, "responses": ["API_call_0"]},
            {"api": "getHours", "parameters": {"pool": "API_call_0"}, "responses": ["API_call_1"]}]},
        {"id": "t-2", "query": "Who?", "calling": [{"api": "getOwner", "parameters": {}, "responses": ["API_call_0"]}]},
    ]  # fmt: skip
    prompt = f"api_list = {[pool_tool, hours]!r}\ntask_instruction = 'When?'\nOutput:"
    folder = tmp_path / "seal-tools" / "dataset_for_finetune"
    folder.mkdir(parents=True)
    prompts = [{"id": row["id"], "conversations": [{"from": "human", "value": prompt}]} for row in rows]
    (folder / "test_in_domain.json").write_text(json.dumps(prompts))
    plain = folder.parent / "test_in_domain.jsonl"
    plain.write_text("".join(json.dumps(row) + "\n" for row in rows))
    first, second = load("seal-tools-in", tmp_path).samples
    assert first.gold == (ToolCall("getPool", {"city": "Oslo"}), ToolCall("getHours", {"pool": "API_call_0"}))
    assert dict(first.tags) == {"kind": "multi", "nested": "yes", "solvable": "yes"}
    assert dict(second.tags) == {"kind": "single", "nested": "no", "solvable": "no"}
    assert first.input.tools[0].parameters["properties"]["city"]["examples"] == ["Oslo"]
    plain.write_text(json.dumps({"id": "t-3", "query": "x", "calling": []}) + "\n")
    with pytest.raises(DataError, match="this is not Seal-Tools"):
        load("seal-tools-in", tmp_path)


def test_sealtool_without_data_says_where_to_look(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TTSI_HOME", str(tmp_path / "home"))
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
    [sample] = load("sealtool", tmp_path).samples
    assert sample.input.tools[0].parameters == {
        "type": "object",
        "properties": {"day": {"type": "string", "description": "d"}, "lanes": {"type": "integer", "description": ""}},
        "required": ["day"],
    }
    path.write_bytes(gzip.compress(json.dumps([{"question": "open?"}]).encode()))
    with pytest.raises(DataError, match="row 1"):
        load("sealtool", tmp_path)
    path.write_bytes(gzip.compress(b"{oops"))
    with pytest.raises(DataError, match="not the expected JSON"):
        load("sealtool", tmp_path)


def test_toolworld_ships_complete() -> None:
    test, validation = load("toolworld"), load("toolworld-validation")
    check(test, 640)
    check(validation, 400)
    assert (test.name, validation.name) == ("toolworld", "toolworld-validation")
    shared = {s.input.content_hash for s in test.samples} & {s.input.content_hash for s in validation.samples}
    assert not shared
    assert load("toolworld", split="validation") == validation
    with pytest.raises(ConfigError, match="did you mean 'validation'"):
        load("toolworld", split="validate")


def test_a_split_of_what_is_whole_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = str(write(tmp_path / "mine.jsonl", rows(2)))
    (tmp_path / "whole_sets.py").write_text(
        f"from ttsi.benchmarks import load\nmade = load({file!r})\ndef make(): return made\n"
        "def choose(split): return made\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    whole = ["toolworld-validation", "toolworld-agents-validation", "toolworld-turns-validation"]
    for name in (file, "whole_sets:made", "whole_sets:make", *whole):
        with pytest.raises(ConfigError, match="is not divided, so it has no split 'train': leave the split out"):
            load(name, split="train")
        assert load(name, split="test").checksum == load(name).checksum, "control: the split where none is named"
    for name in sorted(BENCHMARKS):
        with pytest.raises(ConfigError, match=r"no split 'trial'|unknown split of"):
            load(name, DATA, split="trial")
    assert load("whole_sets:choose", split="train").samples, "control: one that looks at the split"


def test_unknown_names_get_a_hint() -> None:
    with pytest.raises(ConfigError, match="did you mean 'toolworld'"):
        load("tool-world")
    assert all(summaries(BENCHMARKS).values())
