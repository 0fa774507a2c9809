"""Is a value stated exactly where the text has it, and is nothing left out that must stay?"""

from __future__ import annotations

from typing import Any

import pytest

from ttsi.chat.grounding import StatedValues, conversation_text, omit_unstated, unstated_arguments
from ttsi.chat.stated_codes import NAMES
from ttsi.chat.stated_numbers import numbers
from ttsi.types import Message, Tool, ToolCall

PROPERTIES: dict[str, Any] = {
    "city": {"type": "string"},
    "days": {"type": "integer", "default": 3},
    "unit": {"enum": ["C", "F"]},
    "version": {"const": "v2"},
    "dry": {"type": "boolean"},
    "note": {"type": "string"},
    "guests": {"type": "array", "items": {"type": "object", "properties": {"age": {"default": 30}, "name": {}}}},
}
TOOL = Tool("forecast", "", {"type": "object", "properties": PROPERTIES, "required": ["city"]})
STATED = StatedValues.of("Rain in Oslo for Ann?")


def unstated(**arguments: Any) -> tuple[str, ...]:
    return unstated_arguments(ToolCall("forecast", arguments), [TOOL], STATED)


def kept(tool: Tool = TOOL, **arguments: Any) -> list[str]:
    return list(omit_unstated(ToolCall("forecast", arguments), [tool], STATED).arguments)


@pytest.mark.parametrize(
    ("arguments", "names"),
    [
        ({"city": "OSLO"}, ()),
        ({"city": "Rome"}, ("city",)),
        ({"days": 3}, ()),
        ({"days": 4}, ("days",)),
        ({"unit": "F"}, ()),
        ({"unit": "K"}, ("unit",)),
        ({"version": "v2"}, ()),
        ({"version": "v3"}, ("version",)),
        ({"dry": False, "note": None}, ()),
        ({"note": ""}, ("note",)),
        ({"guests": [{"name": "Ann", "age": 30}]}, ()),
        ({"guests": [{"name": "Ann", "age": 31}]}, ("guests",)),
        ({"guests": [{"name": "Ann"}, {"name": "Bob"}]}, ("guests",)),
        ({"guests": []}, ()),
        ({"city": "Rome", "invented": "x"}, ("city", "invented")),
    ],
)
def test_what_neither_text_nor_schema_supplies_is_unstated(arguments: dict[str, Any], names: tuple[str, ...]) -> None:
    assert unstated(**arguments) == names


def test_optional_arguments_are_left_out_and_required_ones_never() -> None:
    assert kept(city="Rome", note="hurry", days=9, unit="F", dry=True) == ["city", "unit", "dry"]
    assert kept(city="Rome", days=3) == ["city", "days"], "a default may be written out"
    optional = Tool(TOOL.name, "", {**TOOL.parameters, "required": []})
    assert kept(optional, city="Rome", days=3) == ["days"], "the control: the same value of an optional argument"


def test_a_grounded_call_is_the_same_object() -> None:
    call = ToolCall("forecast", {"city": "Oslo"}, id="7")
    assert omit_unstated(call, [TOOL], STATED) is call
    assert omit_unstated(ToolCall("forecast", {"city": "Oslo", "note": "x"}, id="7"), [TOOL], STATED).id == "7"


def test_an_argument_that_is_required_in_a_roundabout_way_stays() -> None:
    together = Tool(TOOL.name, "", {**TOOL.parameters, "dependentRequired": {"city": ["note"]}})
    assert kept(together, city="Oslo", note="hurry") == ["city", "note"]
    assert kept(city="Oslo", note="hurry") == ["city"], "the control: the same call of a tool without that rule"


def test_all_of_a_conversation_states_values() -> None:
    messages = (
        Message("system", "The user is Ann."),
        Message("user", "Rain?"),
        Message("assistant", "Where?", (ToolCall("locate", {"of": {"person": "A-7"}, "within": 2.5}),)),
        Message("tool", '{"city": "Oslo"}'),
    )
    stated = StatedValues.of(conversation_text(messages))
    assert [value in stated for value in ("Ann", "A-7", 2.5, "oslo", "where")] == [True] * 5
    assert "Oslo" not in StatedValues.of(conversation_text(messages[:3])), "the control: without the tool's result"


UNITS: dict[str, Any] = {
    "type": "object",
    "$defs": {"Unit": {"type": "string", "enum": ["celsius", "fahrenheit"]}, "Days": {"type": "integer", "default": 3}},
    "properties": {
        "city": {"type": "string"},
        "unit": {"$ref": "#/$defs/Unit"},
        "perhaps": {"anyOf": [{"type": "string", "enum": ["celsius", "fahrenheit"]}, {"type": "null"}]},
        "days": {"allOf": [{"$ref": "#/$defs/Days"}]},
        "order": {"type": "array", "items": {"$ref": "#/$defs/Unit"}},
        "pair": {"prefixItems": [{"type": "string"}, {"$ref": "#/$defs/Unit"}]},
        "inside": {"oneOf": [{"type": "null"}, {"properties": {"unit": {"$ref": "#/$defs/Unit"}}}]},
    },
    "required": ["city"],
}
CHOSEN: list[tuple[str, Any, Any]] = [
    ("unit", "celsius", "kelvin"),
    ("perhaps", "fahrenheit", "kelvin"),
    ("days", 3, 4),
    ("order", ["celsius", "fahrenheit"], ["celsius", "kelvin"]),
    ("pair", ["Oslo", "celsius"], ["celsius", "celsius"]),
    ("inside", {"unit": "celsius"}, {"city": "celsius"}),
]


@pytest.mark.parametrize(("name", "chosen", "invented"), CHOSEN, ids=[name for name, _, _ in CHOSEN])
@pytest.mark.parametrize("top", [UNITS, {"$ref": "#/$defs/All", "$defs": {**UNITS["$defs"], "All": UNITS}}])
def test_a_value_that_the_schema_supplies_behind_a_reference_is_grounded_and_stays(
    name: str, chosen: Any, invented: Any, top: dict[str, Any]
) -> None:
    tools, asked = [Tool("w", "", top)], StatedValues.of("Weather in Oslo?")
    call, other = (ToolCall("w", {"city": "Oslo", name: value}) for value in (chosen, invented))
    assert unstated_arguments(call, tools, asked) == ()
    assert omit_unstated(call, tools, asked) is call
    assert unstated_arguments(other, tools, asked) == (name,), "the control"
    assert omit_unstated(other, tools, asked).arguments == {"city": "Oslo"}, "the control"


def test_an_argument_that_a_reference_requires_stays_and_the_others_go() -> None:
    top = {"allOf": [{"$ref": "#/$defs/All"}], "$defs": {**UNITS["$defs"], "All": UNITS}}
    call = ToolCall("w", {"city": "Rome", "unit": "kelvin", "dry": True})
    assert omit_unstated(call, [Tool("w", "", top)], STATED).arguments == {"city": "Rome", "dry": True}
    optional = {**top, "$defs": {**top["$defs"], "All": {**UNITS, "required": []}}}
    assert omit_unstated(call, [Tool("w", "", optional)], STATED).arguments == {"dry": True}, "the control"


@pytest.mark.parametrize(
    "schema", [True, False, 7, [], {"enum": 3}, {"$ref": "#/properties/city"}, {"anyOf": [{"type": {}}]}]
)
def test_odd_schemas_supply_nothing(schema: Any) -> None:
    odd = Tool("forecast", "", {"properties": {"city": schema}, "required": [{}, 3]})
    assert unstated_arguments(ToolCall("forecast", {"city": "Rome"}), [odd], STATED) == ("city",)
    assert unstated_arguments(ToolCall("forecast", {"city": "Oslo"}), [odd], STATED) == ()
    assert omit_unstated(ToolCall("forecast", {"city": "Rome", "x": True}), [odd], STATED).arguments == {"x": True}


@pytest.mark.parametrize(
    ("text", "passage", "other"),
    [
        ("東京の天気", "東京", "大阪"),
        ("서울의 날씨", "서울", "부산"),
        ("อากาศในเชียงใหม่วันนี้", "เชียงใหม่", "ภูเก็ต"),
        ("トーキョーのてんき", "トーキョー", "オーサカ"),
        ("东京Tokyo塔", "Tokyo", "Toky"),
        ("我想买10个", "10", "1"),
        ("Tokyo駅まで", "Tokyo駅", "okyo駅"),
        ("Oslo's 東京 bar", "東京 bar", "東京 ba"),
    ],
)
def test_scripts_without_spaces_state_letters_side_by_side(text: str, passage: str, other: str) -> None:
    assert passage in StatedValues.of(text)
    assert other not in StatedValues.of(text), "the control"


def test_scripts_with_spaces_state_whole_words() -> None:
    assert "Осло" in StatedValues.of("в Осло?") and "Осло" not in StatedValues.of("Ослоский порт")


@pytest.mark.parametrize(
    ("text", "stated"),
    [
        ("我想买10个", {10}),
        ("3月10日", {3, 10}),
        ("気温は-5度", {5, -5}),
        ("cost -5", {-5}),
        ("USD100, EUR 20, Rs.500", {100, 20, 500}),
        ("$.5 or -.25", {0.5, -0.25}),
        ("pack x10", {10}),
        ("1e-3 and 2.5E2", {0.001, 250}),
        ("1,500 guests", {1500}),
        ("1,000,000 of 12,500.75", {1_000_000, 12_500.75}),
        ("1500,200", {1500, 200}),
        ("12,34,56", {12, 34, 56}),
        ("[12,34,56]", {12, 34, 56}),
        ("[1,-2.5,3]", {1, -2.5, 3}),
        ("[1,500]", {1, 500, 1500}),
        ("(1,500 guests)", {1500}),
        ("cash_flows=[200,300,400,500]", {200, 300, 400, 500, 200_300_400_500}),
        ("1,234,567 people", {1_234_567, 1, 234, 567}),
        ("20%", {20, 0.2}),
        ("1.1 percent, 3\uff05", {1.1, 0.011, 3, 0.03}),
        ("20 guests", {20}),
        ("A12, B7-x, v2, x2y, x7-b, ABC100", set()),
        ("A-07, 3.1.2, 007", set()),
        ("a 1.2.3 b.5", set()),
        ("two tickets, twenty-five rows, a dozen eggs", {2, 25, 12}),
        ("the third floor, the twenty-first of May", {3, 21}),
        ("two hundred and five of one thousand", {205, 1000}),
        ("$2 million, 3 dozen, 300k, 1.1M", {2, 2e6, 3, 36, 300, 300_000, 1.1, 1_100_000}),
        ("hundreds of ones, someone, no-one's, half", set()),
        ("5 kg, 5kg, 10km, 5m", {5, 10}),
        ("800x600, 2x3x4 cm, a2x3", {800, 600, 2, 3, 4}),
        ("0x10", {0}),
        ("minus 5, negative 3, \u22122, -$50", {-5, -3, -2, -50}),
        ("half an hour, a couple of days", {0.5, 2}),
        ("one and a half hours", {1, 1.5}),
        ("no one, a one-way ticket, first of all, wait a second, a third party", set()),
        ("'two' of them, one's", {2}),
    ],
)
def test_the_numbers_of_a_text(text: str, stated: set[float]) -> None:
    assert numbers(text) == stated


@pytest.mark.parametrize(
    ("text", "value", "is_stated"),
    [
        # plurals and lists in one string
        ("62 smartphones and two comedies", "smartphone", True),
        ("62 smartphones and two comedies", "Comedy", True),
        ("a smartphone", "smartphones", True),
        ("the bus class", "bu", False),
        ("the bus class", "clas", False),
        ("anxiety, insomnia, and fatigue", "Anxiety, Insomnia, Fatigue", True),
        ("anxiety and fatigue", "Anxiety, Insomnia, Fatigue", False),
        ("to ann@a.org and bob@b.org", "ann@a.org, bob@b.org", True),
        ("$100,000 to $500,000", "$100,000 - $500,000", True),
        ("San Francisco", "San Francisco, CA", False),
        ("horror movies and two buses", "movie", True),
        ("horror movies and two buses", "bus", True),
        ("what is new on Mars", "news", False),
        ("what is new on Mars", "Mar", False),
        ("between 2010 and 2015", "2010-2015", True),
        ("between 2010 and 2015", "2010-2016", False),
        ("May 3 to May 5, 2024", "2024-05-03/2024-05-05", True),
        ("Alice and Bob", "Alice\nBob", True),
        ("a flight to Sao Paulo", "S\u00e3o Paulo", True),
        ("a flight to Z\u00fcrich", "Zurich", True),
        (", and ;", ",", True),
        ("words", ", ;", False),
        # codes of what the text names
        ("reviews in French, please", "fr", True),
        ("reviews in French, please", "fr-FR", True),
        ("reviews in French, please", "de", False),
        ("the cities of Germany", "DE", True),
        ("a hotel in New York", "NY", True),
        ("5 euros", "EUR", True),
        ("under $50", "USD", True),
        ("under 50", "USD", False),
        ("90 pounds of flour", "lb", True),
        ("90 pounds of flour", "kg", False),
        ("5 euros in Germany", "EUR, DE", True),
        ("in the United States", "US", True),
        ("a trip to Texas", "TX", True),
        ("Canadian dollars", "USD", False),
        ("New Mexico", "MX", False),
        ("this or that", "OR", False),
        ("hotels in ny", "NY", True),
        # numbers and amounts as strings
        ("two tickets", "2", True),
        ("two tickets", "3", False),
        ("1,500 euros", "1500", True),
        ("the 7th floor", "007", False),
        ("room seven", "7.0", True),
        ("room seven", "room 7", False),
        ("1.5 hours", "5 hours", False),
        ("$1,500", "$500", False),
        ("5 degrees", "-5", False),
        ("5 kilograms, 30 minutes, two weeks", "5kg", True),
        ("5 kilograms, 30 minutes, two weeks", "30 min", True),
        ("5 kilograms, 30 minutes, two weeks", "2 weeks", True),
        ("5 kilograms, 30 minutes, two weeks", "2 kg", True),
        ("5 kilograms, 30 minutes, two weeks", "3 kg", False),
        ("$20", "20 USD", True),
        ("$20", "\u20ac20", False),
        ("20 euros", "\u20ac20", True),
        ("call 555-123-4567", "5551234567", True),
        ("call 5551234567", "555-123-4567", True),
        ("call 555-123-4567", "5551234568", False),
        # symbols as they are
        ("a: 3, op: + and b: 4", "+", True),
        ('the operator is "<=".', "<=", True),
        ("a: 3, op: - and b: 4", "+", False),
        ("a+b", "+", False),  # within a word it may be anything
        ("react with \N{PARTY POPPER}", "\N{PARTY POPPER}", True),
        ("react with \N{PARTY POPPER}", "\N{RED APPLE}", False),
        ("I write C++.", "C++", True),
        ("I write C++.", "C#", False),
        ("I write C++.", "C", False),
        ("I write C++ and C.", "C", True),
        ("an A+ in maths", "A", False),
        ("an iPhone 12+", "iPhone 12", True),
        ("c# developer wanted", "C# developer", True),
        ("anything", "  ", False),
    ],
)
def test_whether_a_text_states_a_value(text: str, value: str, is_stated: bool) -> None:
    assert (value in StatedValues.of(text)) == is_stated


def test_an_id_of_more_digits_than_a_float_has_is_stated() -> None:
    tool = Tool("ban", "", {"properties": {"user": {"type": "integer"}, "guild": {"type": "integer"}}})
    stated = StatedValues.of("ban 123456789012345678 in 98765432109876543210")
    call = ToolCall("ban", {"user": 123456789012345678, "guild": 98765432109876543210})
    assert omit_unstated(call, [tool], stated) is call
    for other in (123456789012345679, 10**31, 10**5000):  # the last has more digits than Python writes
        assert unstated_arguments(ToolCall("ban", {"user": other}), [tool], stated) == ("user",), "the control"


def test_a_boolean_may_be_a_string() -> None:
    tool = Tool("f", "", {"properties": {"sorted": {"type": "string"}}})
    assert unstated_arguments(ToolCall("f", {"sorted": "True"}), [tool], StatedValues.of("list them")) == ()
    assert unstated_arguments(ToolCall("f", {"sorted": "Truly"}), [tool], StatedValues.of("list them")) == ("sorted",)


def test_a_call_never_loses_all_of_its_arguments() -> None:
    tool = Tool("quote", "", {"properties": {"symbol": {"type": "string"}, "market": {"type": "string"}}})
    stated = StatedValues.of("What does Tesla cost on Nasdaq?")
    only = ToolCall("quote", {"symbol": "TSLA"})
    assert omit_unstated(only, [tool], stated) == only
    both = ToolCall("quote", {"symbol": "TSLA", "market": "Nasdaq"})
    assert omit_unstated(both, [tool], stated) == ToolCall("quote", {"market": "Nasdaq"}), "the control"


@pytest.mark.parametrize("value", [float("nan"), float("inf"), "", "\ud800", "0000-00-00", "9999-99-99", 2**70])
def test_odd_values_are_not_stated(value: Any) -> None:
    assert value not in StatedValues.of("two words of May 3")


def test_json_in_a_string_is_stated_when_each_of_its_values_is() -> None:
    stated = StatedValues.of("Plan it for patient P12345, aged two, with Alice as the animator")
    for value in ('{"patient": {"id": "P12345", "age": 2}, "new": true}', '["Alice", "animator"]', "[]"):
        assert value in stated, value
    for value in ('{"patient": "P99"}', '["Alice", "Bob"]', '{"patient": "P99"', "[Bob]"):
        assert value not in stated, f"control: {value}"


def test_a_number_too_long_to_print_is_not_stated() -> None:
    stated, digits = StatedValues.of("two words of May 3"), 5000
    is_stated = 10**digits in stated
    assert not is_stated and 3 in stated


def test_every_name_of_a_code_states_it() -> None:
    missed = [
        (code, name) for code, names in NAMES.items() for name in names if code not in StatedValues.of(f"in {name}!")
    ]
    assert missed == []
