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
        ("[12,34,56]", ("12", "34", "56")),
        ("12,34,56 and (1.5,2)", ("12", "34", "56", "1.5", "2")),
        ("[1,500] and 1,500", ("1", "500", "1,500")),
        ("1,234,567 people", ("1,234,567",)),
        ("ein Rabatt von 12,5", ()),
        ("我想买10个", ("10",)),
        ("2027年5月3日", ("2027", "5", "3")),
        ("便名JL123で", ("JL123",)),
        ("送信先ann@a.orgへ、https://x.org/yで。", ("ann@a.org", "https://x.org/y")),
        ("私は「東京」と『京都』へ", ("東京", "京都")),
        ("买“东京”票", ("东京",)),
        ("ouvre « Mes notes » et «Rex»", ("Mes notes", "Rex")),
        ("»Oslo« und »Rom«", ()),
        ("--retry-5 --- a--b", ("retry-5",)),
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
        ("a 5-day trip", {"guests": 5}),
        ("USD100", {"guests": 100}),
        ("1e-5 of it", {"notes": {"share": 0.00001}}),
        ("1.1 %", {"notes": {"share": 0.011}}),
        ("予算は10万円", {"guests": 10}),
        ("「静かな部屋」", {"notes": {"text": "静かなお部屋"}}),
        ("[12,34,56]", {"notes": {"ids": [12, 34, 56]}}),
        ("the ids 12,34,56", {"on": "12,34,56"}),
        ("the ids 200,300,400", {"notes": {"ids": [200, 300, 400]}}),
        ("200,300,400 people", {"guests": 200_300_400}),
        ("[1,500]", {"guests": 1500}),
        ("a prize of 1.5 million", {"notes": {"prize": 1_500_000}}),
        ("a prize of 300k", {"notes": {"prize": 300_000}}),
        ("at 8pm", {"on": "20:00"}),
        ("at 7:30 pm", {"on": "19:30"}),
        ("on 9/3/24", {"on": "2024-09-03"}),
        ("a picture of 800x600", {"notes": {"width": 800, "height": 600}}),
    ],
)
def test_a_value_in_another_form_uses_it(text: str, arguments: dict[str, Any]) -> None:
    assert left_out(text, **arguments) == ()
    assert left_out(text, city="Oslo") != (), "the control"


def test_one_side_of_a_size_is_left_out() -> None:
    assert left_out("a picture of 800x600", notes={"width": 800}) == ("800x600",)


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


def test_a_part_of_a_list_is_left_out() -> None:
    assert left_out("the code '1,.,,2'", guests=1) == ("1,.,,2",)
    assert left_out("of [12,34,56]", notes={"ids": [12, 56]}) == ("34",)
    assert left_out("1,500 guests for 1 day", guests=1500) == ("1",), "a number with commas is not its parts"
    assert left_out("gate A12", guests=12) == ("A12",), "the control: the number of a code that states none"


def test_chosen_values_are_not_free_behind_references() -> None:
    size = {"anyOf": [{"$ref": "#/$defs/Size"}, {"type": "null"}]}
    own = {"properties": {"size": size, "sizes": {"items": size}, "kind": {"const": "b"}, "days": {"default": 3}}}
    schema = {"$ref": "#/$defs/Own", "$defs": {"Size": {"enum": ["small", "large"]}, "Own": {"allOf": [own]}}}
    tools, nothing = [Tool("book", "", schema)], StatedValues.of("")
    chosen = ToolCall("book", {"size": "small", "sizes": ["large"], "kind": "b", "days": 3})
    assert free_arguments(chosen, tools, nothing) == ("days",), "a default may give way"
    invented = ToolCall("book", {"size": "tiny", "sizes": ["tiny"], "kind": "c", "days": 4})
    assert free_arguments(invented, tools, nothing) == ("size", "sizes", "kind", "days"), "the control"
    assert free_arguments(ToolCall("book", {}), tools, nothing) == ("size", "sizes", "kind", "days")


def test_odd_schemas_have_no_arguments() -> None:
    for odd in ({"properties": 3}, {"$ref": "#"}, {"allOf": [True, {"properties": []}]}, {"anyOf": [{"type": {}}]}):
        assert free_arguments(ToolCall("f", {"a": 1}), [Tool("f", "", odd)], StatedValues.of("")) == ()
    assert free_arguments(ToolCall("f", {}), [Tool("f", "", {"properties": {"a": True}})], StatedValues.of("")) == (
        "a",
    )
