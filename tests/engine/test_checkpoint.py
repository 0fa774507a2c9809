"""Does an interrupted training go on with the same bits, and only where it is the same training?"""

from __future__ import annotations

import logging
from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest
import torch
from transformers import PreTrainedModel

from tests.conftest import build_model
from ttsi.engine import checkpoint, optimizer
from ttsi.engine.attachment import attach
from ttsi.engine.engine_config import EngineConfig
from ttsi.engine.optimizer import TrainReport
from ttsi.engine.training import TrainingJob, train

CONFIG = EngineConfig(rank=2, alpha=4.0, lr=5e-3, epochs=5, batch_size=1)
JOB = TrainingJob(0, (((1, 2, 3, 4, 5, 6), 4), ((1, 2, 3, 9, 8), 3)))
STEPS = 10


class Shelf:
    """Keeps files in memory."""

    def __init__(self, *files: bytes) -> None:
        self.files = list(files)

    def read(self) -> bytes | None:
        return self.files[-1] if self.files else None

    def write(self, file: bytes) -> None:
        self.files.append(file)


class Killed(Exception):
    """The process ended here."""


@pytest.fixture(autouse=True)
def after_each_step(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoint, "SECONDS_BETWEEN", 0.0)


@pytest.fixture(scope="module")
def model() -> PreTrainedModel:
    return build_model("llama")


def trained(
    model: PreTrainedModel, store: Shelf | None, job: TrainingJob = JOB, config: EngineConfig = CONFIG, seed: int = 5
) -> tuple[TrainReport, torch.Tensor]:
    with attach(model, slots=1, config=config) as stack:
        stack.reset([0], [seed])
        [report] = train(stack, [job], config, checkpoint_store=store)
        return report, stack.values_of([0])


def killed_after(
    monkeypatch: pytest.MonkeyPatch, model: PreTrainedModel, store: Shelf, steps: int, **changes: Any
) -> int:
    """Train until the process ends within the next step; how many steps were taken."""
    taken = 0
    step = optimizer.optimizer_step

    def counting(*arguments: Any) -> None:
        nonlocal taken
        if taken == steps:
            raise Killed
        step(*arguments)
        taken += 1

    with monkeypatch.context() as patch:
        patch.setattr(optimizer, "optimizer_step", counting)
        with suppress(Killed):
            trained(model, store, **changes)
    return taken


@pytest.mark.parametrize("steps", [1, 4, STEPS - 1])
def test_a_training_killed_at_any_step_ends_with_the_same_bits(
    monkeypatch: pytest.MonkeyPatch, model: PreTrainedModel, steps: int
) -> None:
    whole, store = trained(model, None), Shelf()
    assert killed_after(monkeypatch, model, store, steps) == steps
    assert killed_after(monkeypatch, model, store, STEPS) == STEPS - steps
    report, values_SP = trained(model, store)
    assert replace(report, earlier_seconds=0.0) == whole[0] and len(report.losses) == STEPS
    assert report.earlier_seconds > whole[0].earlier_seconds == 0
    assert torch.equal(values_SP, whole[1])


def test_control_without_the_moments_the_bits_are_others(
    monkeypatch: pytest.MonkeyPatch, model: PreTrainedModel
) -> None:
    store = Shelf()
    killed_after(monkeypatch, model, store, 4)
    monkeypatch.setattr(checkpoint, "_tensors", lambda state: {"adapter": state.values_BP})
    assert not torch.equal(trained(model, store)[1], trained(model, None)[1])


@pytest.mark.parametrize(
    "change",
    [
        {"seed": 6},
        {"config": replace(CONFIG, lr=1e-3)},
        {"job": TrainingJob(0, (((1, 2, 3, 4, 5, 6), 4), ((1, 2, 3, 9, 7), 3)))},
    ],
    ids=["seed", "settings", "examples"],
)
def test_the_checkpoint_of_another_training_is_not_gone_on_with(
    monkeypatch: pytest.MonkeyPatch, model: PreTrainedModel, change: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    store = Shelf()
    killed_after(monkeypatch, model, store, 4)
    assert killed_after(monkeypatch, model, store, STEPS, **change) == STEPS
    assert "the checkpoint is of another training: this one starts anew" in caplog.text


def test_a_damaged_checkpoint_is_not_gone_on_with(
    monkeypatch: pytest.MonkeyPatch, model: PreTrainedModel, caplog: pytest.LogCaptureFixture
) -> None:
    store = Shelf()
    killed_after(monkeypatch, model, store, 4)
    for damaged in (b"", store.files[-1][: len(store.files[-1]) // 2], b"x" * 100):
        assert killed_after(monkeypatch, model, Shelf(damaged), STEPS) == STEPS
        assert "the checkpoint is damaged" in caplog.text
        caplog.clear()


def test_a_full_disk_does_not_end_the_training(model: PreTrainedModel, caplog: pytest.LogCaptureFixture) -> None:
    class Full(Shelf):
        def write(self, file: bytes) -> None:
            raise OSError(28, "No space left on device")

    report, values_SP = trained(model, Full())
    assert report.ok and torch.equal(values_SP, trained(model, None)[1])
    assert caplog.text.count("no checkpoint is kept") == STEPS


def test_ctrl_c_costs_the_step_under_way_alone(monkeypatch: pytest.MonkeyPatch, model: PreTrainedModel) -> None:
    monkeypatch.setattr(checkpoint, "SECONDS_BETWEEN", 60.0)
    whole, store = trained(model, None), Shelf()
    adamw = optimizer._adamw

    def interrupted(state: Any, *arguments: Any) -> None:
        adamw(state, *arguments)
        if arguments[2] == 4:  # the fifth step has changed the numbers, and is not recorded
            raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(optimizer, "_adamw", interrupted)
        trained(model, store)
    assert len(store.files) == 1
    assert killed_after(monkeypatch, model, store, STEPS) == STEPS - 4
    assert torch.equal(trained(model, store)[1], whole[1])


def test_control_killed_at_once_it_writes_nothing(monkeypatch: pytest.MonkeyPatch, model: PreTrainedModel) -> None:
    monkeypatch.setattr(checkpoint, "SECONDS_BETWEEN", 60.0)
    store = Shelf()
    killed_after(monkeypatch, model, store, 4)
    assert not store.files


def test_short_trainings_write_nothing(monkeypatch: pytest.MonkeyPatch, model: PreTrainedModel) -> None:
    monkeypatch.setattr(checkpoint, "SECONDS_BETWEEN", 60.0)
    store = Shelf()
    trained(model, store)
    assert not store.files


def test_where_a_training_goes_on_is_logged(
    monkeypatch: pytest.MonkeyPatch, model: PreTrainedModel, caplog: pytest.LogCaptureFixture
) -> None:
    store = Shelf()
    killed_after(monkeypatch, model, store, 4)
    with caplog.at_level(logging.INFO, logger="ttsi"):
        trained(model, store)
    assert "training resumed step=4 steps=10" in caplog.messages


def test_only_a_single_job_without_held_back_examples_has_checkpoints(model: PreTrainedModel) -> None:
    with pytest.raises(ValueError, match="held-back"):
        trained(model, Shelf(), replace(JOB, held_back=1))
    with attach(model, slots=2, config=CONFIG) as stack, pytest.raises(ValueError, match="single job"):
        train(stack, [JOB, replace(JOB, slot=1)], CONFIG, checkpoint_store=Shelf())
