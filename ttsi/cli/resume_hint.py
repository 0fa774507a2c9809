"""The command that continues a run: as it was typed, with --resume and without --clean.

Inputs: the words of the command line; where they name other settings than the run has, the differences. Outputs: one
line to paste into a shell.
"""

from __future__ import annotations

import shlex
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ttsi import codec
from ttsi.cli.config_layers import SHORT, method_preset
from ttsi.config import CUSTOM

CONTINUING = ("--resume", "--retry-failed", "--repair")
"""Flags that continue a run."""

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


def restoring_command(changes: Mapping[str, tuple[Any, Any]], now: Mapping[str, Any]) -> str | None:
    """The line that continues a run that has other settings than this command line.

    Args:
        changes: dotted field of the run's config.json -> its value there, and that of this command line.
        now: the settings of this command line, as config.json has them.

    Returns:
        None where no flag brings the run's settings back: other data, weights or versions, or settings from Python.
    """
    settings = {path.removeprefix("settings."): both for path, both in changes.items() if path[:9] == "settings."}
    then = {name: settings[name][0] if name in settings else now.get(name) for name in ("model", "method")}
    others = {path.partition(".")[0] for path in changes if path[:9] != "settings."}
    moved = {"model", "format", "teacher"} & settings.keys()
    if _command_line[:1] != ["run"] or not settings or "versions" in others or then["method"] == CUSTOM:
        return None
    if "model" in others and not moved:
        return None
    before, after = (_preset(str(which["method"]), str(which["model"])) for which in (then, now))
    flags: list[str] = []
    for path, (value, present) in settings.items():
        if path in before and (value, present) == (before[path], after[path]):
            continue  # comes with the method and the model
        words = _as_words(path, value)
        typed = not _flag_names(path).isdisjoint(word.partition("=")[0] for word in _command_line)
        if words is None or (not words and not typed):
            return None
        flags += words
    return resume_command([*_without_settings(_command_line, settings), *flags])


def _preset(method: str, model: str) -> dict[str, Any]:
    """The settings of a method, by the path that they have in a run's settings."""
    stages = codec.to_json(method_preset(method, model)).items()
    inner = {
        f"loop.{stage}.{name}": value
        for stage, part in stages
        if isinstance(part, dict)
        for name, value in part.items()
    }
    return {**inner, **{f"loop.{name}": value for name, value in stages if not isinstance(value, dict)}}


def _as_words(path: str, value: Any) -> list[str] | None:
    """The words that give a setting this value; None is one that no flag gives."""
    flag, negative = _flags(path)
    if isinstance(value, bool):
        return [flag if value else negative]
    if value is None:
        return []  # leave the flag out
    if isinstance(value, dict) or value == [] or path == "loop.adapt":
        return None
    return [word for one in (value if isinstance(value, list) else [value]) for word in (flag, str(one))]


def _flags(path: str) -> tuple[str, str]:
    """The flag of a setting, and the one that switches it off."""
    stage, dot, name = path.removeprefix("loop.").replace("_", "-").rpartition(".")
    return f"--{stage}{dot}{name}", f"--{stage}{dot}no-{name}"


def _flag_names(path: str) -> set[str]:
    """All flags of a setting, its short name among them."""
    flags = set(_flags(path))
    return flags | {short for short, long in SHORT.items() if long in flags}


def _without_settings(words: Sequence[str], settings: Mapping[str, tuple[Any, Any]]) -> Iterator[str]:
    """The words without the flags of these settings, and without the values of these flags."""
    is_switch = {
        flag: any(isinstance(value, bool) for value in both)
        for path, both in settings.items()
        for flag in _flag_names(path)
    }
    rest = iter(words)
    for word in rest:
        name, equals, _ = word.partition("=")
        if name not in is_switch:
            yield word
        elif not equals and not is_switch[name]:
            next(rest, None)


def _program() -> str:
    """How a shell would start this process again."""
    started = sys.argv[0]
    name = Path(started).name
    if name == "ttsi" and ("/" not in started or shutil.which("ttsi") == started):
        return "ttsi"
    if name == "ttsi":
        return shlex.quote(started)
    return "python -m ttsi" if name == "__main__.py" else "ttsi"
