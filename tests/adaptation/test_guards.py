"""The guards that look at the calls, on pairs of answers."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ttsi.adaptation.confidence import worse_values
from ttsi.batch import guard_refusal
from ttsi.config import AdaptationConfig
from ttsi.types import Answer, Input, Message, Tool, ToolCall

TOOL = Tool(
    "book",
    "book a table",
    {"type": "object", "properties": {"city": {}, "guests": {"type": "integer"}, "area": {"default": "any"}}},
)
ITEM = Input("1", (Message("user", "a table in Rome for 4"),), (TOOL,))
NOTHING = Answer("I cannot", ())
STATED = Answer("", (ToolCall("book", {"city": "Rome", "guests": 4, "area": "any"}),))
INVENTED = Answer("", (ToolCall("book", {"city": "Rome", "guests": 9}),))
WORSE = Answer("", (ToolCall("book", {"city": "Bonn", "guests": 9}),))
UNREADABLE = Answer("{", (), "cut off")


@pytest.mark.parametrize(
    ("base", "adapted", "reason"),
    [
        (NOTHING, STATED, None),
        (NOTHING, INVENTED, "guests"),
        (INVENTED, STATED, None),
        (INVENTED, INVENTED, None),  # as many as before: the confidence guard decides
        (INVENTED, WORSE, "city, guests"),
        (STATED, INVENTED, "guests"),
        (UNREADABLE, WORSE, None),
        (STATED, NOTHING, None),
    ],
)
def test_only_more_invented_values_than_before_are_refused(base: Answer, adapted: Answer, reason: str | None) -> None:
    expected = None if reason is None else f"the conversation does not state its {reason}"
    assert worse_values(base, adapted, ITEM) == expected


def booking(**arguments: object) -> Answer:
    return Answer("", (ToolCall("book", arguments),))


FULL = booking(city="Rome", guests=4)


@pytest.mark.parametrize(
    ("base", "adapted", "left_out"),
    [
        (FULL, booking(city="Rome"), "guests"),
        (FULL, booking(), "city, guests"),
        (booking(city="Rome", guests=4, area="any"), FULL, None),  # a default may go
        (booking(city="Rome", guests=9), booking(city="Rome"), None),  # an invented value may go
        (booking(city="Rome", day="Friday"), booking(day="Monday"), "city"),  # both invent the day
        (booking(city="Bonn", guests=4), booking(city="Rome"), None),  # it invents less
        (booking(city=4, guests=4), booking(guests=4), None),  # another argument has the value
        (booking(city="Rome", guests=[4]), booking(city="Rome"), "guests"),
        (booking(city="Rome", guests=[]), booking(city="Rome"), None),
        (booking(city="Rome", area=True), booking(city="Rome"), None),  # a request states no boolean
        (FULL, Answer("", (ToolCall("other", {"city": "Rome"}),)), None),  # another tool has other arguments
        (booking(city="Rome"), FULL, None),
        (FULL, Answer("", (*booking(city="Rome").calls, *booking(guests=4).calls)), None),
    ],
)
def test_what_the_conversation_states_is_not_left_out(base: Answer, adapted: Answer, left_out: str | None) -> None:
    expected = None if left_out is None else f"it leaves out what the conversation states: {left_out}"
    assert worse_values(base, adapted, ITEM) == expected


def test_a_number_in_words_is_stated() -> None:
    request = replace(ITEM, messages=(Message("user", "Get me two tickets in Rome."),))
    whole, short = booking(city="Rome", guests=2), booking(city="Rome")
    assert worse_values(whole, short, request) == "it leaves out what the conversation states: guests"
    assert worse_values(short, whole, request) is None
    assert worse_values(booking(city="Rome", guests=3), short, request) is None, "the control"
    assert worse_values(whole, booking(city="Rome", area="two"), request) is None, "another argument has it in words"


def test_an_unreadable_answer_does_not_take_the_place_of_a_readable_one() -> None:
    config = AdaptationConfig(min_confidence_gain=0.0)
    looped = Answer("{1212", (), "cut off: it repeats itself", logprob=-0.1, tokens=90)
    for base in (Answer("", STATED.calls, logprob=-9.0, tokens=9), Answer("I cannot", (), logprob=-9.0, tokens=9)):
        assert guard_refusal(ITEM, base, looped, config) == "it cannot be read: cut off: it repeats itself"
    better = Answer("", STATED.calls, logprob=-0.1, tokens=9)
    assert guard_refusal(ITEM, base, better, config) is None, "the control: it can be read"
    unreadable = Answer("{", (), "cut off", logprob=-9.0, tokens=9)
    assert guard_refusal(ITEM, unreadable, looped, config) is None, "neither can be read"
    called = Answer("", STATED.calls, logprob=-9.0, tokens=9)
    assert guard_refusal(ITEM, called, looped, AdaptationConfig()) is None, "without guards, as in the paper"
    kept = guard_refusal(ITEM, called, looped, AdaptationConfig(keep_decision=True))
    assert kept == "it calls no tool, and the base calls one"
