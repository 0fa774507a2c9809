"""How do many inputs go through the loop, once each?

Inputs: a benchmark, a model, a writer, a `RunConfig` and an open run folder. Outputs: rows in the folder, and the run's
summary. The batches follow from the plan (benchmark order after `limit`, cut every `batch_size`), never from what an
interruption left: a batch that is half done is done again whole, so each input sees the same neighbours, and only the
missing rows are written. Same settings, same results, whatever happened in between, and wherever batches are done.

Rows are matched by the content of their input, so the data may be reordered or grow between two sittings: rows move to
their new places and are graded again by the gold of the day. Only `sample.input` goes into the loop; gold is used
afterwards. One log line per event, with ids, on the logger `ttsi.runs.runner`. The paper (arXiv:2510.07841) goes
through its inputs one by one; batches are ours, and one of size 1 is the paper.
"""

from __future__ import annotations

import json
import logging
import os
import platform
import signal
import subprocess
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import FrameType
from typing import Any

from ttsi.benchmarks import Benchmark
from ttsi.config import LoopConfig, RunConfig, digest
from ttsi.errors import RunFolderError
from ttsi.models import Model, Writer
from ttsi.record import Key, Question, RunRow
from ttsi.runs import codec, faults
from ttsi.runs.corpus_f1 import CorpusF1
from ttsi.runs.database import Damaged
from ttsi.runs.scoring import grades, headline
from ttsi.runs.sources import check_sources, described, drawn_exactly
from ttsi.runs.store import Store
from ttsi.runs.summary import summarise
from ttsi.runs.tally import Fingerprint, Progress, Tally, slim
from ttsi.runs.work import Batch, Place, Solve, here
from ttsi.types import Episode, TrainingData, input_hash

__all__ = ["Progress", "batches", "plan", "resolve", "run", "settings_digest", "settings_of"]

log = logging.getLogger(__name__)

PACKAGES = ("torch", "transformers", "tokenizers", "llguidance", "numpy")
"""Whose versions may change a result."""


def resolve(config: RunConfig, benchmark: Benchmark, model: Model, writer: Writer) -> dict[str, Any]:
    """Everything that the results depend on, as JSON values: what config.json holds."""
    check_sources(config)
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
        "writer": None if config.teacher is None else speaker.describe(),
        "train": described(writer) if isinstance(writer, TrainingData) else None,
        "prompt": prompt.version(),
        "versions": {name: installed for name in ("ttsi", *PACKAGES) if (installed := _version(name))},
        "machine": {
            "python": platform.python_version(),
            "platform": platform.platform(),
            "cpus": os.cpu_count(),
            "commit": _commit(),
            "source": benchmark.source,
        },
    }


def settings_of(config: RunConfig) -> dict[str, Any]:
    """The settings as JSON values; a tau of infinity is the string "inf" (`ttsi.runs.codec`)."""
    data = None if config.data is None else str(config.data)
    return {**asdict(config), "loop": json.loads(codec.dumps(config.loop)), "data": data}


def settings_digest(config: RunConfig) -> str:
    """16 hex digits: equal settings, equal digest; where the data lie does not matter."""
    return digest(replace(config, data=None))


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
    *,
    retry_failed: bool = False,
    solve: Solve | None = None,
) -> dict[str, Any]:
    """Put every input that is not yet recorded through the loop, record it, and sum up.

    Args:
        benchmark: the questions.
        model: who answers.
        writer: who writes the examples; the model itself, a teacher, or the training data that a method learns from.
        config: the settings that the store was opened with.
        store: the open run folder.
        on_batch: called once before the first batch and after each.
        retry_failed: inputs that failed in an earlier sitting are owed again.
        solve: where batches are done; by default in this process, one after the other.

    Returns:
        What summary.json holds.

    Raises:
        KeyboardInterrupt: after the batch in which Ctrl-C was pressed; what is done is recorded.
        ModelError: the base's weights have changed.
        RunFolderError: the disk is full, the record is damaged, or the data lack inputs that it holds.
    """
    places = plan(benchmark, config)
    resolved = resolve(config, benchmark, model, writer)
    loop = drawn_exactly(config.loop, places)
    _settle(store, places, resolved, loop)
    tally, done, failed = _read_back(store, Tally(len(places), headline(benchmark, loop), loop.seed), retry_failed)
    owed = [batch for batch in batches(places, config.batch_size) if any(place.key not in done for place in batch)]
    name = resolved["digest"][:8]
    log.info("run begun run=%s folder=%s inputs=%d batches_owed=%d", name, store.folder, len(places), len(owed))
    if owed:
        store.reopen()
    on_batch(tally.progress())
    with _stop_after_batch() as stopped:
        solve = solve or here(model, writer)
        for batch, episodes in solve(_until(stopped, owed), loop) if owed else ():
            faults.passing("batch: answered")
            for place, episode in zip(batch, episodes, strict=True):
                if place.key not in done:
                    row = _row(place, episode, failed.get(place.key, 0) + 1, loop)
                    store.record(row, replace=place.key in failed)
                    done.add(place.key)
                    tally.add(row)
                    log.info("input recorded run=%s %s", name, _told(row))
            on_batch(tally.progress())
    if len(done) < len(places):
        raise KeyboardInterrupt
    faults.passing("run: all rows written")
    summary = _sum_up(store, places, resolved, CorpusF1(benchmark.name, loop.adapt))
    log.info("run finished run=%s inputs=%d errors=%d", name, summary["n"], summary["n_error"])
    return summary


def batches(places: Sequence[Place], size: int) -> list[Batch]:
    """The plan, cut every `size` inputs."""
    return [places[start : start + size] for start in range(0, len(places), size)]


def _settle(store: Store, places: Sequence[Place], resolved: Mapping[str, Any], loop: LoopConfig) -> None:
    """Where the data have changed since the last sitting: move every row to its new place and grade it again."""
    if store.config().get("data") == resolved["data"]:
        return
    if loop.awareness.gate == "random" and store.done():
        raise RunFolderError(
            f"{store.folder} drew its share from other data: with --awareness.gate random use the data of the run, or "
            "start over with --clean"
        )
    place_of = {place.key: place for place in places}
    lost = [row.episode.input_id for row in store.each() if row.key not in place_of]
    if lost:
        raise RunFolderError(
            f"{store.folder} holds {len(lost)} inputs that are not in the data any more (the first: {lost[0]!r}): "
            "use the data of the run, or start over with --clean"
        )
    store.reopen()
    store.rewrite(_row(place_of[row.key], row.episode, row.attempts, loop) for row in store.each())
    faults.passing("resume: rows placed")
    store.configure(resolved)


def _read_back(store: Store, tally: Tally, retry_failed: bool) -> tuple[Tally, set[Key], dict[Key, int]]:
    """What the record holds: counts, the keys that are done, and attempts of those that are owed again."""
    done: set[Key] = set()
    failed: dict[Key, int] = {}
    for row in store.each():
        if retry_failed and row.episode.error is not None:
            failed[row.key] = row.attempts
        else:
            done.add(row.key)
            tally.add(row)
    return tally, done, failed


def _until(stopped: threading.Event, owed: Sequence[Batch]) -> Iterator[Batch]:
    for batch in owed:
        if stopped.is_set():
            return
        faults.passing("batch: begun")
        log.info("batch begun first=%r inputs=%d", batch[0].sample.input.id, len(batch))
        yield batch


def _row(place: Place, episode: Episode, attempts: int, loop: LoopConfig) -> RunRow:
    sample, episode = place.sample, replace(episode, input_id=place.sample.input.id)
    asked = Question(sample.input, sample.gold)
    return RunRow(episode, place.repeat, place.position, grades(sample, episode, loop), sample.tags, attempts, asked)


def _told(row: RunRow) -> str:
    """An episode's log line."""
    episode = row.episode
    unsure = episode.awareness is not None and episode.awareness.unsure
    line = f"input={episode.input_id!r} hash={episode.input_hash[:12]} repeat={row.repeat} unsure={unsure}"
    line += f" adaptation={episode.adaptation.status} seconds={sum(episode.seconds.values()):.3f}"
    return line if episode.error is None else f"{line} error={episode.error!r}"


def _sum_up(store: Store, places: Sequence[Place], resolved: Mapping[str, Any], f1: CorpusF1) -> dict[str, Any]:
    # From the file, not from memory: what is summed up is what was kept.
    gold = {place.key: place.sample.gold for place in places}
    facts, fingerprint = [], Fingerprint()
    for row in store.each():
        fingerprint.add(row)
        f1.add(row, gold.get(row.key))
        facts.append(slim(row))
    if {row.key for row in facts} != gold.keys():
        raise Damaged(store.folder / "run.db", f"{len(facts)} of {len(places)} rows are there")
    summary = summarise(facts, resolved)
    summary["n_retried"] = sum(row.attempts > 1 for row in facts)
    summary["results_sha256"] = fingerprint.hexdigest()
    summary["metrics"] |= f1.metrics()
    store.finish(summary)
    return summary


@contextmanager
def _stop_after_batch() -> Iterator[threading.Event]:
    """The first Ctrl-C (or SIGTERM) asks for a stop after this batch; a second one stops at once.

    A signal that whoever started us had us ignore (a shell's job in the background) stays ignored.
    """
    stopped = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stopped
        return

    def ask(number: int, frame: FrameType | None) -> None:
        stopped.set()
        restore()
        log.warning("stopping after this batch; once more (Ctrl-C) stops at once, and this batch is owed again")

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    heard = [n for n in (signal.SIGINT, signal.SIGTERM) if signal.getsignal(n) is not signal.SIG_IGN]
    before = {number: signal.signal(number, ask) for number in heard}
    try:
        yield stopped
    finally:
        restore()


@cache
def _commit() -> str | None:
    """The commit of the code that runs, "-dirty" where files differ from it; None where this is no checkout of ours."""
    here = Path(__file__)
    try:
        # An installed copy may lie inside somebody else's checkout, which does not track it.
        _git(here.parent, "ls-files", "--error-unmatch", here.name)
        return _git(here.parent, "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*")
    except (OSError, subprocess.SubprocessError):
        return None


def _git(folder: Path, *words: str) -> str:
    command = ["git", "--no-optional-locks", "-C", str(folder), *words]
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=10).stdout.strip()


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        from ttsi import __version__

        return __version__ if package == "ttsi" else None
