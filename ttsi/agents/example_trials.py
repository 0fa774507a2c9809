"""Trials of written examples on copies of the environments, and what is seen there.

Inputs: rollouts, an example, the input it was written for. Outputs: the example with its result, refused in the
environment's own words where a call of it fails; results of tools that need no argument; what was learned earlier.
This is a check without gold, which single requests do not have. The environment of the conversation never changes.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace

from ttsi.agents.rollout import Rollout
from ttsi.call_equality import canonical_calls
from ttsi.environments.environment import Environment
from ttsi.errors import EnvironmentFailure, first_line
from ttsi.types import END_TURN, Example, Input, ToolCall

log = logging.getLogger(__name__)

MOST_EARLIER = 8
"""Most examples of earlier turns that an adapter learns again, the latest."""


class ExampleTrials:
    """The `Experience` of a batch of rollouts, by the ids of their next decisions."""

    def __init__(self, rollouts: dict[str, Rollout], execute: bool) -> None:
        """Trials for these rollouts.

        Args:
            rollouts: input id -> the rollout whose next decision it is.
            execute: False leaves written examples unexecuted, and copies nothing.
        """
        self._rollouts, self._copies = rollouts, execute

    def observations(self, item: Input) -> Sequence[str]:
        """Results in the conversation, and those of tools that need no argument, executed on one copy."""
        results = [message.content for message in item.messages if message.role == "tool"]
        world = self._copy(item) if self._copies else None
        if world is None:
            return results
        for tool in item.tools:
            if not tool.parameters.get("required") and tool.name != END_TURN:
                try:
                    result = world.execute(ToolCall(tool.name, {}))
                except EnvironmentFailure:
                    break
                results += [] if result.error else [result.content]
        return results

    def execute(self, item: Input, example: Example) -> Example:
        """The example with its result; refused where it fails, unchanged where there can be no copy."""
        world = self._copy(item) if self._copies else None
        if world is None:
            return example
        result = None
        for call in example.calls:
            try:
                result = world.execute(call)
            except EnvironmentFailure as error:
                return replace(example, refused=f"executes: {first_line(error)}")
            if result.error:
                return replace(example, result=result, refused=f"executes: {result.content[:200]}")
        return replace(example, result=result)

    def earlier(self, item: Input) -> Sequence[Example]:
        """What was learned before in this life: each call once, so that a repetition does not weigh more."""
        distinct = {canonical_calls(example.calls): example for example in self._rollouts[item.id].learned}
        return tuple(distinct.values())[-MOST_EARLIER:]

    def _copy(self, item: Input) -> Environment | None:
        try:
            return self._rollouts[item.id].environment.copy()
        except EnvironmentFailure as error:
            log.warning("written examples are not executed: %s", first_line(error))
            return None
