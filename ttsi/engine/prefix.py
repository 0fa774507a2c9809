"""Prefix cache: keys and values of prompts that the base has read, and prefilling from where a prompt departs.

What a causal model computes of a prompt's beginning does not depend on what follows. So the keys and values of every
prompt that the base reads are kept for a while, and a later prompt that begins alike is read from where it departs:
scoring goes on from the prompt that was answered, synthesis from the tools its prompts share, and inputs with equal
system text and tools from those. Prompts that are read together and begin alike have their common beginning read
first, once.

    PrefixCache               entries by token ids, of the base or of one adapter, which has other keys and values
    prefill                   read many prompts, each from where it departs
    PreallocatedCacheLayer    keys and values of a batch in memory taken at once, so that a written token costs no copy

Inputs: token ids. Outputs: keys, values and the last hidden state. The paper (arXiv:2510.07841) reads every prompt
from its first token; the numbers are the same up to rounding.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from copy import copy
from dataclasses import dataclass, replace
from itertools import pairwise

import torch
from torch import Tensor
from transformers import Cache, DynamicCache, PreTrainedModel
from transformers.cache_utils import DynamicLayer

from ttsi.engine.anatomy import decoder_of
from ttsi.engine.attention import RowLengths, row_attention
from ttsi.engine.batching import SATURATING_TOKENS, in_groups, pass_tokens
from ttsi.engine.caching import cache_argument
from ttsi.engine.lora import BoundRows, LoraStack
from ttsi.engine.packing import common_prefix, key_positions, tree_visible
from ttsi.engine.windows import masks, spans_of

MIN_CACHED_TOKENS = 8
"""A prompt is kept when it adds more tokens than this: to read fewer again is cheaper than to look after them."""

MAX_CACHE_BYTES = 2**30
"""Bytes that the cache may take; when they are used up, new prompts are read and not kept."""


@dataclass(frozen=True)
class PrefixEntry:
    """A prompt that the model has read."""

    ids: tuple[int, ...]
    pairs_L: tuple[tuple[Tensor, Tensor], ...]
    """Per layer keys and values [heads, tokens, features]."""
    last_D: Tensor
    """Hidden state of the last token."""

    @property
    def bytes(self) -> int:
        """Memory of keys and values."""
        return sum(keys.nbytes + values.nbytes for keys, values in self.pairs_L)


@dataclass(frozen=True)
class CachedPrompt:
    """A prompt to read, and the cached entry that begins like it."""

    ids: tuple[int, ...]
    slot: int = -1
    """The adapter it is read with; -1 is the base."""
    before: PrefixEntry | None = None
    cached: int = 0
    """How many tokens it has in common with `before`; at least one remains to be read."""

    @property
    def is_whole(self) -> bool:
        """Whether the base has read exactly this prompt, and the base is to read it."""
        return self.slot < 0 and self.before is not None and self.before.ids == self.ids

    @property
    def rest(self) -> tuple[int, ...]:
        """The tokens that remain to be read."""
        return self.ids[self.cached :]


class _Node(dict[int, "_Node"]):
    """A node in the tree of all token sequences kept; `entry` is one that passes through it."""

    entry: PrefixEntry


class PrefixCache:
    """Prompts that the base, or one adapter, has read, in at most `max_bytes`; valid while the weights are the same."""

    def __init__(self, max_bytes: int = MAX_CACHE_BYTES) -> None:
        self._root, self._max_bytes = _Node(), max_bytes
        self.bytes = 0
        """Bytes of keys and values in it."""

    def lookup(self, ids: tuple[int, ...]) -> CachedPrompt:
        """The prompt with the longest beginning of it that is kept."""
        node, cached = self._root, 0
        for token in ids[:-1]:
            following = node.get(token)
            if following is None:
                break
            node, cached = following, cached + 1
        return CachedPrompt(ids, before=node.entry if cached else None, cached=cached)

    def add(self, model: PreTrainedModel, prompts: Iterable[tuple[int, ...]]) -> None:
        """Read and keep the prompts that add enough new tokens, common beginnings first.

        Raises:
            ModelError: one prompt alone does not fit the memory.
        """
        new = sorted({ids for ids in prompts if self._is_worth(ids)})
        if not new:
            return
        # Neighbours in sorted order share the longest beginnings; n prompts have at most n - 1 of them.
        self.add(model, [left[: common_prefix((left, right))] for left, right in pairwise(new)])
        for entry in prefill(model, [self.lookup(ids) for ids in new if self._is_worth(ids)]):
            self.insert(entry)

    def start(self, model: PreTrainedModel, prompts: Sequence[CachedPrompt]) -> list[CachedPrompt]:
        """The same prompts, each with an entry that holds its first `cached` tokens as the base reads them.

        Raises:
            ModelError: one beginning alone does not fit the memory.
        """
        beginnings = {prompt.ids[: prompt.cached] for prompt in prompts if prompt.cached}
        self.add(model, beginnings)
        # A beginning that is too short to keep, or for which there is no room, is read for these prompts alone.
        missing = [self.lookup(ids) for ids in sorted(beginnings) if self.entry(ids) is None]
        read = {entry.ids: entry for entry in prefill(model, missing)}
        starts = {ids: read.get(ids) or self.entry(ids) for ids in beginnings}
        return [replace(prompt, before=starts.get(prompt.ids[: prompt.cached])) for prompt in prompts]

    def entry(self, ids: tuple[int, ...]) -> PrefixEntry | None:
        """An entry that begins with all of these tokens, where one is kept."""
        prompt = self.lookup((*ids, -1))
        return prompt.before if prompt.cached == len(ids) else None

    def _is_worth(self, ids: tuple[int, ...]) -> bool:
        return len(ids) - self.lookup(ids).cached > MIN_CACHED_TOKENS

    def insert(self, entry: PrefixEntry) -> bool:
        """Keep an entry, in place of those that it begins with; False where there is no room for it."""
        left = self.bytes - sum(shorter.bytes for shorter in self._beginnings(entry.ids))
        if left + entry.bytes > self._max_bytes:
            return False
        self.bytes = left + entry.bytes
        node = self._root
        for token in entry.ids:
            node = node.setdefault(token, _Node())
            node.entry = entry
        return True

    def clear(self) -> None:
        """Drop everything."""
        self._root, self.bytes = _Node(), 0

    def _beginnings(self, ids: tuple[int, ...]) -> list[PrefixEntry]:
        """The entries that are kept of beginnings of these tokens, or of all of them."""
        kept, node = [], self._root
        for read, token in enumerate(ids, 1):
            if (following := node.get(token)) is None:
                break
            node = following
            if len(node.entry.ids) == read:
                kept.append(node.entry)
        return kept


@torch.no_grad()
def prefill(
    model: PreTrainedModel, prompts: Sequence[CachedPrompt], stack: LoraStack | None = None
) -> list[PrefixEntry]:
    """Read what remains of each prompt, in order; a prompt of the base that is kept whole is not read again.

    Raises:
        ModelError: one prompt alone does not fit the memory.
    """
    unread = [prompt for prompt in prompts if not prompt.is_whole]
    lengths = [len(prompt.rest) for prompt in unread]
    budget = pass_tokens(model.device)
    read = iter(
        in_groups(lambda part: _prefill_together(model, part, stack), unread, lengths, budget, SATURATING_TOKENS)
    )
    return [prompt.before if prompt.is_whole and prompt.before else next(read) for prompt in prompts]


def _prefill_together(
    model: PreTrainedModel, prompts_B: Sequence[CachedPrompt], stack: LoraStack | None
) -> list[PrefixEntry]:
    cache, cache_length = cache_of(prompts_B)
    longest = max(len(prompt.rest) for prompt in prompts_B)
    ids_BT = torch.tensor(
        [[*prompt.rest, *[0] * (longest - len(prompt.rest))] for prompt in prompts_B], device=model.device
    )
    positions_BT = mask_B1TT = None
    if cache_length:
        cached_B = torch.tensor([prompt.cached for prompt in prompts_B], device=model.device)
        positions_BT = cached_B[:, None] + torch.arange(longest, device=model.device)
        # Padding may see the text before it: nobody reads what it sees.
        ends_BT = torch.full_like(ids_BT, longest)
        visible_BTK = tree_visible(ends_BT, cached_B, cache_length)
        keys_BK = key_positions(positions_BT, cache_length)
        furthest = max(len(prompt.ids) for prompt in prompts_B)
        mask_B1TT = masks(visible_BTK, positions_BT, keys_BK, model.dtype, spans_of(model), furthest)
    bound = stack.gather([prompt.slot for prompt in prompts_B]) if stack is not None else None
    lengths = RowLengths([p.cached for p in prompts_B], [len(p.rest) for p in prompts_B], cache_length)
    with using(stack, bound), row_attention(model, lengths, cache):
        decoder = decoder_of(model)
        hidden_BTD = decoder(
            input_ids=ids_BT,
            attention_mask=mask_B1TT,
            position_ids=positions_BT,
            use_cache=True,
            **cache_argument(decoder, cache),
        ).last_hidden_state
    return [
        PrefixEntry(
            prompt.ids,
            tuple(
                (_join(prompt, layer, 0, keys_BHTD[row]), _join(prompt, layer, 1, values_BHTD[row]))
                for layer, (keys_BHTD, values_BHTD) in enumerate(_pairs(cache, cache_length))
            ),
            hidden_BTD[row, len(prompt.rest) - 1].clone(),
        )
        for row, prompt in enumerate(prompts_B)
    ]


def _pairs(cache: Cache, start: int) -> list[tuple[Tensor, Tensor]]:
    """Keys and values of each layer from a token on."""
    pairs = []
    for layer in cache.layers:
        assert isinstance(layer, DynamicLayer) and layer.keys is not None and layer.values is not None
        pairs.append((layer.keys[:, :, start:], layer.values[:, :, start:]))
    return pairs


def _join(prompt: CachedPrompt, layer: int, which: int, new_HTD: Tensor) -> Tensor:
    """The kept beginning and the new tokens, without padding, as a tensor of its own."""
    own_HTD = new_HTD[:, : len(prompt.rest)]
    if prompt.before is None:
        return own_HTD.clone()
    return torch.cat([prompt.before.pairs_L[layer][which][:, : prompt.cached], own_HTD], dim=1)


def cache_of(prompts_B: Sequence[CachedPrompt]) -> tuple[Cache, int]:
    """The cached beginnings as one cache, zeros behind the shorter ones, and its length."""
    longest = max(prompt.cached for prompt in prompts_B)
    first = next((prompt.before for prompt in prompts_B if prompt.before is not None), None)
    cache = DynamicCache()
    if first is None:
        return cache, 0
    for layer, pair in enumerate(first.pairs_L):
        keys, values = (
            like.new_zeros(len(prompts_B), like.shape[0], longest, like.shape[2]) for like in pair
        )  # fmt: skip
        for row, prompt in enumerate(prompts_B):
            if prompt.before is not None:
                keys[row, :, : prompt.cached] = prompt.before.pairs_L[layer][0][:, : prompt.cached]
                values[row, :, : prompt.cached] = prompt.before.pairs_L[layer][1][:, : prompt.cached]
        cache.update(keys, values, layer)
    return cache, longest


def shallow_copy(cache: Cache) -> Cache:
    """A cache with the same keys and values, which a forward pass may grow without changing the given one."""
    return Cache(layers=[copy(layer) for layer in cache.layers])


def using(stack: LoraStack | None, bound: BoundRows | None) -> AbstractContextManager[None]:
    """`LoraStack.using`, where there is a stack."""
    return stack.using(bound) if stack is not None else nullcontext()


class PreallocatedCacheLayer(DynamicLayer):
    """One layer's keys and values of a batch, in memory that is taken for all tokens to come.

    It begins with the prompts, zeros behind the shorter ones, and has room for `max_new_tokens` more; it grows where
    that is too little.
    """

    def __init__(self, entries_B: Sequence[PrefixEntry], layer: int, max_new_tokens: int) -> None:
        DynamicLayer.__init__(self)
        self.length = max(len(entry.ids) for entry in entries_B)
        self.keys, self.values = (
            _stack([entry.pairs_L[layer][which] for entry in entries_B], self.length, max_new_tokens)
            for which in (0, 1)
        )
        self.is_initialized = True

    def update(
        self, key_states: Tensor, value_states: Tensor, *args: object, **kwargs: object
    ) -> tuple[Tensor, Tensor]:
        """Write the new tokens behind the old; views of all so far."""
        assert self.keys is not None and self.values is not None
        end = self.length + key_states.shape[2]
        if end > self.keys.shape[2]:  # padding between rows took more room than their tokens
            self.keys, self.values = (_widen(whole, end + end // 4) for whole in (self.keys, self.values))
        self.keys[:, :, self.length : end] = key_states
        self.values[:, :, self.length : end] = value_states
        self.length = end
        return self.keys[:, :, :end], self.values[:, :, :end]

    def get_seq_length(self) -> int:
        """Tokens so far."""
        return self.length

    def batch_select_indices(self, indices: Tensor) -> None:
        """Keep these rows, in ascending order; they move up in the same memory."""
        assert self.keys is not None and self.values is not None
        self.keys = _moved_up(self.keys, indices, self.length)
        self.values = _moved_up(self.values, indices, self.length)


def preallocated_cache(entries_B: Sequence[PrefixEntry], max_new_tokens: int) -> Cache:
    """A cache that begins with these prompts and has room for so many tokens more."""
    layers = range(len(entries_B[0].pairs_L))
    return Cache(layers=[PreallocatedCacheLayer(entries_B, layer, max_new_tokens) for layer in layers])


def _stack(parts_B: Sequence[Tensor], longest: int, max_new_tokens: int) -> Tensor:
    like = parts_B[0]
    whole = like.new_empty(len(parts_B), like.shape[0], longest + max_new_tokens, like.shape[2])
    for row, part_HTD in enumerate(parts_B):
        whole[row, :, : part_HTD.shape[1]] = part_HTD
        whole[row, :, part_HTD.shape[1] : longest] = 0  # masked, but 0 * NaN would be NaN
    return whole


def _widen(whole_BHTD: Tensor, tokens: int) -> Tensor:
    wider = whole_BHTD.new_zeros(*whole_BHTD.shape[:2], tokens, whole_BHTD.shape[3])
    wider[:, :, : whole_BHTD.shape[2]] = whole_BHTD
    return wider


def _moved_up(whole_BHTD: Tensor, indices_B: Tensor, length: int) -> Tensor:
    kept = whole_BHTD[:, :, :length].index_select(0, indices_B)
    above = whole_BHTD.narrow(0, 0, len(indices_B))
    above[:, :, :length] = kept
    return above
