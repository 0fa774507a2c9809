"""Deadlines in a row: which requests are then skipped, that adaptation always comes back, and what the log says."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest

from tests.serve.test_worker import BASE, UNSURE, job
from ttsi.models import Model
from ttsi.models.scripted import DemoModel
from ttsi.serve.deadline_backoff import LOG_EVERY, MOST_SKIPPED, PATIENCE, DeadlineBackoff
from ttsi.serve.interruptible import DeadlineExceeded, Interrupts
from ttsi.serve.pipe import AnswerJob, Outcome
from ttsi.serve.worker import AnswerWorker, answer_job
from ttsi.types import Adaptation, Episode


def episode(status: Any) -> Episode:
    return Episode("1", "", None, None, None, adaptation=Adaptation(status))


LATE = Outcome(id="1", state="answered", fallback="deadline", episodes=(episode("training-failed"),))
IN_TIME = answer_job(DemoModel(), job(), Interrupts())


def of_key(tenant: str, request: AnswerJob | None = None) -> AnswerJob:
    return (request or job()).model_copy(update={"tenant": tenant})


def skipped(backoff: DeadlineBackoff, tenant: str = "ada") -> int:
    """How many requests are skipped until one may be adapted."""
    return next(number for number in range(1000) if not backoff.skip(tenant))


def late(backoff: DeadlineBackoff, times: int, tenant: str = "ada", outcome: Outcome = LATE) -> list[int]:
    """After each of so many deadlines, how many requests were skipped."""
    return [(backoff.add(of_key(tenant), outcome), skipped(backoff, tenant))[1] for _ in range(times)]


def test_each_deadline_doubles_what_is_skipped_and_some_requests_are_always_tried() -> None:
    found = late(DeadlineBackoff(), 40)
    assert found[: PATIENCE + 8] == [0] * (PATIENCE - 1) + [1, 2, 4, 8, 16, 32, 64, 64, 64]
    assert max(found) == MOST_SKIPPED


def test_one_that_ends_in_time_brings_all_back() -> None:
    backoff = DeadlineBackoff()
    late(backoff, 20)
    backoff.add(of_key("ada"), IN_TIME)
    assert late(backoff, PATIENCE) == [0] * (PATIENCE - 1) + [1]
    assert late(backoff, 1) == [2]  # the control: without it the count goes on


@pytest.mark.parametrize("status", ["none", "library", "reused"])
def test_what_trained_nothing_says_nothing(status: Any) -> None:
    backoff = DeadlineBackoff()
    late(backoff, PATIENCE)
    backoff.add(of_key("ada"), LATE.model_copy(update={"fallback": "synthesis"}))  # it failed, and not by its time
    backoff.add(of_key("ada"), IN_TIME.model_copy(update={"episodes": (episode(status),)}))
    assert late(backoff, 1) == [2]


def test_a_deadline_of_the_clients_own_does_not_count_and_the_operators_does() -> None:
    for seconds, expected in ((5.0, 0), (60.0, 1)):  # the limit of the server is 30
        backoff, request = DeadlineBackoff(), job()
        options = replace(request.options, adapt_seconds=seconds)
        wanted = request.model_copy(update={"options": options, "adapt_seconds": min(seconds, 30.0)})
        for _ in range(PATIENCE):
            backoff.add(of_key("ada", wanted), LATE)
        assert skipped(backoff) == expected


def test_no_key_is_skipped_for_what_another_sent() -> None:
    backoff = DeadlineBackoff()
    late(backoff, 20)
    backoff.add(of_key("ada"), LATE)
    assert skipped(backoff, "bob") == 0
    assert skipped(backoff, "ada") == MOST_SKIPPED  # the control: the key itself is


def test_the_log_names_the_first_deadline_then_counts_and_says_what_is_skipped(
    caplog: pytest.LogCaptureFixture,
) -> None:
    backoff = DeadlineBackoff()
    backoff.add(of_key("ada"), IN_TIME)
    assert caplog.text == ""  # the control
    late(backoff, 8)
    backoff.add(of_key("ada"), IN_TIME)
    first, begins, ends, count = [line.getMessage() for line in caplog.records]
    assert first.startswith("an adaptation hit --limits.adapt-seconds 30 (") and "raise it" in first
    assert begins.startswith("the last 3 adaptations of a key all hit --limits.adapt-seconds 30")
    assert begins.endswith("at least once in 65")
    assert ends.startswith("an adaptation ended within --limits.adapt-seconds 30")
    assert count.startswith(
        "8 of the last 10 adaptations hit --limits.adapt-seconds 30, and 63 requests were not tried: "
    )
    assert "ada" not in caplog.text.replace("adapt", "")
    caplog.clear()
    for _ in range(LOG_EVERY):
        backoff.add(of_key("ada"), IN_TIME)
    assert caplog.text == ""  # nothing to say


@contextmanager
def slow_worker() -> Iterator[tuple[AnswerWorker, Model, list[str]]]:
    """A worker whose model meets the deadline wherever it measures confidence, and a list of these attempts."""
    attempts: list[str] = []

    class Slow(DemoModel):
        def score(self, prompts: Any, continuations: Any) -> Any:
            attempts.append("score")
            answering._interrupts.interrupt(DeadlineExceeded)
            return super().score(prompts, continuations)

    own, front = socket.socketpair()
    with own, front:
        answering = AnswerWorker(own, Slow)
        yield answering, Slow(), attempts


def test_a_skipped_request_costs_the_base_alone_and_says_so() -> None:
    with slow_worker() as (answering, model, attempts):
        outcomes = [answering._run_job(model, of_key("ada")) for _ in range(PATIENCE + 2)]
        assert [one.fallback for one in outcomes] == ["deadline"] * PATIENCE + ["not-tried", "deadline"]
        assert len(attempts) == PATIENCE + 1
        [skipped_one] = outcomes[PATIENCE].episodes
        assert skipped_one.adaptation == Adaptation(
            "none", reason="deadline: not tried, the last 3 adaptations took too long"
        )
        assert {one.choices for one in outcomes} == {BASE.choices}
        assert answering._run_job(model, of_key("bob")).fallback == "deadline"  # another key is tried
        assert answering._run_job(model, of_key("ada", job(method="base"))).fallback is None  # not asked for
        assert answering._run_job(model, of_key("ada", job(tool_choice="none"))).fallback is None
        assert answering._run_job(model, of_key("ada")).fallback == "not-tried"  # the control: it still is


def test_a_request_that_the_library_can_answer_is_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    with slow_worker() as (answering, model, _):
        for _ in range(PATIENCE):
            answering._run_job(model, of_key("ada"))
        with monkeypatch.context() as patch:
            patch.setattr(answering._libraries, "can_answer", lambda *_: True)
            assert answering._run_job(model, of_key("ada")).fallback == "deadline"
        assert answering._run_job(model, of_key("ada")).fallback == "not-tried"  # the control


def test_a_job_that_was_told_to_stop_does_not_count() -> None:
    for stopped, expected in ((True, 0), (False, 1)):
        with slow_worker() as (answering, model, _):
            for _ in range(PATIENCE):
                if stopped:
                    answering._stops["1"] = "deadline"
                answering._run_job(model, of_key("ada", job(UNSURE)))
            assert skipped(answering._backoff) == expected
