"""The prefix caches of one model: for how long keys and values stay.

Inputs: prompts as token ids, a `PrefixStore`. Outputs: a `PrefixCache` for one batch, with what the base read of the
prompts' system text and tools in earlier batches, and one for each adapter in the batch. The paper (arXiv:2510.07841)
reads every prompt from its first token.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager

from transformers import PreTrainedModel

from ttsi.engine.checksum import weights_fingerprint
from ttsi.engine.prefix import MIN_CACHED_TOKENS, CachedPrompt, PrefixCache, PrefixEntry, prefill
from ttsi.models.adapted_prefixes import AdaptedPrefixes
from ttsi.models.prefix_store import PrefixStore
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

    def _read(self, ids: tuple[int, ...]) -> PrefixEntry:
        return prefill(self._model, [CachedPrompt(ids)])[0]
