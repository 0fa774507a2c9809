"""Packing: sequences that begin alike as one row, so that the beginning is computed once.

All sequences of a row (the examples of one training step, or the candidates of one prompt) are the branches of one
tree, laid out one after the other: whatever several of them begin with stands there once. Positions count from the
root, and a token sees its ancestors and itself, nothing else, so that hidden states and gradients are those of the
sequence alone:

    allowed(i, j) = j <= i < end of j's subtree

A beginning that was read before may stay in a cache (`ttsi.engine.prefix`); the row then holds what follows it. The
vocabulary head runs at label positions only, once for a label that several sequences share. Inputs: token ids with
the length of their prompt. Outputs: fp32 log-probabilities of the tokens after the prompt. The paper
(arXiv:2510.07841) trains and scores each sequence by itself; the numbers are the same up to rounding.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint
from transformers import Cache, PreTrainedModel

from ttsi.engine.anatomy import decoder_of, own_logits
from ttsi.engine.attention import RowLengths, row_attention
from ttsi.engine.caching import cache_argument
from ttsi.engine.token_logprobs import token_logprobs
from ttsi.engine.windows import Masks, Spans, masks

EncodedExample = tuple[Sequence[int], int]
"""(token ids, how many of them are prompt, at least 1); the rest are labels."""

HEAD_ROWS = 2048
"""Label positions per application of the vocabulary head: bounds the memory for logits."""


@dataclass(frozen=True)
class PackedRow:
    """Sequences with a common beginning, in one row."""

    ids_T: tuple[int, ...]
    """The tokens of the tree, depth first, without those in the cache."""
    positions_T: tuple[int, ...]
    """Depth of each token: how many tokens its sequence has before it."""
    sources_N: tuple[int, ...]
    """Where in the row the hidden state lies that predicts the n-th label."""
    targets_N: tuple[int, ...]
    counts_K: tuple[int, ...]
    """Labels per sequence; they follow each other in `sources_N` and `targets_N`."""
    cached: int = 0
    """Tokens at the beginning of every sequence that are in a cache and not in the row."""

    @property
    def plain(self) -> bool:
        """Whether the row is one chain, so that causal attention is all there is."""
        return not self.positions_T or self.positions_T[-1] - self.cached + 1 == len(self.positions_T)


@dataclass(frozen=True)
class PackedBatch:
    """Rows as tensors, padded at the end."""

    ids_BT: Tensor
    positions_BT: Tensor | None
    """None where every row is one plain sequence."""
    mask_B1TT: Masks
    """Additive mask over cache and row, per type of layer where they differ; None where causal attention is all there
    is."""
    rows_U: Tensor
    sources_U: Tensor
    targets_U: Tensor
    """The different labels."""
    labels_N: Tensor
    """Which of them is the n-th label."""
    counts_B: tuple[int, ...]
    """Labels per row."""
    lengths: RowLengths
    """Tokens per row, without padding."""


def common_prefix(sequences: Sequence[Sequence[int]]) -> int:
    """Length of the longest common beginning."""
    low, high = min(sequences), max(sequences)  # type: ignore[type-var]  # lists or tuples: they have an order
    for index, (left, right) in enumerate(zip(low, high, strict=False)):
        if left != right:
            return index
    return min(len(low), len(high))


def pack(sequences_K: Sequence[EncodedExample], cached: int = 0) -> PackedRow:
    """Lay out sequences in one row, except their first `cached` tokens, which all have in common.

    Raises:
        ValueError: a sequence has no prompt token, or none outside the cache, so nothing predicts its first label.
    """
    ids_K = [tuple(ids) for ids, _ in sequences_K]
    if any(n_prompt < 1 + cached for _, n_prompt in sequences_K):
        raise ValueError("a sequence needs at least one prompt token that is not in the cache")
    ids_T: list[int] = []
    positions_T: list[int] = []
    places_K: list[list[int]] = [[] for _ in ids_K]  # where each sequence's tokens lie
    branches = [(list(range(len(ids_K))), cached)]
    while branches:
        members, depth = branches.pop()
        shared = common_prefix([ids_K[k] for k in members])
        place = range(len(ids_T), len(ids_T) + shared - depth)
        ids_T += ids_K[members[0]][depth:shared]
        positions_T += range(depth, shared)
        parted: dict[int, list[int]] = {}
        for k in members:
            places_K[k] += place
            if len(ids_K[k]) > shared:
                parted.setdefault(ids_K[k][shared], []).append(k)
        branches += [(branch, shared) for branch in reversed(parted.values())]
    sources_N = [
        at for k, (ids, n) in enumerate(sequences_K) for at in places_K[k][n - 1 - cached : len(ids) - 1 - cached]
    ]
    targets_N = [token for ids, n_prompt in sequences_K for token in ids[n_prompt:]]
    counts = tuple(max(len(ids) - n_prompt, 0) for ids, n_prompt in sequences_K)
    return PackedRow(tuple(ids_T), tuple(positions_T), tuple(sources_N), tuple(targets_N), counts, cached)


def subtree_ends(positions_T: Sequence[int]) -> list[int]:
    """Where the subtree of each token ends, for depths in the order of `pack`: at the next token as high as itself.

    >>> subtree_ends([0, 1, 2, 2, 1])
    [5, 4, 3, 4, 5]
    """
    ends = [len(positions_T)] * len(positions_T)
    open_: list[int] = []
    for at, position in enumerate(positions_T):
        while open_ and positions_T[open_[-1]] >= position:
            ends[open_.pop()] = at
        open_.append(at)
    return ends


def tree_visible(ends_BT: Tensor, cached_B: Tensor, cache_length: int) -> Tensor:
    """Which of cache and row a token sees [B, T, cache + T].

    Padding stands behind everything and ends where it stands (0): no real token sees it, and it sees itself, so that no
    row of the softmax is empty. Of the cache a row sees the tokens that are its own.
    """
    rows, length = ends_BT.shape
    at_T = torch.arange(length, device=ends_BT.device)
    own_BTT = (at_T[None, :, None] >= at_T) & (at_T[None, :, None] < ends_BT[:, None, :])
    own_BTT |= torch.eye(length, dtype=torch.bool, device=ends_BT.device)
    held_BC = torch.arange(cache_length, device=ends_BT.device) < cached_B[:, None]
    return torch.cat([held_BC[:, None, :].expand(rows, length, cache_length), own_BTT], dim=2)


def key_positions(positions_BT: Tensor, cache_length: int) -> Tensor:
    """Positions [B, cache + T] of the keys in front of the row and in it."""
    held_C = torch.arange(cache_length, device=positions_BT.device)
    return torch.cat([held_C.expand(len(positions_BT), -1), positions_BT], dim=1)


def collate(
    rows_B: Sequence[PackedRow], device: torch.device, dtype: torch.dtype, cache_length: int = 0, spans: Spans = ()
) -> PackedBatch:
    """Rows as one batch, padded to the longest, behind a cache of so many tokens.

    `spans` says how far back the model's layers look (`ttsi.engine.windows`).
    """
    longest = max(len(row.ids_T) for row in rows_B)

    def pad(values_BT: Sequence[Sequence[int]]) -> Tensor:
        return torch.tensor([[*v, *[0] * (longest - len(v))] for v in values_BT], device=device)

    labels: dict[tuple[int, int, int], int] = {}
    labels_N = [
        labels.setdefault((index, source, target), len(labels))
        for index, row in enumerate(rows_B)
        for source, target in zip(row.sources_N, row.targets_N, strict=True)
    ]
    different = torch.tensor(list(labels), dtype=torch.long, device=device).reshape(-1, 3)
    plain = cache_length == 0 and all(row.plain for row in rows_B)
    cached_B = torch.tensor([row.cached for row in rows_B], device=device)
    positions_BT, mask_B1TT = None, None
    if not plain:
        positions_BT = pad([row.positions_T for row in rows_B])
        ends_BT = pad([subtree_ends(row.positions_T) for row in rows_B])
        furthest = 1 + max(max(row.positions_T) for row in rows_B)
        visible_BTK = tree_visible(ends_BT, cached_B, cache_length)
        keys_BK = key_positions(positions_BT, cache_length)
        mask_B1TT = masks(visible_BTK, positions_BT, keys_BK, dtype, spans, furthest)
    return PackedBatch(
        ids_BT=pad([row.ids_T for row in rows_B]),
        positions_BT=positions_BT,
        mask_B1TT=mask_B1TT,
        rows_U=different[:, 0],
        sources_U=different[:, 1],
        targets_U=different[:, 2],
        labels_N=torch.tensor(labels_N, dtype=torch.long, device=device),
        counts_B=tuple(len(row.targets_N) for row in rows_B),
        lengths=RowLengths([row.cached for row in rows_B], [len(row.ids_T) for row in rows_B], cache_length),
    )


def label_logprobs(model: PreTrainedModel, batch: PackedBatch, cache: Cache | None = None) -> Tensor:
    """fp32 log-probabilities [N] of the batch's labels, row after row, with gradients where they are on."""
    hidden_UD = label_states(model, batch, cache)
    parts = zip(torch.split(hidden_UD, HEAD_ROWS), torch.split(batch.targets_U, HEAD_ROWS), strict=True)
    if len(hidden_UD) <= HEAD_ROWS or not torch.is_grad_enabled():
        logprobs_U = torch.cat([head_logprobs(model, h, t) for h, t in parts])
    else:  # many labels: forget the logits and compute them again in the backward pass
        logprobs_U = torch.cat([
            checkpoint(head_logprobs, model, h, t, use_reentrant=False, preserve_rng_state=False) for h, t in parts
        ])  # fmt: skip
    return logprobs_U if len(logprobs_U) == len(batch.labels_N) else logprobs_U[batch.labels_N]


def label_states(model: PreTrainedModel, batch: PackedBatch, cache: Cache | None = None) -> Tensor:
    """Hidden states [U, D] that predict the batch's different labels."""
    decoder = decoder_of(model)
    with row_attention(model, batch.lengths, cache):
        hidden_BTD: Tensor = decoder(
            input_ids=batch.ids_BT,
            attention_mask=batch.mask_B1TT,
            position_ids=batch.positions_BT,
            use_cache=cache is not None,
            **cache_argument(decoder, cache),
        ).last_hidden_state
    return hidden_BTD[batch.rows_U, batch.sources_U]


def head_logprobs(model: PreTrainedModel, hidden_ND: Tensor, targets_N: Tensor) -> Tensor:
    """fp32 log-probabilities [N] of tokens, from the hidden states that predict them."""
    return token_logprobs(own_logits(model, hidden_ND), targets_N)
