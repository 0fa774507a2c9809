"""What will a run cost, before it is started?

Inputs: the inputs of a run, its models and settings. Outputs: a `Bill`: seconds with a range, the peak memory, and on
how many inputs it was tried. A few inputs, evenly spread over the run, are done twice: only answered and measured
(what every input costs), and with all of them adapted (what an adapted input costs on top):

    seconds = inputs * (answered + share adapted * on top)

Where one adapter is learned for the whole run it is learned from as many rows of the training data, and what that took,
times the rows, comes once.

The range is that of the share (Wilson, 95 %), the one thing in it that few inputs cannot tell; that later inputs are
longer or the machine busier is not in it. Nothing is written, and the results are thrown away. Not in the paper
(arXiv:2510.07841).
"""

from __future__ import annotations

import importlib
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

from ttsi.config import LoopConfig
from ttsi.models import Model, Writer
from ttsi.runs.sources import ready
from ttsi.stats import wilson
from ttsi.types import Input, TrainingData

TRIED = 8
"""Inputs that are tried, at most."""
PATIENCE = 10.0
"""Seconds of one input alone, above which no more than that one is tried."""


@dataclass(frozen=True)
class Bill:
    """What a run is going to cost on this machine, as far as a few inputs can tell."""

    seconds: float
    seconds_low: float
    seconds_high: float
    adapted_share: float
    """Share of the tried inputs that the gate lets through."""
    memory_mb: float | None
    """Peak of this process, model included; None where the system does not say. Memory of a GPU is not in it."""
    tried: int
    """On how many inputs; 0 when the run has none."""


def estimate(inputs: Sequence[Input], model: Model, writer: Writer, config: LoopConfig, batch_size: int) -> Bill:
    """Try a few inputs and extrapolate; takes about as long as that many inputs do."""
    chosen = _spread(inputs, min(TRIED, batch_size))
    if not chosen:
        return Bill(0.0, 0.0, 0.0, 0.0, _peak_mb(), 0)
    few, rows = _few_rows(writer, config)
    with ready(model, few, config) as (speaker, source):
        alone, _ = _answered(chosen[:1], speaker, source, config)  # also warms up
        if alone > PATIENCE:
            chosen = chosen[:1]
        answered, passing = _answered(chosen, speaker, source, config)
        first = _adapted(chosen, speaker, source, config) if config.adapt else answered
        again = _adapted(chosen, speaker, source, config) if rows else first
    on_top, once = max(again - answered, 0.0), rows * max(first - again, 0.0)
    each, more = answered / len(chosen), on_top / len(chosen)
    share = wilson(passing, len(chosen))
    known = not config.adapt or config.awareness.gate == "all"

    def seconds(adapted: float) -> float:
        return once + len(inputs) * (each + adapted * more)

    found = passing / len(chosen)
    low, high = (found, found) if known else (share.low, share.high)
    return Bill(seconds(found), seconds(low), seconds(high), found, _peak_mb(), len(chosen))


def _few_rows(writer: Writer, config: LoopConfig) -> tuple[Writer, float]:
    """The writer with few rows of its data, and how many times as many it has; 0 where no adapter is shared."""
    if config.adaptation.method != "shared" or not isinstance(writer, TrainingData):
        return writer, 0.0
    few = writer.pairs[:TRIED]
    return replace(writer, pairs=few), len(writer.pairs) / len(few)


def _spread(inputs: Sequence[Input], count: int) -> list[Input]:
    """So many inputs, from all over the run."""
    count = min(count, len(inputs))
    return [inputs[at * len(inputs) // count] for at in range(count)]


def _answered(inputs: Sequence[Input], model: Model, writer: Writer, config: LoopConfig) -> tuple[float, int]:
    """(seconds to answer and measure, how many would be adapted)."""
    from ttsi.loop import improve, passes  # not at the top: reading a run folder needs none of the stages

    start = time.perf_counter()
    episodes = improve(inputs, model, writer, replace(config, adapt=False))
    seconds = time.perf_counter() - start
    measured = [episode.awareness for episode in episodes if episode.awareness is not None]
    passing = sum(passes(awareness, config.awareness.gate) for awareness in measured)
    return seconds, passing if config.adapt else 0


def _adapted(inputs: Sequence[Input], model: Model, writer: Writer, config: LoopConfig) -> float:
    """Seconds with every one of them adapted."""
    from ttsi.loop import improve

    start = time.perf_counter()
    improve(inputs, model, writer, replace(config, awareness=replace(config.awareness, gate="all")))
    return time.perf_counter() - start


def _peak_mb() -> float | None:
    if sys.platform == "win32":
        return None
    resource = importlib.import_module("resource")
    peak = float(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
    return peak / (2**20 if sys.platform == "darwin" else 2**10)
