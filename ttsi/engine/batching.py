"""Batches of rows under a token budget, with back-off when memory runs out.

Inputs: row lengths and a budget of tokens. Outputs: groups of row numbers, and a function's results over them in the
order of the rows. Rows of similar length share a group, so that little is padding; the budget counts padding too. A
group that does not fit the memory is halved until it does.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

import torch

from ttsi.errors import ModelError

Item = TypeVar("Item")
Result = TypeVar("Result")

SATURATING_TOKENS = 2048
"""Tokens per forward pass that keep a processor busy: more of them do not make it faster."""

GPU_TOKENS_PER_PASS = 8192
"""Most tokens per forward pass on anything but a CPU."""

_CPU_MESSAGES = ("not enough memory", "can't allocate memory", "out of memory")


def pass_tokens(device: torch.device) -> int:
    """The most tokens of a forward pass, padding included.

    A CPU gets no more than saturates it. Larger activations return to the system after each use, and the system clears
    them before the next: an eighth of the time of reading 16 prompts of 512 tokens with a model of 135M (dev/log.md).
    """
    return SATURATING_TOKENS if device.type == "cpu" else GPU_TOKENS_PER_PASS


def groups(lengths_B: Sequence[int], budget: int, saturating: int | None = None) -> list[list[int]]:
    """Row numbers in groups, longest rows first; (rows in a group) * (its longest row) <= budget.

    A row longer than the budget is a group of its own. A group of `saturating` tokens takes no row that would be padded
    by more than a sixth. The grouping depends on the lengths and on nothing else.
    """
    order = sorted(range(len(lengths_B)), key=lambda row: -lengths_B[row])
    grouped: list[list[int]] = []
    for row in order:
        longest, rows = (lengths_B[grouped[-1][0]], len(grouped[-1])) if grouped else (0, 0)
        wasteful = saturating is not None and longest * rows >= saturating and 6 * lengths_B[row] < 5 * longest
        if grouped and longest * (rows + 1) <= budget and not wasteful:
            grouped[-1].append(row)
        else:
            grouped.append([row])
    return grouped


def is_out_of_memory(error: RuntimeError) -> bool:
    """Whether the accelerator or the CPU's allocator ran out of memory."""
    return isinstance(error, torch.OutOfMemoryError) or any(text in str(error).lower() for text in _CPU_MESSAGES)


def with_oom_backoff(work: Callable[[Sequence[Item]], list[Result]], items: Sequence[Item]) -> list[Result]:
    """`work(items)`, in halves of halves where the whole does not fit the memory.

    Raises:
        ModelError: one item alone does not fit.
    """
    try:
        return work(items)
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
        if len(items) <= 1:
            raise ModelError(
                "out of memory on a single input: take a smaller model, shorter inputs or fewer examples"
            ) from error
    # Outside the except block, so that the traceback no longer holds the tensors that filled the memory.
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    middle = len(items) // 2
    return with_oom_backoff(work, items[:middle]) + with_oom_backoff(work, items[middle:])


def in_groups(
    work: Callable[[Sequence[Item]], list[Result]],
    items: Sequence[Item],
    lengths_B: Sequence[int],
    budget: int,
    saturating: int | None = None,
) -> list[Result]:
    """`work` over groups of the items, results in the order of the items."""
    results: dict[int, Result] = {}
    for group in groups(lengths_B, budget, saturating):
        results.update(zip(group, with_oom_backoff(work, [items[row] for row in group]), strict=True))
    return [results[row] for row in range(len(items))]
