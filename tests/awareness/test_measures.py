"""Do the measures have their closed forms?"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ttsi.awareness.measures import (
    MEASURES,
    Evidence,
    Measure,
    answer_mean,
    counts_samples,
    entropy,
    find_measure,
    grounded_margin,
    margin,
    measure,
    perplexity,
    softmax,
    top1,
    upper_bound,
    vote_share,
)
from ttsi.errors import ConfigError

LOGPROBS = st.lists(st.floats(-200.0, 0.0), min_size=1, max_size=8)


def of(*logprobs: float) -> Evidence:
    """Evidence about these candidates; nothing is known of the answer."""
    return Evidence(logprobs, 0.0, 0.0, 1)


@given(LOGPROBS)
def test_shares_are_a_distribution_in_the_order_of_the_logprobs(logprobs: list[float]) -> None:
    shares = softmax(logprobs)
    assert sum(shares) == pytest.approx(1.0)
    assert all(0.0 <= share <= 1.0 for share in shares)
    assert shares[logprobs.index(max(logprobs))] == max(shares)


@given(LOGPROBS, st.floats(-1000.0, 1000.0))
def test_a_shift_changes_nothing(logprobs: list[float], shift: float) -> None:
    moved = [value + shift for value in logprobs]
    assert softmax(moved) == pytest.approx(softmax(logprobs), abs=1e-9)
    for one in (margin, top1, entropy):
        assert one(of(*moved)) == pytest.approx(one(of(*logprobs)), abs=1e-9)


@given(st.floats(-50.0, 0.0), st.floats(0.5, 5.0))
def test_control_a_scale_does_change_the_shares(logprob: float, gap: float) -> None:
    """Not everything leaves the shares as they are: the test above can fail."""
    assert softmax([2 * logprob, 2 * (logprob - gap)]) != pytest.approx(softmax([logprob, logprob - gap]), abs=1e-9)


@given(LOGPROBS)
def test_measures_of_candidates_lie_between_zero_and_one(logprobs: list[float]) -> None:
    for one in (margin, top1, entropy):
        assert -1e-9 <= one(of(*logprobs)) <= 1.0 + 1e-9


@given(st.floats(-50.0, 0.0), st.floats(-50.0, 0.0))
def test_two_candidates_have_a_closed_form(a: float, b: float) -> None:
    gap = abs(a - b)
    assert margin(of(a, b)) == pytest.approx(math.tanh(gap / 2), abs=1e-9)
    assert top1(of(a, b)) == pytest.approx(1 / (1 + math.exp(-gap)), abs=1e-9)


@given(st.integers(2, 9), st.floats(-100.0, 0.0))
def test_equal_candidates_are_the_least_sure(count: int, logprob: float) -> None:
    even = of(*[logprob] * count)
    assert margin(even) == pytest.approx(0.0)
    assert top1(even) == pytest.approx(1 / count)
    assert entropy(even) == pytest.approx(0.0, abs=1e-9)


@pytest.mark.parametrize("measure", [margin, top1, entropy])
def test_one_candidate_or_none_leaves_no_doubt(measure: Callable[[Evidence], float]) -> None:
    assert measure(of(-3.0)) == measure(of()) == 1.0


def test_an_impossible_candidate_has_no_share() -> None:
    assert softmax([-1.0, -math.inf]) == [1.0, 0.0]
    assert margin(of(-1.0, -math.inf)) == entropy(of(-1.0, -math.inf)) == 1.0


@pytest.mark.parametrize("measure", [margin, top1, entropy])
def test_a_wider_gap_is_more_confident(measure: Callable[[Evidence], float]) -> None:
    values = [measure(of(-0.5, -0.5 - gap)) for gap in (0.0, 0.5, 2.0, 8.0)]
    assert values == sorted(values)
    assert len(set(values)) == len(values)


def test_measures_of_the_answer_read_their_own_number() -> None:
    evidence = Evidence((-1.0, -9.0), -6.0, -2.5, 4)
    assert {name: MEASURES[name](evidence) for name in ("answer_logprob", "answer_mean", "answer_min")} == {
        "answer_logprob": -6.0,
        "answer_mean": -1.5,
        "answer_min": -2.5,
    }


@given(st.floats(-20.0, 0.0), st.integers(1, 30), st.floats(-20.0, 0.0), st.integers(1, 30))
def test_perplexity_ranks_like_the_mean(one: float, n: int, other: float, m: int) -> None:
    left, right = Evidence((), one, -1.0, n), Evidence((), other, -1.0, m)
    assert perplexity(left) == pytest.approx(-math.exp(-one / n))
    if answer_mean(left) < answer_mean(right):
        assert perplexity(left) <= perplexity(right)


def test_votes_are_counted_and_without_any_nothing_is_known() -> None:
    assert vote_share(Evidence((), 0.0, 0.0, 1, votes=(3, 1))) == 0.75
    assert math.isnan(vote_share(Evidence((), 0.0, 0.0, 1)))


def test_no_answer_is_too_unlikely_for_a_perplexity() -> None:
    assert math.isfinite(perplexity(Evidence((), -1e9, -1e9, 1)))


def test_the_grounded_margin_falls_by_one_for_every_unstated_value() -> None:
    grounded, invented = of(-0.1, -3.0), replace(of(-0.1, -3.0), unstated=2)
    assert grounded_margin(grounded) == margin(grounded)
    assert grounded_margin(invented) == pytest.approx(margin(invented) - 2)
    assert margin(invented) == margin(grounded), "the control: the margin sees names only"


def test_the_grounded_margin_falls_by_one_for_every_literal_that_is_left_out() -> None:
    whole, short = of(-0.1, -3.0), replace(of(-0.1, -3.0), omitted=2)
    assert grounded_margin(short) == pytest.approx(grounded_margin(whole) - 2)
    assert grounded_margin(replace(short, unstated=1)) == pytest.approx(grounded_margin(whole) - 3)
    assert margin(short) == margin(whole), "the control"


@pytest.mark.parametrize("one", [margin, top1, entropy, vote_share])
@pytest.mark.parametrize("votes", [(1,), (1, 1, 1)])
def test_where_no_sample_can_be_read_nothing_is_sure(one: Measure, votes: tuple[int, ...]) -> None:
    sampled = replace(of(), votes=votes)
    assert one(replace(sampled, unreadable=len(votes))) == 0.0
    readable = replace(sampled, logprobs=(-1.0,), unreadable=len(votes) - 1)  # the control: one can be read
    assert one(readable) == (1 / len(votes) if one is vote_share else 1.0)
    assert one is vote_share or one(of()) == 1.0  # nothing was sampled, and nothing competes


def test_an_empty_answer_has_a_mean() -> None:
    assert answer_mean(Evidence((), 0.0, 0.0, 0)) == 0.0


@pytest.mark.parametrize("name", MEASURES)
def test_every_measure_says_what_it_is_in_one_line(name: str) -> None:
    header = (MEASURES[name].__doc__ or "").splitlines()
    assert len(header[0]) > 20


def test_every_measure_keeps_below_its_declared_bound() -> None:
    assert {name for name, one in MEASURES.items() if upper_bound(one) == 0.0} == {
        "answer_logprob", "answer_mean", "answer_min", "perplexity",
    }  # fmt: skip
    assert [name for name, one in MEASURES.items() if counts_samples(one)] == ["vote_share"]
    certain = Evidence((0.0,), 0.0, 0.0, 1, votes=(3,))
    assert {name: one(certain) for name, one in MEASURES.items() if one(certain) > upper_bound(one)} == {}


def test_a_measure_of_your_own_needs_no_declaration_and_may_have_one() -> None:
    def gap(evidence: Evidence) -> float:
        return 1.0

    assert (upper_bound(gap), counts_samples(gap)) == (math.inf, False)
    declared = measure(upper=2.0, needs_samples=True)(gap)
    assert declared is gap and (upper_bound(gap), counts_samples(gap)) == (2.0, True)
    assert "gap" not in MEASURES, "to declare is not to register"


def test_a_measure_is_found_by_name_or_reference() -> None:
    assert find_measure("margin") is margin is find_measure("ttsi.awareness.measures:margin")
    with pytest.raises(ConfigError, match="unknown measure 'margni'; did you mean 'margin'"):
        find_measure("margni")
