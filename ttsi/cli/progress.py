"""How far is it? A bar with the time left on a terminal, a plain line every ten seconds elsewhere; always on stderr.

Inputs: the runner's `Progress` after each batch. Outputs: nothing on stdout, so that data can be piped.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from ttsi.runs.runner import Progress

EVERY = 10.0
"""Seconds between two plain lines."""

Report = Callable[[Progress], None]


@contextmanager
def progress(quiet: bool) -> Iterator[Report]:
    """A function to call after each batch, for as long as the block lasts."""
    if quiet:
        yield lambda state: None
    elif sys.stderr.isatty():
        with _bar() as report:
            yield report
    else:
        yield _Lines(time.monotonic)


def state_line(state: Progress) -> str:
    """What is known so far, in words.

    >>> state_line(Progress(done=4, total=8, unsure=1, errors=0, graded=4, base_right=2, adapted_right=3))
    '1 unsure, base 50.0 %, adapted 75.0 %'
    """
    parts = [f"{state.unsure} unsure"]
    if state.graded:
        parts.append(f"base {100 * state.base_right / state.graded:.1f} %")
        parts.append(f"adapted {100 * state.adapted_right / state.graded:.1f} %")
    return ", ".join(parts + ([f"{state.errors} failed"] if state.errors else []))


def duration(seconds: float) -> str:
    """Seconds as people say them.

    >>> duration(42), duration(200), duration(7300)
    ('42 s', '3 min', '2 h 2 min')
    """
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"


class _Lines:
    """Plain lines for logs."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._began = self._said = clock()
        self._before: int | None = None

    def __call__(self, state: Progress) -> None:
        now = self._clock()
        if self._before is None:
            self._before = state.done
            return
        if now - self._said < EVERY and state.done < state.total:
            return
        self._said = now
        per_input = (now - self._began) / max(state.done - self._before, 1)
        left = "" if state.done == state.total else f", {duration(per_input * (state.total - state.done))} left"
        print(f"ttsi: {state.done} of {state.total} inputs, {state_line(state)}{left}", file=sys.stderr, flush=True)


@contextmanager
def _bar() -> Iterator[Report]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    columns = (BarColumn(), MofNCompleteColumn(), TextColumn("{task.description}"), TimeRemainingColumn())
    # A batch may take minutes; the speed is an average over all of them, so the time left does not jump.
    with Bar(*columns, console=Console(stderr=True), speed_estimate_period=3600) as bar:
        task = bar.add_task("starting", total=None)
        begun: list[int] = []

        def report(state: Progress) -> None:
            if not begun:
                begun.append(state.done)
                bar.reset(task, total=state.total, completed=state.done, description=state_line(state))
            else:
                bar.update(task, completed=state.done, description=state_line(state))

        yield report
