"""The library over a run: what it answers, what that saves, and how the score goes on as it fills.

Inputs: runs with --library, in the order of the benchmark. Outputs: a table of the run's quarters and two running
means. Each input was answered before anything was learned from it, so these are prequential scores. The paper
(arXiv:2510.07841) keeps nothing from one input to the next.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING, get_args

from ttsi.record import RunRow, Side
from ttsi.reports.drawing import ACCENT, MUTED, RIGHT
from ttsi.reports.finding import Finding, Plot, Table
from ttsi.reports.groups import Group
from ttsi.reports.phrases import count, duration, graded_cell, mean_cell, percent

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLUMNS = (
    "quarter", "n", "base", "in the end", "unsure", "answered by the library", "training from it", "seconds per input",
)  # fmt: skip
PARTS = ("first", "second", "third", "last")


def stored_adapters(group: Group) -> Finding:
    """Scores, seconds and the library's share of the answers, quarter by quarter."""
    title, run = "Library of adapters", group.first
    if run.config.library.folder is None:
        return Finding(title)
    if run.config.order_seed is not None:
        return Finding(title, missing="The inputs came in a random order (--order-seed): not drawn.")
    rows = sorted(run.rows, key=lambda row: (row.position, row.repeat))
    if len(rows) < len(PARTS):
        return Finding(title)
    cuts = [round(part * len(rows) / len(PARTS)) for part in range(len(PARTS) + 1)]
    quarters = [rows[start:end] for start, end in pairwise(cuts)]
    return Finding(
        title,
        "Does it pay to keep adapters? The quarters of the run, in its order. An input is answered before anything is "
        "learned from it. Adapters are tried on unsure inputs only, and the shares are of these. Where a stored "
        "adapter's answer is not given, training starts from that adapter.",
        Table(
            COLUMNS,
            tuple(_cells(name, quarter, group.matcher) for name, quarter in zip(PARTS, quarters, strict=True)),
        ),
        Plot(f"{group.letter}-library", lambda axes: _draw(axes, rows, group.matcher)),
    )


def is_stored(row: RunRow) -> bool:
    """Whether an adapter of the library answered."""
    return row.episode.adaptation.status == "library"


def _cells(name: str, rows: Sequence[RunRow], matcher: str) -> tuple[str, ...]:
    unsure = [row for row in rows if row.unsure]
    spent = sum(sum(row.episode.seconds.values()) for row in rows)
    scores = (mean_cell(_verdicts(rows, side, matcher)) for side in get_args(Side))
    further = [bool(row.episode.adaptation.started_from) for row in unsure]
    shares = (percent(sum(one) / len(unsure)) if unsure else "-" for one in ([*map(is_stored, unsure)], further))
    graded = len(_verdicts(rows, "base", matcher))
    return name, graded_cell(graded, len(rows)), *scores, count(len(unsure)), *shares, duration(spent / len(rows))


def _verdicts(rows: Sequence[RunRow], side: Side, matcher: str) -> list[float]:
    return [float(verdict) for row in rows if (verdict := row.right(side, matcher)) is not None]


def _draw(axes: Axes, rows: Sequence[RunRow], matcher: str) -> None:
    names: tuple[tuple[Side, str, str], ...] = (("base", "base", MUTED), ("adapted", "in the end", RIGHT))
    for side, name, colour in names:
        means = _running_means(_verdicts(rows, side, matcher))
        axes.plot(range(1, len(means) + 1), means, color=colour, label=f"right, {name}")
    shares = _running_means([float(is_stored(row)) for row in rows if row.unsure])
    places = [place for place, row in enumerate(rows, start=1) if row.unsure]
    axes.plot(places, shares, color=ACCENT, label="answered by the library")
    axes.set_ylim(0, 100)
    axes.set_xlabel("inputs")
    axes.set_ylabel("percent, so far")
    axes.figure.legend(loc="outside upper center", ncols=3, handlelength=1.2, columnspacing=1.2)


def _running_means(values: Sequence[float]) -> list[float]:
    """In percent."""
    return [100 * total / place for place, total in enumerate(accumulate(values), start=1)]
