"""Is a random gate exactly as large as it was told to be, and the same for the same seed?"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.worlds import rows, write
from ttsi.awareness.selection import gate_uniform
from ttsi.benchmarks import load as load_benchmark
from ttsi.config import RunConfig
from ttsi.errors import DataError
from ttsi.methods import preset
from ttsi.models import load
from ttsi.runs.plan import exact_share, plan
from ttsi.runs.provenance import resolve
from ttsi.runs.runner import run
from ttsi.runs.store import open_run, read_rows
from ttsi.runs.training_data import load_training_data


def config(path: Path, share: float, seed: int = 0, gate: str = "random", **changes: Any) -> RunConfig:
    loop = preset("ttsi", "embedded")
    loop = replace(loop, seed=seed, awareness=replace(loop.awareness, gate=gate, share=share))  # type: ignore[arg-type]
    return RunConfig(str(path), "scripted:demo", loop=loop, **changes)


@pytest.mark.parametrize("share", [0.0, 0.3, 0.5, 1.0])
def test_exactly_the_share_is_adapted_in_whatever_batches(tmp_path: Path, share: float) -> None:
    path = write(tmp_path / "mine.jsonl", rows(10))
    benchmark, model = load_benchmark(str(path)), load("scripted:demo")
    adapted = []
    for size in (3, 10):
        settings = config(path, share, batch_size=size)
        folder = tmp_path / str(size)
        with open_run(folder, resolve(settings, benchmark, model, model)) as store:
            run(benchmark, model, model, settings, store)
        adapted.append([r.episode.input_id for r in read_rows(folder) if r.episode.adaptation.status != "none"])
    assert adapted[0] == adapted[1]
    assert len(adapted[0]) == round(10 * share)


def test_another_seed_draws_others_and_control_another_gate_draws_none(tmp_path: Path) -> None:
    path = write(tmp_path / "mine.jsonl", rows(10))
    benchmark = load_benchmark(str(path))
    chosen = []
    for seed in range(4):
        settings = config(path, 0.5, seed)
        places = plan(benchmark, settings)
        cut = exact_share(settings.loop, places).awareness.share
        chosen.append(tuple(gate_uniform(seed, place.input_hash, place.repeat) < cut for place in places))
        assert sum(chosen[-1]) == 5
    assert len(set(chosen)) > 1
    unsure = config(path, 0.5, gate="unsure")
    assert exact_share(unsure.loop, plan(benchmark, unsure)) is unsure.loop


def test_a_split_can_be_named_and_rows_without_gold_are_no_lesson(tmp_path: Path) -> None:
    lines = rows(4)
    del lines[1]["gold"]
    path, other = write(tmp_path / "train.jsonl", lines), write(tmp_path / "test.jsonl", rows(6)[4:])
    learns = RunConfig(str(other), "scripted:demo", method="icl", loop=preset("icl", "embedded"), train_data=str(path))
    data = load_training_data(learns, load_benchmark(str(other)))
    assert data is not None and sorted(pair.input.id for pair in data.pairs) == ["q0", "q2", "q3"]
    named = replace(learns, train_data="toolworld-validation:test", train_limit=3)
    chosen = load_training_data(named, load_benchmark(str(other)))
    assert chosen is not None and (chosen.name, len(chosen.pairs)) == ("toolworld-validation", 3)


def test_single_turns_of_agents_are_lessons_and_tasks_of_several_turns_are_none() -> None:
    test = load_benchmark("toolworld-turns")
    turns = RunConfig(
        "toolworld-turns", "scripted:demo", method="icl", loop=preset("icl", "embedded"),
        train_data="toolworld-turns-validation",
    )  # fmt: skip
    data = load_training_data(turns, test)
    assert data is not None and len(data.pairs) > 200
    with pytest.raises(DataError, match="toolworld-agents-validation holds agents' tasks of several turns"):
        load_training_data(replace(turns, train_data="toolworld-agents-validation"), test)
