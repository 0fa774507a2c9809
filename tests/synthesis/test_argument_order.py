"""A call's start never lies after its end, where both have an order."""

from __future__ import annotations

import random
from itertools import pairwise
from typing import Any

import pytest

from ttsi.synthesis.argument_order import in_order
from ttsi.synthesis.schema_values import sample_arguments, sample_value

DAY = {"type": "string", "format": "date"}


@pytest.mark.parametrize(
    ("start", "end", "first", "last"),
    [
        ("start_date", "end_date", "2024-05-01", "2024-03-01"),
        ("dateFrom", "dateTo", "2024-05-01T10:00:00Z", "2024-05-01T09:00:00Z"),
        ("min_price", "max_price", 9, 4.5),
        ("price_minimum", "price_maximum", 9, 4),
        ("check_in", "check_out", "2024-05-01", "2024-03-01"),
        ("check-in_date", "check-out_date", "2024-05-01", "2024-03-01"),
        ("departure_date", "return_date", "2024/05/01", "2024/03/01"),
        ("from", "to", "18:30", "09:00"),
    ],
)
def test_a_start_and_an_end_are_put_in_order(start: str, end: str, first: Any, last: Any) -> None:
    assert in_order({end: last, start: first}, {}) == {end: first, start: last}
    assert in_order({start: last, end: first}, {}) == {start: last, end: first}, "they were in order"


@pytest.mark.parametrize(
    ("arguments", "schemas"),
    [
        ({"from": "Rome", "to": "Bonn"}, {}),
        ({"start_date": "2024-05-01", "end_date": "01.03.2024"}, {}),
        ({"start_date": "2024-05-01", "end_date": "2024-03-01T10:00"}, {}),
        ({"start_date": "2024-05-01", "end_time": "2024-03-01"}, {}),
        ({"min": True, "max": False}, {}),
        ({"min": 9, "max": "4"}, {}),
        ({"min": 9, "max": 4}, {"max": {"maximum": 5}}),
        ({"min": 9, "max": 4}, {"min": {"exclusiveMinimum": 4}}),
        ({"min": 9, "max": 4}, {"min": {"multipleOf": 3}}),
        ({"min": 9, "max": 4.5}, {"min": {"type": "integer"}}),
        ({"from": "18:30", "to": "09:00"}, {"to": {"enum": ["09:00"]}}),
    ],
)
def test_control_other_values_stay(arguments: dict[str, Any], schemas: dict[str, Any]) -> None:
    assert in_order(arguments, schemas) == arguments


def test_every_call_has_its_dates_in_order_and_so_has_every_object_in_it() -> None:
    window = {"type": "object", "properties": {"start": DAY, "end": DAY}}
    parameters = {**window, "required": ["start", "end"]}
    for seed in range(40):
        draw = random.Random(seed)
        for drawn_pair in (
            sample_arguments(parameters, draw, 0.0),
            sample_value("window", window, {}, draw),
            sample_value("windows", {"type": "array", "items": window}, {}, draw)[0],
        ):
            assert drawn_pair["start"] <= drawn_pair["end"]
    apart = [sample_value("start", DAY, {}, random.Random(seed)) for seed in range(40)]
    assert any(first > last for first, last in pairwise(apart))  # control
