"""Training that starts from a stored adapter: where it goes on, whose it is, and what is refused."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.library.streams import inputs
from tests.worlds import few_everywhere
from ttsi.engine.peft_folder import read_safetensors, to_safetensors
from ttsi.errors import ModelError
from ttsi.models import Model, adapter_keeper, load
from ttsi.models.adapter_files import StartedFrom
from ttsi.types import Prompt, TrainingExample

CONFIG = replace(few_everywhere().adaptation, epochs=4)
TARGET = '{"name": "get_weather", "arguments": {"city": "Lima"}}'


@pytest.fixture(scope="module")
def model() -> Model:
    return load("embedded")


@pytest.fixture(scope="module")
def lessons() -> list[TrainingExample]:
    return [TrainingExample(Prompt(item.messages, item.tools), TARGET) for item in inputs()[:2]]


def trained(model: Model, lessons: list[TrainingExample], seeds: list[int]) -> list[tuple[float, ...]]:
    with model.adapted([[lesson] for lesson in lessons], CONFIG, seeds) as adaptations:
        return [adaptation.losses for adaptation in adaptations]


def test_training_goes_on_where_the_stored_adapter_stood(model: Model, lessons: list[TrainingExample]) -> None:
    first = lessons[0]
    with model.adapted([[first]], CONFIG, [0]) as [whole]:
        file = adapter_keeper(model).adapter_file(0)
        prompts = [first.prompt]
        [[stored]] = model.score(prompts, [[TARGET]], [0])
        [[base]] = model.score(prompts, [[TARGET]])
    [fresh], [further] = trained(model, [first], [0]), trained(StartedFrom(model, {0: file}), [first], [0])
    assert fresh == whole.losses
    assert further[0] < whole.losses[-1] < fresh[0]  # lower than before its own last step
    assert further[0] / fresh[0] == pytest.approx(stored / base, rel=0.02)


def test_each_job_starts_from_the_file_of_its_seed(model: Model, lessons: list[TrainingExample]) -> None:
    with model.adapted([[lessons[0]]], CONFIG, [7]):
        file = adapter_keeper(model).adapter_file(0)
    both = trained(StartedFrom(model, {8: file}), lessons, [7, 8])
    alone = [
        trained(StartedFrom(model, {8: file}), [lesson], [seed])[0]
        for lesson, seed in zip(lessons, (7, 8), strict=True)
    ]
    fresh = trained(model, lessons, [7, 8])
    assert both[0] == pytest.approx(alone[0])
    assert both[1] == pytest.approx(alone[1])
    assert both[0] == pytest.approx(fresh[0])
    assert both[1][0] < fresh[1][0] - 0.1  # the control: without its file it starts anew


def test_the_base_is_as_before_and_a_file_that_does_not_fit_is_refused(
    model: Model, lessons: list[TrainingExample]
) -> None:
    with model.adapted([[lessons[0]]], CONFIG, [0]):
        file = adapter_keeper(model).adapter_file(0)
    before = model.weights_checksum()  # type: ignore[attr-defined]
    started = StartedFrom(model, {0: file})
    trained(started, lessons, [0, 1])
    assert model.weights_checksum() == before  # type: ignore[attr-defined]
    for settings, reason in (
        (replace(CONFIG, rank=4), "it has rank 8, not 4"),
        (replace(CONFIG, alpha=32.0), r"it has alpha 16\.0, not 32\.0"),
    ):
        with (
            pytest.raises(ModelError, match=f"does not fit: {reason}"),
            started.adapted([[lessons[0]]], settings, [0]),
        ):
            pass
        with pytest.raises(ModelError, match=reason), adapter_keeper(model).with_adapters([file], settings):
            pass
    bare = to_safetensors(read_safetensors(file), {})
    with pytest.raises(ModelError, match="no adapter_config"), adapter_keeper(model).with_adapters([bare], CONFIG):
        pass
    with adapter_keeper(model).with_adapters([file], CONFIG):  # control
        pass
    with (
        pytest.raises(ValueError, match="1 jobs, but 1 seeds and 2 starts"),
        adapter_keeper(model).adapted_from([file, file], [[lessons[0]]], CONFIG, [0]),
    ):
        pass
