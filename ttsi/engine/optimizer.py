"""AdamW for many adapters at once, each as if it were alone.

With loss_b the loss of adapter b, the gradient of sum_b loss_b with respect to adapter b is that of loss_b and of
nothing else. AdamW is elementwise, and clipping, step counts and the rejection of a broken adapter are per adapter: B
adapters here equal B separate runs up to rounding.

Inputs: flat adapters, their learning rates, a function that computes one loss per adapter. Outputs: the adapters after
the step; losses, gradient norms and the reason of a rejection in each adapter's `AdapterRun`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from ttsi.engine.engine_config import EngineConfig
from ttsi.engine.held_back import StepChoice
from ttsi.engine.lora import BoundRows, LoraStack
from ttsi.engine.loss_guard import loss_guard
from ttsi.errors import ConfigError

BETA1, BETA2, EPS = 0.9, 0.999, 1e-8


class LossError(ConfigError, ValueError):
    """A loss or an objective does not return one loss per adapter that can be learned from."""


@dataclass(frozen=True)
class TrainReport:
    """The training of one adapter."""

    slot: int
    losses: tuple[float, ...]
    """Loss before each step, in nats per label token with the default objective; finite."""
    grad_norms: tuple[float, ...]
    """Norm of the adapter's gradient at each step, before clipping."""
    ok: bool
    reason: str = ""
    """Why the adapter is not usable, e.g. "non-finite loss at step 3"."""
    held_back_losses: tuple[float, ...] = ()
    """Loss on the held-back examples after 0, 1, ... steps, in nats per label token; the adapter is that of the lowest.
    () where nothing was held back."""
    earlier_seconds: float = 0.0
    """Seconds of training before it was interrupted, where it went on from a checkpoint."""


@dataclass
class AdapterRun:
    """The training of one adapter, under way."""

    slot: int
    rates: tuple[float, ...]
    """Learning rate of each step."""
    steps_per_epoch: int = 1
    """After so many steps the same examples come again."""
    losses: list[float] = field(default_factory=list)
    grad_norms: list[float] = field(default_factory=list)
    reason: str = ""
    choice: StepChoice = field(default_factory=StepChoice)

    def report(self, max_loss_rise: float) -> TrainReport:
        """The report, after the guards have looked at the losses: at those up to the chosen step, where one is."""
        last = None if self.choice.step is None else self.choice.step + 1
        rise = loss_guard(self.losses[:last], max_loss_rise, self.steps_per_epoch)
        reason = self.reason or self.choice.refusal or rise or ""
        held_back = tuple(self.choice.losses)
        return TrainReport(self.slot, tuple(self.losses), tuple(self.grad_norms), not reason, reason, held_back)

    def restart(self) -> None:
        """Forget what was recorded."""
        self.losses, self.grad_norms, self.reason, self.choice = [], [], "", StepChoice()


@dataclass
class OptimizerState:
    """Adapters that share forward passes, with AdamW's moments."""

    values_BP: Tensor
    first_BP: Tensor
    second_BP: Tensor

    @classmethod
    def of(cls, values_BP: Tensor) -> OptimizerState:
        """The state before the first step."""
        return cls(values_BP, torch.zeros_like(values_BP), torch.zeros_like(values_BP))

    def select(self, rows: list[int]) -> OptimizerState:
        """A copy of some adapters' state."""
        index_B = torch.tensor(rows, dtype=torch.long, device=self.values_BP.device)
        return OptimizerState(self.values_BP[index_B], self.first_BP[index_B], self.second_BP[index_B])


def gradients(
    stack: LoraStack, values_BP: Tensor, losses: Callable[[], Tensor], rows_B: Sequence[int]
) -> tuple[Tensor, Tensor]:
    """Loss per adapter [B], and its gradient [B, parameters].

    Args:
        stack: attached.
        values_BP: flat adapters; their rows follow each other in the batch.
        losses: computes one loss per adapter [B], with the adapters bound.
        rows_B: rows of the batch that each adapter has.

    Raises:
        LossError: `losses` returns something else, or what has no gradient.
    """
    with torch.enable_grad():
        leaf_BP = values_BP.detach().requires_grad_()
        with stack.using(bound_rows(stack, leaf_BP, rows_B)):
            losses_B = losses()
            if not isinstance(losses_B, Tensor) or losses_B.shape != (len(values_BP),):
                shape = tuple(losses_B.shape) if isinstance(losses_B, Tensor) else type(losses_B).__name__
                raise LossError(f"one loss per slot is wanted, {len(values_BP)} in all, not {shape}")
            if not losses_B.requires_grad:
                raise LossError("the loss does not depend on the adapters: it has no gradient")
            (grads_BP,) = torch.autograd.grad(losses_B.sum(), leaf_BP, allow_unused=True)
            if grads_BP is None:
                raise LossError("the loss does not depend on the adapters: run the module that carries them in it")
    return losses_B.detach(), grads_BP


def bound_rows(stack: LoraStack, values_BP: Tensor, rows_B: Sequence[int]) -> BoundRows:
    """Flat adapters [B, parameters], of which each acts on the next `rows_B` rows of a batch."""
    repeats_B = torch.tensor(rows_B, device=values_BP.device)
    rows_NP = values_BP if set(rows_B) == {1} else values_BP.repeat_interleave(repeats_B, dim=0)
    return BoundRows(len(rows_NP), None, stack.factors_of(rows_NP))


@torch.no_grad()
def optimizer_step(
    state: OptimizerState,
    runs: Sequence[AdapterRun],
    step: int,
    losses_B: Tensor,
    grads_BP: Tensor,
    config: EngineConfig,
) -> None:
    """Clip, update in place and record; all adapters of a state have had the same number of steps."""
    norms_B = torch.linalg.vector_norm(grads_BP, dim=1)
    if config.max_grad_norm > 0:
        grads_BP *= (config.max_grad_norm / (norms_B + 1e-6)).clamp(max=1.0)[:, None]
    _adamw(state, [run.rates[step] for run in runs], grads_BP, step, config.weight_decay)
    finite_B = torch.isfinite(state.values_BP).all(dim=1)
    _record(runs, step + 1, losses_B.tolist(), norms_B.tolist(), finite_B.tolist())


def _adamw(state: OptimizerState, rates: list[float], grads_BP: Tensor, step: int, weight_decay: float) -> None:
    """One step in place, by torch's formula."""
    rates_B1 = torch.tensor(rates, device=grads_BP.device)[:, None]
    state.first_BP.lerp_(grads_BP, 1 - BETA1)
    state.second_BP.mul_(BETA2).addcmul_(grads_BP, grads_BP, value=1 - BETA2)
    denominator_BP = (state.second_BP.sqrt() / math.sqrt(1 - BETA2 ** (step + 1))).add_(EPS)
    if weight_decay:
        state.values_BP.mul_(1 - rates_B1 * weight_decay)
    state.values_BP.sub_(rates_B1 / (1 - BETA1 ** (step + 1)) * state.first_BP / denominator_BP)


def _record(runs: Sequence[AdapterRun], step: int, losses: list[float], norms: list[float], finite: list[bool]) -> None:
    for run, loss, norm, weights_finite in zip(runs, losses, norms, finite, strict=True):
        if run.reason:
            continue
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
