"""Which beginnings of prompts has the model read already, and how does it go on from them?

What a causal model computes of a prompt's beginning does not depend on what follows. So the keys and values of every
prompt that the base reads are kept for a while, and a later prompt that begins alike is read from where it departs:
scoring goes on from the prompt that was answered, the writer's prompts from the tools they share, and inputs with
equal system text and tools from that. Prompts that are read together and begin alike have their common beginning
read first, once.

    Prefixes     what was read, found by token ids; adapters change keys and values, so only the base's are kept
    read         many prompts, each from where it departs
    Slab         keys and values of a batch in memory taken at once, so that a written token costs no copy

Inputs: token ids. Outputs: keys, values and the last hidden state. The paper (arXiv:2510.07841) reads every prompt
from its first token; the numbers are the same up to rounding.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor
from transformers import Cache, DynamicCache, PreTrainedModel
from transformers.cache_utils import DynamicLayer

from ttsi.engine.anatomy import decoder_of
from ttsi.engine.batching import ENOUGH, in_groups, pass_tokens
from ttsi.engine.caching import reading_on
from ttsi.engine.lora import BoundRows, LoraStack
from ttsi.engine.packing import common_prefix, key_positions, tree_visible
from ttsi.engine.windows import masks, spans_of

WORTH = 32
"""Tokens that are worth keeping: to read fewer again is cheaper than to look after them."""

ROOM = 2**30
"""Bytes that kept beginnings may take; when they are used up, what is new is read and not kept."""


@dataclass(frozen=True)
class Read:
    """A prompt that was read."""

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
class Opening:
    """A prompt, and what was read of it before."""

    ids: tuple[int, ...]
    slot: int = -1
    """The adapter it is read with; -1 is the base."""
    before: Read | None = None
    cached: int = 0
    """How many tokens it has in common with `before`; at least one remains to be read."""

    @property
    def rest(self) -> tuple[int, ...]:
        """What remains to be read."""
        return self.ids[self.cached :]


class _Node(dict[int, "_Node"]):
    """A place in the tree of all token sequences kept; `read` is one that passes through it."""

    read: Read


class Prefixes:
    """What the base has read so far. It lives as long as the weights are the same and the caller wants."""

    def __init__(self, room: int = ROOM) -> None:
        """Nothing was read yet; at most `room` bytes will be kept."""
        self._root, self._left = _Node(), room

    def opening(self, ids: tuple[int, ...]) -> Opening:
        """The prompt with the longest beginning of it that is kept."""
        node, cached = self._root, 0
        for token in ids[:-1]:
            following = node.get(token)
            if following is None:
                break
            node, cached = following, cached + 1
        return Opening(ids, before=node.read if cached else None, cached=cached)

    def learn(self, model: PreTrainedModel, prompts: Iterable[tuple[int, ...]]) -> None:
        """Read and keep what of these prompts is new and worth it, common beginnings first.

        Raises:
            ModelError: one prompt alone does not fit the memory.
        """
        new = sorted({ids for ids in prompts if self._is_worth(ids)})
        if not new:
            return
        # Neighbours in sorted order share the longest beginnings; n prompts have at most n - 1 of them.
        self.learn(model, [one[: common_prefix((one, other))] for one, other in pairwise(new)])
        for found in read(model, [self.opening(ids) for ids in new if self._is_worth(ids)]):
            self._keep(found)

    def _is_worth(self, ids: tuple[int, ...]) -> bool:
        return len(ids) - self.opening(ids).cached > WORTH

    def _keep(self, found: Read) -> None:
        if found.bytes > self._left:
            return
        self._left -= found.bytes
        node = self._root
        for token in found.ids:
            node = node.setdefault(token, _Node())
            node.read = found


@torch.no_grad()
def read(model: PreTrainedModel, openings: Sequence[Opening], stack: LoraStack | None = None) -> list[Read]:
    """Read what remains of each prompt, in order.

    Raises:
        ModelError: one prompt alone does not fit the memory.
    """
    lengths = [len(opening.rest) for opening in openings]
    budget = pass_tokens(model.device)
    return in_groups(lambda part: _read_together(model, part, stack), openings, lengths, budget, ENOUGH)


def _read_together(model: PreTrainedModel, openings_B: Sequence[Opening], stack: LoraStack | None) -> list[Read]:
    cache, cache_length = cache_of(openings_B)
    longest = max(len(opening.rest) for opening in openings_B)
    ids_BT = torch.tensor(
        [[*opening.rest, *[0] * (longest - len(opening.rest))] for opening in openings_B], device=model.device
    )
    positions_BT = mask_B1TT = None
    if cache_length:
        cached_B = torch.tensor([opening.cached for opening in openings_B], device=model.device)
        positions_BT = cached_B[:, None] + torch.arange(longest, device=model.device)
        # Padding may see the text before it: nobody reads what it sees.
        ends_BT = torch.full_like(ids_BT, longest)
        visible_BTK = tree_visible(ends_BT, cached_B, cache_length)
        keys_BK = key_positions(positions_BT, cache_length)
        furthest = max(len(opening.ids) for opening in openings_B)
        mask_B1TT = masks(visible_BTK, positions_BT, keys_BK, model.dtype, spans_of(model), furthest)
    bound = stack.gather([opening.slot for opening in openings_B]) if stack is not None else None
    with using(stack, bound):
        decoder = decoder_of(model)
        hidden_BTD = decoder(
            input_ids=ids_BT,
            attention_mask=mask_B1TT,
            position_ids=positions_BT,
            use_cache=True,
            **reading_on(decoder, cache),
        ).last_hidden_state
    return [
        Read(
            opening.ids,
            tuple(
                (_joined(opening, layer, 0, keys_BHTD[row]), _joined(opening, layer, 1, values_BHTD[row]))
                for layer, (keys_BHTD, values_BHTD) in enumerate(_pairs(cache, cache_length))
            ),
            hidden_BTD[row, len(opening.rest) - 1].clone(),
        )
        for row, opening in enumerate(openings_B)
    ]


def _pairs(cache: Cache, start: int) -> list[tuple[Tensor, Tensor]]:
    """Keys and values of each layer from a token on."""
    pairs = []
    for layer in cache.layers:
        assert isinstance(layer, DynamicLayer) and layer.keys is not None and layer.values is not None
        pairs.append((layer.keys[:, :, start:], layer.values[:, :, start:]))
    return pairs


def _joined(opening: Opening, layer: int, which: int, new_HTD: Tensor) -> Tensor:
    """The kept beginning and the new tokens, without padding, as a tensor of its own."""
    own_HTD = new_HTD[:, : len(opening.rest)]
    if opening.before is None:
        return own_HTD.clone()
    return torch.cat([opening.before.pairs_L[layer][which][:, : opening.cached], own_HTD], dim=1)


def cache_of(openings_B: Sequence[Opening]) -> tuple[Cache, int]:
    """The kept beginnings as one cache, zeros behind the shorter ones, and its length."""
    longest = max(opening.cached for opening in openings_B)
    first = next((opening.before for opening in openings_B if opening.before is not None), None)
    cache = DynamicCache()
    if first is None:
        return cache, 0
    for layer, pair in enumerate(first.pairs_L):
        keys, values = (
            like.new_zeros(len(openings_B), like.shape[0], longest, like.shape[2]) for like in pair
        )  # fmt: skip
        for row, opening in enumerate(openings_B):
            if opening.before is not None:
                keys[row, :, : opening.cached] = opening.before.pairs_L[layer][0][:, : opening.cached]
                values[row, :, : opening.cached] = opening.before.pairs_L[layer][1][:, : opening.cached]
        cache.update(keys, values, layer)
    return cache, longest


def using(stack: LoraStack | None, bound: BoundRows | None) -> AbstractContextManager[None]:
    """`LoraStack.using`, where there is a stack."""
    return stack.using(bound) if stack is not None else nullcontext()


class Slab(DynamicLayer):
    """One layer's keys and values of a batch, in memory that was taken for all tokens to come."""

    def __init__(self, reads_B: Sequence[Read], layer: int, room: int) -> None:
        """Begin with these prompts, zeros behind the shorter ones, and room for so many tokens more."""
        DynamicLayer.__init__(self)
        self.length = max(len(found.ids) for found in reads_B)
        self.keys, self.values = (
            _stacked([found.pairs_L[layer][which] for found in reads_B], self.length, room) for which in (0, 1)
        )
        self.is_initialized = True

    def update(
        self, key_states: Tensor, value_states: Tensor, *args: object, **kwargs: object
    ) -> tuple[Tensor, Tensor]:
        """Write the new tokens behind the old; views of all so far."""
        assert self.keys is not None and self.values is not None
        end = self.length + key_states.shape[2]
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


def slabs(reads_B: Sequence[Read], room: int) -> Cache:
    """A cache that begins with these prompts and has room for so many tokens more."""
    return Cache(layers=[Slab(reads_B, layer, room) for layer in range(len(reads_B[0].pairs_L))])


def _stacked(parts_B: Sequence[Tensor], longest: int, room: int) -> Tensor:
    like = parts_B[0]
    whole = like.new_empty(len(parts_B), like.shape[0], longest + room, like.shape[2])
    for row, part_HTD in enumerate(parts_B):
        whole[row, :, : part_HTD.shape[1]] = part_HTD
        whole[row, :, part_HTD.shape[1] : longest] = 0  # masked, but 0 * NaN would be NaN
    return whole


def _moved_up(whole_BHTD: Tensor, indices_B: Tensor, length: int) -> Tensor:
    kept = whole_BHTD[:, :, :length].index_select(0, indices_B)
    above = whole_BHTD.narrow(0, 0, len(indices_B))
    above[:, :, :length] = kept
    return above
