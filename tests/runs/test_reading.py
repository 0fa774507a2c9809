"""A run folder comes back as typed values, whatever version wrote it; and what cannot be read is named in one line."""

from __future__ import annotations

import json
import math
import sqlite3
import sys
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.worlds import rows, write
from ttsi.benchmarks import load as load_benchmark
from ttsi.config import RunConfig
from ttsi.errors import ConfigError, RunFolderError
from ttsi.methods import preset
from ttsi.models import load
from ttsi.record import STAGES
from ttsi.runs import database
from ttsi.runs.provenance import resolve, settings_of
from ttsi.runs.reading import load_run, parse_settings
from ttsi.runs.repair import repair
from ttsi.runs.row_export import COLUMNS
from ttsi.runs.run_folders import RunFolders, run_folders
from ttsi.runs.runner import run
from ttsi.runs.store import open_run, read_rows

LOOP = preset("ttsi", "embedded")
CONFIG = RunConfig("mine", "scripted:demo", loop=replace(LOOP, awareness=replace(LOOP.awareness, tau=math.inf), seed=3))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    benchmark = load_benchmark(str(write(tmp_path / "mine.jsonl", rows(6))))
    config, model = replace(CONFIG, data=tmp_path), load("scripted:demo")
    with open_run(tmp_path / "run", resolve(config, benchmark, model, model)) as store:
        run(benchmark, model, model, config, store)
    return tmp_path / "run"


def edit(folder: Path, change: Any) -> None:
    path = folder / "config.json"
    record = json.loads(path.read_text(encoding="utf-8"))
    change(record)
    path.write_text(json.dumps(record), encoding="utf-8")


def test_a_run_is_typed(folder: Path) -> None:
    loaded = load_run(str(folder))
    assert loaded.config == replace(CONFIG, data=folder.parent)
    assert (loaded.name, loaded.seed, loaded.adapts, loaded.final_side) == ("run", 3, True, "adapted")
    assert (loaded.data.benchmark, loaded.data.matcher, loaded.data.n) == ("mine", "strict", 6)
    assert list(loaded.rows) == read_rows(folder)
    written = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
    assert {name: written[name] for name in loaded.summary} == loaded.summary
    assert loaded.versions["ttsi"] and loaded.prompt_hash and loaded.weights is None
    assert loaded.train is None and "python" in loaded.machine


@pytest.mark.parametrize("method", ["ttsi", "base", "sft", "vote"])
def test_settings_come_back_as_they_were(method: str) -> None:
    config = replace(CONFIG, method=method, loop=preset(method, "embedded"), data=Path("data"), limit=4)
    assert parse_settings(json.loads(json.dumps(settings_of(config)))) == config


def test_a_row_answers_for_itself(folder: Path) -> None:
    row = load_run(folder).rows[0]
    assert row.episode.awareness is not None
    assert row.measure(row.episode.awareness.measure) == row.episode.awareness.value
    assert row.measure("no such measure") is None
    assert row.right("base", "strict") is row.grades["strict"]["base"]  # type: ignore[index]
    assert row.right("base", "no such rule") is None
    assert row.answer("adapted") is row.episode.adapted
    assert set(row.episode.seconds) <= set(STAGES)


def test_a_setting_that_is_younger_than_the_run_has_its_default(folder: Path) -> None:
    edit(folder, lambda record: (record["settings"].pop("split"), record["settings"]["loop"]["answer"].pop("calls")))
    loaded = load_run(folder)
    assert (loaded.config.split, loaded.config.loop.answer.calls) == ("test", "auto")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda record: record.pop("data"), "config.json lacks 'data'"),
        (lambda record: record["settings"].pop("loop"), "config.json lacks 'loop'"),
        (lambda record: record["settings"].update(batch_size=0), "cannot be read: batch_size is 0"),
        (lambda record: record["settings"].update(loop={"answer": 3, "seed": "x"}), "cannot be read: .* validation"),
    ],
)
def test_a_record_that_lacks_something_is_named_in_one_line(folder: Path, change: Any, message: str) -> None:
    edit(folder, change)
    with pytest.raises(RunFolderError, match=message) as refusal:
        load_run(folder)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("value", ["[" * 20_000 + "]" * 20_000, "9" * 5000])
def test_what_json_cannot_read_is_one_line(folder: Path, value: str) -> None:
    text = (folder / "config.json").read_text(encoding="utf-8")
    (folder / "config.json").write_text(text.replace("{", f'{{"deep": {value},', 1), encoding="utf-8")
    with pytest.raises(RunFolderError, match=r"config\.json cannot be read") as refusal:
        load_run(folder)
    assert "\n" not in str(refusal.value)
    (folder / "config.json").write_text(text, encoding="utf-8")
    assert load_run(folder).rows  # control


@pytest.mark.parametrize("value", ["[" * 20_000 + "]" * 20_000, "9" * 5000])
def test_a_row_that_json_cannot_read_is_one_line(folder: Path, value: str) -> None:
    with closing(sqlite3.connect(folder / "run.db", isolation_level=None)) as db:
        columns = db.execute(f"SELECT {database.COLUMNS} FROM episodes WHERE position = 0").fetchone()
        changed = (*columns[:4], columns[4].replace("{", f'{{"deep": {value},', 1), *columns[5:])
        new = (changed[4], database.checksum(changed))
        db.execute("UPDATE episodes SET json = ?, checksum = ? WHERE position = 0", new)
    for read in (load_run, repair):
        with pytest.raises(RunFolderError, match="has a row that this ttsi cannot read") as refusal:
            read(folder)
        assert "\n" not in str(refusal.value)


def test_no_run_and_no_rows(tmp_path: Path) -> None:
    with pytest.raises(RunFolderError, match="holds no run"):
        load_run(tmp_path)


def test_a_folder_of_runs_is_its_runs_and_each_counts_once(folder: Path) -> None:
    assert run_folders([folder]) == run_folders([folder.parent]) == RunFolders([folder], [])
    assert run_folders([folder.parent / "none"]).runs == [folder.parent / "none"]
    with pytest.raises(ConfigError, match="is named twice"):
        run_folders([folder, folder.parent])


def test_rows_become_a_data_frame(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    frame = SimpleNamespace(DataFrame=lambda lines, columns: (lines, columns))
    monkeypatch.setitem(sys.modules, "pandas", frame)
    lines, columns = load_run(folder).to_pandas()
    assert columns == list(COLUMNS)
    assert [line["input_id"] for line in lines] == [f"q{i}" for i in range(6)]
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ConfigError, match="pip install pandas"):
        load_run(folder).to_pandas()


def test_a_real_data_frame(folder: Path) -> None:
    pytest.importorskip("pandas")
    frame = load_run(folder).to_pandas()
    assert list(frame.columns) == list(COLUMNS)
    assert len(frame) == 6
