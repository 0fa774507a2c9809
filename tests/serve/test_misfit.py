"""A request that the model cannot be asked is told so by the type of the error; what a model says is not passed on."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.serve.own_objects import Rule
from tests.serve.test_answer_schema import Strict
from tests.serve.test_worker import BASE, job
from ttsi.errors import ConfigError, GrammarError, ModelError, PromptTooLong, UnrenderablePrompt, WrongResult
from ttsi.models.scripted import DemoModel
from ttsi.serve.interruptible import GIVEN_UP, Interrupts
from ttsi.serve.servable_model import as_servable
from ttsi.serve.worker import STAGE_FAILED, answer_job
from ttsi.types import Adaptation, Prompt


class Choosy(Rule):
    """A rule that takes no prompt, and says why."""

    reason = "the prompt has a secret"

    def fits(self, prompt: Prompt, max_new_tokens: int) -> str | None:
        """Never."""
        return self.reason


class Counting(Choosy):
    """One that counts tokens."""

    def prompt_tokens(self, prompt: Prompt) -> int:
        """Always seven."""
        return 7


class Unreadable(Choosy):
    """One that cannot count them."""

    def prompt_tokens(self, prompt: Prompt) -> int:
        """Never."""
        raise UnrenderablePrompt("secret")


@pytest.mark.parametrize(
    ("error", "state", "param", "words"),
    [
        (GrammarError("secret"), "unfit", "tools", "schemas"),
        (UnrenderablePrompt("secret"), "unfit", "messages", "chat template"),
        (PromptTooLong("secret"), "too-long", "messages", "longer than the model's context"),
        (ModelError("no schema compiles, the template refuses: secret"), "unfit", "messages", "cannot answer"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_the_type_of_an_error_decides_what_the_client_reads(
    error: Exception, state: str, param: str, words: str
) -> None:
    outcome = answer_job(Strict(error), job(tool_choice="required"), Interrupts())
    assert (outcome.state, outcome.param) == (state, param)
    assert words in outcome.reason and "secret" not in outcome.model_dump_json()


@pytest.mark.parametrize("reason", ["the prompt has a secret", "secret: these are too many words"])
def test_a_prompt_that_does_not_fit_a_model_of_ones_own_is_too_long_in_our_words(
    reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Choosy, "reason", reason)
    outcomes = [answer_job(as_servable(model(), "mine"), job(), Interrupts()) for model in (Choosy, Counting)]
    assert [outcome.state for outcome in outcomes] == ["too-long", "too-long"]
    assert outcomes[0].reason == "the prompt is longer than the model's context"
    assert outcomes[1].reason.startswith("the prompt has 7 tokens and needs room for ")
    assert outcomes[1].reason.endswith("the model's context")  # it does not say how long that is
    monkeypatch.setattr(Counting, "describe", lambda self: {"context": 100})
    [counted] = [answer_job(as_servable(Counting(), "mine"), job(), Interrupts())]
    assert counted.reason.endswith("the model's context of 100 tokens")
    # Control: a prompt that fits is answered, and one that the template refuses is something else.
    assert answer_job(as_servable(Rule(), "mine"), job(), Interrupts()).state == "answered"
    refused = answer_job(as_servable(Unreadable(), "mine"), job(), Interrupts())
    assert refused.state == "unfit" and "chat template" in refused.reason and "secret" not in refused.reason


@contextmanager
def give_up(*_: Any) -> Iterator[list[Adaptation]]:
    """A model's block of adapters that are not trained."""
    yield [Adaptation("training-failed", reason="no room in /srv/secret")]


class GivingUp(Rule):
    """A rule that never trains."""

    def adapted(self, *arguments: Any) -> Any:
        """Nothing."""
        return give_up(*arguments)


def test_why_a_model_of_ones_own_gave_a_training_up_is_not_passed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    outcome = answer_job(as_servable(GivingUp(), "mine"), job(), Interrupts())
    assert outcome.choices == BASE.choices and outcome.fallback is not None
    assert outcome.episodes[0].adaptation.reason == GIVEN_UP and "secret" not in outcome.model_dump_json()
    # Control: a model of this package is quoted, and an exception in the same words is not.
    monkeypatch.setattr(DemoModel, "adapted", lambda _, *arguments: give_up(*arguments))
    assert answer_job(DemoModel(), job(), Interrupts()).episodes[0].adaptation.reason == "no room in /srv/secret"

    def fail(*_: Any) -> Any:
        raise type("no ", (RuntimeError,), {})("secret")

    monkeypatch.setattr(DemoModel, "adapted", fail)
    assert answer_job(DemoModel(), job(), Interrupts()).episodes[0].adaptation.reason == STAGE_FAILED


def test_a_wrong_result_has_a_line_without_the_value() -> None:
    error = pickle.loads(pickle.dumps(WrongResult("the model rule: generate", "'secret'", "return a list")))
    assert isinstance(error, ConfigError)
    assert str(error) == "the model rule: generate returned 'secret': return a list"
    assert error.without_value == "the model rule: generate returned what it must not: return a list"
