"""The protocol by which the stages use an agent's environment: what is seen there, and what a call does there.

Inputs: an input, a written example. Outputs: texts with values of the state that was reached, the result of the
example's calls on a copy of it, and examples that the agent learned earlier in its episode. `ttsi.agents` has the
class. The paper (arXiv:2510.07841) has single requests and no environment.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from ttsi.types import Example, Input, ToolCall


class FailedCalls(NamedTuple):
    """How many of an answer's calls fail, as far as a copy of the state can tell."""

    least: int
    """Calls that failed there."""
    most: int
    """The same and the calls that were not tried."""


class Experience(Protocol):
    """An agent's environments, one for each input of a batch."""

    @property
    def whole_turns(self) -> bool:
        """Whether an executed example may be a turn of several calls."""
        ...

    def observations(self, item: Input) -> Sequence[str]:
        """Results of tools, as the model reads them, in which values for examples are looked for."""
        ...

    def execute(self, item: Input, example: Example) -> Example:
        """The example with the result of its calls on a copy of the state, and refused where one of them fails."""
        ...

    def failures(self, item: Input, calls: Sequence[ToolCall]) -> FailedCalls:
        """How many of an answer's calls fail on a copy of the state."""
        ...

    def earlier(self, item: Input) -> Sequence[Example]:
        """Examples that were learned earlier in the life of the input's adapter."""
        ...
