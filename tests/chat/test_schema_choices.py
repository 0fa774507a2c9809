"""Does a schema offer exactly its own values, wherever they stand, and does a broken schema say nothing?"""

from __future__ import annotations

from typing import Any

import pytest

from ttsi.chat.schema_choices import MOST_SCHEMAS, SchemaPlace, is_among

UNIT: dict[str, Any] = {"type": "string", "enum": ["C", "F"]}
ROOT: dict[str, Any] = {"$defs": {"Unit": UNIT, "Far": {"$ref": "#/$defs/Unit"}, "Three": {"default": 3}}}


def offers(value: Any, *path: str | int, **schema: Any) -> bool:
    place = SchemaPlace.of({**ROOT, **schema})
    for key in path:
        place = place.part(key)
    return place.offers(value)


@pytest.mark.parametrize(
    ("schema", "path"),
    [
        (UNIT, ()),
        ({"const": "C"}, ()),
        ({"default": "C"}, ()),
        ({"$ref": "#/$defs/Unit"}, ()),
        ({"$ref": "#/$defs/Far"}, ()),
        ({"anyOf": [UNIT, {"type": "null"}]}, ()),
        ({"oneOf": [{"type": "null"}, {"allOf": [{"$ref": "#/$defs/Far"}]}]}, ()),
        ({"if": {"type": "string"}, "then": UNIT}, ()),
        ({"if": {"type": "number"}, "else": UNIT}, ()),
        ({"properties": {"a": UNIT}}, ("a",)),
        ({"allOf": [{"properties": {"a": {"properties": {"b": UNIT}}}}]}, ("a", "b")),
        ({"additionalProperties": UNIT}, ("any",)),
        ({"items": UNIT}, (5,)),
        ({"items": [{}, UNIT]}, (1,)),
        ({"prefixItems": [{}, UNIT]}, (1,)),
        ({"prefixItems": [{}], "items": {"properties": {"a": UNIT}}}, (7, "a")),
    ],
)
def test_the_schema_offers_its_values_wherever_they_stand(schema: dict[str, Any], path: tuple[str | int, ...]) -> None:
    assert offers("C", *path, **schema)
    assert not offers("K", *path, **schema), "the control: another value"
    assert not offers("C", *path, "elsewhere", **schema), "the control: another place"


def test_a_default_is_offered_and_not_chosen() -> None:
    place = SchemaPlace.of({**ROOT, "anyOf": [{"$ref": "#/$defs/Three"}, {"enum": [4]}]})
    assert place.offers(3) and place.offers(4)
    assert place.choices == [4] and place.defaults == [3]


def test_properties_of_options_are_not_open_to_every_value() -> None:
    always = {"properties": {"a": {}, "b": {}}, "required": ["a"]}
    perhaps = {"properties": {"c": {}}, "required": ["c"]}
    place = SchemaPlace.of({"$ref": "#/$defs/Own", "$defs": {"Own": {"allOf": [always], "anyOf": [perhaps, {}]}}})
    assert place.names == ("a", "b") and place.required == {"a"}


def test_true_is_not_one() -> None:
    assert is_among(1, [2, 1.0]) and is_among(True, [1, True])
    assert not is_among(1, [True]) and not is_among(True, [1])


@pytest.mark.parametrize(
    "schema",
    [
        True,
        False,
        None,
        7,
        "enum",
        [],
        {"enum": "C", "anyOf": {"C": 1}, "allOf": 3, "oneOf": [True, None, "C", [UNIT]], "$ref": ["#"]},
        {"properties": [UNIT], "required": [{}, 1], "items": True, "prefixItems": UNIT, "additionalProperties": "C"},
        {"$ref": "#/nowhere", "then": False, "else": [3]},
        {"$ref": "#/anyOf/" + "9" * 9000, "anyOf": [{}]},
        {"anyOf": [{"type": {}}, {"type": [["string"]]}, {"enum": {"C": 1}}]},
    ],
)
def test_a_broken_schema_says_nothing(schema: Any) -> None:
    place = SchemaPlace.of(schema)
    for inner in (place, place.part("a"), place.part(0), place.part("a").part(3).part("b")):
        assert not inner.offers("C") and inner.names == () and inner.required == frozenset()


def test_what_is_right_in_a_broken_schema_counts() -> None:
    assert offers("C", anyOf=[{"type": {}}, "C", UNIT], enum=3)


def test_references_that_come_back_end() -> None:
    own = {"$ref": "#/$defs/Node"}
    node = {"anyOf": [own, {"$ref": "#"}, {"properties": {"next": own, "unit": UNIT}}]}
    place = SchemaPlace.of({"$ref": "#/$defs/Node", "$defs": {"Node": node}})
    for _ in range(50):
        place = place.part("next")
    assert place.part("unit").offers("C") and not place.part("unit").offers("K")


def test_a_hundred_options_are_a_hundred_choices() -> None:
    countries = [{"const": f"c{number}", "title": "a country"} for number in range(100)]
    assert offers("c99", anyOf=countries) and not offers("c100", anyOf=countries)


def test_schemas_that_double_at_each_step_are_read_once() -> None:
    steps = {f"s{at}": {"anyOf": [{"$ref": f"#/$defs/s{at + 1}"}] * 2} for at in range(60)}
    place = SchemaPlace.of({"$ref": "#/$defs/s0", "$defs": {**steps, "s60": UNIT}})
    assert place.offers("C"), "2 to the power of 60 ways lead there"
    wide = {"anyOf": [{"type": "null"} for _ in range(MOST_SCHEMAS)]}
    assert not offers("C", anyOf=[wide, {"anyOf": [UNIT]}]), "behind the limit"
    assert offers("C", anyOf=[UNIT, wide]), "the control: before it"


def test_items_behind_the_prefix_share_a_place() -> None:
    place = SchemaPlace.of({"prefixItems": [{}], "items": UNIT})
    assert place.part(1) is place.part(9999) and place.part(0) is not place.part(1)
