"""The rows that ship are 64 of Seal-Tools' dev split, drawn by a seed; nothing else holds one of them."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tests.benchmarks.places import DATA, needs
from ttsi.benchmarks import Benchmark, load, sealtools, training_pools
from ttsi.benchmarks.conversion import Conversion, PublicBenchmark
from ttsi.benchmarks.matching import grade
from ttsi.benchmarks.micro_f1 import OFFICIAL
from ttsi.errors import ConfigError
from ttsi.types import Answer

SEED, ROWS = 19, 64
TESTS = ("sealtool", "seal-tools-in", "seal-tools-out")
DEV = ("sealtool-dev", "seal-tools-dev", "sealtool:dev")


def whole_dev() -> Benchmark:
    """The 700 rows of dev, with those that ship."""
    [rows] = sealtools.DEV.splits.values()
    plain = Conversion(rows[0].dataset, rows[0].files, rows[0].convert, rows[0].form)
    return PublicBenchmark("whole-dev", "", {"dev": (plain,)})(DATA)


def drawn_ids(dev: Benchmark) -> list[str]:
    """The ids of the draw, in its order."""
    single = [sample.input.id for sample in dev.samples if sample.tags["kind"] == "single"]
    assert len(single) == 200
    return random.Random(SEED).sample(single, ROWS)


def shared_rows(one: Benchmark, other: Benchmark) -> set[str]:
    """What two benchmarks share: content, or the words of a request."""
    hashes = {sample.input.content_hash for sample in one.samples}
    same = {sample.input.id for sample in other.samples if sample.input.content_hash in hashes}
    return same | set(training_pools.contaminated_ids(other, one))


def test_the_sample_ships_whole() -> None:
    sample = load("sealtool-sample")
    assert (len(sample.samples), len(sealtools.sample_ids()), sample.matcher) == (ROWS, ROWS, "lenient")
    assert "sealtool-sample" in OFFICIAL
    for row in sample.samples:
        assert row.gold is not None and len(row.gold) == 1 and len(row.input.tools) == 5
        assert row.gold[0].name in {tool.name for tool in row.input.tools}
        assert grade(Answer("", row.gold), row.gold)["lenient"]
        assert not grade(Answer("", ()), row.gold)["lenient"]
    with pytest.raises(ConfigError, match="unknown split of sealtool-sample"):
        load("sealtool-sample", split="dev")


def test_licence_and_notice_stand_beside_it() -> None:
    folder = sealtools.SAMPLE.parent
    assert "Apache License" in (folder / "LICENSE-APACHE-2.0").read_text()
    notice = (folder / "NOTICE").read_text()
    for fact in (sealtools.SAMPLE.name, "Apache License, Version 2.0", "github.com/fairyshine/Seal-Tools", "ce753ecd",
                 "changed the files", f"seed {SEED}"):  # fmt: skip
        assert fact in notice, fact


@needs("seal-tools")
def test_the_rows_are_those_of_the_draw_as_dev_has_them() -> None:
    dev = whole_dev()
    rows = {sample.input.id: sample for sample in dev.samples}
    sample = load("sealtool-sample")
    assert [row.input.id for row in sample.samples] == drawn_ids(dev)
    for row in sample.samples:
        assert (row.input, row.gold) == (rows[row.input.id].input, rows[row.input.id].gold)


@needs("seal-tools")
@pytest.mark.parametrize("name", [*DEV, *TESTS])
def test_nothing_else_has_a_row_of_the_sample(name: str) -> None:
    benchmark, _, split = name.partition(":")
    assert shared_rows(load("sealtool-sample"), load(benchmark, DATA, split or "test")) == set()


@needs("seal-tools")
def test_the_training_pool_has_no_row_of_the_sample() -> None:
    pool = training_pools.load("seal-tools-dev", DATA, test=load("sealtool-sample"))
    assert len(pool.samples) == 700 - ROWS


@needs("seal-tools")
def test_control_in_the_whole_of_dev_every_row_of_the_sample_is_seen() -> None:
    dev = whole_dev()
    assert len(dev.samples) == 700
    assert shared_rows(load("sealtool-sample"), dev) >= sealtools.sample_ids()


@needs("seal-tools")
def test_the_rest_of_dev_is_not_taken_for_all_of_it() -> None:
    """A run folder keeps the checksum of its data, so a run of all rows is neither shown nor continued as this one."""
    assert load("seal-tools-dev", DATA).checksum != whole_dev().checksum


def test_an_excluded_row_is_left_out_and_counted_by_nobody(tmp_path: Path) -> None:
    path = tmp_path / "made" / "rows.jsonl"
    path.parent.mkdir()
    path.write_text('{"id": "a"}\n{"id": "b"}\n')

    def rows(values: list[dict[str, str]]) -> object:
        return ({**value, "messages": [{"role": "user", "content": "hi"}], "tools": []} for value in values)

    def read(*excluded: str) -> Benchmark:
        conversion = Conversion("made", ("rows.jsonl",), rows, "made up", excluded_ids=lambda: frozenset(excluded))  # type: ignore[arg-type]
        return PublicBenchmark("made", "", {"test": (conversion,)})(tmp_path)

    assert [sample.input.id for sample in read("a").samples] == ["b"]
    assert [sample.input.id for sample in read().samples] == ["a", "b"]  # control
    assert len({read().checksum, read("a").checksum, read("b").checksum}) == 3
