"""Training data: samples trained on, and examples per input, against the score.

Counterpart: Figure 2 of the paper (arXiv:2510.07841). Points are the groups that answered the same questions as the
first in the same way; a line joins groups that differ in nothing but the place on the axis.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ttsi.reports import columns, pairing
from ttsi.reports.drawing import ACCENT, MUTED, RIGHT, number_ticks
from ttsi.reports.finding import Finding, Plot, Table, tabulate
from ttsi.reports.groups import Group, identity
from ttsi.reports.naming import label, lettered, variations
from ttsi.reports.pairing import Difference
from ttsi.reports.phrases import count
from ttsi.reports.reference import REFERENCE, answered_with, references

if TYPE_CHECKING:
    from matplotlib.axes import Axes

FINE_TUNED, TEST_TIME, NONE = "fine-tuned on labelled rows", "learned at test time", "nothing learned"
COLOURS = {TEST_TIME: ACCENT, FINE_TUNED: RIGHT, NONE: MUTED}


@dataclass(frozen=True)
class ScorePoint:
    """A group's score at its place on the axis."""

    group: Group
    place: float
    score: Difference
    """As the difference from nothing, in points."""
    family: str
    """One of COLOURS."""


def training_data(groups: Sequence[Group]) -> Finding:
    """How many labelled rows fine-tuning needs to match the reference."""
    title = "Training data"
    tuned = [one for one in groups if one.config.method == "sft" and not variations(one)]
    tuned.sort(key=lambda one: int(one.first.train["n"]) if one.first.train else 0)
    if not tuned:
        return Finding(title, missing="Missing: `ttsi run --method sft --train-data NAME --train-limit N`.")
    usual = answered_with(tuned, references(groups))
    against = columns.against_reference(groups)
    heads = (columns.N, columns.SEEDS, columns.TRAINED, columns.FINAL, columns.GAIN, against)
    return Finding(
        title,
        "How many labelled rows does fine-tuning (`sft`) need? The reference sees none: its samples are spread over "
        "the inputs, and each is forgotten after one answer.",
        tabulate("method", label, heads, [*tuned, *usual]),
        groups=(*tuned, *usual),
        missing="" if usual else f"Not run: {REFERENCE}.",
    )


def samples_and_score(groups: Sequence[Group]) -> Finding:
    """The score against the samples trained on."""
    title, points = "Samples against accuracy", _points(groups, columns.samples_trained)
    if len({point.place for point in points}) < 2:
        return Finding(title)
    most = max(point.place for point in points)

    def draw(axes: Axes) -> None:
        _draw(axes, _lines(points, "train_limit", FINE_TUNED))
        axes.set_xscale("symlog", linthresh=10)
        axes.set_xticks([0, *(10**power for power in range(1, 9) if 10**power <= 2 * most)])
        axes.set_xlim(-2, max(1.6 * most, 10))
        axes.set_xlabel("samples learned per run")
        number_ticks(axes.xaxis, ",.0f")

    return Finding(
        title,
        "Right answers in the end, against the samples learned on the way (an example that is learned twice counts "
        "twice); same inputs, same decoding as A. A line joins what differs in the number of labelled rows only.",
        _table(points, "samples"),
        Plot("samples", draw),
    )


def examples_and_score(groups: Sequence[Group]) -> Finding:
    """The score against K, for groups that differ in nothing else."""
    title = "Examples per input against accuracy"
    points = _points(groups, lambda group: float(group.config.loop.synthesis.k))
    lines = [line for line in _lines(points, "loop.synthesis.k") if len(line) > 1]
    joined = [point for point in points if any(point in line for line in lines)]
    if not joined:
        return Finding(title)

    def draw(axes: Axes) -> None:
        _draw(axes, lines)
        axes.set_xscale("log", base=2)
        axes.set_xticks(sorted({point.place for point in joined}))
        axes.set_xlabel("K, examples wanted per input")
        number_ticks(axes.xaxis, "g")

    return Finding(
        title,
        "Right answers in the end, against K, the number of examples that may be learned for an unsure input; every "
        "other setting is equal.",
        _table(joined, "K"),
        Plot("k", draw),
    )


def _points(groups: Sequence[Group], place: Callable[[Group], float]) -> list[ScorePoint]:
    points = []
    for group in groups:
        final = pairing.final(group)
        if final and pairing.same_questions(groups[0], group):
            score = pairing.difference(dict.fromkeys(final, 0.0), final)
            points.append(ScorePoint(group, place(group), score, _family(group)))
    return points


def _family(group: Group) -> str:
    method = group.config.loop.adaptation.method
    if method == "shared":
        return FINE_TUNED
    return TEST_TIME if group.adapts and method in ("lora", "both") else NONE


def _lines(points: Sequence[ScorePoint], setting: str, family: str = "") -> list[list[ScorePoint]]:
    """Points of groups that differ in nothing but one setting together; of one family only, where one is named."""
    lines: dict[str, list[ScorePoint]] = {}
    for point in points:
        joins = family in ("", point.family)
        lines.setdefault(identity(point.group.first, setting) if joins else point.group.letter, []).append(point)
    return list(lines.values())


def _table(points: Sequence[ScorePoint], head: str) -> Table:
    rows = []
    for point in points:
        bounds = point.score.interval
        interval = "-" if bounds is None else f"{bounds.low:.1f} to {bounds.high:.1f}"
        score = f"{point.score.second:.1f}"
        rows.append((lettered(point.group), count(point.place), score, interval, count(point.score.n)))
    return Table(("", head, "% right", "95 % interval", "n"), tuple(rows))


def _draw(axes: Axes, lines: Sequence[Sequence[ScorePoint]]) -> None:
    families: set[str] = set()
    for line in lines:
        colour = COLOURS[line[0].family]
        if len(line) > 1:
            ordered = sorted((point.place, point.score.second) for point in line)
            axes.plot(*zip(*ordered, strict=True), color=colour, linewidth=1)
        for point in line:
            bounds, place = point.score.interval, point.place
            if bounds is not None:
                axes.plot([place, place], [bounds.low, bounds.high], color=colour, linewidth=1.2)
            name = None if point.family in families else point.family
            axes.plot([place], [point.score.second], "o", color=colour, markersize=5.5, label=name)
            axes.annotate(point.group.letter, (place, point.score.second), xytext=(6, 4), textcoords="offset points")
            families.add(point.family)
    axes.set_ylabel("% right")
    if len(families) > 1:
        axes.legend(loc="best")
