"""Attention windows: how far back a token may look, layer by layer.

Some models look at all earlier tokens in some layers, and in the others at a window of the last ones (Gemma, Mistral)
or at their own chunk (Llama 4):

    window: allowed(i, j) = visible(i, j) and position(i) - position(j) < window
    chunk:  allowed(i, j) = visible(i, j) and position(i) // chunk == position(j) // chunk

Inputs: what each token may see at all (a tree of tokens behind a cache), and positions. Outputs: one additive mask, or
one per type of layer where they differ. Keys and values are kept whole, however short the window is: another branch of
the tree, or a later prompt, may need them.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import PreTrainedModel

from ttsi.engine.anatomy import decoder_of

Masks = Tensor | dict[str, Tensor] | None
"""Additive [B, 1, T, K], 0 or the dtype's lowest number; one per type of layer; None: causal attention is all."""


@dataclass(frozen=True)
class Span:
    """How far back the layers of one type look."""

    layer_type: str
    window: int | None = None
    chunk: int | None = None

    @property
    def limit(self) -> int | None:
        """The most positions that such a layer sees in full."""
        return self.window or self.chunk

    def near(self, positions_BT: Tensor, keys_BK: Tensor) -> Tensor:
        """Which keys lie near enough [B, T, K]."""
        query_BT1, key_B1K = positions_BT[:, :, None], keys_BK[:, None, :]
        if self.window:
            return query_BT1 - key_B1K < self.window
        if self.chunk:
            return query_BT1 // self.chunk == key_B1K // self.chunk
        return (query_BT1 >= 0).expand(-1, -1, keys_BK.shape[1])


Spans = tuple[Span, ...]
"""One per type of layer."""


def spans_of(model: PreTrainedModel) -> Spans:
    """How far back the layers look, one entry per type."""
    config = decoder_of(model).config
    window = getattr(config, "sliding_window", None) or None
    chunk = getattr(config, "attention_chunk_size", None) or None
    types = getattr(config, "layer_types", None) or ["sliding_attention" if window else "full_attention"]
    return tuple(
        Span(
            layer_type,
            window if layer_type == "sliding_attention" else None,
            chunk if layer_type == "chunked_attention" else None,
        )
        for layer_type in dict.fromkeys(types)
    )


def any_window_binds(spans: Spans, furthest: int) -> bool:
    """Whether a window hides anything from a sequence of `furthest` tokens."""
    return any(span.limit is not None and furthest > span.limit for span in spans)


def masks(
    visible_BTK: Tensor, positions_BT: Tensor, keys_BK: Tensor, dtype: torch.dtype, spans: Spans, furthest: int
) -> Tensor | dict[str, Tensor]:
    """Additive masks for the layers.

    Args:
        visible_BTK: which keys a token sees at all, itself among them.
        positions_BT: position of each token in its own sequence.
        keys_BK: position of each key.
        dtype: of the masks.
        spans: how far back the layers look.
        furthest: the largest position plus one; where no window hides anything, one mask is all.
    """
    if not any_window_binds(spans, furthest):
        return _additive(visible_BTK, dtype)
    by_type = {span.layer_type: _additive(visible_BTK & span.near(positions_BT, keys_BK), dtype) for span in spans}
    return by_type if len(by_type) > 1 else next(iter(by_type.values()))


def _additive(visible_BTK: Tensor, dtype: torch.dtype) -> Tensor:
    mask_BTK = torch.zeros(visible_BTK.shape, dtype=dtype, device=visible_BTK.device)
    return mask_BTK.masked_fill_(~visible_BTK, torch.finfo(dtype).min)[:, None]
