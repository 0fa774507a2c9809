"""The protocol that an agent knows its world by: tools, turns, calls, copies.

Inputs: calls, with arguments as JSON values. Outputs: the tools on offer, what the user says next, results. An
environment of one's own has the four methods of `Environment`. The paper (arXiv:2510.07841) answers single requests
and executes nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from ttsi.types import Message, Tool, ToolCall, ToolResult


@runtime_checkable
class Environment(Protocol):
    """A conversation with a user whose turns are fixed, and tools with a state behind them.

    `ttsi.environments.call_limits` catches what goes wrong in it: an exception, a call that does not return, a result
    that is no text.
    """

    def tools(self) -> Sequence[Tool]:
        """The tools on offer now."""
        ...

    def next_turn(self) -> Sequence[Message] | None:
        """Begin the next turn: the user's message, behind a system message where there is one; None is the end."""
        ...

    def execute(self, call: ToolCall) -> ToolResult:
        """Execute a call, which may change the state; a call that is refused returns a result with `error`."""
        ...

    def copy(self) -> Environment:
        """An independent copy in the same state: what is executed on it changes nothing here.

        Raises:
            EnvironmentFailure: there can be no copy, because the tools act on the world.
        """
        ...


@runtime_checkable
class WaitsForUser(Protocol):
    """An environment that may ask a person: where the flag is set, `next_turn` has no time limit."""

    waits_for_user: bool
    """Whether the next turn may take any time. It is then asked for in the caller's thread, where Ctrl-C arrives."""


def waits_for_user(environment: object) -> bool:
    """Whether a person types the turns of an environment."""
    return isinstance(environment, WaitsForUser) and environment.waits_for_user


@runtime_checkable
class HasState(Protocol):
    """An environment whose state can be read: a call on a copy that changes the original is then seen."""

    def state(self) -> str:
        """The state as a text, such as JSON: equal texts for equal states."""
        ...
