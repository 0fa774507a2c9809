"""Episodes survive JSON bit for bit, also those with numbers that JSON does not know."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ttsi import codec
from ttsi.record import Question
from ttsi.types import Adaptation, Answer, Awareness, Candidate, Episode, Example, Input, Message, ToolCall

CALL = ToolCall("f", {"city": "Oslo", "n": 1, "deep": {"list": [1, None, True]}})
FULL = Episode(
    input_id="q1",
    input_hash="ab" * 32,
    base=Answer("text", (CALL,), None, -1.5, -0.5, 7, "stop"),
    adapted=Answer("text", (), "broken", -2.0, -1.0, 160, "length"),
    awareness=Awareness((Candidate("f", "f()", -1.0, 0.75),), "margin", 0.5, 0.95, True, {"top1": 0.75}),
    examples=(Example("say", (CALL,), "raw"), Example("", (), "raw", "copy")),
    adaptation=Adaptation("trained", 1, 2, (1.5, 0.5)),
    seconds={"answer": 0.25},
)
EMPTY = Episode("q2", "cd" * 32, None, None, None, error="prompt: too long")


@pytest.mark.parametrize("episode", [FULL, EMPTY])
def test_an_episode_comes_back_equal(episode: Episode) -> None:
    text = codec.dumps(episode)
    assert codec.loads(Episode, text) == episode
    assert codec.dumps(codec.loads(Episode, text)) == text
    assert codec.dumps(replace(episode, input_id="other")) != text


@given(st.floats())
def test_every_float_comes_back_as_itself(value: float) -> None:
    read = codec.loads(Adaptation, codec.dumps(Adaptation("trained", losses=(value,))))
    assert math.isnan(read.losses[0]) if math.isnan(value) else read.losses[0] == value
    assert isinstance(read.losses[0], float)


def test_what_is_not_finite_is_a_word_and_never_null() -> None:
    awareness = Awareness((), "margin", math.nan, 0.95, True, {"a": math.inf, "b": -math.inf})
    text = codec.dumps(awareness)
    # Strict JSON: a parser that knows no NaN reads it.
    fields = json.loads(text, parse_constant=pytest.fail)
    assert (fields["value"], fields["measures"]) == ("nan", {"a": "inf", "b": "-inf"})
    read = codec.loads(Awareness, text)
    assert math.isnan(read.value)
    assert read.measures == awareness.measures


def test_a_number_that_is_not_finite_is_refused_where_no_float_is_declared() -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        codec.dumps(ToolCall("f", {"x": math.nan}))
    # Control: the same call with a finite number is fine.
    assert codec.loads(ToolCall, codec.dumps(ToolCall("f", {"x": 1.5}))) == ToolCall("f", {"x": 1.5})


def test_a_string_that_spells_nan_stays_a_string() -> None:
    call = ToolCall("f", {"x": "nan"})
    assert codec.loads(ToolCall, codec.dumps(call)) == call


@pytest.mark.parametrize(
    ("old", "status"),
    [
        ({"status": "kept-base", "samples": 4, "steps": 3}, "trained"),
        ({"status": "declined", "samples": 4, "steps": 3}, "trained"),
        ({"status": "kept-base", "samples": 4}, "in-context"),
        ({"status": "kept-base"}, "reused"),
    ],
)
def test_a_refused_answer_of_an_older_record_has_its_reason_in_its_place(old: dict[str, Any], status: str) -> None:
    read = codec.loads(Adaptation, json.dumps({**old, "reason": "not surer"}))
    assert (read.status, read.refused, read.reason) == (status, "not surer", "")
    given = codec.loads(Adaptation, json.dumps({"status": "trained", "steps": 3, "reason": "r"}))
    assert (given.refused, given.reason) == ("", "r"), "control"


def test_the_bytes_of_a_record_are_pinned() -> None:
    """Checksums of rows that are on disks are over these bytes."""
    answer = Answer("é \U0001f600", (ToolCall("f", {"b": [1, 1.5, 1e-05, 1e16], "a": None}, "id7"),), None, -1, -0.0, 7)
    assert codec.dumps(answer) == (
        '{"base_logprob":null,"calls":[{"arguments":{"a":null,"b":[1,1.5,1e-05,1e+16]},"name":"f"}],"error":null,'
        '"finish_reason":"stop","logprob":-1.0,"min_logprob":-0.0,"samples":[],"text":"é \U0001f600","tokens":7}'
    )


@pytest.mark.parametrize("odd", ["\ud800", "a\udfffb"])
def test_half_a_surrogate_pair_comes_back_wherever_it_stands(odd: str) -> None:
    answer = Answer(odd, (ToolCall(odd, {odd: [odd, {odd: odd}]}),), error=odd)
    text = codec.dumps(answer)
    assert text.encode() and "\\u" in text
    assert codec.loads(Answer, text) == answer


def test_ids_of_calls_are_left_out_of_records_and_kept_in_frames() -> None:
    item = Input("q", (Message("assistant", "", (ToolCall("f", {}, "c1"),)), Message("tool", "3", (), "c1")), ())
    assert "c1" not in codec.dumps(Question(item, None))
    text = codec.dumps(Question(item, None), call_ids=True)
    read = codec.loads(Question, text).input.messages
    assert (read[0].tool_calls[0].id, read[1].tool_call_id) == ("c1", "c1")
    # Control: they count in no comparison, so equality alone would not see it.
    assert codec.loads(Question, codec.dumps(Question(item, None))).input == item


def test_what_is_no_record_of_this_kind_is_refused() -> None:
    good = codec.to_json(FULL)
    assert codec.from_json(Episode, good) == FULL
    for changed in (
        {"extra": 1},
        {"input_id": None},
        {"seconds": {"answer": "soon"}},
        {"adaptation": {"status": "done"}},
    ):
        with pytest.raises(ValueError, match="validation error"):
            codec.from_json(Episode, {**good, **changed})
    for wrong in (Answer(3, ()), Adaptation("trained", samples=2.5), Answer("", ("f",))):  # type: ignore[arg-type]
        with pytest.raises(ValueError, match="Expected"):
            codec.dumps(wrong)


def test_other_mappings_and_lists_are_written_as_what_they_stand_for() -> None:
    call = ToolCall("f", MappingProxyType({"x": MappingProxyType({"y": [1]})}), "c1")
    assert codec.dumps(call) == codec.dumps(ToolCall("f", {"x": {"y": [1]}}))
    assert codec.dumps(Answer("", [call])) == codec.dumps(Answer("", (call,)))  # type: ignore[arg-type]
    assert "c1" not in codec.dumps(Answer("", [call]))  # type: ignore[arg-type]


@dataclass(frozen=True)
class Work:
    """A frame."""

    item: Input
    kind: Literal["work"] = "work"


@dataclass(frozen=True)
class Halt:
    """Another one on the same pipe."""

    why: Literal["left", "late"]
    kind: Literal["halt"] = "halt"


def test_frames_of_several_kinds_are_read_from_one_pipe() -> None:
    for frame in (Work(Input("q", (), ())), Halt("late")):
        assert codec.loads(Work | Halt, codec.dumps(frame)) == frame
    with pytest.raises(ValueError, match="validation error"):
        codec.loads(Work | Halt, '{"kind":"halt","why":"bored"}')
