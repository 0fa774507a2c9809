"""Confidence of right and of wrong answers, as a histogram. Counterpart: Figure 5 of the paper (arXiv:2510.07841)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

from ttsi.reports.drawing import DASHED, INK, RIGHT, WRONG
from ttsi.reports.finding import Finding, Plot, Table
from ttsi.reports.groups import Group, measured_verdicts

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@dataclass(frozen=True)
class Histogram:
    """How many inputs lie in each bin, right and wrong apart."""

    edges: tuple[float, ...]
    right: tuple[int, ...]
    wrong: tuple[int, ...]


def confidence(group: Group) -> Finding:
    """Every graded input of the first run by the deciding measure."""
    pairs = measured_verdicts(group, group.measure, group.matcher)
    if not pairs:
        return Finding("Confidence and correctness")
    counts = histogram([value for value, _ in pairs], [right for _, right in pairs])
    bins = zip(pairwise(counts.edges), counts.right, counts.wrong, strict=True)
    tau = group.config.loop.awareness.tau
    return Finding(
        "Confidence and correctness",
        f"Each input by its {group.measure}. A good measure puts the wrong answers left of tau ({tau:g}), the right "
        "ones to the right.",
        Table(
            (group.measure, "base right", "base wrong"),
            tuple((_bounds(low, high), str(good), str(bad)) for (low, high), good, bad in bins),
        ),
        # One bin has no shape to look at.
        Plot(f"{group.letter}-confidence", lambda axes: _draw(axes, counts, tau)) if len(counts.right) > 1 else None,
    )


def _bounds(low: float, high: float) -> str:
    return f"{low:.3g}" if low == high else f"{low:.3g} to {high:.3g}"


def histogram(values: Sequence[float], right: Sequence[bool], bins: int = 20) -> Histogram:
    """Equal bins from the 1 % quantile to the top; what lies below is counted in the first. One bin for equal values.

    >>> histogram([0.0, 0.9, 1.0], [False, True, True], bins=2)
    Histogram(edges=(0.0, 0.5, 1.0), right=(0, 2), wrong=(1, 0))
    >>> histogram([-0.75, -0.75], [False, True])
    Histogram(edges=(-0.75, -0.75), right=(1,), wrong=(1,))

    Raises:
        ValueError: there are no values.
    """
    ranked = sorted(value for value in values if math.isfinite(value))
    if not ranked or ranked[0] == ranked[-1]:
        return Histogram((min(values), max(values)), (sum(right),), (len(right) - sum(right),))
    low, high = ranked[len(ranked) // 100], ranked[-1]
    low = ranked[0] if low == high else low
    width = (high - low) / bins
    counts = [[0] * bins, [0] * bins]
    for value, ok in zip(values, right, strict=True):
        # An infinite value has no place on an axis; it belongs to the end it lies at.
        place = (value - low) / width if math.isfinite(value) else (bins if value > 0 else 0)
        counts[ok][min(max(int(place), 0), bins - 1)] += 1
    return Histogram(tuple(low + i * width for i in range(bins + 1)), tuple(counts[True]), tuple(counts[False]))


def _draw(axes: Axes, counts: Histogram, tau: float) -> None:
    from matplotlib.ticker import MaxNLocator

    width = counts.edges[1] - counts.edges[0]
    centres = [edge + width / 2 for edge in counts.edges[:-1]]
    axes.bar(centres, counts.wrong, 0.9 * width, color=WRONG, label="base wrong")
    axes.bar(centres, counts.right, 0.9 * width, bottom=counts.wrong, color=RIGHT, label="base right")
    if counts.edges[0] <= tau <= counts.edges[-1]:
        axes.axvline(tau, color=INK, linewidth=1.2, linestyle=DASHED, label="tau")
    axes.grid(axis="x", visible=False)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=5))
    axes.yaxis.set_major_locator(MaxNLocator(integer=True, nbins=5))
    axes.set_xlabel("less confident  ←  measure  →  more confident")
    axes.set_ylabel("inputs")
    axes.legend()
