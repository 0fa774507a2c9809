"""How are many small adapters trained at once, each as if it were alone?

For adapter b with the labels of this step's examples,

    loss_b = mean over its label tokens of -log p(token),     total = sum_b loss_b,

so that the gradient of adapter b is the gradient of loss_b and of nothing else. Clipping, step counts and the
rejection of a broken adapter are per adapter, AdamW is elementwise: B adapters here equal B separate runs up to
rounding. One optimizer step's examples of one adapter share a row (`ttsi.engine.packing`).

Inputs: a model with an attached stack, jobs (slot and examples). Outputs: trained slots and one report per job.
The paper (arXiv:2510.07841) trains one adapter per input and after another, batch size 1 (`batch_size=1` here).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor
from transformers import PreTrainedModel

from ttsi.config import AdaptationConfig
from ttsi.engine.batching import ENOUGH, groups, is_out_of_memory, pass_tokens
from ttsi.engine.lora import BoundRows, LoraStack
from ttsi.engine.packing import EncodedExample, PackedBatch, PackedRow, collate, label_logprobs, pack
from ttsi.engine.schedule import learning_rates
from ttsi.engine.windows import spans_of

BETA1, BETA2, EPS = 0.9, 0.999, 1e-8


@dataclass(frozen=True)
class Job:
    """What one adapter learns."""

    slot: int
    examples: tuple[EncodedExample, ...]


@dataclass(frozen=True)
class TrainReport:
    """What happened to one adapter."""

    slot: int
    losses: tuple[float, ...]
    """Loss before each step, in nats per label token; finite."""
    grad_norms: tuple[float, ...]
    """Norm of the adapter's gradient at each step, before clipping."""
    ok: bool
    reason: str = ""
    """Why the adapter is not usable, e.g. "non-finite loss at step 3"."""


@dataclass
class _Run:
    """One job under way."""

    slot: int
    rows: list[PackedRow]
    """One per optimizer step of an epoch."""
    rates: tuple[float, ...]
    losses: list[float] = field(default_factory=list)
    grad_norms: list[float] = field(default_factory=list)
    reason: str = ""

    def report(self) -> TrainReport:
        return TrainReport(self.slot, tuple(self.losses), tuple(self.grad_norms), not self.reason, self.reason)


@dataclass
class _Chunk:
    """Adapters that share forward passes, with the state of their optimizer."""

    runs: list[_Run]
    values_BP: Tensor
    first_BP: Tensor
    second_BP: Tensor

    def keep(self, index: list[int]) -> _Chunk:
        index_B = torch.tensor(index, dtype=torch.long, device=self.values_BP.device)
        tensors = (self.values_BP[index_B], self.first_BP[index_B], self.second_BP[index_B])
        return _Chunk([self.runs[at] for at in index], *tensors)


def train(
    model: PreTrainedModel,
    stack: LoraStack,
    jobs: Sequence[Job],
    config: AdaptationConfig,
    *,
    token_budget: int | None = None,
) -> list[TrainReport]:
    """Train the adapters in the jobs' slots from what the slots hold now; reports in the order of the jobs.

    Args:
        model: the base, frozen.
        stack: attached to `model`; slots are reset by the caller. A rejected adapter's slot is left in any state.
        jobs: no slot twice.
        config: learning rate, epochs, batch size, clipping and weight decay.
        token_budget: packed tokens per forward pass, by default what suits the device; changes results by no more than
            rounding.
    """
    runs = [_run(job, config) for job in jobs]
    ready = [run for run in runs if not run.reason]
    lengths = [max(len(row.ids_T) for row in run.rows) for run in ready]
    for group in groups(lengths, token_budget or pass_tokens(model.device), ENOUGH):
        _train_or_halve(model, stack, [ready[at] for at in group], config)
    return [run.report() for run in runs]


def _run(job: Job, config: AdaptationConfig) -> _Run:
    size = config.batch_size or len(job.examples)
    starts = range(0, len(job.examples), size) if job.examples else ()
    rows = [pack(job.examples[start : start + size]) for start in starts]
    rates = learning_rates(config, config.epochs * len(rows))
    labelled = rows and all(row.targets_N for row in rows)
    return _Run(job.slot, rows, rates, reason="" if labelled else "no label tokens to learn from")


def _train_or_halve(model: PreTrainedModel, stack: LoraStack, runs: list[_Run], config: AdaptationConfig) -> None:
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
    _train_or_halve(model, stack, runs[:middle], config)
    _train_or_halve(model, stack, runs[middle:], config)


def _train_chunk(model: PreTrainedModel, stack: LoraStack, runs: list[_Run], config: AdaptationConfig) -> None:
    slots = torch.tensor([run.slot for run in runs], device=stack.values_SP.device)
    values_BP = stack.values_SP[slots]
    done: list[_Chunk] = []
    chunk = _Chunk(runs, values_BP, torch.zeros_like(values_BP), torch.zeros_like(values_BP))
    rows_B: list[PackedRow] = []
    spans = spans_of(model)
    for step in range(max(len(run.rates) for run in runs)):
        chunk = _without_finished(chunk, step, done)
        if not chunk.runs:
            break
        wanted = [run.rows[step % len(run.rows)] for run in chunk.runs]
        if len(wanted) != len(rows_B) or any(a is not b for a, b in zip(wanted, rows_B, strict=True)):
            rows_B, batch = wanted, collate(wanted, model.device, model.dtype, spans=spans)
        _step(model, stack, chunk, batch, step, config)
    for part in [*done, chunk]:
        _write(stack, part)


def _without_finished(chunk: _Chunk, step: int, done: list[_Chunk]) -> _Chunk:
    """The chunk without adapters that have had all their steps or were rejected; the former are kept in `done`."""
    going = [at for at, run in enumerate(chunk.runs) if not run.reason and step < len(run.rates)]
    if len(going) == len(chunk.runs):
        return chunk
    done.append(chunk.keep([at for at, run in enumerate(chunk.runs) if not run.reason and at not in going]))
    return chunk.keep(going)


def _write(stack: LoraStack, chunk: _Chunk) -> None:
    for run, values_P in zip(chunk.runs, chunk.values_BP, strict=True):
        if not run.reason:
            stack.values_SP[run.slot].copy_(values_P)


def _step(
    model: PreTrainedModel,
    stack: LoraStack,
    chunk: _Chunk,
    batch: PackedBatch,
    step: int,
    config: AdaptationConfig,
) -> None:
    losses_B, grads_BP = _gradients(model, stack, chunk.values_BP, batch)
    norms_B = torch.linalg.vector_norm(grads_BP, dim=1)
    if config.max_grad_norm > 0:
        grads_BP *= (config.max_grad_norm / (norms_B + 1e-6)).clamp(max=1.0)[:, None]
    _adamw(chunk, grads_BP, step, config.weight_decay)
    finite_B = torch.isfinite(chunk.values_BP).all(dim=1)
    _record(chunk.runs, step + 1, losses_B.tolist(), norms_B.tolist(), finite_B.tolist())


def _gradients(
    model: PreTrainedModel, stack: LoraStack, values_BP: Tensor, batch: PackedBatch
) -> tuple[Tensor, Tensor]:
    """Loss per adapter [B], and its gradient [B, parameters]."""
    with torch.enable_grad():
        leaf_BP = values_BP.detach().requires_grad_()
        with stack.using(BoundRows(len(leaf_BP), None, stack.pairs_of(leaf_BP))):
            logprobs_N = label_logprobs(model, batch)
            losses_B = torch.stack([-part.mean() for part in torch.split(logprobs_N, list(batch.counts_B))])
            (grads_BP,) = torch.autograd.grad(losses_B.sum(), leaf_BP)
    return losses_B.detach(), grads_BP


@torch.no_grad()
def _adamw(chunk: _Chunk, grads_BP: Tensor, step: int, weight_decay: float) -> None:
    """One AdamW update in place, torch's formula; all adapters of a chunk have had the same number of steps."""
    rates_B1 = torch.tensor([run.rates[step] for run in chunk.runs], device=grads_BP.device)[:, None]
    chunk.first_BP.lerp_(grads_BP, 1 - BETA1)
    chunk.second_BP.mul_(BETA2).addcmul_(grads_BP, grads_BP, value=1 - BETA2)
    denominator_BP = (chunk.second_BP.sqrt() / math.sqrt(1 - BETA2 ** (step + 1))).add_(EPS)
    if weight_decay:
        chunk.values_BP.mul_(1 - rates_B1 * weight_decay)
    chunk.values_BP.sub_(rates_B1 / (1 - BETA1 ** (step + 1)) * chunk.first_BP / denominator_BP)


def _record(runs: list[_Run], step: int, losses: list[float], norms: list[float], finite: list[bool]) -> None:
    for run, loss, norm, weights_finite in zip(runs, losses, norms, finite, strict=True):
        if not math.isfinite(loss):
            run.reason = f"non-finite loss at step {step}"
            continue
        run.losses.append(loss)
        if not math.isfinite(norm):
            run.reason = f"non-finite gradient at step {step}"
            continue
        run.grad_norms.append(norm)
        if not weights_finite:
            run.reason = f"non-finite weights after step {step}"
