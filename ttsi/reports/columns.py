"""Columns that several tables share: a head, and the cell of a group."""

from __future__ import annotations

from collections.abc import Sequence

from ttsi.reports import pairing
from ttsi.reports.finding import Column
from ttsi.reports.groups import Group, outcomes
from ttsi.reports.phrases import count, duration, graded_cell, mean_cell, percent, points_cell
from ttsi.reports.reference import REFERENCE, reference

NOT_GRADED = "not graded"


def adapted_share(group: Group) -> float:
    """Share of inputs that were answered a second time or whose adapter was given up."""
    return sum(row.has_adaptation for row in group.rows) / max(len(group.rows), 1)


def samples_trained(group: Group) -> float:
    """Samples that a run trains on, as a mean over the runs."""
    return group.per_run(lambda run: float(run.summary["samples_trained"]))


def _fixed_and_broken(group: Group) -> str:
    fixed, broken = pairing.count_changes(group.rows, group.matcher)
    return f"{fixed} / {broken}" if group.adapts and outcomes(group, "base") else "-"


def _time(group: Group) -> str:
    n = len(group.timed_rows)
    return duration(sum(run.summary["seconds"]["total"] for run in group.timed) / n) if n else "-"


N: Column = ("n", lambda group: count(group.n))
"""Of tables about all inputs; those about scores and gains have GRADED."""
GRADED: Column = ("n", lambda group: graded_cell(group.n_graded, group.n))
SEEDS: Column = ("seeds", lambda group: count(len(group.runs)))
BASE: Column = ("base", lambda group: mean_cell(list(outcomes(group, "base").values()), NOT_GRADED))
FINAL: Column = ("final", lambda group: mean_cell(list(pairing.final(group).values()), NOT_GRADED))
GAIN: Column = ("gain, points", lambda group: points_cell(pairing.gain(group)))
CHANGED: Column = ("fixed / broken, all seeds", _fixed_and_broken)
ADAPTED: Column = ("inputs adapted", lambda group: percent(adapted_share(group)))
TRAINED: Column = ("samples trained", lambda group: count(samples_trained(group)))
TIME: Column = ("time per input", _time)


def against_reference(groups: Sequence[Group]) -> Column:
    """The final answers against those of the group's reference, paired by input."""

    def cell(group: Group) -> str:
        usual = reference(group, groups)
        return "-" if usual is None or usual is group else points_cell(pairing.final_difference(usual, group))

    return f"against {REFERENCE}, points", cell
