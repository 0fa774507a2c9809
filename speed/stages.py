"""The stages of unsure inputs beside their least possible times: `python -m speed.stages [--shape S]`.

Work: `speed.real`'s price, the preset `ttsi` on requests of Seal-Tools' sample, every input adapted, in the model's own
format. Inputs: the model. Outputs: a table, and stages.json: for each stage its seconds, the arithmetic and the memory
traffic that cannot be avoided, and the time that these take at the rates of this machine in bfloat16 products and in a
triad.

The least work: each distinct prompt is read once, in a product with every weight but the embedding; each step of a
batch's answer reads all weights from memory; each trained token is read forward and backward, without gradients of the
weights. Attention, adapters, scores of candidates and everything outside the model count as nothing.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from speed import measure, real
from ttsi.benchmarks import load as load_benchmark
from ttsi.config import LoopConfig
from ttsi.engine.training_job import TrainingJob
from ttsi.loop import improve
from ttsi.models.local import LocalModel
from ttsi.types import Episode, Input, Prompt

RESULTS = Path(__file__).parent / "stages.json"
BFLOAT16_BYTES = 2
EMBEDDING = "embed_tokens"
FORWARD, FORWARD_AND_BACKWARD = 2, 4
"""Arithmetic operations per weight and token."""


@dataclass(frozen=True)
class Stage:
    """One stage of all inputs together."""

    name: str
    seconds: float
    flops: float
    bytes: float
    least_seconds: float


class RecordedJobs:
    """A model's training that keeps the jobs that it was given."""

    def __init__(self, model: LocalModel) -> None:
        self.jobs: list[TrainingJob] = []
        self._trained = model.adapters.trained
        model.adapters.trained = self  # type: ignore[method-assign,assignment]

    def __call__(self, encoded: Sequence[TrainingJob], *others: Any) -> AbstractContextManager[Any]:
        """As `TemporaryAdapters.trained`."""
        self.jobs += encoded
        return self._trained(encoded, *others)

    def own_tokens(self) -> int:
        """The tokens of all jobs' examples behind what the examples of a job share."""
        own = (sum(map(len, ids)) - len(ids) * _common_length(ids) for ids in map(_ids, self.jobs) if ids)
        return sum(own)


def _ids(job: TrainingJob) -> list[tuple[int, ...]]:
    return [tuple(ids) for ids, _ in job.examples]


def _common_length(sequences: Sequence[tuple[int, ...]]) -> int:
    """How many tokens all sequences begin with."""
    first, last = min(sequences), max(sequences)
    return next((at for at, (one, other) in enumerate(zip(first, last, strict=False)) if one != other), len(first))


def stages(
    model: LocalModel, inputs: Sequence[Input], config: LoopConfig, limits: measure.MachineLimits
) -> list[Stage]:
    """The stages of these inputs in one batch."""
    recorded = RecordedJobs(model)
    episodes = improve(inputs, model, model, config)
    weights = sum(parameter.numel() for parameter in model.model.parameters())
    products = weights - sum(weight.numel() for name, weight in model.model.named_parameters() if EMBEDDING in name)
    read = sum(model.prompt_tokens(Prompt(item.messages, item.tools)) for item in inputs)
    steps = sum(
        max(answer.tokens for answer in side if answer is not None)
        for side in ([episode.base for episode in episodes], [episode.adapted for episode in episodes])
    )
    trained = recorded.own_tokens() * config.adaptation.epochs
    reading, writing = measure.Work(FORWARD * products * read), measure.Work(0.0, steps * weights * BFLOAT16_BYTES)
    training = measure.Work(FORWARD_AND_BACKWARD * products * trained)
    return [
        _stage("answers and confidence", ("awareness", "answer"), episodes, [reading, writing], limits),
        _stage("examples and training", ("synthesis", "adaptation"), episodes, [training], limits),
    ]


def _stage(
    name: str,
    parts: Sequence[str],
    episodes: Sequence[Episode],
    phases: Sequence[measure.Work],
    limits: measure.MachineLimits,
) -> Stage:
    seconds = sum(episode.seconds.get(part, 0.0) for episode in episodes for part in parts)
    flops, traffic = sum(phase.flops for phase in phases), sum(phase.bytes for phase in phases)
    return Stage(name, seconds, flops, traffic, limits.seconds(phases))


def main() -> None:
    """Measure, print and keep the stages."""
    parser = argparse.ArgumentParser(prog="python -m speed.stages", description="stages beside their least times")
    parser.add_argument("--shape", default=real.SHAPE, help="the model (default %(default)s)")
    parser.add_argument("--output", type=Path, default=RESULTS, help="where to write; default speed/stages.json")
    options = parser.parse_args()
    device = torch.device("cpu")
    limits = measure.limits_now(device, quick=False, dtype=torch.bfloat16)
    spec = real.SPECS.get(options.shape, options.shape)
    model = real.local_model(spec, device, "bfloat16")
    inputs = [sample.input for sample in load_benchmark("sealtool-sample").samples[: real.BATCH]]
    done = stages(model, inputs, real.settings(spec), limits)
    for stage in done:
        print(f"{stage.name}: {stage.seconds:.1f} s, least {stage.least_seconds:.1f} s")
    old = json.loads(options.output.read_text(encoding="utf-8")) if options.output.is_file() else {}
    about = measure.machine(limits, device)
    new = {**old, Path(options.shape).name: {"stages": [asdict(stage) for stage in done], "machine": about}}
    options.output.write_text(json.dumps(new, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
