"""Attention of packed rows on a CPU: one key-value head at a time, each row with its own keys and no others.

    scores = scaling * Q K^T + mask        P = softmax(scores)        output = P V

torch's fused kernel repeats the keys and values for every query head that shares them, attends to the padding of a
batch, and computes gradients for a cached beginning that needs none. Here the query heads that share a key-value head
are one matrix product; a row attends to its own beginning and to itself; of the keys and values only the row's own get
gradients. The probabilities are computed again in the backward pass, so that no [T, K] tensor is kept. A block of
queries sees no key behind it, because a token never sees a later one (`ttsi.engine.packing`).

A score of 30 has a rounding error of 0.06 in bfloat16. So training's forward pass keeps scores in float32. Its backward
pass multiplies bfloat16, four times as fast, and subtracts each row's maximum before the product is rounded: what is
left of the larger scores is small, and its error too. Long prompts are read in this way as well, the maximum from a
first product.

Inputs: a language model whose attention goes through transformers' `AttentionInterface` with `sdpa`, how long the rows
and their beginnings are. Outputs: the same model, which attends in this way within a `with` block; whatever the block
cannot do better (a GPU, float16, short prompts in bfloat16, dropout, few scores, an argument it does not know) is left
to `sdpa`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import cache
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from transformers import Cache, PreTrainedModel
from transformers.integrations.sdpa_attention import sdpa_attention_forward

from ttsi.engine.anatomy import decoder_of
from ttsi.engine.decoding_attention import attending, change_nothing, decoding_attention, only_fused

IMPLEMENTATION = "ttsi_packed_rows"
"""Its name among transformers' attention implementations."""

MIN_SCORES = 2**14
"""Scores per row and head, on average, from which on it is faster than the fused kernel."""

MIN_KEYS_READ = 4096
"""Tokens of the longest row from which on it reads in bfloat16. It takes 20 to 80 % of the fused kernel's time there,
and rounds a little more: so only where attention is much of the work, as in an agent's long conversation."""

BLOCK_SCORES = 2**19
"""Scores of one block of queries: they should stay in a processor's cache."""

MIN_QUERIES = 32
"""Queries of a block per head, however many keys they see: smaller products are slow."""


@dataclass(frozen=True)
class RowLengths:
    """How long the rows of a batch are, without their padding."""

    cached_B: Sequence[int]
    """Tokens of each row's beginning in the cache."""
    own_B: Sequence[int]
    """Tokens of each row behind it."""
    cache_length: int
    """Tokens of the longest beginning: where the rows start among the keys."""
    _hiding: dict[int, tuple[Tensor, list[bool]]] = field(default_factory=dict)

    def hides_beginning(self, mask_B1TK: Tensor) -> list[bool]:
        """Whether the mask hides a part of its own beginning from a row (a window does), for each row."""
        if id(mask_B1TK) not in self._hiding:
            hides = [
                bool(cached and mask_B1TK[row, 0, :own, :cached].any())
                for row, (cached, own) in enumerate(zip(self.cached_B, self.own_B, strict=True))
            ]
            self._hiding[id(mask_B1TK)] = mask_B1TK, hides  # the tensor too: while it lives, no other has its id
        return self._hiding[id(mask_B1TK)][1]

    def fit(self, query_BHTD: Tensor, key_BGKD: Tensor) -> bool:
        """Whether queries and keys are those of these rows."""
        return (
            len(query_BHTD) == len(key_BGKD) == len(self.own_B)
            and query_BHTD.shape[2] == max(self.own_B)
            and key_BGKD.shape[2] == self.cache_length + query_BHTD.shape[2]
        )

    def are_faster_apart(self, dtype: torch.dtype) -> bool:
        """Whether this module is faster than the fused kernel, which in float32 only loses time on beginnings."""
        scores = sum(own * (cached + own) for cached, own in zip(self.cached_B, self.own_B, strict=True))
        return scores >= MIN_SCORES * len(self.own_B) and (dtype != torch.float32 or self.cache_length > 0)

    @property
    def longest(self) -> int:
        """Tokens of the longest row."""
        return max(cached + own for cached, own in zip(self.cached_B, self.own_B, strict=True))


_rows: ContextVar[RowLengths | None] = ContextVar("ttsi_rows", default=None)
"""The rows of the forward pass under way."""


@contextmanager
def row_attention(model: PreTrainedModel, rows: RowLengths, held: Cache | None = None) -> Iterator[None]:
    """Within the block a forward pass over these rows attends in the way of this module, where that is faster.

    Args:
        model: its setting is changed within the block; forward passes of others meanwhile compute what they always do.
        rows: the rows of the forward pass.
        held: the beginnings' keys and values. Where they have gradients of their own, nothing changes.
    """
    config = decoder_of(model).config
    learned = held is not None and any(_has_gradient(layer) for layer in held.layers)
    before = getattr(config, "_attn_implementation", None)
    usable = before in ("sdpa", IMPLEMENTATION) and not getattr(config, "sub_configs", None)
    if learned or not usable or not rows.are_faster_apart(model.dtype):
        with decoding_attention(model):  # for few queries
            yield
        return
    token = _rows.set(rows)
    try:
        with attending(config, IMPLEMENTATION, packed_attention_forward):
            yield
    finally:
        _rows.reset(token)


def _has_gradient(layer: Any) -> bool:
    return any(isinstance(part, Tensor) and part.requires_grad for part in (layer.keys, layer.values))


def packed_attention_forward(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    **arguments: Any,
) -> tuple[Tensor, None]:
    """An attention function of transformers: output [B, T, H, D], no weights.

    It is `sdpa` outside of `row_attention`, and for whatever it cannot do.
    """
    rows = _rows.get()
    if rows is None or dropout or not _is_usable(rows, query, key, attention_mask, arguments):
        return sdpa_attention_forward(module, query, key, value, attention_mask, dropout, scaling, **arguments)
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    output: Tensor = _RowAttention.apply(query, key, value, attention_mask, rows, scale)  # type: ignore[no-untyped-call]
    return output, None


def _is_usable(
    rows: RowLengths, query_BHTD: Tensor, key_BGKD: Tensor, mask_B1TK: Tensor | None, arguments: dict[str, Any]
) -> bool:
    return (
        mask_B1TK is not None
        and mask_B1TK.dtype == query_BHTD.dtype
        and mask_B1TK.shape == (len(query_BHTD), 1, query_BHTD.shape[2], key_BGKD.shape[2])
        and rows.fit(query_BHTD, key_BGKD)
        and query_BHTD.shape[1] % key_BGKD.shape[1] == 0
        and query_BHTD.device.type == "cpu"
        and (query_BHTD.dtype == torch.float32 or _is_usable_in_bfloat16(rows, query_BHTD))
        and change_nothing(arguments)
    )


def _is_usable_in_bfloat16(rows: RowLengths, query_BHTD: Tensor) -> bool:
    """Its outputs are a little less exact than the fused kernel's, its gradients are not."""
    reads = rows.longest >= MIN_KEYS_READ and not only_fused.get()
    return query_BHTD.dtype == torch.bfloat16 and (query_BHTD.requires_grad or reads) and _multiplies_bfloat16()


@cache
def _multiplies_bfloat16() -> bool:
    """Whether this processor multiplies bfloat16 matrices itself; in software they are slower than anything."""
    return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


@dataclass(frozen=True)
class _Row:
    """One row of the batch, without padding."""

    cached: int
    """Tokens of its beginning."""
    q_GRTD: Tensor
    """Queries, by key-value head."""
    k_GKD: Tensor
    v_GKD: Tensor
    mask_TK: Tensor
    """Over the last `mask_TK.shape[1]` keys: all of them, or only the row's own where it sees its whole beginning."""
    scaling: float

    def blocks(self) -> Iterator[tuple[int, int, int]]:
        """(key-value head, first query, end) of each block of queries."""
        heads, repeats, length, _ = self.q_GRTD.shape
        size = max(MIN_QUERIES, BLOCK_SCORES // (repeats * self.k_GKD.shape[1]))
        count = -(-length // size)
        edges = [length * i // count for i in range(count + 1)]
        for head in range(heads):
            for start, end in pairwise(edges):
                yield head, start, end

    def probabilities(self, head: int, start: int, end: int) -> tuple[Tensor, Tensor]:
        """(softmax [N, K] of a block, the maximum [N, 1] of its scores), N = repeats * (end - start).

        Args:
            head: the key-value head.
            start: first query.
            end: end of the queries, and of the row's own keys that they see.
        """
        q_ND, k_KD = self.q_GRTD[head, :, start:end].flatten(0, 1), self.k_GKD[head, : self.cached + end]
        scores_NK = torch.mm(q_ND.float() * self.scaling, k_KD.float().T)
        self._mask(scores_NK, start, end)
        highest_N1 = scores_NK.amax(dim=-1, keepdim=True)
        return torch.softmax(scores_NK, dim=-1).to(q_ND.dtype), highest_N1.to(q_ND.dtype)

    def probabilities_read(self, head: int, start: int, end: int) -> Tensor:
        """The same without gradients to come, from two products in the queries' own precision."""
        q_ND, k_KD = self.q_GRTD[head, :, start:end].flatten(0, 1), self.k_GKD[head, : self.cached + end]
        if q_ND.dtype == torch.float32:
            return self.probabilities(head, start, end)[0]
        scores_NK = torch.mm(q_ND, k_KD.T)
        self._mask(scores_NK, start, end)
        return self.probabilities_again(head, start, end, scores_NK.amax(dim=-1, keepdim=True) * self.scaling)

    def probabilities_again(self, head: int, start: int, end: int, highest_N1: Tensor) -> Tensor:
        """The same from the product in the queries' own precision."""
        if highest_N1.dtype == torch.float32:
            return self.probabilities(head, start, end)[0]
        q_ND, k_KD = self.q_GRTD[head, :, start:end].flatten(0, 1), self.k_GKD[head, : self.cached + end]
        scores_NK = q_ND.new_empty(len(q_ND), len(k_KD)).copy_(-highest_N1)
        self._mask(scores_NK, start, end)
        scores_NK.addmm_(q_ND, k_KD.T, alpha=self.scaling)  # product and sum are rounded together, once
        return torch.softmax(scores_NK, dim=-1)

    def _mask(self, scores_NK: Tensor, start: int, end: int) -> None:
        """Add the mask to the scores of a block, in place."""
        seen = self.cached + end
        first = self.k_GKD.shape[1] - self.mask_TK.shape[1]
        by_head = scores_NK.unflatten(0, (-1, end - start))[:, :, first:]
        by_head += self.mask_TK[start:end, : seen - first]


def _row_of(
    rows: RowLengths, row: int, q_BHTD: Tensor, k_BGKD: Tensor, v_BGKD: Tensor, mask_B1TK: Tensor, scaling: float
) -> _Row:
    cached, own, start = rows.cached_B[row], rows.own_B[row], rows.cache_length

    def of_row(whole: Tensor, dim: int) -> Tensor:
        parts = whole.narrow(dim, 0, cached), whole.narrow(dim, start, own)
        return whole.narrow(dim, 0, start + own) if cached == start else torch.cat(parts, dim=dim)

    mask_TK = mask_B1TK[row, 0, :own]
    hides = rows.hides_beginning(mask_B1TK)[row]
    return _Row(
        cached,
        q_BHTD[row].unflatten(0, (k_BGKD.shape[1], -1))[:, :, :own],
        of_row(k_BGKD[row], 1),
        of_row(v_BGKD[row], 1),
        of_row(mask_TK, 1) if hides else mask_TK[:, start : start + own],
        scaling,
    )


class _RowAttention(torch.autograd.Function):
    """Attention of rows, with gradients for queries and for the rows' own keys and values."""

    @staticmethod
    def forward(
        ctx: Any,
        q_BHTD: Tensor,
        k_BGKD: Tensor,
        v_BGKD: Tensor,
        mask_B1TK: Tensor,
        rows: RowLengths,
        scaling: float,
    ) -> Tensor:
        batch, heads, length, _ = q_BHTD.shape
        groups = k_BGKD.shape[1]
        repeats, learns = heads // groups, any(ctx.needs_input_grad)
        out_BTHD = q_BHTD.new_empty(batch, length, heads, v_BGKD.shape[3])
        highest_BGRT = q_BHTD.new_zeros(batch, groups, repeats, length)
        for index in range(batch):
            row = _row_of(rows, index, q_BHTD, k_BGKD, v_BGKD, mask_B1TK, scaling)
            for head, start, end in row.blocks():
                if learns:
                    p_NK, highest_N1 = row.probabilities(head, start, end)
                    highest_BGRT[index, head, :, start:end] = highest_N1.view(repeats, -1)
                else:
                    p_NK = row.probabilities_read(head, start, end)
                out_ND = torch.mm(p_NK, row.v_GKD[head, : p_NK.shape[1]])
                heads_here = slice(head * repeats, (head + 1) * repeats)
                out_BTHD[index, start:end, heads_here] = out_ND.unflatten(0, (repeats, -1)).transpose(0, 1)
            out_BTHD[index, rows.own_B[index] :] = 0
        ctx.rows, ctx.scaling = rows, scaling
        ctx.save_for_backward(q_BHTD, k_BGKD, v_BGKD, mask_B1TK, highest_BGRT)
        return out_BTHD

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        (grad_BTHD,) = grads
        q_BHTD, k_BGKD, v_BGKD, mask_B1TK, highest_BGRT = ctx.saved_tensors
        rows, scaling = ctx.rows, ctx.scaling
        dq_BHTD, dk_BGKD, dv_BGKD = torch.zeros_like(q_BHTD), torch.zeros_like(k_BGKD), torch.zeros_like(v_BGKD)
        repeats = q_BHTD.shape[1] // k_BGKD.shape[1]
        for index in range(len(q_BHTD)):
            row = _row_of(rows, index, q_BHTD, k_BGKD, v_BGKD, mask_B1TK, scaling)
            own = slice(rows.cache_length, rows.cache_length + rows.own_B[index])
            dk_GTD, dv_GTD = (torch.zeros_like(whole[index, :, own], dtype=torch.float32) for whole in (k_BGKD, v_BGKD))
            for head, start, end in row.blocks():
                heads_here = slice(head * repeats, (head + 1) * repeats)
                grad_ND = grad_BTHD[index, start:end, heads_here].transpose(0, 1).flatten(0, 1)
                p_NK = row.probabilities_again(head, start, end, highest_BGRT[index, head, :, start:end].reshape(-1, 1))
                seen, q_ND = p_NK.shape[1], row.q_GRTD[head, :, start:end].flatten(0, 1)
                dp_NK = torch.mm(grad_ND, row.v_GKD[head, :seen].T)
                dv_GTD[head, :end] += torch.mm(p_NK[:, row.cached :].T, grad_ND)
                ds_NK = torch._softmax_backward_data(dp_NK, p_NK, -1, p_NK.dtype)
                dk_GTD[head, :end] += torch.mm(ds_NK[:, row.cached :].T, q_ND)
                dq_ND = torch.mm(ds_NK, row.k_GKD[head, :seen])
                dq_BHTD[index, heads_here, start:end] = dq_ND.unflatten(0, (repeats, -1))
            dk_BGKD[index, :, own] = dk_GTD * scaling
            dv_BGKD[index, :, own] = dv_GTD
        return dq_BHTD * scaling, dk_BGKD, dv_BGKD, None, None, None
