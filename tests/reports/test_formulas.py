"""Every curve is counted a second time, the slow way."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.reports.records import row, run
from ttsi import stats
from ttsi.reports.finding import Finding
from ttsi.reports.groups import group_runs
from ttsi.reports.questions.confidence_histogram import Histogram, confidence, histogram
from ttsi.reports.questions.reliability import bin_by_confidence, calibration_error, reliability
from ttsi.reports.questions.risk import area, risk_coverage
from ttsi.reports.questions.thresholds import tau_curve

INPUTS = st.lists(
    st.tuples(st.sampled_from([-2.0, -0.5, 0.0, 0.25, 0.9, 1.0]), st.booleans(), st.booleans()), min_size=1, max_size=30
)


@given(INPUTS, st.sampled_from([-1.0, 0.0, 0.3, 0.95, math.inf]))
def test_the_tau_curve_is_what_running_again_would_give(inputs: list[tuple[float, bool, bool]], tau: float) -> None:
    values, base, adapted = (list(column) for column in zip(*inputs, strict=True))
    points = tau_curve(values, base, adapted, tau)
    for point in points:
        assert point.tau <= max(tau, min(values))
        chosen = [value < point.tau for value in values]
        outcome = [new if unsure else old for unsure, old, new in zip(chosen, base, adapted, strict=True)]
        assert point.adapted == pytest.approx(sum(chosen) / len(values))
        assert point.score == pytest.approx(sum(outcome) / len(values))
    assert points[0].adapted == 0
    assert points[-1].adapted == pytest.approx(sum(value < tau for value in values) / len(values))


def test_control_adapting_the_wrong_ones_is_another_curve() -> None:
    right_order = tau_curve([0.1, 0.9], [False, True], [True, False], math.inf)
    wrong_order = tau_curve([0.9, 0.1], [False, True], [True, False], math.inf)
    assert [point.score for point in right_order] == [0.5, 1.0, 0.5]
    assert [point.score for point in wrong_order] == [0.5, 0.0, 0.5]


@given(INPUTS)
def test_risk_at_a_coverage_is_the_error_rate_of_the_most_confident(inputs: list[tuple[float, bool, bool]]) -> None:
    values, right = [value for value, _, _ in inputs], [ok for _, ok, _ in inputs]
    points = risk_coverage(values, right)
    cuts = sorted(set(values), reverse=True)
    kept = [[ok for value, ok in zip(values, right, strict=True) if value >= cut] for cut in cuts]
    assert points == [(len(part) / len(values), part.count(False) / len(part)) for part in kept]
    assert 0 <= area(points) <= 1


def test_a_good_measure_has_less_area_than_a_bad_one() -> None:
    right = [True, True, False, False]
    good, bad = (area(risk_coverage(v, right)) for v in ([0.9, 0.8, 0.2, 0.1], [0.1, 0.2, 0.8, 0.9]))
    assert good < bad


@given(INPUTS)
def test_a_histogram_counts_everything_once(inputs: list[tuple[float, bool, bool]]) -> None:
    counts = histogram([value for value, _, _ in inputs], [ok for _, ok, _ in inputs])
    assert sum(counts.right) == sum(ok for _, ok, _ in inputs)
    assert sum(counts.right) + sum(counts.wrong) == len(inputs)
    assert len(counts.edges) == len(counts.right) + 1


def test_an_infinite_value_lies_at_its_end() -> None:
    counts = histogram([-math.inf, 0.0, 1.0, math.inf], [False, True, True, True], bins=2)
    assert (counts.wrong, counts.right) == ((1, 0), (1, 2))
    assert histogram([math.inf], [True]) == Histogram((math.inf, math.inf), (1,), (0,))


def test_equal_values_are_one_bin_with_that_value_and_no_plot() -> None:
    def of(*sure: float) -> Finding:
        return confidence(group_runs([run([row(i, i == 0, sure=value) for i, value in enumerate(sure)])])[0])

    single, alone = of(-0.75, -0.75, -0.75), of(0.5)
    assert single.table is not None and single.table.rows == (("-0.75", "1", "2"),) and single.plot is None
    assert alone.table is not None and alone.table.rows == (("0.5", "1", "0"),)
    several = of(-0.75, -0.5)  # control
    assert several.table is not None and len(several.table.rows) == 20 and several.plot is not None
    assert histogram([-math.inf, 0.0], [True, True]).edges == (-math.inf, 0.0)


@given(INPUTS)
def test_no_bin_lies_beyond_the_values(inputs: list[tuple[float, bool, bool]]) -> None:
    values = [value for value, _, _ in inputs]
    edges = histogram(values, [ok for _, ok, _ in inputs]).edges
    assert min(values) <= edges[0] <= edges[-1] <= max(values) + 1e-9


def test_a_few_low_values_among_equal_ones_have_their_bins() -> None:
    counts = histogram([-1.0] + [0.0] * 150, [True] * 151)
    assert (counts.right[0], counts.right[-1], counts.edges[0]) == (1, 150, -1.0)


@given(st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=1, max_size=60))
def test_reliability_bins_hold_everything_and_agree_with_the_whole(pairs: list[tuple[float, bool]]) -> None:
    bins = bin_by_confidence(pairs)
    assert sum(part.n for part in bins) == len(pairs)
    assert sum(part.accuracy * part.n for part in bins) == pytest.approx(sum(ok for _, ok in pairs))
    assert all(part.interval.low <= part.accuracy <= part.interval.high for part in bins)


def test_calibration_is_zero_when_it_is_perfect_and_not_when_it_is_off() -> None:
    right = [True] * 8 + [False] * 2
    assert calibration_error(bin_by_confidence([(0.8, ok) for ok in right])) == pytest.approx(0)
    assert calibration_error(bin_by_confidence([(0.3, ok) for ok in right])) == pytest.approx(0.5)
    assert calibration_error([]) == 0


@pytest.mark.parametrize(("n", "shown"), [(19, False), (20, True)])
def test_a_single_group_has_no_calibration_error(n: int, shown: bool) -> None:
    # Half too sure, half not sure enough: one group would cancel both, and look perfect.
    rows = [row(i, i % 2 == 0, sure=0.2 if i % 2 == 0 else 0.8) for i in range(n)]
    words = reliability(group_runs([run(rows)])[0]).reading
    assert ("calibration error: whole answer " in words) is shown
    assert ("fewer than 20 inputs are one group" in words) is not shown


def test_calibration_is_given_for_the_series_that_has_enough_inputs() -> None:
    rows = [row(i, i % 2 == 0) for i in range(25)]
    judged = [replace(one, grades={"strict": dict(one.grades["strict"])}) for one in rows[10:] if one.grades]
    words = reliability(group_runs([run(rows[:10] + judged)])[0]).reading
    assert "calibration error: whole answer " in words and ", tool" not in words
    assert "; fewer than 20 inputs are one group" in words


def test_delong_agrees_with_its_definition_and_a_bootstrap() -> None:
    import numpy as np

    draw = np.random.default_rng(0)
    labels = draw.random(300) < 0.4
    scores = draw.normal(labels * 1.0, 1.0)
    interval = stats.auroc_interval(list(scores), list(labels))
    assert interval is not None
    again = []
    for _ in range(2000):
        places = draw.integers(0, 300, 300)
        again.append(stats.auroc(list(scores[places]), list(labels[places])))
    low, high = np.percentile([area for area in again if area is not None], [2.5, 97.5])
    assert interval.low == pytest.approx(low, abs=0.01)
    assert interval.high == pytest.approx(high, abs=0.01)
    area = stats.auroc(list(scores), list(labels))
    assert area is not None
    assert (interval.low + interval.high) / 2 == pytest.approx(area)


def test_too_few_have_no_auroc_interval() -> None:
    assert stats.auroc_interval([0.1, 0.2, 0.3], [True, False, False]) is None


def test_the_interval_of_a_share() -> None:
    assert stats.share([1, 0, 1]) == stats.wilson(2, 3)
    pooled = stats.share([1, 0.5, 0.5, 0])
    assert 0 <= pooled.low < 0.5 < pooled.high <= 1
    with pytest.raises(ValueError, match="is no share"):
        stats.share([])
