"""A layer of settings: values for the flags that no layer above it has set.

Inputs: settings, flat by the names of their flags or nested as in a file; the flags that cyclopts parsed. Outputs: the
same flags, filled.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from cyclopts import App, ArgumentCollection
from cyclopts.config import Dict


def fill(
    settings: Mapping[str, Any], source: str, app: App, commands: Sequence[str], arguments: ArgumentCollection
) -> None:
    """Give the settings to the flags that have no value yet.

    Args:
        source: where they come from, for error messages.
        app: the command's.
        commands: its name.

    Raises:
        CycloptsError: there is no such flag.
    """
    # Below the command's own name: beside the commands, cyclopts drops settings that share a name with one (data).
    for command in reversed(commands):
        settings = {command: settings}
    Dict(dict(settings), source=source)(app, tuple(commands), arguments)
