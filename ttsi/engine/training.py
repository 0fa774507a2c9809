"""Training of many small adapters at once, each as if it were alone.

    train             a causal language model, jobs of (prompt, labels) examples
    train_with_loss   any module, with the caller's own loss per adapter

Inputs: attached adapters and what each one learns. Outputs: trained slots and one report per adapter. The optimizer
keeps adapters apart (`ttsi.engine.optimizer`). The examples of one adapter's step share a row
(`ttsi.engine.packing`). The paper (arXiv:2510.07841) trains one adapter after another, with batch size 1
(`batch_size=1` here).
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain

import torch
from torch import Tensor, nn
from transformers import Cache, PreTrainedModel

from ttsi.engine import optimizer
from ttsi.engine.anatomy import unknown_token
from ttsi.engine.batching import SATURATING_TOKENS, groups, is_out_of_memory, pass_tokens
from ttsi.engine.checkpoint import Checkpoints, CheckpointStore
from ttsi.engine.distillation import label_values
from ttsi.engine.engine_config import EngineConfig
from ttsi.engine.free_memory import give_back
from ttsi.engine.lora import LoraStack
from ttsi.engine.optimizer import AdapterRun, OptimizerState, TrainReport
from ttsi.engine.packing import PackedBatch, collate, label_logprobs
from ttsi.engine.prefix import PrefixCache, cache_of, shallow_copy, using
from ttsi.engine.schedule import learning_rates
from ttsi.engine.step_loss import held_back_losses, step_losses
from ttsi.engine.step_rows import Beginnings, StepRow, step_rows
from ttsi.engine.targets import is_language_model
from ttsi.engine.training_job import Branch, TrainingJob, held_back_branches, learned_branches
from ttsi.engine.windows import spans_of
from ttsi.errors import ConfigError, ModelError

log = logging.getLogger(__name__)

GIVE_BACK_AFTER = 8
"""Steps of a long training after which free memory is given back; doing it after each step costs 3 % more time. A
training with more steps logs each."""


@dataclass
class _JobRun(AdapterRun):
    """A job under way, with its packed examples."""

    steps: tuple[tuple[StepRow, ...], ...] = ()
    """The rows of each optimizer step of an epoch: one per beginning on which the adapter does not act."""
    evaluation: tuple[StepRow, ...] = ()
    """The rows of the held-back examples alone, for their loss after the last step."""


@dataclass
class _Chunk:
    """Jobs that share forward passes, with the state of their optimizer."""

    runs: list[_JobRun]
    state: OptimizerState

    def select(self, rows: list[int]) -> _Chunk:
        return _Chunk([self.runs[row] for row in rows], self.state.select(rows))


@dataclass(frozen=True)
class _Call:
    """What all chunks of one call of `train` have in common."""

    model: PreTrainedModel
    stack: LoraStack
    config: EngineConfig
    prefixes: PrefixCache
    checkpoints: Checkpoints | None


def train(
    stack: LoraStack,
    jobs: Sequence[TrainingJob],
    config: EngineConfig,
    *,
    prefixes: PrefixCache | None = None,
    token_budget: int | None = None,
    checkpoint_store: CheckpointStore | None = None,
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
        checkpoint_store: keeps the state of a long training, which goes on from what it holds; for a single job
            without held-back examples.

    Raises:
        ModelError: the model is no causal language model, the adapters are not attached, there is no such slot, or
            torch is in inference mode.
        ConfigError: the adapters were attached with another rank.
        ValueError: an adapter is to act on no token of a prompt, so that nothing of it predicts the first label; or a
            store is given for several jobs, or for one with held-back examples.
    """
    model = _language_model(stack.model)
    stack.check_trainable([job.slot for job in jobs], config.rank)
    if checkpoint_store is not None and len(jobs) != 1:
        raise ValueError(f"checkpoints are for a single job, and there are {len(jobs)}")
    checkpoints = None
    if checkpoint_store is not None:
        checkpoints = Checkpoints(checkpoint_store, jobs[0], config, stack.values_of([jobs[0].slot]))
    runs = [_start(model, job, config, stack.max_tokens) for job in jobs]
    ready = [run for run in runs if not run.reason]
    call = _Call(model, stack, config, PrefixCache() if prefixes is None else prefixes, checkpoints)
    lengths = [max(len(rows) * max(row.memory for row in rows) for rows in run.steps) for run in ready]
    for group in groups(lengths, token_budget or pass_tokens(model.device), SATURATING_TOKENS):
        _train_with_oom_backoff(call, [ready[i] for i in group])
    give_back()
    earlier = checkpoints.earlier_seconds if checkpoints else 0.0
    return [replace(run.report(config.max_loss_rise), earlier_seconds=earlier) for run in runs]


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


def _start(model: PreTrainedModel, job: TrainingJob, config: EngineConfig, max_tokens: int | None) -> _JobRun:
    learned, held_back = learned_branches(job), held_back_branches(job)
    size = config.batch_size or len(learned)
    starts = range(0, len(learned), size) if learned else ()
    steps = tuple(step_rows([*chain(*learned[start : start + size]), *held_back]) for start in starts)
    rates = learning_rates(config, config.epochs * len(steps))
    reason = "" if steps and all(_has_labels(rows) for rows in steps) else "no label tokens to learn from"
    branches = [*chain(*learned), *held_back]
    reason = reason or unknown_token(model, (ids for one in branches for ids in (one.example[0], one.teacher_prompt)))
    if max_tokens and any(branch.length > max_tokens for branch in branches):
        reason = f"an example is longer than the {max_tokens} tokens on which the engine is exact with this model"
    return _JobRun(job.slot, rates, max(1, len(steps)), reason=reason, steps=steps, evaluation=step_rows(held_back))


def _has_labels(rows: Sequence[StepRow]) -> bool:
    return any(branch.labels for row in rows for branch in row.branches if branch.role == "learned")


def _train_with_oom_backoff(call: _Call, runs: list[_JobRun]) -> None:
    """Train a chunk; when memory runs out, its halves one after the other. The stack is written only on success."""
    try:
        return _train_chunk(call, runs)
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    for run in runs:
        run.restart()
    if len(runs) == 1:
        runs[0].reason = "out of memory"
        return None
    middle = len(runs) // 2
    _train_with_oom_backoff(call, runs[:middle])
    _train_with_oom_backoff(call, runs[middle:])


def _train_chunk(call: _Call, runs: list[_JobRun]) -> None:
    try:
        _take_steps(call, runs)
    except KeyboardInterrupt:
        if call.checkpoints:
            call.checkpoints.keep()
        raise


def _take_steps(call: _Call, runs: list[_JobRun]) -> None:
    finished: list[_Chunk] = []
    beginnings = Beginnings(call.model, call.prefixes)
    chunk = _Chunk(runs, OptimizerState.of(call.stack.values_of([run.slot for run in runs])))
    steps_B: list[tuple[StepRow, ...]] = []
    steps = max(len(run.rates) for run in runs)
    done = call.checkpoints.resume(runs[0], chunk.state) if call.checkpoints else 0
    if done:
        log.info("training resumed step=%d steps=%d", done, steps)
    for step in range(done, steps):
        chunk = _set_finished_aside(chunk, step, finished)
        if not chunk.runs:
            break
        following_B = [run.steps[step % len(run.steps)] for run in chunk.runs]
        if len(following_B) != len(steps_B) or any(a is not b for a, b in zip(following_B, steps_B, strict=True)):
            steps_B, batch = following_B, _batch(call.model, beginnings.read(following_B))
        _take_step(call, chunk, step, batch)
        if call.checkpoints:
            call.checkpoints.record(runs[0], chunk.state)
        if step % GIVE_BACK_AFTER == GIVE_BACK_AFTER - 1:
            give_back()
        if steps > GIVE_BACK_AFTER:
            log.info("training step=%d steps=%d", step + 1, steps)
    for part in [*finished, chunk]:
        _choose_step(call, part, beginnings)
        _write_back(call.stack, part.runs, part.state)


def _take_step(call: _Call, chunk: _Chunk, step: int, batch: _StepBatch) -> None:
    """One optimizer step of every adapter of the chunk, in place."""
    held_back: list[float | None] = []

    def losses() -> Tensor:
        values_N = _values(call.model, batch)
        held_back[:] = held_back_losses(values_N, batch.branches_B)
        return step_losses(values_N, batch.branches_B, call.config.objective)

    losses_B, grads_BP = optimizer.gradients(call.stack, chunk.state.values_BP, losses, batch.rows_B)
    _record_held_back(chunk, held_back)
    optimizer.optimizer_step(chunk.state, chunk.runs, step, losses_B, grads_BP, call.config)


@dataclass(frozen=True)
class _StepBatch:
    """The rows of one step of some adapters, as one batch."""

    packed: PackedBatch
    cache: Cache | None
    """What the base has read of them."""
    branches_B: list[list[Branch]]
    """The sequences of each adapter."""
    rows_B: list[int]
    """The rows of each adapter."""
    teacher_MD: Tensor | None


def _batch(model: PreTrainedModel, steps_B: Sequence[Sequence[StepRow]]) -> _StepBatch:
    rows_N = [row for rows in steps_B for row in rows]
    cache, length = cache_of([row.start for row in rows_N])
    packed = collate([row.packed for row in rows_N], model.device, model.dtype, length, spans_of(model))
    branches_B = [[branch for row in rows for branch in row.branches] for rows in steps_B]
    states = [row.teacher_MD for row in rows_N if row.teacher_MD is not None]
    teacher_MD = torch.cat(states) if states else None
    return _StepBatch(packed, cache if length else None, branches_B, [len(rows) for rows in steps_B], teacher_MD)


def _values(model: PreTrainedModel, batch: _StepBatch) -> Tensor:
    """What the loss is made of, label after label [N] (`ttsi.engine.step_loss`); the adapters are bound."""
    cache = shallow_copy(batch.cache) if batch.cache is not None else None
    if batch.teacher_MD is None:
        return label_logprobs(model, batch.packed, cache)
    taught = [bool(b.teacher_prompt) for branches in batch.branches_B for b in branches for _ in b.labels]
    taught_N = torch.tensor(taught, device=model.device)
    return label_values(model, batch.packed, cache, taught_N, batch.teacher_MD)


def _record_held_back(chunk: _Chunk, losses_B: Sequence[float | None]) -> None:
    for run, loss, values_P in zip(chunk.runs, losses_B, chunk.state.values_BP, strict=True):
        if loss is None or run.reason:
            continue
        if math.isfinite(loss):
            run.choice.record(loss, values_P)
        else:
            run.reason = f"non-finite held-back loss after step {len(run.choice.losses)}"


@torch.no_grad()
def _choose_step(call: _Call, part: _Chunk, beginnings: Beginnings) -> None:
    """Measure the held-back losses after the last step; give each such adapter the numbers of its best step."""
    open_ = [i for i, run in enumerate(part.runs) if run.evaluation and not run.reason]
    if not open_:
        return
    measured = part.select(open_)
    batch = _batch(call.model, beginnings.read([run.evaluation for run in measured.runs]))
    with using(call.stack, optimizer.bound_rows(call.stack, measured.state.values_BP, batch.rows_B)):
        _record_held_back(measured, held_back_losses(_values(call.model, batch), batch.branches_B))
    for i in open_:
        if (best_P := part.runs[i].choice.best_P) is not None:
            part.state.values_BP[i] = best_P


def _write_back(stack: LoraStack, runs: Sequence[AdapterRun], state: OptimizerState) -> None:
    """Put the trained values into their slots, except those of rejected adapters."""
    usable = [i for i, run in enumerate(runs) if not run.reason]
    stack.write([runs[i].slot for i in usable], state.values_BP[usable])


def _set_finished_aside(chunk: _Chunk, step: int, finished: list[_Chunk]) -> _Chunk:
    """The adapters that train on. Those that have had all their steps go to `finished`; rejected ones are dropped."""
    active = [i for i, run in enumerate(chunk.runs) if not run.reason and step < len(run.rates)]
    if len(active) == len(chunk.runs):
        return chunk
    done = [i for i, run in enumerate(chunk.runs) if not run.reason and step >= len(run.rates)]
    finished.append(chunk.select(done))
    return chunk.select(active)
