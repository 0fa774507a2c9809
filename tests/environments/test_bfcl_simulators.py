"""The simulators of BFCL as an environment: turns, tools, results, copies, and calls that must execute nothing."""

from __future__ import annotations

import json
import pickle
import sys
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from tests.environments.bfcl_worlds import FILES, GOLD, TASK, call, needs_simulators, said, tool
from ttsi.environments.bfcl_simulators import (
    PACKAGE,
    BFCLEnvironment,
    Scenario,
    SimulatorTask,
    execute_call,
    make_simulators,
    unfit_arguments,
)
from ttsi.environments.environment import Environment
from ttsi.errors import EnvironmentFailure
from ttsi.types import Message, ToolCall


def of(*classes: str, long_context: bool = False, **config: Any) -> BFCLEnvironment:
    """An environment of these simulators that offers every tool of the tests."""
    offered = "get_current_speed post_tweet book_flight power logarithm square_root round_number add display_log echo"
    scenario = Scenario(classes, config, long_context)
    return BFCLEnvironment(SimulatorTask("t", scenario, (said("?"),), tuple(map(tool, offered.split()))))


@needs_simulators
def test_turns_are_fixed_and_tools_are_handed_over_in_their_turn() -> None:
    environment = BFCLEnvironment(TASK)
    assert isinstance(environment, Environment)
    names = lambda: [one.name for one in environment.tools()]  # noqa: E731
    assert names() == ["mkdir", "ls", "cat", "touch", "add"]
    assert environment.next_turn() == TASK.turns[0]
    assert environment.next_turn() == TASK.turns[1]
    refused = environment.execute(GOLD[2][0])
    assert refused.error
    assert "on offer" in refused.content
    assert environment.next_turn() == TASK.turns[2]
    assert names() == ["mkdir", "ls", "cat", "touch", "add", "sort"]
    assert environment.execute(GOLD[2][0]).content == json.dumps({"sorted_content": "a\nb"})
    assert environment.next_turn() == TASK.turns[3]
    assert names()[-1] == "sort"
    assert environment.next_turn() is None
    assert environment.next_turn() is None


@needs_simulators
def test_results_are_json_or_text_and_errors_are_marked() -> None:
    environment = BFCLEnvironment(TASK)
    made = environment.execute(call("mkdir", dir_name="docs"))
    assert (made.content, made.error) == ("None", False)
    assert environment.execute(call("ls")).content == '{"current_directory_content": ["notes.txt", "docs"]}'
    assert environment.execute(call("add", a=1, b=2)).content == '{"result": 3}'
    refused = environment.execute(call("cat", file_name="x"))
    assert refused.error
    assert refused.content == """{"error": "cat: 'x': No such file or directory"}"""
    wrong = environment.execute(call("cat", name="x"))
    assert wrong.error
    assert wrong.content.startswith("Error during execution: GorillaFileSystem.cat() got an unexpected keyword")


HOSTILE = (
    "__import__", "__class__", "__init__", "_load_scenario", "_navigate_to_directory", "mkdir.__globals__", "a.b",
    "os.system", "mkdir()", "mkdir ", " mkdir", "MKDIR", "", "root", "eval", "print", "kill", "GorillaFileSystem.mkdir",
    "mkdir\n", "x" * 10**7,
)  # fmt: skip


@needs_simulators
@pytest.mark.parametrize("name", HOSTILE, ids=lambda name: repr(name)[:30])
def test_a_hostile_name_executes_nothing(name: str) -> None:
    arguments = {"dir_name": "docs"}
    environment = BFCLEnvironment(TASK)
    before = environment.state()
    # Once as a model says it, once as if the tool had been offered.
    offered = BFCLEnvironment(replace(TASK, tools=(*TASK.tools, tool(name))))
    for result in (environment.execute(ToolCall(name, arguments)), offered.execute(ToolCall(name, arguments))):
        assert result.error
        assert len(result.content) < 300
    assert environment.state() == offered.state() == before
    # Control: the same with an honest name is seen in the state.
    assert not environment.execute(ToolCall("mkdir", arguments)).error
    assert environment.state() != before


def nested(depth: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(depth):
        value = [value]
    return value


LARGE: dict[str, Any] = {
    "text": "x" * 10**7,
    "deep": nested(10**6),
    "long": [1] * 10**6,
    "number": 10**5000,
    "nan": float("nan"),
    "object": SimpleNamespace(),
    "keys": {str(number): 1 for number in range(10**6)},
    "a long key": {"x" * 10**7: 1},
    "a key that is no text": {(): 1},
}


@needs_simulators
@pytest.mark.parametrize("value", LARGE.values(), ids=LARGE)
def test_an_unreasonable_argument_executes_nothing(value: Any) -> None:
    environment = BFCLEnvironment(TASK)
    before = environment.state()
    result = environment.execute(call("mkdir", dir_name=value))
    assert result.error
    assert len(result.content) < 300
    assert environment.state() == before
    assert environment.execute(ToolCall("mkdir", value)).error


@needs_simulators
@pytest.mark.parametrize(
    ("costly", "fine"),
    [
        (call("power", base=7, exponent=10**9), call("power", base=7, exponent=9)),
        (call("square_root", number=2, precision=10**9), call("square_root", number=2, precision=20)),
        (call("logarithm", value=3, base=2, precision="1000000000"), call("logarithm", value=3, base=2, precision=20)),
        (call("round_number", number=5, decimal_places=-(10**9)), call("round_number", number=5, decimal_places=-1)),
    ],
)
def test_a_result_without_end_is_refused(costly: ToolCall, fine: ToolCall) -> None:
    environment = of("MathAPI")
    result = environment.execute(costly)
    assert result.error
    assert "too many digits" in result.content
    assert not environment.execute(fine).error  # the control


def test_arguments_as_models_give_them_are_fit() -> None:
    assert unfit_arguments({"a": [1, 2.5, None, True, {"b": "x" * 1000}], "c": -(10**6)}) is None
    assert unfit_arguments(["a"]) == "the arguments are no JSON object"


@needs_simulators
def test_a_copy_is_independent_down_to_its_random_numbers() -> None:
    environment = of("VehicleControlAPI", "TwitterAPI")
    environment.next_turn()
    copied, other = environment.copy(), environment.copy()
    before = environment.state()
    copied.execute(call("post_tweet", content="x"))
    speeds = [copied.execute(call("get_current_speed")).content for _ in range(3)]
    assert environment.state() == before
    assert copied.next_turn() is None
    # Neither the original nor another copy has lost a number to the first.
    assert [environment.execute(call("get_current_speed")).content for _ in range(3)] == speeds
    assert [other.execute(call("get_current_speed")).content for _ in range(3)] == speeds
    assert len(set(speeds)) == 3


@needs_simulators
def test_control_a_copy_that_shares_is_seen() -> None:
    environment = BFCLEnvironment(TASK)
    before = environment.state()
    shallow = BFCLEnvironment(TASK)
    shallow.__dict__.update(environment.__dict__)
    shallow.execute(call("mkdir", dir_name="docs"))
    assert environment.state() != before


@needs_simulators
def test_a_simulator_keeps_no_hold_of_a_calls_arguments() -> None:
    environment = of("TwitterAPI", TwitterAPI={"authenticated": True, "username": "ann"})
    tags = ["#a"]
    assert not environment.execute(call("post_tweet", content="x", tags=tags)).error
    before = environment.state()
    assert "#a" in before
    tags.append("#b")
    assert environment.state() == before


@needs_simulators
def test_long_contexts_share_no_records() -> None:
    first, second = (make_simulators(Scenario(("TravelAPI",), {}, True))["TravelAPI"] for _ in range(2))
    card = next(iter(first.credit_card_list))
    assert len(first.credit_card_list) > 1
    balance = second.credit_card_list[card]["balance"]
    first.credit_card_list[card]["balance"] += 1
    assert second.credit_card_list[card]["balance"] == balance
    # Control: as the owners load them, they do.
    one, two = type(first)(), type(first)()
    one._load_scenario({}, long_context=True)
    two._load_scenario({}, long_context=True)
    assert one.credit_card_list[card] is two.credit_card_list[card]


@needs_simulators
def test_a_turn_behind_the_gold_calls_of_the_turns_before() -> None:
    environment = BFCLEnvironment(TASK, GOLD[:2])
    assert [one.name for one in environment.tools()][-1] == "sort"
    messages = environment.next_turn()
    assert messages == (
        *said("Make a folder docs."),
        Message("assistant", "", (GOLD[0][0],)),
        Message("tool", "None"),
        Message("assistant", "", (GOLD[0][1],)),
        Message("tool", '{"current_directory_content": ["notes.txt", "docs"]}'),
        Message("assistant", "Done."),
        *said("Sort the notes."),
        Message("assistant", "Done."),
        *said("What about now?"),
    )
    copied = environment.copy()
    for one in (environment, copied):
        assert not one.execute(GOLD[2][0]).error
        assert one.next_turn() is None
    whole = BFCLEnvironment(TASK)
    whole.execute(GOLD[0][0])
    assert environment.state() == whole.state()
    first = BFCLEnvironment(TASK, ())
    assert first.next_turn() == TASK.turns[0]
    assert first.next_turn() is None


@needs_simulators
def test_gold_of_later_turns_is_not_in_an_environment() -> None:
    secret = (call("mkdir", dir_name="secret-folder"),)
    assert b"secret-folder" not in pickle.dumps(BFCLEnvironment(TASK, (GOLD[0],)))
    assert b"secret-folder" in pickle.dumps(BFCLEnvironment(TASK, (secret,)))  # the control: it would be seen


@needs_simulators
def test_the_state_has_what_is_public_and_stays_text_in_any_case() -> None:
    environment = BFCLEnvironment(TASK)
    state = json.loads(environment.state())["GorillaFileSystem"]
    assert state["root"]["contents"]["notes.txt"] == {"content": "b\na", "name": "notes.txt"}
    assert not any(key.startswith("_") for key in state)
    # Where the agent is in the tree is no part of it, for the owners neither.
    before = environment.state()
    execute_call(environment._simulators, call("cd", folder="."))
    assert environment.state() == before


def test_without_the_package_one_line_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, f"{PACKAGE}.gorilla_file_system", None)
    monkeypatch.setitem(sys.modules, "bfcl_eval", None)
    with pytest.raises(EnvironmentFailure, match=r"run `pip install --no-deps bfcl-eval`$") as caught:
        make_simulators(Scenario(("GorillaFileSystem",), {"GorillaFileSystem": FILES}))
    assert "\n" not in str(caught.value)
    with pytest.raises(EnvironmentFailure, match="unknown simulator of BFCL 'WebSearchAPI'"):
        make_simulators(Scenario(("WebSearchAPI",), {}))
