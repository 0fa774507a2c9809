"""Which rows share a forward pass, and what happens when memory runs out?

Inputs: row lengths and a budget of tokens. Outputs: groups of row numbers, and the results of a function over
them. Rows of similar length go together so that little is padding; the budget counts padding too. When a group
does not fit the memory it is halved until it does. Not in the paper, which works through its inputs one by one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

import torch

from ttsi.errors import ModelError

Item = TypeVar("Item")
Result = TypeVar("Result")

_CPU_MESSAGES = ("not enough memory", "can't allocate memory", "out of memory")


ENOUGH = 2048
"""Tokens of a forward pass that keep a processor busy: more of them do not make it faster."""

ACCELERATOR = 8192
"""Tokens of a forward pass on anything but a CPU."""


def pass_tokens(device: torch.device) -> int:
    """The most tokens of a forward pass, padding included.

    A CPU gets what is enough: larger activations are handed back to the system after each use and cleared by it before
    the next, which took an eighth of the time of reading 16 prompts of 512 tokens with a model of 135M (dev/log.md).
    """
    return ENOUGH if device.type == "cpu" else ACCELERATOR


def groups(lengths_B: Sequence[int], budget: int, enough: int | None = None) -> list[list[int]]:
    """Row numbers in groups, longest rows first; (rows in a group) * (its longest row) <= budget.

    A row longer than the budget is a group of its own. A group of `enough` tokens takes no row that would be padded by
    more than a sixth. The grouping depends on the lengths and on nothing else.
    """
    order = sorted(range(len(lengths_B)), key=lambda row: -lengths_B[row])
    found: list[list[int]] = []
    for row in order:
        longest, rows = (lengths_B[found[-1][0]], len(found[-1])) if found else (0, 0)
        wasteful = enough is not None and longest * rows >= enough and 6 * lengths_B[row] < 5 * longest
        if found and longest * (rows + 1) <= budget and not wasteful:
            found[-1].append(row)
        else:
            found.append([row])
    return found


def is_out_of_memory(error: RuntimeError) -> bool:
    """Whether this is the accelerator or the allocator of the CPU saying that memory ran out."""
    return isinstance(error, torch.OutOfMemoryError) or any(text in str(error).lower() for text in _CPU_MESSAGES)


def halving(work: Callable[[Sequence[Item]], list[Result]], items: Sequence[Item]) -> list[Result]:
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
    return halving(work, items[:middle]) + halving(work, items[middle:])


def in_groups(
    work: Callable[[Sequence[Item]], list[Result]],
    items: Sequence[Item],
    lengths_B: Sequence[int],
    budget: int,
    enough: int | None = None,
) -> list[Result]:
    """`work` over groups of the items, results in the order of the items."""
    results: dict[int, Result] = {}
    for group in groups(lengths_B, budget, enough):
        found = halving(work, [items[row] for row in group])
        results.update(zip(group, found, strict=True))
    return [results[row] for row in range(len(items))]
