"""Trials of written examples on copies of the environments, and what is seen there.

Inputs: rollouts, an example, the input it was written for. Outputs: the example with the results of its calls, refused
in the environment's own words where one fails; results of tools that need no argument; what was learned earlier. This
is a check without gold, which single requests do not have. The environment of the conversation never changes.

An executed example becomes a whole turn (`AgentConfig.examples`): request, call, result, end. Some have a failed
attempt before the right call, so that the environment's complaint and what to do about it are learned, too.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Sequence
from dataclasses import replace

from ttsi.agents.example_repair import repairs
from ttsi.agents.rollout import Rollout
from ttsi.call_equality import canonical_calls
from ttsi.config import AgentConfig
from ttsi.environments.environment import Environment
from ttsi.environments.experience import FailedCalls
from ttsi.errors import EnvironmentFailure, NotRepeatable, first_line
from ttsi.types import DONE, END_TURN, NO_CLOSING, Example, Input, ToolCall, ToolResult

log = logging.getLogger(__name__)

MOST_EARLIER = 8
"""Most examples of earlier turns that an adapter learns again, the latest."""
ATTEMPT_SHARE = 0.35
"""Probability of a failed attempt in an example; where the conversation's last call failed, every example has one."""


class ExampleTrials:
    """The `Experience` of a batch of rollouts, by the ids of their next decisions."""

    def __init__(self, rollouts: dict[str, Rollout], agent: AgentConfig) -> None:
        """Trials for these rollouts.

        Args:
            rollouts: input id -> the rollout whose next decision it is.
            agent: whether examples are executed, and what they teach.
        """
        self._rollouts, self._agent = rollouts, agent

    @property
    def whole_turns(self) -> bool:
        """Whether an executed example may be a turn of several calls."""
        return self._agent.execute_examples and self._agent.examples == "turn"

    def observations(self, item: Input) -> Sequence[str]:
        """Results in the conversation, and those of tools that need no argument, executed on one copy."""
        results = [message.content for message in item.messages if message.role == "tool"]
        for tool in item.tools if self._agent.execute_examples else ():
            if tool.parameters.get("required") or tool.name == END_TURN:
                continue
            # A copy each: what one tool does must not hide the state from the next.
            world = self._copy(item)
            if world is None:
                break
            try:
                result = world.execute(ToolCall(tool.name, {}))
            except EnvironmentFailure as error:
                self._block(item, tool.name, error)
                continue
            results += [] if result.error else [result.content]
        return results

    def execute(self, item: Input, example: Example) -> Example:
        """The example with its results; refused where a call fails, unchanged where there can be no copy."""
        if blocked := self._rollouts[item.id].blocked & {call.name for call in example.calls}:
            return replace(example, refused=f"executes: a call of {min(blocked)} did not return before")
        world = self._copy(item) if self._agent.execute_examples else None
        if world is None:
            several = "executes: there is no copy of the environment, and it has several calls"
            return replace(example, refused=several) if len(example.calls) > 1 else example
        try:
            executed = replace(example, results=self._execute_all(item, world, example.calls))
            if is_refused(executed):
                executed = self._repair(item, executed)
        except NotRepeatable as error:
            several = f"executes: {first_line(error)}"
            return replace(example, refused=several) if len(example.calls) > 1 else example
        except EnvironmentFailure as error:
            return replace(example, refused=f"executes: {first_line(error)}")
        if is_refused(executed):
            return replace(executed, refused=f"executes: {executed.results[-1].content[:200]}")
        return self._as_turn(item, executed) if self.whole_turns else executed

    def _execute_all(self, item: Input, world: Environment, calls: Sequence[ToolCall]) -> tuple[ToolResult, ...]:
        """Results of the calls, until one fails; the tool of one that does not return is blocked.

        Raises:
            EnvironmentFailure: a call did not return, or is not executed on a copy.
        """
        results: list[ToolResult] = []
        for call in calls:
            try:
                results.append(world.execute(call))
            except EnvironmentFailure as error:
                self._block(item, call.name, error)
                raise
            if results[-1].error:
                break
        return tuple(results)

    def _repair(self, item: Input, example: Example) -> Example:
        """The first repair that succeeds; else the example as it is."""
        for repair in repairs(example, len(example.results) - 1, example.results[-1].content):
            world = self._copy(item)
            if world is None:
                break
            executed = replace(repair, results=self._execute_all(item, world, repair.calls))
            if not is_refused(executed):
                return executed
        return example

    def failures(self, item: Input, calls: Sequence[ToolCall]) -> FailedCalls:
        """How many of an answer's calls fail on a copy, one after the other."""
        calls = [call for call in calls if call.name != END_TURN]
        blocked = self._rollouts[item.id].blocked
        wanted = calls and self._agent.execute_answers and not any(call.name in blocked for call in calls)
        world = self._copy(item) if wanted else None
        if world is None:
            return FailedCalls(0, len(calls))
        count = 0
        for tried, call in enumerate(calls):
            try:
                count += world.execute(call).error
            except NotRepeatable:  # what the later calls would do depends on this one
                return FailedCalls(count, count + len(calls) - tried)
            except EnvironmentFailure as error:
                self._block(item, call.name, error)
                return FailedCalls(count + 1, count + len(calls) - tried)
        return FailedCalls(count, count)

    def earlier(self, item: Input) -> Sequence[Example]:
        """What was learned before in this life: each call once, so that a repetition does not weigh more."""
        distinct = {canonical_calls(example.calls): example for example in self._rollouts[item.id].learned}
        return tuple(distinct.values())[-MOST_EARLIER:]

    def _as_turn(self, item: Input, example: Example) -> Example:
        """The example as a whole turn, some with a failed attempt before the first call.

        Its end is learned only where the turn has results: before its first call no turn should end.
        """
        ends = END_TURN if self._rollouts[item.id].offer_end else DONE
        example = replace(example, closing=ends if item.messages[-1].role == "tool" else NO_CLOSING)
        draw = random.Random(f"{item.content_hash}|{example.query}")
        results = self._rollouts[item.id].last_results()
        if draw.random() >= ATTEMPT_SHARE and not any(result.error for result in results):
            return example
        attempt = failed_attempt(example.calls[0], draw)
        world = self._copy(item) if attempt else None
        if attempt is None or world is None:
            return example
        try:
            [result] = self._execute_all(item, world, [attempt])
        except EnvironmentFailure:
            return example
        if not result.error:
            return example
        return replace(example, calls=(attempt, *example.calls), results=(result, *example.results))

    def _copy(self, item: Input) -> Environment | None:
        try:
            return self._rollouts[item.id].environment.copy()
        except EnvironmentFailure as error:
            if not self._rollouts[item.id].warned:
                log.warning("no call is tried first: %s", first_line(error))
            self._rollouts[item.id].warned = True
            return None

    def _block(self, item: Input, name: str, error: EnvironmentFailure) -> None:
        if not isinstance(error, NotRepeatable):
            self._rollouts[item.id].blocked.add(name)


def is_refused(example: Example) -> bool:
    """Whether a call of an executed example failed."""
    return any(result.error for result in example.results)


def failed_attempt(call: ToolCall, draw: random.Random) -> ToolCall | None:
    """A call with one value as a careless reader of the request writes it; None where it has no text to get wrong.

    >>> failed_attempt(ToolCall("read", {"file_name": "plan"}), random.Random(1))
    ToolCall(name='read', arguments={'file_name': 'Plan'})
    """
    texts = [name for name, value in call.arguments.items() if isinstance(value, str) and value]
    if not texts:
        return None
    name = draw.choice(texts)
    value = str(call.arguments[name])
    label = name.replace("_", " ")
    variants = [f"{label} {value}", f"the {value}", value.title(), value.rpartition(" ")[2], value.rpartition(".")[0]]
    different = [variant for variant in variants if variant and variant != value]
    return ToolCall(call.name, {**call.arguments, name: draw.choice(different)})
