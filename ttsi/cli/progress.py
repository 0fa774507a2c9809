"""Progress of a run: a live table on a terminal, a plain line every ten seconds elsewhere; always on stderr.

Inputs: the runner's `RunProgress` after each batch, and the loop's events within one. Outputs: what is being loaded or
read; inputs per second, the time left, the share of unsure inputs and the gain so far with its interval; within a
batch its current stage. Nothing goes to stdout, so that data can be piped.
"""

from __future__ import annotations

import logging
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING

from ttsi.log_listener import STAGE_LOG, listening_to
from ttsi.models import computes_here
from ttsi.plurals import with_noun
from ttsi.runs.tally import RunProgress

if TYPE_CHECKING:
    from rich.console import Group, RenderableType

LINE_INTERVAL = 10.0
"""Seconds between two plain lines."""

ANNOUNCE_AFTER = 1.0
"""Seconds after which something that is usually quick is announced."""

TRAINING_LOG = "ttsi.engine.training"
"""The name of the log with an event after each step of a long training."""
AGENT_LOG = "ttsi.agents.task_episode"
"""The name of the log with an event after each decision of an agent."""

STAGE_VERBS = {
    "answer": ("answering", ""),
    "awareness": ("measuring confidence", " on"),
    "synthesis": ("writing examples", " for"),
    "adaptation": ("adapting", " to"),
    "library": ("learning for the library", " from"),
    "execution": ("executing calls", " of"),
    "preparation": ("preparing adapters", " for lists of tools:"),
}
"""What a stage does; for several inputs a preposition and their number follow."""

Report = Callable[[RunProgress], None]


def loading(spec: str, quiet: bool = False) -> AbstractContextManager[None]:
    """Announce at once that a model is loaded: torch alone takes seconds to import. Scripted models need no time."""
    return announced(f"loading {spec}", quiet, at_once=computes_here(spec))


def print_notes(model: object, quiet: bool = False) -> None:
    """Print notes about a model on stderr, such as unused context or weights without an adapter."""
    for note in () if quiet else getattr(model, "notes", ()):
        print(f"ttsi: {note}", file=sys.stderr, flush=True)


@contextmanager
def announced(doing: str, quiet: bool = False, at_once: bool = False) -> Iterator[None]:
    """Print on stderr what is being done, at once or when it has taken a second."""
    line = f"ttsi: {doing} ..."
    if quiet:
        yield
    elif at_once:
        print(line, file=sys.stderr, flush=True)
        yield
    else:
        stream = sys.stderr
        timer = threading.Timer(ANNOUNCE_AFTER, lambda: print(line, file=stream, flush=True))
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()


@contextmanager
def progress(quiet: bool) -> Iterator[Report]:
    """A function to call after each batch, for as long as the block lasts."""
    if quiet:
        yield lambda state: None
        return
    stages = _Stages(time.monotonic)
    with stages.listening():
        if sys.stderr.isatty():
            with _live(stages) as report:
                yield report
        else:
            lines = _Lines(time.monotonic, stages)
            with _ticking(lines.tick):
                yield lines


def facts(state: RunProgress) -> list[tuple[str, str]]:
    """Names and values of the results so far.

    >>> state = RunProgress(done=4, total=8, unsure=1, errors=0, graded=4, base_right=2, adapted_right=3, fixed=1)
    >>> for name, value in facts(state): print(name, value)
    unsure 25.0 %
    base 50.0 %
    adapted 75.0 %
    gain so far +25.0 points (95 % interval +0.0 to +75.0)
    """
    results = [("unsure", f"{100 * state.unsure / state.done:.1f} %")] if state.done else []
    gain = state.gain()
    if gain is not None:
        results.append(("base", f"{100 * state.base_right / state.graded:.1f} %"))
    if gain is not None and state.fixed + state.broken:
        points, interval = gain
        results.append(("adapted", f"{100 * state.adapted_right / state.graded:.1f} %"))
        bounds = "-" if interval is None else f"{interval.low:+.1f} to {interval.high:+.1f}"
        results.append(("gain so far", f"{points:+.1f} points (95 % interval {bounds})"))
    return results + ([("failed", str(state.errors))] if state.errors else [])


def duration(seconds: float) -> str:
    """Seconds in a convenient unit.

    >>> duration(42), duration(200), duration(7300)
    ('42 s', '3 min', '2 h 2 min')
    """
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"


class _Speed:
    """Inputs per second and the time left, averaged over this session so that the time left does not jump."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._began = clock()
        self._before: int | None = None

    def facts(self, state: RunProgress) -> list[tuple[str, str]]:
        if self._before is None:
            self._before = state.done
        fresh, passed = state.done - self._before, self._clock() - self._began
        if not fresh or passed <= 0:
            return []
        left = duration(passed / fresh * (state.total - state.done))
        speed = [("inputs per second", f"{fresh / passed:.2g}" if fresh < 100 * passed else f"{fresh / passed:.0f}")]
        return speed + ([("time left", left)] if state.done < state.total else [])


class _Stages(logging.Handler):
    """The stage that the loop is in, from its log; a long training's step, and how far an agent is, from theirs."""

    def __init__(self, clock: Callable[[], float], *, counts_inputs: bool = True) -> None:
        super().__init__(logging.INFO)
        self._clock, self._counts_inputs = clock, counts_inputs
        self._began = clock()
        self._agent, self._doing, self._step = "", "", ""
        self._kept_steps = 0  # of a training that goes on from a checkpoint

    def emit(self, record: logging.LogRecord) -> None:
        """One event: a stage begins, for so many inputs; a step of a training is done; an agent has decided."""
        match record.args:
            case (int(step), int(steps)) if record.name == TRAINING_LOG:
                self._note_step(step, steps, resumed="resumed" in record.msg)
            case (side, int(decisions)) if record.name == AGENT_LOG:
                self._agent = f"{side} agent after {with_noun(decisions, 'decision')}: "
            case (stage, inputs) if record.name == STAGE_LOG:
                self._began, self._step, self._kept_steps = self._clock(), "", 0
                verb, preposition = STAGE_VERBS.get(str(stage), (str(stage), ""))
                self._doing = f"{verb}{preposition} {inputs}" if self._counts_inputs else verb

    def _note_step(self, step: int, steps: int, *, resumed: bool) -> None:
        if resumed:
            self._kept_steps = step
        done = step - self._kept_steps
        left = (self._clock() - self._began) / done * (steps - step) if done else 0.0
        self._step = f"; step {step} of {steps}" + (f", {duration(left)} left" if left else "")

    def now(self) -> str:
        """The stage and for how long it has run; empty between batches and where other processes do the work."""
        spent = duration(self._clock() - self._began)
        return f"{self._agent}{self._doing} ({spent}{self._step})" if self._doing else ""

    def clear(self) -> None:
        """A batch is done."""
        self._agent = self._doing = self._step = ""

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Listen to the logs for as long as the block lasts; other handlers see them as before."""
        with listening_to(STAGE_LOG, self), listening_to(TRAINING_LOG, self), listening_to(AGENT_LOG, self):
            yield


class _Lines:
    """Plain lines for logs."""

    def __init__(self, clock: Callable[[], float], stages: _Stages | None = None) -> None:
        self._clock, self._speed = clock, _Speed(clock)
        self._stages = stages or _Stages(clock)
        self._printed = self._counted = clock()
        self._state: RunProgress | None = None

    def __call__(self, state: RunProgress) -> None:
        """A batch is done, or the first one begins; lines about stages in between do not delay this one."""
        speed = self._speed.facts(state)
        first, self._state = self._state is None, state
        self._stages.clear()
        if not first and (self._clock() - self._counted >= LINE_INTERVAL or state.done >= state.total):
            self._counted = self._clock()
            self._print(", ".join(f"{name} {value}" for name, value in [*facts(state), *speed]))

    def tick(self) -> None:
        """Print the stage when a batch takes long; called about once a second."""
        doing = self._stages.now()
        if self._state is not None and doing and self._clock() - self._printed >= LINE_INTERVAL:
            self._print(doing)

    def _print(self, rest: str) -> None:
        self._printed = self._clock()
        state = self._state
        if state is not None:
            line = f"ttsi: {state.done} of {with_noun(state.total, 'input')}" + (f", {rest}" if rest else "")
            print(line, file=sys.stderr, flush=True)


@contextmanager
def _ticking(tick: Callable[[], None]) -> Iterator[None]:
    """A thread that calls a function once a second, which knows whether it is time for a line."""
    ended = threading.Event()

    def look() -> None:
        while not ended.wait(1.0):
            tick()

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


@contextmanager
def stage_lines() -> Iterator[Callable[[], None]]:
    """A line on stderr for every ten seconds of a stage, where one request is answered.

    Yields:
        A function to call where no stage runs any more, as while a user types.
    """
    stages = _Stages(time.monotonic, counts_inputs=False)
    lines = _StageLines(time.monotonic, stages)
    with stages.listening(), _ticking(lines.tick):
        yield stages.clear


class _StageLines:
    """Plain lines that name the stage."""

    def __init__(self, clock: Callable[[], float], stages: _Stages) -> None:
        self._clock, self._stages, self._stream = clock, stages, sys.stderr
        self._printed = clock()

    def tick(self) -> None:
        """Print the present stage, with its own seconds, ten seconds behind the last line."""
        doing = self._stages.now()
        if not doing:
            self._printed = self._clock()
        elif self._clock() - self._printed >= LINE_INTERVAL:
            self._printed = self._clock()
            print(f"ttsi: {doing}", file=self._stream, flush=True)


class _Table:
    """The live table; rich renders it four times a second, so the seconds of the running stage move."""

    def __init__(self, stages: _Stages) -> None:
        self._stages, self._speed = stages, _Speed(time.monotonic)
        self._state: RunProgress | None = None
        self._speed_facts: list[tuple[str, str]] = []

    def __call__(self, state: RunProgress) -> None:
        self._speed_facts, self._state = self._speed.facts(state), state
        self._stages.clear()

    def __rich__(self) -> RenderableType:
        if self._state is None:
            return ""
        doing = self._stages.now()
        return table(self._state, [*self._speed_facts, *([("now", doing)] if doing else [])])


@contextmanager
def _live(stages: _Stages) -> Iterator[Report]:
    from rich.console import Console
    from rich.live import Live

    live_table = _Table(stages)
    with Live(live_table, console=Console(stderr=True), refresh_per_second=4) as live:

        def report(state: RunProgress) -> None:
            live_table(state)
            live.refresh()

        yield report


def table(state: RunProgress, speed: list[tuple[str, str]]) -> Group:
    """The live table: a bar, and under it one line per fact."""
    from rich.console import Group
    from rich.progress_bar import ProgressBar
    from rich.table import Table

    head = Table.grid(padding=(0, 2))
    head.add_row(ProgressBar(state.total, state.done, width=40), f"{state.done} of {with_noun(state.total, 'input')}")
    body = Table.grid(padding=(0, 2))
    for name, value in [*speed, *facts(state)]:
        body.add_row(name, value)
    return Group(head, body)
