"""Thresholds: the score at every tau, from one run.

The paper (arXiv:2510.07841) sweeps tau by running again (Table 2). Since no input's adapter touches another input, one
run already holds the score at every smaller tau: below it the adapted answers, above it the base's. That of agents'
tasks does not: a smaller tau adapts fewer decisions of a task, and what follows them is another conversation.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ttsi.reports import pairing
from ttsi.reports.drawing import ACCENT, DASHED, MUTED, percent_ticks
from ttsi.reports.finding import Finding, Plot, Table, thin
from ttsi.reports.groups import Group, outcomes
from ttsi.reports.naming import add_decoding
from ttsi.reports.phrases import count, mean_cell, percent, points_cell, signed_points
from ttsi.reports.questions.gates import NEEDS_ALL, groups_with_gate

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@dataclass(frozen=True)
class Threshold:
    """What the run would have been with this tau."""

    tau: float
    adapted: float
    """Share of inputs adapted."""
    score: float


def thresholds(groups: Sequence[Group]) -> Finding:
    """What ten thresholds would have done, in runs of the reference that adapt every input."""
    every = groups_with_gate(groups, "all")
    chosen = [group for group in every if outcomes(group, "base") and not group.has_trajectories]
    rows = [row for group in chosen for row in _tenths(group)]
    head = ("tau", "inputs adapted", "final", "gain, points", "drawn at random, points", "n")
    return Finding(
        "Thresholds",
        "How large should tau be? Read off the runs that adapt every input: below tau the adapted answer, above it the "
        "base's. Beside it what the same share of inputs, drawn at random, gains on average.",
        Table(head, tuple(rows)) if rows else None,
        groups=tuple(chosen) if rows else (),
        missing="" if rows or all(group.has_trajectories for group in groups) else NEEDS_ALL,
    )


def _tenths(group: Group) -> list[tuple[str, ...]]:
    base, adapted = outcomes(group, "base"), outcomes(group, "adapted")
    # The measure does not depend on the seed.
    measured = [(row.key, row.measure(group.measure)) for row in group.first.rows]
    values = {key: value for key, value in measured if value is not None and key in base}
    ranked = sorted(values.values())
    whole = pairing.difference(base, adapted).points
    rows: list[tuple[str, ...]] = []
    for tenth in range(1, 11) if ranked else ():
        place = round(tenth / 10 * len(ranked))
        tau = ranked[place] if place < len(ranked) else math.inf
        below = {key for key, value in values.items() if value < tau}
        mixed = {key: adapted[key] if key in below else base[key] for key in base}
        share, gap = len(below) / len(base), pairing.difference(base, mixed)
        name = add_decoding(f"{group.measure} {tau:.3f}", group)
        score = mean_cell(list(mixed.values()))
        rows.append((name, percent(share), score, points_cell(gap), signed_points(share * whole), count(gap.n)))
    return rows


def smaller_tau(group: Group) -> Finding:
    """The score of one run at every tau up to its own."""
    title = "What a smaller tau would have done"
    gate = group.config.loop.awareness.gate
    if not group.adapts or gate in ("sure", "random") or group.has_trajectories:
        return Finding(title)
    if group.config.library.folder is not None:  # a smaller tau would have taught the library less
        return Finding(title)
    before, after = outcomes(group, "base"), outcomes(group, "adapted")
    measured = [(row.measure(group.measure), row.key) for row in group.first.rows]
    ranked = sorted((value, before[key], after[key]) for value, key in measured if value is not None and key in before)
    values, base, adapted = ([row[column] for row in ranked] for column in range(3))
    points = tau_curve(values, base, adapted, math.inf if gate == "all" else group.config.loop.awareness.tau)
    if len(points) < 2:
        return Finding(title)

    def row(point: Threshold) -> tuple[str, ...]:
        place = round(point.adapted * len(ranked))
        return f"{point.tau:.3g}", percent(point.adapted), mean_cell(adapted[:place] + base[place:]), count(len(ranked))

    return Finding(
        title,
        "Each input keeps its adapter to itself, so this one run holds the score at every smaller tau: right answers "
        "against the share of inputs adapted. The dashed line is the same number of inputs picked at random.",
        Table(("tau", "adapted", "right", "n"), tuple(map(row, thin(points)))),
        Plot(f"{group.letter}-tau", lambda axes: _draw(axes, points)),
    )


def tau_curve(values: Sequence[float], base: Sequence[float], adapted: Sequence[float], tau: float) -> list[Threshold]:
    """The score at every tau up to the run's own, from nothing adapted to all that this run adapted.

    Outcomes may be shares (of several seeds).

    >>> [(t.adapted, t.score) for t in tau_curve([0.1, 0.2, 0.9], [False, False, True], [True, False, True], 0.5)]
    [(0.0, 0.3333333333333333), (0.3333333333333333, 0.6666666666666666), (0.6666666666666666, 0.6666666666666666)]
    """
    ranked = sorted(zip(values, base, adapted, strict=True))
    n, good = len(ranked), sum(base)
    points = [Threshold(ranked[0][0], 0.0, good / n)] if ranked else []
    for place, (value, old, new) in enumerate(ranked, start=1):
        if value >= tau:
            break
        good += new - old
        following = ranked[place][0] if place < n else math.inf
        if following != value:
            # The largest tau that adapts exactly these.
            points.append(Threshold(min(following, tau), place / n, good / n))
    return points


def _draw(axes: Axes, points: Sequence[Threshold]) -> None:
    shares, scores = [point.adapted for point in points], [point.score for point in points]
    axes.plot(shares, scores, color=ACCENT, drawstyle="steps-post", label="least confident first")
    ends = [shares[0], shares[-1]], [scores[0], scores[-1]]
    axes.plot(*ends, color=MUTED, linewidth=1, linestyle=DASHED, label="as many at random")
    axes.plot(shares[-1:], scores[-1:], "o", color=ACCENT, markersize=6)
    axes.set_xlim(0, max(shares[-1], 0.01) * 1.04)
    percent_ticks(axes.xaxis)
    percent_ticks(axes.yaxis)
    axes.set_xlabel("% of inputs adapted (a larger tau adapts more)")
    axes.set_ylabel("% right")
    axes.legend(loc="best")
