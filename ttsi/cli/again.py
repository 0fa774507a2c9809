"""What to type to go on after an interruption: the command as it was typed, with --resume and without --clean.

Inputs: the words of the command line. Outputs: one line that a shell takes as it stands. Not in the paper
(arXiv:2510.07841).
"""

from __future__ import annotations

import shlex
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

GOING_ON = ("--resume", "--retry-failed", "--repair")
"""Flags that go on with a run."""

_typed: list[str] = []


def remember(words: Sequence[str]) -> None:
    """Keep what was typed behind `ttsi`."""
    _typed[:] = words


def resume_command(words: Sequence[str] | None = None) -> str:
    """The line that goes on with what these words began; by default those of this process.

    >>> resume_command(["run", "--output-dir", "runs/my run", "--clean"]).partition("ttsi ")[2]
    "run --output-dir 'runs/my run' --resume"
    >>> resume_command(["sweep", "s.yaml", "--clean"]).partition("ttsi ")[2]
    'sweep s.yaml'
    """
    kept = [word for word in (_typed if words is None else words) if word.partition("=")[0] != "--clean"]
    resumes = any(word.partition("=")[0] in GOING_ON for word in kept)
    # A sweep goes on by itself.
    if kept[:1] == ["run"] and not resumes:
        kept.append("--resume")
    return f"{_program()} {shlex.join(kept)}"


def _program() -> str:
    """How this process was started, as a shell would start it again."""
    started = sys.argv[0]
    name = Path(started).name
    if name == "ttsi" and ("/" not in started or shutil.which("ttsi") == started):
        return "ttsi"
    if name == "ttsi":
        return shlex.quote(started)
    return "python -m ttsi" if name == "__main__.py" else "ttsi"
