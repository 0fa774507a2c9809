"""Does the step with the lowest held-back loss give the adapter, and do held-back examples teach nothing?"""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from transformers import PreTrainedModel

from tests.conftest import build_model
from tests.engine.test_training import JOBS, distance, run
from ttsi.engine import training
from ttsi.engine.engine_config import EngineConfig
from ttsi.engine.held_back import MIN_FALL, StepChoice
from ttsi.engine.loglikelihood import continuation_logprobs
from ttsi.engine.optimizer import AdapterRun
from ttsi.engine.packing import EncodedExample
from ttsi.engine.training_job import TrainingJob

CONFIG = EngineConfig(rank=4, alpha=8.0, lr=5e-3, epochs=6, schedule="constant")
LEARNED: tuple[EncodedExample, ...] = (((1, 2, 3, 4, 5, 6), 4), ((1, 2, 3, 9, 8), 3))
ALIKE: EncodedExample = ((1, 2, 7, 4, 5, 30), 4)
"""Its first label is one of those that are learned, its second is not: its loss falls and then rises."""
CONTRARY: EncodedExample = ((1, 2, 3, 4, 77, 78), 4)


def loss_of(model: PreTrainedModel, config: EngineConfig, example: EncodedExample) -> float:
    """Mean loss of an example under an adapter that learned with these settings, by another way of reading it."""
    _, stack = run(model, [TrainingJob(0, LEARNED)], config)
    ids, n_prompt = example
    stack.attach()
    with stack.bind([0]):
        [[logprob]] = continuation_logprobs(model, [(ids[:n_prompt], [ids[n_prompt:]])])
    stack.detach()
    return -logprob / (len(ids) - n_prompt)


def test_the_losses_are_those_after_each_number_of_steps(model: PreTrainedModel) -> None:
    [report], _ = run(model, [TrainingJob(0, (*LEARNED, ALIKE), held_back=1)], CONFIG)
    assert len(report.held_back_losses) == CONFIG.epochs + 1
    for steps in (1, 3, CONFIG.epochs):
        expected = loss_of(build_model("qwen2"), replace(CONFIG, epochs=steps), ALIKE)
        assert report.held_back_losses[steps] == pytest.approx(expected, rel=1e-4)
    assert report.held_back_losses[0] != pytest.approx(report.held_back_losses[1], rel=1e-3), "control"


@pytest.mark.parametrize("unadapted", [(), (2, 2, 2)], ids=["all", "suffix"])
def test_what_is_held_back_teaches_nothing(any_model: PreTrainedModel, unadapted: tuple[int, ...]) -> None:
    examples = (*LEARNED, ALIKE)
    [held], chosen = run(any_model, [TrainingJob(0, examples, unadapted, held_back=1)], CONFIG)
    [without], _ = run(any_model, [TrainingJob(0, LEARNED, unadapted[:2])], CONFIG)
    [control], _ = run(any_model, [TrainingJob(0, examples, unadapted)], CONFIG)
    assert held.losses == pytest.approx(without.losses, rel=1e-5)
    assert control.losses != pytest.approx(without.losses, rel=1e-2)
    best = held.held_back_losses.index(min(held.held_back_losses))
    _, stopped = run(any_model, [TrainingJob(0, LEARNED, unadapted[:2])], replace(CONFIG, epochs=best))
    assert distance(chosen.values_SP[0], stopped.values_SP[0]) < 1e-4


def test_an_earlier_step_answers_where_it_was_the_best(model: PreTrainedModel) -> None:
    job, config = TrainingJob(0, (*LEARNED, ALIKE), held_back=1), replace(CONFIG, lr=2e-2, epochs=10)
    [report], chosen = run(model, [job], config)
    best = report.held_back_losses.index(min(report.held_back_losses))
    assert report.ok and 0 < best < config.epochs
    _, stopped = run(model, [TrainingJob(0, LEARNED)], replace(config, epochs=best))
    _, last = run(model, [TrainingJob(0, LEARNED)], config)
    assert distance(chosen.values_SP[0], stopped.values_SP[0]) < 1e-4
    assert distance(chosen.values_SP[0], last.values_SP[0]) > 1e-2, "control"


def test_an_adapter_that_does_not_help_is_refused(model: PreTrainedModel) -> None:
    [report], _ = run(model, [TrainingJob(0, (*LEARNED, CONTRARY), held_back=1)], CONFIG)
    assert not report.ok and report.reason == "the held-back loss did not fall"
    assert min(report.held_back_losses) > report.held_back_losses[0] * (1 - MIN_FALL)
    [control], _ = run(model, [TrainingJob(0, LEARNED)], CONFIG)
    assert control.ok and control.held_back_losses == ()


@pytest.mark.parametrize("budget", [1, 100_000])
def test_an_adapter_alone_equals_among_others(model: PreTrainedModel, budget: int) -> None:
    config = replace(CONFIG, batch_size=1)
    jobs = [replace(JOBS[0], examples=(*LEARNED, ALIKE), held_back=1), JOBS[1], replace(JOBS[2], held_back=1)]
    reports, together = run(model, jobs, config, token_budget=budget)
    assert [len(report.held_back_losses) for report in reports] == [13, 0, 7]
    for job, report in zip(jobs, reports, strict=True):
        [single], alone = run(model, [job], config)
        assert single.losses == pytest.approx(report.losses, rel=1e-5)
        assert single.held_back_losses == pytest.approx(report.held_back_losses, rel=1e-5)
        if report.ok:
            assert distance(alone.values_SP[job.slot], together.values_SP[job.slot]) < 1e-5


def test_a_loss_that_is_not_finite_rejects_the_adapter(model: PreTrainedModel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "held_back_losses", lambda *_: [float("nan")])
    [report], _ = run(model, [TrainingJob(0, (*LEARNED, ALIKE), held_back=1)], CONFIG)
    assert not report.ok and report.reason == "non-finite held-back loss after step 0"


def test_out_of_memory_starts_the_losses_anew(model: PreTrainedModel, monkeypatch: pytest.MonkeyPatch) -> None:
    jobs = [TrainingJob(0, (*LEARNED, ALIKE), held_back=1), JOBS[1]]
    expected, _ = run(model, jobs, CONFIG)
    plain, calls = training.optimizer.gradients, 0

    def cramped(*arguments: object) -> tuple[torch.Tensor, torch.Tensor]:
        nonlocal calls
        calls += 1
        if calls == 3:
            raise torch.OutOfMemoryError("no room")
        return plain(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(training.optimizer, "gradients", cramped)
    reports, _ = run(model, jobs, CONFIG)
    assert reports[0].held_back_losses == pytest.approx(expected[0].held_back_losses, rel=1e-5)


@pytest.mark.parametrize(
    ("losses", "step", "refused"),
    [
        ((), None, False),
        ((2.0, 1.5, 1.0), 2, False),
        ((2.0, 1.0, 1.0, 3.0), 1, False),
        ((2.0, 2.0 * (1 - MIN_FALL / 2)), 1, True),
        ((2.0, 2.0 * (1 - MIN_FALL * 2)), 1, False),
        ((2.0, 2.5), 0, True),
        ((0.0, 0.0), 0, True),
    ],
)
def test_the_choice(losses: tuple[float, ...], step: int | None, refused: bool) -> None:
    choice = StepChoice()
    for number, loss in enumerate(losses):
        choice.record(loss, torch.tensor([float(number)]))
    assert choice.step == step and bool(choice.refusal) == refused
    assert choice.best_P is None if step is None else choice.best_P == step


def test_the_loss_guard_looks_at_the_steps_that_the_adapter_had() -> None:
    run_ = AdapterRun(0, (1e-3,) * 3, losses=[2.0, 1.0, 5.0])
    assert run_.report(0.2).reason == "the loss rose from 2 to 5", "control"
    for loss in (3.0, 2.0, 2.5, 9.0):
        run_.choice.record(loss, torch.zeros(1))
    assert run_.report(0.2).ok
