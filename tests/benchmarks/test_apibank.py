"""API-Bank's two forms, on dialogues of our own about a pool."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ttsi.benchmarks import load
from ttsi.benchmarks.apibank_format import read_call
from ttsi.benchmarks.matching import grade
from ttsi.errors import ConfigError, DataError
from ttsi.types import Answer, Message, ToolCall


def api(name: str, **parameters: str) -> dict[str, Any]:
    typed = {key: {"type": kind, "description": f"The {key}."} for key, kind in parameters.items()}
    return {"name": name, "description": f"{name} does it.", "input_parameters": typed, "output_parameters": {}}


BOOK = api("BookLane", lane="int", names="list(str)")
SEARCH = api("ToolSearcher", keywords="str")
HEAD = "\nGenerate an API request ...\nThe current year is 2023.\nInput: \nUser: ...\n\nAPI descriptions:\n"


def row(dialogue: str, gold: str, apis: list[dict[str, Any]], **more: Any) -> dict[str, Any]:
    instruction = HEAD + "\n".join(json.dumps(described) for described in apis)
    return {
        "file": "Pool-level-1-1.jsonl",
        "id": 0,
        "instruction": instruction,
        "input": f"{dialogue}\nGenerate API Request:\n",
        "expected_output": f"API-Request: {gold}",
        **more,
    }


def written(folder: Path, name: str, rows: list[dict[str, Any]]) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(rows))
    return folder


def test_a_dialogue_becomes_messages(tmp_path: Path) -> None:
    dialogue = "User: Lane 2, please.\nAI: For whom?\nUser: Ann: me.\nAI: Hm.\n"
    dialogue += "API-Request: [Hours(day='Sunday')]->8 to 8\nAI: Open."
    rows = [
        row(dialogue, "[BookLane(lane='2', names='['Ann', 'Bo']')]", [BOOK]),
        row("User: Again.", "[BookLane(bath='2')]", [BOOK]),
        row("User: Again.", "[Swim()]", [BOOK]),
    ]
    benchmark = load("apibank-l1", written(tmp_path, "api-bank/test-data/level-1-api.json", rows))
    first, second, third = benchmark.samples
    assert first.input.messages == (
        Message("system", "The current year is 2023."),
        Message("user", "Lane 2, please."),
        Message("assistant", "For whom?"),
        Message("user", "Ann: me."),
        Message("assistant", "Hm.", (ToolCall("Hours", {"day": "Sunday"}),)),
        Message("tool", "8 to 8"),
        Message("assistant", "Open."),
        Message("user", "Generate API Request:"),
    )
    assert second.input.messages[-1] == Message("user", "Again.\nGenerate API Request:")
    assert first.gold == (ToolCall("BookLane", {"lane": "2", "names": "['Ann', 'Bo']"}),)
    assert first.input.tools[0].parameters["properties"] == {
        "lane": {"type": "integer", "description": "The lane."},
        "names": {"type": "array", "items": {"type": "string"}, "description": "The names."},
    }
    assert [sample.tags["solvable"] for sample in benchmark.samples] == ["yes", "no", "no"]
    assert third.gold == (ToolCall("Swim", {}),)
    # A model that follows the schema is right leniently, not strictly: the gold values are texts.
    typed = grade(Answer("", (ToolCall("BookLane", {"lane": 2, "names": ["Ann", "Bo"]}),)), first.gold, first.official)
    assert typed == {"strict": False, "lenient": True, "tool_choice": True}
    assert benchmark.matcher == "lenient"


def test_what_a_search_found_is_on_offer(tmp_path: Path) -> None:
    alone, several = str(BOOK), str([BOOK, api("Hours", day="str")])
    inside = str({"api_name": "ToolSearcher", "input": {}, "output": BOOK, "exception": None})
    search = "User: Lane 2.\nAPI-Request: [ToolSearcher(keywords='lane')]->"
    rows = [row(search + searched, "[BookLane(lane='2')]", [SEARCH]) for searched in (alone, several, inside)]
    rows.append(row("User: Lane 2.", "[ToolSearcher(keywords='lane')]", [SEARCH]))
    samples = load("apibank-l2", written(tmp_path, "api-bank/test-data/level-2-api.json", rows)).samples
    assert [[tool.name for tool in sample.input.tools] for sample in samples] == [
        ["ToolSearcher", "BookLane"],
        ["ToolSearcher", "BookLane", "Hours"],
        ["ToolSearcher", "BookLane"],
        ["ToolSearcher"],
    ]
    assert [sample.tags["kind"] for sample in samples] == ["call", "call", "call", "search"]
    assert {sample.tags["solvable"] for sample in samples} == {"yes"}


def test_level_3_names_its_first_api_in_the_input(tmp_path: Path) -> None:
    first = {
        "apiCode": "ToolSearcher",
        "description": "Searches.",
        "parameters": SEARCH["input_parameters"],
        "response": {},
    }
    plan = f"{json.dumps(first)}\nUser: Book lane 2.\nAPI-Request: [ToolSearcher(keywords='lane')]->{BOOK}"
    made = row(plan, "", [], output="API-Request: [BookLane(lane='2')]", sample_id=0, api_id=1)
    del made["expected_output"]
    [sample] = load("apibank-l3", written(tmp_path, "api-bank/test-data/level-3-batch-inf.json", [made])).samples
    assert [tool.name for tool in sample.input.tools] == ["ToolSearcher", "BookLane"]
    assert sample.gold == (ToolCall("BookLane", {"lane": "2"}),)
    assert [message.role for message in sample.input.messages] == ["system", "user", "assistant", "tool"]
    assert sample.input.messages[1].content == "Book lane 2.\nGenerate API Request:"


TOOLS = {
    "long": "1. Name: BookLane\nDescription: Books a lane: one.\n",
    "short": "1. BookLane: Books a lane: one.\n",
}
LANE = "Parameters: {'lane': {'type': 'int', 'description': 'L'}}"


def toolrl_row(answer: Any, form: str = "long") -> dict[str, Any]:
    dialogue = (
        "**Dialogue Records History**\n<user>Lane 2,\nplease.</user>\n<response> Hm. </response>\n<tool_call>\n"
        '{"name": "Hours", "parameters": {"day": "Sunday"}}\n</tool_call>\n<obs> 8 to 8 </obs>\n\n'
        "<user> Please only make one tool call.</user>\n"
    )
    system = (
        f"You ...\nyou can use the following tools:\n{TOOLS[form]}{LANE}\n\n**Steps for Each Turn**\n1. **Think:** ..."
    )
    return {"system": system, "user": dialogue, "answer": answer, "other": {}}


@pytest.mark.parametrize("form", ["long", "short"])
def test_the_toolrl_cut_is_read(tmp_path: Path, form: str) -> None:
    gold = {"name": "BookLane", "parameters": {"lane": "2"}}
    cut = {"name": "BookLane", "parameters": {"lane": "2', names="}}
    rows = [toolrl_row([gold], form), toolrl_row(gold, form), toolrl_row([cut], form)]
    folder = written(tmp_path, "api-bank-toolrl/level-2-api_processed.json", rows)
    benchmark = load("apibank-l2", folder, split="toolrl")
    first, second, third = benchmark.samples
    assert (benchmark.name, benchmark.matcher) == ("apibank-l2-toolrl", "official")
    assert first.input.messages == (
        Message("user", "Lane 2,\nplease."),
        Message("assistant", "Hm.", (ToolCall("Hours", {"day": "Sunday"}),)),
        Message("tool", "8 to 8"),
        Message("user", "Please only make one tool call."),
    )
    [tool] = first.input.tools
    assert (tool.name, tool.description) == ("BookLane", "Books a lane: one.")
    assert tool.parameters["properties"]["lane"] == {"type": "integer", "description": "L"}
    assert first.gold == second.gold == (ToolCall("BookLane", {"lane": "2"}),)
    assert [sample.tags["solvable"] for sample in benchmark.samples] == ["yes", "yes", "no"]
    assert third.official is not None
    assert third.official(third.gold)
    assert not third.official(first.gold)


def hammer_row(*turns: tuple[str, str]) -> dict[str, Any]:
    tool = {"name": "BookLane", "description": "Books.", "parameters": {"lane": {"type": "int", "description": "L"}}}
    return {
        "query": [{"role": role, "content": content} for role, content in turns],
        "tools": [{**tool, "return": {}}],
        "answers": [{"name": "BookLane", "arguments": {"lane": "2"}}],
    }


def test_the_hammer_cut_is_read(tmp_path: Path) -> None:
    call = '```[{"name": "Hours", "arguments": {"day": "Sunday"}}]```'
    dialogue = [("user", "Lane 2."), ("agent", "Hm."), ("assistant", call), ("tool", "8 to 8")]
    rows = [
        hammer_row(*dialogue, ("agent", "Open.\nGenerate API Request:")),
        hammer_row(("user", "Lane 2.\nGenerate API Request:")),
    ]
    benchmark = load("apibank-l2", written(tmp_path, "hammer-eval/apibank_l2.json", rows), split="hammer")
    first, second = benchmark.samples
    assert (benchmark.name, benchmark.matcher) == ("apibank-l2-hammer", "lenient")
    assert first.input.messages == (
        Message("user", "Lane 2."),
        Message("assistant", "Hm.", (ToolCall("Hours", {"day": "Sunday"}),)),
        Message("tool", "8 to 8"),
        Message("assistant", "Open."),
        Message("user", "Generate API Request:"),
    )
    assert second.input.messages == (Message("user", "Lane 2.\nGenerate API Request:"),)
    assert first.gold == (ToolCall("BookLane", {"lane": "2"}),)


@pytest.mark.parametrize(
    "turns",
    [
        [("user", "Generate API Request: now")],
        [("robot", "Lane 2.")],
        [("assistant", "Lane 2.")],
    ],
)
def test_nothing_of_hammer_is_dropped_silently(tmp_path: Path, turns: list[tuple[str, str]]) -> None:
    folder = written(tmp_path, "hammer-eval/apibank_l1.json", [hammer_row(*turns)])
    with pytest.raises(DataError, match=r"row 1: .*this is not Hammer's apibank_l1"):
        load("apibank-l1", folder, split="hammer")


@pytest.mark.parametrize(
    ("dialogue", "gold"),
    [
        ("User: Hi\nSomebody: Ho", "[BookLane(lane='2')]"),  # who speaks?
        ("User: Hi\nand on", "[BookLane(lane='2')]"),
        ("User: Hi\nAPI-Request: [BookLane(lane='2')]", "[BookLane(lane='2')]"),  # no result
        ("User: Hi", "BookLane(lane='2')"),
        ("User: Hi", "[BookLane(lane=2)]"),
        ("User: Hi", "[BookLane(lane='2', oops)]"),
    ],
)
def test_nothing_is_dropped_silently(tmp_path: Path, dialogue: str, gold: str) -> None:
    folder = written(tmp_path, "api-bank/test-data/level-1-api.json", [row(dialogue, gold, [BOOK])])
    with pytest.raises(DataError, match=r"row 1: .*this is not API-Bank's level-1-api"):
        load("apibank-l1", folder)


@pytest.mark.parametrize(
    ("key", "old", "new"),
    [
        ("user", "</obs>", "</obs> and more"),
        ("user", '"parameters"', '"arguments"'),
        ("system", "Parameters:", "Takes:"),
        ("system", "you can use the following tools:", "tools:"),
    ],
)
def test_nothing_of_toolrl_is_dropped_silently(tmp_path: Path, key: str, old: str, new: str) -> None:
    made = toolrl_row({"name": "BookLane", "parameters": {"lane": "2"}})
    made[key] = made[key].replace(old, new)
    folder = written(tmp_path, "api-bank-toolrl/level-1-api_processed.json", [made])
    with pytest.raises(DataError, match=r"row 1: .*this is not ToolRL's level-1"):
        load("apibank-l1", folder, split="toolrl")


def test_quotes_inside_a_value_do_not_end_it() -> None:
    text = """[Say(words='It's 5 o'clock, isn't it', to='Ann')]"""
    assert read_call(text) == {"name": "Say", "arguments": {"words": "It's 5 o'clock, isn't it", "to": "Ann"}}


def test_without_data_it_says_where_to_look(tmp_path: Path) -> None:
    for name in ("apibank-l1", "apibank-l2", "apibank-l3"):
        with pytest.raises(DataError, match="pass --data DIR"):
            load(name, tmp_path)
        with pytest.raises(DataError, match="pass --data DIR"):
            load(name, tmp_path, split="toolrl")
        with pytest.raises(ConfigError, match="unknown split of apibank"):
            load(name, tmp_path, split="dev")
    with pytest.raises(ConfigError, match="unknown split of apibank-l3 'hammer'"):
        load("apibank-l3", tmp_path, split="hammer")
