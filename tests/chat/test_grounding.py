"""Is a value stated exactly where the text has it, and is nothing left out that must stay?"""

from __future__ import annotations

from typing import Any

import pytest

from ttsi.chat.grounding import StatedValues, conversation_text, omit_unstated, unstated_arguments
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
    assert kept(optional, city="Rome") == [], "the control: the same value of an optional argument"


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
