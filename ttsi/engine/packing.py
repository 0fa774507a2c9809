"""How are sequences that begin alike computed without computing the beginning twice?

All sequences of a row (the examples of one training step, or the candidates of one prompt) lie behind each other:
their longest common prefix once, then each one's own tokens. Positions restart after the prefix, and a token sees
the prefix and its own block, nothing else, so that hidden states and gradients are those of the sequence alone:

    allowed(i, j) = j <= i and (block(j) = prefix or block(j) = block(i))

The vocabulary head runs at label positions only. Inputs: token ids with the length of their prompt. Outputs: fp32
log-probabilities of the tokens after the prompt. The paper (arXiv:2510.07841) trains and scores each sequence by
itself; the numbers are the same up to rounding.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint
from transformers import PreTrainedModel

from ttsi.errors import ModelError

Labelled = tuple[Sequence[int], int]
"""(token ids, how many of them are prompt, at least 1); the rest are labels."""

HEAD_ROWS = 2048
"""Label positions per application of the vocabulary head: bounds the memory for logits."""


@dataclass(frozen=True)
class PackedRow:
    """Sequences with a common beginning, in one row."""

    ids_T: tuple[int, ...]
    positions_T: tuple[int, ...]
    blocks_T: tuple[int, ...]
    """0 for the common prefix, k for the own tokens of the k-th sequence (from 1)."""
    sources_N: tuple[int, ...]
    """Where in the row the hidden state lies that predicts the n-th label."""
    targets_N: tuple[int, ...]
    counts_K: tuple[int, ...]
    """Labels per sequence; they follow each other in `sources_N` and `targets_N`."""


@dataclass(frozen=True)
class PackedBatch:
    """Rows as tensors, padded at the end."""

    ids_BT: Tensor
    positions_BT: Tensor | None
    """None where every row is one plain sequence."""
    mask_B1TT: Tensor | None
    """Additive mask; None where causal attention is all there is."""
    rows_N: Tensor
    sources_N: Tensor
    targets_N: Tensor
    counts_B: tuple[int, ...]
    """Labels per row."""


def common_prefix(sequences: Sequence[Sequence[int]]) -> int:
    """Length of the longest common beginning."""
    shortest = min(len(ids) for ids in sequences)
    first = sequences[0]
    for index in range(shortest):
        if any(ids[index] != first[index] for ids in sequences):
            return index
    return shortest


def pack(sequences_K: Sequence[Labelled]) -> PackedRow:
    """Lay out sequences in one row.

    Raises:
        ValueError: a sequence has no prompt token, so nothing predicts its first label.
    """
    shared = common_prefix([ids for ids, _ in sequences_K])
    ids_T = list(sequences_K[0][0][:shared])
    positions_T, blocks_T = list(range(shared)), [0] * shared
    sources_N: list[int] = []
    targets_N: list[int] = []
    for block, (ids, n_prompt) in enumerate(sequences_K, start=1):
        if n_prompt < 1:
            raise ValueError("a sequence needs at least one prompt token")
        own = len(ids_T) - shared
        sources_N += [at if at < shared else at + own for at in range(n_prompt - 1, len(ids) - 1)]
        targets_N += ids[n_prompt:]
        ids_T += ids[shared:]
        positions_T += range(shared, len(ids))
        blocks_T += [block] * (len(ids) - shared)
    counts = tuple(max(len(ids) - n_prompt, 0) for ids, n_prompt in sequences_K)
    return PackedRow(
        tuple(ids_T), tuple(positions_T), tuple(blocks_T), tuple(sources_N), tuple(targets_N), counts
    )  # fmt: skip


def block_mask(blocks_BT: Tensor, dtype: torch.dtype) -> Tensor:
    """Additive mask [B, 1, T, T]: 0 where a token may look, the dtype's lowest number elsewhere.

    Padding has block -1 and stands behind everything: no real token sees it, and it sees itself, so that no row of the
    softmax is empty.
    """
    length = blocks_BT.shape[1]
    visible_BTT = (blocks_BT[:, None, :] == 0) | (blocks_BT[:, None, :] == blocks_BT[:, :, None])
    visible_BTT &= torch.ones(length, length, dtype=torch.bool, device=blocks_BT.device).tril()
    mask_BTT = torch.zeros(visible_BTT.shape, dtype=dtype, device=blocks_BT.device)
    return mask_BTT.masked_fill_(~visible_BTT, torch.finfo(dtype).min)[:, None]


def collate(rows_B: Sequence[PackedRow], device: torch.device, dtype: torch.dtype) -> PackedBatch:
    """Rows as one batch, padded to the longest."""
    longest = max(len(row.ids_T) for row in rows_B)

    def padded(values_BT: Sequence[Sequence[int]], filler: int) -> Tensor:
        return torch.tensor([[*v, *[filler] * (longest - len(v))] for v in values_BT], device=device)

    def joined(values_B: Sequence[Sequence[int]]) -> Tensor:
        return torch.tensor([v for values in values_B for v in values], dtype=torch.long, device=device)

    plain = all(not row.blocks_T or row.blocks_T[-1] == 0 for row in rows_B)
    return PackedBatch(
        ids_BT=padded([row.ids_T for row in rows_B], 0),
        positions_BT=None if plain else padded([row.positions_T for row in rows_B], 0),
        mask_B1TT=None if plain else block_mask(padded([row.blocks_T for row in rows_B], -1), dtype),
        rows_N=joined([[index] * len(row.targets_N) for index, row in enumerate(rows_B)]),
        sources_N=joined([row.sources_N for row in rows_B]),
        targets_N=joined([row.targets_N for row in rows_B]),
        counts_B=tuple(len(row.targets_N) for row in rows_B),
    )


def label_logprobs(model: PreTrainedModel, batch: PackedBatch) -> Tensor:
    """fp32 log-probabilities [N] of the batch's labels, row after row, with gradients where they are on."""
    hidden_BTD = model.base_model(
        input_ids=batch.ids_BT, attention_mask=batch.mask_B1TT, position_ids=batch.positions_BT, use_cache=False
    ).last_hidden_state
    hidden_ND = hidden_BTD[batch.rows_N, batch.sources_N]
    parts = zip(torch.split(hidden_ND, HEAD_ROWS), torch.split(batch.targets_N, HEAD_ROWS), strict=True)
    if len(hidden_ND) <= HEAD_ROWS or not torch.is_grad_enabled():
        return torch.cat([_head_logprobs(model, h, t) for h, t in parts])
    # Many labels: forget the logits and compute them again in the backward pass.
    return torch.cat([
        checkpoint(_head_logprobs, model, h, t, use_reentrant=False, preserve_rng_state=False) for h, t in parts
    ])  # fmt: skip


def head_of(model: PreTrainedModel) -> nn.Linear:
    """The vocabulary head.

    Raises:
        ModelError: the model has none, or one of another kind.
    """
    head = model.get_output_embeddings()
    if not isinstance(head, nn.Linear):
        raise ModelError(f"{type(model).__name__} is not supported: it has no linear vocabulary head")
    return head


def head_logits(model: PreTrainedModel, hidden_ND: Tensor) -> Tensor:
    """fp32 logits [N, V] of hidden states [N, D]."""
    logits_NV: Tensor = head_of(model)(hidden_ND)
    return logits_NV.float()


def _head_logprobs(model: PreTrainedModel, hidden_ND: Tensor, targets_N: Tensor) -> Tensor:
    return -torch.nn.functional.cross_entropy(head_logits(model, hidden_ND), targets_N, reduction="none")


@torch.no_grad()
def check_architecture(model: PreTrainedModel) -> None:
    """Compare packed rows and the separate head with the model's own forward pass, on a few tokens.

    Raises:
        ModelError: they differ, so this architecture computes something the engine does not know.
    """
    sequences = [((1, 2, 3, 4, 5), 1), ((1, 2, 5, 3), 1)]
    batch = collate([pack(sequences)], model.device, model.dtype)
    expected = []
    for ids, _ in sequences:
        logits_TV = model(input_ids=torch.tensor([ids], device=model.device), use_cache=False).logits[0].float()
        expected.append(-torch.nn.functional.cross_entropy(
            logits_TV[:-1], torch.tensor(ids[1:], device=model.device), reduction="none"
        ))  # fmt: skip
    tolerance = 1e-3 if model.dtype == torch.float32 else 0.1
    if not torch.allclose(label_logprobs(model, batch), torch.cat(expected), rtol=tolerance, atol=tolerance):
        raise ModelError(f"{type(model).__name__} is not supported: use a Qwen2, Llama, Mistral or similar model")
