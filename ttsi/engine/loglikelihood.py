"""Log-likelihood of many continuations of a prompt.

    score(c | x) = sum_t log p(c_t | x, c_<t)

Inputs: (prompt ids, continuations' ids) per item. Outputs: one sum in nats per continuation. The paper's H
(arXiv:2510.07841) needs these; the usual way reads the prompt again for every candidate, here a prompt is read once
(`ttsi.engine.prefix`), and its candidates are a tree of tokens behind it (`ttsi.engine.packing`).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from transformers import Cache, PreTrainedModel

from ttsi.engine.anatomy import check_prompts, unknown_token
from ttsi.engine.batching import SATURATING_TOKENS, in_groups, pass_tokens
from ttsi.engine.packing import PackedBatch, PackedRow, collate, label_logprobs, pack
from ttsi.engine.prefix import PrefixCache, cache_of
from ttsi.engine.windows import spans_of
from ttsi.errors import ModelError

ScoringItem = tuple[Sequence[int], Sequence[Sequence[int]]]
"""(prompt ids, at least 1; ids of each continuation)."""


def continuation_logprobs(
    model: PreTrainedModel,
    items: Sequence[ScoringItem],
    *,
    prefixes: PrefixCache | None = None,
    token_budget: int | None = None,
) -> list[list[float]]:
    """Summed fp32 log-probability (nats) of every continuation of every item; 0.0 for an empty continuation.

    Args:
        model: a causal language model; adapters that are bound to no rows do not act.
        items: prompts with their continuations; an item may have none.
        prefixes: keys and values of prompts that the base has read; these prompts are added.
        token_budget: tokens per forward pass, cache and padding included; by default what suits the device.

    Raises:
        ModelError: a prompt is empty, there is no such token, or one item alone does not fit the memory.
    """
    check_prompts(model, [prompt for prompt, _ in items])
    if fault := unknown_token(model, [ids for _, continuations in items for ids in continuations]):
        raise ModelError(fault)
    indices = [index for index, (_, continuations) in enumerate(items) if any(continuations)]
    items_B = [items[index] for index in indices]
    lengths = [item_tokens(item) for item in items_B]

    def work(part: Sequence[ScoringItem]) -> list[list[float]]:
        return _sums(model, part, prefixes if prefixes is not None else PrefixCache())

    budget = token_budget or pass_tokens(model.device)
    sums = dict(zip(indices, in_groups(work, items_B, lengths, budget, SATURATING_TOKENS), strict=True))
    return [sums.get(index, [0.0] * len(continuations)) for index, (_, continuations) in enumerate(items)]


def item_tokens(item: ScoringItem) -> int:
    """Tokens that reading an item takes, those of the cache included."""
    return len(item[0]) + len(_row(item, len(item[0]) - 1).ids_T)


def _row(item: ScoringItem, cached: int) -> PackedRow:
    prompt, continuations = item
    return pack([([*prompt, *continuation], len(prompt)) for continuation in continuations], cached)


@torch.no_grad()
def _sums(model: PreTrainedModel, items_B: Sequence[ScoringItem], prefixes: PrefixCache) -> list[list[float]]:
    rows_B, batch, cache = continuation_batch(model, items_B, prefixes)
    logprobs_N = label_logprobs(model, batch, cache).cpu().double()
    counts = [count for row in rows_B for count in row.counts_K]
    sums = iter([float(part.sum()) for part in torch.split(logprobs_N, counts)])
    return [[next(sums) for _ in row.counts_K] for row in rows_B]


@torch.no_grad()
def continuation_batch(
    model: PreTrainedModel, items_B: Sequence[ScoringItem], prefixes: PrefixCache
) -> tuple[list[PackedRow], PackedBatch, Cache | None]:
    """(rows, the same as a batch, what is cached of the prompts); the prompts are added to the prefix cache."""
    prompts_B = [tuple(prompt) for prompt, _ in items_B]
    prefixes.add(model, prompts_B)
    cached_B = [prefixes.lookup(ids) for ids in prompts_B]
    cache, cache_length = cache_of(cached_B)
    rows_B = [_row(item, prompt.cached) for item, prompt in zip(items_B, cached_B, strict=True)]
    batch = collate(rows_B, model.device, model.dtype, cache_length, spans_of(model))
    return rows_B, batch, cache if cache_length else None
