"""Do the methods keep their promises with real weights: a tiny random model, the same bits afterwards?"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import build_model, build_tokenizer
from ttsi.adaptation.shared import supervised
from ttsi.batch import check_references
from ttsi.config import AdaptationConfig, LoopConfig
from ttsi.errors import ConfigError, DataError
from ttsi.loop import improve
from ttsi.methods import ADAPTATION_METHODS, METHODS, find_method, preset, wants_training_data
from ttsi.models import Model, Writer
from ttsi.models.local import LocalModel
from ttsi.models.scripted import DemoModel
from ttsi.types import (
    Adaptation,
    Episode,
    GoldExample,
    Input,
    Message,
    Prompt,
    Tool,
    ToolCall,
    TrainingData,
    TrainingExample,
)

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


def run(model: Model, method: str, writer: Writer | None = None) -> list[Episode]:
    """The method on a model, adapting everywhere, with short texts."""
    config = preset(method, "embedded")
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
        ("rerank", "rerank", "resampled"),
    ],
)
def test_real_weights_come_back_from_every_method(tiny: Counting, method: str, adapted_by: str, status: str) -> None:
    before = tiny.weights_sha256()
    config = preset(method, "embedded")
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
    before, [plain, _] = tiny.weights_sha256(), run(tiny, "base")
    config = AdaptationConfig(rank=2, epochs=4, lr=2e-2, batch_size=2)
    with supervised(tiny, DATA, config, seed=3) as fine_tuned:
        first, second = run(fine_tuned, "sft"), run(fine_tuned, "sft")
    with supervised(tiny, DATA, config, seed=3) as fine_tuned:
        again = run(fine_tuned, "sft")
    assert tiny.trained == [1, 1], "one adapter, once for each `with`"
    assert [(e.adaptation.status, e.adaptation.samples, e.adaptation.steps) for e in first] == [("shared", 3, 8)] * 2
    assert [e.adapted for e in first] == [e.adapted for e in second] == [e.adapted for e in again]
    assert first[0].base == plain.base
    assert first[0].adapted is not None and first[0].base is not None
    assert first[0].adapted.logprob != first[0].base.logprob
    assert tiny.weights_sha256() == before
    assert run(tiny, "base")[0].base == plain.base


def test_sft_of_scope_suffix_acts_behind_the_tools_of_each_row(tiny: Counting) -> None:
    check_references(replace(preset("sft"), adaptation=replace(preset("sft").adaptation, scope="suffix")))
    config = AdaptationConfig(rank=2, epochs=4, lr=2e-2, batch_size=2)
    records = {}
    for scope in ("suffix", "all"):
        with supervised(tiny, DATA, replace(config, scope=scope), seed=3) as fine_tuned:
            records[scope] = run(fine_tuned, "sft")[0]
    suffix, whole = records["suffix"], records["all"]
    assert suffix.adaptation.unadapted > 0 == whole.adaptation.unadapted
    assert suffix.adapted is not None and whole.adapted is not None and suffix.base is not None
    assert len({suffix.base.logprob, suffix.adapted.logprob, whole.adapted.logprob}) == 3


def test_every_input_of_a_batch_is_scored_with_the_shared_adapter(tiny: Counting) -> None:
    config = AdaptationConfig(rank=2, epochs=4, lr=2e-2, batch_size=2)
    prompts, texts = [Prompt(item.messages, item.tools) for item in CASES[:1] * 3], [["sun", "rain"]] * 3
    with supervised(tiny, DATA, config, seed=3) as fine_tuned, fine_tuned.adapted([[]] * 3, config, [0] * 3):
        first, second, third = fine_tuned.score(prompts, texts, [0, 1, 2])
        [base] = fine_tuned.score(prompts[:1], texts[:1], [None])
    assert first == pytest.approx(second) and first == pytest.approx(third)
    assert first != pytest.approx(base), "the control: without an adapter"


def test_control_another_seed_trains_another_adapter(tiny: Counting) -> None:
    config = AdaptationConfig(rank=2, epochs=4, lr=2e-2, batch_size=2)
    answers = []
    for seed in (3, 4):
        with supervised(tiny, DATA, config, seed) as fine_tuned:
            answers.append(run(fine_tuned, "sft")[0].adapted)
    one, other = answers
    assert one is not None and other is not None and one.logprob != other.logprob


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
    with supervised(Broken(), DATA, AdaptationConfig(), seed=0) as fine_tuned:
        episodes = improve(CASES, fine_tuned, fine_tuned, preset("sft", "embedded"))
    assert [e.adaptation.reason for e in episodes] == ["MemoryError: no room"] * 2
    assert all(e.adapted == e.base is not None and e.error is None for e in episodes)
    assert Broken.attempts == 1


OWN = """
from contextlib import contextmanager
from dataclasses import replace
from ttsi.adaptation import Tuned
from ttsi.methods import Method
from ttsi.types import Adaptation, Input, Message

@contextmanager
def briefly(task):
    inputs = tuple(Input(i.id, (Message("system", "be brief"), *i.messages), i.tools) for i in task.inputs)
    n = len(inputs)
    yield Tuned(inputs, (None,) * n, (Adaptation("resampled", reason="briefly"),) * n)

@contextmanager
def upside_down(task):
    with briefly(task) as tuned:
        yield replace(tuned, strategy="upside-down")

@contextmanager
def reranked(task):
    with briefly(task) as tuned:
        yield replace(tuned, strategy="rerank")

METHOD = Method("told to be brief", {"adaptation": {"method": "own_method:briefly", "lr": 0.5}, "synthesis": {"k": 0}})
TSSI = Method("misspelt", extends="tssi")
GATED = Method("its own gate", {"awareness": {"measure": "top1", "tau": 0.5}})
EMBEDDED = Method("slow", {"synthesis": {"k": 12}}, embedded={"adaptation": {"lr": 0.25}}, extends="ttsi")
MORE = Method("more examples", {"synthesis": {"k": 12}, "adaptation": {"epochs": 3}}, extends="ttsi")
"""


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / "own_method.py").write_text(OWN)
    monkeypatch.syspath_prepend(tmp_path)
    return "own_method:METHOD"


def test_a_strategy_that_does_not_exist_is_refused_by_name(own: str) -> None:
    config = preset(own, "hf:some/model")
    with_strategy = [replace(config.adaptation, method=f"own_method:{name}") for name in ("upside_down", "reranked")]
    with pytest.raises(ConfigError, match=r"upside_down.*upside-down.*rerank"):
        improve(CASES, DemoModel(), config=replace(config, adaptation=with_strategy[0]))
    episodes = improve(CASES, DemoModel(), config=replace(config, adaptation=with_strategy[1]))
    assert [episode.error for episode in episodes] == [None, None], "the control: one that does"


def test_a_method_of_your_own_is_one_function_and_one_record(own: str) -> None:
    config = preset(own, "hf:some/model")
    assert config.adaptation.lr == 0.5, "its own settings are nobody else's"
    check_references(config)
    everywhere = replace(config, awareness=replace(config.awareness, gate="all"))
    episodes = improve(CASES, DemoModel(), config=everywhere)
    assert [(e.error, e.adaptation.status, e.adaptation.reason) for e in episodes] == [
        (None, "resampled", "briefly")
    ] * 2


@pytest.mark.parametrize("model", ["embedded", "hf:some/model"])
def test_a_method_starts_from_the_one_that_it_extends(own: str, model: str) -> None:
    base, more = preset("ttsi", model), preset("own_method:MORE", model)
    wanted = replace(base.adaptation, epochs=3)
    assert more == replace(base, synthesis=replace(base.synthesis, k=12), adaptation=wanted)
    assert preset(own, model).awareness == LoopConfig().awareness  # control: one that extends nothing
    with pytest.raises(ConfigError, match="unknown method to extend 'tssi'; did you mean 'ttsi'"):
        preset("own_method:TSSI", model)


@pytest.mark.parametrize("model", [None, "embedded", "hf:some/model"])
def test_no_model_takes_the_settings_of_your_own_method_away(own: str, model: str | None) -> None:
    gate = preset("own_method:GATED", model).awareness
    assert (gate.measure, gate.tau) == ("top1", 0.5)
    # Control: a shipped method has another gate for another model.
    assert preset("vote", "embedded").awareness != preset("vote", "hf:some/model").awareness


def test_a_method_of_your_own_differs_for_the_embedded_model_where_it_says_so(own: str) -> None:
    slow, base = preset("own_method:EMBEDDED", "embedded"), preset("ttsi", "embedded")
    assert slow == replace(base, synthesis=replace(base.synthesis, k=12), adaptation=replace(base.adaptation, lr=0.25))
    other = preset("own_method:EMBEDDED", "hf:some/model")  # control
    assert (other.synthesis.k, other.adaptation) == (12, preset("ttsi", "hf:some/model").adaptation)


@pytest.mark.parametrize("name", [3, None, ["ttsi"]])
def test_a_name_that_is_no_text_is_refused(name: object) -> None:
    with pytest.raises(ConfigError, match="a method is named by a str"):
        preset(name)  # type: ignore[arg-type]
    assert preset("base").adapt is False  # control


def test_what_is_no_method_is_refused_by_name(own: str) -> None:
    with pytest.raises(ConfigError, match=r"is a function: make it a ttsi\.methods\.Method"):
        find_method(own.replace("METHOD", "briefly"))
    with pytest.raises(ConfigError, match="own_method has no 'OTHER'"):
        find_method(own.replace("METHOD", "OTHER"))
    with pytest.raises(ConfigError, match="did you mean 'ttsi'"):
        find_method("tssi")


def test_every_way_of_adapting_that_a_method_names_is_a_function_of_one_task() -> None:
    used = {preset(name).adaptation.method for name in METHODS}
    assert used == set(ADAPTATION_METHODS)
    for name in used:
        check_references(LoopConfig(adaptation=AdaptationConfig(method=name)))
        sentence = ADAPTATION_METHODS[name].summary.format(whom="for these", wrote="wrote 8", samples=5, attempted=3)
        assert "{" not in sentence
    assert {name for name in METHODS if wants_training_data(preset(name))} == {"icl", "sft"}
    twins = {method.with_teacher for method in METHODS.values()} - {None}
    assert twins == {name for name, method in METHODS.items() if method.needs_teacher}


def test_whose_learning_rate_a_preset_has() -> None:
    model = DemoModel()
    assert preset("ttsi", "embedded") == preset("ttsi", model) == preset("ttsi", model.spec)
    model.spec = "somebody-elses"
    assert preset("ttsi") == preset("ttsi", model) == preset("ttsi", "hf:some/model")
    assert preset("ttsi").adaptation.lr is None and preset("ttsi", "embedded").adaptation.lr == 6e-3
