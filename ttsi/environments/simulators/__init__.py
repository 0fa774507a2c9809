"""Simulators: eight small worlds with a state and tools, as environments of an agent.

Inputs: a simulator's name, its state as JSON values, the user's turns. Outputs: a `SimulatorEnvironment`. Four of them
are for choosing settings and four for the test (`ttsi.benchmarks.toolworld_agents`). The paper (arXiv:2510.07841)
executes nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any, cast

from ttsi.environments.functions import FunctionEnvironment, conversation_turns
from ttsi.environments.simulators.bank_desk import BankDesk
from ttsi.environments.simulators.calendar_app import CalendarApp
from ttsi.environments.simulators.files import FileStore
from ttsi.environments.simulators.library_desk import LibraryDesk
from ttsi.environments.simulators.mailbox import Mailbox
from ttsi.environments.simulators.shop import Shop
from ttsi.environments.simulators.simulator import Simulator
from ttsi.environments.simulators.train_desk import TrainDesk
from ttsi.environments.simulators.vet_practice import VetPractice
from ttsi.errors import EnvironmentFailure, unknown_name
from ttsi.types import Message

VALIDATION: dict[str, type[Simulator]] = {
    "files": FileStore,
    "calendar": CalendarApp,
    "shop": Shop,
    "mailbox": Mailbox,
}
"""Name -> simulator, for choosing settings."""
TEST: dict[str, type[Simulator]] = {
    "library": LibraryDesk,
    "bank": BankDesk,
    "trains": TrainDesk,
    "vet": VetPractice,
}
"""Name -> simulator, for the test: of domains that the embedded model was not trained to answer in."""
SIMULATORS: dict[str, type[Simulator]] = {**VALIDATION, **TEST}


class SimulatorEnvironment(FunctionEnvironment):
    """The methods of a simulator as tools; its state can be read."""

    def __init__(self, simulator: Simulator) -> None:
        """An environment without turns, whose simulator has the state it is in."""
        super().__init__([getattr(simulator, name) for name in simulator.TOOLS], safe_to_repeat=True)

    def restart(self, state: Mapping[str, Any], turns: Iterable[str | Message | Sequence[Message]]) -> None:
        """Begin in another state, before the first of other turns.

        Raises:
            EnvironmentFailure: the state has other tables than the simulator.
            ConfigError: a turn is neither text nor messages.
        """
        self._simulator().load(state)
        self._turns = conversation_turns(turns, "")
        self._next = 0

    def state(self) -> str:
        """The state as a JSON text with sorted keys."""
        return self._simulator().state()

    def copy(self) -> SimulatorEnvironment:
        """An independent copy in the same state, at the same turn."""
        return cast(SimulatorEnvironment, super().copy())

    def _simulator(self) -> Simulator:
        # Found through a method, because `copy` binds the methods to a new simulator.
        signature = next(iter(self._signatures.values()))
        return cast(Simulator, signature.function.__self__)  # type: ignore[attr-defined]


def simulator(
    name: str, state: Mapping[str, Any], turns: Iterable[str | Message | Sequence[Message]] = ()
) -> SimulatorEnvironment:
    """An environment whose tools are the methods of a simulator.

    Args:
        name: one of SIMULATORS.
        state: the tables at the beginning; copied.
        turns: what the user says, turn by turn.

    Raises:
        EnvironmentFailure: there is no such simulator, or the state has other tables than it.
        ConfigError: a turn is neither text nor messages.
    """
    if name not in SIMULATORS:
        raise EnvironmentFailure(unknown_name("simulator", name, SIMULATORS))
    environment = _prototype(name).copy()
    environment.restart(state, turns)
    return environment


@lru_cache
def _prototype(name: str) -> SimulatorEnvironment:
    # Reading the signatures takes far longer than a copy.
    kind = SIMULATORS[name]
    return SimulatorEnvironment(kind({table: {} for table in kind.tables()}))
