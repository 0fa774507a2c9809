"""Adaptation may fail, the answer may not; nothing of a request stays; a worker reaches nothing outside."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.serve.conftest import UNSURE, body
from tests.serve.faults import FAULTS, STAGES, Faulty
from ttsi.errors import ModelError
from ttsi.methods import preset
from ttsi.models.scripted import DemoModel
from ttsi.serve.limits import Limits
from ttsi.serve.pipe import Job, Outcome
from ttsi.serve.watched import Interrupts, Late, Left
from ttsi.serve.wire import read_request
from ttsi.serve.worker import _is_base, answer_job
from ttsi.types import Answer, Episode, ToolCall

ROOT = Path(__file__).parents[2]


def job(text: str = UNSURE, method: str = "ttsi", **more: Any) -> Job:
    asked = read_request(body(text, **more), Limits(), "id")
    return Job(
        id="1",
        item=asked.item,
        config=preset(method, "embedded"),
        choices=asked.choices,
        call_required=asked.call_required,
        forced=asked.forced,
        one_call=not asked.parallel,
        names=asked.names,
        answer_schema=asked.answer_schema,
        adapt_seconds=30,
    )


def names(outcome: Outcome) -> list[str]:
    return [name for said in outcome.said for name, _ in said.calls]


BASE = answer_job(DemoModel(), job(method="base"), Interrupts())


def test_an_unsure_request_is_adapted_and_a_sure_one_is_not() -> None:
    assert names(BASE) == ["book_flight"]
    better = answer_job(DemoModel(), job(), Interrupts())
    assert names(better) == ["get_weather"] and better.episodes[0].adaptation.status == "trained"
    assert better.fallback is None
    told = job("Book a flight to a city Oslo")
    easy = replace(told.config, awareness=replace(told.config.awareness, tau=-0.3))
    sure = answer_job(DemoModel(), told.model_copy(update={"config": easy}), Interrupts())
    assert sure.episodes[0].adaptation.status == "none"


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
def test_whatever_fails_anywhere_there_is_an_answer(stage: str, fault: type[BaseException]) -> None:
    if fault is Late and stage in ("base", "removal"):
        pytest.skip("a deadline is not raised there (test_a_deadline_waits_for_the_base)")
    model = Faulty(stage, fault)
    outcome = answer_job(model, job(), Interrupts())
    assert model.failed == 1
    assert outcome.state == "answered"
    if stage == "base":  # what fails once is asked again, and adaptation goes on
        assert names(outcome) == ["get_weather"]
        return
    assert outcome.said == BASE.said
    assert outcome.fallback == ("deadline" if fault is Late else "answer" if stage == "removal" else stage)
    assert "secret" not in outcome.model_dump_json()


def test_control_without_the_fallback_the_fault_is_seen() -> None:
    with pytest.raises(MemoryError):
        Faulty("awareness", MemoryError).score((), ())


def test_a_base_that_cannot_answer_is_an_outcome_too() -> None:
    class Mute(DemoModel):
        def generate(self, requests: Any) -> Any:
            raise RuntimeError("secret internals")

    outcome = answer_job(Mute(), job(), Interrupts())
    assert outcome.state == "failed" and "secret" not in outcome.model_dump_json()


def test_a_schema_that_the_model_cannot_follow_is_the_clients_fault() -> None:
    class Strict(DemoModel):
        def generate(self, requests: Any) -> Any:
            raise ModelError("the grammar does not compile: secret internals")

    outcome = answer_job(Strict(), job(), Interrupts())
    assert outcome.state == "unfit" and "secret" not in outcome.model_dump_json()


def test_a_deadline_waits_for_the_base() -> None:
    interrupts = Interrupts()
    interrupts.come(Late)  # before anything was computed
    outcome = answer_job(DemoModel(), job(), interrupts)
    assert (outcome.said, outcome.fallback) == (BASE.said, "deadline")
    assert outcome.episodes[0].adaptation.reason == "deadline at stage base"


def test_whoever_left_gets_no_answer() -> None:
    interrupts = Interrupts()
    interrupts.come(Left)
    assert answer_job(DemoModel(), job(), interrupts).state == "left"


@pytest.mark.parametrize("kind", [Left, Late])
def test_an_interruption_in_training_leaves_no_adapter(kind: type[BaseException]) -> None:
    interrupts = Interrupts()

    class Interrupted(DemoModel):
        def generate(self, requests: Any) -> Any:
            if requests[0].adapter is not None:
                interrupts.come(kind)
            return super().generate(requests)

    model = Interrupted()
    outcome = answer_job(model, job(), interrupts)
    assert outcome.state == ("left" if kind is Left else "answered")
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
    left = []

    class Slow(Faulty):
        def _at(self, stage: str) -> None:
            if stage == "removal":
                interrupts.come(Left)
                left.append(stage)

    outcome = answer_job(Slow("removal", Left), job(), interrupts)
    assert left == ["removal"]
    assert outcome.state == "left"  # it is raised behind the removal


def test_an_adapted_answer_that_is_not_legal_gives_way_to_the_base() -> None:
    from ttsi.serve.worker import _judged

    item = job().item
    good = Answer("", (ToolCall("get_weather", {"city": "Oslo"}),))
    bad = Answer("", (ToolCall("get_weather", {"town": "Oslo"}),))
    episode = Episode("1", "", good, bad, None)
    assert _judged(episode, item).adapted == good
    assert _judged(replace(episode, base=bad, adapted=good), item).adapted == good  # control: the legal one stays


def test_choices_are_improved_each_for_itself() -> None:
    outcome = answer_job(DemoModel(), job(n=3), Interrupts())
    assert len(outcome.said) == 3 and names(outcome)[0] == "get_weather"
    assert len({json.dumps([e.query for e in told.examples]) for told in outcome.episodes}) > 1


def test_without_tools_the_base_speaks() -> None:
    outcome = answer_job(DemoModel(), job(tool_choice="none"), Interrupts())
    assert outcome.said[0].content == "I have no tools for that." and outcome.said[0].finish == "stop"


def test_an_outcome_comes_back_the_same_from_json() -> None:
    outcome = answer_job(DemoModel(), job(), Interrupts())
    odd = replace(outcome.episodes[0].adaptation, losses=(float("nan"), float("inf")))
    strange = outcome.model_copy(update={"episodes": (replace(outcome.episodes[0], adaptation=odd),)})
    again = Outcome.model_validate_json(strange.model_dump_json())
    assert repr(again.episodes) == repr(strange.episodes)


SEALED = """
import os, socket, subprocess, sys
from ttsi.serve.worker import seal
if sys.argv[1] == "sealed": seal()
def tried(act):
    try: act()
    except PermissionError: return "refused"
    except OSError: return "tried"
    return "done"
print(tried(lambda: socket.create_connection(("127.0.0.1", 9))),
      tried(lambda: subprocess.run([sys.executable, "-c", ""])),
      tried(lambda: os.system("true")),
      tried(lambda: open("a-new-file", "w").close()),
      tried(lambda: open(os.devnull, "w").close()),
      tried(lambda: open(sys.argv[0] or "/proc/self/stat").close()))
"""


@pytest.mark.parametrize(
    ("state", "says"), [("sealed", "refused refused refused refused done"), ("open", "tried done done done done")]
)
def test_h6_a_sealed_worker_reaches_no_network_starts_nothing_and_writes_no_file(
    state: str, says: str, tmp_path: Path
) -> None:
    script = tmp_path / "script.py"
    script.write_text(SEALED)
    done = subprocess.run(
        [sys.executable, str(script), state],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT)},
        check=True,
    )
    assert done.stdout.strip() == f"{says} done"
