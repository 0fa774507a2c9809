"""Prefix caches of temporary adapters: what each adapter has read of its prompts, for as long as a batch lasts.

Inputs: an adapter, by what identifies its numbers. Outputs: the `PrefixCache` of prompts that it has read. An agent's
conversation grows from decision to decision, so an adapter that lives for a turn reads only what is new; and an
answer that is written again goes on from the prompt that was read for the first one. The adapters that were used least
recently leave when the bytes are used up. The paper (arXiv:2510.07841) reads every prompt from its first token.
"""

from __future__ import annotations

from collections import OrderedDict

from ttsi.engine.prefix import MAX_CACHE_BYTES, PrefixCache, PrefixEntry

AdapterKey = tuple[str, float, int]
"""(SHA-256 of an adapter's numbers, its alpha, how many tokens at the beginning of a prompt the base reads)."""


class AdaptedPrefixes:
    """One cache per adapter, all of them together in at most `max_bytes`."""

    def __init__(self, max_bytes: int = MAX_CACHE_BYTES) -> None:
        self._caches: OrderedDict[AdapterKey, AdapterCache] = OrderedDict()
        self.max_bytes = max_bytes

    @property
    def bytes(self) -> int:
        """Bytes of keys and values in all caches."""
        return sum(cache.bytes for cache in self._caches.values())

    def cache(self, key: AdapterKey) -> AdapterCache:
        """The cache of one adapter, empty where it is new."""
        cache = self._caches.pop(key, None)
        self._caches[key] = cache = AdapterCache(self) if cache is None else cache
        return cache

    def make_room(self, size: int, wanted: AdapterCache) -> None:
        """Empty the caches that were used least recently, but for one, until there is room for so many bytes more."""
        for cache in self._caches.values():
            if self.bytes + size <= self.max_bytes:
                return
            if cache is not wanted:
                cache.clear()


class AdapterCache(PrefixCache):
    """The prompts that one adapter has read; what it keeps counts towards the bytes of all."""

    def __init__(self, adapters: AdaptedPrefixes) -> None:
        super().__init__(adapters.max_bytes)
        self._adapters = adapters

    def insert(self, entry: PrefixEntry) -> bool:
        """Keep an entry, if need be in place of other adapters'; False where it alone is too large."""
        if entry.bytes > self._adapters.max_bytes:
            return False
        self._adapters.make_room(entry.bytes, self)
        return super().insert(entry)
