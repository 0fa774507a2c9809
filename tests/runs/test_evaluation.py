"""`evaluate` is the command in one call: the same summary, record and resume, from names or from objects."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.worlds import rows, write
from ttsi.benchmarks import load as load_benchmark
from ttsi.config import LoopConfig, TeacherConfig
from ttsi.errors import ConfigError, ModelError, RunFolderError
from ttsi.methods import preset
from ttsi.models import load
from ttsi.plurals import kind_of
from ttsi.runs.evaluation import evaluate
from ttsi.runs.reading import load_run
from ttsi.runs.store import read_json, read_rows, write_json


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


def test_a_split_of_a_file_or_an_object_is_refused_and_an_older_record_of_one_goes_on(
    ttsi: Any, tmp_path: Path
) -> None:
    for benchmark in ("mine.jsonl", Path("mine.jsonl"), load_benchmark("mine.jsonl")):
        with pytest.raises(ConfigError, match="has no split 'train': leave the split out"):
            evaluate(benchmark, "scripted:demo", split="train")
    run = ("run", "--benchmark", "mine.jsonl", "--model", "scripted:demo", "--output-dir", "out")
    assert ttsi(*run, "--split", "train").code == 2
    assert ttsi(*run, "--limit", "2").code == 0
    config = read_json(tmp_path / "out" / "config.json")
    config["settings"]["split"] = "train"  # as an older version recorded it
    write_json(tmp_path / "out" / "config.json", config)
    assert ttsi("run", "--resume", "--output-dir", "out").code == 0
    assert evaluate("mine.jsonl", "scripted:demo", output_dir="out")["n"] == 8
    # Control: a named benchmark of another split is another run.
    assert ttsi(*run[:1], *run[3:-1], "named", "--limit", "1").code == 0
    with pytest.raises(RunFolderError, match='split: "test" -> "validation"'):
        evaluate("toolworld", "scripted:demo", output_dir="named", limit=1, split="validation")


def test_a_method_of_agents_is_refused_before_a_model_is_loaded(mine: Path) -> None:
    for config in (preset("explore", "embedded"), changed("ttsi", "adaptation", method="explore")):
        with pytest.raises(ConfigError, match="method explore is for agents' tasks, and mine has none"):
            evaluate(mine, "no-such-model", config)
    with pytest.raises(ModelError, match="no-such-model"):
        evaluate(mine, "no-such-model", "ttsi")  # control
    assert evaluate("toolworld-turns-validation", "scripted:demo", "explore", limit=1)["n"] == 1, "control"


def test_arguments_of_a_wrong_type_are_one_line(mine: Path, tmp_path: Path) -> None:
    inputs = [sample.input for sample in load_benchmark(str(mine)).samples]
    for wrong in (inputs, inputs[0], None, {"messages": []}):
        with pytest.raises(ConfigError, match=rf"^benchmark is {kind_of(wrong)}: give a name, a \.jsonl file"):
            evaluate(wrong, "scripted:demo")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="on_batch is an int: give a function of the progress, or None"):
        evaluate(mine, "scripted:demo", on_batch=3)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="output_dir is an int: give a path"):
        evaluate(mine, "scripted:demo", output_dir=3)  # type: ignore[arg-type]
    with pytest.raises(RunFolderError, match="folder is None: give the path of a run's folder"):
        load_run(None)  # type: ignore[arg-type]
    # Control: None is no function of the progress, and the training data may be a path.
    train = write(tmp_path / "train.jsonl", rows(12)[8:])
    out = tmp_path / "out"
    assert evaluate(mine, "scripted:demo", "icl", out, train_data=train, on_batch=None, limit=2)["n"] == 2
    assert load_run(out).config.train_data == str(train)


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
    with pytest.raises(RunFolderError, match=r"differs in seed: 0 -> 7: .*--clean \(in Python: clean=True\)"):
        evaluate(mine, "scripted:demo", replace(preset("ttsi", "embedded"), seed=7), out, batch_size=2)
    monkeypatch.undo()
    assert evaluate(mine, "scripted:demo", "base", out, clean=True)["method"] == "base"


def changed(name: str, stage: str = "", **values: Any) -> LoopConfig:
    """A method's settings for the scripted model, of which one stage's are changed."""
    config = preset(name, "embedded")
    return replace(config, **{stage: replace(getattr(config, stage), **values)}) if stage else replace(config, **values)


@pytest.mark.parametrize(
    ("config", "method"),
    [
        (preset("vote", "embedded"), "vote"),
        (changed("ttsi-icl", seed=7), "ttsi-icl"),
        (changed("base", "awareness", tau=-0.5), "base"),
        (changed("ttsi", adapt=False), "base"),
        (changed("vote", "answer", samples=7), "custom"),
        (changed("ttsi-icl", "awareness", tau=-0.5), "custom"),
        (changed("ttsi", "synthesis", k=3), "custom"),
    ],
)
def test_settings_go_by_a_method_only_where_they_are_its_settings(mine: Path, config: LoopConfig, method: str) -> None:
    assert evaluate(mine, "scripted:demo", config, limit=2)["method"] == method


@pytest.mark.parametrize(
    ("config", "method"),
    [
        (changed("vote", "answer", samples=7), "vote"),
        (changed("ttsi-icl", "awareness", tau=-0.5), "ttsi-icl"),
        (changed("icl", "synthesis", k=2), "icl"),
        (None, "vote"),
    ],
)
def test_settings_go_by_the_name_that_the_caller_gives(
    mine: Path, tmp_path: Path, config: LoopConfig | None, method: str
) -> None:
    train = str(write(tmp_path / "train.jsonl", rows(12)[8:])) if method == "icl" else None
    out = tmp_path / "out"
    summary = evaluate(mine, "scripted:demo", config, out, method=method, limit=2, train_data=train)
    assert summary["method"] == method == load_run(out).config.method
    # Control: another name is another run.
    with pytest.raises(RunFolderError, match=f'differs in .*method: "{method}" -> "custom"'):
        evaluate(mine, "scripted:demo", config or changed(method, "answer", samples=7), out, limit=2, train_data=train)


def test_a_name_that_contradicts_the_settings_is_refused(mine: Path) -> None:
    with pytest.raises(ConfigError, match="config is already a method's name, 'ttsi'"):
        evaluate(mine, "scripted:demo", "ttsi", method="vote")
    with pytest.raises(ConfigError, match=r"config\.adapt is True, and method base says otherwise"):
        evaluate(mine, "scripted:demo", preset("ttsi", "embedded"), method="base")
    with pytest.raises(ConfigError, match="unknown method 'votes'"):
        evaluate(mine, "scripted:demo", preset("vote", "embedded"), method="votes")


def test_a_teacher_s_methods_are_told_from_the_others(mine: Path) -> None:
    teacher = load("scripted:demo")
    for config, method in (
        (preset("ttd", "embedded"), "ttd"),
        (preset("ttsi-paper", "embedded"), "ttsi-paper"),
        (changed("ttd", "synthesis", k=2), "custom"),
        (preset("ttsi", "embedded"), "custom"),  # with a teacher it would be ttd
    ):
        assert evaluate(mine, "scripted:demo", config, limit=2, teacher=teacher)["method"] == method
    # Control: the same settings without a teacher.
    assert evaluate(mine, "scripted:demo", preset("ttsi", "embedded"), limit=2)["method"] == "ttsi"


def test_custom_settings_still_lack_their_data(mine: Path) -> None:
    with pytest.raises(ConfigError, match="needs --train-data"):
        evaluate(mine, "scripted:demo", changed("icl", "synthesis", k=2))
    with pytest.raises(ConfigError, match="learns from no file"):
        evaluate(mine, "scripted:demo", changed("ttsi", "synthesis", k=2), train_data=str(mine))


def test_a_paid_teacher_has_the_limits_that_python_gives(mine: Path, tmp_path: Path, monkeypatch: Any) -> None:
    given: list[tuple[str, TeacherConfig]] = []

    def load_teacher(spec: str, model: Any, config: TeacherConfig, *_: str) -> Any:
        given.append((spec, config))
        return model

    monkeypatch.setattr("ttsi.runs.evaluation.load_teacher", load_teacher)
    limits = TeacherConfig(budget="5000tokens", cache=tmp_path / "teacher.db")
    evaluate(mine, "scripted:demo", "ttd", tmp_path / "out", teacher="openai:m", teacher_config=limits, limit=1)
    assert given == [("openai:m", limits)]
    assert load_run(tmp_path / "out").config.teacher_budget == "5000tokens", "as the command records it"
    # Control: without limits there are none, and that is another run.
    evaluate(mine, "scripted:demo", "ttd", tmp_path / "free", teacher="openai:m", limit=1)
    assert given[1:] == [("openai:m", TeacherConfig())]
    assert load_run(tmp_path / "free").config.teacher_budget is None


@pytest.mark.parametrize("teacher", [None, "scripted:demo", load("scripted:demo")])
def test_limits_without_an_endpoint_are_refused(mine: Path, teacher: Any) -> None:
    with pytest.raises(ConfigError, match="teacher_config is for a teacher behind an endpoint"):
        evaluate(mine, "scripted:demo", "ttd", teacher=teacher, teacher_config=TeacherConfig(attempts=2))


def test_a_method_without_its_data_is_refused_before_anything_is_written(mine: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="needs --train-data"):
        evaluate(mine, "scripted:demo", "icl", tmp_path / "out")
    assert not (tmp_path / "out").exists()
    train = write(tmp_path / "train.jsonl", rows(12)[8:])
    assert evaluate(mine, "scripted:demo", "icl", tmp_path / "out", train_data=str(train))["n"] == 8
