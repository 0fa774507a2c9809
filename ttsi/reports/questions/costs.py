"""Costs: samples trained, tokens written and seconds, in all, per input and per stage."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ttsi.plurals import plural
from ttsi.record import STAGES, RunRow
from ttsi.reports import columns
from ttsi.reports.drawing import STAGE_COLOURS
from ttsi.reports.finding import Column, Finding, Plot, Table, bar_height, tabulate
from ttsi.reports.groups import Group
from ttsi.reports.naming import label
from ttsi.reports.phrases import count, duration, number_of, percent
from ttsi.reports.reference import methods_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

ADAPTED, NOT_ADAPTED, FAILED = KINDS = ("an input that is adapted", "an input that is not", "an input that failed")


def costs(groups: Sequence[Group]) -> Finding:
    """What each method costs; the commands stand under the methods."""
    chosen = methods_of(groups)
    again = ("inputs answered again", columns.ADAPTED[1])
    counted = (_metric("shown in the prompt", "examples.in_context"), _metric("tokens written", "examples.tokens"))
    shared = any(len(group.timed) < len(group.runs) for group in chosen)
    heads = (columns.N, columns.SEEDS, again, columns.TRAINED, *counted, columns.TIME)
    return Finding(
        "Costs",
        "What does a run over all inputs cost? Means over the seeds; an example that is learned twice is two samples, "
        "tokens are those of the written examples.",
        tabulate("method", label, heads, chosen) if chosen else None,
        missing="Runs of a sweep that shared answers have no time of their own." if shared else "",
    )


def _metric(head: str, name: str) -> Column:
    return head, lambda group: count(group.per_run(lambda run: float(run.summary["metrics"][name])))


def stage_costs(groups: Sequence[Group]) -> Finding:
    """Seconds per input and stage, a bar for each group."""
    title, timed = "Cost of each stage", [(group, _seconds(group)) for group in groups if group.timed_rows]
    if not timed:
        return Finding(title)
    alone = len(groups) == 1
    names = ["" if alone else group.letter for group, _ in timed]

    def draw(axes: Axes) -> None:
        places = range(len(timed))
        for number, (stage, colour) in enumerate(STAGE_COLOURS.items()):
            starts = [sum(spent[earlier] for earlier in STAGES[:number]) for _, spent in timed]
            axes.barh(places, [spent[stage] for _, spent in timed], 0.62, left=starts, color=colour, label=stage)
        axes.set_yticks(places, names)
        axes.set_ylim(len(timed) - 0.4, -0.6)
        axes.grid(axis="y", visible=False)
        axes.set_xlabel("seconds per input")
        above = {"ncols": 4, "handlelength": 0.8, "columnspacing": 0.9, "handletextpad": 0.4}
        axes.figure.legend(loc="outside upper center", **above)

    rows = [
        (name, count(len(group.timed_rows)), *map(duration, spent.values()))
        for name, (group, spent) in zip(names, timed, strict=True)
    ]
    return Finding(
        title,
        "Wall seconds per input, on the machine of the run; a stage's time is shared by the inputs it served.",
        Table(("", "n, all seeds", *STAGES), tuple(rows)),
        Plot(f"{groups[0].letter}-cost" if alone else "cost", draw, 0.25 + bar_height(len(timed))),
    )


def _seconds(group: Group) -> dict[str, float]:
    timed = [row.episode.seconds for row in group.timed_rows]
    return {stage: math.fsum(one.get(stage, 0.0) for one in timed) / len(timed) for stage in STAGES}


def cost(group: Group) -> Finding:
    """Seconds per stage, and what an input costs that is adapted, one that is not, and one that failed."""
    timed = group.timed_rows
    spent = {stage: sum(row.episode.seconds.get(stage, 0.0) for row in timed) for stage in STAGES}
    total, n = sum(spent.values()), len(timed)
    parts = [(stage, seconds, n) for stage, seconds in spent.items()] + [("together", total, n)]
    kinds: dict[str, list[float]] = {name: [] for name in KINDS}
    for row in timed:
        kinds[_kind(row)].append(sum(row.episode.seconds.values()))
    parts += [(name, sum(part), len(part)) for name, part in kinds.items() if part]
    rows = [
        (name, duration(seconds), duration(seconds / of), percent(seconds / total if total else 0), count(of))
        for name, seconds, of in parts
        if of
    ]
    without = sum(bool(row.episode.error and not row.episode.seconds) for run in group.timed for row in run.rows)
    failed = f" {number_of(without, 'input')} that failed {plural(without, 'has', 'have')} no time." if without else ""
    return Finding(
        "Cost",
        f"Wall seconds on the machine of the run.{failed}",
        Table(("", "in all", "per input", "share", "n, all seeds"), tuple(rows)) if timed else None,
    )


def _kind(row: RunRow) -> str:
    if row.episode.error is not None:
        return FAILED
    return ADAPTED if row.has_adaptation else NOT_ADAPTED
