"""Which of two answers to the same inputs is better, and by how much?

Inputs: two runs (or groups of seeds) over the same data. Outputs: the paired difference with a bootstrap interval, the
exact McNemar p value for two single runs, and the inputs on which they disagree.

A run is judged by the answer it gives in the end: the adapted one, or the base's for method `base`. The paper
(arXiv:2510.07841) compares means only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ttsi import stats
from ttsi.errors import DataError
from ttsi.record import Key, RunRow
from ttsi.reports.record import Group, Run, Side, calls, outcomes, right
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


def final_side(run: Run) -> Side:
    """The answer that a run gives in the end."""
    return "adapted" if run.config["settings"]["loop"]["adapt"] else "base"


def final(group: Group) -> dict[Key, float]:
    """Each graded input's share of seeds in which the answer given in the end was right."""
    return outcomes(group, final_side(group.runs[0]))


def compare(first: Run, second: Run) -> Comparison:
    """Two runs over the same data and with the same decoding.

    Raises:
        DataError: they cannot be compared; one line that says why.
    """
    reason = unlike(first, second)
    if reason:
        raise DataError(f"{first.name} and {second.name} {reason}")
    before, after = _graded(first), _graded(second)
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


def unlike(first: Run, second: Run) -> str | None:
    """Why two runs cannot be compared, or None."""
    one, other = first.config, second.config
    decodings = [config["settings"]["loop"]["answer"]["decoding"] for config in (one, other)]
    if one["data"]["checksum"] != other["data"]["checksum"]:
        names = f"{one['data']['benchmark']} and {other['data']['benchmark']}"
        return f"answered different data ({names}): compare runs of the same benchmark file"
    if one["data"]["matcher"] != other["data"]["matcher"]:
        return f"are graded by different rules ({one['data']['matcher']} and {other['data']['matcher']}): no comparison"
    if decodings[0] != decodings[1]:
        return (
            f"are decoded differently ({decodings[0]} and {decodings[1]}): part of a difference would be the grammar's"
        )
    return None


def demanded_differently(first: Run, second: Run) -> str | None:
    """A warning where calls were demanded of one run's answers and not, or in another way, of the other's."""
    demands = calls(first.config), calls(second.config)
    if demands[0] == demands[1]:
        return None
    return f"Calls were demanded differently ({demands[0]} and {demands[1]}): part of the difference is the demand's."


def same_questions(first: Group, second: Group) -> bool:
    """Did both answer and grade exactly the same inputs in the same way?"""
    one, other = first.runs[0], second.runs[0]
    if unlike(one, other) is not None or demanded_differently(one, other) is not None:
        return False
    return outcomes(first, "base").keys() == outcomes(second, "base").keys()


def _graded(run: Run) -> dict[Key, tuple[bool, RunRow]]:
    side, matcher = final_side(run), str(run.config["data"]["matcher"])
    verdicts = [(row, right(row, side, matcher)) for row in run.rows]
    return {row.key: (verdict, row) for row, verdict in verdicts if verdict is not None}


def changes(rows: Sequence[RunRow], matcher: str) -> tuple[int, int, int, int]:
    """(fixed, broken, base right, base wrong) over the graded rows."""
    pairs = [(right(row, "base", matcher), right(row, "adapted", matcher)) for row in rows]
    fixed = sum(old is False and new is True for old, new in pairs)
    broken = sum(old is True and new is False for old, new in pairs)
    good = sum(old is True for old, _ in pairs)
    return fixed, broken, good, sum(old is False for old, _ in pairs)
