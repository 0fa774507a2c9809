"""How far is it? A live table on a terminal, a plain line every ten seconds elsewhere; always on stderr.

Inputs: the runner's `Progress` after each batch. Outputs: inputs per second, the time left, the share of unsure inputs
and the gain so far with its interval; nothing on stdout, so that data can be piped.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from ttsi.runs.runner import Progress

if TYPE_CHECKING:
    from rich.console import Group

EVERY = 10.0
"""Seconds between two plain lines."""

Report = Callable[[Progress], None]


@contextmanager
def progress(quiet: bool) -> Iterator[Report]:
    """A function to call after each batch, for as long as the block lasts."""
    if quiet:
        yield lambda state: None
    elif sys.stderr.isatty():
        with _live() as report:
            yield report
    else:
        yield _Lines(time.monotonic)


def facts(state: Progress) -> list[tuple[str, str]]:
    """What is known so far, named.

    >>> state = Progress(done=4, total=8, unsure=1, errors=0, graded=4, base_right=2, adapted_right=3, fixed=1)
    >>> for name, value in facts(state): print(name, value)
    unsure 25.0 %
    base 50.0 %
    adapted 75.0 %
    gain so far +25.0 points (95 % interval -17.4 to +67.4)
    """
    found = [("unsure", f"{100 * state.unsure / state.done:.1f} %")] if state.done else []
    gain = state.gain()
    if gain is not None:
        found.append(("base", f"{100 * state.base_right / state.graded:.1f} %"))
    if gain is not None and state.fixed + state.broken:
        points, interval = gain
        found.append(("adapted", f"{100 * state.adapted_right / state.graded:.1f} %"))
        bounds = f"95 % interval {interval.low:+.1f} to {interval.high:+.1f}"
        found.append(("gain so far", f"{points:+.1f} points ({bounds})"))
    return found + ([("failed", str(state.errors))] if state.errors else [])


def duration(seconds: float) -> str:
    """Seconds as people say them.

    >>> duration(42), duration(200), duration(7300)
    ('42 s', '3 min', '2 h 2 min')
    """
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"


class _Speed:
    """Inputs per second and the time left, over this sitting only: an average, so that the time left does not jump."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._began = clock()
        self._before: int | None = None

    def facts(self, state: Progress) -> list[tuple[str, str]]:
        if self._before is None:
            self._before = state.done
        fresh, passed = state.done - self._before, self._clock() - self._began
        if not fresh or passed <= 0:
            return []
        left = duration(passed / fresh * (state.total - state.done))
        speed = [("inputs per second", f"{fresh / passed:.2g}" if fresh < 100 * passed else f"{fresh / passed:.0f}")]
        return speed + ([("time left", left)] if state.done < state.total else [])


class _Lines:
    """Plain lines for logs."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock, self._speed = clock, _Speed(clock)
        self._said = clock()
        self._begun = False

    def __call__(self, state: Progress) -> None:
        known = [*facts(state), *self._speed.facts(state)]
        now = self._clock()
        if not self._begun or (now - self._said < EVERY and state.done < state.total):
            self._begun = True
            return
        self._said = now
        told = "".join(f", {name} {value}" for name, value in known)
        print(f"ttsi: {state.done} of {state.total} inputs{told}", file=sys.stderr, flush=True)


@contextmanager
def _live() -> Iterator[Report]:
    from rich.console import Console
    from rich.live import Live

    speed = _Speed(time.monotonic)
    with Live(console=Console(stderr=True), auto_refresh=False) as live:
        yield lambda state: live.update(table(state, speed.facts(state)), refresh=True)


def table(state: Progress, speed: list[tuple[str, str]]) -> Group:
    """The live table: a bar, and under it one line per fact."""
    from rich.console import Group
    from rich.progress_bar import ProgressBar
    from rich.table import Table

    head = Table.grid(padding=(0, 2))
    head.add_row(ProgressBar(state.total, state.done, width=40), f"{state.done} of {state.total} inputs")
    body = Table.grid(padding=(0, 2))
    for name, value in [*speed, *facts(state)]:
        body.add_row(name, value)
    return Group(head, body)
