"""Which pictures does a report show, and what does each say?

Inputs: groups of runs. Outputs: pictures with a title, a sentence that says how to read it, and the numbers behind it
as a table. What cannot be drawn (no gold, nothing adapted, a single group) is left out.

Counterparts in the paper (arXiv:2510.07841): confidence by correctness (Fig. 5), the sweep of tau (Table 2), samples
against accuracy (Fig. 2). Risk-coverage and reliability are ours.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from matplotlib.figure import Figure

from ttsi.record import RunRow
from ttsi.reports import curves, pairing, plots
from ttsi.reports.naming import label, title
from ttsi.reports.record import STAGES, Group, Run, Side, identity, measured, outcomes, right
from ttsi.reports.sections import Table
from ttsi.reports.words import between, between_points, count, percent, seconds, signed
from ttsi.stats import Interval

Point = TypeVar("Point")

MOST_ROWS = 12
"""Points of a curve that its table lists."""


@dataclass(frozen=True)
class Picture:
    """A figure and what a reader needs to understand it."""

    name: str
    """Unique in a report; the file's name."""
    title: str
    reading: str
    figure: Figure
    table: Table


def across(groups: Sequence[Group]) -> list[Picture]:
    """The pictures that set groups side by side."""
    found = [picture for draw in (_gains, _samples, _k) if (picture := draw(groups)) is not None]
    return [*found, *_cost(groups)] if len(groups) > 1 else found


def within(group: Group) -> list[Picture]:
    """The pictures of one group."""
    drawers: tuple[Callable[[Group], Picture | None], ...] = (_sureness, _risk, _reliability, _threshold)
    return [*(picture for draw in drawers if (picture := draw(group)) is not None), *_cost([group])]


def _gains(groups: Sequence[Group]) -> Picture | None:
    found = [(group.letter, gain) for group in groups if (gain := pairing.gain(group)) is not None]
    if len(found) < 2:
        return None
    names = {group.letter: f"{group.letter}: {title(group)}" for group in groups}
    rows = tuple((names[name], signed(gain.points), between_points(gain)) for name, gain in found)
    return Picture(
        "gains",
        "Gain of each run",
        "Improved minus alone, paired by input. An interval that crosses the line shows neither help nor harm.",
        plots.gains(found),
        Table(("", "gain, points", "95 % interval"), rows),
    )


def _family(group: Group) -> str:
    method = group.config["settings"]["loop"]["adaptation"]["method"]
    if method == "shared":
        return "fine-tuned on labelled rows"
    return "learned at test time" if group.adapts and method in ("lora", "both") else "nothing learned"


def _scored(groups: Sequence[Group], place: Callable[[Group], float]) -> list[tuple[Group, plots.Series]]:
    """The groups that answered the first one's questions, each with its point."""
    found = []
    for group in groups:
        final = outcomes(group, pairing.final_side(group.runs[0]))
        if final and pairing.same_questions(groups[0], group):
            score = pairing.difference(dict.fromkeys(final, 0.0), final)
            found.append((group, plots.Series(_family(group), ((group.letter, place(group), score),))))
    return found


def _lines(found: Sequence[tuple[Group, plots.Series]], varies: str, family: str = "") -> list[plots.Series]:
    """Points joined where their groups differ in nothing but one setting."""
    lines: dict[str, list[plots.Series]] = {}
    for group, one in found:
        joins = one.name == family or not family
        lines.setdefault(identity(group.config, varies) if joins else group.letter, []).append(one)
    return [
        plots.Series(same[0].name, tuple(point for one in same for point in one.points), len(same) > 1)
        for same in lines.values()
    ]


def _as_table(found: Sequence[tuple[Group, plots.Series]], what: str) -> Table:
    rows = tuple(
        (f"{letter}: {label(group)}", count(place), f"{score.second:.1f}", _bounds(score.interval))
        for group, one in found
        for letter, place, score in one.points
    )
    return Table(("", what, "% right", "95 % interval"), rows)


def _bounds(points: Interval | None) -> str:
    return "-" if points is None else f"{points.low:.1f} to {points.high:.1f}"


def _samples(groups: Sequence[Group]) -> Picture | None:
    def learned(group: Group) -> float:
        return float(sum(run.summary["samples_trained"] for run in group.runs) / len(group.runs))

    found = _scored(groups, learned)
    if len({learned(group) for group, _ in found}) < 2:
        return None
    return Picture(
        "samples",
        "Samples against accuracy",
        "Right answers in the end, against the samples learned on the way (an example that is learned twice counts "
        "twice); same inputs, same decoding as A. A line joins what differs in the number of labelled rows only.",
        plots.samples(_lines(found, "settings.train_limit", "fine-tuned on labelled rows")),
        _as_table(found, "samples"),
    )


def _k(groups: Sequence[Group]) -> Picture | None:
    found = _scored(groups, lambda group: float(group.config["settings"]["loop"]["synthesis"]["k"]))
    lines = [line for line in _lines(found, "settings.loop.synthesis.k") if line.joined]
    if not lines:
        return None
    drawn = {letter for line in lines for letter, _, _ in line.points}
    return Picture(
        "k",
        "Examples per input against accuracy",
        "Right answers in the end, against K, the number of examples that may be learned for an unsure input; every "
        "other setting is equal.",
        plots.examples_per_input(lines),
        _as_table([pair for pair in found if pair[0].letter in drawn], "K"),
    )


def _cost(groups: Sequence[Group]) -> list[Picture]:
    named = []
    for group in groups:
        timed = [row.episode.seconds for run in group.timed for row in run.rows]
        if timed:
            spent = {s: math.fsum(one.get(s, 0.0) for one in timed) / len(timed) for s in STAGES}
            named.append((group.letter if len(groups) > 1 else "", spent))
    if not named:
        return []
    rows = tuple((name, *(seconds(value) for value in spent.values())) for name, spent in named)
    reading = "Wall seconds per input, on the machine of the run; a stage's time is shared by the inputs it served."
    name = f"{groups[0].letter}-cost" if len(groups) == 1 else "cost"
    return [Picture(name, "Cost of each stage", reading, plots.cost(named), Table(("", *STAGES), rows))]


def _judged(run: Run, measure: str, matcher: str) -> list[tuple[float, bool, RunRow]]:
    """(measure, base right, row) of each graded input that was measured."""
    return [
        (value, ok, row)
        for row in run.rows
        if (value := measured(row, measure)) is not None and (ok := right(row, "base", matcher)) is not None
    ]


def _sureness(group: Group) -> Picture | None:
    found = _judged(group.runs[0], group.measure, group.matcher)
    if not found:
        return None
    counts = curves.histogram([value for value, _, _ in found], [ok for _, ok, _ in found])
    edges = zip(counts.edges, counts.edges[1:], counts.right, counts.wrong, strict=False)
    rows = tuple((f"{low:.3g} to {high:.3g}", str(good), str(bad)) for low, high, good, bad in edges)
    return Picture(
        f"{group.letter}-sureness",
        "How sure, and how right",
        f"Each input by its {group.measure}. A good measure puts the wrong answers left of tau ({group.tau:g}), the "
        "right ones to the right.",
        plots.sureness(counts, group.tau if math.isfinite(group.tau) else None),
        Table((group.measure, "base right", "base wrong"), rows),
    )


def _risk(group: Group) -> Picture | None:
    found = _judged(group.runs[0], group.measure, group.matcher)
    if len(found) < 2:
        return None
    values = [value for value, _, _ in found]
    named: tuple[Side, ...] = ("base", "adapted") if group.adapts else ("base",)
    known = {side: outcomes(group, side) for side in named}
    sides = {side: [right_of[row.key] for _, _, row in found] for side, right_of in known.items()}
    lines = {side: curves.risk_coverage(values, verdicts) for side, verdicts in sides.items()}
    areas = ", ".join(f"{side} {percent(curves.area(points))}" for side, points in lines.items())
    coverages = [percent(coverage) for coverage, _ in _thinned(lines["base"])]
    columns = [[percent(error) for _, error in _thinned(points)] for points in lines.values()]
    return Picture(
        f"{group.letter}-risk",
        "Risk and coverage",
        f"If only the surest inputs were answered: how many of them would be wrong? Mean over all coverages: {areas}.",
        plots.risk(lines),
        Table(("answered", *(f"{side} wrong" for side in lines)), tuple(zip(coverages, *columns, strict=True))),
    )


def _reliability(group: Group) -> Picture | None:
    run = group.runs[0]
    rules = next((row.grades for row in run.rows if row.grades), {})
    whole = [(math.exp(min(value, 0.0)), ok) for value, ok, _ in _judged(run, "answer_logprob", group.matcher)]
    tool = [(value, ok) for value, ok, _ in _judged(run, "top1", "tool_choice")] if "tool_choice" in rules else []
    series = {
        name: curves.reliability([value for value, _ in found], [ok for _, ok in found])
        for name, found in (("whole answer", whole), ("tool", tool))
        if found
    }
    if not series:
        return None
    errors = ", ".join(f"{name} {percent(curves.calibration_error(bins))}" for name, bins in series.items())
    rows = tuple(
        (name, percent(part.confidence), f"{percent(part.accuracy)}\n{between(part.interval)}", str(part.n))
        for name, bins in series.items()
        for part in bins
    )
    return Picture(
        f"{group.letter}-reliability",
        "Reliability",
        "Is something that the model gives 80 % right 80 % of the time? Points under the diagonal are too sure. "
        f"Groups of equal size; calibration error: {errors}.",
        plots.reliability(series),
        Table(("", "probability", "right", "n"), rows),
    )


def _threshold(group: Group) -> Picture | None:
    gate = group.config["settings"]["loop"]["awareness"]["gate"]
    if not group.adapts or gate in ("sure", "random"):
        return None
    found = _judged(group.runs[0], group.measure, group.matcher)
    base, adapted = outcomes(group, "base"), outcomes(group, "adapted")
    points = curves.tau_curve(
        [value for value, _, _ in found],
        [base[row.key] for _, _, row in found],
        [adapted[row.key] for _, _, row in found],
        math.inf if gate == "all" else group.tau,
    )
    if len(points) < 2:
        return None
    rows = tuple((f"{point.tau:.3g}", percent(point.adapted), percent(point.score)) for point in _thinned(points))
    return Picture(
        f"{group.letter}-tau",
        "What a smaller tau would have done",
        "Each input keeps its adapter to itself, so this one run holds the score at every smaller tau: right answers "
        "against the share of inputs adapted. The dashed line is the same number of inputs picked at random.",
        plots.threshold(points),
        Table(("tau", "adapted", "right"), rows),
    )


def _thinned(points: Sequence[Point]) -> list[Point]:
    """At most MOST_ROWS points, evenly spread, with both ends."""
    steps = min(len(points), MOST_ROWS) - 1
    return [points[round(i * (len(points) - 1) / steps)] for i in range(steps + 1)] if steps > 0 else list(points)
