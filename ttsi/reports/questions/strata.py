"""Strata: scores and gains by the tags of the inputs."""

from __future__ import annotations

from ttsi.record import Key
from ttsi.reports import pairing
from ttsi.reports.finding import Finding, Table
from ttsi.reports.groups import Group, outcomes
from ttsi.reports.phrases import count, mean_cell, points_cell

FEW = 8
"""A tag with more values is folded away."""


def strata(group: Group) -> list[Finding]:
    """For each tag of several values a finding with a row per value, the tag with the fewest values first."""
    base, adapted = outcomes(group, "base"), outcomes(group, "adapted") if group.adapts else {}
    members: dict[str, dict[str, set[Key]]] = {}
    for row in group.rows:
        if row.key in base:
            for tag, value in row.tags.items():
                members.setdefault(tag, {}).setdefault(value, set()).add(row.key)
    head = ("", "n", "base", "adapted", "gain, points") if group.adapts else ("", "n", "base")
    findings = []
    for tag, keys in sorted(members.items(), key=lambda pair: len(pair[1])):
        rows = tuple(_stratum(value, keys[value], base, adapted) for value in sorted(keys))
        if len(rows) > 1:
            findings.append(Finding(tag, table=Table(head, rows, folded=len(rows) > FEW)))
    return findings


def _stratum(name: str, keys: set[Key], base: dict[Key, float], adapted: dict[Key, float]) -> tuple[str, ...]:
    before, after = ({key: side[key] for key in sorted(keys) if key in side} for side in (base, adapted))
    row = (name, count(len(keys)), mean_cell(list(before.values())))
    return (*row, mean_cell(list(after.values())), points_cell(pairing.difference(before, after))) if after else row
