"""Scores of the methods, and the paired differences between them.

Differences are paired over the inputs that both have, with bootstrap intervals; scores have Wilson's interval, or a
bootstrap over inputs where seeds are averaged. The paper (arXiv:2510.07841) prints means.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ttsi.methods import METHODS
from ttsi.reports import columns, pairing
from ttsi.reports.drawing import ACCENT, INK
from ttsi.reports.finding import Finding, Plot, Table, bar_height, tabulate
from ttsi.reports.groups import Group
from ttsi.reports.naming import label, letter_and_title, seeds
from ttsi.reports.naming import title as title_of
from ttsi.reports.phrases import count, listing, mean_cell, points_cell
from ttsi.reports.reference import methods_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def overview(groups: Sequence[Group]) -> Finding:
    """Every group in one row."""
    run = ("run", lambda group: f"{title_of(group)}, {seeds(group)}")
    shared = (columns.GRADED, columns.BASE, columns.FINAL, columns.GAIN, columns.CHANGED, columns.TRAINED, columns.TIME)
    return Finding(
        "Results",
        "Second lines are 95 % intervals, here and in all tables: Wilson's for scores, a bootstrap over paired inputs "
        "for gains. A failed input counts as wrong.",
        tabulate("", lambda group: group.letter, (run, *shared), groups),
    )


def methods(groups: Sequence[Group]) -> Finding:
    """The groups that are methods of their own, each against the base and against the reference."""
    chosen = methods_of(groups)
    absent = [name for name in METHODS if name not in {one.config.method for one in groups}]
    shared = (columns.GRADED, columns.SEEDS, columns.BASE, columns.FINAL, columns.GAIN, columns.CHANGED)
    return Finding(
        "Methods",
        "Which method gives the most right answers? The gain is against the model alone, decoded the same way.",
        tabulate("method", label, (*shared, columns.against_reference(groups)), chosen) if chosen else None,
        groups=tuple(chosen),
        missing=f"Not run: {listing(absent)}." if absent else "",
    )


def against_each_other(groups: Sequence[Group]) -> Finding:
    """Each group against the first that answered the same data in the same way; the model alone comes first."""
    rows = []
    for place, group in enumerate(groups):
        comparable = (one for one in groups[:place] if pairing.incomparable_reason(one.first, group.first) is None)
        first = next((one for one in comparable if pairing.final(one)), None)
        if first is not None and (gap := pairing.final_difference(first, group)) is not None:
            rows.append(
                (f"{group.letter} against {first.letter}", count(gap.n), *_scores(first, group), points_cell(gap))
            )
    return Finding(
        "Against each other",
        "Final answers, paired by input: the same questions, the same decoding, the second minus the first.",
        Table(("", "shared inputs", "first", "second", "difference, points"), tuple(rows)) if rows else None,
    )


def _scores(*pair: Group) -> list[str]:
    finals = [pairing.final(group) for group in pair]
    keys = sorted(finals[0].keys() & finals[1].keys())
    return [mean_cell([final[key] for key in keys]) for final in finals]


def gains(groups: Sequence[Group]) -> Finding:
    """The gain of each group, side by side."""
    title, pairs = "Gain of each run", [(group, gain) for group in groups if (gain := pairing.gain(group)) is not None]
    if len(pairs) < 2:
        return Finding(title)

    def draw(axes: Axes) -> None:
        for place, (_, gain) in enumerate(pairs):
            if gain.interval is not None:
                axes.plot([gain.interval.low, gain.interval.high], [place, place], color=ACCENT)
            axes.plot([gain.points], [place], "o", color=ACCENT, markersize=6)
        axes.axvline(0, color=INK, linewidth=1)
        axes.set_yticks(range(len(pairs)), [group.letter for group, _ in pairs])
        axes.set_ylim(len(pairs) - 0.5, -0.5)
        axes.grid(axis="y", visible=False)
        axes.set_xlabel("gain in points, 95 % interval")

    return Finding(
        title,
        "Improved minus alone, paired by input. An interval that crosses the line shows neither help nor harm.",
        tabulate("", letter_and_title, (columns.GRADED, columns.GAIN), [group for group, _ in pairs]),
        Plot("gains", draw, bar_height(len(pairs))),
    )
