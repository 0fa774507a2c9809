"""The folders of runs that a user means by naming some: runs, folders of runs, and folders of sweeps.

Inputs: paths. Outputs: the run folders, and the runs in a sweep's folder that are none of its points. A sweep's file
may change between two sittings; what it no longer names lies in the same folder, and must not be pooled with the rest.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from ttsi.errors import ConfigError

SWEEP_TABLE = "sweep.json"
"""The file in which a sweep names its points."""
MOST_NAMED = 5
"""Folders that a notice names."""


@dataclass(frozen=True)
class RunFolders:
    """The folders to read, and those left out."""

    runs: list[Path]
    left_out: list[Path]
    """Runs in the folder of a sweep whose table does not name them."""

    @property
    def notice(self) -> str | None:
        """One line about the runs that are left out; None where there are none."""
        if not self.left_out:
            return None
        more = len(self.left_out) - MOST_NAMED
        named = ", ".join(map(str, self.left_out[:MOST_NAMED])) + (f" and {more} more" if more > 0 else "")
        return f"left out, because their {SWEEP_TABLE} does not name them: {named}; to take one, name its folder"


def run_folders(folders: Iterable[Path]) -> RunFolders:
    """The folders; in place of one that is no run itself, the runs in it, and in place of a sweep's its points.

    Raises:
        ConfigError: a folder is named twice; its answers would count twice.
    """
    runs: dict[Path, Path] = {}
    others: list[Path] = []
    for given in folders:
        taken, left_out = _runs_in(given)
        others += left_out
        for folder in taken:
            if folder.resolve() in runs:
                raise ConfigError(f"{folder} is named twice: name each run once")
            runs[folder.resolve()] = folder
    return RunFolders(list(runs.values()), [folder for folder in others if folder.resolve() not in runs])


def _runs_in(given: Path) -> tuple[list[Path], list[Path]]:
    """The runs to read for a folder, and those in it to leave out; the folder itself where there is none to read."""
    inside = sorted(path.parent for path in given.glob("*/run.db"))
    if (given / "run.db").exists():
        return [given], []
    points = sweep_points(given / SWEEP_TABLE)
    left_out = [] if points is None else [folder for folder in inside if folder.name not in points]
    return [folder for folder in inside if folder not in left_out] or [given], left_out


def sweep_points(path: Path) -> frozenset[str] | None:
    """The folders' names in a sweep's table; None where the file is no such table, or there is none."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if content.keys() != {"schema", "points"}:
            return None
        return frozenset(point["folder"] for point in content["points"])
    except (OSError, ValueError, RecursionError, AttributeError, TypeError, KeyError):  # no file, or no such table
        return None
