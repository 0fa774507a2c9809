"""Checkpoints of a long training, from which an interrupted one goes on with the same bits.

Inputs: a place for one file; the job, the settings and the fresh adapter; after each step the adapter and the state of
its optimizer. Outputs: the file, once a minute and at Ctrl-C; the steps that a kept file holds already. The file names
what is trained by a hash, so that another training starts anew. The paper (arXiv:2510.07841) trains for seconds.
"""

from __future__ import annotations

import hashlib
import logging
import time
from dataclasses import asdict
from typing import Protocol

import torch
from torch import Tensor

from ttsi.engine.engine_config import EngineConfig
from ttsi.engine.optimizer import AdapterRun, OptimizerState
from ttsi.engine.peft_folder import read_safetensors, to_safetensors
from ttsi.engine.training_job import TrainingJob
from ttsi.errors import ModelError, first_line

log = logging.getLogger(__name__)

SECONDS_BETWEEN = 60.0
"""Time between two checkpoints: being killed costs as much, and the step under way. Ctrl-C costs the step alone."""


class CheckpointStore(Protocol):
    """A place that keeps one checkpoint."""

    def read(self) -> bytes | None:
        """The kept file; None where there is none."""
        ...

    def write(self, file: bytes) -> None:
        """Keep this file in place of the last one."""
        ...


class Checkpoints:
    """The checkpoints of one adapter's training."""

    def __init__(self, store: CheckpointStore, job: TrainingJob, config: EngineConfig, fresh_P: Tensor) -> None:
        """Checkpoints of a training that starts from these numbers of the adapter.

        Raises:
            ValueError: the job holds examples back, which a checkpoint knows nothing of.
        """
        if job.held_back:
            raise ValueError("a training with held-back examples has no checkpoints")
        self._store, self._digest = store, _digest(job, config, fresh_P)
        self._begun = self._last = time.monotonic()
        self._state: dict[str, Tensor] = {}
        self.earlier_seconds = 0.0
        """Seconds of training up to the checkpoint from which it goes on."""

    def resume(self, run: AdapterRun, state: OptimizerState) -> int:
        """Put what the kept file holds into the run and the state; the steps that it holds, 0 where it is of no use."""
        try:
            if (file := self._store.read()) is None:
                return 0
            kept = read_safetensors(file)
            if kept["training"].tolist() != list(self._digest):
                log.warning("the checkpoint is of another training: this one starts anew")
                return 0
            pairs = [(tensor_BP, kept[name].view_as(tensor_BP)) for name, tensor_BP in _tensors(state).items()]
            losses, norms = kept["losses"].tolist(), kept["grad_norms"].tolist()
            seconds = float(kept["seconds"])
        except (OSError, ModelError, KeyError, RuntimeError) as error:
            log.warning("the checkpoint is damaged, and the training starts anew (%s)", first_line(error))
            return 0
        for tensor_BP, kept_BP in pairs:
            tensor_BP.copy_(kept_BP)
        run.losses, run.grad_norms, self.earlier_seconds = losses, norms, seconds
        return len(losses)

    def record(self, run: AdapterRun, state: OptimizerState) -> None:
        """Remember the state after a step, and keep it if the last checkpoint is old enough."""
        if run.reason:
            return
        self._state = {name: tensor_BP.to("cpu", copy=True) for name, tensor_BP in _tensors(state).items()}
        self._state["losses"] = torch.tensor(run.losses, dtype=torch.float64)
        self._state["grad_norms"] = torch.tensor(run.grad_norms, dtype=torch.float64)
        self._state["seconds"] = torch.tensor(self.earlier_seconds + time.monotonic() - self._begun)
        if time.monotonic() - self._last >= SECONDS_BETWEEN:
            self.keep()

    def keep(self) -> None:
        """Keep the state after the last whole step; a full disk does not end the training."""
        if not self._state:
            return
        self._state["training"] = torch.tensor(list(self._digest), dtype=torch.uint8)
        try:
            self._store.write(to_safetensors(self._state, {}))
        except OSError as error:
            log.warning("no checkpoint is kept (%s)", first_line(error))
        self._last = time.monotonic()


def _tensors(state: OptimizerState) -> dict[str, Tensor]:
    return {"adapter": state.values_BP, "first_moment": state.first_BP, "second_moment": state.second_BP}


def _digest(job: TrainingJob, config: EngineConfig, fresh_P: Tensor) -> bytes:
    """SHA-256 of all that decides the training but the base's weights, which the caller answers for."""
    objective = f"{config.objective.__module__}.{config.objective.__qualname__}"
    settings = sorted({**asdict(config), "objective": objective}.items())
    digest = hashlib.sha256(repr((job, settings)).encode())
    digest.update(fresh_P.cpu().numpy().tobytes())
    return digest.digest()
