"""Adaptation may fail but the answer may not; no request leaves anything behind; the worker reaches nothing outside."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.serve.conftest import UNSURE, body
from tests.serve.faulty_worker import FAULTS, STAGES, Faulty
from ttsi.config import LoopConfig
from ttsi.errors import GrammarError
from ttsi.methods import preset
from ttsi.models import Model
from ttsi.models.prefix_store import PrefixStore
from ttsi.models.scripted import DemoModel
from ttsi.serve import worker
from ttsi.serve.chat_request import read_request
from ttsi.serve.interruptible import ClientDisconnected, DeadlineExceeded, Interrupts
from ttsi.serve.limits import Limits
from ttsi.serve.misfit import CLIENT_ERRORS
from ttsi.serve.pipe import AnswerJob, Outcome
from ttsi.serve.worker import AnswerWorker, _is_base, _prefer_legal, answer_job
from ttsi.types import Adaptation, Answer, Episode, Input, Prompt, ToolCall

ROOT = Path(__file__).parents[2]


def job(text: str = UNSURE, method: str = "ttsi", **more: Any) -> AnswerJob:
    options = read_request(body(text, **more), Limits(), "id")
    return AnswerJob(id="1", options=options, config=preset(method, "embedded"), adapt_seconds=30)


def names(outcome: Outcome) -> list[str]:
    return [name for choice in outcome.choices for name, _ in choice.calls]


BASE = answer_job(DemoModel(), job(method="base"), Interrupts())


def test_an_unsure_request_is_adapted_and_a_sure_one_is_not() -> None:
    assert names(BASE) == ["book_flight"]
    better = answer_job(DemoModel(), job(), Interrupts())
    assert names(better) == ["get_weather"] and better.episodes[0].adaptation.status == "trained"
    assert better.fallback is None
    request = job("Book a flight to a city Oslo")
    easy = replace(request.config, awareness=replace(request.config.awareness, tau=-0.3))
    sure = answer_job(DemoModel(), request.model_copy(update={"config": easy}), Interrupts())
    assert sure.episodes[0].adaptation.status == "none"


def test_a_negative_seed_is_adapted() -> None:
    asked = job(seed=-3)
    settings = {"given": asked.options.seed or 0, "control: as it came": -3}
    outcomes = {
        name: answer_job(
            DemoModel(), asked.model_copy(update={"config": replace(asked.config, seed=seed)}), Interrupts()
        )
        for name, seed in settings.items()
    }
    assert [outcome.fallback is None for outcome in outcomes.values()] == [True, False]


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
def test_any_fault_at_any_stage_leaves_an_answer_and_a_line_in_the_log(
    stage: str, fault: type[BaseException], caplog: pytest.LogCaptureFixture
) -> None:
    if fault is DeadlineExceeded and stage in ("base", "removal"):
        pytest.skip("a deadline is not raised there (test_a_deadline_waits_for_the_base)")
    model = Faulty(stage, fault)
    outcome = answer_job(model, job(), Interrupts())
    assert model.failed == 1
    assert outcome.state == "answered"
    is_clients = stage == "base" and issubclass(fault, CLIENT_ERRORS)
    logged = [] if is_clients or fault is DeadlineExceeded else [fault.__name__]
    assert [line.getMessage().split()[2] for line in caplog.records] == logged and "secret" not in caplog.text
    if stage == "base":  # one failure is retried, and adaptation goes on
        assert names(outcome) == ["get_weather"]
        return
    assert outcome.choices == BASE.choices
    assert outcome.fallback == ("deadline" if fault is DeadlineExceeded else "answer" if stage == "removal" else stage)
    assert "secret" not in outcome.model_dump_json()


def test_control_without_the_fallback_there_is_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    def unprotected(model: Model, _writer: Model, item: Input, _config: LoopConfig, _repeat: int) -> Episode | None:
        model.score([Prompt(item.messages, item.tools)], [["a"]])  # the first stage, whose errors nothing catches
        return None

    monkeypatch.setattr(worker, "_improve", unprotected)
    assert answer_job(Faulty("awareness", MemoryError), job(), Interrupts()).state == "failed"


def test_control_without_the_filter_the_text_of_an_exception_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker, "_without_internals", lambda episode, *_: episode)
    assert "secret" in answer_job(Faulty("awareness", MemoryError), job(), Interrupts()).model_dump_json()


def test_a_base_that_always_fails_is_an_outcome_too(caplog: pytest.LogCaptureFixture) -> None:
    class Mute(DemoModel):
        def generate(self, requests: Any) -> Any:
            raise RuntimeError("secret internals")

    outcome = answer_job(Mute(), job(), Interrupts())
    assert outcome.state == "failed" and "secret" not in outcome.model_dump_json() + caplog.text
    [line] = caplog.records  # it failed twice at the same place
    assert line.getMessage().startswith("base failed: RuntimeError at tests.serve.test_worker:")


def test_a_schema_that_the_model_cannot_follow_is_a_client_error() -> None:
    class Strict(DemoModel):
        def generate(self, requests: Any) -> Any:
            raise GrammarError("the grammar does not compile: secret internals")

    outcome = answer_job(Strict(), job(), Interrupts())
    assert outcome.state == "unfit" and "secret" not in outcome.model_dump_json()


def test_a_deadline_waits_for_the_base() -> None:
    interrupts = Interrupts()
    interrupts.interrupt(DeadlineExceeded)  # before anything was computed
    outcome = answer_job(DemoModel(), job(), interrupts)
    assert (outcome.choices, outcome.fallback) == (BASE.choices, "deadline")
    assert outcome.episodes[0].adaptation.reason == "deadline at stage base"


def test_a_deadline_keeps_what_was_finished_before_it() -> None:
    interrupts = Interrupts()

    class Late(Faulty):
        def _at(self, stage: str) -> None:
            if stage == self._stage:
                interrupts.interrupt(DeadlineExceeded)

    [whole] = answer_job(DemoModel(), job(), Interrupts()).episodes
    for stage, known, examples, seconds in (
        ("awareness", None, (), set()),  # the control: nothing was finished
        ("synthesis", whole.awareness, (), {"answer", "awareness", "synthesis"}),
        ("adaptation", whole.awareness, whole.examples, {"answer", "awareness", "synthesis", "adaptation"}),
        ("answer", whole.awareness, whole.examples, {"answer", "awareness", "synthesis", "adaptation"}),
    ):
        outcome = answer_job(Late(stage, DeadlineExceeded), job(), interrupts)
        [episode] = outcome.episodes
        assert (outcome.choices, outcome.fallback) == (BASE.choices, "deadline")
        assert (episode.awareness, episode.examples, set(episode.seconds)) == (known, examples, seconds)
        assert episode.adaptation == Adaptation("training-failed", reason=f"deadline at stage {stage}")
        assert (episode.base, episode.adapted) == (BASE.episodes[0].base, BASE.episodes[0].base)
    assert whole.examples and whole.awareness is not None


@pytest.mark.parametrize("method", ["ttsi-icl", "ask-again"])
def test_a_deadline_in_an_answer_that_nothing_was_trained_for_is_at_the_answer(method: str) -> None:
    interrupts, request = Interrupts(), job(method=method)

    class Late(DemoModel):
        def generate(self, requests: Any) -> Any:
            messages = requests[0].prompt.messages
            if messages != request.options.item.messages and not any('"Request:"' in one.content for one in messages):
                interrupts.interrupt(DeadlineExceeded)
            return super().generate(requests)

    [episode] = answer_job(Late(), request, interrupts).episodes
    assert episode.adaptation.reason == "deadline at stage answer"


def test_a_deadline_among_several_choices_keeps_what_was_finished_of_each() -> None:
    interrupts, answers = Interrupts(), []

    class Late(Faulty):
        def _at(self, stage: str) -> None:
            answers.extend([stage] * (stage == "answer"))
            if len(answers) == 2:  # the second choice's
                answers.append("late")
                interrupts.interrupt(DeadlineExceeded)

    first, second, third = answer_job(Late("", DeadlineExceeded), job(n=3), interrupts).episodes
    assert [episode.adaptation.status for episode in (first, second, third)] == ["trained", *["training-failed"] * 2]
    assert first.examples != second.examples != () and second.awareness == first.awareness
    assert third.examples == () and third.awareness is None


def test_the_time_for_adaptation_begins_when_the_base_has_answered() -> None:
    seen = []

    class Watched(DemoModel):
        def generate(self, requests: Any) -> Any:
            seen.append("generate")
            return super().generate(requests)

        def score(self, prompts: Any, continuations: Any) -> Any:
            seen.append("score")
            return super().score(prompts, continuations)

    answer_job(Watched(), job(), Interrupts(), base_answered=lambda: seen.append("clock"))
    assert seen[:3] == ["generate", "clock", "score"]
    assert seen.count("clock") == 1


def test_a_disconnected_client_gets_no_answer() -> None:
    interrupts = Interrupts()
    interrupts.interrupt(ClientDisconnected)
    assert answer_job(DemoModel(), job(), interrupts).state == "disconnected"


@pytest.mark.parametrize("kind", [ClientDisconnected, DeadlineExceeded])
def test_an_interruption_in_training_leaves_no_adapter(kind: type[BaseException]) -> None:
    interrupts = Interrupts()

    class Interrupted(DemoModel):
        def generate(self, requests: Any) -> Any:
            if requests[0].adapter is not None:
                interrupts.interrupt(kind)
            return super().generate(requests)

    model = Interrupted()
    outcome = answer_job(model, job(), interrupts)
    assert outcome.state == ("disconnected" if kind is ClientDisconnected else "answered")
    assert _is_base(model, model.weights_sha256())


def test_control_an_adapter_that_stayed_and_other_bits_are_seen() -> None:
    model = DemoModel()
    assert _is_base(model, model.weights_sha256())
    assert not _is_base(model, "0" * 64)
    open_block = model.adapted([()], preset("ttsi", "embedded").adaptation, [0])
    with open_block:
        model._jobs = [[]]
        assert not _is_base(model, model.weights_sha256())


def test_leaving_an_adapter_cannot_be_interrupted() -> None:
    interrupts = Interrupts()
    removals = []

    class Slow(Faulty):
        def _at(self, stage: str) -> None:
            if stage == "removal":
                interrupts.interrupt(ClientDisconnected)
                removals.append(stage)

    outcome = answer_job(Slow("removal", ClientDisconnected), job(), interrupts)
    assert removals == ["removal"]
    assert outcome.state == "disconnected"  # it is raised after the removal


def test_an_adapted_answer_that_is_not_legal_gives_way_to_the_base() -> None:
    item = job().options.item
    good = Answer("", (ToolCall("get_weather", {"city": "Oslo"}),))
    bad = Answer("", (ToolCall("get_weather", {"town": "Oslo"}),))
    episode = Episode("1", "", good, bad, None)
    assert _prefer_legal(episode, item).adapted == good
    assert _prefer_legal(replace(episode, base=bad, adapted=good), item).adapted == good  # control: the legal one stays


def test_each_choice_is_improved_separately() -> None:
    outcome = answer_job(DemoModel(), job(n=3), Interrupts())
    assert len(outcome.choices) == 3 and names(outcome)[0] == "get_weather"
    assert len({json.dumps([e.query for e in episode.examples]) for episode in outcome.episodes}) > 1


def test_without_tools_the_base_answers() -> None:
    outcome = answer_job(DemoModel(), job(tool_choice="none"), Interrupts())
    assert outcome.choices[0].content == "I have no tools for that." and outcome.choices[0].finish == "stop"


def test_an_outcome_comes_back_the_same_from_json() -> None:
    outcome = answer_job(DemoModel(), job(), Interrupts())
    odd = replace(outcome.episodes[0].adaptation, losses=(float("nan"), float("inf")))
    strange = outcome.model_copy(update={"episodes": (replace(outcome.episodes[0], adaptation=odd),)})
    again = Outcome.model_validate_json(strange.model_dump_json())
    assert repr(again.episodes) == repr(strange.episodes)


SANDBOX_SCRIPT = """
import os, socket, subprocess, sys
from ttsi.serve.sandbox import enter_sandbox
if sys.argv[1] == "sandbox": enter_sandbox()
def attempt(act):
    try: act()
    except PermissionError: return "refused"
    except OSError: return "tried"
    return "done"
print(attempt(lambda: socket.create_connection(("127.0.0.1", 9))),
      attempt(lambda: subprocess.run([sys.executable, "-c", ""])),
      attempt(lambda: os.system("true")),
      attempt(lambda: open("a-new-file", "w").close()),
      attempt(lambda: open(os.devnull, "w").close()),
      attempt(lambda: open(sys.argv[0] or "/proc/self/stat").close()))
"""


@pytest.mark.parametrize(
    ("state", "results"), [("sandbox", "refused refused refused refused done"), ("open", "tried done done done done")]
)
def test_a_worker_in_its_sandbox_reaches_no_network_starts_nothing_and_writes_no_file(
    state: str, results: str, tmp_path: Path
) -> None:
    script = tmp_path / "script.py"
    script.write_text(SANDBOX_SCRIPT)
    done = subprocess.run(
        [sys.executable, str(script), state],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT)},
        check=True,
    )
    assert done.stdout.strip() == f"{results} done"


def test_what_was_read_stays_for_the_same_key_only() -> None:
    stores: list[PrefixStore] = []

    class Watched(DemoModel):
        @contextmanager
        def prefix_cache(self, store: PrefixStore | None = None) -> Iterator[None]:
            if store is not None:  # the loop's own block is nested in the worker's
                stores.append(store)
            yield

    own, front = socket.socketpair()
    with own, front:
        answering = AnswerWorker(own, Watched)
        answering._prefix_bytes = 100
        for tenant in ("ada", "bob", "ada"):
            answering._run_job(Watched(), job().model_copy(update={"tenant": tenant}))
    ada, bob, again = stores
    assert ada is again and ada is not bob and ada._max_bytes == 100
    answer_job(Watched(), job(), Interrupts())
    assert stores[3]._max_bytes == 0  # control: without a key's store nothing stays
