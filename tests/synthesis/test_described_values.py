"""Values that descriptions give in words: what stands there is used, what only looks like a value is not."""

from __future__ import annotations

import random
import re
from typing import Any

import pytest

from ttsi.chat.date_formats import layout_of
from ttsi.chat.described_examples import is_layout
from ttsi.synthesis.described_values import described_values
from ttsi.synthesis.schema_values import sample_value


@pytest.mark.parametrize(
    ("description", "values"),
    [
        ("The unit of weight (e.g., 'kg' or 'lb').", ["kg", "lb"]),
        ("Format of the paper, such as A4, Letter, etc.", ["A4", "Letter"]),
        ("Code of the stock (e.g. GOOG for Google).", ["GOOG"]),
        ("Language, e.g. 'en' for English, 'es' for Spanish.", ["en", "es"]),
        ("The formula. Example: C4H10.", ["C4H10"]),
        ("Order of the rows. Options are 'newest', 'oldest'. Default is 'newest'.", ["newest", "oldest"]),
        ('What to list. Allowed values: "low", "medium", or "high".', ["low", "medium", "high"]),
        ("How to search, either 'fast' for drafts or 'deep' for reports.", ["fast", "deep"]),
        ("Either `asc`/`desc`", ["asc", "desc"]),
        ("Sort by one of the following: price, rating or date", ["price", "rating", "date"]),
        # A value is whole.
        ("The city and state, e.g. San Francisco, CA", ["San Francisco, CA"]),
        ("The location (e.g., 'San Francisco, CA')", ["San Francisco, CA"]),
        ("e.g. New York, NY, you should format it as City, State.", ["New York, NY"]),
        ("City, e.g. St. Louis, MO, USA or Boston, MA and Paris", ["St. Louis, MO, USA", "Boston, MA", "Paris"]),
        ("City, Country, e.g. Paris, France", ["Paris, France"]),
        ("the address, e.g. 1 Main St, Springfield, IL 62704", ["1 Main St, Springfield, IL 62704"]),
        ("the console, e.g. Xbox, PC, Wii", ["Xbox", "PC", "Wii"]),
        ("URL such as https://example.com/a?b=c", ["https://example.com/a?b=c"]),
        ("e.g. https://a.org/b, http://c.org/d.", ["https://a.org/b", "http://c.org/d"]),
        ("the amount, e.g. 1,000.50", ["1,000.50"]),
        ("Latitude and longitude, e.g. '37.77,-122.41'", ["37.77,-122.41"]),
        ("Latitude and longitude, e.g. 37.77,-122.41", ["37.77,-122.41"]),
        ("The genre (e.g., rock and roll)", ["rock and roll"]),
        ("colours such as red, green and blue", ["red", "green", "blue"]),
        ("the airport, e.g. O'Hare or 'O'Hare, Chicago'", ["O'Hare, Chicago"]),
        ("the function, e.g. sin(x) or cos(x)", ["sin(x)", "cos(x)"]),
        ("the unit, e.g. kg (kilogram), lb (pound)", ["kg", "lb"]),
        ("The sizes, such as ['S', 'M'] or a number like 35.", ["S", "M"]),
        ("For example, 1 represents cleaning, 2 represents ironing", ["1", "2"]),
        ("e.g. LHR, JFK, etc.", ["LHR", "JFK"]),
        ("e.g. LHR, JFK etc. Upper case", ["LHR", "JFK"]),
        ("e.g. 'LHR', 'JFK' etc", ["LHR", "JFK"]),
        ("One of: [sms, email].", ["sms", "email"]),
        ("a scale, e.g. A Minor, C Major", ["A Minor", "C Major"]),
        ("the language, such as Python or a similar one", ["Python"]),
        ("if it is not given, all; e.g. Oslo", ["Oslo"]),
        ("The host, without the scheme. For example: 'example.com'.", ["example.com"]),
        # Controls: nothing here is a value.
        ("The name of the user's friend and the friends' city", []),
        ("Values separated by commas or spaces", []),
        ("One of the rooms that are free on this day", []),
        ("Use 'key' as in the list of keys", []),
        ("The day in the form 'YYYY-MM-DD' or 'DD.MM.YYYY'", []),
        ("", []),
        ("The title; should not contain characters such as / or \\", []),
        ("Never use signs, e.g. + or -", []),
        ("The title, no signs such as + or -", []),
        ("It must not be 'a' or 'b'", []),
        ("an identifier, such as a hostname or IP address", []),
        ("The place, in the form 'City, State' or 'City, Country'", []),
        ('The entries {"low": "the least", "high": "the greatest"}', []),
        ("headers, e.g. {'Accept': 'text', 'Host': 'a'}", []),
        ("The mood, e.g. \u2026", []),
    ],
)
def test_examples_and_options_in_words_are_values(description: str, values: list[str]) -> None:
    assert described_values(description) == values


@pytest.mark.parametrize(
    ("description", "layout"),
    [
        ("start of the visit, HH:MM", "HH:MM"),
        ("start (hh:mm AM/PM)", "hh:mm AM/PM"),
        ("as YYYY-MM-DDTHH:MM:SSZ, UTC", "YYYY-MM-DDTHH:MM:SSZ"),
        ("a day in YYYYMMDD format", "YYYYMMDD"),
        ("the season, format: YYYY", "YYYY"),
        ("length in mm", None),
        ("an address in HAMMERSMITH", None),
    ],
)
def test_a_layout_of_dates_and_times_is_read(description: str, layout: str | None) -> None:
    assert layout_of(description) == layout


@pytest.mark.parametrize(
    ("name", "description", "form"),
    [
        ("start", "HH:MM", r"([01]\d|2[0-3]):[0-5]\d"),
        ("start", "hh:mm AM/PM", r"(0[1-9]|1[0-2]):[0-5]\d (AM|PM)"),
        ("day", "DD.MM.YYYY", r"([01]\d|2[0-8])\.(0[1-9]|1[0-2])\.20\d\d"),
        ("to", "the country code (ISO 3166-1 alpha-2)", r"[A-Z]{2}"),
        ("to", "ISO 639-1 code", r"[a-z]{2}"),
        ("ip_address", "", r"\d+\.\d+\.\d+\.\d+"),
        ("phoneNumber", "", r"\+[\d ]+"),
        ("verbose", "Whether to say more", r"true|false"),
        ("time_zone", "", r"UTC|\w+/\w+"),
    ],
)
def test_every_drawn_value_has_the_form_that_its_words_ask_for(name: str, description: str, form: str) -> None:
    schema = {"type": "string", "description": description}
    drawn = {sample_value(name, schema, {}, random.Random(seed)) for seed in range(50)}
    assert all(re.fullmatch(form, value) for value in drawn), drawn
    neutral = {sample_value("remark", {"type": "string"}, {}, random.Random(seed)) for seed in range(50)}
    assert not any(re.fullmatch(form, value) for value in neutral)  # control


def test_a_format_goes_before_the_layout_in_words() -> None:
    schema = {"type": "string", "format": "date-time", "description": "the day, YYYY-MM-DD"}
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", sample_value("day", schema, {}, random.Random(0)))


def test_a_text_to_be_tested_is_not_a_truth_value() -> None:
    schema = {"type": "string", "description": "The text to test whether it is a palindrome"}
    assert sample_value("text", schema, {}, random.Random(0)) not in ("true", "false")


@pytest.mark.parametrize(
    ("items", "description", "values"),
    [
        ({"type": "string"}, "the tags (e.g. 'red', 'blue')", {"red", "blue"}),
        (None, "the tags, such as red or blue", {"red", "blue"}),
        ({"type": "string", "enum": ["a"]}, "the tags (e.g. 'red', 'blue')", {"a"}),
        ({"type": "string", "description": "e.g. green"}, "the tags (e.g. 'red', 'blue')", {"green"}),
    ],
)
def test_the_words_about_a_list_are_about_its_items(items: Any, description: str, values: set[str]) -> None:
    schema = {"type": "array", "description": description} | ({} if items is None else {"items": items})
    assert {value for seed in range(20) for value in sample_value("tags", schema, {}, random.Random(seed))} == values


def test_a_list_of_numbers_without_items_has_numbers() -> None:
    for description, kind in (("The list of numbers.", float), ("The list of guests.", str)):
        for extra in ({}, {"items": {}}, {"items": True}):
            schema = {"type": "array", "description": description, **extra}
            assert all(isinstance(value, kind) for value in sample_value("data", schema, {}, random.Random(0)))


def test_a_default_is_never_the_value() -> None:
    champion: dict[str, Any] = {"type": "string", "default": "cait", "description": "A champion. Defaults to 'cait'."}
    values = {sample_value("champion", champion, {}, random.Random(seed)) for seed in range(40)}
    assert "cait" not in values and len(values) > 5
    named = {sample_value("champion", {**champion, "examples": ["cait"]}, {}, random.Random(seed)) for seed in range(9)}
    assert named == {"cait"}, "the control: what stands as an example is one"


def test_a_description_is_searched_up_to_a_limit() -> None:
    assert described_values("word " * 500 + "(e.g. Oslo)") == []
    assert described_values("word " * 300 + "(e.g. Oslo)") == ["Oslo"]  # control
    assert not is_layout("D" * 41) and is_layout("D" * 40)
