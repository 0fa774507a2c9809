"""Training pools: read whole, by name, and never with a row of the test."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.benchmarks.places import DATA, needs
from tests.worlds import TOOLS, row, tool, write
from ttsi.benchmarks import load as load_benchmark
from ttsi.benchmarks import training_pools
from ttsi.chat.tool_schema import normalise
from ttsi.errors import ConfigError, DataError
from ttsi.types import Message, ToolCall

TESTS = ("sealtool", "seal-tools-in", "seal-tools-out", "bfcl", "toolworld")
SEARCH = {
    "apiCode": "ToolSearcher",
    "description": "Searches.",
    "parameters": {"keywords": {"type": "str", "description": "What for."}},
    "response": {},
}


def api_bank(tmp_path: Path, dialogue: list[str], output: str) -> Path:
    text = "\n".join([json.dumps(SEARCH), *dialogue, "Generate API Request: "])
    path = tmp_path / "api-bank" / "training-data" / "lv3-api-train.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps([{"instruction": "", "input": text, "output": output}]))
    return tmp_path


def test_a_step_of_api_bank_becomes_a_sample(tmp_path: Path) -> None:
    searched = (
        "{'name': 'Pools', 'description': 'Shows a city's pools.', 'input_parameters': {'city': {'type': 'str', "
        "'description': 'The city.'}, 'n': {'type': int, 'description': \"How many of the city's.\"}}, "
        "'output_parameters': {'pool': {'type': 'str', 'description': 'The pool.'}}}"
    )
    dialogue = [
        "User: Find a pool.TIME: 2030-01-01 10:00:00",
        f"API-Request: [ToolSearcher(keywords='pool')]->{searched}",
    ]
    data = api_bank(tmp_path, dialogue, "API-Request: [Pools(city='St. John's', n='2')]")
    [sample] = training_pools.load("api-bank-l3", data).samples
    assert sample.input.messages == (
        Message("user", "Find a pool.TIME: 2030-01-01 10:00:00"),
        Message("assistant", "", (ToolCall("ToolSearcher", {"keywords": "pool"}),)),
        Message("tool", searched),
    )
    assert [tool.name for tool in sample.input.tools] == ["ToolSearcher", "Pools"]
    assert sample.input.tools[1].description == "Shows a city's pools."
    assert sample.input.tools[1].parameters["properties"] == {
        "city": {"type": "string", "description": "The city."},
        "n": {"type": "integer", "description": "How many of the city's."},
    }
    assert sample.gold == (ToolCall("Pools", {"city": "St. John's", "n": "2"}),)
    assert dict(sample.tags) == {"kind": "call", "solvable": "yes"}


def test_a_call_without_brackets_is_read_and_an_unknown_line_is_not(tmp_path: Path) -> None:
    data = api_bank(tmp_path, ["User: Where?", "AI: Here."], "API-Request: Pools(city=New York)")
    [sample] = training_pools.load("api-bank-l3", data).samples
    assert sample.gold == (ToolCall("Pools", {"city": "New York"}),)
    assert sample.input.messages[-1] == Message("user", "Generate API Request:")
    assert sample.tags["solvable"] == "no"
    with pytest.raises(DataError, match=r"row 1: .*a line of an unknown kind"):
        training_pools.load("api-bank-l3", api_bank(tmp_path, ["Somebody: hello"], "API-Request: [Pools()]"))
    with pytest.raises(DataError, match=r"row 1: .*a call that cannot be read"):
        training_pools.load("api-bank-l3", api_bank(tmp_path, ["User: hello"], "I do not know"))


def test_a_row_of_toolrl_becomes_a_sample(tmp_path: Path) -> None:
    day = {"day": {"description": "The day.", "type": "str, optional", "default": "today"}}
    at = {"at": {"description": "Where.", "type": "List[float]", "default": ""}}
    made = {
        "instruction": "Hello.\n**Available Tools**\nIn your response:\n"
        f"1. Name: pool hours\nDescription: When it is open.\nAnd how long.\nParameters: {json.dumps(day)}\n"
        f"2. Name: near\nDescription: What is near.\nParameters: {json.dumps(at)}\n\n"
        "**Steps for Each Turn**\n1. Name: x",
        "input": "**Dialogue Records History**\n<user> Open? </user>\n<think> hm </think>\n<tool_call>\n"
        '{"name": "pool hours", "parameters": {}}\n</tool_call>\n<obs> yes </obs>\n<response> It is. </response>\n'
        "<user> And what is near? </user>",
        "output": '<think> ok </think>\n<tool_call>\n{"name": "near", "parameters": {"at": [1.5]}}\n'
        '{"name": "pool hours", "parameters": {}}\n</tool_call>',
    }
    path = tmp_path / "toolrl-sft400" / "rlla_sft.json"
    path.parent.mkdir()
    path.write_text(json.dumps([made]))
    [sample] = training_pools.load("toolrl-400", tmp_path).samples
    assert [message.role for message in sample.input.messages] == ["user", "assistant", "tool", "assistant", "user"]
    assert sample.input.messages[2].content == "yes"
    assert [(tool.name, tool.description) for tool in sample.input.tools] == [
        ("pool hours", "When it is open.\nAnd how long."),
        ("near", "What is near."),
    ]
    assert sample.input.tools[0].parameters["properties"]["day"]["default"] == "today"
    assert sample.input.tools[1].parameters["properties"]["at"] == {
        "type": "array", "items": {"type": "number"}, "description": "Where.",
    }  # fmt: skip
    assert sample.gold == (ToolCall("near", {"at": [1.5]}), ToolCall("pool hours", {}))
    path.write_text(json.dumps([{**made, "instruction": "no tools"}]))
    with pytest.raises(DataError, match=r"row 1: .*no tools or no dialogue"):
        training_pools.load("toolrl-400", tmp_path)


def test_a_pool_of_ones_own_needs_gold(tmp_path: Path) -> None:
    lines: list[dict[str, Any]] = [row("Is the weather fine in Oslo", "get_weather")]
    path = write(tmp_path / "mine.jsonl", lines)
    assert len(training_pools.load(str(path)).samples) == 1
    del lines[0]["gold"]
    write(path, lines)
    with pytest.raises(DataError, match="without gold"):
        training_pools.load(str(path))
    with pytest.raises(ConfigError, match="did you mean 'seal-tools-dev'"):
        training_pools.load("sealtools-dev", tmp_path)
    with pytest.raises(DataError, match="ttsi data get toolrl-sft400"):
        training_pools.load("toolrl-400", tmp_path)


def test_control_a_shared_request_is_seen_whatever_its_marks(tmp_path: Path) -> None:
    test = load_benchmark(str(write(tmp_path / "test.jsonl", [row("Is the weather fine in Oslo", "get_weather")])))
    other = write(tmp_path / "other.jsonl", [row("Is the weather fine in Lima", "get_weather")])
    same = write(
        tmp_path / "same.jsonl", [row("is the weather  fine: in OSLO.TIME: 2030-01-01", "get_weather", id="x")]
    )
    assert training_pools.load(str(other), test=test).samples
    with pytest.raises(DataError, match=r"same\.jsonl asks in 1 of 1 row what the test test asks \('x'\): train on"):
        training_pools.load(str(same), test=test)


OTHER_TOOLS = [tool("find_song", "Find a song of a city")]


def shared(test: list[dict[str, Any]], pool: list[dict[str, Any]], folder: Path) -> int:
    """How many rows of a pool are in a test."""
    files = [load_benchmark(str(write(folder / f"{name}.jsonl", lines))) for name, lines in (("t", test), ("p", pool))]
    return len(training_pools.contaminated_ids(files[1], files[0]))


def chat(*texts: str, tools: list[dict[str, Any]] = TOOLS, **more: Any) -> dict[str, Any]:
    """A row whose user and assistant speak in turn."""
    roles = ("user", "assistant")
    messages = [{"role": roles[place % 2], "content": text} for place, text in enumerate(texts)]
    return {"messages": messages, "tools": tools, **more}


SHORT = [
    "weather in Oslo",
    "奥斯陆天气",
    "オスロの天気は",
    "오슬로 날씨",
    "อากาศที่ออสโล",
    "ओस्लो का मौसम",
    "2+3",
    "👍",
]


@pytest.mark.parametrize("request_", SHORT)
def test_an_equal_conversation_is_in_the_test_however_short_and_in_any_script(request_: str, tmp_path: Path) -> None:
    assert shared([chat(request_)], [chat(request_)], tmp_path) == 1
    assert shared([chat(request_)], [chat(f" {request_.upper()}?\n")], tmp_path) == 1
    assert shared([chat(request_)], [chat(request_, tools=TOOLS[:2])], tmp_path) == 1, "a tool less"
    # Controls: another request, another conversation, other tools.
    for other in (other for other in SHORT if other != request_):
        assert shared([chat(request_)], [chat(other)], tmp_path) == 0
    assert shared([chat("hi", "How can I help?", request_)], [chat("hi", "Yes?", request_)], tmp_path) == 0
    assert shared([chat(request_, tools=TOOLS[:1])], [chat(request_, tools=TOOLS[1:])], tmp_path) == 0


LONG = [
    "请帮我预订明天去上海的机票",
    "東京から大阪までの新幹線を予約して",
    "내일 부산 날씨 알려줘",
    "อากาศที่ออสโลวันนี้เป็นอย่างไรบ้าง",
    "कल दिल्ली का मौसम कैसा रहेगा",
    "is the weather fine in Oslo",
]


@pytest.mark.parametrize("request_", LONG)
def test_a_request_of_some_length_is_in_the_test_wherever_it_is_made(request_: str, tmp_path: Path) -> None:
    assert shared([chat(request_)], [chat("hi", "Yes?", request_, tools=OTHER_TOOLS)], tmp_path) == 1
    assert shared([chat(request_)], [chat("hi", "Yes?", f"「{request_}」", tools=OTHER_TOOLS)], tmp_path) == 1
    assert shared([chat(request_)], [chat("hi", "Yes?", request_[:-1], tools=OTHER_TOOLS)], tmp_path) == 0, "control"


def test_a_request_behind_an_answer_in_both_is_the_same_with_a_tool_in_common_only(tmp_path: Path) -> None:
    event = chat("add a walk on monday", "Done.", "on second thought, cancel it")
    seat = chat("book me the train to Oslo", "Done.", "on second thought, cancel it", tools=OTHER_TOOLS)
    assert shared([event], [seat], tmp_path) == 0
    # Controls: with a tool in common, and where one of the two is asked out of nothing.
    assert shared([event], [{**seat, "tools": OTHER_TOOLS + TOOLS[:1]}], tmp_path) == 1
    alone = chat("on second thought, cancel it", tools=OTHER_TOOLS)
    assert shared([event], [alone], tmp_path) == shared([alone], [event], tmp_path) == 1


def test_the_turns_of_the_validation_simulators_are_not_in_the_test() -> None:
    pool, test = load_benchmark("toolworld-turns-validation"), load_benchmark("toolworld-turns")
    training_pools.check_separate(pool, test, "pool")
    with pytest.raises(DataError, match="holds the very data"):
        training_pools.check_separate(test, test, "pool")


POLITE = [
    "Yes, please.",
    "好的。谢谢",
    "はい、よろしくお願いします",
    "ありがとうございます",
    "네, 부탁드립니다",
    "ขอบคุณครับ",
    "जी हाँ, कृपया",
]


@pytest.mark.parametrize("reply", POLITE)
def test_a_short_reply_in_two_conversations_shares_nothing(reply: str, tmp_path: Path) -> None:
    flight, hotel = chat("fly to Oslo", "Book it?", reply), chat("hotel in Rome", "Book it?", reply)
    assert shared([flight], [hotel], tmp_path) == 0
    assert shared([flight], [flight], tmp_path) == 1, "control"


def test_words_that_differ_in_vowel_signs_or_in_a_mark_are_others(tmp_path: Path) -> None:
    assert shared([chat("कल का दिन कैसा है")], [chat("कल का दान कैसा है", tools=OTHER_TOOLS)], tmp_path) == 0
    assert shared([chat("7-3")], [chat("7+3")], tmp_path) == 0


def test_calls_are_part_of_a_conversation(tmp_path: Path) -> None:
    def asked(city: str) -> dict[str, Any]:
        call = {"type": "function", "function": {"name": "get_weather", "arguments": json.dumps({"city": city})}}
        messages = [
            {"role": "user", "content": "and there?"},
            {"role": "assistant", "content": "", "tool_calls": [{"id": "1", **call}]},
            {"role": "tool", "content": "rain", "tool_call_id": "1"},
        ]
        return {"messages": messages, "tools": TOOLS}

    assert shared([asked("Oslo")], [asked("Oslo")], tmp_path) == 1
    assert shared([asked("Oslo")], [asked("Rome")], tmp_path) == 0


def test_the_file_of_the_test_is_named_as_such_under_any_name(tmp_path: Path) -> None:
    lines = [row("雨吗 Oslo", "get_weather")]
    test = load_benchmark(str(write(tmp_path / "test.jsonl", lines)))
    copy = write(tmp_path / "copy.jsonl", lines)
    with pytest.raises(DataError, match=r"copy\.jsonl holds the very data of the test test: train on other rows"):
        training_pools.load(str(copy), test=test)
    other = write(tmp_path / "other.jsonl", [row("晴吗 Oslo", "get_weather")])
    assert training_pools.load(str(other), test=test).samples, "control"


@needs("seal-tools")
@pytest.mark.parametrize(
    ("name", "rows", "calls"), [("seal-tools-dev", 636, 1740), ("api-bank-l3", 907, 907), ("toolrl-400", 400, 576)]
)
def test_every_row_becomes_a_sample_and_none_is_in_a_test(name: str, rows: int, calls: int) -> None:
    pool = training_pools.load(name, DATA)
    assert len({sample.input.id for sample in pool.samples}) == len(pool.samples) == rows
    assert sum(len(sample.gold or ()) for sample in pool.samples) == calls
    for sample in pool.samples:
        assert sample.input.messages[-1].role in ("user", "tool")
        for offered in sample.input.tools:
            normalise(offered.parameters)
    for test in TESTS:
        assert training_pools.contaminated_ids(pool, load_benchmark(test, DATA)) == (), test
    # Control: the tuning data of Seal-Tools are seen to be in its own pool.
    if name == "seal-tools-dev":
        assert len(training_pools.contaminated_ids(pool, load_benchmark("sealtool-dev", DATA))) >= 135
