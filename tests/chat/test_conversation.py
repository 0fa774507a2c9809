"""Conversations in the forms of OpenAI's clients: read, or refused with one line."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ttsi.chat.conversation import ROLES, read_call, read_messages, read_tool, read_tools
from ttsi.chat.templates import openai_turns
from ttsi.errors import DataError
from ttsi.types import Message, ToolCall

USER = {"role": "user", "content": "time and weather?"}


def call_row(name: str, function: str = "f", arguments: Any = "{}", **more: Any) -> dict[str, Any]:
    return {"id": name, "type": "function", "function": {"name": function, "arguments": arguments}, **more}


def turn_with(*calls: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": None, "tool_calls": list(calls), **more}


def result(name: str, text: str) -> dict[str, Any]:
    return {"role": "tool", "tool_call_id": name, "content": text}


TIME, WEATHER = ("get_time", "12:00"), ("get_weather", "rain")
BOTH = turn_with(call_row("c1", "get_time"), call_row("c2", "get_weather"))
PAIRED: dict[str, tuple[list[Any], list[tuple[str, str]]]] = {
    "in order": ([BOTH, result("c1", "12:00"), result("c2", "rain")], [TIME, WEATHER]),
    "out of order": ([BOTH, result("c2", "rain"), result("c1", "12:00")], [TIME, WEATHER]),
    "only the second": ([BOTH, result("c2", "rain"), USER], [WEATHER]),
    "the first after a word of the user": ([BOTH, result("c2", "rain"), USER, result("c1", "12:00")], [WEATHER, TIME]),
    "a late result of an earlier round": (
        [
            turn_with(call_row("c1", "get_time")),
            USER,
            turn_with(call_row("c2", "get_weather")),
            result("c1", "12:00"),
            result("c2", "rain"),
        ],
        [TIME, WEATHER],
    ),
    "an id that comes again in the next round": (
        [
            turn_with(call_row("call_0", "get_time")),
            result("call_0", "12:00"),
            turn_with(call_row("call_0", "get_weather")),
            result("call_0", "rain"),
        ],
        [TIME, WEATHER],
    ),
    "calls without ids": (
        [turn_with({"name": "get_time"}, {"name": "get_weather"}), result("a", "12:00"), result("b", "rain")],
        [TIME, WEATHER],
    ),
    "results without ids": (
        [BOTH, {"role": "tool", "content": "12:00"}, {"role": "tool", "content": "rain"}],
        [TIME, WEATHER],
    ),
}


@pytest.mark.parametrize("name", PAIRED)
def test_a_result_stays_with_the_call_that_it_answers(name: str) -> None:
    rows, pairs = PAIRED[name]
    turns = openai_turns(read_messages([USER, *rows]))
    assert [(turn["name"], turn["content"]) for turn in turns if turn["role"] == "tool"] == pairs
    ids = [call["id"] for turn in turns for call in turn.get("tool_calls", ())]
    assert len(set(ids)) == len(ids) and all(len(name) == 9 and name.isalnum() for name in ids)


def test_control_by_order_alone_the_result_of_the_second_is_the_firsts() -> None:
    bare = [Message(m.role, m.content, tuple(ToolCall(c.name, {}) for c in m.tool_calls)) for m in _only_second()]
    assert [turn["name"] for turn in openai_turns(bare) if turn["role"] == "tool"] == ["get_time"]


def _only_second() -> tuple[Message, ...]:
    return read_messages([USER, *PAIRED["only the second"][0]])


NO_CALL, AGAIN = "its tool_call_id names no earlier call", "the call named by its tool_call_id has a result already"


@pytest.mark.parametrize(
    ("rows", "line"),
    [
        ([BOTH, result("other", "?"), result("c2", "rain")], f"messages[1]: {NO_CALL}"),
        ([BOTH, result("c1", "a"), result("c1", "b")], f"messages[2]: {AGAIN}"),
        ([result("c1", "a")], f"messages[0]: {NO_CALL}"),
        ([result("c1", "a"), BOTH, result("c2", "b")], f"messages[0]: {NO_CALL}"),
        ([BOTH, {**result("c1", "a"), "tool_call_id": 7}], "messages[1]: tool_call_id is a number; write a string"),
    ],
)
def test_a_result_that_answers_nothing_is_refused(rows: list[Any], line: str) -> None:
    with pytest.raises(DataError) as caught:
        read_messages(rows)
    assert str(caught.value) == line


TAKEN: dict[str, tuple[dict[str, Any], str, set[str]]] = {
    "parse(): parsed": ({"role": "assistant", "content": "x", "parsed": None}, "x", set()),
    "parse(): an object": ({"role": "assistant", "content": "x", "parsed": {"a": 1}}, "x", {"messages.parsed"}),
    "a refusal": ({"role": "assistant", "content": None, "refusal": "no"}, "no", set()),
    "a part of type refusal": ({"role": "assistant", "content": [{"type": "refusal", "refusal": "no"}]}, "no", set()),
    "null everywhere": (
        {
            "role": "assistant",
            "content": "x",
            "refusal": None,
            "audio": None,
            "function_call": None,
            "tool_calls": None,
        },
        "x",
        set(),
    ),
    "annotations": ({"role": "assistant", "content": "x", "annotations": []}, "x", set()),
    "thoughts": ({"role": "assistant", "content": "x", "reasoning_content": "y"}, "x", {"messages.reasoning_content"}),
    "a name": ({"role": "user", "content": "x", "name": "ann"}, "x", {"messages.name"}),
    "cache_control": (
        {"role": "user", "content": [{"type": "text", "text": "a", "cache_control": {"type": "ephemeral"}}]},
        "a",
        {"messages.content.cache_control"},
    ),
    "nothing said and nothing called": ({"role": "assistant", "content": None}, "", set()),
}


@pytest.mark.parametrize("name", TAKEN)
def test_messages_are_taken_as_clients_return_them(name: str) -> None:
    row, text, ignored = TAKEN[name]
    unread: set[str] = set()
    assert read_messages([row, USER], unread)[0].content == text
    assert unread == ignored


def parts(*texts: str, kind: str = "text") -> list[dict[str, str]]:
    return [{"type": kind, kind: text} for text in texts]


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (parts("will it rain", "in Oslo?"), "will it rain\nin Oslo?"),
        (parts("no", "never", kind="refusal"), "no\nnever"),
        (parts("will it rain"), "will it rain"),
        (parts(), ""),
        ("will it rain", "will it rain"),
    ],
    ids=["parts", "refusals", "control: one part", "control: no part", "control: a string"],
)
def test_parts_are_lines_of_their_own(content: Any, text: str) -> None:
    row = {"role": "assistant", "content": content}
    assert read_messages([row, USER])[0].content == text


@pytest.mark.parametrize("role", ["system", "user", "tool"])
def test_a_template_writes_parts_as_it_writes_their_lines(role: str) -> None:
    def turns(content: Any) -> list[dict[str, Any]]:
        row = {"role": role, "content": content}
        return openai_turns(read_messages([turn_with(call_row("c")), row, USER]))

    as_parts, glued = parts("will it rain", "in Oslo?"), "will it rainin Oslo?"
    assert turns(as_parts) == turns("will it rain\nin Oslo?")
    assert turns(as_parts) != turns(glued), "the control"


def test_calls_are_taken_as_clients_return_them() -> None:
    unread: set[str] = set()
    streamed = call_row("c", arguments='{"a": 1}', index=0)
    streamed["function"]["parsed_arguments"] = {"a": 1}
    assert read_call(streamed, unread) == ToolCall("f", {"a": 1})
    assert unread == {"messages.tool_calls.index", "messages.tool_calls.function.parsed_arguments"}
    assert read_call(streamed).id == "c"


@pytest.mark.parametrize("arguments", ["null", "", " ", "{}", None, {}])
def test_no_arguments_in_every_spelling(arguments: Any) -> None:
    assert read_call(call_row("c", arguments=arguments)).arguments == {}


@pytest.mark.parametrize("key", ["args", "parameters", "params", "input", "inputs", "kwargs", "argument", "argumnets"])
def test_arguments_under_another_name_are_not_taken_for_none(key: str) -> None:
    line = f'the call has "{key}" and no "arguments": rename it'
    for value in ({"room": "garage"}, '{"room": "garage"}'):
        bare = {"name": "f", key: value}
        for row in (bare, {"type": "function", "function": bare}, {"function": {"name": "f"}, key: value}):
            with pytest.raises(DataError) as caught:
                read_call(row)
            assert str(caught.value) == line
        assert read_call({**bare, "arguments": {"a": 1}}).arguments == {"a": 1}, "control: the arguments are there"
    for other in ({key: {}}, {"index": 0}, {"extra_content": {"google": 1}}):
        assert read_call({"name": "f", **other}).arguments == {}, "control: a call without arguments"


@pytest.mark.parametrize("broken", ['{"city": "Os', "city=Oslo", '{"a": NaN}', '{"a": 1, "a": 2}'])
def test_an_earlier_call_that_was_broken_is_refused_with_a_way_on(broken: str) -> None:
    """A retry loop keeps what the model wrote; most templates take an object and nothing else."""
    said = {"role": "assistant", "content": "I try again."}

    def loop(*calls: dict[str, Any]) -> list[dict[str, Any]]:
        return [USER, turn_with(*calls), *(result(call["id"], "error: bad json") for call in calls)]

    with pytest.raises(DataError) as caught:
        read_messages(loop(call_row("c1"), call_row("c2", arguments=broken)))
    way = "leave out this call and its result, or send {} as its arguments"
    assert str(caught.value) == f"messages[1]: tool_calls[1]: arguments are not JSON: {way}"
    for mended in ([USER, said, USER], loop(call_row("c1")), loop(call_row("c1"), call_row("c2", arguments="{}"))):
        assert read_messages(mended), "the control: both ways on are open"
    with pytest.raises(DataError, match=r"^arguments are not JSON$"):
        read_call(call_row("gold", arguments=broken))  # the control: no result to leave out


def test_arguments_beside_the_function_are_not_dropped() -> None:
    with pytest.raises(DataError, match='has "arguments" beside "function": move them into it'):
        read_call({"function": {"name": "f"}, "arguments": {"a": 1}})
    unread: set[str] = set()
    row = {"function": {"name": "f", "arguments": {"a": 1}}, "arguments": {"a": 2}, "name": "g"}
    assert read_call(row, unread) == ToolCall("f", {"a": 1})
    assert unread == {"messages.tool_calls.arguments", "messages.tool_calls.name"}


@pytest.mark.parametrize(
    "arguments", ["[]", "7", "{", "NaN", '{"a": NaN}', '{"a": 1, "a": 2}', "[" * 100_000, [1], True]
)
def test_control_other_arguments_are_refused(arguments: Any) -> None:
    with pytest.raises(DataError, match="arguments"):
        read_call(call_row("c", arguments=arguments))


@pytest.mark.parametrize(
    ("part", "word"),
    [
        ({"type": "image_url", "image_url": {"url": "x"}}, "images are not supported"),
        ({"type": "input_audio", "input_audio": {}}, "audio is not supported"),
        ({"type": "file", "file": {}}, "files are not supported"),
        ({"type": "thing"}, "this type of part is not supported"),
        ({"type": []}, "this type of part is not supported"),
        ({"type": "text", "text": None}, "only text is supported"),
        ("text", "a part is a string; write an object"),
    ],
)
def test_what_is_no_text_is_refused_in_words(part: Any, word: str) -> None:
    with pytest.raises(DataError, match=word):
        read_messages([{"role": "user", "content": [part]}])


def test_every_role_of_openai_has_one_of_ours() -> None:
    rows = [{"role": role, "content": "x"} for role in ROLES]
    assert {message.role for message in read_messages([*rows, USER])} == {"system", "user", "assistant", "tool"}


def test_a_tool_without_parameters_takes_no_arguments_unless_its_schema_stands_elsewhere() -> None:
    nothing = {"type": "object", "properties": {}}
    for row in ({"name": "f"}, {"type": "function", "function": {"name": "f", "parameters": None}}):
        assert read_tool(row).parameters == nothing
    for key in ("input_schema", "inputSchema", "args", "schema"):
        with pytest.raises(DataError, match=f"has {key} and no parameters"):
            read_tool({"name": "f", key: {"a": {"type": "string"}}})


def test_tools_are_a_list_or_an_object_with_one() -> None:
    assert read_tools({"tools": [{"name": "f"}]}) == read_tools([{"name": "f"}])
    with pytest.raises(DataError, match="tools is an object; write a list"):
        read_tools({"name": "f"})
    unread: set[str] = set()
    odd = {"type": "function", "x": 1, "function": {"name": "f", "strict": True, "y": 2}}
    read_tools([odd], unread)
    assert unread == {"tools.x", "tools.function.y"}


KEYS = ["role", "content", "tool_calls", "id", "type", "function", "name", "arguments", "text"]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=4),
    max_leaves=12,
)


@given(st.lists(st.dictionaries(st.sampled_from(["role", "content", "tool_calls", "tool_call_id", "refusal"]), JSON)))
def test_whatever_stands_there_is_read_or_one_line(rows: list[Any]) -> None:
    try:
        messages = read_messages([*rows, USER])
    except DataError as error:
        assert "\n" not in str(error)
    else:
        json.dumps(openai_turns(messages))
