"""Agents' tasks in runs: both sides begin anew, are judged by what they did, and survive a stop."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from tests.agents.actors import Actor, always, called
from tests.agents.tasks import BENCHMARK, FILES
from ttsi import crash_points
from ttsi.agents.task_episode import Task, task_episodes
from ttsi.awareness.measures import MEASURES
from ttsi.config import AgentConfig, LoopConfig
from ttsi.errors import ConfigError
from ttsi.record import RunRow, Side
from ttsi.reports.groups import group_runs
from ttsi.reports.questions.benchmark_rules import omission_of
from ttsi.reports.questions.thresholds import smaller_tau
from ttsi.reports.trajectory_story import trajectory_story
from ttsi.runs.evaluation import evaluate
from ttsi.runs.reading import load_run
from ttsi.runs.store import read_rows
from ttsi.types import Message, ToolCall, TrainingExample


def deletes(messages: Sequence[Message], learned: Sequence[TrainingExample]) -> Sequence[ToolCall] | str:
    """Right where it has learned something, or where the file is the notes; else the wrong file."""
    if called(messages):
        return "Done."
    name = messages[-1].content.split()[-1]
    return [ToolCall("delete_file", {"file_name": name if learned or name == "notes.txt" else "notes.txt"})]


def run(folder: Path, limit: int | None = None, life: str = "decision", batch_size: int = 2) -> list[RunRow]:
    """The rows of a run."""
    agent = replace(AgentConfig(), life=life)  # type: ignore[arg-type]
    evaluate(BENCHMARK, Actor(deletes), always(), folder, limit=limit, batch_size=batch_size, agent=agent)
    return read_rows(folder)


def results(rows: Sequence[RunRow]) -> list[object]:
    """What may not depend on an interruption."""
    return [
        (row.key, row.grades, [(step.answer, step.results) for step in row.episode.trajectories["adapted"].steps])
        for row in rows
    ]


def test_base_and_adapted_are_judged_by_what_they_did(tmp_path: Path) -> None:
    rows = run(tmp_path)
    assert [row.right("base", "episode") for row in rows] == [False, True, False]
    assert [row.right("adapted", "episode") for row in rows] == [True, True, True]
    summary = load_run(tmp_path).summary
    assert summary["gain"]["fixed"] == 2 and summary["gain"]["broken"] == 0
    assert {row.episode.adaptation.status for row in rows} == {"trained"}


def test_each_decision_of_both_agents_is_counted_in_the_log(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="ttsi.agents"):
        rows = run(tmp_path, batch_size=3)
    events = [record.args for record in caplog.records if record.name == "ttsi.agents.task_episode"]
    sides: tuple[Side, ...] = ("base", "adapted")
    steps = {side: sum(len(row.episode.trajectories[side].steps) for row in rows) for side in sides}
    assert events == [(side, taken) for side in sides for taken in range(steps[side] + 1)]
    assert min(steps.values()) > len(rows), "several decisions per task"


def test_a_stopped_run_goes_on_to_the_same_rows(tmp_path: Path) -> None:
    run(tmp_path / "parts", limit=1)
    assert results(run(tmp_path / "parts")) == results(run(tmp_path / "whole"))


def test_a_folder_of_another_life_is_not_gone_on_with(tmp_path: Path) -> None:
    run(tmp_path, limit=1)
    with pytest.raises(Exception, match=r"agent"):
        run(tmp_path, life="turn")


def test_an_environment_that_cannot_be_made_is_one_failed_input() -> None:
    def broken():  # type: ignore[no-untyped-def]
        raise OSError("no simulator")

    good, bad = BENCHMARK.samples[:2]
    assert good.environment is not None
    tasks = [Task(good.input, good.environment), Task(bad.input, broken)]
    first, second = task_episodes(tasks, Actor(deletes), None, always(), AgentConfig())
    assert first.error is None
    assert second.error == "environment: OSError: no simulator" and second.base is None


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        (replace(always(), answer=replace(always().answer, strategy="pass@k")), "acts on one answer"),
    ],
)
def test_what_an_agent_cannot_do_is_refused(tmp_path: Path, config: object, reason: str) -> None:
    with pytest.raises(ConfigError, match=reason):
        evaluate(BENCHMARK, Actor(deletes), config, tmp_path)  # type: ignore[arg-type]


def test_agent_settings_without_environments_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="toolworld has none"):
        evaluate("toolworld", "scripted:demo", output_dir=tmp_path, limit=1, agent=AgentConfig(life="turn"))


def test_the_story_names_every_step_in_order(tmp_path: Path) -> None:
    row = run(tmp_path)[0]
    story = trajectory_story(row.episode.trajectories["adapted"])
    parts = ("Turn 1", f"delete_file {FILES[0]}", "examples: ", 'delete_file(file_name="plan.txt")', "> {", "ended")
    places = [story.find(part) for part in ("Turn 1", "delete_file(", "examples: ", "trained: ", "> {", "ended")]
    assert places == sorted(places) and -1 not in places, story
    assert all(part in story for part in parts)


class Killed(BaseException):
    """A kill that nothing catches."""


@pytest.mark.parametrize("point", crash_points.AGENT_POINTS)
def test_an_episode_killed_at_any_step_is_done_again_to_the_same_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, point: str
) -> None:
    whole = results(run(tmp_path / "whole"))
    kills = 0
    while True:
        passages = iter(range(kills + 1))

        def kill(name: str, passages: Iterator[int] = passages) -> None:
            if name == point and next(passages, None) == kills:  # noqa: B023
                raise Killed

        folder = tmp_path / str(kills)
        monkeypatch.setattr(crash_points, "hook", kill)
        try:
            run(folder)
        except Killed:
            monkeypatch.setattr(crash_points, "hook", None)
            assert results(run(folder)) == whole
            kills += 1
            continue
        break
    assert kills >= 4, "the control: the hook was passed at many steps"


def test_a_failed_environment_of_either_side_is_a_failed_row_and_no_wrong_base() -> None:
    made = iter((OSError("busy"), None))

    def sometimes():  # type: ignore[no-untyped-def]
        if error := next(made):
            raise error
        return good.environment()

    good = BENCHMARK.samples[0]
    assert good.environment is not None
    [episode] = task_episodes([Task(good.input, sometimes)], Actor(deletes), None, always(), AgentConfig())
    assert episode.error == "environment: OSError: busy" and episode.adapted is None


def test_the_record_lists_what_was_executed(tmp_path: Path) -> None:
    def repeats(messages: Sequence[Message], learned: Sequence[TrainingExample]) -> Sequence[ToolCall]:
        return [ToolCall("list_files", {})]

    evaluate(BENCHMARK, Actor(repeats), always(adapt=False), tmp_path, limit=1)
    [row] = read_rows(tmp_path)
    assert row.episode.base is not None and len(row.episode.base.calls) == 1
    assert len(row.episode.trajectories["base"].steps) == 2  # the control: it called twice, and once in vain


def looks_first(messages: Sequence[Message], learned: Sequence[TrainingExample]) -> Sequence[ToolCall] | str:
    """Deletes the notes, whatever was asked; with examples it lists the files first, and then the base is lost."""
    name = next(message.content for message in reversed(messages) if message.role == "user").split()[-1]
    if not called(messages):
        return [ToolCall("list_files", {}) if learned else ToolCall("delete_file", {"file_name": "notes.txt"})]
    if called(messages) == ["list_files"]:
        return [ToolCall("delete_file", {"file_name": name if learned else "ghost.txt"})]
    return "Done."


def falters(messages: Sequence[Message], learned: Sequence[TrainingExample]) -> Sequence[ToolCall] | str:
    """Does what was asked, and then something that nobody stated."""
    if len(called(messages)) == 2:
        return "Done."
    name = "ghost.txt" if called(messages) else messages[-1].content.split()[-1]
    return [ToolCall("delete_file", {"file_name": name})]


def grounded(tau: float, *, adapt: bool = True) -> LoopConfig:
    """A decision whose value nobody stated is far less confident than any other."""
    config = always(adapt=adapt)
    return replace(config, awareness=replace(config.awareness, measure="grounded_margin", tau=tau))


def least(row: RunRow, side: str, measure: str) -> float:
    """The least value of a measure over a trajectory."""
    steps = row.episode.trajectories[side].steps
    return min(step.awareness.measures[measure] for step in steps if step.awareness is not None)


def test_a_task_is_as_confident_as_the_base_s_least_confident_decision(tmp_path: Path) -> None:
    evaluate(BENCHMARK, Actor(falters), grounded(0.85, adapt=False), tmp_path, limit=1)
    [row] = read_rows(tmp_path)
    first, second, _ = (step.awareness for step in row.episode.trajectories["base"].steps)
    assert first is not None and second is not None and row.episode.awareness is not None
    assert second.value < first.value < 0.85, "control: an earlier decision is unsure, too"
    assert row.episode.awareness.value == second.value and row.episode.awareness.candidates == second.candidates
    for measure in row.episode.awareness.measures:
        assert row.measure(measure) == least(row, "base", measure)
    assert least(row, "base", "answer_mean") < second.measures["answer_mean"], "control: each measure has its own least"


def test_what_the_adapted_agent_met_says_nothing_about_the_base(tmp_path: Path) -> None:
    evaluate(BENCHMARK, Actor(looks_first), grounded(0.5), tmp_path)
    rows, summary = read_rows(tmp_path), load_run(tmp_path).summary
    assert [row.right("base", "episode") for row in rows] == [False, True, False]
    assert [row.measure("grounded_margin") for row in rows] == [least(row, "base", "grounded_margin") for row in rows]
    assert summary["awareness"]["auroc"] == 1.0
    assert summary["n_unsure"] == 2 and summary["metrics"]["tpr_at_tau"] == 1 and summary["metrics"]["fpr_at_tau"] == 0
    # Control: in the adapted conversations the base is as unsure of the task that it does right.
    assert len({least(row, "adapted", "grounded_margin") for row in rows}) == 1


def test_a_confidence_that_is_no_number_is_the_least(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    values = iter((0.9, math.nan, 0.1))
    monkeypatch.setitem(MEASURES, "margin", lambda evidence: next(values))
    config = grounded(0.5, adapt=False)
    config = replace(config, awareness=replace(config.awareness, measure="margin"))
    evaluate(BENCHMARK, Actor(falters), config, tmp_path, limit=1)
    [row] = read_rows(tmp_path)
    assert next(values, None) is None, "control: three decisions were measured"
    assert row.unsure and row.episode.awareness is not None and math.isnan(row.episode.awareness.value)


def in_words(config: LoopConfig, folder: Path, agent: Actor) -> bool:
    """Whether the first task counts as answered in words."""
    evaluate(BENCHMARK, agent, config, folder, limit=1)
    [row] = read_rows(folder)
    assert row.episode.awareness is not None
    return row.episode.awareness.in_words


def test_a_task_is_answered_in_words_where_all_unsure_decisions_are(tmp_path: Path) -> None:
    words = Actor(lambda messages, learned: "I cannot.")
    assert in_words(grounded(2.0, adapt=False), tmp_path / "words", words)
    # Control: the last decision of every task is in words; another one of this task is unsure as well.
    assert not in_words(grounded(2.0, adapt=False), tmp_path / "calls", Actor(deletes))


def test_an_agents_run_misses_no_score_without_optional_arguments(tmp_path: Path) -> None:
    run(tmp_path)
    [group] = group_runs([load_run(tmp_path)])
    assert (omission_of(group).table, omission_of(group).missing) == (None, "")
    single = [replace(row, episode=replace(row.episode, trajectories={})) for row in load_run(tmp_path).rows]
    [plain] = group_runs([replace(load_run(tmp_path), rows=single)])
    assert "without `--answer.omit-unstated`" in omission_of(plain).missing, "control"


def test_no_other_tau_is_read_off_agents_tasks(tmp_path: Path) -> None:
    evaluate(BENCHMARK, Actor(deletes), grounded(0.85), tmp_path)
    run = load_run(tmp_path)
    assert smaller_tau(group_runs([run])[0]).table is None
    # Control: of the same rows as single requests it is.
    single = [replace(row, episode=replace(row.episode, trajectories={})) for row in run.rows]
    assert smaller_tau(group_runs([replace(run, rows=single)])[0]).table is not None
