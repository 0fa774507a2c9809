"""The server's worker with the model that ships: adapted, stopped in training, and the base's bits as they were."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")

from tests.serve.test_worker import job, names
from ttsi.models import load, temporary_adapters
from ttsi.serve.pipe import Job
from ttsi.serve.watched import Interrupts, Late, Left
from ttsi.serve.worker import Served, _is_base, answer_job

TOOLS = json.loads((Path(__file__).parents[2] / "examples" / "tools.json").read_text())
REQUEST = "put down 4.5 for hidden bird"


@pytest.fixture(scope="module")
def model() -> Served:
    found = load("embedded", device="cpu")
    assert isinstance(found, Served)
    return found


def film(method: str = "ttsi", **more: Any) -> Job:
    return job(REQUEST, method, tools=TOOLS, **more)


def test_the_embedded_model_is_adapted_twice_alike_and_is_the_same_after(model: Served) -> None:
    before = model.weights_sha256()
    first = answer_job(model, film(), Interrupts())
    again = answer_job(model, film(), Interrupts())
    assert first.episodes[0].adaptation.status == "trained" and first.fallback is None
    assert first.said == again.said and first.prompt_tokens > 0
    assert _is_base(model, before)


@pytest.mark.parametrize("kind", [Late, Left])
def test_training_that_is_stopped_leaves_the_base(
    model: Served, kind: type[BaseException], monkeypatch: pytest.MonkeyPatch
) -> None:
    before, interrupts, train = model.weights_sha256(), Interrupts(), temporary_adapters.train

    def stopped(*given: Any, **named: Any) -> Any:
        interrupts.come(kind)
        return train(*given, **named)

    monkeypatch.setattr(temporary_adapters, "train", stopped)
    outcome = answer_job(model, film(), interrupts)
    assert _is_base(model, before)
    if kind is Left:
        assert outcome.state == "left"
    else:
        assert outcome.fallback == "deadline"
        assert outcome.said == answer_job(model, film(method="base"), Interrupts()).said


def test_an_answer_in_json_fits_its_schema(model: Served) -> None:
    schema = {"type": "object", "properties": {"city": {"enum": ["Oslo", "Rome"]}}, "required": ["city"]}
    closed = {"name": "x", "schema": {**schema, "additionalProperties": False}}
    asked = job("where?", tools=None, response_format={"type": "json_schema", "json_schema": closed})
    [said] = answer_job(model, asked, Interrupts()).said
    assert said.content and json.loads(said.content)["city"] in ("Oslo", "Rome")


def test_a_required_call_is_made(model: Served) -> None:
    assert names(answer_job(model, film(method="base", tool_choice="required"), Interrupts()))


def test_what_does_not_fit_the_context_is_the_clients_fault(model: Served) -> None:
    outcome = answer_job(model, job("film " * 3000, tools=TOOLS), Interrupts())
    assert outcome.state == "unfit" and "context" in outcome.reason
