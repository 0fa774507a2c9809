"""Configurations and examples that ship with the package, found by the names that the documentation uses.

Inputs: a path as it was typed. Outputs: this file, or where there is none the shipped file of that name:
`configs/own-model.yaml` and `examples/tools.json` work in any folder.
"""

from __future__ import annotations

import re
from pathlib import Path

PACKAGE = Path(__file__).parent.parent
FOLDERS = ("configs", "examples")
SUFFIXES = (".json", ".py", ".yaml")
"""Of the files to list: pip leaves bytecode of its own beside them."""
MAX_CHARACTERS = 90
"""Of a description in the list."""


def shipped_root() -> Path:
    """The folder that holds them: inside an installed package, or the checkout."""
    installed = PACKAGE / "shipped"
    return installed if installed.is_dir() else PACKAGE.parent


def find_file(path: Path) -> Path:
    """The path itself where there is such a file, else the shipped file of that name.

    >>> find_file(Path("examples/tools.json")).name
    'tools.json'
    >>> find_file(Path("nothing/here.yaml"))
    PosixPath('nothing/here.yaml')
    """
    if path.exists() or path.is_absolute() or path.parts[:1] not in [(folder,) for folder in FOLDERS]:
        return path
    shipped = shipped_root() / path
    return shipped if ".." not in path.parts and shipped.is_file() else path


def list_files() -> dict[str, str]:
    """Each shipped file by the name that commands take, with a one-line description."""
    root = shipped_root()
    paths = sorted(path for folder in FOLDERS for path in (root / folder).rglob("*") if path.suffix in SUFFIXES)
    return {path.relative_to(root).as_posix(): _description(path) for path in paths}


def _description(path: Path) -> str:
    if path.suffix == ".json":
        return f"tools for: ttsi ask REQUEST --tools {path.relative_to(shipped_root()).as_posix()}"
    first = path.read_text(encoding="utf-8").partition("\n")[0].removeprefix("#").strip()
    sentence = re.split(r"(?<=[.?]) ", first)[0].rstrip(".")
    return sentence if len(sentence) <= MAX_CHARACTERS else f"{sentence[:MAX_CHARACTERS].rpartition(' ')[0]} ..."
