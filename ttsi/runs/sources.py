"""What does a method learn from, and who has to be there before the first input?

Inputs: a `RunConfig`. Outputs: its training data, drawn by its seed; a refusal where a method lacks its teacher or its
data; the model and the writer as the loop wants them.

A training file must not hold a test input: then a gain says nothing. Whoever adapts on a random share of the inputs
adapts on exactly that share, so that it can be compared with the unsure ones. Both are ours; the paper
(arXiv:2510.07841) has neither check.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ttsi.benchmarks import Benchmark, pools
from ttsi.benchmarks import load as load_benchmark
from ttsi.config import LoopConfig, check
from ttsi.errors import ConfigError, DataError
from ttsi.methods import WANTS_TEACHER, wants_training_data
from ttsi.models import Model, Writer, check_speaker
from ttsi.types import GoldExample, TrainingData

if TYPE_CHECKING:
    from ttsi.config import RunConfig
    from ttsi.runs.work import Place

TWINS = {"ttsi": "ttd", "ttsi-icl": "ttd-icl"}
"""What these are called when a teacher writes."""


def check_sources(config: RunConfig) -> None:
    """Has the method what it learns from, and nothing that it would not use?

    Raises:
        ConfigError: it lacks a teacher or training data, or has one too many; one line.
    """
    check_speaker(config.model)
    method, learns = config.method, wants_training_data(config.loop)
    writes = config.loop.adapt and not learns and config.loop.synthesis.k > 0
    if method in WANTS_TEACHER and config.teacher is None:
        raise ConfigError(f"--method {method} needs --teacher SPEC, e.g. openai:gpt-5-mini, or any model of yours")
    if config.teacher is not None and method in TWINS:
        raise ConfigError(f"with a teacher this is --method {TWINS[method]}: say so, or leave --teacher out")
    if config.teacher is not None and not writes:
        raise ConfigError(f"--method {method} writes no examples: leave --teacher out")
    if learns and config.train_data is None:
        raise ConfigError(f"--method {method} needs --train-data: a .jsonl file with gold, or a benchmark's name")
    if not learns and (config.train_data is not None or config.train_limit is not None):
        raise ConfigError(f"--method {method} learns from no file: leave --train-data and --train-limit out")
    check(config.loop)


def training_data(config: RunConfig, benchmark: Benchmark) -> TrainingData | None:
    """The rows that the method learns from, or None where it learns from none.

    Raises:
        DataError: they cannot be read, none has gold, or one of them is a test input.
    """
    if config.train_data is None:
        return None
    source = _source(config.train_data, config)
    pairs = [GoldExample(sample.input, sample.gold) for sample in source.samples if sample.gold is not None]
    if not pairs:
        raise DataError(f"{config.train_data} has no row with gold: nothing can be learned from it")
    if leaked := pools.overlap(source, benchmark):
        raise DataError(
            f"{len(leaked)} rows of {config.train_data} ask what {benchmark.name} asks, the first is {leaked[0]!r}: "
            "a training file must not hold test inputs"
        )
    random.Random(config.loop.seed).shuffle(pairs)
    return TrainingData(source.name, source.checksum, tuple(pairs[: config.train_limit]))


def _source(name: str, config: RunConfig) -> Benchmark:
    """A pool, a file, or a benchmark (NAME:SPLIT) of which other rows are asked."""
    benchmark, colon, split = name.rpartition(":")
    if colon:
        return load_benchmark(benchmark, config.data, split)
    return pools.load(name, config.data) if name in pools.POOLS else load_benchmark(name, config.data)


def described(data: TrainingData) -> dict[str, Any]:
    """What is needed to know the training data again."""
    return {"name": data.name, "checksum": data.checksum, "n": len(data.pairs)}


@contextmanager
def ready(model: Model, writer: Writer, loop: LoopConfig) -> Iterator[tuple[Model, Writer]]:
    """The model and the writer as the loop takes them; for SFT the model is one that learns the training data."""
    if loop.adaptation.method == "shared" and isinstance(writer, TrainingData):
        from ttsi.adaptation.shared import supervised

        with supervised(model, writer, loop.adaptation, loop.seed) as taught:
            yield taught, taught
    else:
        yield model, writer


def drawn_exactly(loop: LoopConfig, places: Sequence[Place]) -> LoopConfig:
    """With the gate "random": the settings under which exactly round(share * n) of these inputs are drawn."""
    if loop.awareness.gate != "random":
        return loop
    from ttsi.loop import coin

    coins = sorted(coin(loop.seed, place.input_hash, place.repeat) for place in places)
    wanted = round(loop.awareness.share * len(coins))
    cut = coins[wanted] if wanted < len(coins) else 1.0
    return replace(loop, awareness=replace(loop.awareness, share=cut))
