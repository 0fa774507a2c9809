"""Training data of a run, and the check that a method has its teacher or its data.

Inputs: a `RunConfig`. Outputs: the rows that few-shot prompting and fine-tuning learn from, drawn by the seed; a
refusal where a method lacks its teacher or its data, or has one that it would not use.

A training file must not hold a test input: a gain would mean nothing. The paper has no such check.
"""

from __future__ import annotations

import random

from ttsi.benchmarks import BENCHMARKS, Benchmark, Sample, training_pools
from ttsi.benchmarks import load as load_benchmark
from ttsi.config import CUSTOM, RunConfig, check
from ttsi.errors import ConfigError, DataError
from ttsi.methods import Method, check_method, find_method, wants_training_data
from ttsi.models import check_speaker
from ttsi.types import GoldExample, TrainingData


def check_sources(config: RunConfig) -> None:
    """Refuse a method without the teacher or the training data that it needs, or with one that it would not use.

    Raises:
        ConfigError: it lacks a teacher or training data, or has one too many; one line.
    """
    check_speaker(config.model)
    method, learns = config.method, wants_training_data(config.loop)
    record = Method("settings of no method") if method == CUSTOM else find_method(method)
    needs_teacher, with_teacher = record.needs_teacher, record.with_teacher
    synthesis = config.loop.synthesis
    writes = config.loop.adapt and not learns and synthesis.k > 0 and synthesis.source == "writer"
    if needs_teacher and config.teacher is None:
        raise ConfigError(f"--method {method} needs --teacher SPEC, e.g. openai:gpt-5-mini, or any model of yours")
    if config.teacher is not None and with_teacher is not None:
        raise ConfigError(f"with a teacher this is --method {with_teacher}: say so, or leave --teacher out")
    if config.teacher is not None and not writes:
        raise ConfigError(f"--method {method} writes no examples: leave --teacher out")
    if learns and config.train_data is None:
        raise ConfigError(f"--method {method} needs --train-data: a .jsonl file with gold, or a benchmark's name")
    if not learns and (config.train_data is not None or config.train_limit is not None):
        raise ConfigError(f"--method {method} learns from no file: leave --train-data and --train-limit out")
    check(config.loop)
    check_method(config.loop)


def load_training_data(config: RunConfig, benchmark: Benchmark) -> TrainingData | None:
    """The rows that the method learns from, or None where it learns from none.

    Raises:
        DataError: they cannot be read, none has gold, one of them is a test input, or an agent's task of several turns.
    """
    if config.train_data is None:
        return None
    source = _source(config.train_data, config)
    pairs = [GoldExample(sample.input, sample.gold) for sample in source.samples if sample.gold is not None]
    if not pairs:
        raise DataError(f"{config.train_data} has no row with gold: nothing can be learned from it")
    if any(map(_has_several_turns, source.samples)):
        raise DataError(
            f"{config.train_data} holds agents' tasks of several turns, whose gold answers all of them and not the "
            "first: learn from single turns (toolworld-turns-validation has some) or single requests"
        )
    training_pools.check_separate(source, benchmark, config.train_data)
    random.Random(config.loop.seed).shuffle(pairs)
    return TrainingData(source.name, source.checksum, tuple(pairs[: config.train_limit]))


def _has_several_turns(sample: Sample) -> bool:
    if sample.environment is None:
        return False
    environment = sample.environment()
    return environment.next_turn() is not None and environment.next_turn() is not None


def _source(name: str, config: RunConfig) -> Benchmark:
    """A pool, a file, or another split of a benchmark (NAME:SPLIT)."""
    benchmark, colon, split = name.rpartition(":")
    if colon and benchmark in BENCHMARKS:  # else an object reference
        return load_benchmark(benchmark, config.data, split)
    read = training_pools.load if name in training_pools.POOLS else load_benchmark
    return read(name, config.data)
