"""How likely does the model find each of many continuations of a prompt?

    score(c | x) = sum_t log p(c_t | x, c_<t)

Inputs: (prompt ids, continuations' ids) per item. Outputs: one sum in nats per continuation. This is what the
paper's H (arXiv:2510.07841) needs of a model; the usual way reads the prompt again for every candidate, here a
prompt and the common beginnings of its candidates are read once (`ttsi.engine.packing`).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from transformers import PreTrainedModel

from ttsi.engine.batching import in_groups
from ttsi.engine.packing import PackedRow, collate, label_logprobs, pack

ScoringItem = tuple[Sequence[int], Sequence[Sequence[int]]]
"""(prompt ids, at least 1; ids of each continuation)."""


def continuation_logprobs(
    model: PreTrainedModel, items: Sequence[ScoringItem], *, token_budget: int = 8192
) -> list[list[float]]:
    """Summed fp32 log-probability (nats) of every continuation of every item; 0.0 for an empty continuation.

    Args:
        model: a causal language model; adapters that are bound to no rows do not act.
        items: prompts with their continuations; an item may have none.
        token_budget: packed tokens per forward pass, padding included.

    Raises:
        ModelError: one item alone does not fit the memory.
    """
    wanted = [index for index, (_, continuations) in enumerate(items) if any(continuations)]
    rows_B = [_row(items[index]) for index in wanted]
    sums = in_groups(lambda part: _sums(model, part), rows_B, [len(row.ids_T) for row in rows_B], token_budget)
    found = dict(zip(wanted, sums, strict=True))
    return [found.get(index, [0.0] * len(continuations)) for index, (_, continuations) in enumerate(items)]


def _row(item: ScoringItem) -> PackedRow:
    prompt, continuations = item
    return pack([([*prompt, *continuation], len(prompt)) for continuation in continuations])


@torch.no_grad()
def _sums(model: PreTrainedModel, rows_B: Sequence[PackedRow]) -> list[list[float]]:
    logprobs_N = label_logprobs(model, collate(rows_B, model.device, model.dtype)).cpu().double()
    counts = [count for row in rows_B for count in row.counts_K]
    sums = iter([float(part.sum()) for part in torch.split(logprobs_N, counts)])
    return [[next(sums) for _ in row.counts_K] for row in rows_B]
