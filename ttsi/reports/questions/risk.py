"""Risk and coverage: the share of wrong answers when only the most confident are given."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ttsi.record import Side
from ttsi.reports.drawing import ACCENT, WRONG, percent_ticks
from ttsi.reports.finding import Finding, Plot, Table, thin
from ttsi.reports.groups import Group, outcomes
from ttsi.reports.phrases import count, mean_cell, percent

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLOURS = {"base": WRONG, "adapted": ACCENT}
Curve = list[tuple[float, float]]


def risk(group: Group) -> Finding:
    """The error rate of base and adapted answers at every coverage."""
    sides: tuple[Side, ...] = ("base", "adapted") if group.adapts else ("base",)
    right = {side: outcomes(group, side) for side in sides}
    measured = [(row.measure(group.measure), row.key) for row in group.first.rows if row.key in right["base"]]
    ranked = sorted([(value, key) for value, key in measured if value is not None], key=lambda pair: -pair[0])
    if len(ranked) < 2:
        return Finding("Risk and coverage")
    verdicts = {side: [of[key] for _, key in ranked] for side, of in right.items()}
    curves = {side: risk_coverage([value for value, _ in ranked], of) for side, of in verdicts.items()}
    areas = ", ".join(f"{side} {percent(area(points))}" for side, points in curves.items())
    rows = []
    for coverage, _ in thin(curves["base"]):
        n = round(coverage * len(ranked))
        rows.append((percent(coverage), *(mean_cell([1 - ok for ok in of[:n]]) for of in verdicts.values()), count(n)))
    return Finding(
        "Risk and coverage",
        "If only the most confident inputs were answered: how many of them would be wrong? "
        f"Mean over all coverages: {areas}.",
        Table(("answered", *(f"{side} wrong" for side in sides), "n"), tuple(rows)),
        Plot(f"{group.letter}-risk", lambda axes: _draw(axes, curves)),
    )


def risk_coverage(values: Sequence[float], right: Sequence[float]) -> Curve:
    """(coverage, error rate) when only the most confident inputs are answered; equal values come in together.

    `right` may be shares, of the seeds that were right.

    >>> risk_coverage([0.9, 0.5, 0.5, 0.1], [True, True, False, False])
    [(0.25, 0.0), (0.75, 0.3333333333333333), (1.0, 0.5)]
    """
    points, wrong = [], 0.0
    ranked = sorted(zip(values, right, strict=True), key=lambda pair: -pair[0])
    for place, (value, ok) in enumerate(ranked, start=1):
        wrong += 1 - ok
        if place == len(ranked) or ranked[place][0] != value:
            points.append((place / len(ranked), wrong / place))
    return points


def area(points: Curve) -> float:
    """Mean risk over all coverages (AURC), each step reaching back to the one before; smaller is better.

    >>> area([(0.5, 0.0), (1.0, 0.5)])
    0.25
    """
    starts = [0.0, *(coverage for coverage, _ in points)]
    return sum((coverage - start) * error for start, (coverage, error) in zip(starts, points, strict=False))


def _draw(axes: Axes, curves: dict[Side, Curve]) -> None:
    for side, points in curves.items():
        # Each step reaches back to the one before, as its area is counted.
        steps = [(0.0, points[0][1]), *points]
        axes.plot(*zip(*steps, strict=True), color=COLOURS[side], label=side, drawstyle="steps-pre")
    axes.set_xlim(0, 1.02)
    axes.set_ylim(bottom=0)
    percent_ticks(axes.xaxis)
    percent_ticks(axes.yaxis)
    axes.set_xlabel("% of inputs answered, most confident first")
    axes.set_ylabel("% of these wrong")
    axes.legend(loc="best")
