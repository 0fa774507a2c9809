"""What failed stands in the operator's log: the type, the module and the line, once, and no text of anybody's."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.serve import own_objects
from tests.serve.own_objects import Rule
from tests.serve.test_worker import BASE, job
from ttsi.config import LoopConfig, check
from ttsi.errors import ConfigError, ModelError
from ttsi.models.scripted import DemoModel
from ttsi.serve.failure_log import describe_failure
from ttsi.serve.interruptible import Interrupts
from ttsi.serve.limits import Limits
from ttsi.serve.metrics import Metrics
from ttsi.serve.pipe import Outcome
from ttsi.serve.request_filter import RequestFilter
from ttsi.serve.servable_model import as_servable
from ttsi.serve.worker import answer_job

OWN = own_objects.__name__


def line_of(text: str) -> int:
    """The number of the line of our own objects that begins so."""
    lines = Path(own_objects.__file__).read_text().splitlines()
    [number] = [number for number, line in enumerate(lines, start=1) if line.strip().startswith(text)]
    return number


def answer(text: str = "secret words", **awareness: Any) -> Outcome:
    """The demo's answer to a request, measured in another way."""
    wanted = job(text)
    config = replace(wanted.config, awareness=replace(wanted.config.awareness, **awareness))
    return answer_job(DemoModel(), wanted.model_copy(update={"config": config}), Interrupts())


def test_a_broken_measure_is_named_with_its_line(caplog: pytest.LogCaptureFixture) -> None:
    outcome = answer(measure=f"{OWN}:broken")
    assert (outcome.state, outcome.fallback) == ("answered", "awareness")
    [line] = caplog.messages
    place = f"{OWN}:{line_of('return 1 / len(())')} < ttsi.awareness:"
    assert line.startswith(f"awareness failed: ZeroDivisionError at {place}") and "secret" not in line
    # Control: a measure that works leaves no line.
    caplog.clear()
    assert answer(measure=f"{OWN}:minus_two").fallback is None and caplog.text == ""


def test_a_measure_that_returns_no_number_is_named_without_the_value(caplog: pytest.LogCaptureFixture) -> None:
    assert answer(measure=f"{OWN}:worded").fallback == "awareness"
    [line] = caplog.messages
    assert line.endswith(f": the measure {OWN}:worded returned what it must not: return a float")
    assert "secret" not in line


def test_what_fails_behind_the_answer_is_named_too(caplog: pytest.LogCaptureFixture) -> None:
    class Untrainable(Rule):
        def adapted(self, *_: Any) -> Any:
            raise OSError("secret")

    outcome = answer_job(as_servable(Untrainable(), "mine"), job(), Interrupts())
    assert outcome.choices == BASE.choices and outcome.fallback is not None
    [line] = caplog.messages
    assert f"failed: OSError at {__name__}:" in line and "secret" not in line


def failure(raise_it: Any) -> str:
    """The description of what a function raises."""
    with pytest.raises(Exception) as caught:
        raise_it()
    return describe_failure(caught.value)


def test_the_cause_is_described_and_not_what_passed_it_on() -> None:
    def passed_on() -> None:
        try:
            own_objects.broken(None)  # type: ignore[arg-type]
        except ZeroDivisionError as error:
            raise RuntimeError("secret") from error

    def of_ours() -> None:
        try:
            own_objects.broken(None)  # type: ignore[arg-type]
        except ZeroDivisionError as error:
            raise ModelError("secret") from error

    place = f"{OWN}:{line_of('return 1 / len(())')} < {__name__}:"
    assert failure(passed_on).startswith(f"ZeroDivisionError at {place}")
    assert failure(of_ours).startswith(f"ModelError at {__name__}:"), "control: one of ours is what went wrong"


def test_an_exception_that_is_its_own_cause_ends() -> None:
    error = RuntimeError("secret")
    error.__cause__ = error
    assert describe_failure(error) == "RuntimeError at an unknown place"


def test_only_this_package_is_quoted_about_settings() -> None:
    def wrong_settings() -> None:
        config = LoopConfig()
        check(replace(config, awareness=replace(config.awareness, tau=float("nan"))))

    def own() -> None:
        raise ConfigError("secret")

    assert ": awareness.tau is nan: use a number" in failure(wrong_settings)
    assert "secret" not in failure(own), "control: the operator's code may say anything"


def test_the_id_of_an_internal_error_is_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    sent: list[Any] = []

    async def app(*_: Any) -> None:
        raise RuntimeError("secret")

    async def receive() -> Any:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "GET", "path": "/", "headers": []}
    asyncio.run(RequestFilter(app, {}, None, Limits(), Metrics(), lambda _: None)(scope, receive, send))
    reply = json.loads(sent[1]["body"])["error"]
    [line] = caplog.messages
    assert line.startswith(f"internal error, request {reply['id']}: RuntimeError at {__name__}:")
    assert sent[0]["status"] == 500 and "secret" not in line + str(sent)
