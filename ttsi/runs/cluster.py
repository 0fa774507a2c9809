"""How are the batches of a run done by many devices or machines at once?

Inputs: batches as they are owed, the model's spec, a number of workers, the address of a Ray cluster or none. Outputs:
each batch with its episodes, as they come in (a `ttsi.runs.work.Solve`). Ray (extra `ray`) places one model per worker.
A worker that dies or is out of reach is replaced, on another node where need be, and its batch given out again; that is
"at least once". The driver, which is the run's one writer, makes it "exactly once" by the key of the row. (Ray's own
retries are not used: they are spent before it notices that a node is gone.)

* Batches follow from the plan and not from who is free, so the results do not depend on the number of workers.
* Each worker has one batch and one more waiting: a slow worker holds nothing up, and the driver holds little in memory.
* A worker whose model is not the driver's, bit for bit, refuses to start; after each batch it checks its base.
* Test gold stays with the driver. Nothing is sent to anybody: Ray's usage reports are switched off.

Whoever can reach a Ray cluster can run code on it (`docs/cluster.md`). Not in the paper (arXiv:2510.07841).
"""

from __future__ import annotations

import logging
import os
import signal
import threading
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

from ttsi.config import LoopConfig
from ttsi.errors import ConfigError, ModelError
from ttsi.models import Model, Writer, load
from ttsi.runs.integrity import WeightsIntegrity
from ttsi.runs.sources import ready
from ttsi.runs.work import Batch, Solve, answer
from ttsi.types import Episode, Input, TrainingData

log = logging.getLogger(__name__)

RETRIES = 3
"""How often a batch is given to another worker after the death of its own; then it is the batch that kills."""
AHEAD = 2
"""Batches per worker that are under way: one being done, one waiting."""


@dataclass(frozen=True)
class Cluster:
    """Where the workers are, and how many."""

    workers: int | None = None
    """None: one per GPU of the cluster, or per CPU core where it has no GPU."""
    address: str | None = None
    """Of a running Ray cluster ("auto": the one this machine belongs to); None starts one for this run alone."""
    device: str = "auto"
    dtype: str = "auto"
    format: str | None = None

    def __post_init__(self) -> None:
        """Refuse what cannot be placed.

        Raises:
            ConfigError: fewer than one worker.
        """
        if self.workers is not None and self.workers < 1:
            raise ConfigError(f"num-workers is {self.workers}: use 1 or more")


class Worker:
    """A model in a process of its own; Ray makes one per device."""

    def __init__(
        self, cluster: Cluster, description: dict[str, Any], data: TrainingData | None, config: LoopConfig
    ) -> None:
        """Load the model and compare it with the driver's; it writes for itself, or learns from the data.

        Raises:
            ModelError: it cannot be loaded, or is another.
        """
        self._model = load(description["spec"], device=cluster.device, dtype=cluster.dtype, format=cluster.format)
        found = self._model.describe()
        if found != description:
            differing = sorted(key for key in description if found.get(key) != description[key])
            raise ModelError(
                f"a worker's model differs from the driver's in {', '.join(differing)}: use equal machines"
            )
        self._config, self._life = config, ExitStack()
        self._seal = WeightsIntegrity(self._model)
        # Where one adapter serves the whole run each worker trains it; the same seed trains the same one.
        self._speaker, self._source = self._life.enter_context(ready(self._model, data or self._model, config))

    def answer(self, batch: Sequence[tuple[Input, int]]) -> list[Episode]:
        """The episodes of one batch.

        Raises:
            ModelError: the base's weights have changed.
        """
        told = answer(batch, self._speaker, self._source, self._config)
        self._seal.check()
        return told


def there(cluster: Cluster, model: Model, writer: Writer) -> Solve:
    """Batches done by the workers of a Ray cluster.

    Raises:
        ConfigError: there is a teacher; or, when a batch is asked for, Ray is not installed, or there is no cluster at
            the address.
        ModelError: a worker cannot load the model, or a batch killed its worker again and again.
    """
    data = writer if isinstance(writer, TrainingData) else None
    if data is None and writer is not model:
        raise ConfigError("a teacher is asked by one process: leave --num-workers and --ray out")

    def solve(batches: Iterator[Batch], config: LoopConfig) -> Iterator[tuple[Batch, list[Episode]]]:
        with _connected(cluster) as ray:
            yield from _Crew(ray, cluster, (model.describe(), data, config)).do(batches)

    return solve


class _Crew:
    """The workers, and which batches they have."""

    def __init__(
        self, ray: Any, cluster: Cluster, work: tuple[dict[str, Any], TrainingData | None, LoopConfig]
    ) -> None:
        self._ray = ray
        resources = ray.cluster_resources()
        gpus = int(resources.get("GPU", 0)) if cluster.device != "cpu" else 0
        count = cluster.workers or gpus or int(resources.get("CPU", 1))
        # More workers than GPUs share them.
        kind = ray.remote(num_cpus=1, num_gpus=min(1.0, gpus / count))(Worker)
        self._new: Callable[[], Any] = lambda: kind.remote(cluster, *work)
        self._workers = [self._new() for _ in range(count)]
        self._under_way: dict[Any, tuple[int, Any, Batch]] = {}
        self._lost: deque[Batch] = deque()
        self._losses: Counter[int] = Counter()
        """Position of a batch's first input -> how often its worker died."""

    def do(self, batches: Iterator[Batch]) -> Iterator[tuple[Batch, list[Episode]]]:
        """Hand out batches for as long as there are any, and yield what comes back."""
        for _ in range(AHEAD):
            for number in range(len(self._workers)):
                self._hand_out(number, batches)
        while self._under_way:
            [done], _ = self._ray.wait(list(self._under_way))
            number, worker, batch = self._under_way.pop(done)
            try:
                episodes = self._ray.get(done)
            except self._ray.exceptions.RayTaskError as error:
                raise error.cause from None  # what the worker raised, as if it had been raised here
            except self._ray.exceptions.RayActorError as error:
                self._replace(number, worker, batch, error)
            else:
                yield batch, episodes
            self._hand_out(number, batches)

    def _hand_out(self, number: int, batches: Iterator[Batch]) -> None:
        batch = self._lost.popleft() if self._lost else next(batches, None)
        if batch is not None:
            worker = self._workers[number]
            asked = [(place.sample.input, place.repeat) for place in batch]
            self._under_way[worker.answer.remote(asked)] = (number, worker, batch)

    def _replace(self, number: int, worker: Any, batch: Batch, error: Exception) -> None:
        """A worker is dead or out of reach: its batch is owed again, and Ray finds a place for a new worker."""
        first = batch[0]
        self._losses[first.position] += 1
        reason = str(error).strip().splitlines()[-1][:300]
        if self._losses[first.position] > RETRIES:
            raise ModelError(
                f"{RETRIES + 1} workers were lost with the batch of input {first.sample.input.id!r} ({reason}); "
                "what is recorded is kept, go on with --resume"
            ) from error
        log.warning("worker lost worker=%d batch_first=%r: its batch goes to another", number, first.sample.input.id)
        self._lost.append(batch)
        if self._workers[number] is worker:  # its second batch comes back lost, too
            self._ray.kill(worker)  # in case it lives and only its machine is out of reach
            self._workers[number] = self._new()


@contextmanager
def _connected(cluster: Cluster) -> Iterator[Any]:
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"  # nothing is reported to anybody
    try:
        import ray
    except ImportError:
        raise ConfigError("more than one worker needs Ray: pip install 'ttsi[ray]'") from None
    address = cluster.address
    with _handlers_kept():
        try:
            quiet: dict[str, Any] = {"log_to_driver": False, "configure_logging": False}
            if address is None:  # "local": otherwise Ray would join any cluster that it finds on this machine
                ray.init("local", num_cpus=cluster.workers, include_dashboard=False, **quiet)
            else:
                ray.init(address, **quiet)
        except Exception as error:  # Ray raises plain ones, too
            reason = " ".join(str(error).split())[:200]
            where = "be started on this machine" if address is None else f"be reached at {address}"
            raise ConfigError(f"no Ray cluster can {where} ({reason}): see docs/cluster.md") from error
    try:
        yield ray
    finally:
        ray.shutdown()  # ends the workers too; a cluster that was there before stays


@contextmanager
def _handlers_kept() -> Iterator[None]:
    """Ray takes SIGTERM for itself; it is the runner's, to finish the batches that are under way."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
