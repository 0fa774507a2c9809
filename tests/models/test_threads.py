"""Does a batch have its model to itself, whichever thread begins it?"""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import replace

import pytest

import ttsi
from ttsi.models.local import LocalModel
from ttsi.types import Episode

CITY = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
TOOLS = (
    ttsi.Tool("get_weather", "show the weather of a city", CITY),
    ttsi.Tool("find_hotel", "find a hotel in a city", CITY),
)
REQUESTS = [
    ttsi.Input(text, (ttsi.Message("user", text),), TOOLS)
    for text in ("Oslo, do i need an umbrella", "somewhere to sleep in Lima", "is it cold outside in Rome")
]


@pytest.fixture(scope="module")
def model() -> LocalModel:
    loaded = ttsi.load_model("embedded")
    assert isinstance(loaded, LocalModel)
    return loaded


def test_threads_that_improve_with_one_model_get_what_they_would_get_in_turn(model: LocalModel) -> None:
    settings = ttsi.preset("ttsi", model)
    quick = replace(
        settings,
        synthesis=replace(settings.synthesis, k=2),
        adaptation=replace(settings.adaptation, epochs=2),
        awareness=replace(settings.awareness, gate="all"),
    )

    def improved(request: ttsi.Input) -> Episode:
        [episode] = ttsi.improve([request], model, config=quick)
        return replace(episode, seconds={})

    in_turn = [improved(request) for request in REQUESTS]
    with ThreadPoolExecutor(len(REQUESTS)) as threads:
        assert list(threads.map(improved, REQUESTS)) == in_turn
    assert {episode.adaptation.status for episode in in_turn} == {"trained"}


@pytest.mark.parametrize("locked", [True, False])
def test_another_threads_batch_waits(model: LocalModel, monkeypatch: pytest.MonkeyPatch, locked: bool) -> None:
    """The control has no lock: there the second batch begins within the first."""
    if not locked:
        monkeypatch.setattr(model.prefixes, "_turn", nullcontext())
    entered = threading.Event()

    def begin() -> None:
        with model.prefix_cache():
            entered.set()

    other = threading.Thread(target=begin)
    with model.prefix_cache(), model.prefix_cache():  # its own thread may begin another one
        other.start()
        assert entered.wait(0.5) is not locked
    other.join(10)
    assert entered.is_set()
