"""Do the nouns keep their promises: frozen, without gold, the same content the same hash?"""

from __future__ import annotations

from dataclasses import FrozenInstanceError, fields, is_dataclass, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ttsi import types
from ttsi.types import (
    Input,
    Message,
    Tool,
    ToolCall,
    answered_calls,
    last_request,
    stage_seed,
    to_openai,
)

TOOL = Tool("get_weather", "the weather", {"type": "object", "properties": {"city": {"type": "string"}}})
ITEM = Input("a", (Message("system", "be brief"), Message("user", "rain in Oslo?")), (TOOL,))
NOUNS = [noun for noun in vars(types).values() if is_dataclass(noun) and isinstance(noun, type)]


def test_an_input_has_no_place_for_gold() -> None:
    assert [field.name for field in fields(Input)] == ["id", "messages", "tools"]
    assert [field.name for field in fields(Message)] == ["role", "content", "tool_calls", "tool_call_id"]
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
    assert replace(ITEM, id="b").content_hash == ITEM.content_hash
    assert len(ITEM.content_hash) == 64


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
    assert other.content_hash != ITEM.content_hash


def test_the_order_of_schema_keys_does_not_matter() -> None:
    turned = replace(TOOL, parameters=dict(reversed(list(TOOL.parameters.items()))))
    assert replace(ITEM, tools=(turned,)).content_hash == ITEM.content_hash


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


def talk(*results: tuple[str, str], ids: tuple[str, str] = ("c1", "c2")) -> Input:
    """Two calls at once, and results as (id, text)."""
    both = (ToolCall("get_time", {"city": "Oslo"}, ids[0]), ToolCall("get_weather", {"city": "Oslo"}, ids[1]))
    answers = [Message("tool", text, tool_call_id=name) for name, text in results]
    return Input("a", (Message("user", "time and weather?"), Message("assistant", "", both), *answers), (TOOL,))


def test_ids_that_say_what_the_order_says_change_nothing() -> None:
    plain = talk(("", "12:00"), ("", "rain"), ids=("", ""))
    before_ids = "bd2795b24ed912e055b29fdf39ebba639d50d0509305b5e7c5e980cceeba14ed"  # of 0.1.0
    assert plain.content_hash == before_ids
    assert talk(("c1", "12:00"), ("c2", "rain")).content_hash == before_ids
    assert talk(("x", "12:00"), ("y", "rain"), ids=("x", "y")).content_hash == before_ids
    assert talk(("c1", "12:00"), ("c2", "rain")) == plain


def test_which_call_a_result_answers_is_part_of_the_question() -> None:
    second = talk(("c2", "rain"))
    assert second.content_hash == talk(("y", "rain"), ids=("x", "y")).content_hash
    assert second.content_hash != talk(("c1", "rain")).content_hash
    assert talk(("c1", "rain")).content_hash == talk(("", "rain"), ids=("", "")).content_hash


@pytest.mark.parametrize(
    ("item", "answers"),
    [
        (talk(("", "a"), ("", "b"), ids=("", "")), [0, 1]),
        (talk(("c2", "a"), ("c1", "b")), [1, 0]),
        (talk(("c2", "a"), ("", "b")), [1, 0]),
        (talk(("other", "a")), [None]),
        (talk(("other", "a"), ids=("", "")), [0]),
        (talk(("c1", "a"), ("c1", "b")), [0, None]),
        (talk(("same", "a"), ("same", "b"), ids=("same", "same")), [0, 1]),
        (talk(("", "a"), ("", "b"), ("", "c"), ids=("", "")), [0, 1, None]),
    ],
)
def test_a_result_answers_the_call_of_its_id_or_the_oldest_that_waits(item: Input, answers: list[int | None]) -> None:
    assert answered_calls(item.messages)[2:] == answers


def test_a_late_result_and_an_id_that_comes_again_find_their_calls() -> None:
    def made(name: str) -> Message:
        return Message("assistant", "", (ToolCall("get_weather", {}, name),))

    def result(name: str) -> Message:
        return Message("tool", "rain", tool_call_id=name)

    late = (made("c1"), Message("user", "and?"), made("c2"), result("c1"), result("c2"))
    assert answered_calls(late) == [None, None, None, 0, 1]
    assert answered_calls(late, by_id=False) == [None, None, None, 1, None], "the control: by order it is another's"
    assert answered_calls((made("c"), result("c"), made("c"), result("c"))) == [None, 0, None, 1]
