"""Episodes survive JSON bit for bit, also those with numbers that JSON does not know."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ttsi import codec
from ttsi.types import Adaptation, Answer, Awareness, Candidate, Episode, Example, ToolCall

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
