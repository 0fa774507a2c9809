"""Do examples from an input itself have other values throughout, the same in request and call?"""

from __future__ import annotations

import random

import pytest

from dev.control_values import other_value, own_value_examples, replace_values
from ttsi.chat.grounding import StatedValues, unstated_arguments
from ttsi.config import SynthesisConfig
from ttsi.synthesis.schema_values import NoValueError
from ttsi.types import Answer, Example, Input, Message, Tool, ToolCall

K = 3
FILTERS = SynthesisConfig(k=K)

FLIGHT = Tool(
    "book",
    "Book a flight",
    {
        "type": "object",
        "properties": {
            "city": {"type": "string"},
            "day": {"type": "string"},
            "seats": {"type": "integer"},
            "class": {"type": "string", "enum": ["first", "second"]},
            "stops": {"type": "array", "items": {"type": "string"}},
            "note": {"type": "string"},
        },
        "required": ["city"],
    },
)
REQUEST = "Book 2 seats to New York on 2024-05-01, in first class, by Rome; New York it is."
BOOKING = {"city": "New York", "day": "2024-05-01", "seats": 2, "class": "first", "stops": ["Rome"], "note": "quickly"}


def own_values(arguments: dict[str, object], request: str = REQUEST, error: str | None = None) -> list[Example]:
    item = Input("1", (Message("user", request),), (FLIGHT,))
    answer = Answer("", (ToolCall("book", arguments),), error)
    return [e for e in own_value_examples(item, answer, FILTERS, seed=7) if e.refused is None]


def test_own_values_are_replaced_in_request_and_call_alike() -> None:
    examples = own_values(BOOKING)
    assert len(examples) == K and len({e.query for e in examples}) == K
    for example in examples:
        (call,) = example.calls
        assert call.arguments.keys() == BOOKING.keys() - {"note"}, "what is not stated is not learned"
        assert not unstated_arguments(call, [FLIGHT], StatedValues.of(example.query))
        assert not any(old in example.query for old in ("New York", "2024-05-01", "first", "Rome"))
        assert not any(call.arguments[name] == BOOKING[name] for name in call.arguments)
        assert example.query.count(str(call.arguments["city"])) == 2
        year, month, day = map(int, str(call.arguments["day"]).split("-"))
        assert year >= 2020 and 1 <= month <= 12 and 1 <= day <= 28
        assert call.arguments["class"] == "second" and isinstance(call.arguments["seats"], int)


def test_control_own_values_need_a_grounded_call() -> None:
    assert own_values({"city": "Boston"}) == [], "a required value that the request does not state"
    assert own_values(BOOKING, error="not JSON") == []
    assert own_values({"city": "New York"}, "New York and new york") != []
    assert own_values({}, "Book a flight") == [], "nothing to replace: the example would be the input itself"


def test_values_with_no_other_value_of_their_type_are_refused() -> None:
    with pytest.raises(NoValueError, match="unit has no other value"):
        other_value("unit", "C", {"enum": ["C"]}, {}, random.Random(0))
    assert other_value("unit", "C", {"enum": ["C", "F"]}, {}, random.Random(0)) == "F"


def test_a_schema_with_one_other_example_gives_several_values() -> None:
    schema = {"type": "string", "description": "the place (e.g. Maldives, Galapagos)"}
    values = {other_value("location", "Maldives", schema, {}, random.Random(seed)) for seed in range(40)}
    assert "Galapagos" in values and "Maldives" not in values and len(values) > K


def test_a_new_value_is_not_replaced_again() -> None:
    pairs = {"rome": ("Rome", "Oslo"), "oslo": ("Oslo", "Lima"), "rome oslo": ("Rome Oslo", "Quito")}
    assert replace_values("Rome, Oslo or Rome", pairs) == "Quito or Oslo"
