"""Is the world sound, are its splits kept apart, and are the frozen files what it makes?"""

from __future__ import annotations

import gzip
import json
import random
from collections.abc import Iterable
from dataclasses import replace
from functools import cache
from itertools import combinations
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolworld import conversations, freeze, world
from toolworld.corpus import request_hash
from toolworld.domains import all_domains, problems
from toolworld.lexicon import Words
from toolworld.styles import FRAMES, SKELETONS, held_out_way, trained_way, writing_way
from ttsi.chat.marked import LONGEST_QUOTE, MARKS, content_words, parse_calls, quote, render, suffixes
from ttsi.chat.tool_schema import problem, tool_from_openai
from ttsi.types import Tool, ToolCall

SPLITS = ("validation", "test")


@cache
def frozen(split: str) -> list[dict[str, Any]]:
    """The rows of a frozen file."""
    with gzip.open(freeze.path(split), "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def test_every_domain_is_sound() -> None:
    domains = all_domains()
    assert len(domains) >= 40
    assert [line for domain in domains.values() for line in problems(domain)] == []
    names = [tool.name for domain in domains.values() for tool in domain.tools]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize(
    "damage",
    [
        {"name": "OrderFood"},
        {"does": "order"},
        {"short": "order {kilos}"},
        {"asks": ("order",)},
        {"asks": ("order {nothing} of food",) * 6},
        {"asks": ("order {kilos} kg for my {animal} by {brand}",) * 6},
        {"asks": ("order {kilos} kg for my {animal} [",) * 6},
    ],
    ids=lambda damage: next(iter(damage)),
)
def test_control_a_damaged_domain_is_seen(damage: dict[str, Any]) -> None:
    pets = all_domains()["pets"]
    index = next(i for i, tool in enumerate(pets.tools) if tool.name == "order_pet_food")
    tools = list(pets.tools)
    tools[index] = replace(tools[index], **damage)
    assert problems(replace(pets, tools=tuple(tools)))


def test_the_splits_are_disjoint_and_exist() -> None:
    held_out = world.HELD_OUT
    assert len(set(held_out)) == len(held_out)
    assert set(held_out) <= set(all_domains())
    trained = {domain.name for domain in world.training_domains()}
    assert trained == set(all_domains()) - set(held_out)


def test_ways_of_asking_are_disjoint() -> None:
    for table in (FRAMES, SKELETONS):
        assert len({way for ways in table.values() for way in ways}) == sum(len(set(ways)) for ways in table.values())
    rng = random.Random(0)
    trained = {trained_way(rng).frame for _ in range(300)}
    held_out = {w.frame for split in SPLITS for _ in range(300) if (w := held_out_way(split, rng)).skeleton is None}  # type: ignore[arg-type]
    assert not trained & held_out
    never = {frame for split in SPLITS for frame in FRAMES[f"{split}-never"]}
    assert not never & {writing_way(rng).frame for _ in range(2000)}
    assert never & held_out, "the control: those frames are drawn where they may be"


@pytest.mark.parametrize(
    ("source", "allowed"),
    [
        ("invented", {"invented"}),
        ("training", {domain.name for domain in world.training_domains()}),
        ("validation", {*world.VALIDATION_REVERSE, *world.VALIDATION_NEVER}),
        ("test", {*world.TEST_REVERSE, *world.TEST_NEVER}),
        ("reverse", {*world.VALIDATION_REVERSE, *world.TEST_REVERSE}),
    ],
)
def test_a_scene_holds_its_split_and_nothing_else(source: world.SceneSource, allowed: set[str]) -> None:
    scenes = [world.draw_scene(source, random.Random(number)) for number in range(700)]
    shown = {offer.domain for scene in scenes for offer in (*scene.offers, *scene.absent)}
    assert shown == allowed
    assert all(1 <= len(scene.offers) <= 8 for scene in scenes)
    for scene in scenes:
        names = [tool.name for tool in scene.tools]
        assert len(set(names)) == len(names)


@pytest.mark.parametrize("kind", conversations.KINDS)
@pytest.mark.parametrize("source", ["invented", "training", "test"])
def test_what_is_asked_for_is_a_legal_call_of_an_offered_tool(kind: str, source: world.SceneSource) -> None:
    asked_for = 0
    for number in range(60):
        rng = random.Random(f"{kind}/{number}")
        scene = world.draw_scene(source, rng)
        asked = conversations.draw(kind, scene, trained_way(rng), rng)
        if asked is None:
            continue
        asked_for += 1
        assert [line for call in asked.calls if (line := problem(call, scene.tools))] == []
        assert asked.messages[-1].role == "user"
        assert len(asked.calls) == {"no-tool": 0, "two-calls": 2}.get(kind, 1)
        assert not any(mark in message.content for message in asked.messages for mark in MARKS)
    assert asked_for > 10


def test_control_a_spoilt_call_is_not_legal() -> None:
    rng = random.Random(0)
    scene = world.draw_scene("test", rng)
    [call] = world.draw_exchange(scene.offers[0], trained_way(rng), rng).calls
    assert problem(call, scene.tools) is None
    assert problem(replace(call, name="made_up"), scene.tools)
    assert problem(replace(call, arguments={**call.arguments, "made_up": 1}), scene.tools)


@pytest.mark.parametrize("split", SPLITS)
def test_the_frozen_file_is_what_the_world_makes(split: Any) -> None:
    text = freeze.text(split)
    assert text.count("\n") == freeze.SIZES[split]
    assert text.encode() == gzip.decompress(freeze.path(split).read_bytes())


def test_control_another_seed_makes_another_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(freeze.SEEDS, "test", 13)
    monkeypatch.setitem(freeze.SIZES, "test", 20)
    assert list(freeze.rows("test")) != frozen("test")[:20]


def test_the_frozen_files_share_no_request_and_every_one_is_banned() -> None:
    said = {split: {row["messages"][-1]["content"].lower() for row in frozen(split)} for split in SPLITS}
    assert not said["validation"] & said["test"]
    banned = freeze.banned_hashes()
    every = [m["content"] for split in SPLITS for row in frozen(split) for m in row["messages"] if m["role"] == "user"]
    assert {request_hash(text) for text in every} == banned
    assert request_hash(f"  {every[0].upper()} ") in banned
    assert request_hash(f"{every[0]} again") not in banned


def tools_of(row: dict[str, Any]) -> tuple[Tool, ...]:
    return tuple(tool_from_openai(tool) for tool in row["tools"])


def gold_of(row: dict[str, Any]) -> tuple[ToolCall, ...]:
    return tuple(ToolCall(call["name"], call["arguments"]) for call in row["gold"])


def test_every_gold_of_the_test_file_is_written_and_read_back() -> None:
    """With its reasons and without: a model that says exactly this must be counted right."""
    for row in frozen("test"):
        tools, gold = tools_of(row), gold_of(row)
        by_name = {tool.name: tool for tool in tools}
        reasons = [quote(by_name[call.name], row["messages"][-1]["content"], tools) for call in gold]
        assert parse_calls(render(gold, reasons), tools) == gold
        assert parse_calls(render(gold), tools) == gold
        assert [line for call in gold if (line := problem(call, tools))] == []


def test_control_a_call_that_was_cut_is_not_read_back() -> None:
    row = next(row for row in frozen("test") if row["gold"] and row["gold"][0]["arguments"])
    with pytest.raises(ValueError, match="at its end"):
        parse_calls(render(gold_of(row)).rstrip("<|,>"), tools_of(row))


WORDS = st.sampled_from("get the weather forecast of a city find an hotel near book me some rain in it".split())
LINES = st.lists(WORDS, min_size=1, max_size=8).map(" ".join)


@given(LINES, LINES, st.lists(LINES, max_size=3))
def test_a_quote_is_the_end_of_the_tools_own_line(line: str, request: str, others: list[str]) -> None:
    tool = Tool("mine", line, {})
    said = quote(tool, request, [tool, *(Tool(f"other{i}", other, {}) for i, other in enumerate(others))])
    assert said in suffixes(line)
    assert line.endswith(said.strip())
    common = set(content_words(line)) & set(content_words(request))
    if common:
        assert content_words(said)[0] in common
    elif content_words(line):
        assert content_words(said) == content_words(line)[-1:]


def test_a_quote_begins_with_the_word_that_fewest_others_share() -> None:
    mine = Tool("mine", "get the weather forecast of a city", {})
    other = Tool("other", "get the weather of the past", {})
    assert quote(mine, "weather forecast", [mine, other]) == " forecast of a city"
    assert quote(mine, "weather forecast", [mine]) == " forecast of a city", "the later one among equals"
    assert quote(mine, "weather today", [mine, other]) == " weather forecast of a city"
    assert quote(mine, "umbrella", [mine, other]) == " city"
    assert quote(Tool("mine", "", {}), "umbrella") == ""


def test_a_long_line_is_quoted_from_its_last_words_only() -> None:
    """A page of documentation as a description must not cost the square of its length."""
    line = " ".join(f"word{i}" for i in range(1000))
    assert [content_words(said)[0] for said in suffixes(line)] == [
        f"word{i}" for i in range(1000 - LONGEST_QUOTE, 1000)
    ]
    assert quote(Tool("mine", line, {}), "word3 word990") == " " + line[line.index("word990") :]
    assert quote(Tool("mine", line, {}), "word3") == " word999"


def test_control_every_suffix_begins_with_a_content_word() -> None:
    assert suffixes("get the weather of a city") == (" get the weather of a city", " weather of a city", " city")
    assert suffixes("of the") == ("",)


def lines(tools: Iterable[Tool]) -> list[tuple[str, ...]]:
    return [tuple(content_words(tool.description)) for tool in tools]


def near_misses(source: Words) -> int:
    """How many of 600 invented scenes hold two tools whose lines agree in all words but one, out of three or more."""
    found = 0
    for number in range(600):
        shown = lines(world.draw_scene("invented", random.Random(number), source).tools)
        pairs = [(a, b) for a, b in combinations(shown, 2) if len(a) == len(b) > 2 and a != b]
        found += any(sum(x != y for x, y in zip(a, b, strict=True)) == 1 for a, b in pairs)
    return found


def test_invented_tools_have_near_misses_in_training() -> None:
    assert near_misses(world.training_words()) > 60
    assert near_misses(replace(world.training_words(), siblings=0.0)) == 0, "control: chance makes none"


def speaks_of_its_line(kind: str) -> list[bool]:
    """Of requests to invented tools: does one use a word of its tool's line that is none of what it gives?"""
    found = []
    for number in range(400):
        rng = random.Random(number)
        shown = world.draw_scene("invented", rng, replace(world.training_words(), paraphrased=0.0))
        asked = conversations.draw(kind, shown, trained_way(rng), rng)
        if asked is None:
            continue
        [call] = asked.calls
        mine = next(tool for tool in shown.tools if tool.name == call.name)
        given = content_words(
            " ".join(f"{key} {json.dumps(value)}" for key, value in call.arguments.items()).replace("_", " ")
        )
        usual = [
            word for way in (*FRAMES["trained"], *(s.text for s in SKELETONS["trained"])) for word in content_words(way)
        ]
        found.append(bool(set(content_words(asked.request)) & set(content_words(mine.description)) - {*given, *usual}))
    return found


def test_a_wordless_request_says_nothing_of_its_tools_line() -> None:
    found = speaks_of_its_line("wordless")
    assert len(found) > 40 and not any(found)
    assert all(speaks_of_its_line("single")), "control: others do"


def test_a_wordless_request_has_keys_that_only_its_tool_has() -> None:
    rng = random.Random(0)
    none = 0
    for _ in range(300):
        shown = world.draw_scene("training", rng)
        asked = conversations.draw("wordless", shown, trained_way(rng), rng)
        none += asked is None
        for call in () if asked is None else asked.calls:
            others = [tool for tool in shown.tools if tool.name != call.name]
            keys = {key for tool in others for key in tool.parameters["properties"]}
            assert call.arguments and not set(call.arguments) & keys
    assert none, "control: where keys are shared, there is none"
