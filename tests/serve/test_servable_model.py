"""Which models can be served: any with the documented members; what another lacks is named."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

import pytest

from tests.serve.conftest import ROOT, SERVE, chat_body, running
from tests.serve.own_objects import Rule, load_elsewhere
from tests.serve.test_worker import job
from ttsi.errors import ConfigError
from ttsi.models import load
from ttsi.models.scripted import DemoModel
from ttsi.serve.interruptible import Interrupts
from ttsi.serve.servable_model import ServableModel, as_servable
from ttsi.serve.worker import answer_job
from ttsi.types import Message, Prompt

HERE = "tests.serve.own_objects"
PROMPT = Prompt((Message("user", "two words"),), ())


def refusal(name: str) -> str:
    """The line of a server that does not start."""
    command = [sys.executable, *SERVE, "--model", f"{HERE}:{name}", "--port", "0"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=ROOT, timeout=120, check=False)
    assert done.returncode == 2 and "Traceback" not in done.stderr
    return done.stderr.splitlines()[-1]


def test_a_model_with_the_documented_members_alone_answers() -> None:
    with running(model=f"{HERE}:Rule") as server:
        body = {**chat_body(), "model": f"{HERE}:Rule"}
        completion = server.client().chat.completions.create(**body).model_dump()
        assert server.end() == 0
    assert completion["choices"][0]["message"]["tool_calls"][0]["function"]["name"] == "book_flight"
    assert completion["usage"]["prompt_tokens"] == 0, "it counts no tokens"


def test_what_a_model_does_not_say_of_itself_is_nothing() -> None:
    model = as_servable(Rule(), "mine:Rule")
    assert (model.weights_sha256(), model.prompt_tokens(PROMPT)) == ("", 0)
    model.forget()
    assert not isinstance(Rule(), ServableModel), "control: it has none of the three"


def test_what_a_model_says_of_itself_is_kept() -> None:
    class Counts(Rule):
        """A rule that has weights and counts tokens."""

        def weights_sha256(self) -> str:
            return "ab" * 32

        def prompt_tokens(self, prompt: Prompt) -> int:
            return 7

    model = as_servable(Counts(), "mine:Counts")
    assert (model.weights_sha256(), model.prompt_tokens(PROMPT)) == ("ab" * 32, 7)


def test_what_is_missing_is_named() -> None:
    lacks = "has no 'describe', no 'fits', no 'generate', no 'score', no 'adapted': see docs/extending.md"
    assert f"model '{HERE}:load_elsewhere' {lacks}" in refusal("load_elsewhere")
    with pytest.raises(ConfigError, match="without 'describe'"):
        as_servable(load_elsewhere(), "mine:load")
    assert as_servable(load(f"{HERE}:load"), "mine:load").spec == "scripted:demo"  # control


def test_a_teacher_is_no_model_to_serve() -> None:
    with pytest.raises(ConfigError, match="openai:x can only write"):
        as_servable(DemoModel(), "openai:x")
    assert as_servable(DemoModel(), "scripted:demo")  # control


def test_a_model_that_describes_itself_wrongly_ends_with_a_line() -> None:
    assert "the model rule: describe returned {'context': '4k'}: make it a whole number" in refusal("Vague")


def test_a_wrong_result_is_the_operators_line_and_not_the_clients(caplog: pytest.LogCaptureFixture) -> None:
    class Mute(Rule):
        def generate(self, requests: Any) -> Any:
            return None

    outcome = answer_job(as_servable(Mute(), "mine:Mute"), job(), Interrupts())
    assert (outcome.state, outcome.reason) == ("failed", "WrongResult")
    assert "the model rule: generate returned what it must not: return a list" in caplog.text
    assert len(caplog.records) == 1 and "None" not in caplog.text, "its value may be a client's"
    caplog.clear()
    assert answer_job(as_servable(Rule(), "mine:Rule"), job(), Interrupts()).state == "answered"  # control
    assert caplog.text == ""
