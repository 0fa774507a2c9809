"""Dates and times of day that a text states in another form than a value."""

from __future__ import annotations

import pytest

from ttsi.chat.grounding import StatedValues
from ttsi.chat.stated_dates import StatedDates
from ttsi.config import SynthesisConfig
from ttsi.synthesis.example_filters import groundedness
from ttsi.types import Example, Input, ToolCall


@pytest.mark.parametrize(
    ("text", "values", "others"),
    [
        ("on April 1, 2023", ["2023-04-01", "04/01/2023", "20230401", "1 April 2023", "Apr 1st, 2023"], ["2023-04-02"]),
        ("on April 1, 2023", [], ["2022-04-01", "2023-01-04", "April 2", "2023-04-31"]),
        ("the 3rd of May", ["2027-05-03", "2020-05-03", "5/3"], ["2027-05-04", "2027-03-05T10:00"]),
        ("from October 15th to the 20th", ["2022-10-15", "2022-10-20"], ["2022-10-16"]),
        ("15-20 May 2022", ["2022-05-15", "2022-05-20"], ["2021-05-20"]),
        ("in June 2024", ["2024-06-01", "2024-06-30", "2024-06"], ["2024-06-15", "2023-06-01", "2024-07"]),
        ("in 2015", ["2015-01-01", "2015-12-31"], ["2015-06-01", "2016-01-01"]),
        ("between 2022-10-01 and 2022/10/31", ["10/01/2022", "2022-10-31"], ["2022-10-02"]),
        ("on 3/4", ["2024-03-04", "2024-04-03"], ["2024-03-03"]),
        ("at 7:30 PM", ["19:30", "19:30:00", "7:30 pm"], ["07:30", "19:00"]),
        ("dinner at 7:30, done by 10", ["07:30", "19:30", "22:00"], ["19:00", "07:31"]),
        ("from 5pm-7pm", ["17:00", "19:00"], ["18:00"]),
        ("between 5 and 7 pm", ["17:00", "19:00", "5pm"], ["18:00", "07:00"]),
        ("at eight pm, or nine o'clock", ["20:00", "09:00", "21:00"], ["08:00"]),
        ("look at 5 hotels at 12 Main Street at 3 stars", [], ["17:00", "05:00", "12:00", "15:00"]),
        ("12/25/23 or 2024-5-3", ["2023-12-25", "2024-05-03"], ["1923-12-25"]),
        ("in April", ["2023-04-01", "2024-04-30"], ["2023-04-15"]),
        ("April first, the fifth of May", ["2023-04-01", "2023-05-05"], ["2023-05-01"]),
        ("Feb 31, 2023", [], ["2023-02-31"]),
        ("\u017fept 3", [], ["2024-09-04"]),
        ("at 8 pm on May 3", ["20:00", "2024-05-03T20:00:00", "2024-05-03 20:00"], ["2024-05-03T08:00"]),
        ("all of May 3", ["2024-05-03T00:00:00Z", "2024-05-03T23:59"], ["2024-05-03T10:00"]),
        ("at 8", ["08:00", "20:00"], ["09:00"]),
        ("8 o'clock, noon or midnight", ["8:00", "12:00", "00:00"], ["12:30"]),
        ("12 am", ["00:00"], ["12:00"]),
        ("at 8% on 5 march miles, you may go 20 times, v2022-10-01x", [], ["08:00", "2024-05-20", "2022-10-01"]),
        ("", [], ["", "2024-01-01", "10:00", "x"]),
    ],
)
def test_dates_and_times_in_other_forms(text: str, values: list[str], others: list[str]) -> None:
    stated = StatedDates.of(text)
    assert [value for value in values if not stated.states(value)] == []
    assert [value for value in others if stated.states(value)] == []


@pytest.mark.parametrize(
    "text", ["tomorrow", "next Friday", "this past month", "in two days", "three weeks ago", "tonight"]
)
def test_a_relative_date_may_be_any_date_but_no_time(text: str) -> None:
    stated = StatedDates.of(f"a table for {text}")
    assert stated.states("2024-06-07") and not stated.states("10:00") and not stated.states("blue")
    assert not StatedDates.of(text, relative=False).states("2024-06-07"), "the control"
    assert not stated.states("3/4") and not stated.states("10101010") and not stated.states("2031-02-31")


@pytest.mark.parametrize(
    "text",
    ["now", "for 3 days", "Today is 2024-05-01", "today's date: 1 May", "ages ago", "in two words", "3 Mondayish"],
)
def test_what_names_no_day_is_no_relative_date(text: str) -> None:
    assert not StatedDates.of(text).states("2031-02-17")


@pytest.mark.parametrize(
    ("text", "values", "rest"),
    [
        ("Remind me at 8pm", "20:00", "Remind me at    "),
        ("on May 3 and on June 4", "2024-05-03", "on       and on June 4"),
        ("on May 3", "2024-05-04", "on May 3"),
        ("from 9 to 5 pm", "17:00", "from          "),
    ],
)
def test_a_text_without_the_dates_of_another(text: str, values: str, rest: str) -> None:
    assert StatedDates.of(values).without(text) == rest


def test_values_of_calls_are_looked_up_as_dates() -> None:
    stated = StatedValues.of("the week of October 8th, 2022, from 9:00 to 17:30")
    assert "2022-10-08" in stated and 20221008 in stated and "09:00-17:30" in stated
    assert "2022-10-09" not in stated and 20221009 not in stated and "09:00-18:00" not in stated


def test_a_written_request_states_no_relative_date() -> None:
    def refused(request: str) -> str | None:
        example = Example(request, (ToolCall("remind", {"on": "2024-06-07"}),), "")
        return groundedness(example, Input("1", (), ()), (), SynthesisConfig())

    assert refused("remind me tomorrow") == "grounded: the value of on is not in the request"
    assert refused("remind me on June 7") is None, "the control"
