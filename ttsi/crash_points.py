"""Crash points: named moments between two steps, at which a test kills a run.

As in SQLite's own tests, a loop kills the run at the first, second, ... passage of each point until a run passes
untouched, and resumes it each time. Inputs: a point's name. Outputs: nothing, unless a test has set `hook`, which may
raise or kill the process. In production a passage costs one comparison.
"""

from __future__ import annotations

from collections.abc import Callable

POINTS = (
    "folder: locked",
    "folder: deleted summary.json",
    "folder: deleted run.db",
    "config.json: half written",
    "config.json: not yet renamed",
    "config.json: not yet synced",
    "config.json: synced",
    "summary.json: half written",
    "summary.json: not yet renamed",
    "summary.json: not yet synced",
    "summary.json: synced",
    "database: opened",
    "database: migrated",
    "repair: copied",
    "repair: replaced",
    "resume: rows placed",
    "resume: summary deleted",
    "batch: begun",
    "batch: answered",
    "row: not yet committed",
    "row: committed",
    "run: all rows written",
)
"""Every point, in about the order in which a run passes them."""

LIBRARY_POINTS = (
    "adapter: half written",
    "adapter: not yet renamed",
    "adapter: not yet synced",
    "adapter: synced",
    "library: step not yet committed",
    "library: step committed",
)
"""Those of a library of adapters, which only a run with --library passes."""

AGENT_POINTS = ("agent: decided", "agent: acted")
"""Those of an agent's conversation, passed at each of its steps."""

hook: Callable[[str], None] | None = None
"""Set by tests only."""


def reach(point: str) -> None:
    """Call the hook, where a test has set one."""
    if hook is not None:
        hook(point)
