"""The frozen agent tasks are what the workshop makes, varied, and right in the only way."""

from __future__ import annotations

import gzip
import json
import re
from collections import Counter
from functools import cache
from typing import Any

import pytest

from toolworld import agent_tasks
from toolworld.agent_scenes import SLOTS
from toolworld.agent_tasks import Split, every_call_counts, read_plans
from toolworld.corpus import request_hash
from toolworld.domains import slots
from toolworld.freeze import banned_hashes
from ttsi.environments.simulators import SIMULATORS, TEST, VALIDATION
from ttsi.environments.simulators.simulator import Simulator

SPLITS: tuple[Split, ...] = ("validation", "test")


@cache
def frozen(split: Split) -> list[dict[str, Any]]:
    """The tasks of a frozen file."""
    return list(json.loads(gzip.decompress(agent_tasks.path(split).read_bytes())))


@pytest.mark.parametrize("split", SPLITS)
def test_the_frozen_files_are_what_the_workshop_makes(split: Split) -> None:
    assert agent_tasks.path(split).read_bytes() == agent_tasks.content(split)
    assert agent_tasks.path(split).stat().st_size < 60_000


def test_control_another_seed_makes_other_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(agent_tasks.SEEDS, "validation", 5)
    assert agent_tasks.content("validation") != agent_tasks.path("validation").read_bytes()


@pytest.mark.parametrize("split", SPLITS)
def test_sizes_kinds_and_simulators(split: Split) -> None:
    rows, names = frozen(split), VALIDATION if split == "validation" else TEST
    assert Counter(row["simulator"] for row in rows) == dict.fromkeys(names, agent_tasks.SIZES[split] // 4)
    assert len({row["id"] for row in rows}) == len(rows)
    assert len({row["turns"][0]["request"] for row in rows}) == len(rows)
    kinds = Counter(turn["kind"] for row in rows for turn in row["turns"])
    shares = {kind: count / sum(kinds.values()) for kind, count in kinds.items()}
    assert 0.42 < shares.pop("single") < 0.58
    assert set(shares) == {"state", "two", "follow-up"}
    assert min(shares.values()) > 0.1
    for row in rows:
        assert 1 <= len(row["turns"]) <= 3
        assert row["turns"][0]["kind"] != "follow-up"
        for turn in row["turns"]:
            assert len(turn["calls"]) == (2 if turn["kind"] in ("state", "two") else 1)
            assert len(turn["request"]) < 200
            assert not re.search(r"[{}\[\]|]", turn["request"])


def test_the_splits_share_no_request_and_none_is_of_the_other_benchmark() -> None:
    spoken = {split: {turn["request"] for row in frozen(split) for turn in row["turns"]} for split in SPLITS}
    # A few follow-ups, such as "cancel the first one", can be said to any simulator.
    shared = spoken["validation"] & spoken["test"]
    assert len(shared) < 25
    kinds = {t["kind"] for split in SPLITS for r in frozen(split) for t in r["turns"] if t["request"] in shared}
    assert kinds <= {"follow-up"}
    assert not {request_hash(request) for requests in spoken.values() for request in requests} & banned_hashes()


def replay(row: dict[str, Any]) -> list[tuple[Simulator, dict[str, Any]]]:
    """Each turn of a task, and the simulator as it is before it."""
    simulator = SIMULATORS[row["simulator"]](row["state"])
    turns = []
    for turn in row["turns"]:
        turns.append((type(simulator)(json.loads(simulator.state())), turn))
        for call in turn["calls"]:
            getattr(simulator, call["name"])(**call["arguments"])
    return turns


@pytest.mark.parametrize("split", SPLITS)
def test_every_gold_call_executes_and_counts(split: Split) -> None:
    for row in frozen(split):
        for simulator, turn in replay(row):
            assert every_call_counts(simulator, turn["kind"], tuple(turn["calls"])), row["id"]


SHOP = {
    "catalogue": {name: {"brand": "Acme", "price": 5} for name in ("red lamp", "blue lamp")},
    "basket": {"red lamp": 1},
    "orders": [],
}
PUT = {"name": "put_in_basket", "arguments": {"product": "blue lamp", "quantity": 2}}
AGAIN = {"name": "put_in_basket", "arguments": {"product": "blue lamp", "quantity": 3}}
TAKE = {"name": "remove_from_basket", "arguments": {"product": "blue lamp"}}
SHOW = {"name": "show_basket", "arguments": {}}
FIND = {"name": "find_products", "arguments": {"brand": "Acme"}}


@pytest.mark.parametrize(
    ("kind", "calls", "counts"),
    [
        ("single", [PUT], True),
        ("single", [TAKE], False),  # it is refused
        ("two", [PUT, AGAIN], False),  # the order decides
        ("two", [PUT, SHOW], False),  # the look-up leaves no trace
        ("two", [SHOW, FIND], True),
        ("two", [SHOW, SHOW], False),
        ("state", [FIND, PUT], True),
        ("state", [PUT, FIND], False),
        ("state", [SHOW, FIND], False),
    ],
)
def test_a_call_that_could_be_left_out_is_seen(kind: str, calls: list[dict[str, Any]], counts: bool) -> None:
    assert every_call_counts(SIMULATORS["shop"](SHOP), kind, tuple(calls)) is counts


@pytest.mark.parametrize("name", SIMULATORS)
def test_plans_are_sound(name: str) -> None:
    words, plans = read_plans(name)
    by_name = {plan.name: plan for plan in plans}
    assert len(by_name) == len(plans)
    for plan in plans:
        assert {tool for tool, _ in plan.calls} <= set(SIMULATORS[name].TOOLS)
        assert set(plan.slots.values()) <= {*SLOTS[name], *words}
        assert len(set(plan.asks)) == len(plan.asks) >= 2
        assert bool(plan.after) is (plan.kind == "follow-up")
        given = [{*plan.slots, *by_name[before].slots} for before in plan.after] or [set(plan.slots)]
        for present in given:
            assert {slot for _, arguments in plan.calls for slot in arguments.values()} <= present
            assert all(slots(ask) <= present for ask in plan.asks)
        if plan.kind == "single":
            # A single request names every value, but for express, which it says in words.
            needed = {slot for _, arguments in plan.calls for slot in arguments.values()} - {"express"}
            assert all(slots(ask) >= needed for ask in plan.asks), plan.name
