"""Values of a state: found under keys of like name, with the right type, and nowhere else."""

from __future__ import annotations

import json

import pytest

from ttsi.synthesis.schema_examples import schema_example
from ttsi.synthesis.state_values import MOST_CHARACTERS, StateValues
from ttsi.types import Tool

RESULT = json.dumps({
    "events": [{"id": "E7", "title": "lunch", "minutes": 45}, {"id": "E9", "title": "call", "minutes": 30}],
    "note": "x" * (MOST_CHARACTERS + 1),
    "open": True,
})  # fmt: skip


@pytest.mark.parametrize(
    ("name", "kind", "values"),
    [
        ("event_id", "string", ["E7", "E9"]),  # a bare id belongs to the thing that its list is of
        ("title", "string", ["lunch", "call"]),
        ("minutes", "integer", [45, 30]),
        ("note", "string", []),  # too long for a value
        ("open", "boolean", []),
        ("city", "string", []),
        ("minutes", "string", []),
    ],
)
def test_values_stand_under_keys_of_like_name(name: str, kind: str, values: list[object]) -> None:
    assert StateValues.of([RESULT]).like(name, kind) == values


@pytest.mark.parametrize("text", ["no JSON", "[" * 100_000, "", "12", '"text"'])
def test_a_text_without_keys_has_no_values(text: str) -> None:
    assert StateValues.of([text]).leaves == ()


def test_an_example_takes_a_value_of_the_state_but_never_one_outside_an_enum() -> None:
    properties = {"event_id": {"type": "string"}, "title": {"type": "string", "enum": ["private"]}}
    tool = Tool("move", "move an event", {"type": "object", "properties": properties, "required": [*properties]})
    state = StateValues.of([RESULT])
    for seed in range(20):
        [call] = schema_example(tool, seed, state).calls
        assert call.arguments["event_id"] in ("E7", "E9")
        assert call.arguments["title"] == "private"
    invented = {schema_example(tool, seed).calls[0].arguments["event_id"] for seed in range(20)}
    assert not invented & {"E7", "E9"}
