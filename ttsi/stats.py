"""Statistics of right and wrong answers: standard errors, intervals, paired tests, AUROC.

Inputs: right or wrong per input, or scores with labels. Outputs: means with standard errors, 95 % intervals, p values.
Pure functions; shares are between 0 and 1, not percent. Needs numpy and nothing else of ttsi.

Base and adapted answers belong to the same inputs, so gains are judged by paired tests: a bootstrap interval over
inputs, and McNemar's exact test on the inputs whose verdict changed. The paper (arXiv:2510.07841) prints means only.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

Z95 = 1.959963984540054
"""97.5 % quantile of the normal distribution."""


@dataclass(frozen=True)
class Interval:
    """A 95 % interval."""

    low: float
    high: float


def mean_stderr(values: Sequence[float]) -> tuple[float, float | None]:
    """The mean and its standard error (None for a single value).

    >>> mean_stderr([1, 1, 0, 0])
    (0.5, 0.28867513459481287)
    >>> mean_stderr([True])
    (1.0, None)

    Raises:
        ValueError: there are no values.
    """
    if not values:
        raise ValueError("no values, no mean")
    n = len(values)
    mean = math.fsum(values) / n
    if n == 1:
        return mean, None
    variance = math.fsum((value - mean) ** 2 for value in values) / (n - 1)
    return mean, math.sqrt(variance / n)


def wilson(successes: int, n: int, z: float = Z95) -> Interval:
    """Wilson's interval of a share; unlike mean +- 2 stderr it stays within 0 and 1 and is honest at the ends.

    >>> wilson(0, 10)
    Interval(low=0.0, high=0.2775327998628892)

    Raises:
        ValueError: n is 0, or successes are not within 0 and n.
    """
    if n <= 0 or not 0 <= successes <= n:
        raise ValueError(f"{successes} of {n} is no share")
    share = successes / n
    scale = 1 + z * z / n
    centre = (share + z * z / (2 * n)) / scale
    reach = z / scale * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    low = 0.0 if successes == 0 else centre - reach
    high = 1.0 if successes == n else centre + reach
    return Interval(low, high)


def paired_bootstrap(
    before: Sequence[float], after: Sequence[float], seed: int = 0, resamples: int = 10_000
) -> Interval | None:
    """95 % percentile interval of mean(after - before), inputs resampled with replacement.

    None where all differences are equal, as with a single pair: resampling them shows nothing about other inputs.

    >>> paired_bootstrap([0, 0, 0], [1, 1, 1]) is None
    True

    Raises:
        ValueError: the lists are empty or differ in length.
    """
    import numpy as np

    if not before or len(before) != len(after):
        raise ValueError(f"{len(before)} and {len(after)} values are no pairs")
    differences = np.asarray(after, dtype=float) - np.asarray(before, dtype=float)
    values, counts = np.unique(differences, return_counts=True)
    return _resample(values, counts, seed, resamples)


def changed_verdicts(fixed: int, broken: int, n: int, seed: int = 0, resamples: int = 10_000) -> Interval | None:
    """The same interval as `paired_bootstrap`, bit for bit, from the counts of changed verdicts among n inputs.

    >>> changed_verdicts(2, 1, 4) == paired_bootstrap([0, 0, 1, 1], [1, 1, 0, 1])
    True
    """
    import numpy as np

    kinds = [(-1.0, broken), (0.0, n - fixed - broken), (1.0, fixed)]
    values, counts = zip(*[kind for kind in kinds if kind[1]], strict=True)
    return _resample(np.asarray(values), np.asarray(counts), seed, resamples)


def _resample(values: Any, counts: Any, seed: int, resamples: int) -> Interval | None:
    """The interval of a mean, from each different value and how often it comes up."""
    import numpy as np

    if len(values) == 1:
        return None
    # Drawing n inputs with replacement is drawing how often each value of the difference comes up.
    n = int(counts.sum())
    draws = np.random.default_rng(seed).multinomial(n, counts / n, size=resamples)
    low, high = np.percentile(draws @ values / n, [2.5, 97.5])
    return Interval(float(low), float(high))


class RatiosOfSums:
    """Ratios of sums over inputs, such as F1, with standard errors, from running sums alone.

    Standard errors are those of the linearised ratio (Cochran, Sampling Techniques, 3rd edition, 1977, chapter 6):
    an input moves it by (numerator - ratio x denominator) / sum(denominators). A difference of two ratios takes the
    difference of both moves of an input, so it is paired.

    >>> sums = RatiosOfSums(2)
    >>> for base, adapted in [((0, 2), (2, 2)), ((2, 2), (2, 2)), ((0, 2), (0, 2))]:
    ...     sums.add([base, adapted])
    >>> [round(number, 3) for number in sums.ratio(1)]
    [0.667, 0.333]
    """

    def __init__(self, ratios: int) -> None:
        self._n = 0
        self._sums = [0.0] * (2 * ratios)
        self._products = [[0.0] * (2 * ratios) for _ in range(2 * ratios)]

    def add(self, pairs: Sequence[tuple[float, float]]) -> None:
        """One more input: a numerator and a denominator for each ratio."""
        values = [value for pair in pairs for value in pair]
        self._n += 1
        for i, one in enumerate(values):
            self._sums[i] += one
            for j, other in enumerate(values):
                self._products[i][j] += one * other

    def ratio(self, which: int) -> tuple[float | None, float | None]:
        """A ratio and its standard error; None where the denominators are 0, or there are too few inputs."""
        above, below = self._sums[2 * which : 2 * which + 2]
        return (above / below, self._stderr(self._moves(which))) if below else (None, None)

    def difference(self, first: int, second: int) -> tuple[float | None, float | None]:
        """The second ratio less the first, and its standard error."""
        one, other = self.ratio(first)[0], self.ratio(second)[0]
        if one is None or other is None:
            return None, None
        moves = [b - a for a, b in zip(self._moves(first), self._moves(second), strict=True)]
        return other - one, self._stderr(moves)

    def _moves(self, which: int) -> list[float]:
        """Derivative of a ratio by each of the sums."""
        above, below = self._sums[2 * which : 2 * which + 2]
        moves = [0.0] * len(self._sums)
        moves[2 * which], moves[2 * which + 1] = 1 / below, -above / below**2
        return moves

    def _stderr(self, moves: Sequence[float]) -> float | None:
        if self._n < 2:
            return None
        squared = math.fsum(
            a * b * product
            for a, row in zip(moves, self._products, strict=True)
            for b, product in zip(moves, row, strict=True)
        )
        return math.sqrt(max(squared, 0.0) * self._n / (self._n - 1))


def mcnemar_exact(fixed: int, broken: int) -> float:
    """Two-sided exact p value of "as likely fixed as broken".

    >>> mcnemar_exact(5, 0)
    0.0625
    >>> mcnemar_exact(3, 3)
    1.0
    """
    n, rarer = fixed + broken, min(fixed, broken)
    # Whole numbers up to the division: exact for any n.
    tail = sum(math.comb(n, k) for k in range(rarer + 1))
    return float(min(Fraction(1), Fraction(2 * tail, 2**n)))


def auroc(scores: Sequence[float], positive: Sequence[bool]) -> float | None:
    """Area under the ROC curve: how often a positive scores above a negative, ties counting half. None without both.

    >>> auroc([0.9, 0.8, 0.1], [True, False, False])
    1.0
    >>> auroc([0.5, 0.5], [True, False])
    0.5
    >>> auroc([0.5, 0.5], [True, True]) is None
    True

    Raises:
        ValueError: the lists differ in length, or a score is not a number.
    """
    if len(scores) != len(positive) or any(math.isnan(score) for score in scores):
        raise ValueError("one score that is a number for each label")
    if len(set(map(bool, positive))) < 2:
        return None
    above = [score for score, label in zip(scores, positive, strict=True) if label]
    below = [score for score, label in zip(scores, positive, strict=True) if not label]
    # Whole and half numbers, so this sum is exact in any order.
    return float(_wins(above, below).sum()) / (len(above) * len(below))


def rates_at(values: Sequence[float], wrong: Sequence[bool], tau: float) -> tuple[float | None, float | None]:
    """Shares of the wrong and of the right answers whose value lies below tau: true and false positive rate.

    None where there are no answers of that kind. The paper's Table 2 has both (tau 0.35: 0.42); that its positive
    class is "the base is wrong" is inferred.

    >>> rates_at([0.2, 0.9, 0.5, 0.7], [True, True, False, False], 0.6)
    (0.5, 0.5)
    >>> rates_at([0.2], [True], 0.6)
    (1.0, None)

    Raises:
        ValueError: the lists differ in length.
    """
    pairs = list(zip(values, wrong, strict=True))
    below = {label: [value < tau for value, bad in pairs if bool(bad) is label] for label in (True, False)}
    tpr, fpr = (sum(part) / len(part) if part else None for part in (below[True], below[False]))
    return tpr, fpr


def auroc_interval(scores: Sequence[float], positive: Sequence[bool]) -> Interval | None:
    """DeLong's 95 % interval of the AUROC, cut at 0 and 1.

    None with fewer than two of a class, and where every score beats as many of the other class: nothing varies.

    >>> auroc_interval([0.9, 0.8, 0.2, 0.1], [True, True, False, False]) is None
    True
    """
    above = [score for score, label in zip(scores, positive, strict=True) if label]
    below = [score for score, label in zip(scores, positive, strict=True) if not label]
    if min(len(above), len(below)) < 2:
        return None
    # The share of the other class that each one beats, and its variance within each class.
    beaten, beating = _wins(above, below) / len(below), 1 - _wins(below, above) / len(above)
    reach = Z95 * math.sqrt(float(beaten.var(ddof=1)) / len(above) + float(beating.var(ddof=1)) / len(below))
    if reach == 0:
        return None
    middle = float(beaten.mean())
    return Interval(max(0.0, middle - reach), min(1.0, middle + reach))


def _wins(ours: Sequence[float], theirs: Sequence[float]) -> Any:
    """How many of `theirs` each of `ours` is above, ties counting half: an array as long as `ours`."""
    import numpy as np

    ranked, values = np.sort(np.asarray(theirs, dtype=float)), np.asarray(ours, dtype=float)
    return (np.searchsorted(ranked, values, "left") + np.searchsorted(ranked, values, "right")) / 2


def share(values: Sequence[float]) -> Interval | None:
    """The interval of a mean of outcomes: Wilson's where all are 0 or 1, else a bootstrap over inputs (or None).

    >>> share([0, 0, 1, 1]) == wilson(2, 4)
    True

    Raises:
        ValueError: there are no values.
    """
    if all(value in (0, 1) for value in values):
        return wilson(round(math.fsum(values)), len(values))
    return paired_bootstrap([0.0] * len(values), values)
