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
from dataclasses import dataclass, replace
from functools import partial
from itertools import accumulate

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
    unadapted: tuple[int, ...] = ()
    """Tokens at the beginning of each example's prompt on which the adapter does not act; () is none."""


@dataclass(frozen=True)
class _Row:
    """Examples with the same beginning on which the adapter does not act."""

    start: CachedPrompt
    """That beginning, as the base reads it."""
    packed: PackedRow
    """What follows it."""

    @property
    def memory(self) -> int:
        """Tokens whose activations take as much memory; keys and values of the beginning take an eighth of them."""
        return len(self.packed.ids_T) + -(-self.start.cached // 8)


@dataclass
class _JobRun(AdapterRun):
    """A job under way, with its packed examples."""

    steps: tuple[tuple[_Row, ...], ...] = ()
    """The rows of each optimizer step of an epoch: one per beginning on which the adapter does not act."""


@dataclass
class _Chunk:
    """Jobs that share forward passes, with the state of their optimizer."""

    runs: list[_JobRun]
    state: OptimizerState

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
        ValueError: an adapter is to act on no token of a prompt, so that nothing of it predicts the first label.
    """
    model = _language_model(stack.model)
    stack.check_trainable([job.slot for job in jobs], config.rank)
    runs = [_start(job, config, stack.max_tokens) for job in jobs]
    ready = [run for run in runs if not run.reason]
    cache = prefixes if prefixes is not None else PrefixCache()
    lengths = [max(len(rows) * max(row.memory for row in rows) for rows in run.steps) for run in ready]
    for group in groups(lengths, token_budget or pass_tokens(model.device), SATURATING_TOKENS):
        _train_with_oom_backoff(model, stack, [ready[i] for i in group], config, cache)
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
    state, rows_B = OptimizerState.of(stack.values_of(slots)), [rows_per_adapter] * len(slots)
    for step in range(steps):
        losses_B, grads_BP = optimizer.gradients(stack, state.values_BP, partial(losses, step), rows_B)
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
    unadapted = job.unadapted or (0,) * len(job.examples)
    steps = tuple(_rows(job.examples[start : start + size], unadapted[start : start + size]) for start in starts)
    rates = learning_rates(config, config.epochs * len(steps))
    reason = "" if steps and all(_has_labels(rows) for rows in steps) else "no label tokens to learn from"
    if max_tokens and any(len(ids) > max_tokens for ids, _ in job.examples):
        reason = f"an example is longer than the {max_tokens} tokens on which the engine is exact with this model"
    return _JobRun(job.slot, rates, reason=reason, steps=steps)


def _rows(examples: Sequence[EncodedExample], unadapted: Sequence[int]) -> tuple[_Row, ...]:
    by_beginning: dict[tuple[int, ...], list[EncodedExample]] = {}
    for example, cached in zip(examples, unadapted, strict=True):
        by_beginning.setdefault(tuple(example[0][:cached]), []).append(example)
    return tuple(
        _Row(CachedPrompt(beginning, cached=len(beginning)), pack(group, len(beginning)))
        for beginning, group in by_beginning.items()
    )


def _has_labels(rows: Sequence[_Row]) -> bool:
    return any(row.packed.targets_N for row in rows)


def _with_beginnings(
    model: PreTrainedModel, runs: Sequence[_JobRun], prefixes: PrefixCache
) -> dict[int, list[tuple[_Row, ...]]]:
    """The steps of each slot, once the base has read what no adapter acts on."""
    rows = [row for run in runs for step in run.steps for row in step]
    starts = iter(prefixes.start(model, [row.start for row in rows]))
    return {run.slot: [tuple(replace(row, start=next(starts)) for row in step) for step in run.steps] for run in runs}


def _train_with_oom_backoff(
    model: PreTrainedModel, stack: LoraStack, runs: list[_JobRun], config: EngineConfig, prefixes: PrefixCache
) -> None:
    """Train a chunk; when memory runs out, its halves one after the other. The stack is written only on success."""
    try:
        return _train_chunk(model, stack, runs, config, prefixes)
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
    _train_with_oom_backoff(model, stack, runs[:middle], config, prefixes)
    _train_with_oom_backoff(model, stack, runs[middle:], config, prefixes)


def _train_chunk(
    model: PreTrainedModel, stack: LoraStack, runs: list[_JobRun], config: EngineConfig, prefixes: PrefixCache
) -> None:
    finished: list[_Chunk] = []
    steps_of = _with_beginnings(model, runs, prefixes)
    chunk = _Chunk(runs, OptimizerState.of(stack.values_of([run.slot for run in runs])))
    steps_B: list[tuple[_Row, ...]] = []
    spans = spans_of(model)
    for step in range(max(len(run.rates) for run in runs)):
        chunk = _set_finished_aside(chunk, step, finished)
        if not chunk.runs:
            break
        following_B = [steps_of[run.slot][step % len(run.steps)] for run in chunk.runs]
        if len(following_B) != len(steps_B) or any(a is not b for a, b in zip(following_B, steps_B, strict=True)):
            steps_B, rows_N = following_B, [row for rows in following_B for row in rows]
            cache, length = cache_of([row.start for row in rows_N])
            batch = collate([row.packed for row in rows_N], model.device, model.dtype, length, spans)
            rows_B = [len(rows) for rows in steps_B]
        held = shallow_copy(cache) if length else None

        def losses(batch: PackedBatch = batch, held: Cache | None = held, rows_B: list[int] = rows_B) -> Tensor:
            return _losses(model, batch, held, rows_B, config.objective)

        losses_B, grads_BP = optimizer.gradients(stack, chunk.state.values_BP, losses, rows_B)
        optimizer.optimizer_step(chunk.state, chunk.runs, step, losses_B, grads_BP, config)
    for part in [*finished, chunk]:
        _write_back(stack, part.runs, part.state)


def _write_back(stack: LoraStack, runs: Sequence[AdapterRun], state: OptimizerState) -> None:
    """Put the trained values into their slots, except those of rejected adapters."""
    usable = [i for i, run in enumerate(runs) if not run.reason]
    stack.write([runs[i].slot for i in usable], state.values_BP[usable])


def _losses(
    model: PreTrainedModel, batch: PackedBatch, cache: Cache | None, rows_B: Sequence[int], objective: Objective
) -> Tensor:
    """One loss per adapter [B], of which each has the next `rows_B` rows of the batch."""
    ends_B = list(accumulate(rows_B))
    counts_B = [sum(batch.counts_B[end - rows : end]) for rows, end in zip(rows_B, ends_B, strict=True)]
    rows = torch.split(label_logprobs(model, batch, cache), counts_B)
    counts_B1 = torch.tensor(counts_B, device=rows[0].device)[:, None]
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
