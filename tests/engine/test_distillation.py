"""Is the loss the reverse KL to the base behind its longer prompt, over the whole vocabulary, token by token?

The reference reads whole sequences, one at a time, with the model's own forward pass.
"""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from transformers import PreTrainedModel

from tests.engine.test_training import distance, run
from ttsi.engine import distillation
from ttsi.engine.checksum import weights_sha256
from ttsi.engine.engine_config import EngineConfig
from ttsi.engine.packing import EncodedExample
from ttsi.engine.training_job import TrainingJob

CONFIG = EngineConfig(rank=4, alpha=8.0, lr=5e-3, epochs=8)
PROMPT, TEACHER = (1, 2, 3, 4), (1, 2, 60, 61, 62, 3, 4)
LABELS = ((5, 6, 7), (5, 9), (5, 6, 7))
SAMPLES: tuple[EncodedExample, ...] = tuple(((*PROMPT, *labels), len(PROMPT)) for labels in LABELS)
JOB = TrainingJob(0, SAMPLES, teacher_prompts=(TEACHER,) * len(SAMPLES))


@torch.no_grad()
def divergences(model: PreTrainedModel, teacher: tuple[int, ...]) -> list[float]:
    """KL(base behind the prompt || base behind the teacher's) at each label of each sample."""
    found: list[float] = []
    for labels in LABELS:
        q_TV, p_TV = (
            model(torch.tensor([[*prompt, *labels]])).logits[0, len(prompt) - 1 : -1].log_softmax(-1)
            for prompt in (PROMPT, teacher)
        )
        found += torch.nn.functional.kl_div(p_TV, q_TV, reduction="none", log_target=True).sum(-1).tolist()
    return found


@pytest.mark.parametrize("unadapted", [(), (2, 2, 2)], ids=["all", "suffix"])
def test_the_first_loss_is_the_mean_divergence(any_model: PreTrainedModel, unadapted: tuple[int, ...]) -> None:
    [report], _ = run(any_model, [replace(JOB, unadapted=unadapted)], CONFIG)
    expected = divergences(any_model, TEACHER)
    assert len(expected) == 8 and report.losses[0] == pytest.approx(sum(expected) / 8, rel=1e-4)
    with torch.no_grad():  # control: the other direction is another number
        ids = [torch.tensor([[*prompt, *LABELS[1]]]) for prompt in (PROMPT, TEACHER)]
        q_TV, p_TV = (any_model(one).logits[0, -3:-1].log_softmax(-1) for one in ids)
    there, back = ((a_TV.exp() * (a_TV - b_TV)).sum() for a_TV, b_TV in ((q_TV, p_TV), (p_TV, q_TV)))
    assert float(there) != pytest.approx(float(back), rel=1e-3)


def test_a_teacher_with_the_same_prompt_has_nothing_to_teach(model: PreTrainedModel) -> None:
    [report], _ = run(model, [replace(JOB, teacher_prompts=(PROMPT,) * 3)], CONFIG)
    assert report.losses[0] == pytest.approx(0.0, abs=1e-5)
    [control], _ = run(model, [JOB], CONFIG)
    assert control.losses[0] > 0.01


def test_the_adapter_comes_to_write_like_the_teacher(any_model: PreTrainedModel) -> None:
    before = weights_sha256(any_model)
    [report], stack = run(any_model, [JOB], replace(CONFIG, epochs=30, lr=1e-2))
    assert report.ok and report.losses[-1] < 0.3 * report.losses[0]
    with torch.no_grad():
        teacher_V = any_model(torch.tensor([TEACHER])).logits[0, -1].log_softmax(-1)
        base_V = any_model(torch.tensor([PROMPT])).logits[0, -1].log_softmax(-1)
        stack.attach()
        with stack.bind([0]):
            adapted_V = any_model(torch.tensor([PROMPT])).logits[0, -1].log_softmax(-1)
        stack.detach()
    kl = torch.nn.functional.kl_div
    assert kl(teacher_V, adapted_V, reduction="sum", log_target=True) < 0.5 * kl(
        teacher_V, base_V, reduction="sum", log_target=True
    )
    assert weights_sha256(any_model) == before


def test_labels_with_and_without_a_teacher_count_alike(model: PreTrainedModel) -> None:
    plain: EncodedExample = ((1, 2, 3, 9, 8), 3)
    [mixed], _ = run(model, [TrainingJob(0, (*SAMPLES, plain), (), 0, (), (*JOB.teacher_prompts, ()))], CONFIG)
    [alone], _ = run(model, [TrainingJob(0, (plain,))], CONFIG)
    expected = (sum(divergences(model, TEACHER)) + 2 * alone.losses[0]) / 10
    assert mixed.losses[0] == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("rows", [1, 256])
def test_an_adapter_alone_equals_among_others(
    model: PreTrainedModel, monkeypatch: pytest.MonkeyPatch, rows: int
) -> None:
    held: EncodedExample = ((1, 2, 3, 4, 5), 4)
    jobs = [
        JOB,
        TrainingJob(1, SAMPLES),
        TrainingJob(2, (SAMPLES[1], held), held_back=1, teacher_prompts=((1, 70, 71, 4), ())),
    ]
    expected = [run(model, [job], CONFIG) for job in jobs]
    monkeypatch.setattr(distillation, "KL_ROWS", rows)
    reports, together = run(model, jobs, CONFIG)
    for job, report, ([single], alone) in zip(jobs, reports, expected, strict=True):
        assert single.losses == pytest.approx(report.losses, rel=1e-4, abs=1e-6)
        assert single.held_back_losses == pytest.approx(report.held_back_losses, rel=1e-5)
        assert distance(alone.values_SP[job.slot], together.values_SP[job.slot]) < 1e-4


def test_a_teacher_prompt_beyond_what_the_engine_is_exact_on_is_refused(model: PreTrainedModel) -> None:
    from ttsi.engine.lora import LoraStack
    from ttsi.engine.training import train

    stack = LoraStack(model, 1, CONFIG.rank, CONFIG.alpha)
    stack.reset([0], [0])
    stack.attach()
    for limit, ok in ((9, False), (10, True)):
        stack.max_tokens = limit
        [report] = train(stack, [JOB], CONFIG)
        assert report.ok == ok and ("longer than" in report.reason) != ok
    stack.detach()
