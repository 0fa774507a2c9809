"""Each rule says what it promises; the doctests in the module are the plain cases."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ttsi.benchmarks.matching import MATCHERS, grade, lenient, same_json, same_text, strict, tool_choice
from ttsi.types import Answer, ToolCall

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)


def call(name: str = "f", **arguments: Any) -> ToolCall:
    return ToolCall(name, arguments)


@pytest.mark.parametrize(
    ("one", "other", "strictly", "leniently"),
    [
        (1, 1.0, True, True),
        ("1", 1, False, True),
        (" Oslo ", "Oslo", False, True),
        (True, "True", False, True),
        (True, "true", False, True),
        (False, 0, False, False),
        (True, 1, False, False),
        (None, "", False, False),
        ("Oslo", "oslo", False, False),
        ([1, 2], [2, 1], False, False),
        ({"a": {"b": 1}}, {"a": {"b": "1"}}, False, True),
        ({"a": 1}, {"a": 1, "b": 2}, False, False),
        ([True], [1], False, False),
        (1.5, "1.5", False, True),
        ("1.0", 1, False, False),
    ],
)
def test_values_compare_as_documented(one: object, other: object, strictly: bool, leniently: bool) -> None:
    assert (same_json(one, other), same_text(one, other)) == (strictly, leniently)
    assert (same_json(other, one), same_text(other, one)) == (strictly, leniently)
    assert strict([call(x=one)], [call(x=other)]) is strictly
    assert lenient([call(x=one)], [call(x=other)]) is leniently


def test_calls_compare_without_order_but_one_to_one() -> None:
    a, b = call("a", x=1), call("b")
    assert strict([a, b], [b, a])
    for matches in MATCHERS.values():
        assert not matches([a, a], [a, b])
        assert not matches([a], [a, a])
        assert not matches([a, a], [a])
        assert matches([], [])


def test_a_missing_or_extra_argument_is_a_difference() -> None:
    assert not lenient([call(x=1)], [call(x=1, y=2)])
    assert not lenient([call(x=1, y=2)], [call(x=1)])


def test_lenient_finds_the_pairing_that_exists() -> None:
    # "1" fits 1 and "1"; 1.0 fits only 1. Pairing the first with the first would leave 1.0 with "1", which differ.
    assert lenient([call(x="1"), call(x=1.0)], [call(x=1), call(x="1")])


def test_an_answer_that_cannot_be_read_is_wrong_under_every_rule() -> None:
    right = Answer("", (call(x=1),))
    assert set(grade(right, [call(x=1)]).values()) == {True}
    assert set(grade(Answer("", (call(x=1),), error="broken"), [call(x=1)]).values()) == {False}
    assert set(grade(None, []).values()) == {False}
    # Control: no call where none is right is right.
    assert set(grade(Answer("none of these", ()), []).values()) == {True}


def test_tool_choice_ignores_arguments_only() -> None:
    assert tool_choice([call("a", x=1)], [call("a", x=2)])
    assert not tool_choice([call("a")], [call("b")])


@given(JSON, JSON)
def test_what_is_right_strictly_is_right_leniently(one: Any, other: Any) -> None:
    assert same_json(one, one)
    assert same_text(one, one)
    if same_json(one, other):
        assert same_text(one, other)
