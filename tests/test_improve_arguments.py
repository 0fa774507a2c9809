"""Arguments of `improve` that do not fit together are refused in one line instead of being recorded per input."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from tests.worlds import rows, write
from ttsi import AgentConfig, evaluate, improve, load_model, preset, run_episode, run_episodes
from ttsi.benchmarks import load
from ttsi.errors import ConfigError
from ttsi.types import Input

if TYPE_CHECKING:
    from transformers import PreTrainedModel


@pytest.fixture
def inputs(tmp_path_factory: pytest.TempPathFactory) -> list[Input]:
    path = write(tmp_path_factory.mktemp("data") / "mine.jsonl", rows(3))
    return [sample.input for sample in load(str(path)).samples]


@pytest.mark.parametrize("count", [1, 2, 4, 6])
def test_answers_of_another_number_are_refused(inputs: list[Input], count: int) -> None:
    model = load_model("scripted:demo")
    answers = [episode.base for episode in improve(inputs, model)] * 2
    with pytest.raises(ConfigError, match=f"{count} answers? for 3 inputs"):
        improve(inputs, model, answers=answers[:count])  # type: ignore[arg-type]


def test_control_one_answer_per_input_changes_nothing(inputs: list[Input]) -> None:
    model = load_model("scripted:demo")
    first = improve(inputs, model)
    again = improve(inputs, model, answers=[episode.base for episode in first])  # type: ignore[misc]
    assert [(episode.base, episode.adapted) for episode in again] == [(one.base, one.adapted) for one in first]


@pytest.mark.parametrize("model", ["embedded", None])
def test_what_is_no_model_is_refused(inputs: list[Input], model: object) -> None:
    with pytest.raises(ConfigError, match=r"use ttsi\.load_model\(SPEC\)"):
        improve(inputs, model)  # type: ignore[arg-type]


def test_a_bare_model_of_transformers_is_refused_with_the_call_that_loads_it(
    inputs: list[Input], model: PreTrainedModel
) -> None:
    class Plain:
        """The control: no model of transformers."""

    bare: Any = model
    own: Any = Plain()
    calls: list[Any] = [lambda one: improve(inputs, one), lambda one: evaluate("toolworld", one, limit=1)]
    for call in calls:
        with pytest.raises(
            ConfigError, match=r"^the model is a Qwen2ForCausalLM of transformers: use ttsi\.load_model\("
        ):
            call(bare)
        with pytest.raises(ConfigError, match=r"^the model is a Plain without 'spec': add it"):
            call(own)


@pytest.mark.parametrize("config", ["ttsi", {}])
def test_what_is_no_settings_is_refused(config: object) -> None:
    calls: list[Any] = [improve, run_episodes]
    for call in calls:
        with pytest.raises(ConfigError, match="use a LoopConfig"):
            call([], load_model("scripted:demo"), config=config)
    with pytest.raises(ConfigError, match=r"use a ttsi\.AgentConfig"):
        run_episodes([], load_model("scripted:demo"), agent=config)  # type: ignore[arg-type]
    assert run_episodes([], load_model("scripted:demo"), agent=AgentConfig()) == [], "control"


def test_what_can_write_nothing_is_no_writer(inputs: list[Input]) -> None:
    model = load_model("scripted:demo")
    writers: list[Any] = [preset("ttsi", model), "ttsi", [], AgentConfig()]
    calls: list[Any] = [improve, run_episode]
    for writer in writers:
        for call in calls:
            with pytest.raises(ConfigError, match=r"^the writer is an? \w+ and no model: .*; settings go to config=$"):
                call(inputs, model, writer)
    assert improve(inputs, model, model)[0].error is None, "control"
    assert improve(inputs, model, config=preset("ttsi", model))[0].error is None, "control"


def test_settings_are_no_teacher_of_an_evaluation() -> None:
    with pytest.raises(ConfigError, match="without 'spec'"):
        evaluate("toolworld", "scripted:demo", teacher=AgentConfig(), limit=1)  # type: ignore[arg-type]
    model = load_model("scripted:demo")
    assert evaluate("toolworld", model, "ttd", teacher=model, limit=1)["n"] == 1, "control"


def test_settings_without_meaning_are_refused(inputs: list[Input]) -> None:
    model = load_model("scripted:demo")
    for seed in (-1, 0):  # the second is a control
        with pytest.raises(ConfigError, match="seed is -1") if seed else nullcontext():
            improve(inputs, model, config=replace(preset("ttsi", model), seed=seed))


def test_inputs_may_come_from_a_generator(inputs: list[Input]) -> None:
    model = load_model("scripted:demo")
    assert len(improve((item for item in inputs), model)) == 3  # type: ignore[arg-type]
    assert improve([], model) == []
