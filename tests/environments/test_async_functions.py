"""Async functions and methods as tools: each call runs to its end, on the right object, and its errors are results."""

from __future__ import annotations

import asyncio
import functools
import threading
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from ttsi.environments.call_limits import LimitedEnvironment
from ttsi.environments.environment import Environment
from ttsi.environments.functions import FunctionEnvironment, function_tool
from ttsi.errors import EnvironmentFailure
from ttsi.types import ToolCall, ToolResult


async def add(a: int, b: int = 2) -> int:
    """Add two numbers.

    Args:
        a: the first
    """
    await asyncio.sleep(0)
    return a + b


class Store:
    """A store whose methods are async."""

    def __init__(self) -> None:
        self.things: list[str] = []

    async def put(self, thing: str) -> list[str]:
        """Put a thing in."""
        await asyncio.sleep(0)
        self.things.append(thing)
        return self.things

    @classmethod
    async def kind(cls) -> str:
        """What it is."""
        return cls.__name__

    @staticmethod
    async def size() -> int:
        """How many it can hold."""
        return 3


def call(environment: Environment, name: str, **arguments: Any) -> ToolResult:
    return environment.execute(ToolCall(name, arguments))


def test_an_async_function_is_a_tool_like_any_other() -> None:
    environment = FunctionEnvironment([add, Store.kind, Store().size])
    assert function_tool(add).description == "Add two numbers."
    assert function_tool(add).parameters["properties"]["a"] == {"type": "integer", "description": "the first"}
    for limited in (environment, LimitedEnvironment(environment)):
        assert call(limited, "add", a=1) == ToolResult("3")
        assert call(limited, "kind") == ToolResult("Store")
        assert call(limited, "size") == ToolResult("3")
    assert call(environment, "add", a="1").error


def test_a_copy_of_an_async_method_acts_on_the_copied_object() -> None:
    store = Store()
    environment = FunctionEnvironment([store.put], safe_to_repeat=True)
    twin = environment.copy()
    assert call(twin, "put", thing="a") == ToolResult('["a"]')
    assert call(twin.copy(), "put", thing="b") == ToolResult('["a", "b"]')
    assert store.things == []
    call(environment, "put", thing="c")
    assert store.things == ["c"]


def test_control_an_async_function_needs_a_declaration_to_be_copied() -> None:
    for function in (add, Store.kind):
        with pytest.raises(EnvironmentFailure, match=f"{function.__name__} may act on the world"):
            FunctionEnvironment([function]).copy()
    assert call(FunctionEnvironment([add], safe_to_repeat="add").copy(), "add", a=1) == ToolResult("3")


def raising(error: BaseException) -> FunctionEnvironment:
    async def fail() -> None:
        await asyncio.sleep(0)
        raise error

    return FunctionEnvironment([fail])


def test_what_an_async_function_raises_is_an_error_of_one_line() -> None:
    assert call(raising(KeyError("no\nfile")), "fail") == ToolResult("KeyError: 'no\\nfile'", error=True)
    assert call(raising(SystemExit(3)), "fail") == ToolResult("SystemExit: 3", error=True)
    stopped = call(raising(asyncio.CancelledError()), "fail")
    assert stopped == ToolResult("RuntimeError: the call was cancelled", error=True)


def test_control_an_async_function_may_end_the_task() -> None:
    with pytest.raises(EnvironmentFailure, match="the power is off"):
        call(raising(EnvironmentFailure("the power is off")), "fail")


def test_a_call_works_where_an_event_loop_runs_already() -> None:
    async def in_a_notebook() -> ToolResult:
        return call(FunctionEnvironment([add]), "add", a=1)

    assert asyncio.run(in_a_notebook()) == ToolResult("3")


def test_control_each_call_has_an_event_loop_of_its_own() -> None:
    class Session:
        loops: list[asyncio.AbstractEventLoop] = []  # noqa: RUF012
        event: asyncio.Future[int] | None = None

        async def read(self) -> int:
            loop = asyncio.get_running_loop()
            self.loops.append(loop)
            self.event = self.event or loop.create_future()
            if len(self.loops) > 1:
                await self.event
            return len(self.loops)

    environment = FunctionEnvironment([Session().read])
    assert call(environment, "read") == ToolResult("1")
    second = call(environment, "read")
    assert second.error and second.content.startswith("RuntimeError: Task")  # attached to a different loop
    assert Session.loops[0] is not Session.loops[1] and all(loop.is_closed() for loop in Session.loops)


def test_a_call_runs_in_the_thread_of_its_limit() -> None:
    names: list[str] = []

    async def thread() -> None:
        names.append(threading.current_thread().name)

    call(LimitedEnvironment(FunctionEnvironment([thread])), "thread")
    assert names == ["ttsi: the call of thread"]


def test_a_decorated_async_function_is_awaited_too() -> None:
    def traced(function: Callable[..., Awaitable[int]]) -> Callable[..., Awaitable[int]]:
        @functools.wraps(function)
        def wrapper(*args: Any, **arguments: Any) -> Awaitable[int]:
            return function(*args, **arguments)

        return wrapper

    assert call(FunctionEnvironment([traced(add)]), "add", a=1) == ToolResult("3")
