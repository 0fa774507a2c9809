"""Store of prompt beginnings: what the base read of system text, tools and conversations stays from batch to batch.

Inputs: token ids up to the first user's turn, or up to a chunk of the conversation behind it, and what the base
computed of them (`PrefixEntry`). Outputs: the same, for a later prompt that begins with exactly these ids. The least
recently used leaves when the bytes are used up. A store has one owner: `ttsi serve` has one per API key, so that no key
can measure what another asked. The paper (arXiv:2510.07841) reads every prompt from its first token.

A beginning is always read alone and from its first token, and a conversation always in the same chunks behind it. So an
answer has the same bits with and without what is in the store.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ttsi.engine.prefix import PrefixEntry

DEFAULT_BYTES = 2**30
"""Bytes of keys and values that stay; the beginnings of some 30 lists of 12 tools (1,400 tokens) at SmolLM2-135M."""

CHUNK_TOKENS = 256
"""Tokens of a conversation that are read together. A later turn reads fewer than these again."""


class PrefixStore:
    """Beginnings of prompts, the least recently used first."""

    def __init__(self, max_bytes: int = DEFAULT_BYTES, keeps_conversations: bool = False) -> None:
        """An empty store.

        Args:
            max_bytes: of all keys and values in it.
            keeps_conversations: keep what was read behind the beginnings, too, as agents need whose requests grow.
        """
        self.keeps_conversations = keeps_conversations
        self._entries: OrderedDict[tuple[int, ...], PrefixEntry] = OrderedDict()
        self._max_bytes, self._weights = max_bytes, 0
        self.bytes = 0
        """Bytes of keys and values in it."""

    def __len__(self) -> int:
        return len(self._entries)

    def use_with(self, weights: int) -> None:
        """Drop everything where the weights are not those of the last use.

        Args:
            weights: a fingerprint of them (`ttsi.engine.checksum.weights_fingerprint`).
        """
        if weights != self._weights:
            self.clear()
        self._weights = weights

    def __contains__(self, ids: tuple[int, ...]) -> bool:
        return ids in self._entries

    def drop(self, ids: tuple[int, ...]) -> None:
        """Drop an entry, where it is there."""
        if (entry := self._entries.pop(ids, None)) is not None:
            self.bytes -= entry.bytes

    def entry(self, ids: tuple[int, ...], read: Callable[[tuple[int, ...]], PrefixEntry]) -> PrefixEntry:
        """The entry of exactly these ids.

        Args:
            ids: the beginning of a prompt.
            read: has the base read it; asked where it is not in the store, in which it then stays in place of the
                least recently used. An entry that is larger than the store does not stay.
        """
        entry = self._entries.pop(ids, None)
        if entry is None:
            entry = read(ids)
            if entry.bytes > self._max_bytes:
                return entry
            self.bytes += entry.bytes
        self._entries[ids] = entry
        while self.bytes > self._max_bytes:
            self.bytes -= self._entries.popitem(last=False)[1].bytes
        return entry

    def clear(self) -> None:
        """Drop everything."""
        self._entries.clear()
        self.bytes = 0
