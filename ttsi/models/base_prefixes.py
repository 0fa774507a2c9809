"""The prefix caches of one model: for how long keys and values stay.

Inputs: prompts as token ids, a `PrefixStore`. Outputs: a `PrefixCache` for one batch, with what the base read of the
prompts' system text and tools in earlier batches, and one for each adapter in the batch. The paper (arXiv:2510.07841)
reads every prompt from its first token.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import partial

from transformers import PreTrainedModel

from ttsi.engine.checksum import weights_fingerprint
from ttsi.engine.prefix import MIN_CACHED_TOKENS, CachedPrompt, PrefixCache, PrefixEntry, prefill
from ttsi.models.adapted_prefixes import AdaptedPrefixes
from ttsi.models.prefix_store import CHUNK_TOKENS, PrefixStore
from ttsi.models.temporary_adapters import UserTurn


class BasePrefixes:
    """What the base of one model has read."""

    def __init__(self, model: PreTrainedModel, user_turn: UserTurn) -> None:
        """Nothing has been read yet.

        Args:
            user_turn: finds where the first user's turn of a prompt opens, which is where its beginning ends.
        """
        self._model, self._user_turn = model, user_turn
        self._own_store = PrefixStore()
        self._store = self._own_store
        self.cache: PrefixCache | None = None
        """The cache of the batch; None outside `batch`."""
        self.adapted: AdaptedPrefixes | None = None
        """Those of the batch's adapters; None outside `batch`."""
        self._turn: AbstractContextManager[object] = threading.RLock()

    @property
    def own_bytes(self) -> int:
        """Bytes in the model's own store."""
        return self._own_store.bytes

    @contextmanager
    def batch(self, store: PrefixStore | None = None) -> Iterator[None]:
        """The block of a batch; within another one, that one goes on.

        A batch has the model to itself, with its adapters: another thread that begins one waits. Leaving the block
        drops all prompts but their beginnings, which stay in the store until the weights change.

        Args:
            store: None is the model's own.
        """
        with self._turn:
            if self.cache is not None:
                yield
                return
            self._store = self._own_store if store is None else store
            self._store.use_with(weights_fingerprint(self._model))
            self.cache, self.adapted = PrefixCache(), AdaptedPrefixes()
            try:
                yield
            finally:
                self.cache, self.adapted, self._store = None, None, self._own_store

    def read_beginnings(self, prompts: Iterable[Sequence[int]]) -> None:
        """Have the beginnings of these prompts in the cache; outside of a batch, nothing.

        Each is read alone, so that its bits do not depend on what else is asked.

        Raises:
            ModelError: one beginning does not fit the memory.
        """
        if self.cache is None:
            return
        for ids in prompts:
            beginning = tuple(ids[: self._user_turn(ids)[0]])
            if len(beginning) > MIN_CACHED_TOKENS and self.cache.entry(beginning) is None:
                self.cache.insert(self._store.entry(beginning, self._read))

    def read_conversations(self, prompts: Iterable[Sequence[int]]) -> None:
        """Have these prompts in the cache up to their last whole chunk, where the store keeps conversations.

        Chunks are read one by one behind the beginning, whatever is stored already, so that the bits are the same.

        Raises:
            ModelError: one prompt does not fit the memory.
        """
        if self.cache is None or not self._store.keeps_conversations:
            return
        for prompt in prompts:
            ids = tuple(prompt)
            start = self._user_turn(ids)[0]
            ends = range(start + CHUNK_TOKENS, len(ids), CHUNK_TOKENS)
            if ends and self.cache.entry(ids[: ends[-1]]) is None:
                self.cache.insert(self._read_chunks(ids, start, ends))

    def _read_chunks(self, ids: tuple[int, ...], start: int, ends: range) -> PrefixEntry:
        """The entry of the last chunk; of a conversation's chunks only the last one stays in the store."""
        assert self.cache is not None
        stored = next((end for end in reversed(ends) if ids[:end] in self._store), None)
        before = self.cache.entry(ids[:start]) if stored is None else self._store.entry(ids[:stored], self._read)
        read = start if stored is None else stored
        for end in ends if stored is None else range(stored + CHUNK_TOKENS, ends.stop, CHUNK_TOKENS):
            entry = self._store.entry(ids[:end], partial(self._read, before=before, cached=read))
            if read > start and ids[:end] in self._store:
                self._store.drop(ids[:read])
            before, read = entry, end
        assert before is not None
        return before

    def _read(self, ids: tuple[int, ...], before: PrefixEntry | None = None, cached: int = 0) -> PrefixEntry:
        return prefill(self._model, [CachedPrompt(ids, before=before, cached=cached if before else 0)])[0]
