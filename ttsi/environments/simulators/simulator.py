"""The ground of all simulators: a state of plain tables, names as people type them, and lookups that say what there is.

Inputs: a state as JSON values, one table per field of the class. Outputs: an object whose methods are the tools, and
its state as a JSON text. No clock, no randomness, no file, no network: the same calls lead to the same state. The paper
(arXiv:2510.07841) executes nothing.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from copy import deepcopy
from typing import Any, ClassVar

from ttsi.errors import EnvironmentFailure


class Simulator:
    """A small world with a state and tools.

    Methods raise ValueError with one line for what cannot be done. An action that was done already is refused, so that
    an agent that repeats a call changes nothing.
    """

    TOOLS: ClassVar[tuple[str, ...]] = ()
    """The methods that are tools."""

    def __init__(self, state: Mapping[str, Any]) -> None:
        """A world in a state; the state is copied.

        Raises:
            EnvironmentFailure: a table is missing, or there is one too many.
        """
        self.load(state)

    def load(self, state: Mapping[str, Any]) -> None:
        """Go to another state; it is copied.

        Raises:
            EnvironmentFailure: a table is missing, or there is one too many.
        """
        tables = self.tables()
        if set(state) != set(tables):
            raise EnvironmentFailure(
                f"the state of {type(self).__name__} has {_names(state)}; it must have the tables {_names(tables)}"
            )
        for table in tables:
            setattr(self, table, deepcopy(state[table]))

    @classmethod
    def tables(cls) -> tuple[str, ...]:
        """The names of the state's tables."""
        return tuple(name for name in cls.__annotations__ if not name.isupper())

    def state(self) -> str:
        """The state as a JSON text with sorted keys; a simulator made from it behaves the same."""
        tables = {table: getattr(self, table) for table in self.tables()}
        return json.dumps(tables, sort_keys=True, ensure_ascii=False)


def plain(text: str) -> str:
    """A text without upper case, repeated spaces and marks at its end: as what is new is stored.

    >>> plain("  Golden  House. ")
    'golden house'
    """
    return " ".join(text.lower().split()).rstrip(" .!?")


def entry_name(table: Collection[str], name: str, kind: str) -> str:
    """The name of an entry as the table writes it; upper and lower case do not count.

    Raises:
        ValueError: there is no such entry; the line names those that there are.
    """
    match = existing(table, name)
    if match is None:
        raise ValueError(f"there is no {kind} {name}; there are: {_names(table)}")
    return match


def existing(table: Collection[str], name: str) -> str | None:
    """The name of an entry as the table writes it; None where there is none."""
    return next((entry for entry in table if plain(entry) == plain(name)), None)


def _names(table: Collection[str]) -> str:
    return ", ".join(sorted(table)) or "none"
