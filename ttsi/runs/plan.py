"""The plan of a run: every input at its place, cut into batches.

Inputs: a benchmark and a `RunConfig`. Outputs: one `PlannedSample` per input, in the benchmark's order or in the one
that `order_seed` draws, cut after `limit`, and batches of `batch_size`. The plan depends on the data and the settings
alone, never on what an interruption left.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

from ttsi.benchmarks import Benchmark, Sample
from ttsi.config import LoopConfig, RunConfig
from ttsi.record import Key


@dataclass(frozen=True)
class PlannedSample:
    """A sample at its place in the plan."""

    sample: Sample
    position: int
    """Place in the benchmark, from 0, whatever the order of the run."""
    input_hash: str
    repeat: int
    """How many samples with the same content come before it in the benchmark."""

    @property
    def key(self) -> Key:
        """The key of its row."""
        return self.input_hash, self.repeat


Batch = Sequence[PlannedSample]


def plan(benchmark: Benchmark, config: RunConfig) -> list[PlannedSample]:
    """Every input of the run at its place."""
    counts: Counter[str] = Counter()
    planned = []
    # Counted in the order of the file, so that a row has the same key and place in every order.
    for position, sample in enumerate(benchmark.samples):
        content = sample.input.content_hash
        planned.append(PlannedSample(sample, position, content, counts[content]))
        counts[content] += 1
    if config.order_seed is not None:
        random.Random(config.order_seed).shuffle(planned)
    return planned[: config.limit]


def batches(planned: Sequence[PlannedSample], size: int) -> list[Batch]:
    """The plan, cut every `size` inputs."""
    return [planned[start : start + size] for start in range(0, len(planned), size)]


def exact_share(loop: LoopConfig, planned: Sequence[PlannedSample]) -> LoopConfig:
    """With the gate "random": the settings under which exactly round(share * n) of these inputs are adapted.

    A random share that is to be compared with the unsure inputs must be as large as they are.
    """
    if loop.awareness.gate != "random":
        return loop
    from ttsi.awareness.selection import gate_uniform

    numbers = sorted(gate_uniform(loop.seed, item.input_hash, item.repeat) for item in planned)
    wanted = round(loop.awareness.share * len(numbers))
    cut = numbers[wanted] if wanted < len(numbers) else 1.0
    return replace(loop, awareness=replace(loop.awareness, share=cut))
