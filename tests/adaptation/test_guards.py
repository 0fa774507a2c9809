"""The guards that look at the calls, on pairs of answers."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ttsi.adaptation.confidence import worse_values
from ttsi.batch import guard_refusal
from ttsi.config import AdaptationConfig
from ttsi.types import Answer, Example, Input, Message, Tool, ToolCall, ToolResult

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


def example(**arguments: object) -> Example:
    return Example("a table", (ToolCall("book", arguments),), "")


@pytest.mark.parametrize(
    ("base", "adapted", "copied"),
    [
        (INVENTED, booking(city="Rome", guests=7), "guests"),
        (booking(city="Bonn"), booking(city="OSLO "), "city"),
        (booking(city="Bonn", day="x"), booking(city="Oslo", guests=[7]), "city, guests"),
        (booking(city={"name": "Bonn"}), booking(city={"name": "Oslo"}), "city"),
        (INVENTED, booking(city="Rome", guests=8), None),  # another invented value: as many as before
        (booking(city="Oslo"), booking(city="Oslo", guests=4), None),  # the base has it, too
        (booking(city="Bonn"), booking(city="Rome"), None),  # the conversation states it, as an example does
        (booking(city="Bonn"), booking(city="Rome", area="any"), None),  # the schema has it
        (Answer("{", (), "cut off"), booking(city="Oslo"), None),
    ],
)
def test_a_value_that_only_an_example_states_is_refused(base: Answer, adapted: Answer, copied: str | None) -> None:
    examples = [example(city="Oslo", guests=7, area="any"), example(city="Rome", guests=4)]
    reason = None if copied is None else f"an example states its {copied}, and the conversation does not"
    assert worse_values(base, adapted, ITEM, examples) == reason
    assert worse_values(base, adapted, ITEM) is None, "the control: no examples"
    refused = [replace(one, refused="schema") for one in examples]
    assert worse_values(base, adapted, ITEM, refused) is None, "the control: nothing was learned of them"


TRIP = Tool("fly", "", {"properties": {"to": {"properties": {"unit": {"enum": ["C", "F"]}}}, "legs": {}, "code": {}}})
TRIP_ITEM = Input("1", (Message("user", "from JFK to LAX or back"),), (TRIP,))


@pytest.mark.parametrize(
    ("base", "adapted", "copied"),
    [
        ({"to": {"city": "Bonn", "unit": "F"}}, {"to": {"city": "Kiel", "unit": "C"}}, None),  # the schema has C
        ({"to": {"city": "Bonn", "unit": "F"}}, {"to": {"city": "Oslo", "unit": "C"}}, "to"),
        ({"legs": ["X1"]}, {"legs": ["X2", "JFK-LAX"]}, None),  # stated, but not in lower case
        ({"legs": ["X1"]}, {"legs": ["X2", "jfk-ord"]}, "legs"),
        ({"code": "TX"}, {"code": "OR"}, "code"),  # "or" states no Oregon, and is stated in lower case
        ({"code": "TX"}, {"code": "UT"}, None),
    ],
)
def test_of_a_value_with_parts_those_count_that_nobody_states(
    base: dict[str, object], adapted: dict[str, object], copied: str | None
) -> None:
    shown = {"to": {"city": "Oslo", "unit": "C"}, "legs": ["JFK-LAX", "JFK-ORD"], "code": "OR"}
    examples = [Example("a flight", (ToolCall("fly", shown),), "")]
    reason = None if copied is None else f"an example states its {copied}, and the conversation does not"
    before, after = (Answer("", (ToolCall("fly", arguments),)) for arguments in (base, adapted))
    assert worse_values(before, after, TRIP_ITEM, examples) == reason


def test_a_value_that_an_executed_example_has_exists_in_the_environment() -> None:
    base, adapted = booking(city="Bonn"), booking(city="Oslo")
    executed = replace(example(city="Oslo"), results=(ToolResult("booked"),))
    assert worse_values(base, adapted, ITEM, [executed]) is None
    failed = replace(executed, results=(ToolResult("no such city", error=True),))
    reason = "an example states its city, and the conversation does not"
    assert worse_values(base, adapted, ITEM, [failed]) == reason, "the control: the call failed there"


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
