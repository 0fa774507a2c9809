"""Do the dates and times of a call take the format that the tool states, and only where both leave no doubt?"""

from __future__ import annotations

from typing import Any

import pytest

from ttsi.chat.date_formats import in_layout, stated_layout, with_stated_formats
from ttsi.chat.schema_choices import SchemaPlace
from ttsi.types import Answer, Tool, ToolCall

DAY = {"type": "string", "description": "The first day (YYYY-MM-DD)"}
LONG = "October 6, 2008"


def converted(value: Any, schema: dict[str, Any], **root: Any) -> Any:
    """The argument `day` of a call after its dates took their formats."""
    tool = Tool("book", "", {"type": "object", "properties": {"day": schema, "n": {}}, **root})
    answer = Answer("as written", (ToolCall("book", {"day": value, "n": 2}),))
    result = with_stated_formats(answer, [tool])
    assert result.text == "as written" and result.calls[0].arguments["n"] == 2
    return result.calls[0].arguments["day"]


@pytest.mark.parametrize(
    ("value", "layout", "written"),
    [
        (LONG, "YYYY-MM-DD", "2008-10-06"),
        ("6 October 2008", "DD.MM.YYYY", "06.10.2008"),
        ("the 6th of Oct, 2008".removeprefix("the "), "MM/DD/YYYY", "10/06/2008"),
        ("2008/10/6", "YYYY-MM-DD", "2008-10-06"),
        ("20081006", "YYYY-MM-DD", "2008-10-06"),
        ("13/05/2016", "YYYY-MM-DD", "2016-05-13"),
        ("5/3/2027", "DD/MM/YYYY", "05/03/2027"),
        ("5/13/2027", "DD/MM/YYYY", "13/05/2027"),
        ("May 2016", "YYYY-MM", "2016-05"),
        ("9:05", "HH:MM", "09:05"),
        ("5 pm", "HH:MM", "17:00"),
        ("12 am", "HH:MM", "00:00"),
        ("17:30", "hh:mm AM/PM", "05:30 PM"),
        ("0:30", "HH:MM AM/PM", "12:30 AM"),
        ("14:30", "HH:MM:SS", "14:30:00"),
        ("2016-05-11 10:00:00", "YYYY-MM-DDTHH:MM:SS", "2016-05-11T10:00:00"),
        ("2016-05-11 10:00", "YYYY-MM-DD HH:MM:SS", "2016-05-11 10:00:00"),
    ],
)
def test_a_date_takes_the_layout(value: str, layout: str, written: str) -> None:
    assert in_layout(value, layout) == written


@pytest.mark.parametrize(
    ("value", "layout"),
    [
        ("05/06/2024", "YYYY-MM-DD"),  # May or June
        ("October 6", "YYYY-MM-DD"),  # no year
        ("October 6, 2008", "MM/DD"),  # the year would be lost
        ("13/05/16", "YYYY-MM-DD"),  # which century
        ("31 February 2020", "YYYY-MM-DD"),
        ("next Friday", "YYYY-MM-DD"),
        ("2016-05-11T10:00", "YYYY-MM-DD"),  # the hour would be lost
        ("2016-05-11T10:00:00", "YYYY-MM-DDTHH:MM:SSZ"),  # in which zone
        ("2016-05-11T10:00:00Z", "YYYY-MM-DDTHH:MM:SS"),
        ("10:30:15", "HH:MM"),
        ("13:31", "YYYY-MM-DD"),
        ("October 6 to 8, 2008", "YYYY-MM-DD"),
        ("flight 2008", "YYYY-MM-DD"),
    ],
)
def test_a_doubtful_value_has_no_other_form(value: str, layout: str) -> None:
    assert in_layout(value, layout) is None


@pytest.mark.parametrize(
    ("schema", "layout"),
    [
        (DAY, "YYYY-MM-DD"),
        ({"type": "string", "description": "start of the period (e.g., YYYY-MM-DD)"}, "YYYY-MM-DD"),
        ({"type": "string", "description": "the day (e.g., '2021-08-10')"}, "YYYY-MM-DD"),
        ({"type": "string", "description": "when it opens, such as 09:30"}, "HH:MM"),
        ({"type": "string", "description": "Format be like %Y-%m-%d %H:%M:%S"}, "YYYY-MM-DD HH:MM:SS"),
        ({"type": "string", "format": "date"}, "YYYY-MM-DD"),
        ({"type": "string", "format": "date-time"}, "YYYY-MM-DDTHH:MM:SSZ"),
        ({"type": "string", "description": "the day", "examples": ["2021-08-10"]}, "YYYY-MM-DD"),
        ({"anyOf": [{"type": "string"}, {"type": "null"}], "description": "as DD/MM/YYYY"}, "DD/MM/YYYY"),
    ],
)
def test_a_parameter_states_its_layout(schema: dict[str, Any], layout: str) -> None:
    assert stated_layout(SchemaPlace.of(schema)) == layout


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "string", "description": "the day"},
        {"type": "string", "description": "as Month DD, YYYY"},
        {"type": "string", "description": "YYYY-MM-DD or 'today'"},
        {"type": "string", "description": "from YYYY-MM-DD to YYYY-MM-DD"},
        {"type": "string", "description": "comma-separated dates, YYYY-MM-DD"},
        {"type": "string", "description": "the day (YYYY-MM-DD)", "default": "dontcare"},
        {"type": "string", "description": "the day (YYYY-MM-DD), e.g. May 3"},
        {"type": "string", "description": "the day, e.g. 03/05/2027"},  # nobody knows which is the month
        {"type": "string", "description": "the day (YYYY-MM-DD)", "enum": ["May 3", "May 4"]},
        {"type": "string", "description": "the day (YYYY-MM-DD)", "pattern": "^[A-Z]"},
        {"type": "string", "description": ["YYYY-MM-DD"]},
        {"type": "string", "format": "uri"},
        {},
    ],
)
def test_control_a_parameter_that_leaves_a_choice_states_none(schema: dict[str, Any]) -> None:
    assert stated_layout(SchemaPlace.of(schema)) is None


def test_calls_are_converted_at_any_depth() -> None:
    assert converted(LONG, DAY) == "2008-10-06"
    assert converted({"from": LONG}, {"type": "object", "properties": {"from": DAY}}) == {"from": "2008-10-06"}
    assert converted([LONG, "2008-10-07"], {"type": "array", "items": DAY}) == ["2008-10-06", "2008-10-07"]
    assert converted(LONG, {"$ref": "#/$defs/Day"}, **{"$defs": {"Day": DAY}}) == "2008-10-06"


def test_control_other_values_stay() -> None:
    assert converted(LONG, {"type": "string", "description": "The first day"}) == LONG
    assert converted("2008-10-06", {"type": "string", "description": "the day, e.g. 2021-08-10"}) == "2008-10-06"
    assert converted("05/06/2024", DAY) == "05/06/2024"
    assert converted("99/99/2024", {"type": "string", "description": "DD/MM/YYYY"}) == "99/99/2024"
    for value in (20081006, None, True, "soon", ""):
        assert converted(value, DAY) == value


def test_a_form_that_the_schema_forbids_is_not_taken() -> None:
    assert converted(LONG, {**DAY, "minLength": 12}) == LONG
    assert converted(LONG, {**DAY, "minLength": 10}) == "2008-10-06"


def test_a_call_of_no_tool_on_offer_stays() -> None:
    answer = Answer("", (ToolCall("other", {"day": LONG}),))
    assert with_stated_formats(answer, [Tool("book", "", {"properties": {"day": DAY}})]) == answer
