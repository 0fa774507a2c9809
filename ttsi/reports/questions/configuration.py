"""Settings and versions of the groups, side by side."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from ttsi.reports.finding import Finding, Table
from ttsi.reports.groups import Group, flatten
from ttsi.reports.phrases import listing

PRIVATE = ("machine.source", "settings.data")
"""Paths of the machine that a report, which is passed on, does not show."""


def settings(groups: Sequence[Group]) -> list[Finding]:
    """The settings in which the groups differ, and everything in config.json."""
    texts = [_settings(group) for group in groups]
    names = dict.fromkeys(name for one in texts for name in one)
    rows = tuple((name, *(one.get(name, "-") for one in texts)) for name in names)
    differing = tuple(row for row in rows if len(set(row[1:])) > 1)
    head = ("", *(group.letter for group in groups))
    return [
        Finding("What differs", table=Table(head, differing, words=True) if differing else None),
        Finding("everything", table=Table(head, rows, words=True, folded=True)),
    ]


def _settings(group: Group) -> dict[str, str]:
    texts = {name: _text(value) for name, value in flatten(group.first.record) if name not in PRIVATE}
    texts["settings.loop.seed"] = listing([_text(run.seed) for run in group.runs])
    return texts | {"folder": listing([run.name for run in group.runs])}


def _text(value: Any) -> str:
    if value is None:
        return "none"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
