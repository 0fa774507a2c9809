"""Texts: the format, the name and the head noun of the description say what they are, and no other word does."""

from __future__ import annotations

import ipaddress
import random
import re
from typing import Any
from uuid import UUID

import pytest

from ttsi.synthesis.parameter_words import head_of_name, head_words
from ttsi.synthesis.schema_values import sample_value

SEEDS = range(40)
EMAIL, PAGE, DAY, CLOCK = r"\w+@example\.com", r"https://.*", r"\d{4}-\d\d-\d\d", r"\d\d:\d\d"
MOMENT = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ"
FORMS = (EMAIL, PAGE, DAY, CLOCK, MOMENT)


def texts(name: str, **schema: Any) -> list[str]:
    return [sample_value(name, {"type": "string", **schema}, {}, random.Random(seed)) for seed in SEEDS]


@pytest.mark.parametrize(
    ("name", "description"),
    [
        ("subject", "The subject of the email."),
        ("city", "City of departure on the given date"),
        ("Title", "The title. It is used as the clickable link on search pages."),
        ("email_subject", ""),
        ("query", "words to filter users by date, email or url"),
        ("label", "Text of the link"),
    ],
)
def test_no_word_but_the_head_says_what_a_text_is(name: str, description: str) -> None:
    values = texts(name, description=description)
    assert not any(re.fullmatch(form, value) for form in FORMS for value in values), values


@pytest.mark.parametrize(
    ("name", "description", "form"),
    [
        ("to", "The email address of the reader", EMAIL),
        ("user", "Optional. The user's email address", EMAIL),
        ("emailAddress", "", EMAIL),
        ("email_id", "", EMAIL),
        ("endpoint", "The URL of the service", PAGE),
        ("image", "URL of the picture", PAGE),
        ("r", "The start date for the report", DAY),
        ("arrival", "The check-in date", DAY),
        ("valid", "Date when it ends", DAY),
        ("date_of_birth", "as the passport has it", DAY),
        ("due_date_2", "", DAY),
        ("start", "The date and time of the visit", MOMENT),
        ("timestamp", "", MOMENT),
        ("since", "ISO 8601 timestamp", MOMENT),
        ("since", "start of the window in ISO-8601 format (with time)", MOMENT),
        ("since", "ISO 8601 date", DAY),
        ("length", "ISO 8601 duration", r"P(T?)\d+[DHM]"),
        ("when", "The time of the visit", CLOCK),
        ("websiteId", "The identifier of the website", r"[A-Z]{2}\d+"),
        ("project", "The unique identifier (UUID) of the project", r"[A-Z]{2}\d+"),
        ("country", "Country in ISO 3166-1 alpha-2", r"[A-Z]{2}"),
        ("deep", "Indicates whether to go on", r"true|false"),
        ("phone", "", r"\+[\d ]+"),
        ("day", "", r"[A-Z][a-z]+day"),
        ("gender", "", r"female|male"),
    ],
)
def test_the_name_and_the_head_of_the_description_say_what_a_text_is(name: str, description: str, form: str) -> None:
    values = texts(name, description=description)
    assert all(re.fullmatch(form, value) for value in values), values
    assert not any(re.fullmatch(form, value) for value in texts("remark"))  # control


def _is_uuid(text: str) -> bool:
    return str(UUID(text)) == text and UUID(text).version == 4


@pytest.mark.parametrize(
    ("form", "check"),
    [
        ("uuid", _is_uuid),
        ("ipv4", ipaddress.IPv4Address),
        ("ipv6", ipaddress.IPv6Address),
        ("hostname", lambda text: re.fullmatch(r"[a-z0-9]+(\.[a-z]+)+", text)),
        ("duration", lambda text: re.fullmatch(r"P\d+D|PT\d+[HM]", text)),
        ("email", lambda text: re.fullmatch(EMAIL, text)),
        ("uri", lambda text: re.fullmatch(PAGE, text)),
        ("date", lambda text: re.fullmatch(DAY, text)),
        ("date-time", lambda text: re.fullmatch(MOMENT, text)),
    ],
)
def test_a_format_gives_values_of_its_kind(form: str, check: Any) -> None:
    assert all(check(value) for value in texts("subject", format=form))
    with pytest.raises((ValueError, AssertionError)):  # control
        assert all(check(value) for value in texts("subject", format="no-such-format"))


def test_the_head_is_the_last_word_before_what_explains_it() -> None:
    assert head_words("Required. Specifies the check-in date, in UTC") == ["check", "in", "date"]
    assert head_words("Filter by the owner's email address if given") == ["owner", "s", "email", "address"]
    assert head_words("The longitude value of a point", whole=False) == ["longitude"]
    assert head_words("") == [] == head_words("one very long row full " * 9)
    assert [head_of_name(name) for name in ("date_from", "linkText", "id")] == ["date", "text", "id"]
