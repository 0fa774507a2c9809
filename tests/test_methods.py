"""Do the methods keep their promises with real weights: a tiny random model, the same bits afterwards?"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Any

import pytest

from tests.conftest import build_model, build_tokenizer
from ttsi.adaptation.shared import supervised
from ttsi.config import AdaptationConfig
from ttsi.errors import DataError
from ttsi.loop import improve
from ttsi.methods import preset
from ttsi.models import Model, Writer
from ttsi.models.local import LocalModel
from ttsi.models.scripted import DemoModel
from ttsi.types import Adaptation, Episode, GoldExample, Input, Message, Tool, ToolCall, TrainingData, TrainingExample

CITY = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
OFFERED = (Tool("get_weather", "get the weather", CITY), Tool("find_hotel", "find a hotel", CITY))
CASES = [Input(str(i), (Message("user", f"rain in {city}?"),), OFFERED) for i, city in enumerate(("Oslo", "Rome"))]
PAIRS = tuple(
    GoldExample(
        Input(f"t{i}", (Message("user", f"sun in {city}?"),), OFFERED), (ToolCall("get_weather", {"city": city}),)
    )
    for i, city in enumerate(("Lima", "Quito", "Cairo"))
)
DATA = TrainingData("train", "0" * 64, PAIRS)


def told(model: Model, method: str, writer: Writer | None = None) -> list[Episode]:
    """The method on a model, adapting everywhere, with short texts."""
    config = preset(method)
    config = replace(
        config,
        awareness=replace(config.awareness, gate="all"),
        synthesis=replace(config.synthesis, max_tokens=40),
        adaptation=replace(config.adaptation, rank=2, epochs=2, lr=1e-2),
        answer=replace(config.answer, max_tokens=24, samples=2),
    )
    return improve(CASES, model, writer or model, config)


class Counting(LocalModel):
    """Remembers how many adapters were trained together, each time."""

    def __init__(self) -> None:
        super().__init__("tiny", build_model("qwen2"), build_tokenizer())
        self.trained: list[int] = []

    def adapted(
        self, jobs: Sequence[Sequence[TrainingExample]], config: AdaptationConfig, seeds: Sequence[int]
    ) -> AbstractContextManager[list[Adaptation]]:
        if jobs:
            self.trained.append(len(jobs))
        return super().adapted(jobs, config, seeds)


@pytest.fixture
def tiny() -> Counting:
    return Counting()


@pytest.mark.parametrize(
    ("method", "adapted_by", "status"),
    [
        ("icl", "in-context", "in-context"),
        ("icl", "lora", "trained"),
        ("icl", "both", "trained"),
        ("vote", "vote", "resampled"),
        ("ask-again", "ask-again", "resampled"),
    ],
)
def test_real_weights_come_back_from_every_method(tiny: Counting, method: str, adapted_by: str, status: str) -> None:
    before = tiny.weights_sha256()
    config = preset(method)
    config = replace(
        config,
        adaptation=replace(config.adaptation, method=adapted_by, rank=2, epochs=2, lr=1e-2),  # type: ignore[arg-type]
        awareness=replace(config.awareness, gate="all"),
        answer=replace(config.answer, max_tokens=24, samples=2),
    )
    episodes = improve(CASES, tiny, DATA if method == "icl" else tiny, config)
    assert [episode.error for episode in episodes] == [None, None]
    assert {episode.adaptation.status for episode in episodes} == {status}, episodes[0].adaptation
    assert all(episode.adapted is not None and episode.base is not None for episode in episodes)
    if status == "trained":
        assert [e.adaptation.samples for e in episodes] == [3, 3]
        assert all(e.adapted.logprob != e.base.logprob for e in episodes if e.adapted and e.base)
    assert tiny.weights_sha256() == before


def test_sft_trains_one_adapter_once_and_drops_it(tiny: Counting) -> None:
    before, [plain, _] = tiny.weights_sha256(), told(tiny, "base")
    config = AdaptationConfig(rank=2, epochs=4, lr=2e-2, batch_size=2)
    with supervised(tiny, DATA, config, seed=3) as taught:
        first, second = told(taught, "sft"), told(taught, "sft")
    with supervised(tiny, DATA, config, seed=3) as taught:
        again = told(taught, "sft")
    assert tiny.trained == [1, 1], "one adapter, once for each `with`"
    assert [(e.adaptation.status, e.adaptation.samples, e.adaptation.steps) for e in first] == [("shared", 3, 8)] * 2
    assert [e.adapted for e in first] == [e.adapted for e in second] == [e.adapted for e in again]
    assert first[0].base == plain.base
    assert first[0].adapted is not None and first[0].base is not None
    assert first[0].adapted.logprob != first[0].base.logprob
    assert tiny.weights_sha256() == before
    assert told(tiny, "base")[0].base == plain.base


def test_control_another_seed_trains_another_adapter(tiny: Counting) -> None:
    config = AdaptationConfig(rank=2, epochs=4, lr=2e-2, batch_size=2)
    said = []
    for seed in (3, 4):
        with supervised(tiny, DATA, config, seed) as taught:
            said.append(told(taught, "sft")[0].adapted)
    assert said[0] is not None and said[1] is not None and said[0].logprob != said[1].logprob


def test_data_that_a_model_cannot_learn_are_refused(tiny: Counting) -> None:
    foreign = replace(PAIRS[0], calls=(ToolCall("no_such_tool", {}),))
    nothing = TrainingData("train", "0" * 64, (foreign, replace(PAIRS[0], calls=())))
    with pytest.raises(DataError, match="no row that tiny can learn"), supervised(tiny, nothing, AdaptationConfig(), 0):
        pass


class Broken(DemoModel):
    """Cannot train."""

    attempts = 0

    def adapted(self, jobs: Any, config: Any, seeds: Any) -> Any:
        type(self).attempts += 1
        raise MemoryError("no room")


def test_sft_that_cannot_be_trained_leaves_every_input_to_the_base_and_tries_once() -> None:
    with supervised(Broken(), DATA, AdaptationConfig(), seed=0) as taught:
        episodes = improve(CASES, taught, taught, preset("sft"))
    assert [e.adaptation.reason for e in episodes] == ["MemoryError: no room"] * 2
    assert all(e.adapted == e.base is not None and e.error is None for e in episodes)
    assert Broken.attempts == 1
