"""Is the order of a run drawn once, the same for every limit, without changing what a row is called?"""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest

import ttsi.config_history
from tests.worlds import rows, write
from ttsi.benchmarks import Benchmark, load
from ttsi.config import RunConfig
from ttsi.config_history import digest
from ttsi.errors import ConfigError
from ttsi.runs.plan import PlannedSample, plan
from ttsi.runs.store import read_json, read_rows

MINE = ("run", "--benchmark", "mine.jsonl", "--model", "scripted:demo", "--quiet", "--output-dir", "out")
SHUFFLED = (*MINE, "--order-seed", "3")


@pytest.fixture
def mine(tmp_path: Path) -> Benchmark:
    """Ten inputs, the last two of them equal to the first two but for their ids."""
    ten = [*rows(8), *({**row, "id": f"again-{row['id']}"} for row in rows(2))]
    return load(str(write(tmp_path / "ten.jsonl", ten)))


def places(benchmark: Benchmark, **settings: Any) -> list[int]:
    return [item.position for item in plan(benchmark, RunConfig(**settings))]


def test_a_larger_limit_contains_the_smaller_ones_in_every_order(mine: Benchmark) -> None:
    whole = places(mine, order_seed=3)
    assert sorted(whole) == list(range(10)) != whole
    for limit in range(1, 11):
        assert places(mine, order_seed=3, limit=limit) == whole[:limit]
    assert whole != places(mine, order_seed=4) != places(mine)  # controls
    assert places(mine, limit=4) == [0, 1, 2, 3]


def test_a_row_has_the_same_key_and_place_in_every_order(mine: Benchmark) -> None:
    def by_id(items: list[PlannedSample]) -> dict[str, tuple[Any, int]]:
        return {item.sample.input.id: (item.key, item.position) for item in items}

    usual = by_id(plan(mine, RunConfig()))
    orders = [plan(mine, RunConfig(order_seed=seed)) for seed in range(20)]
    assert all(by_id(order) == usual for order in orders)
    assert usual["again-q0"][0] == (usual["q0"][0][0], 1)
    # Control: in some order the second of two equal inputs comes first, and would have had the key of the first.
    assert any([item.repeat for item in order if item.key[0] == usual["q0"][0][0]] == [1, 0] for order in orders)


def test_the_order_is_a_setting_of_the_run(ttsi: Any, tmp_path: Path) -> None:
    assert ttsi(*SHUFFLED, "--limit", "3").code == 0
    record = read_json(tmp_path / "out" / "config.json")
    assert record["settings"]["order_seed"] == 3
    few = {row.key for row in read_rows(tmp_path / "out")}
    refused = ttsi(*MINE, "--limit", "3", "--order-seed", "4", "--resume")
    assert (refused.code, "order_seed: 3 -> 4" in refused.err) == (2, True)
    assert ttsi(*SHUFFLED, "--limit", "5", "--resume").code == 0
    assert {row.key for row in read_rows(tmp_path / "out")} > few
    assert ttsi(*SHUFFLED, "--limit", "100", "--resume").code == 0
    whole = [(row.key, row.position, row.grades) for row in read_rows(tmp_path / "out")]
    assert ttsi(*MINE[:-1], "plain").code == 0
    assert whole == [(row.key, row.position, row.grades) for row in read_rows(tmp_path / "plain")]


def test_a_run_that_knew_no_order_keeps_its_digest() -> None:
    assert "order_seed" in asdict(RunConfig())
    for config in (RunConfig(), RunConfig(limit=4)):
        with patch.object(
            ttsi.config_history, "asdict", lambda value: {k: v for k, v in asdict(value).items() if k != "order_seed"}
        ):
            before = digest(config)
        assert digest(config) == before != digest(replace(config, order_seed=0))
    with pytest.raises(ConfigError, match="order_seed is -1: use 0 or more"):
        RunConfig(order_seed=-1)
