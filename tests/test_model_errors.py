"""A model that gives no text has answered nothing: its input fails, and silence is neither words nor a vote."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.agents.tasks import BENCHMARK
from tests.test_loop import CONFIG, SURE, UNSURE, Spy, timeless
from tests.worlds import rows, write
from ttsi import improve
from ttsi.adaptation.on_policy import distillation_examples
from ttsi.agents.task_episode import Task, task_episodes
from ttsi.answer import generate_answers
from ttsi.config import AgentConfig, AnswerConfig, AwarenessConfig
from ttsi.models import Generation, Request
from ttsi.models.scripted import DemoModel
from ttsi.runs.evaluation import evaluate
from ttsi.runs.grading import grades
from ttsi.runs.reading import load_run
from ttsi.types import Example, ToolCall

SILENT = "ModelError: the model gave no text (refused)"


class Remote(Spy):
    """The demo behind an endpoint that is down for some requests, or answers them with an empty text."""

    def __init__(self, is_down: Callable[[Request], bool], error: str | None = "refused") -> None:
        super().__init__()
        self._is_down, self._error = is_down, error

    def generate(self, requests: Sequence[Request]) -> list[Generation]:
        return [
            Generation("", 0, 0.0, 0.0, True, self._error) if self._is_down(request) else one
            for request, one in zip(requests, super().generate(requests), strict=True)
        ]


def always_down(request: Request) -> bool:
    return True


def never_down(request: Request) -> bool:
    return False


def write_no_call_rows(folder: Path) -> str:
    return str(write(folder / "mine.jsonl", [{**row, "gold": []} for row in rows(4)]))


def test_rows_where_no_call_is_right_are_wrong_and_may_be_tried_again(tmp_path: Path) -> None:
    questions, folder = write_no_call_rows(tmp_path), tmp_path / "run"
    summary = evaluate(questions, Remote(always_down), output_dir=folder)
    assert (summary["n_error"], summary["base"]["score"], summary["adapted"]["score"]) == (4, 0.0, 0.0)
    assert summary["reasons"]["failed"] == [{"reason": SILENT, "n": 4}]
    again = evaluate(questions, Remote(always_down, error=None), output_dir=folder, retry_failed=True)
    assert (again["n_error"], again["n_retried"], again["base"]["score"]) == (0, 4, 100.0), "control: words, if empty"


def test_one_failed_answer_is_one_failed_input() -> None:
    def is_unsure(request: Request) -> bool:
        return request.prompt.messages == UNSURE.messages

    sure, failed = improve([SURE, UNSURE], Remote(is_unsure), config=CONFIG)
    assert (failed.error, failed.base, failed.adapted) == (SILENT, None, None)
    assert timeless([sure]) == timeless(improve([SURE], Spy(), config=CONFIG))


def test_an_adapted_answer_that_is_none_leaves_the_bases() -> None:
    [episode] = improve([UNSURE], Remote(lambda request: request.adapter is not None), config=CONFIG)
    assert (episode.error, episode.adapted == episode.base) == (None, True)
    assert (episode.adaptation.status, episode.adaptation.reason) == ("training-failed", SILENT)
    [control] = improve([UNSURE], Remote(never_down), config=CONFIG)
    assert control.adaptation.status == "trained" and control.adapted != control.base


def test_a_failed_adapted_answer_is_tried_again(tmp_path: Path) -> None:
    questions, folder = str(write(tmp_path / "mine.jsonl", rows(4))), tmp_path / "run"
    first = evaluate(questions, Remote(lambda request: request.adapter is not None), output_dir=folder)
    assert first["metrics"]["adaptations.failed"] == first["metrics"]["adaptations.attempted"] > 0
    again = evaluate(questions, Remote(never_down), output_dir=folder, retry_failed=True)
    assert (again["metrics"]["adaptations.failed"], again["n_error"]) == (0, 0)
    retried = [row.attempts for row in load_run(folder).rows if row.episode.adaptation.status != "none"]
    assert again["n_retried"] == len(retried) and set(retried) == {2}


@pytest.mark.parametrize("strategy", ["vote", "pass@k"])
def test_samples_that_are_none_neither_vote_nor_count(strategy: Any) -> None:
    config = AnswerConfig(strategy=strategy, samples=5)

    def answer(is_down: Callable[[Request], bool], error: str | None = "refused") -> Any:
        return generate_answers(Remote(is_down, error), [SURE], config, None, [0])[0]

    def is_early(request: Request) -> bool:
        return request.temperature > 0 and request.seed < 4 * 7919

    most = answer(is_early)
    assert ([call.name for call in most.calls], len(most.samples)) == (["find_hotel"], 1)
    silence = answer(is_early, error=None)
    assert len(silence.samples) == 5, "control: four empty texts are answers in words"
    assert strategy == "pass@k" or silence.calls == ()
    with pytest.raises(Exception, match="gave no text"):
        answer(lambda request: request.temperature > 0)


@pytest.mark.parametrize("error", ["refused", None])
def test_a_call_that_is_none_is_no_candidate(error: str | None) -> None:
    config = replace(CONFIG, awareness=AwarenessConfig(candidates="calls", tau=0.8))

    def is_candidate(request: Request) -> bool:
        return request.max_tokens == 200

    [episode] = improve([SURE], Remote(is_candidate, error), config=config)
    assert episode.error == (SILENT if error else None)


def test_an_answer_that_is_none_is_not_distilled() -> None:
    examples = [Example("a room in Rome", (ToolCall("find_hotel", {"city": "Rome"}),), "")]
    lessons = [
        distillation_examples(Remote(is_down), [SURE], [examples], CONFIG, [0]) for is_down in (always_down, never_down)
    ]
    assert [len(one) for [one] in lessons] == [0, 4], "the second is a control"


def test_an_agents_task_whose_model_is_down_failed() -> None:
    task = BENCHMARK.samples[0]
    assert task.environment is not None
    [episode] = task_episodes([Task(task.input, task.environment)], Remote(always_down), None, CONFIG, AgentConfig())
    assert (episode.error, episode.base, episode.adapted) == (SILENT, None, None)
    [control] = task_episodes([Task(task.input, task.environment)], DemoModel(), None, CONFIG, AgentConfig())
    assert control.error is None


def test_a_failed_task_is_wrong_also_where_nothing_is_right_to_do() -> None:
    idle = replace(BENCHMARK.samples[0], judge=lambda trajectory: {"episode": not trajectory.steps})
    assert idle.environment is not None
    [failed] = task_episodes([Task(idle.input, idle.environment)], Remote(always_down), None, CONFIG, AgentConfig())
    failed = replace(failed, trajectories={})
    assert grades(idle, failed, CONFIG) == {"episode": {"base": False, "adapted": False}}
    whole = replace(failed, error=None)
    assert grades(idle, whole, CONFIG) == {"episode": {"base": True, "adapted": True}}, "control"
