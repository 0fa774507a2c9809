"""The server's worker with the model that ships: adapted, stopped in training, and the base's bits as they were."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")

from tests.serve.test_worker import job, names
from ttsi.models import load, temporary_adapters
from ttsi.serve.interruptible import ClientDisconnected, DeadlineExceeded, Interrupts
from ttsi.serve.pipe import AnswerJob
from ttsi.serve.worker import ServableModel, _is_base, answer_job

TOOLS = json.loads((Path(__file__).parents[2] / "examples" / "tools.json").read_text())
REQUEST = "put down 4.5 for hidden bird"


@pytest.fixture(scope="module")
def model() -> ServableModel:
    embedded = load("embedded", device="cpu")
    assert isinstance(embedded, ServableModel)
    return embedded


def film(method: str = "ttsi", **more: Any) -> AnswerJob:
    return job(REQUEST, method, tools=TOOLS, **more)


def test_the_embedded_model_is_adapted_twice_alike_and_is_the_same_after(model: ServableModel) -> None:
    before = model.weights_sha256()
    first = answer_job(model, film(), Interrupts())
    again = answer_job(model, film(), Interrupts())
    assert first.episodes[0].adaptation.status == "trained" and first.fallback is None
    assert first.choices == again.choices and first.prompt_tokens > 0
    assert _is_base(model, before)


@pytest.mark.parametrize("kind", [DeadlineExceeded, ClientDisconnected])
def test_training_that_is_stopped_leaves_the_base(
    model: ServableModel, kind: type[BaseException], monkeypatch: pytest.MonkeyPatch
) -> None:
    before, interrupts, train = model.weights_sha256(), Interrupts(), temporary_adapters.train

    def interrupted_train(*arguments: Any, **options: Any) -> Any:
        interrupts.interrupt(kind)
        return train(*arguments, **options)

    monkeypatch.setattr(temporary_adapters, "train", interrupted_train)
    outcome = answer_job(model, film(), interrupts)
    assert _is_base(model, before)
    if kind is ClientDisconnected:
        assert outcome.state == "disconnected"
    else:
        assert outcome.fallback == "deadline"
        assert outcome.choices == answer_job(model, film(method="base"), Interrupts()).choices


def test_an_answer_in_json_fits_its_schema(model: ServableModel) -> None:
    schema = {"type": "object", "properties": {"city": {"enum": ["Oslo", "Rome"]}}, "required": ["city"]}
    closed = {"name": "x", "schema": {**schema, "additionalProperties": False}}
    request = job("where?", tools=None, response_format={"type": "json_schema", "json_schema": closed})
    [choice] = answer_job(model, request, Interrupts()).choices
    assert choice.content and json.loads(choice.content)["city"] in ("Oslo", "Rome")


def test_a_required_call_is_made(model: ServableModel) -> None:
    assert names(answer_job(model, film(method="base", tool_choice="required"), Interrupts()))


def test_a_prompt_beyond_the_context_is_a_client_error(model: ServableModel) -> None:
    outcome = answer_job(model, job("film " * 3000, tools=TOOLS), Interrupts())
    assert outcome.state == "too-long" and "context" in outcome.reason
