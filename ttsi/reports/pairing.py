"""Paired comparison of two answers to the same inputs.

Inputs: two runs, or groups of seeds, over the same data. Outputs: the paired difference with a bootstrap interval, the
exact McNemar p value for two single runs, and the inputs on which they disagree.

A run is judged by the answer it gives in the end: the adapted one, or the base's for method `base`. The paper
(arXiv:2510.07841) compares means only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ttsi import stats
from ttsi.errors import DataError
from ttsi.record import Key, Run, RunRow
from ttsi.reports.groups import Group, outcomes
from ttsi.stats import Interval

RESAMPLE_SEED = 0


@dataclass(frozen=True)
class Difference:
    """Second minus first over the same inputs, in points of percent."""

    n: int
    first: float
    second: float
    points: float
    interval: Interval | None
    """95 %, in points; None where all inputs changed alike."""


@dataclass(frozen=True)
class Comparison:
    """Two runs, input by input."""

    difference: Difference
    p_mcnemar: float
    fixed: tuple[RunRow, ...]
    """The second run's rows that are right where the first is wrong."""
    broken: tuple[RunRow, ...]
    """The second run's rows that are wrong where the first is right."""
    only_first: int
    """Graded inputs that only the first run has."""
    only_second: int


def difference(first: Mapping[Key, float], second: Mapping[Key, float]) -> Difference:
    """The paired difference over the inputs that both have.

    Raises:
        ValueError: they share no input.
    """
    keys = sorted(first.keys() & second.keys())
    before, after = [first[key] for key in keys], [second[key] for key in keys]
    interval = stats.paired_bootstrap(before, after, RESAMPLE_SEED)
    old, new = 100 * sum(before) / len(keys), 100 * sum(after) / len(keys)
    points = interval and Interval(100 * interval.low, 100 * interval.high)
    return Difference(len(keys), old, new, new - old, points)


def gain(group: Group) -> Difference | None:
    """Adapted against base within a group; None where there is nothing to compare."""
    base = outcomes(group, "base")
    return difference(base, outcomes(group, "adapted")) if base and group.adapts else None


def final(group: Group) -> dict[Key, float]:
    """Each graded input's share of seeds in which the answer given in the end was right."""
    return outcomes(group, group.first.final_side)


def final_difference(first: Group, second: Group) -> Difference | None:
    """The second's final answers against the first's; None where they share no graded input."""
    before, after = final(first), final(second)
    return difference(before, after) if before.keys() & after.keys() else None


def compare(first: Run, second: Run) -> Comparison:
    """Judge the second run against the first.

    Raises:
        DataError: they answered different data, are graded or decoded differently, or share no graded input.
    """
    if reason := incomparable_reason(first, second):
        raise DataError(f"{first.name} and {second.name} {reason}")
    before, after = _verdicts(first), _verdicts(second)
    shared = [key for key in before if key in after]
    if not shared:
        raise DataError(f"{first.name} and {second.name} share no graded input: nothing to compare")
    fixed = tuple(after[key][1] for key in shared if after[key][0] and not before[key][0])
    broken = tuple(after[key][1] for key in shared if before[key][0] and not after[key][0])
    return Comparison(
        difference({key: float(before[key][0]) for key in shared}, {key: float(after[key][0]) for key in shared}),
        stats.mcnemar_exact(len(fixed), len(broken)),
        fixed,
        broken,
        len(before) - len(shared),
        len(after) - len(shared),
    )


def incomparable_reason(first: Run, second: Run) -> str | None:
    """Why two runs cannot be compared, or None."""
    one, other = first.data, second.data
    decodings = [run.config.loop.answer.decoding for run in (first, second)]
    if one.checksum != other.checksum:
        names = f"{one.benchmark} and {other.benchmark}"
        return f"answered different data ({names}): compare runs of the same benchmark file"
    if one.matcher != other.matcher:
        return f"are graded by different rules ({one.matcher} and {other.matcher}): no comparison"
    if decodings[0] != decodings[1]:
        return (
            f"are decoded differently ({decodings[0]} and {decodings[1]}): part of a difference would be the grammar's"
        )
    return None


def calls_warning(first: Run, second: Run) -> str | None:
    """A warning where the two runs demanded calls of their answers in different ways."""
    demands = first.config.loop.answer.calls, second.config.loop.answer.calls
    if demands[0] == demands[1]:
        return None
    return f"Calls were demanded differently ({demands[0]} and {demands[1]}): part of the difference is the demand's."


def same_questions(first: Group, second: Group) -> bool:
    """Whether both answered and graded exactly the same inputs in the same way."""
    one, other = first.first, second.first
    if incomparable_reason(one, other) is not None or calls_warning(one, other) is not None:
        return False
    return outcomes(first, "base").keys() == outcomes(second, "base").keys()


def _verdicts(run: Run) -> dict[Key, tuple[bool, RunRow]]:
    pairs = [(row, row.right(run.final_side, run.data.matcher)) for row in run.rows]
    return {row.key: (verdict, row) for row, verdict in pairs if verdict is not None}


def count_changes(rows: Sequence[RunRow], rule: str) -> tuple[int, int]:
    """How many graded rows adapting fixed (wrong, then right), and how many it broke."""
    pairs = [(row.right("base", rule), row.right("adapted", rule)) for row in rows]
    return pairs.count((False, True)), pairs.count((True, False))
