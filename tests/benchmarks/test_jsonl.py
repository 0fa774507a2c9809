"""A file of one's own: what is read, and the one line for each thing that can be wrong with it."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

import ttsi
from tests.worlds import TOOLS, row, write
from ttsi.benchmarks import jsonl
from ttsi.benchmarks import load as load_benchmark
from ttsi.chat.templates import openai_turns
from ttsi.errors import DataError
from ttsi.types import Message, ToolCall

GOOD = row("Is the weather fine in Oslo", "get_weather")
USER = {"role": "user", "content": "hello"}
CALL = {"role": "assistant", "content": None, "tool_calls": [{"id": "c", "function": {"name": "f", "arguments": ""}}]}


def test_every_field_is_read(tmp_path: Path) -> None:
    spoken = [
        {"role": "system", "content": "be brief"},
        {"role": "user", "content": [{"type": "text", "text": "weather"}, {"type": "text", "text": "?"}]},
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [{"id": "c", "type": "function", "function": {"name": "f", "arguments": '{"city": "Oslo"}'}}],
        },
        {"role": "tool", "tool_call_id": "c", "content": "rain"},
    ]
    lines = [
        {"messages": spoken, "tools": TOOLS, "gold": [], "id": "a", "tags": {"level": 3}},
        {"messages": [USER], "tools": TOOLS},
        {**GOOD, "id": 7},
    ]
    read = jsonl.load(write(tmp_path / "mine.jsonl", lines))
    first, second, third = read.samples
    assert read.name == "mine"
    assert [sample.input.id for sample in read.samples] == ["a", "2", "7"]
    assert first.input.messages[1:] == (
        Message("user", "weather\n?"),
        Message("assistant", "", (ToolCall("f", {"city": "Oslo"}),)),
        Message("tool", "rain"),
    )
    assert (first.gold, first.tags) == ((), {"level": "3"})
    assert second.gold is None
    assert third.gold == (ToolCall("get_weather", {"city": "Oslo"}),)
    assert [tool.name for tool in third.input.tools] == ["book_flight", "get_weather", "find_hotel"]


def test_blank_lines_bom_and_separators_inside_strings_are_fine(tmp_path: Path) -> None:
    path = tmp_path / "mine.jsonl"
    text = json.dumps({**GOOD, "messages": [{"role": "user", "content": "a\u2028b"}]}, ensure_ascii=False)
    path.write_bytes(b"\xef\xbb\xbf" + f"\n{text}\r\n\n".encode())
    [sample] = jsonl.load(path).samples
    assert sample.input.messages[0].content == "a\u2028b"
    assert sample.input.id == "2"


def test_the_checksum_is_of_the_content_not_of_the_packing(tmp_path: Path) -> None:
    plain = write(tmp_path / "mine.jsonl", [GOOD])
    packed = tmp_path / "mine.jsonl.gz"
    packed.write_bytes(gzip.compress(plain.read_bytes()))
    other = write(tmp_path / "other.jsonl", [GOOD, GOOD])
    assert load_benchmark(str(packed)).checksum == load_benchmark(str(plain)).checksum
    assert load_benchmark(str(other)).checksum != load_benchmark(str(plain)).checksum


def test_equal_inputs_are_allowed_and_equal_ids_are_not(tmp_path: Path) -> None:
    assert len(jsonl.load(write(tmp_path / "a.jsonl", [GOOD, GOOD])).samples) == 2
    with pytest.raises(DataError, match=r"b\.jsonl:3: id 'x' was used in line 1"):
        jsonl.load(write(tmp_path / "b.jsonl", [{**GOOD, "id": "x"}, GOOD, {**GOOD, "id": "x"}]))


def test_null_is_no_id_and_no_tags(tmp_path: Path) -> None:
    lines = [{**GOOD, "id": None, "tags": None, "gold": None}] * 2  # as pandas writes what is missing
    first, second = jsonl.load(write(tmp_path / "a.jsonl", lines)).samples
    assert ([first.input.id, second.input.id], first.tags, first.gold) == (["1", "2"], {}, None)
    with pytest.raises(DataError, match=r"b\.jsonl:2: id 'None' was used in line 1"):  # control: the word is an id
        jsonl.load(write(tmp_path / "b.jsonl", [{**GOOD, "id": "None"}] * 2))


@pytest.mark.parametrize(
    ("ids", "expected"),
    [
        (["2", None, None], ["2", "line-2", "3"]),
        ([None, 1, None], ["line-1", "1", "3"]),
        ([None, "1", "line-1"], ["line-line-1", "1", "line-1"]),
        ([None, None, "x"], ["1", "2", "x"]),  # control: without a clash a line goes by its number
        ([None, "2", None], ["1", "2", "3"]),
    ],
)
def test_a_line_without_an_id_gets_one_that_no_line_has(tmp_path: Path, ids: list[Any], expected: list[str]) -> None:
    lines = [{**GOOD, "id": one} if one is not None else GOOD for one in ids]
    assert [sample.input.id for sample in jsonl.load(write(tmp_path / "a.jsonl", lines)).samples] == expected


def test_a_slip_is_named_by_the_line_of_an_input_without_an_id(tmp_path: Path) -> None:
    slip = {**GOOD, "gold": [{"name": "no_such_tool", "arguments": {}}]}
    path = write(tmp_path / "a.jsonl", [{**GOOD, "id": "2"}, slip])
    assert "(line 2 calls 'no_such_tool')" in jsonl.load(path).notice


BAD: list[tuple[Any, str]] = [
    ([1], "the line is a list; write an object"),
    ({**GOOD, "golds": []}, "unknown key 'golds'; did you mean 'gold'"),
    ({"tools": TOOLS}, "messages is missing"),
    ({**GOOD, "messages": []}, "must end with a user's turn"),
    ({**GOOD, "messages": [USER, {"role": "assistant", "content": "hi"}]}, "must end with a user's turn"),
    ({"messages": [USER, CALL], "tools": TOOLS}, "a recorded answer: if it is right, move its calls to gold"),
    ({**GOOD, "messages": [USER, CALL]}, "an answer: drop the last message"),
    ({"messages": [USER], "tools": TOOLS, "tool_calls": CALL["tool_calls"]}, 'if it is right, rename it to "gold"'),
    (
        {**GOOD, "messages": [{"role": "human", "content": "x"}]},
        r"messages\[0\]: role is unknown; use one of system, developer, user",
    ),
    ({**GOOD, "messages": [{"role": "user"}]}, "content is missing"),
    ({**GOOD, "messages": [{"role": "user", "content": [{"image": 1}]}]}, "only text is supported"),
    ({**GOOD, "messages": [{**USER, "tool_calls": [{"name": "f"}]}]}, "only the assistant calls tools"),
    ({"messages": [USER]}, "tools is missing"),
    ({**GOOD, "tools": []}, "tools is empty"),
    ({**GOOD, "tools": [TOOLS[0], TOOLS[0]]}, "'book_flight' is listed twice"),
    ({**GOOD, "tools": [{"name": "f", "input_schema": {"type": "object"}}]}, "has input_schema and no parameters"),
    ({**GOOD, "tools": [{"name": "f", "parameters": [1]}]}, "parameters is a list; write a JSON Schema"),
    ({**GOOD, "tools": [{"type": "web_search"}]}, "only tools of type function"),
    ({**GOOD, "tools": "f"}, "tools is a string; write a list"),
    ({**GOOD, "messages": "hello"}, "messages is a string; write a list"),
    ({**GOOD, "messages": [{**USER, "content": 3}]}, "content is a number; write a string"),
    ({**GOOD, "messages": [{"role": "function", "name": "f", "content": "4"}]}, "OpenAI's old form"),
    (
        {**GOOD, "messages": [USER, CALL, {"role": "tool", "tool_call_id": "x", "content": "4"}]},
        "names no earlier call",
    ),
    ({**GOOD, "tools": [{"type": "function"}]}, r"tools\[0\]: a tool needs a name"),
    ({**GOOD, "tools": ["f"]}, r"tools\[0\]"),
    ({**GOOD, "gold": {"name": "f"}}, "gold is an object; write a list"),
    ({**GOOD, "gold": [{"arguments": {}}]}, r"gold\[0\]: a call's name is missing"),
    ({**GOOD, "gold": [{"name": "f", "arguments": "{oops"}]}, "not JSON"),
    ({**GOOD, "gold": [{"name": "f", "arguments": [1]}]}, "arguments is a list"),
    (
        {**GOOD, "gold": [{"name": "f", "args": {"x": 1}}]},
        r'gold\[0\]: the call has "args" and no "arguments": rename it',
    ),
    (
        {**GOOD, "gold": [{"name": "f", "arguments": {}, "server": "home"}]},
        r"gold\[0\]: unknown key of a call 'server'; choose one of: arguments, function, id, name, type",
    ),
    ({**GOOD, "gold": [{"name": "f", "arguments": {}, "args": {"x": 1}}]}, "unknown key of a call 'args'; did you"),
    ({**GOOD, "gold": [{"function": {"name": "f", "arguments": {}}, "name": "g"}]}, 'has "name" beside "function"'),
    ({**GOOD, "tags": ["a"]}, "tags is a list"),
    ({**GOOD, "messages": [{**USER, "content": "half \ud83d"}]}, "half a character"),
    ({**GOOD, "tools": [{"name": "f", "description": "\udca9"}]}, "half a character"),
    ({**GOOD, "tags": {"\ud83d": "a"}}, "half a character"),
    ({**GOOD, "gold": [{"name": "f", "arguments": '{"x": "\\ud83d"}'}]}, "half a character"),
]


def test_gold_is_taken_as_clients_return_calls(tmp_path: Path) -> None:
    """The control of "unknown key of a call"."""
    function = {"name": "f", "arguments": '{"x": 1}', "parsed_arguments": {"x": 1}}
    lines = [{**GOOD, "gold": [{"id": "c", "type": "function", "index": 0, "function": function}]}]
    [sample] = jsonl.load(write(tmp_path / "mine.jsonl", lines)).samples
    assert sample.gold == (ToolCall("f", {"x": 1}),)


def test_a_recorded_answer_is_gold_once_its_calls_are_moved(tmp_path: Path) -> None:
    """The control of "a recorded answer": docs/start.md says how to move them; calls in the middle are a history."""
    page = (Path(__file__).parents[2] / "docs" / "start.md").read_text("utf-8")
    code = next(block for block in page.split("```") if block.startswith("python\ndef with_gold("))
    names: dict[str, Any] = {}
    exec(code.removeprefix("python\n"), names)
    moved = names["with_gold"]({"messages": [USER, CALL], "tools": TOOLS, "model": "gpt-5-mini"})
    history = {"messages": [USER, CALL, {"role": "tool", "tool_call_id": "c", "content": "4"}], "tools": TOOLS}
    first, second = jsonl.load(write(tmp_path / "mine.jsonl", [moved, history])).samples
    assert first.gold == (ToolCall("f", {}),)
    assert second.gold is None


def test_both_halves_of_a_character_are_one(tmp_path: Path) -> None:
    """The control of "half a character": JSON may spell an emoji as two escapes."""
    line = json.dumps({**GOOD, "messages": [{"role": "user", "content": "\U0001f4a9"}]})
    assert "\\ud83d\\udca9" in line
    (tmp_path / "mine.jsonl").write_text(line)
    [sample] = jsonl.load(tmp_path / "mine.jsonl").samples
    assert sample.input.messages[0].content == "\U0001f4a9"


@pytest.mark.parametrize(("line", "message"), BAD)
def test_a_bad_line_is_named_with_its_number(tmp_path: Path, line: Any, message: str) -> None:
    path = write(tmp_path / "mine.jsonl", [GOOD, line])
    with pytest.raises(DataError, match=rf"^mine\.jsonl:2: .*{message}") as caught:
        jsonl.load(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("given", [{}, {"id": 7}, {"id": None, "gold": [], "tags": {"level": 3}}])
def test_a_dictionary_is_read_as_the_line_of_a_file_is(tmp_path: Path, given: dict[str, Any]) -> None:
    line = {"messages": GOOD["messages"], "tools": TOOLS, **given}
    [sample] = jsonl.load(write(tmp_path / "mine.jsonl", [{**line, "id": given.get("id") or "mine"}])).samples
    item = ttsi.read_input(line, id="mine")
    assert item == sample.input and item.content_hash == sample.input.content_hash
    assert item.id == ("7" if given.get("id") else "mine")
    assert ttsi.read_input({**line, "id": None}).id == "input"
    [episode] = ttsi.improve([item], ttsi.load_model("scripted:demo"))
    assert episode.error is None and episode.base is not None


def test_control_what_differs_in_a_dictionary_differs_in_the_input() -> None:
    assert ttsi.read_input({**GOOD, "messages": [USER]}).content_hash != ttsi.read_input(GOOD).content_hash


@pytest.mark.parametrize(
    ("line", "message"),
    [
        *((line, message) for line, message in BAD if line != [1]),
        ([1], "the input is a list; write an object like"),
        ("hello", "the input is a string; write an object like"),
        (None, "the input is missing; write an object like"),
        ({**GOOD, "model": "gpt-5-mini"}, "unknown key 'model'"),
        ({**GOOD, "tools": [{"name": "f", "parameters": {"enum": {1}}}]}, "not JSON .Object of type set"),
        ({**GOOD, "messages": [{**USER, "content": float("nan")}]}, "not JSON .Out of range float"),
        ({**GOOD, "messages": (USER,)}, "messages is a tuple; write a list"),
    ],
)
def test_a_bad_dictionary_is_refused_in_one_line(line: Any, message: str) -> None:
    with pytest.raises(DataError, match=message) as caught:
        ttsi.read_input(line)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "is empty"),
        (b"\n\n", "is empty"),
        (b"{oops\n", r"mine\.jsonl:1: not JSON"),
        (b'{"id": NaN}\n', r"mine\.jsonl:1: NaN is not JSON"),
        (b'{"tags": {"level": 1e999}}\n', r"mine\.jsonl:1: not JSON \(Out of range float"),
        (b'{"id": ' + b"9" * 5000 + b"}", r"mine\.jsonl:1: .*4300 digits.*; write a shorter number"),
        (b"[" * 100_000, r"mine\.jsonl:1: nested too deeply"),
        (
            b'\n{"messages": [], "messages": []}\n',
            r"mine\.jsonl:2: the key 'messages' stands twice in an object; keep one",
        ),
        (b'{"tags": {"level": 1, "kind": 2, "level": 1}}\n', r"mine\.jsonl:1: the key 'level' stands twice"),
        (b"{}\n\xff\n", r"mine\.jsonl:2: not UTF-8"),
    ],
)
def test_a_file_that_is_no_text_or_no_json_is_refused(tmp_path: Path, data: bytes, message: str) -> None:
    path = tmp_path / "mine.jsonl"
    path.write_bytes(data)
    with pytest.raises(DataError, match=message):
        jsonl.load(path)


def test_missing_and_damaged_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="does not exist"):
        jsonl.load(tmp_path / "none.jsonl")
    damaged = tmp_path / "mine.jsonl.gz"
    damaged.write_bytes(gzip.compress(json.dumps(GOOD).encode())[:-9])
    with pytest.raises(DataError, match="cannot be read"):
        jsonl.load(damaged)


def test_openais_forms_are_taken_as_the_server_takes_them(tmp_path: Path) -> None:
    messages = [
        {"role": "developer", "content": "be brief"},
        {"role": "user", "content": [{"type": "text", "text": "hi", "cache_control": {"type": "ephemeral"}}]},
        {"role": "assistant", "content": None, "refusal": "no"},
        USER,
    ]
    bare = {"type": "function", "function": {"name": "list_tickets"}}
    [sample] = jsonl.load(write(tmp_path / "a.jsonl", [{"messages": messages, "tools": {"tools": [bare]}}])).samples
    assert [(m.role, m.content) for m in sample.input.messages] == [
        ("system", "be brief"), ("user", "hi"), ("assistant", "no"), ("user", "hello"),
    ]  # fmt: skip
    assert sample.input.tools[0].parameters == {"type": "object", "properties": {}}


def test_results_go_to_the_calls_of_their_ids(tmp_path: Path) -> None:
    def made(name: str) -> dict[str, Any]:
        return {"id": name, "type": "function", "function": {"name": name, "arguments": "{}"}}

    def named(results: list[tuple[str, str]]) -> list[tuple[str, str]]:
        both = {"role": "assistant", "content": None, "tool_calls": [made("get_time"), made("get_weather")]}
        tool = [{"role": "tool", "tool_call_id": name, "content": text} for name, text in results]
        lines = [{"messages": [USER, both, *tool, USER], "tools": TOOLS}]
        turns = openai_turns(jsonl.load(write(tmp_path / "a.jsonl", lines)).samples[0].input.messages)
        return [(turn["name"], turn["content"]) for turn in turns if turn["role"] == "tool"]

    right = [("get_time", "12:00"), ("get_weather", "rain")]
    assert named(right) == right
    assert named(right[::-1]) == right
    assert named(right[1:]) == right[1:]
    assert named([("", "12:00"), ("", "rain")]) == right, "without ids the order says it"
