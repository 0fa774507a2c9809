"""Groups of runs that differ in nothing but the seed.

Inputs: runs (`ttsi.record.Run`). Outputs: groups, those that only measure and answer (method `base`) first, and for
each input its outcome averaged over the seeds.

The paper (arXiv:2510.07841) averages five runs. Here seeds are averaged input by input first, so that an interval over
inputs does not count the same question several times.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from ttsi.config import RunConfig
from ttsi.errors import ConfigError
from ttsi.record import Key, Run, RunRow, Side

NOT_SETTINGS = frozenset({"loop.seed", "data", "batch_size"})
"""Settings in which runs of one group may differ."""


@dataclass(frozen=True)
class Group:
    """Runs of the same settings with different seeds."""

    letter: str
    """A short name for plots and tables."""
    runs: tuple[Run, ...]

    @property
    def first(self) -> Run:
        """The first run; the others differ from it in the seed."""
        return self.runs[0]

    @property
    def config(self) -> RunConfig:
        """The first run's settings."""
        return self.first.config

    @property
    def rows(self) -> list[RunRow]:
        """The rows of all runs."""
        return [row for run in self.runs for row in run.rows]

    @property
    def n(self) -> int:
        """Number of different inputs."""
        return len({row.key for row in self.rows})

    @property
    def n_graded(self) -> int:
        """Number of different inputs with a verdict by the headline's rule: what scores and gains are over."""
        return len(outcomes(self, "base"))

    @property
    def timed(self) -> tuple[Run, ...]:
        """The runs whose seconds are their own: points of a sweep may have taken answers from one another."""
        return tuple(run for run in self.runs if not run.model.get("recalling"))

    @property
    def timed_rows(self) -> list[RunRow]:
        """Their rows that have seconds: an input that fails alone ends without any."""
        return [row for run in self.timed for row in run.rows if row.episode.seconds]

    @property
    def matcher(self) -> str:
        """The headline's rule."""
        return self.first.data.matcher

    @property
    def adapts(self) -> bool:
        """Whether there is an adapted answer beside the base's."""
        return self.first.adapts

    @property
    def has_trajectories(self) -> bool:
        """Whether its inputs are agents' tasks, in which each decision is adapted or not."""
        return any(row.episode.trajectories for row in self.first.rows)

    @property
    def measure(self) -> str:
        """The measure that decides which inputs are unsure."""
        return self.config.loop.awareness.measure

    def per_run(self, number: Callable[[Run], float]) -> float:
        """The mean of a number over the runs."""
        return sum(map(number, self.runs)) / len(self.runs)


def group_runs(runs: Sequence[Run]) -> list[Group]:
    """The runs by settings: those that adapt nothing first, else in the order in which they were given.

    Raises:
        ConfigError: two runs have the same settings and seed.
    """
    members: dict[str, list[Run]] = {}
    for run in runs:
        members.setdefault(identity(run), []).append(run)
    for same in members.values():
        _check_seeds(same)
    ordered = sorted(members.values(), key=lambda same: same[0].adapts)
    return [Group(letter(i), tuple(same)) for i, same in enumerate(ordered)]


def _check_seeds(runs: Sequence[Run]) -> None:
    """Refuse a seed that stands in two runs of a group: a copy is no second sample, and it narrows every interval."""
    by_seed: dict[int, Run] = {}
    for run in runs:
        if (other := by_seed.setdefault(run.seed, run)) is not run:
            raise ConfigError(
                f"{other.place} and {run.place} have the same settings and seed: their answers would count twice, so "
                "name one of them"
            )


def letter(number: int) -> str:
    """A, B, ..., Z, A2, B2, ...

    >>> letter(0), letter(25), letter(26)
    ('A', 'Z', 'A2')
    """
    turn, place = divmod(number, 26)
    return chr(ord("A") + place) + (str(turn + 1) if turn else "")


def identity(run: Run, *but_for: str) -> str:
    """Everything that a run's results depend on but its seed, as one text; without some settings, by dotted name."""
    left_out = NOT_SETTINGS.union(but_for)
    settings = {name: value for name, value in flatten(asdict(run.config)) if name not in left_out}
    if run.began_with_library == "new":
        settings["library.folder"] = "new"  # one is like another; where it lies is no setting
    return json.dumps([settings, asdict(run.data), run.weights, run.prompt_hash], sort_keys=True, default=str)


def flatten(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Every leaf of a nested dictionary under its dotted name.

    >>> list(flatten({"a": {"b": 1}, "c": [2]}))
    [('a.b', 1), ('c', [2])]
    """
    if not isinstance(value, Mapping):
        yield path, value
        return
    for key, inner in value.items():
        yield from flatten(inner, f"{path}.{key}" if path else str(key))


def outcomes(group: Group, side: Side, rule: str | None = None) -> dict[Key, float]:
    """Each graded input's share of seeds in which the answer was right.

    Args:
        group: the runs.
        side: which answer.
        rule: the headline's by default; inputs without a verdict of the rule are left out.
    """
    verdicts: dict[Key, list[bool]] = {}
    for row in group.rows:
        if (verdict := row.right(side, rule or group.matcher)) is not None:
            verdicts.setdefault(row.key, []).append(verdict)
    return {key: sum(seeds) / len(seeds) for key, seeds in verdicts.items()}


def measured_verdicts(group: Group, measure: str, rule: str) -> list[tuple[float, bool]]:
    """(measure, base right by a rule) of each input of the first run that has both."""
    pairs = [(row.measure(measure), row.right("base", rule)) for row in group.first.rows]
    return [(value, right) for value, right in pairs if value is not None and right is not None]


def group_by_inputs(groups: Sequence[Group]) -> list[list[Group]]:
    """The groups by model and by the inputs that they answered."""
    sets: dict[tuple[Any, ...], list[Group]] = {}
    for group in groups:
        data = group.first.data
        sets.setdefault((*model_of(group), data.benchmark, data.checksum, data.n), []).append(group)
    return list(sets.values())


def model_of(group: Group) -> tuple[str, str | None]:
    """Which model answered: its spec and its weights."""
    return group.config.model, group.first.weights
