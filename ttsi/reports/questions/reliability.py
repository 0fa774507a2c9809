"""Reliability: how often answers of a given probability are right (calibration)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from ttsi.reports.drawing import ACCENT, DASHED, MUTED, RIGHT, percent_ticks
from ttsi.reports.finding import Finding, Plot, Table
from ttsi.reports.groups import Group, measured_verdicts
from ttsi.reports.phrases import interval_text, number_of, percent
from ttsi.stats import Interval, wilson

if TYPE_CHECKING:
    from matplotlib.axes import Axes

PER_BIN = 10
"""Inputs that a bin has at least, where there are as many."""


@dataclass(frozen=True)
class Bin:
    """Inputs of similar confidence."""

    confidence: float
    accuracy: float
    interval: Interval
    n: int


def reliability(group: Group) -> Finding:
    """Accuracy by the probability of the whole answer, and of the tool where a rule judges it."""
    answers = measured_verdicts(group, "answer_logprob", group.matcher)
    pairs = {
        "whole answer": [(math.exp(min(value, 0.0)), right) for value, right in answers],
        "tool": measured_verdicts(group, "top1", "tool_choice"),
    }
    series = {name: bin_by_confidence(part) for name, part in pairs.items() if part}
    if not series:
        return Finding("Reliability")
    rows = tuple(
        (name, percent(part.confidence), f"{percent(part.accuracy)}\n{interval_text(part.interval)}", str(part.n))
        for name, bins in series.items()
        for part in bins
    )
    return Finding(
        "Reliability",
        "Is something that the model gives 80 % right 80 % of the time? Points under the diagonal are too sure. "
        f"Groups of equal size; {_calibration(series)}.",
        Table(("", "probability", "right", "n"), rows),
        Plot(f"{group.letter}-reliability", lambda axes: _draw(axes, series)),
    )


def _calibration(series: Mapping[str, Sequence[Bin]]) -> str:
    """The calibration error of each series that has several bins.

    Of one bin it would be |mean confidence - mean accuracy|, which is small wherever errors of both signs cancel.
    """
    errors = [f"{name} {percent(calibration_error(bins))}" for name, bins in series.items() if len(bins) > 1]
    lacking = f"fewer than {number_of(2 * PER_BIN, 'input')} are one group, which shows no calibration error"
    if not errors:
        return lacking
    return f"calibration error: {', '.join(errors)}" + ("" if len(errors) == len(series) else f"; {lacking}")


def bin_by_confidence(pairs: Sequence[tuple[float, bool]], bins: int = 0) -> list[Bin]:
    """Bins of equal size by confidence, each with its accuracy; by default ten, of PER_BIN inputs or more.

    Args:
        pairs: confidence, and whether the answer was right.
        bins: how many.

    >>> pairs = [(0.1, False), (0.3, True), (0.9, True), (0.9, True)]
    >>> [(part.confidence, part.accuracy, part.n) for part in bin_by_confidence(pairs, 2)]
    [(0.2, 0.5, 2), (0.9, 1.0, 2)]
    """
    bins = bins or max(1, min(10, len(pairs) // PER_BIN))
    ranked = sorted(pairs, key=lambda pair: pair[0])
    cuts = [round(i * len(ranked) / bins) for i in range(bins + 1)]
    return [_bin(ranked[start:end]) for start, end in pairwise(cuts) if end > start]


def _bin(part: Sequence[tuple[float, bool]]) -> Bin:
    n, good = len(part), sum(right for _, right in part)
    return Bin(math.fsum(value for value, _ in part) / n, good / n, wilson(good, n), n)


def calibration_error(bins: Sequence[Bin]) -> float:
    """Expected calibration error: the mean distance of confidence from accuracy, weighted by inputs.

    >>> round(calibration_error(bin_by_confidence([(0.9, True), (0.9, False)], 1)), 3)
    0.4
    """
    n = sum(part.n for part in bins)
    return math.fsum(part.n * abs(part.confidence - part.accuracy) for part in bins) / n if n else 0.0


def _draw(axes: Axes, series: Mapping[str, Sequence[Bin]]) -> None:
    axes.plot([0, 1], [0, 1], color=MUTED, linewidth=1, linestyle=DASHED)
    for (name, bins), colour, mark in zip(series.items(), (RIGHT, ACCENT), "os", strict=False):
        heights = [part.accuracy for part in bins]
        below = [part.accuracy - part.interval.low for part in bins]
        above = [part.interval.high - part.accuracy for part in bins]
        style: Any = {"color": colour, "marker": mark, "markersize": 4.5, "elinewidth": 1, "label": name}
        axes.errorbar([part.confidence for part in bins], heights, yerr=(below, above), **style)
    for axis, limit in ((axes.xaxis, axes.set_xlim), (axes.yaxis, axes.set_ylim)):
        limit(-0.02, 1.02)
        percent_ticks(axis)
    axes.set_xlabel("% probability, as the model sees it")
    axes.set_ylabel("% right")
    axes.legend(loc="best")
