"""Changed answers: what adapting did to wrong and to right answers.

Inputs: a group of runs. Outputs: the share of wrong answers that were fixed and of right ones that were broken, over
all inputs and over the adapted ones. Several seeds are averaged input by input, so that an interval counts no input
several times.
"""

from __future__ import annotations

from collections.abc import Sequence

from ttsi.record import Key, RunRow
from ttsi.reports.finding import Finding, Table
from ttsi.reports.groups import Group
from ttsi.reports.phrases import count, mean_cell

ANSWERED_AGAIN = ("trained", "reused", "in-context", "shared", "library", "resampled")
"""Adaptations after which an input was answered a second time."""


def changed_answers(group: Group) -> Finding:
    """Wrong answers fixed, right answers broken."""
    again = [row for row in group.rows if row.episode.adaptation.status in ANSWERED_AGAIN]
    every, adapted = (_changes(rows, group.matcher) for rows in (group.rows, again))
    names = ("wrong answers fixed", "right answers broken (harm rate)")
    rows = tuple((name, _rate(one), _rate(other)) for name, one, other in zip(names, every, adapted, strict=True))
    graded = group.adapts and any(map(len, every))
    return Finding(
        "Fixed and broken", "", Table(("", "of all inputs", "of the adapted ones"), rows) if graded else None
    )


def _changes(rows: Sequence[RunRow], rule: str) -> tuple[list[float], list[float]]:
    """Per input the share of its seeds that fixed it (of inputs that were wrong), and that broke it (of right ones)."""
    changes: tuple[dict[Key, list[bool]], dict[Key, list[bool]]] = ({}, {})
    for row in rows:
        before, after = row.right("base", rule), row.right("adapted", rule)
        if before is not None:
            changes[int(before)].setdefault(row.key, []).append(after is not before)
    wrong, right = ([sum(seeds) / len(seeds) for seeds in one.values()] for one in changes)
    return wrong, right


def _rate(values: Sequence[float]) -> str:
    return f"{count(sum(values))} of {count(len(values))}: {mean_cell(values)}"
