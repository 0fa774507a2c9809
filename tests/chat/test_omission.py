"""Does a call leave out exactly the literals of its request that nothing in it uses and that it has arguments for?"""

from __future__ import annotations

from typing import Any

import pytest

from ttsi.chat.grounding import StatedValues
from ttsi.chat.omission import free_arguments, literals, omitted_literals
from ttsi.types import Message, Tool, ToolCall

BOOK = Tool(
    "book",
    "",
    {
        "type": "object",
        "properties": {
            "city": {"type": "string"},
            "guests": {"type": "integer"},
            "on": {"type": "string"},
            "size": {"enum": ["small", "large"]},
            "notes": {"type": "object"},
        },
    },
)
NO_ARGUMENTS = Tool("ping", "", {"type": "object", "properties": {}})


def left_out(text: str, *later: Message, calls: int = 1, tool: str = "book", **arguments: Any) -> tuple[str, ...]:
    messages = [Message("user", text), *later]
    return omitted_literals([ToolCall(tool, arguments)] * calls, [BOOK, NO_ARGUMENTS], messages)


@pytest.mark.parametrize(
    ("text", "stated"),
    [
        ("a 'b c' and “d e”, or `g`", ("b c", "d e", "g")),
        ("it's Ann's, the users' and Bob's", ()),
        ("Rooms 12, 1,500.75 and -3", ("12", "1,500.75", "3")),
        ("mail a.b+c@d-e.org or see https://x.org/y?z=1.", ("a.b+c@d-e.org", "https://x.org/y?z=1")),
        ("flight LH-454 of 10.0.0.1 and v2", ("LH-454", "10.0.0.1", "v2")),
        ("the 2nd of May", ("2nd",)),
        ("ein Zimmer für Ünal", ()),
        ("7 and 7 again", ("7",)),
        ("''", ()),
    ],
)
def test_the_literals_of_a_text(text: str, stated: tuple[str, ...]) -> None:
    assert literals(text) == stated


def test_a_number_that_no_argument_has_is_left_out() -> None:
    assert left_out("a table for 4 in Oslo", city="Oslo") == ("4",)
    assert left_out("a table for 4 in Oslo", city="Oslo", guests=4) == (), "the control"
    assert left_out("a table for 4 in Oslo", city="Oslo", guests="4") == ()
    assert left_out("a table for 4 in Oslo", city="Oslo", guests=5) == ("4",), "an invented value is in its place"


@pytest.mark.parametrize(
    ("text", "arguments"),
    [
        ("on the 3rd of May 2027", {"on": "2027-05-03"}),
        ("1,500 guests", {"guests": 1500}),
        ("a share of 4.5 %", {"notes": {"share": 0.045}}),
        ("for 'Ann Lee'", {"notes": {"who": ["ann lee"]}}),
        ("the note 'a very quiet room'", {"notes": {"text": "quiet, please"}}),
    ],
)
def test_a_value_in_another_form_uses_it(text: str, arguments: dict[str, Any]) -> None:
    assert left_out(text, **arguments) == ()
    assert left_out(text, city="Oslo") != (), "the control"


def test_what_no_argument_can_take_is_not_left_out() -> None:
    assert left_out("ping 10.0.0.1", tool="ping") == ()
    assert left_out("ping 10.0.0.1", tool="unknown") == ()
    full = {"city": "Oslo", "guests": 2, "on": "May", "size": "small", "notes": {"a": "quiet"}}
    assert left_out("Oslo in May for 2, quiet, of 7, 8 and 9", **full) == ()
    assert left_out("Oslo in May for 2, quiet, of 7, 8 and 9", **{**full, "on": "June"}) == ("7",), "one is free"


def test_earlier_calls_for_the_same_request_have_used_it() -> None:
    earlier = Message("assistant", "", (ToolCall("book", {"guests": 4}),))
    assert left_out("a table for 4", earlier, Message("tool", "no"), city="Oslo") == ()
    assert left_out("a table for 4", earlier, Message("user", "and one for 5"), city="Oslo") == ("5",), "a new request"


def test_several_calls_share_the_literals() -> None:
    messages = [Message("user", "tables for 4 and 5")]
    calls = [ToolCall("book", {"guests": guests}) for guests in (4, 5)]
    assert omitted_literals(calls, [BOOK], messages) == ()
    assert omitted_literals(calls[:1], [BOOK], messages) == ("5",), "the control"
    assert omitted_literals([], [BOOK], messages) == ()
    assert omitted_literals(calls[:1], [BOOK], [Message("system", "at most 9 guests")]) == ()


def test_free_are_arguments_without_a_value_of_the_text() -> None:
    call = ToolCall("book", {"city": "Rome", "guests": 4, "size": "small", "notes": None})
    assert free_arguments(call, [BOOK], StatedValues.of("4 guests in Oslo")) == ("city", "on")
    assert free_arguments(call, [Tool("book", "", {})], StatedValues.of("")) == ()
