"""A fair queue between API keys: the key that has used the least worker time is next.

One worker answers one request after another. Inputs: requests, each with the name of its key. Outputs: turns. Every key
has a counter of worker seconds (virtual token counter, VTC, arXiv:2401.00588), so a flood from one key delays another
key's request by no more than the one that is running. A key that arrives or returns starts at the counter of the
running turn: pausing earns no credit, and leaving does not erase what was used. Otherwise keys that come and go would
be served before keys that wait.

A request that would wait too long is rejected at once, with the time after which to retry. That time is a forecast.
Where it was wrong, a request that has waited for `Limits.wait_seconds` goes first, and its caller learns that it is
late.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from ttsi.serve.limits import Limits


class Overloaded(Exception):
    """No capacity now: an HTTP status (429 or 503), a message, and the seconds after which to retry."""

    def __init__(self, status: int, message: str, retry_after: float) -> None:
        super().__init__(message)
        self.status = status
        self.retry_after = max(1, math.ceil(retry_after))


@dataclass(frozen=True)
class _Waiter:
    since: float
    turn: asyncio.Future[None]


@dataclass
class _KeyUsage:
    used: float
    """Worker seconds, from where this key's counter began."""
    inside: int = 0
    waiting: deque[_Waiter] = field(default_factory=deque)


class FairQueue:
    """The queue before the worker; used by one event loop."""

    def __init__(self, limits: Limits, clock: Callable[[], float] = time.monotonic) -> None:
        self._limits, self._clock = limits, clock
        self._keys: dict[str, _KeyUsage] = {}
        self._busy = False
        self._virtual_time = 0.0  # the counter of the key whose turn it is
        self._finished = 0
        self._mean_seconds = 0.1  # a running mean of the worker time of a request

    @property
    def waiting(self) -> int:
        """Requests that wait."""
        return sum(len(key.waiting) for key in self._keys.values())

    @property
    def inside(self) -> int:
        """Requests that wait or are running."""
        return sum(key.inside for key in self._keys.values())

    async def acquire(self, tenant: str) -> bool:
        """Wait for a turn; `release` must follow. Returns whether it came in time.

        Raises:
            Overloaded: this key has too many requests, or the wait would be too long.
        """
        key = self._admit(tenant)
        key.inside += 1
        if not self._busy:
            self._busy, self._virtual_time = True, max(self._virtual_time, key.used)
            return True
        waiter = _Waiter(self._clock(), asyncio.get_running_loop().create_future())
        key.waiting.append(waiter)
        try:
            await waiter.turn
        except (asyncio.CancelledError, Overloaded):
            if waiter in key.waiting:
                key.waiting.remove(waiter)
                self._leave(tenant)
            else:
                self.release(tenant, 0.0)  # the turn came after the caller had left
            raise
        return not self._is_overdue(waiter)

    def _is_overdue(self, waiter: _Waiter) -> bool:
        return self._clock() - waiter.since >= self._limits.wait_seconds

    def release(self, tenant: str, seconds: float, typical: bool = True) -> None:
        """End a turn that took so many seconds; only a `typical` one counts for the forecast.

        Late requests are answered by the base alone, which is quick. Counting them would admit more that will be late.
        """
        self._keys[tenant].used += seconds
        if seconds and typical:
            self._finished += 1
            self._mean_seconds += max(0.05, 1 / self._finished) * (seconds - self._mean_seconds)
        self._leave(tenant)
        self._busy = self._start_next()

    def reject_waiting(self, reason: Overloaded) -> None:
        """Reject every waiting request."""
        for key in self._keys.values():
            for waiter in key.waiting:
                if not waiter.turn.done():
                    waiter.turn.set_exception(reason)

    def check(self, tenant: str) -> None:
        """Check that a request of this key would be admitted now.

        Raises:
            Overloaded: this key has too many requests, or the wait would be too long.
        """
        key = self._keys.get(tenant)
        if key is not None and key.inside >= self._limits.per_key:
            raise Overloaded(429, "too many concurrent requests for this key", self._mean_seconds * key.inside)
        others = sum(other.inside > 0 for other in self._keys.values() if other is not key)
        ahead = min(self.waiting, (len(key.waiting) + 1 if key else 1) * (others + 1))
        wait = (ahead + self._busy) * self._mean_seconds
        if self.waiting >= self._limits.queue or wait > self._limits.wait_seconds:
            raise Overloaded(503, "the server is busy", wait)

    def _admit(self, tenant: str) -> _KeyUsage:
        self.check(tenant)
        key = self._keys.setdefault(tenant, _KeyUsage(self._virtual_time))
        if not key.inside:
            key.used = max(key.used, self._virtual_time)
        return key

    def _leave(self, tenant: str) -> None:
        self._keys[tenant].inside -= 1
        if self.inside == 0:
            self._keys, self._virtual_time = {}, 0.0
            return
        # An absent key that used no more than a new one starts with is dropped, so that the table does not grow.
        self._keys = {name: key for name, key in self._keys.items() if key.inside or key.used > self._virtual_time}

    def _start_next(self) -> bool:
        """Give the turn to an overdue request, else to the key that used least. Returns whether there was one."""
        while ready := [key for key in self._keys.values() if key.waiting]:
            key = min(ready, key=lambda key: key.waiting[0].since)
            if not self._is_overdue(key.waiting[0]):
                key = min(ready, key=lambda key: (key.used, key.waiting[0].since))
                self._virtual_time = max(self._virtual_time, key.used)
            waiter = key.waiting.popleft()
            if not waiter.turn.done():
                waiter.turn.set_result(None)
                return True
        return False
