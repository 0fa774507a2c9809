"""The temporary adapters of a model in this process: one per job, trained together, dropped at the end of a block.

Inputs: the jobs' examples as token ids, the settings, a seed per job. Outputs: one `Adaptation` per job, and the slot
of each adapter that may be used. Storage is kept between blocks and zeroed in between.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from typing import Any

from torch import Tensor
from transformers import PreTrainedModel

from ttsi.config import AdaptationConfig
from ttsi.engine.batching import is_out_of_memory
from ttsi.engine.engine_config import EngineConfig
from ttsi.engine.lora import LoraStack
from ttsi.engine.objective import OBJECTIVES
from ttsi.engine.optimizer import TrainReport
from ttsi.engine.packing import EncodedExample
from ttsi.engine.prefix import PrefixCache
from ttsi.engine.training import TrainingJob, train
from ttsi.errors import ModelError
from ttsi.object_reference import load_function, resolve
from ttsi.types import Adaptation


def engine_config(config: AdaptationConfig) -> EngineConfig:
    """The settings of the adaptation that the engine needs; they have the same names there.

    Raises:
        ConfigError: there is no such objective.
    """
    shared = {field.name for field in fields(EngineConfig)} & {field.name for field in fields(AdaptationConfig)}
    settings = {name: getattr(config, name) for name in shared - {"objective"}}
    name = getattr(config, "objective", "cross-entropy")
    return EngineConfig(**settings, objective=resolve("objective", name, OBJECTIVES, load_function))


@dataclass(frozen=True)
class SharedBeginning:
    """What an input's prompt and its examples begin with, up to the user's turn: an adapter of scope suffix acts behind
    it."""

    ids: tuple[int, ...] = ()
    invocation: tuple[int, ...] = ()
    """The tokens behind it that all of them share: they open the user's turn (PEFT's `alora_invocation_tokens`)."""


NO_BEGINNING = SharedBeginning()


class TemporaryAdapters:
    """The adapters of one model."""

    def __init__(self, model: PreTrainedModel) -> None:
        self._model = model
        self.stack: LoraStack | None = None
        """The storage of the last block, for the next one."""
        self.slots: dict[int, int] | None = None
        """Job -> slot; None outside a block."""
        self._beginnings: Sequence[SharedBeginning] = ()
        """One per job of the block."""

    @contextmanager
    def trained(
        self,
        examples: Sequence[Sequence[EncodedExample]],
        counts: Sequence[int],
        config: AdaptationConfig,
        seeds: Sequence[int],
        beginnings: Sequence[SharedBeginning] = (),
        prefixes: PrefixCache | None = None,
    ) -> Iterator[list[Adaptation]]:
        """Train one adapter per job; leaving the block, in whatever way, drops them.

        Args:
            examples: those of each job that fit the model.
            counts: how many examples each job had before.
            config: the settings.
            seeds: one per job.
            beginnings: what each job's adapter does not act on; by default nothing.
            prefixes: keys and values of prompts that the base has read.

        Raises:
            ModelError: within another such block, or the adapters do not fit the memory.
        """
        if self.slots is not None:
            raise ModelError("`adapted` blocks cannot be nested")
        if len(seeds) != len(examples):
            raise ValueError(f"{len(examples)} jobs, but {len(seeds)} seeds")
        indices = [index for index, encoded in enumerate(examples) if encoded]
        self.slots = {}
        self._beginnings = beginnings or [NO_BEGINNING] * len(examples)
        stack = None
        try:
            outcomes = [without_training(count) for count in counts]
            if indices:
                stack = self._stack_for(len(indices), config)
                stack.attach()
                stack.reset(range(len(indices)), [seeds[index] for index in indices])
                jobs = [
                    TrainingJob(slot, tuple(examples[index]), len(self._beginnings[index].ids))
                    for slot, index in enumerate(indices)
                ]
                reports = train(stack, jobs, engine_config(config), prefixes=prefixes)
                for index, job, report in zip(indices, jobs, reports, strict=True):
                    outcomes[index] = with_training(job, report, counts[index] - len(job.examples))
                    if report.ok:
                        self.slots[index] = job.slot
            yield outcomes
        finally:
            self.slots, self._beginnings = None, ()
            if stack is not None:
                stack.detach()
                stack.clear()

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

    def unadapted_tokens(self, index: int | None, ids: Sequence[int]) -> int:
        """Tokens at the beginning of a prompt on which a job's adapter does not act.

        Raises:
            ModelError: the prompt does not begin like the job's examples.
        """
        if self.slot(index) < 0 or index is None:
            return 0
        beginning = self._beginnings[index].ids
        if tuple(ids[: len(beginning)]) != beginning or len(ids) == len(beginning):
            raise ModelError(
                f"adapter {index} acts behind the beginning of its examples, and this prompt begins otherwise: "
                "give the examples the prompt (`input_prompt`), or use adaptation.scope all"
            )
        return len(beginning)

    def export(self, index: int) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """(tensors, adapter_config) of a job's adapter in PEFT's format.

        Raises:
            ModelError: the job has no adapter.
        """
        slot = (self.slots or {}).get(index)
        if slot is None or self.stack is None:
            raise ModelError(f"job {index} has no adapter to export")
        tensors, settings = self.stack.export(slot)
        invocation = self._beginnings[index].invocation
        return tensors, settings | ({"alora_invocation_tokens": list(invocation)} if invocation else {})

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


def with_training(job: TrainingJob, report: TrainReport, left_out: int) -> Adaptation:
    """The record of a job that was trained; `left_out` of its examples did not fit."""
    status: Any = "trained" if report.ok else "training-failed"
    steps, unadapted = len(report.losses), job.unadapted
    return Adaptation(status, len(job.examples), steps, report.losses, report.reason, left_out, unadapted)
