"""What does a report read, and which runs belong together?

Inputs: runs as they were recorded (rows, config.json, the summary). Outputs: groups of runs that differ in nothing but
the seed, and for each input its outcome over those seeds.

Reports know no run folders: the command reads them and hands them over as `Run`, whose rows need only look like `RunRow`.
The paper (arXiv:2510.07841) averages five runs; here seeds are averaged input by input first, so that an interval over
inputs does not count the same question several times.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from ttsi.record import Key, RunRow

Side = Literal["base", "adapted"]

STAGES = ("awareness", "synthesis", "adaptation", "answer")
"""In the order of the method."""

NOT_SETTINGS = frozenset({"settings.loop.seed", "settings.data", "settings.batch_size"})
"""Settings in which runs of one group may differ."""


@dataclass(frozen=True)
class Run:
    """A recorded run."""

    name: str
    """What to call it: the folder's name."""
    config: Mapping[str, Any]
    """What config.json holds."""
    summary: Mapping[str, Any]
    """The summary, counted anew from the rows."""
    rows: Sequence[RunRow]


@dataclass(frozen=True)
class Group:
    """Runs of the same settings with different seeds."""

    letter: str
    """A short name for plots and tables."""
    runs: tuple[Run, ...]

    @property
    def config(self) -> Mapping[str, Any]:
        """The first run's configuration; the others differ in the seed."""
        return self.runs[0].config

    @property
    def rows(self) -> list[RunRow]:
        """The rows of all runs."""
        return [row for run in self.runs for row in run.rows]

    @property
    def timed(self) -> tuple[Run, ...]:
        """The runs whose seconds are their own: points of a sweep may have taken answers from one another."""
        return tuple(run for run in self.runs if not (run.config.get("model") or {}).get("recalling"))

    @property
    def matcher(self) -> str:
        """The headline's rule."""
        return str(self.config["data"]["matcher"])

    @property
    def adapts(self) -> bool:
        """Is there an adapted answer beside the base's?"""
        return bool(self.config["settings"]["loop"]["adapt"])

    @property
    def measure(self) -> str:
        """The measure that decides who is unsure."""
        return str(self.config["settings"]["loop"]["awareness"]["measure"])

    @property
    def tau(self) -> float:
        """The threshold."""
        return float(self.config["settings"]["loop"]["awareness"]["tau"])


def groups(runs: Sequence[Run]) -> list[Group]:
    """The runs by settings, in the order in which they came."""
    found: dict[str, list[Run]] = {}
    for run in runs:
        found.setdefault(identity(run.config), []).append(run)
    return [Group(letter(i), tuple(members)) for i, members in enumerate(found.values())]


def letter(number: int) -> str:
    """A, B, ..., Z, A2, B2, ...

    >>> letter(0), letter(25), letter(26)
    ('A', 'Z', 'A2')
    """
    turn, place = divmod(number, 26)
    return chr(ord("A") + place) + (str(turn + 1) if turn else "")


def identity(config: Mapping[str, Any], *but_for: str) -> str:
    """All that a run's results depend on but its seed, as one text; and but for some settings, by dotted name."""
    left_out = NOT_SETTINGS.union(but_for)
    settings = {name: value for name, value in flat(config["settings"], "settings") if name not in left_out}
    model = config.get("model") or {}
    what = [settings, config["data"], model.get("weights_sha256"), config.get("prompt")]
    return json.dumps(what, sort_keys=True, default=str)


def flat(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Every leaf of a nested dictionary under its dotted name.

    >>> list(flat({"a": {"b": 1}, "c": [2]}))
    [('a.b', 1), ('c', [2])]
    """
    if not isinstance(value, Mapping):
        yield path, value
        return
    for key, inner in value.items():
        yield from flat(inner, f"{path}.{key}" if path else str(key))


def calls(config: Mapping[str, Any]) -> str:
    """How a call was demanded of the answers; older runs left it to the model."""
    return str(config["settings"]["loop"]["answer"].get("calls", "auto"))


def right(row: RunRow, side: Side, matcher: str) -> bool | None:
    """Was this answer right? None without gold."""
    return None if row.grades is None else row.grades[matcher][side]


def outcomes(group: Group, side: Side, rule: str | None = None) -> dict[Key, float]:
    """Each graded input's share of seeds in which the answer was right.

    Args:
        group: the runs.
        side: which answer.
        rule: the headline's, or another one; inputs that it says nothing about are left out.
    """
    found: dict[Key, list[bool]] = {}
    for row in group.rows:
        verdict = right(row, side, group.matcher) if rule is None else (row.grades or {}).get(rule, {}).get(side)
        if verdict is not None:
            found.setdefault(row.key, []).append(verdict)
    return {key: sum(verdicts) / len(verdicts) for key, verdicts in found.items()}


def measured(row: RunRow, name: str) -> float | None:
    """A measure's value for one input; None when it has none."""
    known = row.episode.awareness
    if known is None:
        return None
    value = known.value if name == known.measure else known.measures.get(name)
    return None if value is None or value != value else value
