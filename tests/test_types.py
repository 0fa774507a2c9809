"""Do the nouns keep their promises: frozen, without gold, the same content the same hash?"""

from __future__ import annotations

from dataclasses import FrozenInstanceError, fields, is_dataclass, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ttsi import types
from ttsi.types import Input, Message, Tool, ToolCall, input_hash, last_request, stage_seed, to_openai

TOOL = Tool("get_weather", "the weather", {"type": "object", "properties": {"city": {"type": "string"}}})
ITEM = Input("a", (Message("system", "be brief"), Message("user", "rain in Oslo?")), (TOOL,))
NOUNS = [noun for noun in vars(types).values() if is_dataclass(noun) and isinstance(noun, type)]


def test_an_input_has_no_place_for_gold() -> None:
    assert [field.name for field in fields(Input)] == ["id", "messages", "tools"]
    assert [field.name for field in fields(Message)] == ["role", "content", "tool_calls"]
    assert [field.name for field in fields(Tool)] == ["name", "description", "parameters"]
    with pytest.raises(TypeError, match="gold"):
        Input("a", (), (), gold=())  # type: ignore[call-arg]


def test_gold_lives_beside_the_input_not_in_it() -> None:
    from ttsi.benchmarks import Sample

    assert "gold" in {field.name for field in fields(Sample)}, "the control: the name that is looked for exists"
    assert not any("gold" in field.name for noun in NOUNS for field in fields(noun))


@pytest.mark.parametrize("noun", NOUNS, ids=lambda noun: noun.__name__)
def test_every_noun_is_frozen(noun: type) -> None:
    assert noun.__dataclass_params__.frozen  # type: ignore[attr-defined]


def test_control_a_frozen_noun_cannot_be_changed() -> None:
    with pytest.raises(FrozenInstanceError):
        ITEM.id = "b"  # type: ignore[misc]


def test_the_same_question_is_the_same_hash_whatever_its_id() -> None:
    assert input_hash(replace(ITEM, id="b")) == input_hash(ITEM)
    assert len(input_hash(ITEM)) == 64


@pytest.mark.parametrize(
    "other",
    [
        replace(ITEM, messages=ITEM.messages[1:]),
        replace(ITEM, messages=(ITEM.messages[0], Message("user", "rain in oslo?"))),
        replace(ITEM, messages=(*ITEM.messages, Message("assistant", "", (ToolCall("get_weather", {}),)))),
        replace(ITEM, tools=()),
        replace(ITEM, tools=(replace(TOOL, description="the rain"),)),
        replace(ITEM, tools=(replace(TOOL, parameters={"type": "object", "properties": {}}),)),
    ],
)
def test_control_another_question_is_another_hash(other: Input) -> None:
    assert input_hash(other) != input_hash(ITEM)


def test_the_order_of_schema_keys_does_not_matter() -> None:
    turned = replace(TOOL, parameters=dict(reversed(list(TOOL.parameters.items()))))
    assert input_hash(replace(ITEM, tools=(turned,))) == input_hash(ITEM)


@given(st.integers(0, 2**31), st.text(min_size=1), st.integers(0, 9), st.sampled_from(["synthesis", "adaptation"]))
def test_a_stage_seed_depends_on_what_it_is_for_and_on_nothing_else(
    seed: int, content: str, repeat: int, stage: str
) -> None:
    mine = stage_seed(seed, content, repeat, stage)
    assert 0 <= mine < 2**63
    assert mine == stage_seed(seed, content, repeat, stage)
    others = [
        stage_seed(seed + 1, content, repeat, stage),
        stage_seed(seed, content + "x", repeat, stage),
        stage_seed(seed, content, repeat + 1, stage),
        stage_seed(seed, content, repeat, stage + "x"),
    ]
    assert len({mine, *others}) == 5


def test_a_tool_in_openais_form() -> None:
    function = {"name": TOOL.name, "description": TOOL.description, "parameters": dict(TOOL.parameters)}
    assert to_openai(TOOL) == {"type": "function", "function": function}


def test_the_last_request_is_the_users() -> None:
    talk = (Message("user", "first"), Message("user", "second"), Message("assistant", "", ()), Message("tool", "ok"))
    assert last_request(Input("a", talk, ())) == "second"
    assert last_request(Input("a", (Message("system", "be brief"),), ())) == ""
