"""Which points do the plots go through?

Inputs: per input how sure the model was and whether it was right. Outputs: histogram counts, risk-coverage and
reliability points, and the score at every threshold. Pure functions; shares are between 0 and 1.

The paper (arXiv:2510.07841) sweeps tau by running again (its Table 2). Since no input's adapter touches another input,
one run already holds the score at every smaller tau: below it the adapted answers, above it the base's.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from ttsi.stats import Interval, wilson


@dataclass(frozen=True)
class Histogram:
    """How many inputs lie in each bin, right and wrong apart."""

    edges: tuple[float, ...]
    right: tuple[int, ...]
    wrong: tuple[int, ...]


@dataclass(frozen=True)
class Bin:
    """A group of inputs of similar confidence."""

    confidence: float
    accuracy: float
    interval: Interval
    n: int


@dataclass(frozen=True)
class Threshold:
    """What the run would have been with this tau."""

    tau: float
    adapted: float
    """Share of inputs adapted."""
    score: float


def histogram(values: Sequence[float], right: Sequence[bool], bins: int = 20) -> Histogram:
    """Equal bins from the 1 % quantile to the top; what lies below is counted in the first.

    >>> histogram([0.0, 0.9, 1.0], [False, True, True], bins=2)
    Histogram(edges=(0.0, 0.5, 1.0), right=(0, 2), wrong=(1, 0))
    """
    ranked = sorted(value for value in values if math.isfinite(value))
    if not ranked:
        return Histogram((0.0, 1.0), (0,), (0,))
    low, high = ranked[len(ranked) // 100], ranked[-1]
    width = (high - low) / bins or 1.0
    counts = [[0] * bins, [0] * bins]
    for value, ok in zip(values, right, strict=True):
        # An infinite value has no place on an axis; it belongs to the end it lies at.
        place = (value - low) / width if math.isfinite(value) else (bins if value > 0 else 0)
        counts[ok][min(max(int(place), 0), bins - 1)] += 1
    return Histogram(tuple(low + i * width for i in range(bins + 1)), tuple(counts[True]), tuple(counts[False]))


def risk_coverage(values: Sequence[float], right: Sequence[float]) -> list[tuple[float, float]]:
    """(coverage, error rate) when only the surest inputs are answered; equal values come in together.

    `right` may be shares, of the seeds that were right.

    >>> risk_coverage([0.9, 0.5, 0.5, 0.1], [True, True, False, False])
    [(0.25, 0.0), (0.75, 0.3333333333333333), (1.0, 0.5)]
    """
    points, wrong = [], 0.0
    ranked = sorted(zip(values, right, strict=True), key=lambda pair: -pair[0])
    for place, (value, ok) in enumerate(ranked, start=1):
        wrong += 1 - ok
        if place == len(ranked) or ranked[place][0] != value:
            points.append((place / len(ranked), wrong / place))
    return points


def area(points: Sequence[tuple[float, float]]) -> float:
    """Mean risk over all coverages (AURC), each step reaching back to the one before; smaller is better.

    >>> area([(0.5, 0.0), (1.0, 0.5)])
    0.25
    """
    before, total = 0.0, 0.0
    for coverage, risk in points:
        total += (coverage - before) * risk
        before = coverage
    return total


def reliability(confidence: Sequence[float], right: Sequence[bool], bins: int | None = None) -> list[Bin]:
    """Inputs in bins of equal size by confidence, each with its accuracy; by default ten, of ten inputs or more.

    >>> [(b.confidence, b.accuracy, b.n) for b in reliability([0.1, 0.3, 0.9, 0.9], [False, True, True, True], 2)]
    [(0.2, 0.5, 2), (0.9, 1.0, 2)]
    """
    bins = bins or max(1, min(10, len(right) // 10))
    ranked = sorted(zip(confidence, right, strict=True), key=lambda pair: pair[0])
    cuts = [round(i * len(ranked) / bins) for i in range(bins + 1)]
    parts = [ranked[start:end] for start, end in pairwise(cuts) if end > start]
    return [_bin(part) for part in parts]


def _bin(part: Sequence[tuple[float, bool]]) -> Bin:
    n, good = len(part), sum(ok for _, ok in part)
    return Bin(math.fsum(value for value, _ in part) / n, good / n, wilson(good, n), n)


def calibration_error(bins: Sequence[Bin]) -> float:
    """Expected calibration error: the mean distance of confidence from accuracy, weighted by inputs.

    >>> round(calibration_error(reliability([0.9, 0.9], [True, False], 1)), 3)
    0.4
    """
    n = sum(part.n for part in bins)
    return math.fsum(part.n * abs(part.confidence - part.accuracy) for part in bins) / n if n else 0.0


def tau_curve(values: Sequence[float], base: Sequence[float], adapted: Sequence[float], tau: float) -> list[Threshold]:
    """The score at every tau up to the run's own, from nobody adapted to all that this run adapted.

    Outcomes may be shares (of several seeds).

    >>> [(t.adapted, t.score) for t in tau_curve([0.1, 0.2, 0.9], [False, False, True], [True, False, True], 0.5)]
    [(0.0, 0.3333333333333333), (0.3333333333333333, 0.6666666666666666), (0.6666666666666666, 0.6666666666666666)]
    """
    ranked = sorted(zip(values, base, adapted, strict=True))
    n, good = len(ranked), sum(base)
    points = [Threshold(ranked[0][0], 0.0, good / n)] if ranked else []
    for place, (value, old, new) in enumerate(ranked, start=1):
        if value >= tau:
            break
        good += new - old
        following = ranked[place][0] if place < n else math.inf
        if following != value:
            # The largest tau that adapts exactly these.
            points.append(Threshold(min(following, tau), place / n, good / n))
    return points
