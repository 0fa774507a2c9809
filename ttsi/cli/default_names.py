"""Files that a command writes by a default name: it replaces its own earlier ones, and nothing else.

Inputs: the path, and how an earlier file of the command is recognised. Outputs: nothing, or an error before anything
is written. Who names a file by an option means that file.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from ttsi.errors import ConfigError


def check_replaceable(path: Path, is_earlier: Callable[[Path], bool], what: str, way_on: str) -> None:
    """Refuse to write over a file that the command did not write, unless it is empty.

    Args:
        path: what is to be written.
        is_earlier: whether a file is one that the command wrote.
        what: the name of such a file, for the error.
        way_on: what to do instead.

    Raises:
        ConfigError: there is a file of another kind, or one that cannot be read.
    """
    if not is_replaceable(path, is_earlier):
        raise ConfigError(f"{path} is there already and is no {what}: {way_on}")


def is_replaceable(path: Path, is_earlier: Callable[[Path], bool]) -> bool:
    """Whether a name is free, or its file is empty or one that the command wrote."""
    if not os.path.lexists(path):
        return True
    try:
        return path.is_file() and (path.stat().st_size == 0 or is_earlier(path))
    except (OSError, ValueError, RecursionError):  # no permission, no text, no JSON
        return False


def beside(folder: Path, ending: str) -> Path:
    """The folder's name with an ending, beside the folder: runs/mine and .csv are runs/mine.csv."""
    place = folder if folder.name not in ("", "..") else folder.resolve()  # "." has no name to begin with
    return place.parent / f"{place.name}{ending}"
