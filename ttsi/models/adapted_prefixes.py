"""Prefix caches of temporary adapters: what each adapter has read of its prompts, for as long as a batch lasts.

Inputs: an adapter, by what identifies its numbers. Outputs: the `PrefixCache` of prompts that it has read. An agent's
conversation grows from decision to decision, so an adapter that lives for a turn reads only what is new; and an
answer that is written again goes on from the prompt that was read for the first one. The adapters that were used least
recently leave when the bytes are used up. The paper (arXiv:2510.07841) reads every prompt from its first token.
"""

from __future__ import annotations

from collections import OrderedDict

from ttsi.engine.prefix import MAX_CACHE_BYTES, PrefixCache

AdapterKey = tuple[str, float, int]
"""(SHA-256 of an adapter's numbers, its alpha, how many tokens at the beginning of a prompt the base reads)."""


class AdaptedPrefixes:
    """One cache per adapter, in at most `max_bytes` beside the one in use."""

    def __init__(self, max_bytes: int = MAX_CACHE_BYTES) -> None:
        self._caches: OrderedDict[AdapterKey, PrefixCache] = OrderedDict()
        self._max_bytes = max_bytes

    def __len__(self) -> int:
        return len(self._caches)

    def cache(self, key: AdapterKey) -> PrefixCache:
        """The cache of one adapter, empty where it is new."""
        self._drop_oldest()
        cache = self._caches.pop(key, None)
        self._caches[key] = cache = PrefixCache(self._max_bytes) if cache is None else cache
        return cache

    def _drop_oldest(self) -> None:
        while len(self._caches) > 1 and sum(cache.bytes for cache in self._caches.values()) > self._max_bytes:
            self._caches.popitem(last=False)
