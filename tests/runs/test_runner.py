"""Batches follow from the plan, gold stays outside of the loop, and nothing is counted twice."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.worlds import row, rows, write
from ttsi import loop
from ttsi.benchmarks import load as load_benchmark
from ttsi.config import LoopConfig, RunConfig
from ttsi.errors import ConfigError
from ttsi.methods import preset
from ttsi.models import Model, load
from ttsi.runs.plan import plan
from ttsi.runs.provenance import resolve, settings_digest
from ttsi.runs.reading import load_run
from ttsi.runs.runner import run
from ttsi.runs.store import open_run, read_json, read_rows
from ttsi.runs.tally import RunProgress
from ttsi.stats import mean_stderr
from ttsi.types import Episode, Input, ToolCall

Call = tuple[list[str], int]


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[Call]:
    """What the loop was asked: (ids, repeat) per call."""
    made: list[Call] = []
    real = loop.improve

    def improve(inputs: Sequence[Input], model: Model, writer: Model, config: LoopConfig, repeat: int) -> list[Episode]:
        made.append(([item.id for item in inputs], repeat))
        return real(inputs, model, writer, config, repeat)

    monkeypatch.setattr(loop, "improve", improve)
    return made


def start(folder: Path, lines: list[Any], **changes: Any) -> dict[str, Any]:
    path = write(folder / "mine.jsonl", lines)
    config = replace(RunConfig(str(path), "scripted:demo", loop=preset("ttsi", "embedded"), batch_size=4), **changes)
    benchmark, model = load_benchmark(config.benchmark), load(config.model)
    resolved = resolve(config, benchmark, model, model)
    with open_run(folder / "run", resolved, resume=(folder / "run").exists()) as store:
        return run(benchmark, model, model, config, store)


def test_batches_are_consecutive_and_the_last_is_short(tmp_path: Path, calls: list[Call]) -> None:
    start(tmp_path, rows(10), limit=9)
    assert calls == [(["q0", "q1", "q2", "q3"], 0), (["q4", "q5", "q6", "q7"], 0), (["q8"], 0)]
    start(tmp_path, rows(10), limit=9)
    assert len(calls) == 3, "a finished run is not run again"


def test_a_half_done_batch_is_done_again_whole(
    tmp_path: Path, calls: list[Call], monkeypatch: pytest.MonkeyPatch
) -> None:
    from ttsi.runs.store import Store

    whole = start(tmp_path, rows(8))
    before = read_rows(tmp_path / "run")
    calls.clear()
    real, written = Store.record, []

    def record(self: Store, row: Any, **how: bool) -> None:
        if len(written) == 6:
            raise OSError("disk gone")
        written.append(row.position)
        real(self, row, **how)

    other = tmp_path / "other"
    other.mkdir()
    with monkeypatch.context() as patch:
        patch.setattr(Store, "record", record)
        with pytest.raises(OSError, match="disk gone"):
            start(other, rows(8))
    calls.clear()
    again = start(other, rows(8))
    assert calls == [(["q4", "q5", "q6", "q7"], 0)]
    assert {**again, "seconds": 0} == {**whole, "seconds": 0}
    after = read_rows(other / "run")
    assert [r.episode.examples for r in after] == [r.episode.examples for r in before]


def test_equal_inputs_are_repeats_of_one_another(tmp_path: Path, calls: list[Call]) -> None:
    umbrella = row("Do I need an umbrella in Lima", "get_weather")
    summary = start(tmp_path, [umbrella, row("Is the weather fine in Oslo", "get_weather"), umbrella, umbrella])
    assert calls == [(["1", "2"], 0), (["3"], 1), (["4"], 2)]
    assert summary["n"] == 4
    stored = read_rows(tmp_path / "run")
    assert [(r.position, r.repeat) for r in stored] == [(0, 0), (1, 0), (2, 1), (3, 2)]
    # Each repeat draws anew: otherwise it would be one observation counted twice.
    assert stored[0].episode.examples != stored[2].episode.examples


def test_gold_does_not_reach_the_loop(tmp_path: Path) -> None:
    right, wrong = tmp_path / "right", tmp_path / "wrong"
    right.mkdir()
    wrong.mkdir()
    lines = rows(6)
    start(right, lines)
    start(wrong, [{**line, "gold": [{"name": "nothing", "arguments": {}}]} for line in lines])
    ours, theirs = read_rows(right / "run"), read_rows(wrong / "run")
    assert [replace(r.episode, seconds={}) for r in ours] == [replace(r.episode, seconds={}) for r in theirs]
    # Control: the gold does reach the graders, and the record for the reader of a report.
    assert [r.grades for r in ours] != [r.grades for r in theirs]
    assert [r.question and r.question.gold for r in theirs] == [(ToolCall("nothing", {}),)] * 6


def test_the_seed_decides(tmp_path: Path) -> None:
    folders = [tmp_path / name for name in ("a", "b", "c")]
    for folder, seed in zip(folders, (0, 0, 1), strict=True):
        folder.mkdir()
        start(folder, rows(6), loop=replace(preset("ttsi", "embedded"), seed=seed))
    one, same, other = ([r.episode.examples for r in read_rows(folder / "run")] for folder in folders)
    assert one == same
    assert one != other


def test_the_summary_says_what_the_rows_say(tmp_path: Path) -> None:
    summary = start(tmp_path, rows(12))
    assert read_json(tmp_path / "run" / "summary.json") == summary
    stored = read_rows(tmp_path / "run")
    base = [r.grades["strict"]["base"] for r in stored if r.grades]
    adapted = [r.grades["strict"]["adapted"] for r in stored if r.grades]
    assert summary["n"] == 12
    assert summary["base"]["score"] == pytest.approx(100 * sum(base) / 12)
    assert summary["gain"]["fixed"] - summary["gain"]["broken"] == sum(adapted) - sum(base) > 0
    assert summary["gain"]["points"] == pytest.approx(summary["adapted"]["score"] - summary["base"]["score"])
    assert summary["samples_trained"] == sum(r.episode.adaptation.samples for r in stored) > 0
    assert set(summary["strata"]) == {"kind=weather", "kind=other"}


def test_the_summary_has_hammers_f1(tmp_path: Path) -> None:
    unknown = {**rows(1)[0], "id": "unknown", "gold": None}
    metrics = start(tmp_path, [*rows(6), unknown])["metrics"]
    graded = [row for row in read_rows(tmp_path / "run") if row.grades]
    # One call and one argument a row: each side's counts are the same, so F1 is the share of right ones.
    for side in ("base", "adapted"):
        assert metrics[f"{side}.f1_tools"] == pytest.approx(metrics[f"{side}.tool_choice"])
        assert metrics[f"{side}.f1_arguments"] == pytest.approx(metrics[f"{side}.strict"])
    gain, stderr = metrics["gain.f1_tools"], metrics["gain.f1_tools_stderr"]
    assert gain == pytest.approx(metrics["adapted.f1_tools"] - metrics["base.f1_tools"])
    # Six inputs of one call each: F1 is their mean, and so is its error.
    changed = [100 * (row.grades["strict"]["adapted"] - row.grades["strict"]["base"]) for row in graded]
    assert stderr == pytest.approx(mean_stderr(changed)[1])
    # A report counts the same from the rows.
    assert load_run(tmp_path / "run").summary["metrics"] == metrics
    # Control: the sides differ, so neither number is a constant.
    assert metrics["base.f1_tools"] < metrics["adapted.f1_tools"]
    (tmp_path / "none").mkdir()
    assert not any("f1" in name for name in start(tmp_path / "none", [unknown])["metrics"])


def test_a_samples_own_rule_is_a_verdict_beside_the_others(tmp_path: Path) -> None:
    mine = load_benchmark(str(write(tmp_path / "mine.jsonl", rows(4))))
    ruled = tuple(replace(sample, official=lambda calls: calls is not None) for sample in mine.samples)
    benchmark = replace(mine, samples=ruled, matcher="official")
    config, model = RunConfig("mine", "scripted:demo", loop=preset("base", "embedded")), load("scripted:demo")
    with open_run(tmp_path / "run", resolve(config, benchmark, model, model)) as store:
        summary = run(benchmark, model, model, config, store)
    assert summary["matcher"] == "official"
    assert summary["base"]["score"] == summary["metrics"]["base.official"] == 100
    assert summary["metrics"]["base.strict"] < 100


def test_progress_is_told_after_each_batch(tmp_path: Path) -> None:
    path = write(tmp_path / "mine.jsonl", rows(6))
    config = RunConfig(str(path), "scripted:demo", loop=preset("ttsi", "embedded"), batch_size=4)
    benchmark, model = load_benchmark(config.benchmark), load(config.model)
    states: list[RunProgress] = []
    with open_run(tmp_path / "run", {}) as store:
        run(benchmark, model, model, config, store, states.append)
    assert [(state.done, state.total) for state in states] == [(0, 6), (4, 6), (6, 6)]
    assert states[-1].adapted_right > states[-1].base_right


@pytest.fixture
def sigint_default() -> Iterator[None]:
    """Ctrl-C as at a terminal; a shell starts jobs in the background with the signal ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("sigint_default")
def test_ctrl_c_says_how_many_inputs_are_still_to_be_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    real, calls = loop.improve, list[int]()

    def interrupted(*arguments: Any) -> list[Episode]:
        calls.append(len(arguments[0]))
        if len(calls) == at:
            os.kill(os.getpid(), signal.SIGINT)
        return real(*arguments)

    monkeypatch.setattr(loop, "improve", interrupted)
    for at, inputs in ((1, 4), (2, 2)):  # six rows, batches of four: the second has two
        calls.clear()
        caplog.clear()
        folder = tmp_path / str(at)
        folder.mkdir()
        with pytest.raises(KeyboardInterrupt) if at == 1 else nullcontext():
            start(folder, rows(6))
        [line] = [record.getMessage() for record in caplog.records if "stopping" in record.getMessage()]
        assert f"stopping after this batch (inputs under way: {inputs})" in line
        assert calls[-1] == inputs


@pytest.mark.usefixtures("sigint_default")
def test_ctrl_c_finishes_the_batch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = loop.improve
    before = signal.getsignal(signal.SIGINT)

    def interrupted(*arguments: Any) -> list[Episode]:
        os.kill(os.getpid(), signal.SIGINT)
        return real(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(loop, "improve", interrupted)
        with pytest.raises(KeyboardInterrupt):
            start(tmp_path, rows(8))
    assert len(read_rows(tmp_path / "run")) == 4
    assert not (tmp_path / "run" / "summary.json").exists()
    assert signal.getsignal(signal.SIGINT) is before
    assert start(tmp_path, rows(8))["n"] == 8


def test_a_signal_that_was_ignored_stays_ignored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*arguments: Any) -> list[Episode]:
        os.kill(os.getpid(), signal.SIGINT)
        return improve(*arguments)

    improve = loop.improve
    monkeypatch.setattr(loop, "improve", interrupted)
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        assert start(tmp_path, rows(8))["n"] == 8
    finally:
        signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("sigint_default")
def test_ctrl_c_twice_stops_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*arguments: Any) -> list[Episode]:
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)
        raise AssertionError("the second signal must have stopped us")

    monkeypatch.setattr(loop, "improve", interrupted)
    with pytest.raises(KeyboardInterrupt):
        start(tmp_path, rows(8))
    assert read_rows(tmp_path / "run") == []


def test_what_cannot_be_run_is_refused() -> None:
    for bad in ({"batch_size": 0}, {"limit": 0}, {"limit": -1}):
        with pytest.raises(ConfigError, match="use 1 or more"):
            RunConfig(**bad)  # type: ignore[arg-type]


def test_the_digest_knows_every_setting_but_not_the_folder(tmp_path: Path) -> None:
    config = RunConfig()
    assert settings_digest(config) == settings_digest(replace(config, data=tmp_path))
    changed = [replace(config, batch_size=2), replace(config, limit=3), replace(config, loop=LoopConfig(seed=1))]
    assert len({settings_digest(c) for c in [config, *changed]}) == 4


def test_the_plan_keeps_the_benchmarks_order(tmp_path: Path) -> None:
    benchmark = load_benchmark(str(write(tmp_path / "mine.jsonl", rows(5))))
    places = plan(benchmark, RunConfig(limit=3))
    assert [(place.position, place.sample.input.id) for place in places] == [(0, "q0"), (1, "q1"), (2, "q2")]
