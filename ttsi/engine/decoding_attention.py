"""Attention of a few new tokens to a long cache, in bfloat16 on a CPU: the query heads of a group as one product.

    scores = scaling * Q K^T + mask        P = softmax(scores)        output = P V

torch's fused kernel is made for many queries: for one new token behind 640 it takes 6 to 10 times as long as two
products (dev/log.md), which is most of the time that a small model writes in. Here scores are float32, and the
probabilities are rounded to bfloat16, as in the kernel.

Inputs: a language model whose attention goes through transformers' `AttentionInterface` with `sdpa`. Outputs: the same
model, which attends in this way within a `with` block; whatever the block cannot do better (more queries, another
device or type, gradients, an argument it does not know) is left to `sdpa`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from ttsi.engine.anatomy import decoder_of

IMPLEMENTATION = "ttsi_few_queries"
"""Its name among transformers' attention implementations."""

MOST_QUERIES = 16
"""New tokens of a row up to which it is faster than the fused kernel."""

IGNORED_ARGUMENTS = frozenset({"position_ids", "sliding_window", "use_cache", "cache_position", "output_attentions"})
"""Arguments of an attention function that change nothing here: the mask holds what they mean."""


only_fused: ContextVar[bool] = ContextVar("ttsi_fused_attention_only", default=False)
"""Whether `fused_attention_only` is under way."""


@contextmanager
def fused_attention_only() -> Iterator[None]:
    """Within the block every forward pass attends as the model's own does, so that both round alike."""
    token = only_fused.set(True)
    try:
        yield
    finally:
        only_fused.reset(token)


@contextmanager
def decoding_attention(model: PreTrainedModel) -> Iterator[None]:
    """Within the block a forward pass of a few new tokens attends in the way of this module, where that is faster.

    Args:
        model: its setting is changed within the block; forward passes of others meanwhile compute what they always do.
    """
    config = decoder_of(model).config
    before = getattr(config, "_attn_implementation", None)
    fits = model.device.type == "cpu" and model.dtype == torch.bfloat16 and not getattr(config, "sub_configs", None)
    if before != "sdpa" or not fits or only_fused.get():
        yield
        return
    with attending(config, IMPLEMENTATION, decoding_attention_forward):
        yield


@contextmanager
def attending(config: Any, name: str, function: Callable[..., tuple[Tensor, None]]) -> Iterator[None]:
    """Within the block models of this configuration attend by a function of ours, under its name, with sdpa's masks."""
    AttentionInterface.register(name, function)
    AttentionMaskInterface.register(name, sdpa_mask)
    before, config._attn_implementation = config._attn_implementation, name
    try:
        yield
    finally:
        config._attn_implementation = before


def change_nothing(arguments: Mapping[str, Any]) -> bool:
    """Whether these further arguments of an attention function change nothing in its output."""
    return all(given is None or given is False or name in IGNORED_ARGUMENTS for name, given in arguments.items())


def decoding_attention_forward(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    **arguments: Any,
) -> tuple[Tensor, None]:
    """An attention function of transformers: output [B, T, H, D], no weights. It is `sdpa` for what it cannot do."""
    if dropout or not _is_usable(query, key, attention_mask, arguments):
        return sdpa_attention_forward(module, query, key, value, attention_mask, dropout, scaling, **arguments)
    batch, heads, new, width = query.shape
    groups = key.shape[1]
    scale = width**-0.5 if scaling is None else scaling
    q_BGND = query.reshape(batch, groups, heads // groups * new, width).float() * scale
    scores_BGND = torch.matmul(q_BGND, key.float().transpose(2, 3)).unflatten(2, (-1, new))
    if attention_mask is not None:
        scores_BGND += attention_mask[:, :, None]
    p_BGNK = scores_BGND.softmax(dim=-1).flatten(2, 3).to(value.dtype)
    out_BHTD = torch.matmul(p_BGNK, value).reshape(batch, heads, new, value.shape[3])
    return out_BHTD.transpose(1, 2).contiguous(), None


def _is_usable(query_BHTD: Tensor, key_BGKD: Tensor, mask_B1TK: Tensor | None, arguments: Mapping[str, Any]) -> bool:
    batch, heads, new, _ = query_BHTD.shape
    seen = (batch, 1, new, key_BGKD.shape[2])
    return (
        new <= MOST_QUERIES
        and (new == 1 if mask_B1TK is None else mask_B1TK.shape == seen and mask_B1TK.is_floating_point())
        and query_BHTD.device.type == "cpu"
        and query_BHTD.dtype == key_BGKD.dtype == torch.bfloat16
        and heads % key_BGKD.shape[1] == 0
        and not (torch.is_grad_enabled() and (query_BHTD.requires_grad or key_BGKD.requires_grad))
        and change_nothing(arguments)
    )
