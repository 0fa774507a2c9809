"""Every statistic agrees with a second way of computing it: brute force, or scipy."""

from __future__ import annotations

import itertools
import math
import random
import statistics
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ttsi.stats import (
    RatiosOfSums,
    auroc,
    auroc_interval,
    changed_verdicts,
    mcnemar_exact,
    mean_stderr,
    paired_bootstrap,
    rates_at,
    share,
    wilson,
)

SCORED = st.lists(st.tuples(st.sampled_from([0.0, 0.1, 0.5, 2.0]), st.booleans()), min_size=1, max_size=12)


@given(st.integers(0, 12), st.integers(0, 12))
def test_mcnemar_counts_coin_tosses(fixed: int, broken: int) -> None:
    n = fixed + broken
    # All 2^n outcomes are equally likely; those at least as lopsided as ours are counted on both sides.
    extreme = sum(math.comb(n, k) for k in range(n + 1) if abs(2 * k - n) >= abs(fixed - broken))
    assert mcnemar_exact(fixed, broken) == pytest.approx(extreme / 2**n)
    assert mcnemar_exact(fixed, broken) == mcnemar_exact(broken, fixed)


def test_mcnemar_against_scipy_and_for_large_counts() -> None:
    from scipy.stats import binomtest

    for fixed, broken in ((52, 17), (200, 180), (3, 0), (0, 0)):
        if fixed + broken:
            assert mcnemar_exact(fixed, broken) == pytest.approx(binomtest(fixed, fixed + broken).pvalue)
    assert mcnemar_exact(0, 0) == 1.0
    assert 0 < mcnemar_exact(1500, 1000) < 1e-20


@given(SCORED)
def test_auroc_counts_pairs(scored: list[tuple[float, bool]]) -> None:
    scores, labels = [s for s, _ in scored], [label for _, label in scored]
    pairs = list(itertools.product([s for s, x in scored if x], [s for s, x in scored if not x]))
    if not pairs:
        assert auroc(scores, labels) is None
        return
    wins = sum(1.0 if p > n else 0.5 if p == n else 0.0 for p, n in pairs)
    assert auroc(scores, labels) == pytest.approx(wins / len(pairs))
    flipped = auroc([-s for s in scores], labels)
    assert flipped == pytest.approx(1 - wins / len(pairs))


def test_auroc_refuses_what_is_no_number() -> None:
    with pytest.raises(ValueError, match="number"):
        auroc([math.nan, 1.0], [True, False])
    with pytest.raises(ValueError, match="each label"):
        auroc([1.0], [True, False])


@given(st.integers(1, 60), st.data())
def test_wilson_agrees_with_scipy(n: int, data: st.DataObject) -> None:
    from scipy.stats import binomtest

    successes = data.draw(st.integers(0, n))
    theirs = binomtest(successes, n).proportion_ci(method="wilson")
    ours = wilson(successes, n)
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), abs=1e-9)
    assert 0 <= ours.low <= successes / n <= ours.high <= 1


def test_bootstrap_agrees_with_drawing_inputs_by_hand() -> None:
    rng = random.Random(0)
    before = [rng.random() < 0.5 for _ in range(80)]
    after = [old or rng.random() < 0.3 for old in before]
    differences = [new - old for old, new in zip(before, after, strict=True)]
    means = sorted(sum(rng.choices(differences, k=80)) / 80 for _ in range(4000))
    interval = paired_bootstrap(before, after, seed=1)
    # Both are random; a quantile of 4,000 resamples is within about two hundredths.
    assert interval.low == pytest.approx(means[100], abs=0.02)
    assert interval.high == pytest.approx(means[-101], abs=0.02)
    assert interval.low < sum(differences) / 80 < interval.high


@given(st.integers(0, 6), st.integers(0, 6), st.integers(0, 6), st.integers(0, 3))
def test_counts_give_the_interval_of_the_verdicts(fixed: int, broken: int, same: int, seed: int) -> None:
    n = fixed + broken + same
    if n == 0:
        return
    before = [0] * fixed + [1] * broken + [1] * same
    after = [1] * fixed + [0] * broken + [1] * same
    assert changed_verdicts(fixed, broken, n, seed, 200) == paired_bootstrap(before, after, seed, 200)


def test_identical_values_make_no_interval() -> None:
    assert paired_bootstrap([0], [1]) is None
    assert paired_bootstrap([0.5, 0.5], [0.25, 0.25]) is None
    assert share([0.5, 0.5, 0.5]) is None
    assert auroc_interval([3.0, 2.0, 1.0, 0.0], [True, True, False, False]) is None
    # Controls: a difference somewhere, and shares of right and wrong, which have Wilson's.
    assert paired_bootstrap([0, 0], [1, 0]) is not None
    assert share([1, 1, 1]) == wilson(3, 3)
    assert auroc_interval([3.0, 0.5, 1.0, 0.0], [True, True, False, False]) is not None


def test_bootstrap_is_seeded_and_paired() -> None:
    before, after = [0, 1, 0, 1] * 10, [1, 1, 0, 1] * 10
    assert paired_bootstrap(before, after, seed=3) == paired_bootstrap(before, after, seed=3)
    # Pairing matters: the same marks in another order are another, wider result.
    shuffled = after[1:] + after[:1]
    paired, unpaired = paired_bootstrap(before, after), paired_bootstrap(before, shuffled)
    assert paired.high - paired.low < unpaired.high - unpaired.low
    with pytest.raises(ValueError, match="no pairs"):
        paired_bootstrap([1], [1, 0])


def two_files(seed: int, n: int = 150) -> list[tuple[tuple[int, int], tuple[int, int]]]:
    """Per input a base and an adapted (twice right, said + gold), of which the second keeps most of the first."""
    rng = random.Random(seed)
    pairs = []
    for _ in range(n):
        gold, right = rng.randint(1, 5), 0
        right = sum(rng.random() < 0.5 for _ in range(gold))
        more = min(gold, right + (rng.random() < 0.4))
        pairs.append(((2 * right, gold + rng.randint(right, 5)), (2 * more, gold + rng.randint(more, 5))))
    return pairs


def summed(pairs: Sequence[Sequence[tuple[int, int]]]) -> RatiosOfSums:
    sums = RatiosOfSums(2)
    for one in pairs:
        sums.add(one)
    return sums


def test_the_error_of_a_ratio_agrees_with_drawing_inputs_again() -> None:
    pairs, rng = two_files(0), random.Random(1)
    resampled = [summed(rng.choices(pairs, k=len(pairs))) for _ in range(1000)]
    sums = summed(pairs)
    for estimate, again in (
        (sums.ratio(0), [one.ratio(0)[0] for one in resampled]),
        (sums.ratio(1), [one.ratio(1)[0] for one in resampled]),
        (sums.difference(0, 1), [one.difference(0, 1)[0] for one in resampled]),
    ):
        value, stderr = estimate
        assert value is not None
        assert stderr == pytest.approx(statistics.stdev([x for x in again if x is not None]), rel=0.1)
    below = sum(pair[0][1] for pair in pairs)
    assert sums.ratio(0)[0] == pytest.approx(sum(pair[0][0] for pair in pairs) / below)


def test_control_the_error_of_a_difference_of_ratios_is_paired() -> None:
    pairs = two_files(0)
    shifted = [(one[0], other[1]) for one, other in zip(pairs, [*pairs[1:], pairs[0]], strict=True)]
    paired, unpaired = summed(pairs).difference(0, 1), summed(shifted).difference(0, 1)
    assert paired[0] == pytest.approx(unpaired[0])
    assert (paired[1] or 0) < 0.8 * (unpaired[1] or 0)


def test_a_ratio_of_nothing_is_none() -> None:
    assert RatiosOfSums(2).ratio(0) == RatiosOfSums(2).difference(0, 1) == (None, None)
    one = RatiosOfSums(2)
    one.add([(1, 2), (0, 0)])
    assert (one.ratio(0), one.ratio(1), one.difference(0, 1)) == ((0.5, None), (None, None), (None, None))


def test_mean_and_standard_error() -> None:

    values = [1.0, 2.0, 2.0, 5.0]
    mean, stderr = mean_stderr(values)
    assert (mean, stderr) == (2.5, pytest.approx(statistics.stdev(values) / 2))
    with pytest.raises(ValueError, match="no values"):
        mean_stderr([])
    with pytest.raises(ValueError, match="no share"):
        wilson(3, 2)


def test_rates_at_tau_count_the_wrong_and_the_right_apart() -> None:
    values, wrong = [0.1, 0.3, 0.5, 0.7], [True, False, True, False]
    assert rates_at(values, wrong, 0.4) == (0.5, 0.5)
    assert rates_at(values, wrong, 0.5) == (0.5, 0.5), "at tau is sure"
    assert rates_at(values, wrong, 9.0) == (1.0, 1.0)
    assert rates_at([], [], 0.4) == (None, None)
    with pytest.raises(ValueError, match="zip"):
        rates_at([0.1], [], 0.4)
