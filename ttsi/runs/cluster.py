"""Ray executor: the batches of a run on many devices or machines.

Inputs: batches of the plan, the model's spec, a number of workers, the address of a Ray cluster or none. Outputs: each
batch with its episodes, as they come in (a `ttsi.runs.executor.Executor`). Ray (extra `ray`) places one model per
worker. A worker that dies or is out of reach is replaced, on another node if necessary, and its batch is given to
another worker ("at least once"). The driver, the run's only writer, makes it "exactly once" by the key of the row.
(Ray's own retries are not used: they are spent before it notices that a node is gone.)

* Batches follow from the plan and not from the load, so the results do not depend on the number of workers.
* Each worker has one batch and one more waiting: a slow worker delays nobody, and the driver holds little in memory.
* A worker whose model differs from the driver's in one bit refuses to start; after each batch it checks its base.
* Test gold stays with the driver. Ray's usage reports are switched off.

Anyone who can reach a Ray cluster can run code on it (`docs/cluster.md`).
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
from ttsi.runs.executor import Executor, answer_batch, prepared
from ttsi.runs.integrity import WeightsIntegrity
from ttsi.runs.plan import Batch
from ttsi.types import Episode, Input, TrainingData

log = logging.getLogger(__name__)

MAX_RETRIES = 3
"""Workers that a batch may still be given to after the loss of its first one; then the batch is at fault."""
BATCHES_IN_FLIGHT = 2
"""Per worker: one in progress, one waiting."""


@dataclass(frozen=True)
class Cluster:
    """A number of workers, and the Ray cluster that they run on."""

    workers: int | None = None
    """None: one per GPU of the cluster, or per CPU core where it has no GPU."""
    address: str | None = None
    """Of a running Ray cluster ("auto": the one this machine belongs to); None starts one for this run alone."""
    device: str = "auto"
    dtype: str = "auto"
    format: str | None = None

    def __post_init__(self) -> None:
        """Check the number of workers.

        Raises:
            ConfigError: it is below one.
        """
        if self.workers is not None and self.workers < 1:
            raise ConfigError(f"num-workers is {self.workers}: use 1 or more")


class RayWorker:
    """A model in a process of its own; Ray makes one per device."""

    def __init__(
        self, cluster: Cluster, description: dict[str, Any], data: TrainingData | None, config: LoopConfig
    ) -> None:
        """Load the model and compare it with the driver's; without data it writes its own examples.

        Raises:
            ModelError: it cannot be loaded, or differs.
        """
        self._model = load(description["spec"], device=cluster.device, dtype=cluster.dtype, format=cluster.format)
        actual = self._model.describe()
        if actual != description:
            differing = sorted(key for key in description if actual.get(key) != description[key])
            raise ModelError(
                f"a worker's model differs from the driver's in {', '.join(differing)}: use equal machines"
            )
        self._config, self._life = config, ExitStack()
        self._integrity = WeightsIntegrity(self._model)
        # Where one adapter serves the whole run each worker trains it; the same seed trains the same one.
        block = prepared(self._model, data or self._model, config)
        self._run_model, self._run_writer = self._life.enter_context(block)

    def answer(self, batch: Sequence[tuple[Input, int]]) -> list[Episode]:
        """The episodes of one batch.

        Raises:
            ModelError: the base's weights have changed.
        """
        episodes = answer_batch(batch, self._run_model, self._run_writer, self._config)
        self._integrity.check()
        return episodes


def ray_executor(cluster: Cluster, model: Model, writer: Writer) -> Executor:
    """Batches done by the workers of a Ray cluster.

    Raises:
        ConfigError: there is a teacher; or, when a batch is taken, Ray is not installed, or there is no cluster at
            the address.
        ModelError: a worker cannot load the model, or a batch killed its worker again and again.
    """
    data = writer if isinstance(writer, TrainingData) else None
    if data is None and writer is not model:
        raise ConfigError("a teacher works with one process only: leave --num-workers and --ray out")

    def execute(batches: Iterator[Batch], config: LoopConfig) -> Iterator[tuple[Batch, list[Episode]]]:
        with _connected(cluster) as ray:
            yield from _WorkerPool(ray, cluster, (model.describe(), data, config)).process(batches)

    return execute


class _WorkerPool:
    """The workers, and the batches that each of them has."""

    def __init__(
        self, ray: Any, cluster: Cluster, task: tuple[dict[str, Any], TrainingData | None, LoopConfig]
    ) -> None:
        self._ray = ray
        resources = ray.cluster_resources()
        gpus = int(resources.get("GPU", 0)) if cluster.device != "cpu" else 0
        count = cluster.workers or gpus or int(resources.get("CPU", 1))
        # More workers than GPUs share them.
        kind = ray.remote(num_cpus=1, num_gpus=min(1.0, gpus / count))(RayWorker)
        self._new: Callable[[], Any] = lambda: kind.remote(cluster, *task)
        self._workers = [self._new() for _ in range(count)]
        self._under_way: dict[Any, tuple[int, Any, Batch]] = {}
        self._lost: deque[Batch] = deque()
        self._losses: Counter[int] = Counter()
        """Position of a batch's first input -> number of workers lost with it."""

    def process(self, batches: Iterator[Batch]) -> Iterator[tuple[Batch, list[Episode]]]:
        """Hand out all batches, and yield each one with its episodes as it comes back."""
        for _ in range(BATCHES_IN_FLIGHT):
            for number in range(len(self._workers)):
                self._hand_out(number, batches)
        while self._under_way:
            [done], _ = self._ray.wait(list(self._under_way))
            number, worker, batch = self._under_way.pop(done)
            try:
                episodes = self._ray.get(done)
            except self._ray.exceptions.RayTaskError as error:
                raise error.cause from None  # the worker's own exception
            except self._ray.exceptions.RayActorError as error:
                self._replace(number, worker, batch, error)
            else:
                yield batch, episodes
            self._hand_out(number, batches)

    def _hand_out(self, number: int, batches: Iterator[Batch]) -> None:
        batch = self._lost.popleft() if self._lost else next(batches, None)
        if batch is not None:
            worker = self._workers[number]
            pairs = [(item.sample.input, item.repeat) for item in batch]
            self._under_way[worker.answer.remote(pairs)] = (number, worker, batch)

    def _replace(self, number: int, worker: Any, batch: Batch, error: Exception) -> None:
        """Give the batch of a worker that is dead or out of reach to others, and start a new worker."""
        first = batch[0]
        self._losses[first.position] += 1
        reason = str(error).strip().splitlines()[-1][:300]
        if self._losses[first.position] > MAX_RETRIES:
            raise ModelError(
                f"{MAX_RETRIES + 1} workers were lost with the batch of input {first.sample.input.id!r} ({reason}); "
                "what is recorded is kept, go on with --resume"
            ) from error
        log.warning("worker lost worker=%d batch_first=%r: its batch goes to another", number, first.sample.input.id)
        self._lost.append(batch)
        if self._workers[number] is worker:  # its second batch comes back lost, too
            self._ray.kill(worker)  # in case it lives and only its machine is out of reach
            self._workers[number] = self._new()


@contextmanager
def _connected(cluster: Cluster) -> Iterator[Any]:
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
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
        except Exception as error:  # Ray raises plain exceptions, too
            reason = " ".join(str(error).split())[:200]
            where = "be started on this machine" if address is None else f"be reached at {address}"
            raise ConfigError(f"no Ray cluster can {where} ({reason}): see docs/cluster.md") from error
    try:
        yield ray
    finally:
        ray.shutdown()  # ends the workers too; a cluster that was there before stays


@contextmanager
def _handlers_kept() -> Iterator[None]:
    """Keep the runner's SIGTERM handler, which finishes the batches under way; Ray installs its own."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
