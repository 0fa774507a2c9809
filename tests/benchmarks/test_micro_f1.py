"""Hammer's and Seal-Tools' counts, by hand: each rule of the header with the row that shows it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import astuple
from typing import Any

import pytest

from ttsi.benchmarks import BENCHMARKS
from ttsi.benchmarks.micro_f1 import OFFICIAL, Counts, count, count_seal_tools, f1
from ttsi.types import ToolCall


def call(name: str = "f", **arguments: Any) -> ToolCall:
    return ToolCall(name, arguments)


@pytest.mark.parametrize(
    ("calls", "gold", "counts"),
    [
        # gold and said tools and right ones, then gold and said arguments and right ones
        ([call(a=1)], [call(a=1)], (1, 1, 1, 1, 1, 1)),
        ([call(a="1")], [call(a=1)], (1, 1, 1, 1, 1, 1)),  # equal as text
        ([call(a=True)], [call(a="True")], (1, 1, 1, 1, 1, 1)),  # as Python's text
        ([call(a=True)], [call(a="true")], (1, 1, 1, 1, 1, 0)),
        ([call(a="X")], [call(a="x")], (1, 1, 1, 1, 1, 0)),  # case matters
        ([call(a=" x")], [call(a="x")], (1, 1, 1, 1, 1, 0)),  # spaces matter
        ([call(a=[1, 2])], [call(a="[1, 2]")], (1, 1, 1, 1, 1, 1)),
        ([call("g", a=1)], [call("f", a=1)], (1, 1, 0, 1, 1, 0)),  # another tool has no right arguments
        (None, [call(a=1)], (1, 1, 0, 1, 0, 0)),  # unreadable: one tool was said
        ([], [call(a=1)], (1, 0, 0, 1, 0, 0)),  # nothing said
        ([call(a=1)] * 3, [call(a=1)], (1, 3, 3, 1, 3, 3)),  # a repeated name is right each time
        ([call(a="", b=1)], [call(a="", b=1)], (1, 1, 1, 1, 1, 1)),  # empty texts are not counted
        ([call(a="")], [call(a=1)], (1, 1, 1, 1, 0, 0)),
        ([call()], [call()], (1, 1, 1, 0, 0, 1)),  # nothing and nothing agree in one
        ([call(a="")], [call()], (1, 1, 1, 0, 0, 1)),
        ([call()], [call(a="")], (1, 1, 1, 0, 0, 0)),  # only a gold without arguments does
        ([call(a=2, b=3)], [call(a=1), call(a=2), call(a=2, b=3)], (3, 1, 1, 4, 2, 1)),  # the first that shares any
        ([call(a=9)], [], (0, 1, 0, 0, 1, 0)),
    ],
)
def test_a_row_is_counted_as_hammer_counts(calls: Any, gold: Any, counts: tuple[int, ...]) -> None:
    assert count(calls, gold) == Counts(*counts)


@pytest.mark.parametrize(
    ("calls", "gold", "counts"),
    [
        ([call(a="1")], [call(a=1)], (1, 1, 1, 1, 1, 1)),  # equal as text
        ([call(a=True)], [call(a="true")], (1, 1, 1, 1, 1, 0)),  # as Python's text
        ([call(a=" x")], [call(a="x")], (1, 1, 1, 1, 1, 0)),
        ([call("g", a=1)], [call("f", a=1)], (1, 1, 0, 1, 1, 0)),
        (None, [call(a=1)], (1, 0, 0, 1, 0, 0)),  # unreadable: nothing was said
        ([], [call(a=1)], (1, 0, 0, 1, 0, 0)),
        ([call(a=1)] * 3, [call(a=1)], (1, 3, 3, 1, 3, 3)),  # a repeated name is right each time
        ([call(a="", b=1)], [call(a="", b=1)], (1, 1, 1, 2, 2, 2)),  # empty texts are counted
        ([call()], [call()], (1, 1, 1, 0, 0, 0)),  # nothing and nothing agree in none
        ([call(a=2, b=3)], [call(a=1), call(a=2), call(a=2, b=3)], (3, 1, 1, 4, 2, 0)),  # the first of its name
    ],
)
def test_a_row_is_counted_as_seal_tools_counts(calls: Any, gold: Any, counts: tuple[int, ...]) -> None:
    assert count_seal_tools(calls, gold) == Counts(*counts)


def test_every_benchmark_with_a_counting_of_its_own_exists() -> None:
    assert OFFICIAL.keys() <= BENCHMARKS.keys()
    assert all(name.startswith("seal") for name in OFFICIAL)
    assert {name for name in BENCHMARKS if name.startswith("seal")} == OFFICIAL.keys()


def total(rows: Iterable[Counts]) -> Counts:
    return Counts(*(sum(column) for column in zip(astuple(Counts()), *map(astuple, rows), strict=True)))


def test_rows_add_up_and_give_f1() -> None:
    rows = [count([call(a=1)], [call(a=1, b=2)]), count([call("g")], [call()]), count(None, [call(a=1)])]
    assert total(rows) == Counts(3, 3, 1, 3, 1, 1)
    # Tools: P = R = 1/3. Arguments: P = 1, R = 1/3.
    assert f1(total(rows)) == {"f1_tools": pytest.approx(100 / 3), "f1_arguments": pytest.approx(50)}
    assert f1(total([])) == {"f1_tools": None, "f1_arguments": None}


def test_f1_is_the_harmonic_mean_of_precision_and_recall() -> None:
    counts = Counts(10, 8, 6, 20, 25, 15)
    precision, recall = 15 / 25, 15 / 20
    assert f1(counts)["f1_arguments"] == pytest.approx(100 * 2 * precision * recall / (precision + recall))


def test_control_f1_falls_when_an_answer_gets_worse() -> None:
    gold = [call(a=1, b=2)]
    scores = [f1(count(calls, gold))["f1_arguments"] for calls in ([call(a=1, b=2)], [call(a=1, b=3)], [call(c=1)])]
    assert scores == [100.0, 50.0, 0.0]
