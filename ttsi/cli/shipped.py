"""The settings and the tools that ship with the package, found by the names that the documentation gives them.

Inputs: a path as it was typed. Outputs: the file of that name, or where there is none the one that ships:
`configs/own-model.yaml` and `examples/tools.json` work in any folder. Not in the paper (arXiv:2510.07841).
"""

from __future__ import annotations

import re
from pathlib import Path

PACKAGE = Path(__file__).parent.parent
FOLDERS = ("configs", "examples")
LONGEST = 90
"""Characters of a line in the list."""


def root() -> Path:
    """The folder that holds them: of an installed package its own, else the checkout."""
    installed = PACKAGE / "shipped"
    return installed if installed.is_dir() else PACKAGE.parent


def resolved(path: Path) -> Path:
    """The path itself where there is such a file, else the shipped file of that name.

    >>> resolved(Path("examples/tools.json")).name
    'tools.json'
    >>> resolved(Path("nothing/here.yaml"))
    PosixPath('nothing/here.yaml')
    """
    if path.exists() or path.is_absolute() or path.parts[:1] not in [(folder,) for folder in FOLDERS]:
        return path
    found = root() / path
    return found if ".." not in path.parts and found.is_file() else path


def listed() -> dict[str, str]:
    """Each shipped file by the name that commands take, with a line on what it is."""
    found = sorted(path for folder in FOLDERS for path in (root() / folder).rglob("*") if path.is_file())
    return {path.relative_to(root()).as_posix(): _gloss(path) for path in found}


def _gloss(path: Path) -> str:
    if path.suffix == ".json":
        return f"tools for: ttsi ask REQUEST --tools {path.relative_to(root()).as_posix()}"
    first = path.read_text(encoding="utf-8").partition("\n")[0].removeprefix("#").strip()
    sentence = re.split(r"(?<=[.?]) ", first)[0].rstrip(".")
    return sentence if len(sentence) <= LONGEST else f"{sentence[:LONGEST].rpartition(' ')[0]} ..."
