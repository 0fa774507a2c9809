"""Settings and versions of the groups, side by side."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from ttsi.reports.finding import Finding, Table
from ttsi.reports.groups import Group, flatten
from ttsi.reports.phrases import listing

PRIVATE = ("machine.source", "settings.data_dir")
"""Paths of the machine that a report, which is passed on, does not show."""


def differing_settings(groups: Sequence[Group]) -> Finding:
    """The settings in which the groups differ."""
    head, rows = _side_by_side(groups)
    differing = tuple(row for row in rows if len(set(row[1:])) > 1)
    return Finding("What differs", "", Table(head, differing, words=True) if differing else None)


def all_settings(groups: Sequence[Group]) -> Finding:
    """Everything in config.json."""
    head, rows = _side_by_side(groups)
    return Finding("everything", "", Table(head, rows, words=True, folded=True))


def _side_by_side(groups: Sequence[Group]) -> tuple[tuple[str, ...], tuple[tuple[str, ...], ...]]:
    settings = [_settings(group) for group in groups]
    names = dict.fromkeys(name for one in settings for name in one)
    rows = tuple((name, *(one.get(name, "-") for one in settings)) for name in names)
    return ("", *(group.letter for group in groups)), rows


def _settings(group: Group) -> dict[str, str]:
    settings = {name: _text(value) for name, value in flatten(group.first.record) if name not in PRIVATE}
    settings["settings.loop.seed"] = listing([_text(run.seed) for run in group.runs])
    return settings | {"folder": listing([run.name for run in group.runs])}


def _text(value: Any) -> str:
    if value is None:
        return "none"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
