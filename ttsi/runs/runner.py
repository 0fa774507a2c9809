"""How do many inputs go through the loop, once each?

Inputs: a benchmark, a model, a writer, a `RunConfig` and an open run folder. Outputs: rows in the folder, and the run's
summary. The batches follow from the plan (benchmark order after `limit`, cut every `batch_size`), never from what an
interruption left: a batch that is half done is done again whole, so each input sees the same neighbours, and only the
missing rows are written. Same settings, same results, whatever happened in between.

Only `sample.input` goes into the loop; gold is used afterwards, to grade. The paper (arXiv:2510.07841) goes through
its inputs one by one; batches are ours, and one of size 1 is the paper.
"""

from __future__ import annotations

import json
import os
import platform
import signal
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import FrameType
from typing import Any

from ttsi.benchmarks import Benchmark, Sample
from ttsi.config import LoopConfig, digest
from ttsi.errors import ConfigError
from ttsi.models import Model, Writer
from ttsi.runs import codec
from ttsi.runs.scoring import grades, headline
from ttsi.runs.sources import check_sources, described, drawn_exactly, ready
from ttsi.runs.store import Row, Store
from ttsi.runs.summary import summarise
from ttsi.runs.whole import f1_metrics
from ttsi.types import TrainingData, input_hash

PACKAGES = ("torch", "transformers", "tokenizers", "llguidance", "numpy")
"""Whose versions may change a result."""


@dataclass(frozen=True)
class RunConfig:
    """A run: which questions, which model, which method."""

    benchmark: str = "toolworld"
    """Name of a benchmark (`ttsi ls benchmarks`), or the path of a .jsonl file."""
    model: str = "embedded"
    """Who answers (`ttsi ls models`)."""
    method: str = "ttsi"
    """How it improves (`ttsi ls methods`); sets the knobs that nobody set."""
    writer: str | None = None
    """Who writes the examples: a teacher's model spec, or nothing for the model itself."""
    loop: LoopConfig = field(default_factory=LoopConfig)
    limit: int | None = None
    """Only the first so many inputs, for a quick look."""
    batch_size: int = 16
    """Inputs that go through the model together."""
    data_dir: Path | None = None
    """The folder with downloaded benchmarks."""
    split: str = "test"
    """Which part of the benchmark."""
    writer_budget: str | None = None
    """The most that a teacher behind an endpoint may take (`ttsi.config.TeacherConfig`)."""
    train: str | None = None
    """What few-shot prompting and fine-tuning learn from: a benchmark's name, or a .jsonl file with gold."""
    train_limit: int | None = None
    """Only so many rows of it, drawn by the seed; a smaller draw is part of a larger one."""

    def __post_init__(self) -> None:
        """Refuse what cannot be run.

        Raises:
            ConfigError: a number is out of range.
        """
        if self.batch_size < 1:
            raise ConfigError(f"batch-size is {self.batch_size}: use 1 or more")
        if self.limit is not None and self.limit < 1:
            raise ConfigError(f"limit is {self.limit}: use 1 or more, or leave it out for all inputs")
        check_sources(self)


@dataclass(frozen=True)
class Progress:
    """How far a run is; counts over all rows written so far, also those of an earlier sitting."""

    done: int
    total: int
    unsure: int
    errors: int
    graded: int
    base_right: int
    adapted_right: int


@dataclass(frozen=True)
class Place:
    """A sample at its place in the plan."""

    sample: Sample
    position: int
    input_hash: str
    repeat: int
    """How many samples with the same content came before it; they are told apart by it."""


def resolve(config: RunConfig, benchmark: Benchmark, model: Model, writer: Writer) -> dict[str, Any]:
    """Everything that the results depend on, as JSON values: what config.json holds."""
    from ttsi.synthesis.prompts import writing_prompt

    speaker = model if isinstance(writer, TrainingData) else writer
    prompt = writing_prompt(speaker.format.name, config.loop.synthesis.order)
    return {
        "schema": 1,
        "settings": settings_of(config),
        "digest": settings_digest(config),
        "data": {
            "benchmark": benchmark.name,
            "checksum": benchmark.checksum,
            "matcher": headline(benchmark, config.loop),
            "n": len(plan(benchmark, config)),
        },
        "model": model.describe(),
        "writer": None if config.writer is None else speaker.describe(),
        "train": described(writer) if isinstance(writer, TrainingData) else None,
        "prompt": prompt.version(),
        "versions": {name: installed for name in ("ttsi", *PACKAGES) if (installed := _version(name))},
        "machine": {
            "python": platform.python_version(),
            "platform": platform.platform(),
            "cpus": os.cpu_count(),
            "source": benchmark.source,
        },
    }


def settings_of(config: RunConfig) -> dict[str, Any]:
    """The settings as JSON values; a tau of infinity is the string "inf" (`ttsi.runs.codec`)."""
    data_dir = None if config.data_dir is None else str(config.data_dir)
    return {**asdict(config), "loop": json.loads(codec.dumps(config.loop)), "data_dir": data_dir}


def settings_digest(config: RunConfig) -> str:
    """16 hex digits: equal settings, equal digest; where the data lie does not matter."""
    return digest(replace(config, data_dir=None))


def plan(benchmark: Benchmark, config: RunConfig) -> list[Place]:
    """Every input of the run at its place."""
    seen: Counter[str] = Counter()
    places = []
    for position, sample in enumerate(benchmark.samples[: config.limit]):
        content = input_hash(sample.input)
        places.append(Place(sample, position, content, seen[content]))
        seen[content] += 1
    return places


def run(
    benchmark: Benchmark,
    model: Model,
    writer: Writer,
    config: RunConfig,
    store: Store,
    on_batch: Callable[[Progress], None] = lambda progress: None,
) -> dict[str, Any]:
    """Put every input that is not yet recorded through the loop, record it, and sum up.

    Args:
        benchmark: the questions.
        model: who answers.
        writer: who writes the examples; the model itself, a teacher, or the training data that a method learns from.
        config: the settings that the store was opened with.
        store: the open run folder.
        on_batch: called once before the first batch and after each.

    Returns:
        What summary.json holds.

    Raises:
        KeyboardInterrupt: after the batch in which Ctrl-C was pressed; what is done is recorded.
    """
    places = plan(benchmark, config)
    written = set(store.done())
    rows = store.rows()
    matcher, loop = headline(benchmark, config.loop), drawn_exactly(config.loop, places)
    on_batch(_progress(rows, len(places), matcher))
    with _stop_after_batch() as stopped, ready(model, writer, loop) as (speaker, source):
        for start in range(0, len(places), config.batch_size):
            batch = places[start : start + config.batch_size]
            if all((place.input_hash, place.repeat) in written for place in batch):
                continue
            for row in _do_batch(batch, speaker, source, loop):
                if row.key not in written:
                    store.record(row)
                    rows.append(row)
            on_batch(_progress(rows, len(places), matcher))
            if stopped.is_set():
                raise KeyboardInterrupt
    # From the file, not from memory: what is summed up is what was kept.
    rows = store.rows()
    summary = summarise(rows, resolve(config, benchmark, model, writer))
    gold = {(place.input_hash, place.repeat): place.sample.gold for place in places}
    summary["metrics"] |= f1_metrics(rows, gold, config.loop.adapt)
    store.finish(summary)
    return summary


def _do_batch(batch: Sequence[Place], model: Model, writer: Writer, config: LoopConfig) -> Iterator[Row]:
    # Not at the top: reading a run folder needs none of the stages.
    from ttsi.loop import improve

    for repeat in sorted({place.repeat for place in batch}):
        # Equal inputs differ by their repeat alone, and one call of the loop has one repeat.
        group = [place for place in batch if place.repeat == repeat]
        episodes = improve([place.sample.input for place in group], model, writer, config, repeat)
        for place, episode in zip(group, episodes, strict=True):
            graded = grades(place.sample, episode, config)
            yield Row(episode, repeat, place.position, graded, place.sample.tags, place.sample)


def _progress(rows: Sequence[Row], total: int, matcher: str) -> Progress:
    grades = [row.grades[matcher] for row in rows if row.grades is not None]
    return Progress(
        done=len(rows),
        total=total,
        unsure=sum(row.episode.awareness is not None and row.episode.awareness.unsure for row in rows),
        errors=sum(row.episode.error is not None for row in rows),
        graded=len(grades),
        base_right=sum(verdict["base"] for verdict in grades),
        adapted_right=sum(verdict["adapted"] for verdict in grades),
    )


@contextmanager
def _stop_after_batch() -> Iterator[threading.Event]:
    """The first Ctrl-C asks for a stop after this batch; a second one stops at once."""
    stopped = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stopped
        return

    def ask(number: int, frame: FrameType | None) -> None:
        stopped.set()
        signal.signal(signal.SIGINT, before)

    before = signal.signal(signal.SIGINT, ask)
    try:
        yield stopped
    finally:
        signal.signal(signal.SIGINT, before)


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        from ttsi import __version__

        return __version__ if package == "ttsi" else None
