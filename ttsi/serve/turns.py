"""Whose turn is it?

One worker answers one request after another. Inputs: requests with the name of their key. Outputs: turns, fair between
keys: the key that has used the least worker time goes next (a counter per key, as in VTC, arXiv:2401.00588), so that a
flood of one key delays another's request by no more than the one under way. Who comes, or comes back, begins at the
counter of the turn that is running: a pause saves nothing up, and leaving makes nobody forget what was used, without
which those who come and go would be served before those who wait.

What cannot be answered soon is refused at once, with the time after which asking again makes sense. That is a forecast;
where it was wrong, a request that has waited `Limits.wait_seconds` goes first, and its caller is told to be quick.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from ttsi.serve.limits import Limits


class Refused(Exception):
    """Not now: an HTTP status, a line, and after how many seconds to ask again."""

    def __init__(self, status: int, message: str, retry_after: float) -> None:
        """Say why."""
        super().__init__(message)
        self.status = status
        self.retry_after = max(1, math.ceil(retry_after))


@dataclass(frozen=True)
class _Place:
    since: float
    turn: asyncio.Future[None]


@dataclass
class _Key:
    used: float
    """Worker seconds, from where this key's counter began."""
    inside: int = 0
    waiting: deque[_Place] = field(default_factory=deque)


class Turns:
    """The queue before the worker; used by one event loop."""

    def __init__(self, limits: Limits, clock: Callable[[], float] = time.monotonic) -> None:
        """An empty queue."""
        self._limits, self._clock = limits, clock
        self._keys: dict[str, _Key] = {}
        self._busy = False
        self._level = 0.0  # the counter of the key whose turn it is
        self._given = 0
        self._seconds = 0.1  # a running mean of what a request takes

    @property
    def waiting(self) -> int:
        """Requests that wait."""
        return sum(len(key.waiting) for key in self._keys.values())

    @property
    def inside(self) -> int:
        """Requests that wait or are answered."""
        return sum(key.inside for key in self._keys.values())

    async def take(self, tenant: str) -> bool:
        """Wait for a turn; `give` must follow. Whether it came in time.

        Raises:
            Refused: this key has too many requests, or the wait would be too long.
        """
        key = self._admitted(tenant)
        key.inside += 1
        if not self._busy:
            self._busy, self._level = True, max(self._level, key.used)
            return True
        place = _Place(self._clock(), asyncio.get_running_loop().create_future())
        key.waiting.append(place)
        try:
            await place.turn
        except (asyncio.CancelledError, Refused):
            if place in key.waiting:
                key.waiting.remove(place)
                self._left(tenant)
            else:
                self.give(tenant, 0.0)  # the turn came and nobody is there to use it
            raise
        return not self._overdue(place)

    def _overdue(self, place: _Place) -> bool:
        return self._clock() - place.since >= self._limits.wait_seconds

    def give(self, tenant: str, seconds: float, usual: bool = True) -> None:
        """The turn is over; it took so long, and says what the next ones will take if it was a `usual` one.

        Whoever was late is quick: to forecast from that would let in more who will be late.
        """
        self._keys[tenant].used += seconds
        if seconds and usual:
            self._given += 1
            self._seconds += max(0.05, 1 / self._given) * (seconds - self._seconds)
        self._left(tenant)
        self._busy = self._next()

    def refuse_waiting(self, reason: Refused) -> None:
        """Refuse everybody who waits."""
        for key in self._keys.values():
            for place in key.waiting:
                if not place.turn.done():
                    place.turn.set_exception(reason)

    def check(self, tenant: str) -> None:
        """Whether a request would be let in now.

        Raises:
            Refused: this key has too many requests, or the wait would be too long.
        """
        key = self._keys.get(tenant)
        if key is not None and key.inside >= self._limits.per_key:
            raise Refused(429, "too many requests of this key at once", self._seconds * key.inside)
        others = sum(other.inside > 0 for other in self._keys.values() if other is not key)
        ahead = min(self.waiting, (len(key.waiting) + 1 if key else 1) * (others + 1))
        wait = (ahead + self._busy) * self._seconds
        if self.waiting >= self._limits.queue or wait > self._limits.wait_seconds:
            raise Refused(503, "the server is busy", wait)

    def _admitted(self, tenant: str) -> _Key:
        self.check(tenant)
        key = self._keys.setdefault(tenant, _Key(self._level))
        if not key.inside:
            key.used = max(key.used, self._level)
        return key

    def _left(self, tenant: str) -> None:
        self._keys[tenant].inside -= 1
        if self.inside == 0:
            self._keys, self._level = {}, 0.0
            return
        # Who is away and has used no more than who comes anew is nobody, so that the table does not grow.
        self._keys = {name: key for name, key in self._keys.items() if key.inside or key.used > self._level}

    def _next(self) -> bool:
        """Hand the turn to who has waited too long, else to the key that has used least; whether there was one."""
        while ready := [key for key in self._keys.values() if key.waiting]:
            key = min(ready, key=lambda key: key.waiting[0].since)
            if not self._overdue(key.waiting[0]):
                key = min(ready, key=lambda key: (key.used, key.waiting[0].since))
                self._level = max(self._level, key.used)
            place = key.waiting.popleft()
            if not place.turn.done():
                place.turn.set_result(None)
                return True
        return False
