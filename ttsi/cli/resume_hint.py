"""The command that continues a run: as it was typed, with --resume and without --clean; or with the run's own settings.

Inputs: the words of the command line, or the run's folder. Outputs: one line to paste into a shell.
"""

from __future__ import annotations

import shlex
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from ttsi.cli.resumed_settings import CONTINUING, own_settings

_command_line: list[str] = []


def remember(words: Sequence[str]) -> None:
    """Keep the words behind `ttsi`, for `resume_command`."""
    _command_line[:] = words


def resume_command(words: Sequence[str] | None = None) -> str:
    """The line that continues what these words began; by default those of this process.

    >>> resume_command(["run", "--output-dir", "runs/my run", "--clean"]).partition("ttsi ")[2]
    "run --output-dir 'runs/my run' --resume"
    >>> resume_command(["sweep", "s.yaml", "--clean"]).partition("ttsi ")[2]
    'sweep s.yaml'
    """
    kept = [word for word in (_command_line if words is None else words) if word.partition("=")[0] != "--clean"]
    resumes = any(word.partition("=")[0] in CONTINUING for word in kept)
    # A sweep continues by itself.
    if kept[:1] == ["run"] and not resumes:
        kept.append("--resume")
    return f"{_program()} {shlex.join(kept)}"


def own_settings_command(folder: Path) -> str | None:
    """The line that continues the run in a folder with the settings that it has; None where `ttsi run` cannot."""
    if _command_line[:1] != ["run"]:  # a sweep, whose file says what a point is
        return None
    return resume_command(["run", "--output-dir", str(folder)]) if own_settings(folder) else None


def _program() -> str:
    """How a shell would start this process again."""
    started = sys.argv[0]
    name = Path(started).name
    if name == "ttsi" and ("/" not in started or shutil.which("ttsi") == started):
        return "ttsi"
    if name == "ttsi":
        return shlex.quote(started)
    return "python -m ttsi" if name == "__main__.py" else "ttsi"
