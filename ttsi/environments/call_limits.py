"""Limits around any environment: an exception, a call that does not return and a result that is no text do no harm.

Inputs: an environment, the seconds of a call and the characters of a result. Outputs: `LimitedEnvironment`, which is
an environment too. What a tool does wrong becomes an error that the model reads; what the environment itself does
wrong ends the task with an `EnvironmentFailure`. The paper (arXiv:2510.07841) executes nothing.
"""

from __future__ import annotations

import contextvars
import copy
import inspect
import logging
import re
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from ttsi.chat.conversation import check_tool
from ttsi.environments.environment import Environment, waits_for_user
from ttsi.errors import ConfigError, DataError, EnvironmentFailure, on_one_line
from ttsi.plurals import kind_of
from ttsi.types import Message, Tool, ToolCall, ToolResult

T = TypeVar("T")

log = logging.getLogger(__name__)

_OTHER_THREAD = re.compile(r"\b(?:a|in|main|same|different|another|other) thread\b", re.IGNORECASE)
"""How an error says that an object is bound to a thread, as those of SQLite, asyncio, signal and greenlet do."""
_LEFT_OUT = re.compile(r"\n\(([\d,]+) more characters were left out\.\)\Z")
_CALL_THREADS = "ttsi: "
"""How the names of the threads of calls begin."""
LONGEST_LIMIT = 86_400.0
"""Most seconds that a call may be given: a day."""


@dataclass(frozen=True)
class CallLimits:
    """How long a call may take, and how long its result may be."""

    seconds: float = 30.0
    """Wall seconds for each call of a method of the environment; 0 is no limit, and it runs in the caller's thread."""
    result_characters: int = 20_000
    """Characters of a result that are kept; a sentence about those left out follows."""

    def __post_init__(self) -> None:
        if not 0 <= self.seconds <= LONGEST_LIMIT:
            raise ConfigError(
                f"seconds must be 0 (no limit) or more, and at most {LONGEST_LIMIT:,.0f}, not {self.seconds}"
            )
        if self.result_characters < 1:
            raise ConfigError(f"result_characters must be at least 1, not {self.result_characters}")


class LimitedEnvironment:
    """An environment around another one, which keeps to the protocol whatever the other does.

    A call runs in a daemon thread. One that does not return goes on there, as Python can end no thread, and the
    environment cannot be used again. One that goes on after Ctrl-C is waited for when the environment is used next.
    """

    def __init__(self, environment: Environment, limits: CallLimits | None = None) -> None:
        """Put limits around an environment; None are the defaults of `CallLimits`."""
        self._environment = environment
        self._limits = limits or CallLimits()
        self._origins: tuple[Environment, ...] = ()  # what this is a copy of, the nearest last
        self._failure = ""
        self._interrupted: _Interrupted | None = None
        self._warned = False  # that an object may be bound to its thread

    @property
    def waits_for_user(self) -> bool:
        """Whether a person types the turns."""
        return waits_for_user(self._environment)

    def tools(self) -> Sequence[Tool]:
        """The tools on offer.

        Raises:
            EnvironmentFailure: they are no tools, two have the same name, or the environment failed.
        """
        tools = self._ask("tools()", self._environment.tools)
        if not _all_are(Tool, tools):
            raise EnvironmentFailure("tools() of the environment must return a sequence of Tools")
        if wrong := next((tool for tool in tools if not _is_tool(tool)), None):
            raise EnvironmentFailure(
                f"the tool {str(wrong.name)[:40]!r} of the environment must have texts for name and description and a "
                "JSON Schema of an object for its parameters"
            )
        names = [tool.name for tool in tools]
        if len(set(names)) < len(names):
            twice = next(name for name in names if names.count(name) > 1)
            raise EnvironmentFailure(f"tools() of the environment has two tools that are called {twice!r}")
        return tuple(tools)

    def next_turn(self) -> Sequence[Message] | None:
        """The messages of the next turn; None is the end.

        Raises:
            EnvironmentFailure: they are no messages, or the environment failed.
        """
        messages = self._ask("next_turn()", self._environment.next_turn, limited=not self.waits_for_user)
        if messages is None:
            return None
        if not messages or not _all_are(Message, messages):
            raise EnvironmentFailure("next_turn() of the environment must return Messages, at least one, or None")
        if not all(_is_text(message.content) for message in messages):
            raise EnvironmentFailure("a message of next_turn() of the environment holds no text that UTF-8 can write")
        return tuple(messages)

    def execute(self, call: ToolCall) -> ToolResult:
        """Execute a call; whatever it raises, and a result that is no text, is a result with `error`.

        Raises:
            EnvironmentFailure: the call did not return in time, the environment raised this error itself, or this is a
                copy and the call changed the original.
        """

        def execute_a_copy() -> Any:
            # The call is in the record: an environment that takes its arguments apart must not change it.
            return self._environment.execute(replace(call, arguments=copy.deepcopy(dict(call.arguments))))

        before = self._origin_states()
        outcome = self._within_limit(f"the call of {call.name}", execute_a_copy)
        if inspect.iscoroutine(outcome):
            outcome.close()
            raise self._fail("execute() of the environment is async: it must return a ToolResult, no coroutine")
        if before != self._origin_states():
            raise self._fail(f"a call on a copy changed the original: {call.name}; copy() must copy all of the state")
        if isinstance(outcome, _Exception):
            if isinstance(outcome.error, EnvironmentFailure):
                raise outcome.error
            outcome = error_result(outcome.error)
        result = _result(call.name, outcome, self._limits.result_characters)
        self._note_thread(call.name, result)
        return result

    def _note_thread(self, name: str, result: ToolResult) -> None:
        """Say once how an object is used that works in its own thread only."""
        if self._warned or self._origins or not self._limits.seconds:
            return
        if result.error and _OTHER_THREAD.search(result.content):
            self._warned = True
            log.warning(
                "%s may need the thread in which its objects were made: --agent.call-seconds 0 calls it there, "
                "without a limit",
                name,
            )

    def copy(self) -> LimitedEnvironment:
        """An independent copy under the same limits.

        Raises:
            EnvironmentFailure: the environment cannot be copied, or its copy is no environment of its own.
        """
        inner = self._ask("copy()", self._environment.copy)
        if not isinstance(inner, Environment):
            raise EnvironmentFailure(f"copy() of the environment returned {kind_of(inner)}, no environment")
        if inner is self._environment:
            raise EnvironmentFailure("copy() of the environment returned the environment itself")
        twin = LimitedEnvironment(inner, self._limits)
        twin._origins = (*self._origins, self._environment)
        return twin

    def _origin_states(self) -> list[str]:
        """The states of what this is a copy of, where they can be read."""
        return [self._ask("state()", state) for one in self._origins if callable(state := getattr(one, "state", None))]

    def _ask(self, method: str, function: Callable[[], T], *, limited: bool = True) -> T:
        outcome = self._within_limit(f"the call of {method}", function, limited=limited)
        if isinstance(outcome, _Exception):
            if isinstance(outcome.error, EnvironmentFailure):
                raise outcome.error
            raise EnvironmentFailure(f"{method} of the environment raised {exception_line(outcome.error)}")
        return outcome

    def _within_limit(self, what: str, function: Callable[[], T], *, limited: bool = True) -> T | _Exception:
        if self._failure:
            raise EnvironmentFailure(self._failure)
        if limited:
            self._await_interrupted()
        outcomes: list[T | _Exception] = []

        own_thread = limited and bool(self._limits.seconds)
        # In a thread nobody else would see it. In the caller's, Ctrl-C is the user's and no result of a tool.
        caught = (BaseException,) if own_thread else (Exception, SystemExit)

        ended = threading.Event()  # Ctrl-C in Thread.join() makes Python take the thread for ended

        def work() -> None:
            try:
                outcomes.append(function())
            except caught as error:
                outcomes.append(_Exception(error))
            finally:
                ended.set()

        if not own_thread:
            work()
            return outcomes[0]
        context = contextvars.copy_context()
        thread = threading.Thread(target=context.run, args=(work,), name=f"{_CALL_THREADS}{what}", daemon=True)
        until = time.monotonic() + self._limits.seconds
        try:
            thread.start()
            ended.wait(self._limits.seconds)
        except KeyboardInterrupt:
            self._interrupted = _Interrupted(what, ended, until)
            raise
        if not outcomes:
            raise self._fail(f"{what} did not return within {self._limits.seconds:g} s: the environment is stopped")
        return outcomes[0]

    def _await_interrupted(self) -> None:
        """Wait until a call that goes on after Ctrl-C has ended, as two at once could do harm.

        Raises:
            EnvironmentFailure: it did not return in time.
        """
        if self._interrupted is None:
            return
        call = self._interrupted
        if not call.ended.is_set():
            log.warning("%s goes on after Ctrl-C: waiting for its end", call.what)
        if not call.ended.wait(max(0.0, call.until - time.monotonic())):
            seconds = f"{self._limits.seconds:g} s"
            raise self._fail(
                f"{call.what} went on after Ctrl-C and did not return within {seconds}: the environment is stopped"
            )
        self._interrupted = None

    def _fail(self, message: str) -> EnvironmentFailure:
        """The error for now and for every later call."""
        self._failure = message
        return EnvironmentFailure(message)


def calls_run() -> bool:
    """Whether a call still runs in its thread: one that did not return in time, or that Ctrl-C left alone."""
    return any(thread.daemon and thread.name.startswith(_CALL_THREADS) for thread in threading.enumerate())


def shorten(content: str, most: int) -> str:
    """A result's first characters, and how many more there are; the note of an earlier shortening is kept true.

    >>> shorten(shorten("x" * 1000, 6), 3)
    'xxx\\n(997 more characters were left out.)'
    """
    noted = _LEFT_OUT.search(content)
    whole, left_out = (content[: noted.start()], int(noted[1].replace(",", ""))) if noted else (content, 0)
    if len(whole) <= most:
        return content
    return f"{whole[:most]}\n({left_out + len(whole) - most:,} more characters were left out.)"


def error_result(error: BaseException) -> ToolResult:
    """What a model reads of an exception: its type and its message on one line."""
    return ToolResult(exception_line(error), error=True)


def exception_line(error: BaseException) -> str:
    """An exception's type and message on one line; the type alone where there is no message.

    >>> exception_line(ValueError("no such\\nfile")), exception_line(KeyError())
    ('ValueError: no such file', 'KeyError')
    """
    name = type(error).__name__
    try:
        message = on_one_line(error)
    except Exception:  # an exception whose message cannot be made
        return name
    return name if message == name else f"{name}: {message}"


@dataclass(frozen=True)
class _Exception:
    """What a call raised in its thread."""

    error: BaseException


@dataclass(frozen=True)
class _Interrupted:
    """A call that Ctrl-C left in its thread: its name, its end, and the time until which it may go on."""

    what: str
    ended: threading.Event
    until: float


def _is_text(value: object) -> bool:
    """Whether a value is a text without lone surrogates."""
    return isinstance(value, str) and not any("\ud800" <= letter <= "\udfff" for letter in value)


def _is_tool(tool: Tool) -> bool:
    try:
        check_tool(tool)
    except DataError:
        return False
    properties, required = tool.parameters.get("properties", {}), tool.parameters.get("required", ())
    return isinstance(properties, Mapping) and isinstance(required, list | tuple)


def _all_are(kind: type, values: object) -> bool:
    return isinstance(values, Sequence) and all(isinstance(value, kind) for value in values)


def _result(name: str, value: object, most: int) -> ToolResult:
    if not isinstance(value, ToolResult):
        return ToolResult(f"{name} returned {kind_of(value)}, no ToolResult", error=True)
    if not isinstance(value.content, str) or not isinstance(value.error, bool):
        kinds = f"{type(value.content).__name__} and {type(value.error).__name__}"
        return ToolResult(f"{name} returned a ToolResult of {kinds}, not of a text and a bool", error=True)
    content = shorten(value.content, most)
    try:
        content.encode()
    except UnicodeEncodeError:
        return ToolResult(f"{name} returned a text with half a character (a lone surrogate)", error=True)
    return ToolResult(content, value.error)
