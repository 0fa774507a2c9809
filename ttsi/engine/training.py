"""Training of many small adapters at once, each as if it were alone.

    train             a causal language model, jobs of (prompt, labels) examples
    train_with_loss   any module, with the caller's own loss per adapter

Inputs: attached adapters and what each one learns. Outputs: trained slots and one report per adapter. The optimizer
keeps adapters apart (`ttsi.engine.optimizer`). The examples of one adapter's step share a row
(`ttsi.engine.packing`). The paper (arXiv:2510.07841) trains one adapter after another, with batch size 1
(`batch_size=1` here).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence
from transformers import Cache, PreTrainedModel

from ttsi.engine import optimizer
from ttsi.engine.batching import SATURATING_TOKENS, groups, is_out_of_memory, pass_tokens
from ttsi.engine.engine_config import EngineConfig
from ttsi.engine.lora import LoraStack
from ttsi.engine.objective import Objective
from ttsi.engine.optimizer import AdapterRun, OptimizerState, TrainReport
from ttsi.engine.packing import EncodedExample, PackedBatch, PackedRow, collate, label_logprobs, pack
from ttsi.engine.prefix import CachedPrompt, PrefixCache, cache_of, shallow_copy
from ttsi.engine.schedule import learning_rates
from ttsi.engine.targets import is_language_model
from ttsi.engine.windows import spans_of
from ttsi.errors import ConfigError, ModelError


@dataclass(frozen=True)
class TrainingJob:
    """What one adapter learns: its slot, and (token ids, length of the prompt) per example."""

    slot: int
    examples: tuple[EncodedExample, ...]
    unadapted: int = 0
    """Tokens at the beginning of every example, the same in all of them, on which the adapter does not act."""


@dataclass
class _JobRun(AdapterRun):
    """A job under way, with its packed examples."""

    rows: tuple[PackedRow, ...] = ()
    """One per optimizer step of an epoch."""
    start: CachedPrompt = field(default_factory=lambda: CachedPrompt(()))
    """The tokens on which the adapter does not act, as the base reads them."""


@dataclass
class _Chunk:
    """Jobs that share forward passes, with the state of their optimizer."""

    runs: list[_JobRun]
    state: OptimizerState

    def cache(self) -> tuple[Cache, int]:
        """What the base read of each run's beginning, and the length of the longest."""
        return cache_of([run.start for run in self.runs])

    def select(self, rows: list[int]) -> _Chunk:
        return _Chunk([self.runs[row] for row in rows], self.state.select(rows))


def train(
    stack: LoraStack,
    jobs: Sequence[TrainingJob],
    config: EngineConfig,
    *,
    prefixes: PrefixCache | None = None,
    token_budget: int | None = None,
) -> list[TrainReport]:
    """Train the adapters in the jobs' slots from what the slots hold now; reports in the order of the jobs.

    Args:
        stack: attached to a causal language model; the caller resets its slots. The slot of a rejected adapter is left
            in any state.
        jobs: no slot twice.
        config: learning rate, epochs, batch size, clipping, weight decay, objective.
        prefixes: keys and values of prompts that the base has read; the beginnings on which no adapter acts are added.
        token_budget: packed tokens per forward pass, by default what suits the device; changes results by no more than
            rounding.

    Raises:
        ModelError: the model is no causal language model, the adapters are not attached, there is no such slot, or
            torch is in inference mode.
        ConfigError: the adapters were attached with another rank.
        ValueError: the examples of a job do not begin with the same `unadapted` tokens, or one is no longer than them.
    """
    model = _language_model(stack.model)
    stack.check_trainable([job.slot for job in jobs], config.rank)
    runs = [_start(job, config, stack.max_tokens) for job in jobs]
    ready = [run for run in runs if not run.reason]
    cache = prefixes if prefixes is not None else PrefixCache()
    for run, start in zip(ready, cache.start(model, [run.start for run in ready]), strict=True):
        run.start = start
    lengths = [max(len(row.ids_T) for row in run.rows) + _share(run.start.cached) for run in ready]
    for group in groups(lengths, token_budget or pass_tokens(model.device), SATURATING_TOKENS):
        _train_with_oom_backoff(model, stack, [ready[i] for i in group], config)
    return [run.report(config.max_loss_rise) for run in runs]


def train_with_loss(
    stack: LoraStack,
    slots: Sequence[int],
    losses: Callable[[int], Tensor],
    config: EngineConfig,
    *,
    steps: int,
    rows_per_adapter: int = 1,
) -> list[TrainReport]:
    """Train adapters on any module with a loss of one's own; reports in the order of the slots.

    Args:
        stack: attached to a module that keeps the rows of a batch apart; the caller resets its slots.
        slots: the adapters to train, none twice.
        losses: runs the module and returns one loss per slot [B], in the order of `slots`; it is given the step, from
            0. The n-th adapter has the n-th `rows_per_adapter` rows of the module's batch.
        config: learning rate, schedule, clipping, weight decay; `epochs`, `batch_size` and `objective` are not used.
        steps: optimizer steps.
        rows_per_adapter: rows of the batch that each adapter has.

    Raises:
        ModelError: the adapters are not attached, there is no such slot, or torch is in inference mode.
        ConfigError: there is nothing to train, or the adapters were attached with another rank.
        LossError: `losses` does not return one loss per slot, or what has no gradient.
    """
    if steps < 1 or not slots:
        raise ConfigError(f"steps must be at least 1 and slots must not be empty: {steps} steps, {len(slots)} slots")
    stack.check_trainable(slots, config.rank)
    rates = learning_rates(config, steps)
    runs = [AdapterRun(slot, rates) for slot in slots]
    state = OptimizerState.of(stack.values_of(slots))
    for step in range(steps):
        losses_B, grads_BP = optimizer.gradients(stack, state.values_BP, partial(losses, step), rows_per_adapter)
        optimizer.optimizer_step(state, runs, step, losses_B, grads_BP, config)
    _write_back(stack, runs, state)
    return [run.report(config.max_loss_rise) for run in runs]


def _language_model(model: nn.Module) -> PreTrainedModel:
    if not is_language_model(model):
        raise ModelError(f"{type(model).__name__} is no causal language model: train it with `train_with_loss`")
    return model


def _start(job: TrainingJob, config: EngineConfig, max_tokens: int | None) -> _JobRun:
    size = config.batch_size or len(job.examples)
    starts = range(0, len(job.examples), size) if job.examples else ()
    rows = tuple(pack(job.examples[start : start + size], job.unadapted) for start in starts)
    rates = learning_rates(config, config.epochs * len(rows))
    reason = "" if rows and all(row.targets_N for row in rows) else "no label tokens to learn from"
    if max_tokens and any(len(ids) > max_tokens for ids, _ in job.examples):
        reason = f"an example is longer than the {max_tokens} tokens on which the engine is exact with this model"
    return _JobRun(job.slot, rates, reason=reason, rows=rows, start=_beginning(job))


def _beginning(job: TrainingJob) -> CachedPrompt:
    beginnings = {tuple(ids[: job.unadapted]) for ids, _ in job.examples}
    if len(beginnings) > 1:
        raise ValueError(f"the examples of slot {job.slot} do not share their first {job.unadapted} tokens")
    return CachedPrompt(next(iter(beginnings), ()), cached=job.unadapted)


def _share(cached: int) -> int:
    """The tokens of a row that take as much memory as this many in a cache: keys and values are an eighth of it."""
    return -(-cached // 8)


def _train_with_oom_backoff(
    model: PreTrainedModel, stack: LoraStack, runs: list[_JobRun], config: EngineConfig
) -> None:
    """Train a chunk; when memory runs out, its halves one after the other. The stack is written only on success."""
    try:
        return _train_chunk(model, stack, runs, config)
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    for run in runs:
        run.losses, run.grad_norms, run.reason = [], [], ""
    if len(runs) == 1:
        runs[0].reason = "out of memory"
        return None
    middle = len(runs) // 2
    _train_with_oom_backoff(model, stack, runs[:middle], config)
    _train_with_oom_backoff(model, stack, runs[middle:], config)


def _train_chunk(model: PreTrainedModel, stack: LoraStack, runs: list[_JobRun], config: EngineConfig) -> None:
    finished: list[_Chunk] = []
    chunk = _Chunk(runs, OptimizerState.of(stack.values_of([run.slot for run in runs])))
    rows_B: list[PackedRow] = []
    spans, (cache, cache_length) = spans_of(model), chunk.cache()
    for step in range(max(len(run.rates) for run in runs)):
        before, chunk = chunk, _set_finished_aside(chunk, step, finished)
        if not chunk.runs:
            break
        if chunk is not before:
            cache, cache_length = chunk.cache()
        rows_of_step = [run.rows[step % len(run.rows)] for run in chunk.runs]
        if len(rows_of_step) != len(rows_B) or any(a is not b for a, b in zip(rows_of_step, rows_B, strict=True)):
            rows_B, batch = rows_of_step, collate(rows_of_step, model.device, model.dtype, cache_length, spans)
        held = shallow_copy(cache) if cache_length else None

        def losses(batch: PackedBatch = batch, held: Cache | None = held) -> Tensor:
            return _losses(model, batch, held, config.objective)

        losses_B, grads_BP = optimizer.gradients(stack, chunk.state.values_BP, losses)
        optimizer.optimizer_step(chunk.state, chunk.runs, step, losses_B, grads_BP, config)
    for part in [*finished, chunk]:
        _write_back(stack, part.runs, part.state)


def _write_back(stack: LoraStack, runs: Sequence[AdapterRun], state: OptimizerState) -> None:
    """Put the trained values into their slots, except those of rejected adapters."""
    usable = [i for i, run in enumerate(runs) if not run.reason]
    stack.write([runs[i].slot for i in usable], state.values_BP[usable])


def _losses(model: PreTrainedModel, batch: PackedBatch, cache: Cache | None, objective: Objective) -> Tensor:
    """One loss per row [B]."""
    rows = torch.split(label_logprobs(model, batch, cache), list(batch.counts_B))
    counts_B1 = torch.tensor(batch.counts_B, device=rows[0].device)[:, None]
    logprobs_BT = pad_sequence(list(rows), batch_first=True)
    return objective(logprobs_BT, torch.arange(logprobs_BT.shape[1], device=counts_B1.device) < counts_B1)


def _set_finished_aside(chunk: _Chunk, step: int, finished: list[_Chunk]) -> _Chunk:
    """The adapters that train on. Those that have had all their steps go to `finished`; rejected ones are dropped."""
    active = [i for i, run in enumerate(chunk.runs) if not run.reason and step < len(run.rates)]
    if len(active) == len(chunk.runs):
        return chunk
    done = [i for i, run in enumerate(chunk.runs) if not run.reason and step >= len(run.rates)]
    finished.append(chunk.select(done))
    return chunk.select(active)
