"""Numbers: a schema's bounds are kept, and where it has none, those that its words or its name give."""

from __future__ import annotations

import random
from typing import Any

import pytest

from ttsi.synthesis.described_numbers import described_bounds, described_examples_of_numbers
from ttsi.synthesis.schema_values import NoValueError, sample_value

SEEDS = range(60)


def numbers(name: str, kind: str, **schema: Any) -> list[Any]:
    return [sample_value(name, {"type": kind, **schema}, {}, random.Random(seed)) for seed in SEEDS]


@pytest.mark.parametrize(
    ("description", "bounds"),
    [
        ("month between 1 and 12", (1, 12)),
        ("Probability, between 0 and 1", (0, 1)),
        ("from 0.0 (free) to 1.0 (full price)", (0, 1)),
        ("Must be within the range of 3 to 100.", (3, 100)),
        ("in the range [-180, 180]", (-180, 180)),
        ("Red component (0-255)", (0, 255)),
        ("ranging from 1 to 1,000", (1, 1000)),
        ("on a scale of 1 to 10", (1, 10)),
        ("a minimum of 3 and a maximum of 100", (3, 100)),
        ("how many, at most 20", (None, 20)),
        ("not to exceed 31,536,000 seconds", (None, 31_536_000)),
        ("at least 18", (18, None)),
        ("stars out of 5", (None, 5)),
        # Controls: nothing here bounds the value.
        ("The maximum number of rows", (None, None)),
        ("rounded up to 2 decimal places", (None, None)),
        ("a code of 2 to 4 digits", (None, None)),
        ("ISO 3166-1, since 2020-01-15", (None, None)),
        ("exceeding 5 starts an alarm", (None, None)),
        ("from 5 to 1", (None, None)),
        ("", (None, None)),
    ],
)
def test_bounds_in_words_are_read(description: str, bounds: tuple[float | None, float | None]) -> None:
    assert described_bounds(description) == bounds


@pytest.mark.parametrize(
    ("description", "examples"),
    [
        ("Year of birth, e.g. 1985", [1985]),
        ("the id. For example, 1 represents cleaning, 2 for ironing", [1, 2]),
        ("income (e.g., 50,000 USD or 75,000 USD)", [50_000, 75_000]),
        ("Valid values are 15, 120 or 300.", [15, 120, 300]),
        ("E.g. if 11 is given, those that close at 11", []),
        ("the rate, e.g. abc", []),
    ],
)
def test_examples_of_numbers_are_read(description: str, examples: list[float]) -> None:
    assert described_examples_of_numbers(description) == examples


@pytest.mark.parametrize(
    ("name", "kind", "description", "low", "high"),
    [
        ("m", "integer", "month between 1 and 12", 1, 12),
        ("p", "number", "Probability, between 0 and 1", 0, 1),
        ("perPage", "integer", "entries within the range of 3 to 100", 3, 100),
        ("latitude", "number", "", -90, 90),
        ("from_lng", "number", "where it starts", -180, 180),
        ("x", "number", "The longitude value of a point", -180, 180),
        ("born", "integer", "Year of birth, e.g. 1985", 1985, 1985),
        ("born", "integer", "Year of birth", 1990, 2026),
        ("hour", "integer", "", 0, 23),
        ("age", "integer", "", 1, 90),
        ("stars", "number", "Least number of stars", 1, 5),
        ("level", "integer", "The level in percent", 0, 100),
        ("share", "number", "how much, in %", 0, 100),
        ("room_temperature", "number", "", -10, 40),
    ],
)
def test_a_number_is_as_its_words_or_its_name_say(name: str, kind: str, description: str, low: int, high: int) -> None:
    values = numbers(name, kind, description=description)
    assert all(low <= value <= high for value in values), values
    neutral = numbers("amount", kind, description="the amount")
    assert not all(low <= value <= high for value in neutral)  # control


def test_what_is_counted_is_whole_and_other_numbers_are_whole_half_of_the_time() -> None:
    assert all(isinstance(value, int) for value in numbers("guests", "number"))
    assert any(isinstance(value, float) for value in numbers("guests", "number", multipleOf=0.5)), "control: a step"
    for name, low, high in (("length", 1, 50), ("temperature", -10, 40)):
        values = numbers(name, "number", minimum=low, maximum=high)
        assert {type(value) for value in values} == {int, float}
    narrow = numbers("share", "number", minimum=0, maximum=1)
    assert sum(isinstance(value, float) for value in narrow) > 0.8 * len(narrow), "control: a narrow range"


def test_the_bounds_of_the_schema_go_before_words_and_names() -> None:
    assert set(numbers("x", "integer", description="between 1 and 12", minimum=20, maximum=20)) == {20}
    assert all(value >= 20 for value in numbers("x", "integer", description="between 1 and 12", minimum=20))
    assert all(20 <= value <= 30 for value in numbers("x", "integer", description="at most 30", minimum=20))
    assert all(value >= 100 for value in numbers("latitude", "number", minimum=100))
    assert set(numbers("x", "integer", description="e.g. 5 or 50", minimum=20)) == {50}


def test_a_rounded_number_stays_within_its_bounds() -> None:
    assert all(0.001 <= value <= 0.005 for value in numbers("x", "number", minimum=0.001, maximum=0.005))
    assert 0.0 in [round(value, 2) for value in numbers("x", "number", minimum=0.001, maximum=0.005)]  # control


@pytest.mark.parametrize(("low", "high"), [(0, 1), (0, 1e-9), (5, 100), (-1, 0)])
def test_exclusive_bounds_lie_outside(low: float, high: float) -> None:
    values = numbers("x", "number", exclusiveMinimum=low, exclusiveMaximum=high)
    assert all(low < value < high for value in values), values
    assert low in numbers("x", "number", minimum=low, maximum=low)  # control


def test_whole_numbers_and_steps_between_exclusive_bounds() -> None:
    assert set(numbers("x", "integer", exclusiveMinimum=0, exclusiveMaximum=2)) == {1}
    assert set(numbers("x", "integer", exclusiveMinimum=0.5, maximum=1.5)) == {1}
    assert set(numbers("x", "integer", multipleOf=2.5, minimum=1, maximum=9)) == {5}
    assert set(numbers("x", "number", multipleOf=0.1, exclusiveMinimum=0.1, exclusiveMaximum=0.3)) == {0.2}
    assert all(value < 1 for value in numbers("x", "number", exclusiveMaximum=1))


@pytest.mark.parametrize(
    "schema",
    [
        {"minimum": 3, "maximum": 2},
        {"multipleOf": 10, "minimum": 1, "maximum": 9},
        {"exclusiveMinimum": 1, "exclusiveMaximum": 2},
    ],
)
def test_bounds_that_no_number_meets_give_no_value(schema: dict[str, Any]) -> None:
    with pytest.raises(NoValueError, match="x has bounds that no number meets"):
        numbers("x", "integer", **schema)
