"""A rollout: one conversation with an environment, as far as it has come.

Inputs: an environment, and one episode of `ttsi.improve` per decision. Outputs: the input of the next decision, and
in the end the trajectory. Whatever fails in the environment ends this conversation and no other.

The paper (arXiv:2510.07841) answers single requests.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import takewhile
from typing import Literal

from ttsi.call_equality import canonical_calls
from ttsi.config import AgentConfig
from ttsi.environments.call_limits import shorten
from ttsi.environments.environment import Environment, waits_for_user
from ttsi.errors import EnvironmentFailure, first_line
from ttsi.plurals import with_noun
from ttsi.types import (
    DONE,
    END_TURN,
    Answer,
    Episode,
    Example,
    Input,
    Message,
    Step,
    Tool,
    ToolCall,
    ToolResult,
    Trajectory,
    Turn,
)

END_TURN_TOOL = Tool(
    END_TURN,
    "end the turn: everything that the user asked for is done, or no tool can do it",
    {"type": "object", "properties": {}},
)
"""On offer where an answer must be a call, because no answer in words could end the turn."""

STOPPED = "I stopped, as you asked."
"""What the agent has said at the end of a turn that the user interrupted."""
INTERRUPTED = "interrupted by the user; it may have had an effect"
"""The result of a call that the user interrupted."""
SHORT_RESULT = 200
"""Characters of a result that is not shortened further where a conversation gets too long for the model."""


@dataclass
class Rollout:
    """A conversation that goes on."""

    id: str
    environment: Environment
    agent: AgentConfig
    offer_end: bool
    """Offer `END_TURN_TOOL`."""
    messages: list[Message] = field(default_factory=list)
    turns: list[Turn] = field(default_factory=list)
    error: str | None = None
    adapter: bytes | None = None
    """The living adapter, as a file; None where there is none."""
    learned: list[Example] = field(default_factory=list)
    """What the living adapter learned, and in life "episode" those before it."""
    blocked: set[str] = field(default_factory=set)
    """Tools of which a call on a copy did not return: no example calls them again."""
    warned: bool = False
    """Whether it was said that no call is tried on a copy first."""
    _opening: tuple[Message, ...] | None = None  # of the open turn; None between turns
    _steps: list[Step] = field(default_factory=list)
    _finished: bool = False
    _began: int = 0  # messages before the open turn
    _asks: bool = False  # the environment for its next turn

    @property
    def trajectory(self) -> Trajectory:
        """What happened so far."""
        going_on = [] if self._opening is None else [Turn(self._opening, tuple(self._steps), "open")]
        return Trajectory((*self.turns, *going_on), self.error)

    def last_results(self) -> tuple[ToolResult, ...]:
        """Results of the last decision's calls in this turn."""
        return self._steps[-1].results if self._steps else ()

    def begins_turn(self) -> bool:
        """Whether the next decision is the first of its turn."""
        return not self._steps

    def proceed(self) -> bool:
        """Open the next turn where none is open; False where the conversation is over."""
        if self._opening is None and not self._finished:
            self._asks = True
            try:
                opening = self.environment.next_turn()
            except EnvironmentFailure as error:
                self._fail(f"environment: {first_line(error)}")
                return False
            self._asks = False
            self._finished = opening is None
            is_limited = not waits_for_user(self.environment)
            if opening is None and not self.turns:
                self._fail("environment: it has no turn left, as one run uses them up: make a new one for each run")
            elif opening is not None and is_limited and len(self.turns) >= self.agent.max_turns:
                done = with_noun(len(self.turns), "turn")
                self._fail(f"the user goes on after {done}: --agent.max-turns allows no more")
            elif opening is not None:
                self._opening, self._began = tuple(opening), len(self.messages)
                self.messages += opening
        return not self._finished

    def decision(self) -> Input | None:
        """The input of the next decision; None where the environment fails."""
        try:
            tools = tuple(self.environment.tools())
        except EnvironmentFailure as error:
            self._fail(f"environment: {first_line(error)}")
            return None
        if self.offer_end and any(tool.name == END_TURN for tool in tools):
            self._fail(f"environment: a tool is called {END_TURN}, as the one that ends a turn: give it another name")
            return None
        if self.offer_end:
            tools = (*tools, END_TURN_TOOL)
        return Input(f"{self.id}/{len(self.turns) + 1}/{len(self._steps) + 1}", tuple(self.messages), tools)

    def shorten_result(self) -> bool:
        """Halve the longest result in the conversation; False where all are short."""
        results = [at for at, message in enumerate(self.messages) if message.role == "tool"]
        at = max(results, key=lambda at: len(self.messages[at].content), default=None)
        if at is None or (length := len(self.messages[at].content)) <= SHORT_RESULT:
            return False
        content = shorten(self.messages[at].content, length // 2)
        self.messages[at] = replace(self.messages[at], content=content)
        return True

    def act(self, episode: Episode) -> None:
        """Execute the calls of a decision, or end the turn."""
        answer = episode.adapted
        step = Step(
            episode.base, answer, episode.awareness, episode.examples, episode.adaptation, (), episode.seconds,
            episode.error,
        )  # fmt: skip
        if answer is None:
            self._steps.append(step)
            self._fail_to_answer(episode.error or "there is no answer")
        elif answer.calls and self.agent.end_at_repeat and self._repeats(answer):
            self._steps.append(step)
            self.messages.append(Message("assistant", DONE))
            self._end("repeated")
        elif answer.calls:
            self._execute(step, answer)
        else:
            self._steps.append(step)
            self.messages.append(Message("assistant", answer.text))
            self._end("failed" if answer.error else "done")

    def _repeats(self, answer: Answer) -> bool:
        before = self._steps[-1].answer if self._steps else None
        return before is not None and canonical_calls(before.calls) == canonical_calls(answer.calls)

    def _execute(self, step: Step, answer: Answer) -> None:
        names = [call.name for call in answer.calls]
        ends = END_TURN in names and self.offer_end
        calls = answer.calls[: names.index(END_TURN)] if ends else answer.calls
        made = sum(len(message.tool_calls) for message in self.messages)
        numbered = [ToolCall(call.name, call.arguments, f"call_{made + i + 1}") for i, call in enumerate(calls)]
        self._steps.append(step)
        if numbered:
            self.messages.append(Message("assistant", "", tuple(numbered)))
        for call in numbered:
            try:
                result = self.environment.execute(call)
            except EnvironmentFailure as error:
                self._fail(f"tool: {first_line(error)}")
                return
            step = self._steps[-1] = replace(step, results=(*step.results, result))
            self.messages.append(Message("tool", result.content, tool_call_id=call.id))
        if ends:
            self.messages.append(Message("assistant", DONE))
            self._end("done")
        elif self._failures() >= self.agent.max_failures:
            self._end("errors")
        elif len(self._steps) >= self.agent.max_steps:
            self._end("steps")

    def _failures(self) -> int:
        """The last decisions in a row whose calls all failed."""
        failed = takewhile(lambda step: all(result.error for result in step.results), reversed(self._steps))
        return sum(1 for _ in failed)

    def stop_turn(self) -> bool:
        """End the open turn, if there is one; False where the person who interrupted it does not type the next.

        What was executed stays in the conversation; a turn without a step is as if it had not been.
        """
        if self._asks or not waits_for_user(self.environment):
            return False
        if self._opening is None:  # it has ended a moment ago
            return True
        if not self._steps:
            self._forget_turn()
        else:
            answered = {message.tool_call_id for message in self.messages if message.role == "tool"}
            calls = [call for message in self.messages for call in message.tool_calls if call.id not in answered]
            self.messages += [Message("tool", INTERRUPTED, tool_call_id=call.id) for call in calls]
            self.messages.append(Message("assistant", STOPPED))
        self._end("stopped")
        return True

    def _end(self, end: Literal["done", "repeated", "errors", "steps", "failed", "stopped"]) -> None:
        assert self._opening is not None
        self.turns.append(Turn(self._opening, tuple(self._steps), end))
        self._opening, self._steps = None, []

    def _fail_to_answer(self, reason: str) -> None:
        """End the conversation, or where a person types the turns this one alone, as if it had not been."""
        if not waits_for_user(self.environment):
            self._fail(reason)
            return
        self._forget_turn()
        self._end("failed")

    def _forget_turn(self) -> None:
        self.messages[self._began :] = [message for message in self._opening or () if message.role == "system"]

    def _fail(self, reason: str) -> None:
        if self._opening is not None:
            self._end("failed")
        self.error, self._finished = reason, True


def open_rollouts(
    environments: Sequence[tuple[str, Environment]], agent: AgentConfig, offer_end: bool
) -> list[Rollout]:
    """One rollout per (id, environment)."""
    return [Rollout(id_, environment, agent, offer_end) for id_, environment in environments]
