"""Simulators do what their tools say, refuse what cannot be done in one line, and keep copies apart."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ttsi.environments.environment import Environment, HasState
from ttsi.environments.simulators import SIMULATORS, TEST, VALIDATION, SimulatorEnvironment, simulator
from ttsi.environments.simulators.simulator import plain
from ttsi.environments.simulators.times import clock_time
from ttsi.errors import EnvironmentFailure
from ttsi.types import Message, ToolCall, ToolResult

STATES: dict[str, dict[str, Any]] = {
    "files": {"folders": ["work", "home"], "files": {"plan": {"folder": "work", "text": "buy seeds"}}},
    "calendar": {"events": {"dentist": {"day": "monday", "time": "10:00", "guests": []}}},
    "shop": {"catalogue": {"ruby lamp": {"brand": "Kestrel", "price": 30}}, "basket": {}, "orders": []},
    "mailbox": {
        "messages": {"lost keys": {"sender": "omar", "folder": "inbox", "text": "under the mat"}},
        "contacts": {"omar": "omar12@mail.com"},
        "sent": [],
    },
    "library": {
        "books": {"copper moon": {"author": "novak", "borrower": "", "weeks": 0, "waiting": []}},
        "members": ["agnes", "boris"],
    },
    "bank": {
        "accounts": {name: {"balance": 300, "limit": 200, "locked": False} for name in ("joint", "savings")},
        "bills": {"day care": {"amount": 80, "due": "2 june"}},
        "transfers": [],
        "payments": [],
    },
    "trains": {
        "trains": {"x7": {"from": "arvik", "to": "oster", "departs": "09:05", "price": 20}},
        "bookings": {"carla": {"x7": {"class": "second", "meal": ""}}},
    },
    "vet": {
        "animals": {"luna": {"species": "cat", "owner": "mr costa", "kilos": 4, "vaccines": []}},
        "visits": {},
    },
}

ACTIONS: dict[str, list[tuple[str, dict[str, Any]]]] = {
    "files": [
        ("write_file", {"name": "letter", "text": "dear all"}),
        ("move_file", {"name": "letter", "folder": "home"}),
        ("write_file", {"name": "plan", "text": "sell seeds"}),
        ("delete_file", {"name": "plan"}),
    ],
    "calendar": [
        ("add_event", {"title": "lunch", "day": "friday", "time": "12:00"}),
        ("invite_guest", {"title": "lunch", "guest": "omar"}),
        ("move_event", {"title": "lunch", "day": "monday", "time": "9:30"}),
        ("cancel_event", {"title": "dentist"}),
    ],
    "shop": [
        ("put_in_basket", {"product": "ruby lamp", "quantity": 2}),
        ("put_in_basket", {"product": "ruby lamp", "quantity": 3}),
        ("order_basket", {"address": "9 oak lane", "express": True}),
    ],
    "mailbox": [
        ("move_message", {"subject": "lost keys", "folder": "trash"}),
        ("add_contact", {"name": "sara", "address": "sara@post.org"}),
        ("send_message", {"address": "sara@post.org", "text": "hello"}),
    ],
    "library": [
        ("lend_book", {"title": "copper moon", "member": "agnes"}),
        ("extend_loan", {"title": "copper moon", "weeks": 4}),
        ("reserve_book", {"title": "copper moon", "member": "boris"}),
        ("return_book", {"title": "copper moon"}),
    ],
    "bank": [
        ("move_money", {"source": "joint", "target": "savings", "amount": 100}),
        ("pay_bill", {"biller": "day care", "account": "savings"}),
        ("set_card_limit", {"account": "joint", "limit": 500}),
        ("lock_card", {"account": "joint", "locked": True}),
    ],
    "trains": [
        ("book_seat", {"train": "x7", "passenger": "agnes", "travel_class": "first"}),
        ("order_meal", {"train": "x7", "passenger": "agnes", "meal": "soup"}),
        ("cancel_seat", {"train": "x7", "passenger": "carla"}),
    ],
    "vet": [
        ("book_visit", {"animal": "luna", "day": "monday", "time": "08:30"}),
        ("record_weight", {"animal": "luna", "kilos": 5}),
        ("give_vaccine", {"animal": "luna", "vaccine": "flu"}),
        ("cancel_visit", {"animal": "luna"}),
    ],
}

LOOK_UPS: dict[str, list[tuple[str, dict[str, Any], Any]]] = {
    "files": [
        ("list_files", {"folder": "work"}, [{"name": "plan", "letters": 9}]),
        ("read_file", {"name": "Plan"}, "buy seeds"),
        ("find_files", {"word": "seeds"}, [{"name": "plan", "folder": "work"}]),
        ("find_files", {"word": "seed"}, []),
    ],
    "calendar": [
        ("list_events", {"day": "monday"}, [{"title": "dentist", "time": "10:00"}]),
        ("list_events", {"day": "friday"}, []),
    ],
    "shop": [
        ("find_products", {"brand": "kestrel"}, [{"product": "ruby lamp", "price": 30}]),
        ("show_basket", {}, []),
    ],
    "mailbox": [
        ("list_messages", {"folder": "inbox"}, [{"sender": "omar", "subject": "lost keys"}]),
        ("read_message", {"subject": "lost keys"}, "under the mat"),
        ("find_address", {"name": "omar"}, "omar12@mail.com"),
    ],
    "library": [
        ("find_books", {"author": "novak"}, [{"title": "copper moon", "status": "free"}]),
        ("list_loans", {"member": "agnes"}, []),
    ],
    "bank": [
        ("show_balance", {"account": "joint"}, {"account": "joint", "balance": 300}),
        ("list_bills", {}, [{"biller": "day care", "amount": 80, "due": "2 june"}]),
    ],
    "trains": [
        (
            "find_trains",
            {"origin": "arvik", "destination": "oster"},
            [{"train": "x7", "departs": "09:05", "price": 20}],
        ),
        ("list_bookings", {"passenger": "carla"}, [{"train": "x7", "class": "second"}]),
    ],
    "vet": [
        ("find_animals", {"owner": "mr costa"}, [{"animal": "luna", "species": "cat"}]),
        ("list_visits", {"day": "monday"}, []),
    ],
}

REFUSALS: list[tuple[str, str, dict[str, Any], str]] = [
    ("files", "read_file", {"name": "diary"}, "there is no file diary; there are: plan"),
    ("files", "move_file", {"name": "plan", "folder": "work"}, "plan is in work already"),
    ("files", "move_file", {"name": "plan", "folder": "moon"}, "there is no folder moon; there are: home, work"),
    ("calendar", "add_event", {"title": "tea", "day": "monday", "time": "10:00"}, "monday 10:00 is taken by dentist"),
    (
        "calendar",
        "add_event",
        {"title": "tea", "day": "monday", "time": "noon"},
        "noon is no time; write it like 09:30",
    ),
    (
        "calendar",
        "add_event",
        {"title": "Dentist", "day": "friday", "time": "9:00"},
        "there is an event dentist already",
    ),
    ("shop", "order_basket", {"address": "9 oak lane"}, "the basket is empty"),
    ("shop", "put_in_basket", {"product": "ruby lamp", "quantity": 0}, "the quantity must be from 1 to 99"),
    ("mailbox", "send_message", {"address": "omar", "text": "hi"}, "omar is no address; it must have an @"),
    ("library", "return_book", {"title": "copper moon"}, "copper moon is not out"),
    ("library", "lend_book", {"title": "copper moon", "member": "x"}, "there is no member x; there are: agnes, boris"),
    (
        "bank",
        "move_money",
        {"source": "joint", "target": "joint", "amount": 1},
        "source and target are the same account",
    ),
    ("bank", "move_money", {"source": "joint", "target": "savings", "amount": 301}, "joint has 300; "),
    ("bank", "move_money", {"source": "joint", "target": "savings", "amount": -5}, "joint has 300; "),
    ("trains", "cancel_seat", {"train": "x9", "passenger": "carla"}, "there is no seat of carla in x9; there are: x7"),
    ("trains", "find_trains", {"origin": "x", "destination": "oster"}, "there is no city x; there are: arvik, oster"),
    ("vet", "record_weight", {"animal": "luna", "kilos": 4}, "luna has 4 kilos in the file"),
    ("vet", "cancel_visit", {"animal": "luna"}, "there is no visit of luna; there are: none"),
]


def test_there_are_four_simulators_for_validation_and_four_others_for_the_test() -> None:
    assert (len(VALIDATION), len(TEST), len(SIMULATORS)) == (4, 4, 8)
    assert set(STATES) == set(ACTIONS) == set(LOOK_UPS) == set(SIMULATORS)


@pytest.mark.parametrize("name", SIMULATORS)
def test_tools_are_few_and_short(name: str) -> None:
    tools = simulator(name, STATES[name]).tools()
    assert 4 <= len(tools) <= 6
    for tool in tools:
        assert 2 <= len(tool.description.split()) <= 8
        assert "\n" not in tool.description
        assert len(tool.parameters["properties"]) <= 3
    assert {call for call, _ in ACTIONS[name]} | {call for call, _, _ in LOOK_UPS[name]} >= {t.name for t in tools} - {
        "remove_from_basket"
    }


@pytest.mark.parametrize("name", SIMULATORS)
def test_each_action_changes_the_state_once_and_a_look_up_never(name: str) -> None:
    world = simulator(name, STATES[name])
    for tool, arguments, expected in LOOK_UPS[name]:
        before = world.state()
        result = world.execute(ToolCall(tool, arguments))
        assert not result.error
        assert result.content == (expected if isinstance(expected, str) else json.dumps(expected))
        assert world.state() == before
    for tool, arguments in ACTIONS[name]:
        before = world.state()
        assert not world.execute(ToolCall(tool, arguments)).error
        after = world.state()
        assert after != before
        # A repetition is refused and changes nothing.
        assert world.execute(ToolCall(tool, arguments)).error
        assert world.state() == after


@pytest.mark.parametrize("name", SIMULATORS)
def test_a_simulator_made_from_a_state_behaves_as_the_one_that_had_it(name: str) -> None:
    world = simulator(name, STATES[name])
    for tool, arguments in ACTIONS[name]:
        twin = simulator(name, json.loads(world.state()))
        assert twin.state() == world.state()
        for look_up, given, _ in LOOK_UPS[name]:
            assert twin.execute(ToolCall(look_up, given)) == world.execute(ToolCall(look_up, given))
        assert twin.execute(ToolCall(tool, arguments)) == world.execute(ToolCall(tool, arguments))
        assert twin.state() == world.state()


@pytest.mark.parametrize(("name", "tool", "arguments", "reason"), REFUSALS)
def test_what_cannot_be_done_is_refused_in_one_line(
    name: str, tool: str, arguments: dict[str, Any], reason: str
) -> None:
    world = simulator(name, STATES[name])
    before = world.state()
    result = world.execute(ToolCall(tool, arguments))
    assert result.error
    assert result.content.startswith(f"ValueError: {reason}")
    assert "\n" not in result.content
    assert world.state() == before


def test_a_product_leaves_the_basket_and_a_class_can_change() -> None:
    shop = simulator("shop", {**STATES["shop"], "basket": {"ruby lamp": 2}})
    assert shop.execute(ToolCall("remove_from_basket", {"product": "ruby lamp"})) == ToolResult("removed ruby lamp")
    assert json.loads(shop.state())["basket"] == {}
    trains = simulator("trains", STATES["trains"])
    call = ToolCall("book_seat", {"train": "x7", "passenger": "carla", "travel_class": "first"})
    assert not trains.execute(call).error
    assert json.loads(trains.state())["bookings"]["carla"]["x7"]["class"] == "first"


@pytest.mark.parametrize("name", SIMULATORS)
def test_copies_are_independent_and_keep_the_turn(name: str) -> None:
    state = json.loads(json.dumps(STATES[name]))
    world = simulator(name, state, ["first", "second"])
    assert isinstance(world, Environment)
    assert isinstance(world, HasState)
    assert world.next_turn() == (Message("user", "first"),)
    twin = world.copy()
    assert isinstance(twin, SimulatorEnvironment)
    before = world.state()
    for tool, arguments in ACTIONS[name]:
        assert not twin.execute(ToolCall(tool, arguments)).error
    assert twin.state() != before
    assert world.state() == before
    assert state == STATES[name]
    assert twin.next_turn() == world.next_turn() == (Message("user", "second"),)
    assert twin.next_turn() is world.next_turn() is None


def test_control_two_names_of_one_environment_share_their_state() -> None:
    world = simulator("shop", STATES["shop"])
    same, before = world, world.state()
    same.execute(ToolCall("put_in_basket", {"product": "ruby lamp", "quantity": 2}))
    assert world.state() != before


def test_an_unknown_simulator_and_a_wrong_state_are_refused() -> None:
    with pytest.raises(EnvironmentFailure, match="did you mean 'shop'"):
        simulator("shopp", {})
    with pytest.raises(EnvironmentFailure, match="it must have the tables basket, catalogue, orders"):
        simulator("shop", {"basket": {}})
    with pytest.raises(EnvironmentFailure, match="the state of CalendarApp has events, more"):
        simulator("calendar", {"events": {}, "more": {}})


@pytest.mark.parametrize(("text", "expected"), [(" Golden  House. ", "golden house"), ("why?", "why"), ("", "")])
def test_what_is_new_is_stored_without_case_spaces_and_marks(text: str, expected: str) -> None:
    assert plain(text) == expected


@pytest.mark.parametrize(
    ("name", "tool", "arguments", "other"),
    [
        ("files", "read_file", {"name": "plan"}, {"name": " PLAN."}),
        ("mailbox", "find_address", {"name": "omar"}, {"name": "Omar"}),
        ("trains", "list_bookings", {"passenger": "carla"}, {"passenger": "CARLA"}),
        ("vet", "find_animals", {"owner": "mr costa"}, {"owner": "Mr  Costa"}),
    ],
)
def test_upper_case_and_spaces_find_the_same_entry(
    name: str, tool: str, arguments: dict[str, Any], other: dict[str, Any]
) -> None:
    world = simulator(name, STATES[name])
    assert not world.execute(ToolCall(tool, arguments)).error
    assert world.execute(ToolCall(tool, other)) == world.execute(ToolCall(tool, arguments))


@pytest.mark.parametrize(("text", "expected"), [("9:30", "09:30"), ("09.30", "09:30"), (" 23:59 ", "23:59")])
def test_times_are_read(text: str, expected: str) -> None:
    assert clock_time(text) == expected


@pytest.mark.parametrize("text", ["24:00", "9", "9:60", "half past nine", ""])
def test_control_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is no time"):
        clock_time(text)
