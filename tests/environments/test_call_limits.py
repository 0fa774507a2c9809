"""Limits around an environment: exceptions, calls that hang, wrong types, long results, and copies that are none."""

from __future__ import annotations

import json
import signal
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest

from ttsi.environments.call_limits import CallLimits, LimitedEnvironment
from ttsi.environments.environment import Environment
from ttsi.errors import ConfigError, EnvironmentFailure
from ttsi.types import Message, Tool, ToolCall, ToolResult

TOOL = Tool("go", "Go.", {"type": "object", "properties": {}})
CALL = ToolCall("go", {"names": ["a"]})
SHORT = CallLimits(seconds=0.05)
"""For calls that never return; the others keep the default."""
DEEPEST = 100_000


class World:
    """An environment of which each method can be replaced."""

    def __init__(self, **methods: Callable[..., Any]) -> None:
        self.methods = methods
        self.names: list[str] = []

    def tools(self) -> Sequence[Tool]:
        return self.methods.get("tools", lambda: [TOOL])()  # type: ignore[no-any-return]

    def next_turn(self) -> Sequence[Message] | None:
        return self.methods.get("next_turn", lambda: [Message("user", "go")])()  # type: ignore[no-any-return]

    def execute(self, call: ToolCall) -> ToolResult:
        if "execute" in self.methods:
            return self.methods["execute"](call)  # type: ignore[no-any-return]
        self.names.extend(call.arguments["names"])
        return ToolResult(" ".join(self.names))

    def copy(self) -> Environment:
        if "copy" in self.methods:
            return self.methods["copy"]()  # type: ignore[no-any-return]
        twin = type(self)(**self.methods)
        twin.names = list(self.names)
        return twin


class Visible(World):
    """Its state can be read."""

    def state(self) -> str:
        return json.dumps(self.names)


class Leaky(Visible):
    """A copy that shares the list with its original."""

    def copy(self) -> Environment:
        twin = Leaky()
        twin.names = self.names
        return twin


class Grandchild(Visible):
    """A copy of a copy changes the first original."""

    first: World | None = None
    depth = 0

    def copy(self) -> Environment:
        twin = Grandchild()
        twin.names, twin.first, twin.depth = list(self.names), self.first or self, self.depth + 1
        return twin

    def execute(self, call: ToolCall) -> ToolResult:
        if self.depth == 2 and self.first:
            self.first.names.append("x")
        return super().execute(call)


@pytest.fixture
def hang() -> Iterator[Callable[..., Any]]:
    """A function that does not return before the test is over."""
    over = threading.Event()
    yield lambda *arguments: over.wait()
    over.set()


def limited(**methods: Callable[..., Any]) -> LimitedEnvironment:
    return LimitedEnvironment(World(**methods))


def raising(error: BaseException) -> Callable[..., Any]:
    def fail(*arguments: Any) -> Any:
        raise error

    return fail


def test_a_good_environment_is_as_it_was() -> None:
    environment = limited()
    assert isinstance(environment, Environment)
    assert environment.tools() == (TOOL,)
    assert environment.next_turn() == (Message("user", "go"),)
    assert environment.execute(CALL) == ToolResult("a")
    assert environment.execute(CALL) == ToolResult("a a")
    assert limited(next_turn=lambda: None).next_turn() is None
    assert limited(execute=lambda call: ToolResult("no", error=True)).execute(CALL) == ToolResult("no", error=True)


class Mute(Exception):
    """Its message cannot be made."""

    def __str__(self) -> str:
        raise RuntimeError


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (TypeError("not\nso"), "TypeError: not so"),
        (KeyError(), "KeyError"),
        (SystemExit(2), "SystemExit: 2"),
        (KeyboardInterrupt(), "KeyboardInterrupt"),
        (Mute(), "Mute"),
    ],
)
def test_an_exception_of_a_call_is_an_error_result(error: BaseException, line: str) -> None:
    environment = limited(execute=raising(error))
    assert environment.execute(CALL) == ToolResult(line, error=True)
    assert environment.tools() == (TOOL,)  # and the environment goes on


def test_control_without_limits_the_exception_comes_through() -> None:
    with pytest.raises(TypeError):
        World(execute=raising(TypeError("not so"))).execute(CALL)


def test_a_failure_of_the_environment_is_no_result() -> None:
    environment = limited(execute=raising(EnvironmentFailure("the server is gone")))
    with pytest.raises(EnvironmentFailure, match=r"^the server is gone$"):
        environment.execute(CALL)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("a text", "go returned a str, no ToolResult"),
        (None, "go returned None, no ToolResult"),
        (ToolResult(3), "ToolResult of int and bool"),  # type: ignore[arg-type]
        (ToolResult("a", "b"), "ToolResult of str and str"),  # type: ignore[arg-type]
        (ToolResult("half \ud800"), "lone surrogate"),
    ],
)
def test_a_result_that_is_no_text_is_an_error_result(value: Any, words: str) -> None:
    result = limited(execute=lambda call: value).execute(CALL)
    assert result.error
    assert words in result.content


def test_a_long_result_is_cut_and_says_so() -> None:
    def of_length(characters: int) -> str:
        environment = World(execute=lambda call: ToolResult("x" * characters))
        return LimitedEnvironment(environment, CallLimits(result_characters=10)).execute(CALL).content

    assert of_length(10) == "x" * 10
    assert of_length(1_244) == "x" * 10 + "\n(1,234 more characters were left out.)"


@pytest.mark.parametrize(
    ("method", "name"),
    [("execute", "go"), ("tools", r"tools\(\)"), ("next_turn", r"next_turn\(\)"), ("copy", r"copy\(\)")],
)
def test_a_call_that_hangs_ends_the_environment(method: str, name: str, hang: Callable[..., Any]) -> None:
    environment = LimitedEnvironment(World(**{method: hang}), SHORT)
    actions: dict[str, Callable[[], Any]] = {
        "execute": lambda: environment.execute(CALL),
        "tools": environment.tools,
        "next_turn": environment.next_turn,
        "copy": environment.copy,
    }
    for action in (actions[method], *actions.values()):
        with pytest.raises(EnvironmentFailure, match=rf"^the call of {name} did not return within 0\.05 s"):
            action()


@pytest.mark.parametrize("method", ["tools", "next_turn", "copy"])
def test_what_a_method_raises_names_the_method(method: str) -> None:
    environment = limited(**{method: raising(ValueError("not\nso"))})
    with pytest.raises(EnvironmentFailure, match=rf"^{method}\(\) of the environment raised ValueError: not so$"):
        getattr(environment, method)()
    environment = limited(**{method: raising(EnvironmentFailure("there is no copy"))})
    with pytest.raises(EnvironmentFailure, match=r"^there is no copy$"):
        getattr(environment, method)()


@pytest.mark.parametrize(
    ("method", "value"),
    [
        ("tools", None),
        ("tools", "go"),
        ("tools", [{"name": "go"}]),
        ("tools", [TOOL, TOOL]),
        ("next_turn", "go"),
        ("next_turn", []),
        ("next_turn", [Message("user", "a"), "b"]),
        ("copy", None),
        ("copy", TOOL),
    ],
)
def test_a_wrong_type_names_the_method(method: str, value: Any) -> None:
    with pytest.raises(EnvironmentFailure, match=rf"^{method}\(\) of the environment"):
        getattr(limited(**{method: lambda: value}), method)()


def test_the_environment_itself_is_no_copy() -> None:
    world = World(copy=lambda: world)
    with pytest.raises(EnvironmentFailure, match="the environment itself"):
        LimitedEnvironment(world).copy()


def test_a_copy_is_limited_too() -> None:
    environment = LimitedEnvironment(World(), CallLimits(result_characters=1))
    twin = environment.copy()
    assert isinstance(twin, LimitedEnvironment)
    twin.execute(CALL)
    assert twin.execute(CALL).content.endswith("(2 more characters were left out.)")
    assert environment.execute(CALL) == ToolResult("a")  # control: within the limit nothing is cut


def test_a_call_on_a_copy_leaves_the_original() -> None:
    environment = LimitedEnvironment(Visible())
    environment.execute(CALL)
    assert environment.copy().execute(CALL) == ToolResult("a a")
    assert environment.copy().copy().execute(CALL) == ToolResult("a a")
    assert environment.execute(CALL) == ToolResult("a a")


def test_control_a_copy_that_changes_the_original_is_seen() -> None:
    twin = LimitedEnvironment(Leaky()).copy()
    for _ in range(2):
        with pytest.raises(EnvironmentFailure, match=r"^a call on a copy changed the original: go"):
            twin.execute(CALL)
    twin = LimitedEnvironment(Grandchild()).copy()
    assert twin.execute(CALL) == ToolResult("a")
    with pytest.raises(EnvironmentFailure, match="changed the original"):
        twin.copy().execute(CALL)


def test_control_where_the_state_cannot_be_read_nothing_is_seen() -> None:
    class Dark(World):
        def copy(self) -> Environment:
            twin = Dark()
            twin.names = self.names
            return twin

    environment = LimitedEnvironment(Dark())
    assert environment.copy().execute(CALL) == ToolResult("a")
    assert environment.execute(CALL) == ToolResult("a a")


def test_a_state_that_cannot_be_read_names_the_method() -> None:
    class Broken(World):
        def state(self) -> str:
            raise ValueError("not so")

    with pytest.raises(EnvironmentFailure, match=r"^state\(\) of the environment raised ValueError: not so"):
        LimitedEnvironment(Broken()).copy().execute(CALL)


def take_apart(call: ToolCall) -> ToolResult:
    call.arguments["names"].clear()
    return ToolResult("")


def test_an_environment_cannot_change_the_call() -> None:
    call = ToolCall("go", {"names": ["a"]})
    limited(execute=take_apart).execute(call)
    assert call.arguments == {"names": ["a"]}
    World(execute=take_apart).execute(call)  # control: without limits it can
    assert call.arguments == {"names": []}


def test_arguments_that_are_nested_too_deeply_are_an_error_result() -> None:
    nested: list[Any] = []
    for _ in range(DEEPEST):
        nested = [nested]
    result = limited().execute(ToolCall("go", {"names": nested}))
    assert result.error
    assert result.content.startswith("RecursionError")
    while nested:  # freed level by level
        nested = nested.pop()


@pytest.mark.parametrize("settings", [{"seconds": float("nan")}, {"seconds": 1e9}, {"seconds": -1}])
def test_limits_are_checked(settings: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match="seconds"):
        CallLimits(**settings)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="result_characters"):
        CallLimits(result_characters=0)


def test_an_interruption_is_no_result_where_calls_run_in_the_callers_thread() -> None:
    environment = LimitedEnvironment(World(execute=raising(KeyboardInterrupt())), CallLimits(seconds=0))
    with pytest.raises(KeyboardInterrupt):
        environment.execute(CALL)
    # The control: what a tool raises is one.
    for error in (ValueError("no"), SystemExit(3)):
        environment = LimitedEnvironment(World(execute=raising(error)), CallLimits(seconds=0))
        assert environment.execute(CALL).error


@pytest.mark.parametrize("ends", [True, False])
def test_an_environment_is_used_again_after_ctrl_c_when_its_call_has_ended(
    ends: bool, request: pytest.FixtureRequest
) -> None:
    handler = signal.signal(signal.SIGINT, signal.default_int_handler)  # a process in the background has none
    request.addfinalizer(lambda: signal.signal(signal.SIGINT, handler))
    interrupted, over = threading.Event(), threading.Event()

    running: list[int] = []

    def execute(call: ToolCall) -> ToolResult:
        running.append(1)
        together = len(running)
        if not interrupted.is_set():
            interrupted.set()
            signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)  # type: ignore[arg-type]
            over.wait(0.3 if ends else 30)
        running.pop()
        return ToolResult(f"went, {together} at once")

    environment = LimitedEnvironment(World(execute=execute), CallLimits(seconds=30 if ends else 0.2))
    with pytest.raises(KeyboardInterrupt):
        environment.execute(CALL)
    if ends:
        assert environment.execute(CALL) == ToolResult("went, 1 at once")
    else:  # the control: it is waited for no longer than any call
        with pytest.raises(
            EnvironmentFailure, match=r"the call of go went on after Ctrl-C and did not return within 0\.2 s"
        ):
            environment.execute(CALL)
    over.set()


def test_an_environment_that_executes_asynchronously_ends_with_one_line() -> None:
    async def execute(call: ToolCall) -> ToolResult:
        return ToolResult("done")

    environment = LimitedEnvironment(World(execute=execute))
    for _ in range(2):  # it stays stopped
        with pytest.raises(EnvironmentFailure, match=r"execute\(\) of the environment is async"):
            environment.execute(CALL)


def counting(connection: sqlite3.Connection) -> Callable[[ToolCall], ToolResult]:
    """An `execute` that needs the thread in which the connection was made."""
    return lambda call: ToolResult(str(connection.execute("select 1").fetchone()))


def test_an_object_that_is_bound_to_its_thread_is_met_by_advice_once(caplog: pytest.LogCaptureFixture) -> None:
    connection = sqlite3.connect(":memory:")
    environment = LimitedEnvironment(World(execute=counting(connection)))
    assert environment.execute(CALL).error and environment.execute(CALL).error
    assert caplog.text.count("go may need the thread in which its objects were made: --agent.call-seconds 0") == 1
    caplog.clear()
    advised = LimitedEnvironment(World(execute=counting(connection)), CallLimits(seconds=0))
    assert advised.execute(CALL) == ToolResult("(1,)"), "the advice helps"
    assert not caplog.text
    connection.close()


@pytest.mark.parametrize("words", ["no such thread: 12", "the thread is closed", "threads are not for sale"])
def test_control_other_words_about_threads_are_met_by_none(words: str, caplog: pytest.LogCaptureFixture) -> None:
    LimitedEnvironment(World(execute=lambda call: ToolResult(words, error=True))).execute(CALL)
    assert not caplog.text


class Patient(World):
    """A world whose turns a person types."""

    waits_for_user = True


def test_a_person_may_take_any_time_for_a_turn() -> None:
    def type_slowly() -> list[Message]:
        time.sleep(0.3)
        return [Message("user", threading.current_thread().name)]

    limits = CallLimits(seconds=0.05)
    turn = LimitedEnvironment(Patient(next_turn=type_slowly), limits).next_turn()
    assert turn == (Message("user", threading.main_thread().name),), "there Ctrl-C arrives"
    with pytest.raises(EnvironmentFailure, match="did not return"):  # control
        LimitedEnvironment(World(next_turn=type_slowly), limits).next_turn()
    with pytest.raises(EnvironmentFailure, match="did not return"):  # its tools have the limit all the same
        LimitedEnvironment(Patient(execute=lambda call: time.sleep(0.3)), limits).execute(ToolCall("go", {}))
