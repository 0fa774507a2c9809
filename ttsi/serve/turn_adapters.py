"""Adapters that live for one turn of a conversation, per API key, in the worker's memory.

Inputs: requests of one key, step after step: the user's message, then the same with calls and their results behind it.
Outputs: episodes. The first unsure step trains an adapter; the later ones of the same turn are answered with it,
untrained, until the user speaks again, its time is over, or newer turns take its place. Off unless the operator turns
it on. No key can reach another's, and nothing is written to a disk.

The paper (arXiv:2510.07841) drops the adapter behind each answer.
"""

from __future__ import annotations

import hashlib
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import replace

from ttsi.agents.adapter_life import answer_with_adapters, train_adapters
from ttsi.config import LoopConfig
from ttsi.models import Model
from ttsi.serve.limits import TurnAdapterLimits
from ttsi.types import Answer, Episode, Example, Input


class TurnAdapters:
    """The living adapters of all keys; used by one thread."""

    def __init__(self, limits: TurnAdapterLimits, clock: Callable[[], float] = time.monotonic) -> None:
        self._limits, self._clock = limits, clock
        self._living: dict[str, OrderedDict[str, tuple[float, bytes, Sequence[Example]]]] = {}
        # key -> turn -> (end of life, file, the examples that it learned)

    @property
    def on(self) -> bool:
        """Whether any adapter is kept."""
        return self._limits.seconds > 0 and self._limits.most > 0

    def count(self) -> int:
        """How many adapters live now."""
        self._drop_old()
        return sum(map(len, self._living.values()))

    def improve(
        self,
        tenant: str,
        item: Input,
        model: Model,
        config: LoopConfig,
        repeat: int,
        answers: Sequence[Answer],
    ) -> Episode:
        """The episode of a step, by the turn's adapter where it lives; arguments as for `ttsi.improve`."""
        self._drop_old()
        turn = turn_hash(item, config.seed, repeat)
        own = self._living.setdefault(tenant, OrderedDict())
        if turn in own and item.messages[-1].role != "user":  # a repeated first step trains anew, as it did before
            _, file, learned = own[turn]
            return answer_with_adapters(model, config, [item], [file], [learned], repeat, answers)[0]
        [episode], [trained] = train_adapters(model, None, config, [item], repeat, answers)
        if trained is not None:
            own[turn] = self._clock() + self._limits.seconds, trained, episode.examples
            while len(own) > self._limits.most:
                own.popitem(last=False)
        return episode

    def _drop_old(self) -> None:
        now = self._clock()
        for tenant, own in list(self._living.items()):
            kept = OrderedDict((turn, one) for turn, one in own.items() if one[0] > now)
            self._living[tenant] = kept
            if not kept:
                del self._living[tenant]


def turn_hash(item: Input, seed: int, repeat: int) -> str:
    """Equal for all steps of a turn: the conversation up to the user's last message, the tools, the random numbers."""
    last = max((i for i, message in enumerate(item.messages) if message.role == "user"), default=-1)
    beginning = replace(item, messages=item.messages[: last + 1])
    return hashlib.sha256(f"{beginning.content_hash}|{seed}|{repeat}".encode()).hexdigest()
