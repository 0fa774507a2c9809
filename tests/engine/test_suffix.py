"""Does an adapter that acts behind a beginning only equal PEFT's Activated LoRA?

The reference is PEFT with `alora_invocation_tokens` on a copy of the model: whole prompts, no cache, an example a row.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Any

import pytest
import torch
from transformers import PreTrainedModel

from tests.conftest import build_model
from tests.engine.test_prefix import tokens_read
from tests.engine.test_training import attached, distance, with_peft
from ttsi.engine import prefix
from ttsi.engine.checksum import weights_sha256
from ttsi.engine.decoding import Decoded, DecodingRow, decode
from ttsi.engine.engine_config import EngineConfig
from ttsi.engine.lora import LoraStack
from ttsi.engine.optimizer import TrainReport
from ttsi.engine.prefix import PrefixCache
from ttsi.engine.training import TrainingJob

CONFIG = EngineConfig(rank=4, alpha=8.0, lr=2e-2, epochs=5)
OPENING = (91, 92)
"""With these tokens a user's turn opens."""
TOOLS, FEWER = tuple(range(100, 140)), tuple(range(100, 125))


def example(
    beginning: tuple[int, ...], request: tuple[int, ...], labels: tuple[int, ...]
) -> tuple[tuple[int, ...], int]:
    prompt = (*beginning, *OPENING, *request)
    return (*prompt, *labels), len(prompt)


JOBS = [
    TrainingJob(0, (example(TOOLS, (1, 2), (3, 4, 5)), example(TOOLS, (1, 7, 8), (9, 9))), (40, 40)),
    TrainingJob(1, (example((5, 6), (11,), (12, 13, 14)),), (2,)),
    TrainingJob(
        2, (example(TOOLS, (1, 2), (50,)), example(FEWER, (1, 2), (60, 61)), example(TOOLS, (4,), (7,))), (40, 25, 40)
    ),
]
PROMPT = (*TOOLS, *OPENING, 1, 30)


def everywhere(jobs: list[TrainingJob]) -> list[TrainingJob]:
    """The same jobs, whose adapters act on all tokens."""
    return [replace(job, unadapted=()) for job in jobs]


def trained(
    model: PreTrainedModel, jobs: list[TrainingJob], config: EngineConfig = CONFIG, **settings: Any
) -> AbstractContextManager[tuple[list[TrainReport], LoraStack]]:
    """Adapters while they are attached, slot s from seed 100 + s."""
    return attached(model, jobs, config, **settings)


def with_alora(
    model: PreTrainedModel, job: TrainingJob, config: EngineConfig, opening: tuple[int, ...] = OPENING
) -> tuple[list[float], torch.Tensor, Any]:
    """The same job by PEFT; (losses, adapter as a flat row of the stack, PEFT's model)."""
    return with_peft(model, job, config, alora_invocation_tokens=list(opening))


def written(model: PreTrainedModel, stack: LoraStack, slot: int, unadapted: int = len(TOOLS)) -> Decoded:
    """What an adapter writes behind the prompt."""
    (answer,) = decode(model, [DecodingRow(PROMPT, 12, slot=slot, unadapted=unadapted)], stack=stack)
    return answer


@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.parametrize("size", [0, 1], ids=["all-at-once", "one-by-one"])
def test_training_and_answers_equal_activated_lora_in_peft(any_model: PreTrainedModel, size: int) -> None:
    config = replace(CONFIG, batch_size=size)
    with trained(any_model, JOBS, config) as (reports, stack):
        for job, report in zip(JOBS, reports, strict=True):
            losses, expected_P, tuned = with_alora(any_model, job, config)
            assert report.ok and report.losses == pytest.approx(losses, rel=1e-4)
            assert distance(stack.values_SP[job.slot], expected_P) < 1e-4
            tuned.eval()
            ids_BT = torch.tensor([PROMPT])
            expected = tuned.generate(input_ids=ids_BT, max_new_tokens=12, do_sample=False, eos_token_id=-1)
            assert written(any_model, stack, job.slot).ids == tuple(expected[0, len(PROMPT) :].tolist())


@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_control_another_boundary_is_another_adapter(model: PreTrainedModel) -> None:
    _, expected_P, _ = with_alora(model, JOBS[0], CONFIG)
    for wrong in (TrainingJob(0, JOBS[0].examples, (39, 39)), TrainingJob(0, JOBS[0].examples, (41, 41))):
        with trained(model, [wrong]) as (_, stack):
            assert distance(stack.values_SP[0], expected_P) > 1e-3
    _, later_P, _ = with_alora(model, JOBS[0], CONFIG, opening=OPENING[1:])
    assert distance(later_P, expected_P) > 1e-3


def test_control_an_adapter_on_all_tokens_is_another(model: PreTrainedModel) -> None:
    with trained(model, JOBS) as (_, suffix), trained(build_model("qwen2"), everywhere(JOBS)) as (_, whole):
        for slot in range(3):
            assert distance(suffix.values_SP[slot], whole.values_SP[slot]) > 1e-3
        there, elsewhere = written(model, suffix, 0), written(model, suffix, 0, unadapted=0)
        assert abs(there.logprob - elsewhere.logprob) > 1e-3


def test_no_beginning_at_all_is_plain_lora_bit_for_bit(any_model: PreTrainedModel) -> None:
    nothing = [replace(job, unadapted=(0,) * len(job.examples)) for job in JOBS]
    with trained(any_model, nothing) as (reports, stack):
        values_SP = stack.values_SP.clone()
    with trained(any_model, everywhere(JOBS)) as (expected, stack):
        assert reports == expected and torch.equal(values_SP, stack.values_SP)


@pytest.mark.parametrize("budget", [1, 60, 100_000])
def test_an_adapter_alone_equals_among_others(model: PreTrainedModel, budget: int) -> None:
    jobs = [JOBS[0], replace(JOBS[1], unadapted=()), JOBS[2]]
    with trained(model, jobs, token_budget=budget) as (reports, stack):
        together_SP = stack.values_SP.clone()
    for job, report in zip(jobs, reports, strict=True):
        with trained(model, [job]) as ((single,), stack):
            assert single.losses == pytest.approx(report.losses, rel=1e-5)
            assert distance(stack.values_SP[job.slot], together_SP[job.slot]) < 1e-5


def test_answers_together_equal_answers_alone(model: PreTrainedModel) -> None:
    rows = [
        DecodingRow(PROMPT, 12, slot=0, unadapted=40),
        DecodingRow((*FEWER, *OPENING, 1), 12, slot=2, unadapted=25),
        DecodingRow((5, 6, *OPENING, 3), 5, slot=1, unadapted=2),
        DecodingRow(PROMPT, 12, slot=0),
        DecodingRow(PROMPT, 12),
    ]
    with trained(model, JOBS) as (_, stack):
        for row, together in zip(rows, decode(model, rows, stack=stack), strict=True):
            (alone,) = decode(model, [row], stack=stack)
            assert together.ids == alone.ids and together.logprob == pytest.approx(alone.logprob, abs=1e-4)


def test_the_base_reads_a_beginning_once(model: PreTrainedModel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prefix, "MIN_CACHED_TOKENS", 1)
    kept = PrefixCache()
    kept.add(model, [PROMPT])
    counts = tokens_read(model, monkeypatch)
    with trained(model, [JOBS[0]], prefixes=kept) as (_, stack):
        steps = len(counts)
        decode(model, [DecodingRow(PROMPT, 2, slot=0, unadapted=40)], stack=stack, prefixes=kept)
    tree = 2 + 1 + (1 + 3) + (2 + 2)  # the opening, the request's first token, and two branches
    assert counts[:steps] == [tree] * CONFIG.epochs
    assert counts[steps:] == [4, 1]


def test_a_full_cache_changes_nothing_but_the_work(model: PreTrainedModel) -> None:
    with trained(model, JOBS, prefixes=PrefixCache(max_bytes=0)) as (reports, stack):
        values_SP = stack.values_SP.clone()
    with trained(model, JOBS) as (expected, stack):
        assert [r.losses for r in reports] == [pytest.approx(r.losses, rel=1e-5) for r in expected]
        assert distance(values_SP, stack.values_SP) < 1e-5


def test_a_step_does_not_grow_what_the_next_step_reads(model: PreTrainedModel, monkeypatch: pytest.MonkeyPatch) -> None:
    with trained(model, JOBS) as (expected, _):
        pass
    monkeypatch.setattr("ttsi.engine.training.shallow_copy", lambda cache: cache)  # control: one cache for all steps
    with pytest.raises(RuntimeError), trained(model, JOBS):
        pass
    assert all(report.ok for report in expected)


def test_out_of_memory_is_halved(model: PreTrainedModel, monkeypatch: pytest.MonkeyPatch) -> None:
    from ttsi.engine import training

    whole = training._values
    sizes: list[int] = []

    def small(model: Any, batch: Any) -> torch.Tensor:
        sizes.append(len(batch.rows_B))
        if len(batch.rows_B) > 1:
            raise torch.OutOfMemoryError("out of memory")
        return whole(model, batch)

    with trained(model, JOBS) as (expected, _):
        pass
    monkeypatch.setattr(training, "_values", small)
    with trained(model, JOBS) as (reports, _):
        assert max(sizes) == 3
        assert [r.losses for r in reports] == [pytest.approx(r.losses, rel=1e-5) for r in expected]


def test_the_base_keeps_its_bits(model: PreTrainedModel) -> None:
    before = weights_sha256(model)
    with trained(model, JOBS) as (_, stack):
        written(model, stack, 0)
        assert weights_sha256(model) == before
    assert weights_sha256(model) == before


def test_a_whole_prompt_cannot_be_left_out(model: PreTrainedModel) -> None:
    ids, n_prompt = JOBS[1].examples[0]
    with (
        pytest.raises(ValueError, match="at least one prompt token"),
        trained(model, [TrainingJob(1, ((ids, n_prompt),), (n_prompt,))]),
    ):
        pass
