"""Paired by input, refused where pairing would mislead."""

from __future__ import annotations

import pytest

from tests.reports.records import config, four, row, run
from ttsi.errors import DataError
from ttsi.record import Run
from ttsi.reports import pairing
from ttsi.reports.groups import group_runs
from ttsi.stats import Interval


def test_every_number_by_hand() -> None:
    second = run([row(0, True), row(1, True), row(2, True), row(3, False), row(4, True)], "two", config(n=5))
    comparison = pairing.compare(four(), second)
    # Final answers of the first: right, right, wrong, wrong.
    assert (comparison.difference.n, comparison.difference.first, comparison.difference.second) == (4, 50, 75)
    assert comparison.difference.points == 25
    assert comparison.difference.interval == Interval(0, 75)
    assert comparison.p_mcnemar == 1.0
    assert [r.episode.input_id for r in comparison.fixed] == ["q2"]
    assert [r.episode.input_id for r in comparison.broken] == []
    assert (comparison.only_first, comparison.only_second) == (0, 1)


def test_a_run_of_base_is_judged_by_its_own_answers() -> None:
    base = run(list(four().rows), "base", config("base"))
    assert pairing.compare(base, four()).difference.points == 0
    assert pairing.compare(base, four()).difference.first == 50


def test_the_gain_of_a_group_is_paired_over_inputs() -> None:
    [group] = group_runs([four(), four("two", seed=1)])
    gain = pairing.gain(group)
    assert gain is not None
    assert (gain.n, gain.first, gain.second, gain.points) == (4, 50, 50, 0)
    # Two equal seeds hold no more than one: pooling must not narrow the interval.
    assert gain == pairing.gain(group_runs([four()])[0])
    assert pairing.gain(group_runs([run(list(four().rows), "base", config("base"))])[0]) is None


def free() -> Run:
    settings = config()
    settings["settings"]["loop"]["answer"]["decoding"] = "free"
    return run(list(four().rows), "two", settings)


@pytest.mark.parametrize(
    ("second", "says"),
    [
        (run(list(four().rows), "two", config(checksum="d")), "one and two answered different data"),
        (run(list(four().rows), "two", config(matcher="tool_choice")), "graded by different rules"),
        (free(), "decoded differently"),
        (run([row(9)], "two"), "share no graded input"),
        (run([row(0, None)], "two"), "share no graded input"),
    ],
)
def test_what_cannot_be_compared_is_refused_in_one_line(second: Run, says: str) -> None:
    with pytest.raises(DataError, match=says) as refusal:
        pairing.compare(four(), second)
    assert "\n" not in str(refusal.value)


def test_control_what_can_be_compared_is_not_refused() -> None:
    assert pairing.incomparable_reason(four(), four("two", seed=1)) is None
    assert pairing.same_questions(*group_runs([four(), run(list(four().rows), "b", config("base"))]))
    assert not pairing.same_questions(*group_runs([four(), run([row(0)], "b", config(n=1))]))
