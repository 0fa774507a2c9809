"""Do B adapters trained together equal B separate runs, each as if it were alone?

The reference is the usual way: PEFT on a copy of the model, one example per row, Hugging Face's masks, torch's AdamW
and clipping.
"""

from __future__ import annotations

import copy
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest
import torch
from transformers import PreTrainedModel

from tests.conftest import build_model
from ttsi.engine import optimizer, training
from ttsi.engine.checksum import weights_sha256
from ttsi.engine.engine_config import EngineConfig
from ttsi.engine.lora import LoraStack
from ttsi.engine.optimizer import TrainReport
from ttsi.engine.packing import EncodedExample
from ttsi.engine.schedule import learning_rates
from ttsi.engine.training import TrainingJob, train

CONFIG = EngineConfig(rank=4, alpha=8.0, lr=5e-3, epochs=4, max_grad_norm=1.0, weight_decay=0.01)
JOBS = [
    TrainingJob(0, (((1, 2, 3, 4, 5, 6), 4), ((1, 2, 3, 9, 8), 3), ((1, 2, 7, 7, 7, 7, 7), 2))),
    TrainingJob(1, (((11, 12, 13, 14), 2),)),
    TrainingJob(2, (((1, 2, 3, *range(100, 130)), 5), ((1, 2, 50, 51), 3))),
]


@contextmanager
def attached(
    model: PreTrainedModel, jobs: list[TrainingJob], config: EngineConfig, **settings: Any
) -> Iterator[tuple[list[TrainReport], LoraStack]]:
    """Trained adapters while they are attached, slot s from seed 100 + s."""
    stack = LoraStack(model, 3, config.rank, config.alpha)
    stack.reset([0, 1, 2], [100, 101, 102])
    stack.attach()
    try:
        yield train(stack, jobs, config, **settings), stack
    finally:
        stack.detach()


def run(
    model: PreTrainedModel, jobs: list[TrainingJob], config: EngineConfig = CONFIG, **settings: Any
) -> tuple[list[TrainReport], LoraStack]:
    """Train from fresh adapters, and detach them."""
    with attached(model, jobs, config, **settings) as result:
        return result


def with_peft(
    model: PreTrainedModel, job: TrainingJob, config: EngineConfig, **peft_settings: Any
) -> tuple[list[float], torch.Tensor, Any]:
    """The same job the usual way; (losses, adapter as a flat row of the stack, PEFT's model)."""
    from peft import LoraConfig, get_peft_model, get_peft_model_state_dict, set_peft_model_state_dict

    stack = LoraStack(model, 3, config.rank, config.alpha)
    stack.reset([job.slot], [100 + job.slot])
    state, settings = stack.export(job.slot)
    tuned = get_peft_model(copy.deepcopy(model), LoraConfig(**{**settings, "inference_mode": False, **peft_settings}))
    set_peft_model_state_dict(tuned, state)
    parameters = [parameter for parameter in tuned.parameters() if parameter.requires_grad]
    size = config.batch_size or len(job.examples)
    batches = [job.examples[at : at + size] for at in range(0, len(job.examples), size)] * config.epochs
    optimizer = torch.optim.AdamW(parameters, lr=1.0, weight_decay=config.weight_decay)
    losses = []
    for batch, rate in zip(batches, learning_rates(config, len(batches)), strict=True):
        for group in optimizer.param_groups:
            group["lr"] = rate
        ids_KT, mask_KT, labels_KT = padded(batch)
        loss = tuned(input_ids=ids_KT, attention_mask=mask_KT, labels=labels_KT).loss
        optimizer.zero_grad()
        loss.backward()
        if config.max_grad_norm > 0:
            torch.nn.utils.clip_grad_norm_(parameters, config.max_grad_norm)
        optimizer.step()
        losses.append(float(loss.detach()))
    stack.load(job.slot, get_peft_model_state_dict(tuned), tuned.peft_config["default"].to_dict())
    return losses, stack.values_SP[job.slot], tuned


def padded(batch: tuple[EncodedExample, ...]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Ids, mask and labels [K, T] as Hugging Face takes them: one example per row, -100 where there is no label."""
    longest = max(len(ids) for ids, _ in batch)
    gaps = [longest - len(ids) for ids, _ in batch]
    ids_KT = [[*ids, *[0] * gap] for (ids, _), gap in zip(batch, gaps, strict=True)]
    mask_KT = [[*[1] * len(ids), *[0] * gap] for (ids, _), gap in zip(batch, gaps, strict=True)]
    labels_KT = [[*[-100] * n, *ids[n:], *[-100] * gap] for (ids, n), gap in zip(batch, gaps, strict=True)]
    return torch.tensor(ids_KT), torch.tensor(mask_KT), torch.tensor(labels_KT)


def distance(found_P: torch.Tensor, expected_P: torch.Tensor) -> float:
    """Relative error of an adapter."""
    return float((found_P - expected_P).norm() / expected_P.norm())


@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.parametrize(
    "config",
    [
        CONFIG,
        replace(CONFIG, batch_size=1, warmup_from_zero=True, warmup_ratio=0.3),
        replace(CONFIG, batch_size=2, schedule="linear", max_grad_norm=0.0, weight_decay=0.0),
    ],
    ids=["all-at-once", "paper", "pairs-unclipped"],
)
def test_together_equals_separate_peft_runs(any_model: PreTrainedModel, config: EngineConfig) -> None:
    reports, stack = run(any_model, JOBS, config)
    for job, report in zip(JOBS, reports, strict=True):
        losses, expected_P, _ = with_peft(any_model, job, config)
        assert report.ok and report.slot == job.slot
        assert report.losses == pytest.approx(losses, rel=1e-5)
        assert distance(stack.values_SP[job.slot], expected_P) < 1e-5


def test_clipping_was_active_in_the_comparison(model: PreTrainedModel) -> None:
    reports, clipped = run(model, JOBS)
    assert all(norm > CONFIG.max_grad_norm for report in reports for norm in report.grad_norms[:1])
    _, free = run(model, JOBS, replace(CONFIG, max_grad_norm=0.0))
    assert distance(free.values_SP, clipped.values_SP) > 1e-4


def test_control_a_global_mean_couples_adapters(model: PreTrainedModel) -> None:
    def coupled(logprobs_BT: torch.Tensor, mask_BT: torch.Tensor) -> torch.Tensor:
        return (-logprobs_BT[mask_BT].mean() / len(logprobs_BT)).expand(len(logprobs_BT))

    _, together = run(model, JOBS, replace(CONFIG, objective=coupled))
    _, alone = run(model, [JOBS[1]])
    assert distance(together.values_SP[1], alone.values_SP[1]) > 1e-4


@pytest.mark.parametrize("budget", [1, 40, 100_000])
def test_an_adapter_alone_equals_among_others(model: PreTrainedModel, budget: int) -> None:
    reports, together = run(model, JOBS, token_budget=budget)
    for job, report in zip(JOBS, reports, strict=True):
        (single,), alone = run(model, [job])
        assert single.losses == pytest.approx(report.losses, rel=1e-5)
        assert distance(alone.values_SP[job.slot], together.values_SP[job.slot]) < 1e-5


def test_adapters_with_fewer_steps_stop_while_others_go_on(model: PreTrainedModel) -> None:
    config = replace(CONFIG, batch_size=1)
    reports, together = run(model, JOBS, config)
    assert [len(report.losses) for report in reports] == [12, 4, 8]
    _, alone = run(model, [JOBS[1]], config)
    assert distance(alone.values_SP[1], together.values_SP[1]) < 1e-5


def test_same_seeds_same_bits_and_no_global_randomness(model: PreTrainedModel) -> None:
    state = torch.random.get_rng_state()
    first, one = run(model, JOBS)
    torch.manual_seed(1)
    second, two = run(model, JOBS)
    assert first == second and torch.equal(one.values_SP, two.values_SP)
    torch.random.set_rng_state(state)
    run(model, JOBS)
    assert torch.equal(torch.random.get_rng_state(), state)


def test_broken_adapter_is_rejected_alone(model: PreTrainedModel) -> None:
    _, alone = run(model, [JOBS[0]])
    stack = LoraStack(model, 3, CONFIG.rank, CONFIG.alpha)
    stack.reset([0, 1, 2], [100, 101, 102])
    stack.values_SP[2].fill_(1e30)
    stack.attach()
    reports = train(stack, JOBS, CONFIG)
    assert [report.ok for report in reports] == [True, True, False]
    assert reports[2].reason == "non-finite loss at step 1" and reports[2].losses == ()
    assert distance(stack.values_SP[0], alone.values_SP[0]) < 1e-5


def test_absurd_learning_rate_is_caught_and_the_base_is_untouched(model: PreTrainedModel) -> None:
    digest = weights_sha256(model)
    reports, _ = run(model, JOBS, replace(CONFIG, lr=1e30))
    assert not any(report.ok for report in reports)
    assert all(report.reason.startswith("non-finite") for report in reports)
    assert weights_sha256(model) == digest


def test_job_without_labels_is_reported(model: PreTrainedModel) -> None:
    reports, _ = run(model, [JOBS[0], TrainingJob(1, ()), TrainingJob(2, (((1, 2, 3), 3),))])
    assert [report.ok for report in reports] == [True, False, False]
    assert "no label tokens" in reports[1].reason and "no label tokens" in reports[2].reason


def test_free_memory_is_given_back_in_a_long_training_and_after_each(
    model: PreTrainedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    def times(steps: int) -> int:
        done: list[None] = []
        monkeypatch.setattr(training, "give_back", lambda: done.append(None))
        run(model, JOBS, replace(CONFIG, epochs=steps))
        return len(done)

    assert [times(steps) for steps in (3, training.GIVE_BACK_AFTER, 20)] == [1, 2, 3]


def test_a_long_training_logs_its_steps(model: PreTrainedModel, caplog: pytest.LogCaptureFixture) -> None:
    def logged(epochs: int) -> list[str]:
        caplog.clear()
        with caplog.at_level(logging.INFO, logger=training.log.name):
            run(model, JOBS, replace(CONFIG, epochs=epochs, batch_size=0))
        return [record.getMessage() for record in caplog.records]

    steps = training.GIVE_BACK_AFTER + 1
    assert logged(steps) == [f"training step={step} steps={steps}" for step in range(1, steps + 1)]
    assert logged(training.GIVE_BACK_AFTER) == []


def test_losses_fall(any_model: PreTrainedModel) -> None:
    reports, _ = run(any_model, JOBS, replace(CONFIG, epochs=20))
    assert all(report.losses[-1] < 0.7 * report.losses[0] for report in reports)


@pytest.mark.parametrize("room", [0, 1, 2])
def test_out_of_memory_halves_the_chunk(monkeypatch: pytest.MonkeyPatch, room: int) -> None:
    model = build_model("qwen2")
    expected, right = run(model, JOBS)
    plain, calls = optimizer.gradients, 0

    def cramped(*arguments: object) -> tuple[torch.Tensor, torch.Tensor]:
        nonlocal calls
        calls += 1
        if len(arguments[1]) > room and calls > 1:  # type: ignore[arg-type]
            raise torch.OutOfMemoryError("no room")
        return plain(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(optimizer, "gradients", cramped)
    reports, stack = run(model, JOBS)
    if room == 0:
        assert {report.reason for report in reports} == {"out of memory"}
        return
    assert all(report.ok for report in reports)
    for found, report in zip(reports, expected, strict=True):
        assert found.losses == pytest.approx(report.losses, rel=1e-5)
    assert distance(stack.values_SP, right.values_SP) < 1e-5
