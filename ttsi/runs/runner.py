"""A run: many inputs through the loop, once each, every episode recorded.

Inputs: a benchmark, a model, a writer, a `RunConfig` and an open run folder. Outputs: rows in the folder, and the run's
summary. The batches follow from the plan (`ttsi.runs.plan`), never from what an interruption left: a half-done batch is
done again whole, so each input sees the same neighbours, and only the missing rows are written. The same settings give
the same results, whatever happened in between and wherever the batches are done.

Rows are matched by the content of their input, so the data may be reordered or grow between two sittings: rows move to
their new places and are graded again by the current gold. Only `sample.input` goes into the loop; gold is used
afterwards. One log line per event, with ids, on the logger `ttsi.runs.runner`. The paper (arXiv:2510.07841) goes
through its inputs one by one; a batch of one is the paper.
"""

from __future__ import annotations

import logging
import signal
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from types import FrameType
from typing import Any

from ttsi import crash_points
from ttsi.benchmarks import Benchmark
from ttsi.config import LoopConfig, RunConfig
from ttsi.errors import RunFolderError
from ttsi.models import Model, Writer
from ttsi.plurals import plural, with_noun
from ttsi.record import Key, Question, RunRow
from ttsi.runs.corpus_f1 import CorpusF1
from ttsi.runs.database import DamagedRecord
from ttsi.runs.executor import Executor, local_executor
from ttsi.runs.folder import START_OVER
from ttsi.runs.grading import grades, headline
from ttsi.runs.plan import Batch, PlannedSample, batches, exact_share, plan
from ttsi.runs.provenance import resolve
from ttsi.runs.store import Store
from ttsi.runs.summary import adaptation_failed, summarise
from ttsi.runs.tally import Fingerprint, RunProgress, Tally, strip_text
from ttsi.types import Episode

log = logging.getLogger(__name__)


def run(
    benchmark: Benchmark,
    model: Model,
    writer: Writer,
    config: RunConfig,
    store: Store,
    on_batch: Callable[[RunProgress], None] = lambda progress: None,
    *,
    retry_failed: bool = False,
    executor: Executor | None = None,
) -> dict[str, Any]:
    """Put every input that is not yet recorded through the loop, record it, and sum up.

    Args:
        benchmark: the questions.
        model: the model that answers.
        writer: the writer of the examples: the model itself, a teacher, or the training data that a method learns from.
        config: the settings that the store was opened with.
        store: the open run folder.
        on_batch: called once before the first batch and after each.
        retry_failed: put inputs that failed in an earlier sitting, or whose adaptation did, through once more.
        executor: where batches are done; by default in this process, one after the other.

    Returns:
        The content of summary.json.

    Raises:
        KeyboardInterrupt: after the batch in which Ctrl-C was pressed; finished inputs are recorded.
        ModelError: the base's weights have changed.
        RunFolderError: the disk is full, the record is damaged, or it holds inputs that the data lack.
    """
    planned = plan(benchmark, config)
    resolved = resolve(config, benchmark, model, writer)
    loop = exact_share(config.loop, planned)
    _place_rows(store, planned, resolved, loop)
    tally, done, failed = _read_back(store, Tally(len(planned), headline(benchmark, loop), loop.seed), retry_failed)
    pending = [batch for batch in batches(planned, config.batch_size) if any(item.key not in done for item in batch)]
    name = resolved["digest"][:8]
    log.info("run begun run=%s folder=%s inputs=%d batches_owed=%d", name, store.folder, len(planned), len(pending))
    if pending:
        store.reopen()
    on_batch(tally.progress())
    under_way: dict[int, int] = {}
    """Position of a batch's first input -> its number of inputs."""
    with _stop_after_batch(under_way) as stopped:
        execute = executor or local_executor(model, writer)
        for batch, episodes in execute(_batches_until(stopped, pending, under_way), loop) if pending else ():
            crash_points.reach("batch: answered")
            for item, episode in zip(batch, episodes, strict=True):
                if item.key not in done:
                    row = _row(item, episode, failed.get(item.key, 0) + 1, loop)
                    store.record(row, replace=item.key in failed)
                    done.add(item.key)
                    tally.add(row)
                    log.info("input recorded run=%s %s", name, _log_line(row))
            under_way.pop(batch[0].position, None)
            on_batch(tally.progress())
    if len(done) < len(planned):
        raise KeyboardInterrupt
    crash_points.reach("run: all rows written")
    summary = _sum_up(store, planned, resolved, CorpusF1(benchmark.name, loop.adapt))
    log.info("run finished run=%s inputs=%d errors=%d", name, summary["n"], summary["n_error"])
    return summary


def _place_rows(store: Store, planned: Sequence[PlannedSample], resolved: Mapping[str, Any], loop: LoopConfig) -> None:
    """If the data changed since the last sitting, move every row to its new place and grade it again."""
    recorded = store.config()
    if recorded.get("data") == resolved["data"]:
        return
    if loop.awareness.gate == "random" and store.keys():
        raise RunFolderError(
            f"{store.folder} drew its share from other data: with --awareness.gate random use the data of the run, or "
            f"{START_OVER}"
        )
    place_of = {item.key: item for item in planned}
    lost = [row.episode.input_id for row in store.each() if row.key not in place_of]
    if lost:
        inputs = with_noun(len(lost), "input that is", "inputs that are")
        raise RunFolderError(
            f"{store.folder} holds {inputs} no longer in the data (the first: {lost[0]!r}): "
            f"use the data of the run, or {START_OVER}"
        )
    store.reopen()
    store.rewrite(_row(place_of[row.key], row.episode, row.attempts, loop) for row in store.each())
    crash_points.reach("resume: rows placed")
    began = {"library": recorded["library"]} if "library" in recorded else {}
    store.configure({**resolved, **began})


def _read_back(store: Store, tally: Tally, retry_failed: bool) -> tuple[Tally, set[Key], dict[Key, int]]:
    """From the record: counts, the keys that are done, and the attempts of inputs that failed and are tried again."""
    done: set[Key] = set()
    failed: dict[Key, int] = {}
    for row in store.each():
        if retry_failed and (row.episode.error is not None or adaptation_failed(row)):
            failed[row.key] = row.attempts
        else:
            done.add(row.key)
            tally.add(row)
    return tally, done, failed


def _batches_until(stopped: threading.Event, pending: Sequence[Batch], under_way: dict[int, int]) -> Iterator[Batch]:
    for batch in pending:
        if stopped.is_set():
            return
        crash_points.reach("batch: begun")
        log.info("batch begun first=%r inputs=%d", batch[0].sample.input.id, len(batch))
        under_way[batch[0].position] = len(batch)
        yield batch


def _row(item: PlannedSample, episode: Episode, attempts: int, loop: LoopConfig) -> RunRow:
    sample, episode = item.sample, replace(episode, input_id=item.sample.input.id)
    question = Question(sample.input, sample.gold)
    return RunRow(episode, item.repeat, item.position, grades(sample, episode, loop), sample.tags, attempts, question)


def _log_line(row: RunRow) -> str:
    episode = row.episode
    unsure = episode.awareness is not None and episode.awareness.unsure
    line = f"input={episode.input_id!r} hash={episode.input_hash[:12]} repeat={row.repeat} unsure={unsure}"
    line += f" adaptation={episode.adaptation.status} seconds={sum(episode.seconds.values()):.3f}"
    return line if episode.error is None else f"{line} error={episode.error!r}"


def _sum_up(
    store: Store, planned: Sequence[PlannedSample], resolved: Mapping[str, Any], f1: CorpusF1
) -> dict[str, Any]:
    # From the file, not from memory: the summary counts the rows that were kept.
    gold = {item.key: item.sample.gold for item in planned}
    facts, fingerprint = [], Fingerprint()
    for row in store.each():
        fingerprint.add(row)
        f1.add(row, gold.get(row.key))
        facts.append(strip_text(row))
    if {row.key for row in facts} != gold.keys():
        what = f"{len(facts)} of {with_noun(len(planned), 'row')} {plural(len(facts), 'is', 'are')} there"
        raise DamagedRecord(store.folder / "run.db", what)
    summary = summarise(facts, resolved)
    summary["n_retried"] = sum(row.attempts > 1 for row in facts)
    summary["results_sha256"] = fingerprint.hexdigest()
    summary["metrics"] |= f1.metrics()
    store.finish(summary)
    return summary


@contextmanager
def _stop_after_batch(under_way: Mapping[int, int]) -> Iterator[threading.Event]:
    """The first Ctrl-C (or SIGTERM) asks for a stop after the batches under way; a second one stops at once.

    A signal that the process was started with ignored (a shell's background job) stays ignored.
    """
    stopped = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stopped
        return

    def request_stop(number: int, frame: FrameType | None) -> None:
        stopped.set()
        restore()
        log.warning(
            "stopping after this batch (inputs under way: %d); a second Ctrl-C or signal stops at once: --resume then "
            "redoes this batch, and a fine-tuning goes on from its last checkpoint",
            sum(under_way.values()),
        )

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    handled = [n for n in (signal.SIGINT, signal.SIGTERM) if signal.getsignal(n) is not signal.SIG_IGN]
    before = {number: signal.signal(number, request_stop) for number in handled}
    try:
        yield stopped
    finally:
        restore()
