"""Cost of a run, estimated from a few of its inputs before it starts.

Inputs: the inputs of a run, its models and settings. Outputs: a `CostEstimate`: seconds with a range, the peak memory,
and the number of inputs tried. A few inputs, evenly spread over the run, are done twice: only answered and measured
(the cost of every input), and with all of them adapted (the extra cost of an adapted one):

    seconds = inputs * (answered + share adapted * extra)

A method with one adapter for the whole run learns it from a few rows of the training data; that time, scaled to all
rows, is added once.

The range covers the share of adapted inputs (Wilson, 95 %), which few inputs cannot fix. It does not cover later inputs
that are longer, or a busier machine. Nothing is written, and the results are thrown away.
"""

from __future__ import annotations

import importlib
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

from ttsi.config import LoopConfig
from ttsi.methods import adaptation_method
from ttsi.models import Model, Writer
from ttsi.models.prefix_store import DEFAULT_BYTES
from ttsi.runs.executor import prepared
from ttsi.stats import wilson
from ttsi.types import Input, TrainingData

MAX_TRIED = 8
"""Inputs to try, at most."""
SLOW_SECONDS = 10.0
"""An input that alone takes longer than this is the only one tried."""


@dataclass(frozen=True)
class CostEstimate:
    """The cost of a run on this machine, estimated from a few inputs."""

    seconds: float
    seconds_low: float
    seconds_high: float
    adapted_share: float
    """Share of the tried inputs that the gate lets through."""
    memory_mb: float | None
    """Peak of this process, model included: that of the tried inputs, scaled to a batch, with a full prefix store. None
    where the system does not report it. GPU memory is not included."""
    tried: int
    """Number of inputs tried; 0 when the run has none."""


def estimate_cost(
    inputs: Sequence[Input], model: Model, writer: Writer, config: LoopConfig, batch_size: int
) -> CostEstimate:
    """Try a few inputs and extrapolate; takes about as long as that many inputs do."""
    chosen = _spread(inputs, min(MAX_TRIED, batch_size))
    if not chosen:
        return CostEstimate(0.0, 0.0, 0.0, 0.0, _peak_mb(), 0)
    few, rows = _few_rows(writer, config)
    loaded = _peak_mb()
    with prepared(model, few, config) as (run_model, run_writer):
        alone, _ = _time_answers(chosen[:1], run_model, run_writer, config)  # also warms up
        if alone > SLOW_SECONDS:
            chosen = chosen[:1]
        answered, passing = _time_answers(chosen, run_model, run_writer, config)
        first = _time_adaptation(chosen, run_model, run_writer, config) if config.adapt else answered
        again = _time_adaptation(chosen, run_model, run_writer, config) if rows else first
    extra, once = max(again - answered, 0.0), rows * max(first - again, 0.0)
    per_input, per_adapted = answered / len(chosen), extra / len(chosen)
    interval = wilson(passing, len(chosen))
    certain = not config.adapt or (config.awareness.gate == "all" and not config.adaptation.keep_decision)

    def seconds(share: float) -> float:
        return once + len(inputs) * (per_input + share * per_adapted)

    share = passing / len(chosen)
    low, high = (share, share) if certain else (interval.low, interval.high)
    memory = _memory(model, loaded, len(chosen), min(batch_size, len(inputs)), len(inputs))
    return CostEstimate(seconds(share), seconds(low), seconds(high), share, memory, len(chosen))


def _memory(model: Model, loaded_mb: float | None, tried: int, batch: int, inputs: int) -> float | None:
    """The peak so far, scaled from the tried inputs to a batch, and with the store of prompts' beginnings filled up."""
    peak = _peak_mb()
    if peak is None or loaded_mb is None:
        return peak
    kept = getattr(getattr(model, "prefixes", None), "own_bytes", 0) / 2**20
    full = min(kept * inputs / tried, DEFAULT_BYTES / 2**20)
    return peak + max(0.0, peak - loaded_mb - kept) * (batch / tried - 1) + max(0.0, full - kept)


def _few_rows(writer: Writer, config: LoopConfig) -> tuple[Writer, float]:
    """The writer with few rows of its data, and the factor to all of them; 0 where no adapter is shared."""
    if not adaptation_method(config.adaptation.method).shared or not isinstance(writer, TrainingData):
        return writer, 0.0
    few = writer.pairs[:MAX_TRIED]
    return replace(writer, pairs=few), len(writer.pairs) / len(few)


def _spread(inputs: Sequence[Input], count: int) -> list[Input]:
    """So many inputs, from all over the run."""
    count = min(count, len(inputs))
    return [inputs[at * len(inputs) // count] for at in range(count)]


def _time_answers(inputs: Sequence[Input], model: Model, writer: Writer, config: LoopConfig) -> tuple[float, int]:
    """(seconds to answer and measure, number of inputs that would be adapted)."""
    # Not at the top: reading a run folder needs none of the stages.
    from ttsi.awareness.selection import select_episodes
    from ttsi.loop import improve

    start = time.perf_counter()
    episodes = improve(inputs, model, writer, replace(config, adapt=False))
    seconds = time.perf_counter() - start
    return seconds, len(select_episodes(inputs, episodes, config))


def _time_adaptation(inputs: Sequence[Input], model: Model, writer: Writer, config: LoopConfig) -> float:
    """Seconds with every input adapted, those that are answered in words, too."""
    from ttsi.loop import improve

    adaptation = replace(config.adaptation, keep_decision=False)
    start = time.perf_counter()
    improve(
        inputs, model, writer, replace(config, awareness=replace(config.awareness, gate="all"), adaptation=adaptation)
    )
    return time.perf_counter() - start


def _peak_mb() -> float | None:
    if sys.platform == "win32":
        return None
    resource = importlib.import_module("resource")
    peak = float(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
    return peak / (2**20 if sys.platform == "darwin" else 2**10)
