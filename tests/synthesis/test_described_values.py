"""Values that descriptions give in words: what stands there is used, what only looks like a value is not."""

from __future__ import annotations

import random
import re
from typing import Any

import pytest

from ttsi.synthesis.described_values import described_default, described_values, is_layout, layout_of
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
        # Controls: nothing here is a value.
        ("The name of the user's friend and the friends' city", []),
        ("Values separated by commas or spaces", []),
        ("One of the rooms that are free on this day", []),
        ("Use 'key' as in the list of keys", []),
        ("The day in the form 'YYYY-MM-DD' or 'DD.MM.YYYY'", []),
        ("", []),
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
        ("champion", "Defaults to 'cait'.", r"cait"),
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


def test_a_default_is_the_last_resort() -> None:
    assert described_default("The region. Default value: 'us'") == "us"
    assert described_default("The region, 'us' by default") is None
    assert described_default("The region. Defaults to 'None'.") is None
    city: dict[str, Any] = {"type": "string", "default": "Oslo"}
    assert {sample_value("remark", city, {}, random.Random(seed)) for seed in range(9)} == {"Oslo"}
    assert len({sample_value("city", city, {}, random.Random(seed)) for seed in range(9)}) > 1  # control


def test_a_description_is_searched_up_to_a_limit() -> None:
    assert described_values("word " * 500 + "(e.g. Oslo)") == []
    assert described_values("word " * 300 + "(e.g. Oslo)") == ["Oslo"]  # control
    assert not is_layout("D" * 41) and is_layout("D" * 40)
