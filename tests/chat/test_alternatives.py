"""Annotations of a composed schema: they reach its plain alternatives where they are wanted, and the outer ones win."""

from __future__ import annotations

from typing import Any

import pytest

from ttsi.chat.alternatives import alternatives

ROOT = {
    "$defs": {
        "day": {"type": "string", "format": "date", "description": "a day"},
        "size": {"type": "integer", "multipleOf": 10, "minimum": 10},
        "code": {"type": "string", "examples": ["JFK", "LHR"], "default": "JFK"},
    }
}


@pytest.mark.parametrize(
    ("schema", "plain"),
    [
        ({"$ref": "#/$defs/day"}, {"type": "string", "format": "date", "description": "a day"}),
        ({"$ref": "#/$defs/day", "description": "the first"}, {"format": "date", "description": "the first"}),
        ({"anyOf": [{"$ref": "#/$defs/code"}, {"type": "null"}]}, {"examples": ["JFK", "LHR"], "default": "JFK"}),
        ({"allOf": [{"$ref": "#/$defs/size"}], "description": "how big"}, {"multipleOf": 10, "description": "how big"}),
        ({"allOf": [{"$ref": "#/$defs/size"}, {"multipleOf": 4}]}, {"multipleOf": 20}),
        ({"allOf": [{"uniqueItems": True}, {"uniqueItems": False}]}, {"uniqueItems": True}),
        ({"format": "email", "oneOf": [{"type": "string", "format": "uri"}]}, {"format": "email"}),
    ],
)
def test_annotations_reach_the_alternatives(schema: dict[str, Any], plain: dict[str, Any]) -> None:
    first = alternatives(schema, ROOT, described=True)[0]
    assert {key: first.get(key) for key in plain} == plain
    without = alternatives(schema, ROOT)[0]  # control: the grammars see none
    assert not without.keys() & {"description", "format", "examples", "default", "multipleOf", "uniqueItems"}
