"""The judgement of the clients' loops, without the clients; `make clients` runs the loops."""

from __future__ import annotations

import json
import urllib.request
from pathlib import Path

import pytest

from clients.cinema import RIGHT, Cinema
from clients.served import DAMAGE, damaging, scripted
from tests.serve.conftest import Server, running


def ran(*calls: tuple[str, dict[str, object]]) -> Cinema:
    cinema = Cinema()
    for name, arguments in calls:
        cinema.run(name, arguments)
    return cinema


def test_the_right_conversation_has_no_fault() -> None:
    assert ran(*RIGHT).fault(["It has four stars.", "I know none."]) is None


@pytest.mark.parametrize(
    ("cinema", "words", "fault"),
    [
        (ran(), ["x"], "ran []"),
        (ran(*RIGHT[::-1]), ["x"], "ran "),
        (ran(*RIGHT, RIGHT[0]), ["x"], "ran "),
        (ran(*RIGHT), ["<tool_call>"], "a mark of a call"),
        (ran(*RIGHT), ["<|call|> rate_film"], "a mark of a call"),
        (ran(*RIGHT), ['{"name": "rate_film"}'], "a mark of a call"),
        (ran(*RIGHT), [], "no text"),
        (ran(*RIGHT), [" "], "no text"),
    ],
)
def test_control_a_wrong_one_has(cinema: Cinema, words: list[str], fault: str) -> None:
    assert fault in (cinema.fault(words) or "")


def test_control_a_tool_that_nobody_has_cannot_be_run() -> None:
    with pytest.raises(KeyError):
        ran(("rate_fim", {}))


def first_call(server: str) -> dict[str, object]:
    """The first call that a server answers with."""
    tools = [{"name": "rate_film"}, {"name": "list_showtimes"}]
    body = {"model": "script", "messages": [{"role": "user", "content": "rate it"}], "tools": tools}
    request = urllib.request.Request(f"{server}/chat/completions", json.dumps(body).encode())
    with urllib.request.urlopen(request, timeout=60) as answer:
        completion = json.loads(answer.read())
    return dict(completion["choices"][0]["message"]["tool_calls"][0]["function"])


@pytest.mark.parametrize("damage", [None, *DAMAGE])
def test_each_damage_is_done(damage: str | None, tmp_path: Path) -> None:
    with running("--method", "base", "--name", "script", model=scripted(tmp_path)) as server:
        call = first_call_through(server, damage)
    assert (call["name"] == "rate_film") == (damage != "misspelt")
    if damage == "cut":
        with pytest.raises(ValueError, match="Expecting"):
            json.loads(str(call["arguments"]))
    else:
        assert json.loads(str(call["arguments"])) == {"film": "hidden bird", "stars": 4}


def first_call_through(server: Server, damage: str | None) -> dict[str, object]:
    if damage is None:
        return first_call(f"{server.url}/v1")
    with damaging(f"{server.url}/v1", damage) as url:
        return first_call(url)
