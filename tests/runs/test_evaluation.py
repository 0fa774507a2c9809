"""`evaluate` is the command in one call: the same summary, record and resume, from names or from objects."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.worlds import rows, write
from ttsi.benchmarks import load as load_benchmark
from ttsi.errors import ConfigError, RunFolderError
from ttsi.methods import preset
from ttsi.models import load
from ttsi.runs.evaluation import evaluate
from ttsi.runs.store import read_json, read_rows


def results(summary: dict[str, Any]) -> dict[str, Any]:
    """The summary without wall times."""
    return {name: value for name, value in summary.items() if name != "seconds"}


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    return write(tmp_path / "mine.jsonl", rows(8))


def test_it_is_the_command(ttsi: Any, tmp_path: Path) -> None:
    summary = evaluate("mine.jsonl", "scripted:demo", output_dir="out")
    assert ttsi("run", "--benchmark", "mine.jsonl", "--model", "scripted:demo", "--output-dir", "command").code == 0
    assert results(summary) == results(read_json(tmp_path / "command" / "summary.json"))
    assert summary == read_json(tmp_path / "out" / "summary.json")
    configs = [read_json(tmp_path / name / "config.json") for name in ("out", "command")]
    assert configs[0] == configs[1]
    # The command goes on with it, and finds nothing to do.
    again = ("run", "--benchmark", "mine.jsonl", "--model", "scripted:demo", "--output-dir", "out", "--resume")
    assert ttsi(*again).code == 0


def test_objects_do_as_well_as_names(mine: Path) -> None:
    by_name = evaluate(mine, "scripted:demo", "ttsi")
    by_object = evaluate(load_benchmark(str(mine)), load("scripted:demo"), preset("ttsi", "embedded"))
    assert results(by_object) == {**results(by_name), "benchmark": by_object["benchmark"]}


def test_without_a_folder_nothing_is_kept(mine: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path / "tmp"))
    monkeypatch.setattr("tempfile.tempdir", None)
    (tmp_path / "tmp").mkdir()
    assert evaluate(mine, "scripted:demo", "base")["adapted"] is None
    assert list((tmp_path / "tmp").iterdir()) == []


def test_called_again_it_does_what_is_missing(mine: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out, batches = tmp_path / "out", list[int]()
    assert evaluate(mine, "scripted:demo", output_dir=out, limit=3, batch_size=2)["n"] == 3
    first = read_rows(out)
    steps: list[int] = []
    summary = evaluate(mine, "scripted:demo", output_dir=out, batch_size=2, on_batch=lambda now: steps.append(now.done))
    assert (summary["n"], steps[0], steps[-1], read_rows(out)[:3]) == (8, 3, 8, first)
    # A third time there is nothing to do: the loop is not entered.
    monkeypatch.setattr("ttsi.loop.improve", lambda *arguments: batches.append(1))
    assert results(evaluate(mine, "scripted:demo", output_dir=out, batch_size=2)) == results(summary)
    assert batches == []
    # Control: other settings are another run, unless the folder is cleaned.
    with pytest.raises(RunFolderError, match="differs in seed: 0 -> 7"):
        evaluate(mine, "scripted:demo", replace(preset("ttsi", "embedded"), seed=7), out, batch_size=2)
    monkeypatch.undo()
    assert evaluate(mine, "scripted:demo", "base", out, clean=True)["method"] == "base"


def test_settings_go_by_the_method_that_they_change(mine: Path) -> None:
    changed = preset("ttsi", "embedded")
    changed = replace(changed, synthesis=replace(changed.synthesis, k=3))
    for config, method in (
        (preset("ttsi-icl", "embedded"), "ttsi-icl"),
        (changed, "ttsi"),
        (replace(changed, adapt=False), "base"),
    ):
        assert evaluate(mine, "scripted:demo", config, limit=2)["method"] == method
    teacher = replace(preset("ttd", "embedded"), synthesis=replace(preset("ttd", "embedded").synthesis, k=2))
    assert evaluate(mine, "scripted:demo", teacher, limit=2, teacher=load("scripted:demo"))["method"] == "ttd"


def test_a_method_without_its_data_is_refused_before_anything_is_written(mine: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="needs --train-data"):
        evaluate(mine, "scripted:demo", "icl", tmp_path / "out")
    assert not (tmp_path / "out").exists()
    train = write(tmp_path / "train.jsonl", rows(12)[8:])
    assert evaluate(mine, "scripted:demo", "icl", tmp_path / "out", train_data=str(train))["n"] == 8
