"""Training the adapters of many inputs at once, beside one after another with Trainer, TRL or a bare loop.

Work: B adapters on K examples each in E passes, rank 8 on all linear layers, fp32, no dropout, clipping per adapter;
"long" examples share a prefix of 256 tokens and have 64 of their own and 32 labels, "short" ones share nothing and
have 40 + 24. Same results: every adapter within 1e-3 of its peer's norm, all starting from the same numbers.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import Tensor
from transformers import PreTrainedModel

from speed.measure import Case, Work
from speed.peers import PeftLoop
from speed.shapes import cost_of, model_of, tokens
from ttsi.engine.engine_config import EngineConfig
from ttsi.engine.lora import LoraStack
from ttsi.engine.packing import EncodedExample
from ttsi.engine.training import train
from ttsi.engine.training_job import TrainingJob

SHAPE = "embedded"
TOLERANCE = 1e-3
KEYS = ("train_short_vs_peft_loop", "train_vs_trainer", "train_vs_sft_trainer", "train_long_vs_peft_loop")
CONFIG = EngineConfig(rank=8, alpha=16.0, lr=1e-3, epochs=3, schedule="constant", warmup_ratio=0.0)
Adapters = Sequence[Mapping[str, Tensor]]


def cases(shape: str, device: torch.device, quick: bool) -> Iterator[Case]:
    """Short and long examples, one case per peer."""
    adapters, examples = (2, 2) if quick else (16, 4)
    for name, prefix, own, labels in (("short", 0, 40, 24), ("long", 16 if quick else 256, 64, 32)):
        model = model_of(shape, device)
        jobs = [job(model, slot, examples, prefix, own, labels) for slot in range(adapters)]
        stack = LoraStack(model, adapters, CONFIG.rank, CONFIG.alpha)
        task = f"{shape}, {adapters} adapters, K {examples}, {CONFIG.epochs} passes, {prefix} + {own} + {labels} tokens"
        work = [least(model, jobs, prefix, stack)]
        peers: list[tuple[str, str, str | None]] = [(f"train_{name}_vs_peft_loop", "N1, PEFT and a bare loop", None)]
        if name == "short":
            peers += [
                ("train_vs_trainer", "N0, new PEFT model and Trainer", "transformers"),
                ("train_vs_sft_trainer", "N0, new PEFT model and TRL SFTTrainer", "trl"),
            ]
        for key, peer_name, trainer in peers:
            loop = PeftLoop(model_of(shape, device), CONFIG, trainer)
            yield Case(
                key, peer_name, task,
                ours=lambda model=model, stack=stack, jobs=jobs: together(model, stack, jobs),
                peer=lambda loop=loop, jobs=jobs: [loop.train(job.examples, job.slot)[1] for job in jobs],
                difference=distance, tolerance=TOLERANCE, work=work,
            )  # fmt: skip


def job(model: PreTrainedModel, slot: int, examples: int, prefix: int, own: int, labels: int) -> TrainingJob:
    """Random examples of one adapter."""
    shared = tokens(prefix, 10_000 + slot, model)
    encoded: list[EncodedExample] = [
        ((*shared, *tokens(own + labels, 100 * slot + at, model)), prefix + own) for at in range(examples)
    ]
    return TrainingJob(slot, tuple(encoded))


def together(model: PreTrainedModel, stack: LoraStack, jobs: Sequence[TrainingJob]) -> Adapters:
    """Our way, with everything that an input costs: reset, train, hand over."""
    stack.attach()
    try:
        stack.reset([job.slot for job in jobs], [job.slot for job in jobs])
        reports = train(stack, jobs, CONFIG)
        assert all(report.ok for report in reports)
        return [stack.export(job.slot)[0] for job in jobs]
    finally:
        stack.detach()


def distance(ours: Adapters, theirs: Adapters) -> float:
    """The largest relative distance of two adapters."""

    def flat(state: Mapping[str, Tensor]) -> Tensor:
        return torch.cat([state[name].float().cpu().flatten() for name in sorted(state)])

    pairs = [(flat(one), flat(other)) for one, other in zip(ours, theirs, strict=True)]
    return max(float((one - other).norm() / other.norm()) for one, other in pairs)


def least(model: PreTrainedModel, jobs: Sequence[TrainingJob], prefix: int, stack: LoraStack) -> Work:
    """Each shared prefix once, the head at labels only, 28 bytes of optimizer traffic per adapter weight and step."""
    cost, adapter = cost_of(model), sum(stack.sizes)
    flops = traffic = 0.0
    for job in jobs:
        lengths = [len(ids) - prefix for ids, _ in job.examples]
        labels = sum(len(ids) - n for ids, n in job.examples)
        pairs = prefix**2 / 2 + sum(length * (prefix + length / 2) for length in lengths)
        flops += CONFIG.epochs * cost.train(prefix + sum(lengths), labels, pairs, adapter).flops
        traffic += CONFIG.epochs * 28.0 * adapter
    return Work(flops, traffic)
