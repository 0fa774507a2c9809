"""An environment whose turns a person types, around one that has the tools.

Inputs: an environment, a function that asks for a line. Outputs: the same tools, and one turn per line. The paper
(arXiv:2510.07841) has no conversation.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ttsi.cli.ask import check_utf8
from ttsi.environments.environment import Environment
from ttsi.errors import DataError
from ttsi.types import Message, Tool, ToolCall, ToolResult


class TypedTurns:
    """The environment; a copy of it has no more turns."""

    waits_for_user = True

    def __init__(self, world: Environment, system: str, ask: Callable[[str], str]) -> None:
        """Turns for an environment that has none.

        Args:
            world: executes the calls.
            system: text of a system message before the first turn; "" is none.
            ask: shows a prompt and returns the line that was typed; raises EOFError at the end of the conversation.
        """
        self._world, self._ask = world, ask
        self._opening = (Message("system", system),) if system else ()
        self._number = 1

    def tools(self) -> Sequence[Tool]:
        """The tools of the environment."""
        return self._world.tools()

    def next_turn(self) -> Sequence[Message] | None:
        """The next line that is not blank, nor dropped by Ctrl-C; None at the end of the input."""
        note = ""
        while True:
            prompt, note = f"{note}Turn {self._number}  ", ""
            try:
                line = self._ask(prompt).strip()
            except EOFError:
                return None
            except KeyboardInterrupt:  # meant for the line, or for a turn that ended a moment ago
                note = "\nthe line is dropped; Ctrl-D ends the conversation\n"
                continue
            if not line:
                continue
            try:
                check_utf8(line, "the line")
            except DataError as error:
                note = f"{error}\n"
                continue
            opening, self._opening = self._opening, ()
            self._number += 1
            return (*opening, Message("user", line))

    def execute(self, call: ToolCall) -> ToolResult:
        """Execute the call in the environment."""
        return self._world.execute(call)

    def copy(self) -> Environment:
        """A copy of the environment."""
        return self._world.copy()
