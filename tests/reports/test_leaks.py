"""The leak check counts what its rule says, and sees a leak that was put there."""

from __future__ import annotations

from dataclasses import replace
from typing import get_args, get_type_hints

import pytest

from tests.reports.records import GOLD, config, row, run
from ttsi.config import SynthesisConfig
from ttsi.record import Question
from ttsi.reports.groups import group_runs
from ttsi.reports.questions.leaks import ORIGINS, check_leaks, leaks, same_calls
from ttsi.runs.store import RunRow
from ttsi.types import Example, ToolCall
from ttsi.words import jaccard


def with_examples(made: RunRow, *examples: Example) -> RunRow:
    return replace(made, episode=replace(made.episode, examples=examples))


def example(query: str, calls: tuple[ToolCall, ...] = (), refused: str | None = None) -> Example:
    return Example(query, calls, "", refused)


def test_a_clean_run_has_nothing_to_count() -> None:
    check = check_leaks([row(0, False, True), row(1)], "strict")
    assert (check.rows, check.examples) == (2, 2)
    assert (check.near_copy, check.same_call, check.other_input, check.rows_same_call) == (0, 0, 0, 0)
    assert (check.fixed, check.fixed_same_call) == (1, 0)


def test_control_every_kind_of_leak_is_seen() -> None:
    request = "tell me the weather of Oslo now please"
    leaky = with_examples(
        row(0, False, True, query=request),
        example("Tell me the weather of OSLO, now please!"),  # near copy
        example("anything", GOLD),  # same call
        example("Question 1, about Oslo"),  # the other input
        example(request, GOLD, refused="copy: the request is the input itself"),  # refused: not learned
    )
    check = check_leaks([leaky, row(1)], "strict")
    assert (check.rows, check.examples) == (2, 4)
    assert (check.near_copy, check.same_call, check.other_input) == (1, 1, 1)
    assert (check.rows_same_call, check.fixed_same_call) == (1, 1)


def without_gold(made: RunRow, gold: tuple[ToolCall, ...] | None = None) -> RunRow:
    assert made.question is not None
    return replace(made, question=Question(made.question.input, gold))


@pytest.mark.parametrize("gold", [None, ()])
def test_rows_without_gold_calls_do_not_count_as_free_of_them(gold: tuple[ToolCall, ...] | None) -> None:
    leaky = with_examples(row(0, False, True), example("anything", GOLD))
    other = without_gold(row(1, False, True), gold)  # such a row may be fixed: no call was right
    check = check_leaks([leaky, other], "strict")
    assert (check.rows, check.examples) == (2, 2)
    assert (check.gold_rows, check.gold_examples, check.fixed) == (1, 1, 1)
    both = check_leaks([leaky, row(1, False, True)], "strict")
    assert (both.gold_rows, both.gold_examples, both.fixed) == (2, 2, 2)  # control


def cells(rows: list[RunRow], method: str = "ttsi") -> dict[str, tuple[str, str]]:
    table = leaks(group_runs([run(rows, settings=config(method))])[0]).table
    assert table is not None
    return {name: (number, share) for name, number, share in table.rows}


def test_where_no_row_has_gold_calls_there_is_no_figure() -> None:
    names = ("the same call as the gold", "inputs with the gold call among their examples")
    bare = cells([without_gold(row(i)) for i in range(3)])
    assert [bare[name] for name in names] == [("-", "-")] * 2
    assert bare["near copies of the input's own request"][0] == "0 of 3 examples"
    assert [cells([row(0)])[name][0] for name in names] == ["0 of 1 example", "0 of 1 input"]  # control


def test_what_the_examples_know_of_the_gold_is_said_by_their_source() -> None:
    def reading(source: str) -> str:
        settings = config()
        settings["settings"]["loop"]["synthesis"]["source"] = source
        return leaks(group_runs([run([row(0)], settings=settings)])[0]).reading

    assert "Gold answers never reach the writer" in reading("writer")
    assert "gold answers have no part in them" in reading("schema")
    for source in ("nearest", "random"):
        assert "rows of the training data, with gold answers of their own" in reading(source)
        assert "never reach" not in reading(source)
    assert ORIGINS.keys() == set(get_args(get_type_hints(SynthesisConfig)["source"]))


def test_one_input_asked_twice_is_no_other_input() -> None:
    first = with_examples(row(0, query="the same words"), example("the same words"))
    assert check_leaks([first, replace(first, repeat=1)], "strict").other_input == 0


def test_rows_without_their_question_are_left_out() -> None:
    assert check_leaks([replace(row(0), question=None)], "strict").rows == 0


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ([ToolCall("f", {"a": 1})], [ToolCall("f", {"a": 1.0})], True),
        ([ToolCall("f", {"a": [1.0, {"b": 2}]})], [ToolCall("f", {"a": [1, {"b": 2.0}]})], True),
        ([ToolCall("f", {}), ToolCall("g", {})], [ToolCall("g", {}), ToolCall("f", {})], True),
        ([ToolCall("f", {"a": "1"})], [ToolCall("f", {"a": 1})], False),
        ([ToolCall("f", {"a": True})], [ToolCall("f", {"a": 1})], False),
        ([ToolCall("f", {})], [], False),
    ],
)
def test_same_calls_are_equal_as_json(one: list[ToolCall], other: list[ToolCall], same: bool) -> None:
    assert same_calls(one, other) is same


def test_likeness_is_symmetric_and_between_0_and_1() -> None:
    assert jaccard("a b c", "c d") == jaccard("c d", "a b c") == 0.25
    assert (jaccard("", "", empty=1.0), jaccard("a", "", empty=1.0)) == (1.0, 0.0)
