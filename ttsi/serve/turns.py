"""Whose turn is it?

One worker answers one request after another. Inputs: requests with the name of their key. Outputs: turns, fair between
keys: the key that has used the least worker time goes next (a counter per key, as in VTC, arXiv:2401.00588), so that a
flood of one key delays another's request by no more than the one under way. What cannot be answered soon is refused at
once, with the time after which asking again makes sense.
"""

from __future__ import annotations

import asyncio
import math
from collections import deque
from dataclasses import dataclass, field

from ttsi.serve.limits import Limits


class Refused(Exception):
    """Not now: an HTTP status, a line, and after how many seconds to ask again."""

    def __init__(self, status: int, message: str, retry_after: float) -> None:
        """Say why."""
        super().__init__(message)
        self.status = status
        self.retry_after = max(1, math.ceil(retry_after))


@dataclass
class _Key:
    used: float = 0.0
    inside: int = 0
    waiting: deque[asyncio.Future[None]] = field(default_factory=deque)


class Turns:
    """The queue before the worker; used by one event loop."""

    def __init__(self, limits: Limits) -> None:
        """An empty queue."""
        self._limits = limits
        self._keys: dict[str, _Key] = {}
        self._busy = False
        self._seconds = 0.1  # a running mean of what a request takes

    @property
    def waiting(self) -> int:
        """Requests that wait."""
        return sum(len(key.waiting) for key in self._keys.values())

    @property
    def inside(self) -> int:
        """Requests that wait or are answered."""
        return sum(key.inside for key in self._keys.values())

    async def take(self, tenant: str) -> None:
        """Wait for a turn; `give` must follow.

        Raises:
            Refused: this key has too many requests, or the wait would be too long.
        """
        key = self._admitted(tenant)
        key.inside += 1
        if not self._busy:
            self._busy = True
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        key.waiting.append(turn)
        try:
            await turn
        except (asyncio.CancelledError, Refused):
            if turn in key.waiting:
                key.waiting.remove(turn)
                self._left(tenant)
            else:
                self.give(tenant, 0.0)  # the turn came and nobody is there to use it
            raise

    def give(self, tenant: str, seconds: float) -> None:
        """The turn is over; it took so long."""
        self._keys[tenant].used += seconds
        if seconds:
            self._seconds += 0.2 * (seconds - self._seconds)
        self._left(tenant)
        self._busy = self._next()

    def refuse_waiting(self, reason: Refused) -> None:
        """Refuse everybody who waits."""
        for key in self._keys.values():
            for turn in key.waiting:
                if not turn.done():
                    turn.set_exception(reason)

    def check(self, tenant: str) -> None:
        """Whether a request would be let in now.

        Raises:
            Refused: this key has too many requests, or the wait would be too long.
        """
        key = self._keys.get(tenant)
        if key is not None and key.inside >= self._limits.per_key:
            raise Refused(429, "too many requests of this key at once", self._seconds * key.inside)
        ahead = min(self.waiting, (len(key.waiting) + 1 if key else 1) * max(1, len(self._keys)))
        wait = (ahead + self._busy) * self._seconds
        if self.waiting >= self._limits.queue or wait > self._limits.wait_seconds:
            raise Refused(503, "the server is busy", wait)

    def _admitted(self, tenant: str) -> _Key:
        self.check(tenant)
        key = self._keys.get(tenant)
        if key is None:
            # Who comes back after a pause has saved nothing up.
            least = min((other.used for other in self._keys.values()), default=0.0)
            key = self._keys[tenant] = _Key(used=least)
        return key

    def _left(self, tenant: str) -> None:
        key = self._keys[tenant]
        key.inside -= 1
        if key.inside == 0 and len(self._keys) > 1:
            del self._keys[tenant]  # an idle key is nobody, so that the table does not grow

    def _next(self) -> bool:
        """Hand the turn to the waiting key that has used least; whether there was one."""
        ready = [key for key in self._keys.values() if key.waiting]
        while ready:
            turn = min(ready, key=lambda key: key.used).waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                return True
            ready = [key for key in self._keys.values() if key.waiting]
        return False
