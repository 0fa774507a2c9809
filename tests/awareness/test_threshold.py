"""When is a number "unsure", and does tau_for_share give the share it promises?"""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ttsi.awareness.threshold import conformal_risk, conformal_share, is_unsure, tau_for_share

VALUES = st.lists(st.floats(-100.0, 1.0), min_size=1, max_size=40, unique=True)


@pytest.mark.parametrize(
    ("value", "tau", "unsure"),
    [(0.94, 0.95, True), (0.95, 0.95, False), (0.96, 0.95, False), (-3.0, -2.0, True), (1.0, math.inf, True)],
)
def test_unsure_means_strictly_below(value: float, tau: float, unsure: bool) -> None:
    assert is_unsure(value, tau) is unsure


@pytest.mark.parametrize("tau", [-math.inf, 0.0, math.inf])
def test_what_is_no_number_is_unsure(tau: float) -> None:
    assert is_unsure(math.nan, tau)


@given(VALUES, st.floats(0.0, 1.0))
def test_the_share_is_kept_on_the_values_it_was_chosen_on(values: list[float], share: float) -> None:
    tau = tau_for_share(values, share)
    unsure = sum(is_unsure(value, tau) for value in values)
    assert abs(unsure - share * len(values)) <= 0.5


@given(VALUES)
def test_none_and_all(values: list[float]) -> None:
    assert not any(is_unsure(value, tau_for_share(values, 0.0)) for value in values)
    assert all(is_unsure(value, tau_for_share(values, 1.0)) for value in values)


def test_control_ties_cannot_be_split() -> None:
    """The promise is for distinct values: of equal ones, all are on the same side."""
    assert sum(is_unsure(value, tau_for_share([0.5] * 4, 0.5)) for value in [0.5] * 4) == 0


@pytest.mark.parametrize(("values", "share"), [([], 0.5), ([0.1], -0.1), ([0.1], 1.1)])
def test_nonsense_is_refused(values: list[float], share: float) -> None:
    with pytest.raises(ValueError, match="share between 0 and 1"):
        tau_for_share(values, share)


TIED = st.lists(st.one_of(st.floats(-5, 5), st.just(0.5)), min_size=1, max_size=40)


@given(TIED, st.floats(0, 1))
def test_a_conformal_share_is_kept_by_every_value_left_out(values: list[float], share: float) -> None:
    """The promise itself: leave each value out in turn, and at most `share` of them are unsure."""
    unsure = 0
    for i, value in enumerate(values):
        others = values[:i] + values[i + 1 :]
        unsure += is_unsure(value, conformal_share(others, share)) if others else 0
    assert unsure <= share * len(values) + 1e-6


@given(st.lists(st.tuples(st.floats(-5, 5), st.booleans()), min_size=2, max_size=40), st.floats(0, 1))
def test_a_conformal_risk_is_kept_by_every_value_left_out(pairs: list[tuple[float, bool]], risk: float) -> None:
    missed = 0
    for i, (value, ok) in enumerate(pairs):
        others = pairs[:i] + pairs[i + 1 :]
        tau = conformal_risk([v for v, _ in others], [good for _, good in others], risk)
        missed += not ok and not is_unsure(value, tau)
    assert missed <= risk * len(pairs) + 1e-6


def test_control_a_plain_quantile_does_not_keep_the_promise() -> None:
    values = [0.1, 0.2, 0.3]
    unsure = [is_unsure(v, tau_for_share([w for w in values if w != v], 0.5)) for v in values]
    assert (
        sum(unsure)
        > 0.34 * len(values)
        >= sum(is_unsure(v, conformal_share([w for w in values if w != v], 0.34)) for v in values)
    )


def test_the_risk_threshold_is_the_smallest_that_keeps_its_promise() -> None:
    values, right = [i / 10 for i in range(10)], [False] * 5 + [True] * 5
    tau = conformal_risk(values, right, 0.3)  # of eleven, three may be: two of ten, and the new one
    assert tau == 0.3
    assert sum(v >= tau and not ok for v, ok in zip(values, right, strict=True)) == 2


@pytest.mark.parametrize(
    "function", [conformal_share, lambda values, x: conformal_risk(values, [True] * len(values), x)]
)
def test_conformal_wants_values_and_a_share(function: Callable[[list[float], float], float]) -> None:
    for values, share in (([], 0.5), ([1.0], 1.5), ([1.0], -0.1)):
        with pytest.raises(ValueError, match="between 0 and 1"):
            function(values, share)
    with pytest.raises(ValueError, match="one verdict"):
        conformal_risk([1.0], [], 0.5)
