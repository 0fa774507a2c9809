"""When is a number "unsure", and does tau_for_share give the share it promises?"""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ttsi.awareness.threshold import is_unsure, tau_for_share

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
