"""The temporary adapters of a model in this process: one per job, trained together, dropped at the end of a block.

Inputs: the jobs' examples as token ids, the settings, a seed per job. Outputs: one `Adaptation` per job, and the slot
of each adapter that may be used. Storage is kept between blocks and zeroed in between.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import fields, replace
from typing import Any

from torch import Tensor
from transformers import PreTrainedModel

from ttsi.config import AdaptationConfig
from ttsi.engine.anatomy import parameter_count
from ttsi.engine.batching import is_out_of_memory
from ttsi.engine.checkpoint import CheckpointStore
from ttsi.engine.checksum import adapter_sha256
from ttsi.engine.engine_config import EngineConfig
from ttsi.engine.lora import LoraStack
from ttsi.engine.objective import OBJECTIVES
from ttsi.engine.optimizer import TrainReport
from ttsi.engine.peft_folder import read_safetensors
from ttsi.engine.prefix import PrefixCache
from ttsi.engine.training import train
from ttsi.engine.training_job import TrainingJob
from ttsi.errors import ModelError
from ttsi.models.adapted_prefixes import AdapterKey
from ttsi.models.adapter_files import ACTIVATED, adapter_config
from ttsi.object_reference import load_function, resolve
from ttsi.types import Adaptation

LARGEST_RATE = 2e-3
"""Peak learning rate of a model of `REFERENCE_PARAMETERS` or fewer, for the three steps of `ttsi`."""
REFERENCE_PARAMETERS = 135e6


def learning_rate(parameters: int) -> float:
    """The peak learning rate for a model of this size: it falls with the square root of the number of parameters.

    Chosen on validation rows at 135 million and half a billion parameters, where 2e-3 makes the loss of most adapters
    rise again and 5e-4 to 1e-3 gain alike (dev/log.md). At 7 billion the rule meets LoRA's usual best of 3e-4
    (tinker-cookbook, sft_sweep.md).

    >>> [f"{learning_rate(size * 10**6):.1e}" for size in (100, 494, 1500, 7600)]
    ['2.0e-03', '1.0e-03', '6.0e-04', '2.7e-04']
    """
    return LARGEST_RATE * min(1.0, math.sqrt(REFERENCE_PARAMETERS / parameters))


def engine_config(config: AdaptationConfig, parameters: int) -> EngineConfig:
    """The settings of the adaptation that the engine needs; they have the same names there.

    Args:
        config: the settings.
        parameters: of the model, where they choose the learning rate.

    Raises:
        ConfigError: there is no such objective.
    """
    shared = {field.name for field in fields(EngineConfig)} & {field.name for field in fields(AdaptationConfig)}
    settings = {name: getattr(config, name) for name in shared - {"objective"}}
    if config.lr is None:
        settings["lr"] = learning_rate(parameters)
    name = getattr(config, "objective", "cross-entropy")
    return EngineConfig(**settings, objective=resolve("objective", name, OBJECTIVES, load_function))


NOTHING_HELD_BACK = "too few examples to hold any back: the last step's adapter answers"
"""Stands in the record of an adapter that was to be chosen by held-back examples and was not."""

PeftAdapter = tuple[Mapping[str, Tensor], Mapping[str, Any]]
"""(tensors, adapter_config) in PEFT's format."""

UserTurn = Callable[[Sequence[int]], tuple[int, tuple[int, ...]]]
"""Prompt -> (where its first user's turn opens, the tokens that open it); (0, ()) where none can be seen."""


def read_adapter(file: bytes) -> PeftAdapter:
    """The adapter in a safetensors file whose header holds its settings.

    Raises:
        ModelError: it is no such file.
    """
    tensors = read_safetensors(file)
    try:
        return tensors, adapter_config(file)
    except ValueError as error:
        raise ModelError(str(error)) from None


class TemporaryAdapters:
    """The adapters of one model."""

    def __init__(self, model: PreTrainedModel, user_turn: UserTurn) -> None:
        """Adapters on a model.

        Args:
            user_turn: finds where the user's turn of a prompt opens, where an adapter of scope suffix begins to act.
        """
        self._model, self._user_turn = model, user_turn
        self.stack: LoraStack | None = None
        """The storage of the last block, for the next one."""
        self.slots: dict[int, int] | None = None
        """Job -> slot; None outside a block."""
        self._suffix = False
        self._checkpoints: CheckpointStore | None = None
        self._invocations: dict[int, tuple[int, ...]] = {}  # job -> the tokens that open the user's turn
        self._digests: dict[int, str] = {}  # slot -> SHA-256 of its adapter

    @contextmanager
    def trained(
        self,
        encoded: Sequence[TrainingJob],
        counts: Sequence[int],
        config: AdaptationConfig,
        seeds: Sequence[int],
        prefixes: PrefixCache | None = None,
        starts: Sequence[PeftAdapter | None] = (),
    ) -> Iterator[list[Adaptation]]:
        """Train one adapter per job; leaving the block, in whatever way, drops them.

        Args:
            encoded: the jobs, of their examples those that fit the model; their slots do not count.
            counts: how many examples each job had before.
            config: the settings.
            seeds: one per job.
            prefixes: keys and values of prompts that the base has read.
            starts: per job, the adapter from which its training starts, as `export` gives it; None is a fresh adapter,
                and () is fresh ones for all.

        Raises:
            ModelError: within another such block, the adapters do not fit the memory, or a start is of another model
                or other settings.
        """
        if len(seeds) != len(encoded) or len(starts) not in (0, len(encoded)):
            raise ValueError(f"{len(encoded)} jobs, but {len(seeds)} seeds and {len(starts)} starts")
        indices = [index for index, job in enumerate(encoded) if len(job.examples) > job.held_back]
        with self._attached(len(indices), config) as (stack, slots):
            outcomes = [without_training(count) for count in counts]
            if stack is not None:
                stack.reset(range(len(indices)), [seeds[index] for index in indices])
                for slot, index in enumerate(indices):
                    if starts and (start := starts[index]) is not None:
                        self._load(stack, slot, start)
                jobs = [self._job(slot, index, encoded[index]) for slot, index in enumerate(indices)]
                settings = engine_config(config, parameter_count(self._model))
                store = self._checkpoints if len(jobs) == 1 and not jobs[0].held_back else None
                reports = train(stack, jobs, settings, prefixes=prefixes, checkpoint_store=store)
                for index, job, report in zip(indices, jobs, reports, strict=True):
                    outcomes[index] = with_training(job, report, counts[index] - len(job.examples), settings.lr)
                    if config.held_back and not job.held_back and report.ok:
                        outcomes[index] = replace(outcomes[index], reason=NOTHING_HELD_BACK)
                    if report.ok:
                        slots[index] = job.slot
                        self._digests[job.slot] = adapter_sha256(stack.values_SP[job.slot])
                        outcomes[index] = replace(outcomes[index], adapter_sha256=self._digests[job.slot])
            yield outcomes

    @contextmanager
    def checkpointed(self, store: CheckpointStore) -> Iterator[None]:
        """Within the block the training of a single job keeps its state in the store, and starts from what is there."""
        before, self._checkpoints = self._checkpoints, store
        try:
            yield
        finally:
            self._checkpoints = before

    @contextmanager
    def loaded(self, adapters: Sequence[PeftAdapter], config: AdaptationConfig) -> Iterator[None]:
        """Put trained adapters back, each under its place; leaving the block, in whatever way, drops them.

        Args:
            adapters: tensors and adapter_config of each, as `export` gives them.
            config: the settings with which they were trained.

        Raises:
            ModelError: within another such block, an adapter is of another model or other settings, or they do not fit
                the memory.
        """
        with self._attached(len(adapters), config) as (stack, slots):
            for slot, adapter in enumerate(adapters):
                assert stack is not None
                self._load(stack, slot, adapter)
                slots[slot], self._digests[slot] = slot, adapter_sha256(stack.values_SP[slot])
            yield

    @contextmanager
    def _attached(self, count: int, config: AdaptationConfig) -> Iterator[tuple[LoraStack | None, dict[int, int]]]:
        """So many slots on the model, and the table that `slot` reads; (None, an empty table) where there is none."""
        if self.slots is not None:
            raise ModelError("`adapted` blocks cannot be nested")
        self.slots, self._suffix, self._invocations, self._digests = {}, config.scope == "suffix", {}, {}
        stack = None
        try:
            if count:
                stack = self._stack_for(count, config)
                stack.attach()
            yield stack, self.slots
        finally:
            self.slots, self._suffix, self._invocations, self._digests = None, False, {}, {}
            if stack is not None:
                stack.detach()
                stack.clear()

    def _load(self, stack: LoraStack, slot: int, adapter: PeftAdapter) -> None:
        tensors, settings = adapter
        if settings.get(ACTIVATED) and not self._suffix:
            raise ModelError(f"the adapter does not fit: it acts on a part of the prompt ({ACTIVATED}), not on all")
        stack.load(slot, tensors, settings)

    def slot(self, index: int | None) -> int:
        """The slot of a job's adapter; -1 where it has none, or where no job is named.

        Raises:
            ModelError: a job is named outside of a block.
        """
        if index is None:
            return -1
        if self.slots is None:
            raise ModelError("a request names an adapter outside the `adapted` block")
        return self.slots.get(index, -1)

    def _job(self, slot: int, index: int, encoded: TrainingJob) -> TrainingJob:
        if not self._suffix:
            return replace(encoded, slot=slot)
        turns = [self._user_turn(ids[:n_prompt]) for ids, n_prompt in encoded.examples]
        self._invocations[index] = turns[0][1]
        return replace(encoded, slot=slot, unadapted=tuple(at for at, _ in turns))

    def unadapted_tokens(self, index: int | None, ids: Sequence[int]) -> int:
        """The tokens at the beginning of a prompt on which a job's adapter does not act."""
        return self._user_turn(ids)[0] if self._suffix and self.slot(index) >= 0 else 0

    def key(self, slot: int, unadapted: int) -> AdapterKey:
        """What identifies the function that a slot's adapter computes behind so many tokens of the base."""
        assert self.stack is not None
        return self._digests[slot], self.stack.alpha, unadapted

    def export(self, index: int) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """(tensors, adapter_config) of a job's adapter in PEFT's format.

        With scope suffix, PEFT's adapter begins to act where `alora_invocation_tokens` stand for the last time in a
        prompt: as here in a prompt with one user's turn, later in one with several.

        Raises:
            ModelError: the job has no adapter.
        """
        slot = (self.slots or {}).get(index)
        if slot is None or self.stack is None:
            raise ModelError(f"job {index} has no adapter to export")
        tensors, settings = self.stack.export(slot)
        invocation = self._invocations.get(index)
        return tensors, settings | ({ACTIVATED: list(invocation)} if invocation else {})

    def _stack_for(self, slots: int, config: AdaptationConfig) -> LoraStack:
        """The stack of the last block where it is large enough, else a new one."""
        if self.stack is None or self.stack.rank != config.rank or self.stack.slots < slots:
            self.stack = None  # first free the old one
            try:
                self.stack = LoraStack(self._model, slots, config.rank, config.alpha)
            except RuntimeError as error:
                if not is_out_of_memory(error):
                    raise
                raise ModelError(f"{slots} adapters do not fit the memory: lower the batch size or the rank") from error
        self.stack.alpha = config.alpha
        return self.stack


def without_training(count: int) -> Adaptation:
    """The record of a job of which nothing could be trained: it had no examples, or none that fits."""
    if not count:
        return Adaptation("none")
    return Adaptation("training-failed", reason="no example fits the context", left_out=count)


def with_training(job: TrainingJob, report: TrainReport, left_out: int, lr: float) -> Adaptation:
    """The record of a job that was trained; `left_out` of its examples did not fit."""
    status: Any = "trained" if report.ok else "training-failed"
    return Adaptation(
        status,
        samples=len(job.examples) - job.held_back,
        steps=len(report.losses),
        losses=report.losses,
        reason=report.reason,
        left_out=left_out,
        unadapted=min(job.unadapted, default=0),
        held_back_losses=report.held_back_losses,
        lr=lr,
        earlier_seconds=report.earlier_seconds,
    )
