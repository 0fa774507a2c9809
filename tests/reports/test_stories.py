"""Every story comes back from the page as it was, whatever is in it."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest

from tests.reports.records import config, four, row, run
from ttsi.reports.stories import PER_CHUNK, pack_episodes, unpack, verdict
from ttsi.types import Adaptation, Message

HOSTILE = [
    "</script><script>alert(1)</script>",
    "<!--<script>",
    "<img src=x onerror=alert(1)>",
    "{{ 7 * 7 }}{% raw %}",
    "\x00\x08\u2028\u2029\ufeff",
    "lone \ud800 surrogate",
    "\N{RIGHT-TO-LEFT OVERRIDE}abc",
    "]]>&amp;'\"`${1}\\",
]


def test_the_index_and_the_stories_hold_everything() -> None:
    stored = pack_episodes(four())
    index = unpack(stored.index)
    [stories] = [unpack(chunk) for chunk in stored.chunks]
    assert [entry["verdict"] for entry in index["rows"]] == ["right", "fixed", "wrong", "broken"]
    assert [entry["unsure"] for entry in index["rows"]] == [False, True, True, True]
    assert index["rows"][1] == {
        "id": "q1",
        "verdict": "fixed",
        "request": "question 1 about Oslo",
        "sure": 0.1,
        "unsure": True,
        "before": 'find_hotel(city="Oslo")',
        "after": 'get_weather(city="Oslo")',
        "status": "trained",
        "tags": ["kind=odd"],
    }
    assert index["tags"] == ["kind=even", "kind=odd"]
    assert [tool["name"] for tool in index["tools"]] == ["get_weather", "find_hotel"]
    story = stories[1]
    assert story["messages"] == [{"role": "user", "content": "question 1 about Oslo", "tool_calls": []}]
    assert story["tools"] == [0, 1]
    assert story["gold"] == [{"name": "get_weather", "arguments": {"city": "Oslo"}}]
    assert [example["refused"] for example in story["examples"]] == [
        None,
        "grounded: the value of city is not in the request",
    ]
    assert story["adaptation"]["losses"] == [1.0, 0.5]
    assert story["grades"]["strict"] == {"base": False, "adapted": True}
    assert story["awareness"]["candidates"][0]["probability"] == 0.9


def test_many_inputs_come_in_chunks_that_share_their_tools() -> None:
    stored = pack_episodes(run([row(i) for i in range(2 * PER_CHUNK + 1)]))
    assert [len(unpack(chunk)) for chunk in stored.chunks] == [PER_CHUNK, PER_CHUNK, 1]
    assert len(unpack(stored.index)["tools"]) == 2


def test_the_same_run_packs_the_same() -> None:
    assert pack_episodes(four()) == pack_episodes(four())


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_is_only_text(text: str) -> None:
    stored = pack_episodes(run([row(0, query=text)]))
    assert "<" not in stored.index + "".join(stored.chunks)
    expected = text.encode("utf-8", "replace").decode()
    assert unpack(stored.index)["rows"][0]["request"] == expected
    assert unpack(stored.chunks[0])[0]["messages"][0]["content"] == expected


def test_numbers_that_json_lacks_become_words() -> None:
    one = row(1, False, True, 0.1)
    odd = replace(one, episode=replace(one.episode, adaptation=Adaptation("trained", 1, 1, (math.nan, math.inf))))
    assert unpack(pack_episodes(run([odd])).chunks[0])[0]["adaptation"]["losses"] == ["nan", "inf"]


def test_method_base_has_no_adapted_side() -> None:
    stored = pack_episodes(run(list(four().rows), "base", config("base")))
    index, story = unpack(stored.index), unpack(stored.chunks[0])[1]
    assert [entry["verdict"] for entry in index["rows"]] == ["right", "wrong", "wrong", "right"]
    assert "after" not in index["rows"][0]
    assert not {"examples", "adaptation", "adapted"} & story.keys()


def test_rows_without_a_question_or_an_answer() -> None:
    one = row(0, False)
    old = replace(one, question=None)
    failed = replace(one, episode=replace(one.episode, base=None, adapted=None, awareness=None, error="prompt: long"))
    index = unpack(pack_episodes(run([old, failed])).index)
    assert [entry["request"] for entry in index["rows"]] == [None, "question 0 about Oslo"]
    assert [entry["verdict"] for entry in index["rows"]] == ["wrong", "failed"]
    assert index["rows"][1]["before"] == ""
    assert verdict(row(0, None), "strict", True) == "ungraded"


def test_long_requests_are_whole_in_the_story() -> None:
    stored = pack_episodes(run([row(0, query="word " * 500)]))
    story: Any = unpack(stored.chunks[0])[0]
    assert len(unpack(stored.index)["rows"][0]["request"]) == 300
    assert story["messages"][0]["content"] == Message("user", "word " * 500).content
