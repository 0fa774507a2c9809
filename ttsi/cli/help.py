"""The page that --help prints: options in groups, with the values that the method and the model at hand would use.

Inputs: what was typed, cyclopts' entries. Outputs: the same entries, in which each setting's default is the one that
runs: `ttsi run --method sft --model hf:OWNER/NAME --help` shows those of that method and that model. Not in the paper
(arXiv:2510.07841).
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from cyclopts import Group
from cyclopts.help import DefaultFormatter

from ttsi.errors import ConfigError
from ttsi.methods import preset

if TYPE_CHECKING:
    from cyclopts.help import HelpEntry, HelpPanel
    from rich.console import Console, ConsoleOptions

BASIC = Group("Basic", sort_key=0)
AWARENESS = Group("Awareness", help="Stage 1: is the model sure?", sort_key=1)
SYNTHESIS = Group("Synthesis", help="Stage 2: write similar examples.", sort_key=2)
ADAPTATION = Group("Adaptation", help="Stage 3: learn them in a temporary adapter.", sort_key=3)
ANSWER = Group("Answer", help="How the model answers, before and after.", sort_key=4)
TEACHER = Group("Teacher", help="Another model that writes the examples (methods ttd and ttd-icl).", sort_key=5)
TRAINING = Group("Training data", help="What the methods icl and sft learn from.", sort_key=6)
FOLDER = Group("Run folder", sort_key=7)
ACCESS = Group("Access", help="Who may ask.", sort_key=8)
LIMITS = Group("Limits", help="What one request, one key and everybody together may ask for.", sort_key=9)
MACHINE = Group("Machine", help="Where the work is done.", sort_key=10)
OUTPUT = Group("Output", sort_key=11)


class Formatter:
    """cyclopts' own formatter, given entries whose defaults are those that run."""

    def __init__(self, typed: Sequence[str]) -> None:
        """`typed` is what follows `ttsi`."""
        self._usual = DefaultFormatter()
        self._method = chosen(typed, "method") or "ttsi"
        self._model = chosen(typed, "model") or "embedded"
        self._values = settings(self._method, self._model)

    def __call__(self, console: Console, options: ConsoleOptions, panel: HelpPanel) -> None:
        """Print one group."""
        entries = [self._entry(entry) for entry in panel.entries]
        description = panel.description
        if self._values and any(self._knows(entry) for entry in entries):
            whose = f"Defaults of --method {self._method} with --model {self._model}."
            description = f"{_text(description)} {whose}\n\n".lstrip()
        self._usual(console, options, panel.copy(entries=entries, description=description))

    def render_usage(self, console: Console, options: ConsoleOptions, usage: Any) -> None:
        """Print the usage line."""
        self._usual.render_usage(console, options, usage)

    def render_description(self, console: Console, options: ConsoleOptions, description: Any) -> None:
        """Print what the command does."""
        self._usual.render_description(console, options, description)

    def _knows(self, entry: HelpEntry) -> bool:
        return any(name in self._values for name in entry.positive_names)

    def _entry(self, entry: HelpEntry) -> HelpEntry:
        # The lines of a docstring end where the source's do.
        changed: dict[str, Any] = {"description": _text(entry.description)}
        for name in entry.positive_names:
            if name in self._values:
                changed["default"] = self._values[name]
        return entry.copy(**changed)


def settings(method: str, model: str) -> Mapping[str, str]:
    """Each setting of the method as a flag, and its value for this model; empty where there is no such method.

    >>> settings("ttsi", "embedded")["--awareness.tau"], settings("ttsi", "hf:some/model")["--awareness.tau"]
    ('-0.04', '0.95')
    """
    try:
        stages = asdict(preset(method, model))
    except ConfigError:
        return {}
    return {
        f"--{stage}.{name.replace('_', '-')}": str(value)
        for stage, values in stages.items()
        if isinstance(values, dict)
        for name, value in values.items()
    }


def chosen(typed: Sequence[str], name: str) -> str | None:
    """The value of --NAME as it was typed, else of TTSI_NAME.

    >>> chosen(["run", "--method", "sft"], "method"), chosen(["run", "--method=sft"], "method")
    ('sft', 'sft')
    """
    for word, following in zip(typed, [*typed, None][1:], strict=True):
        if word == f"--{name}":
            return following
        if word.startswith(f"--{name}="):
            return word.partition("=")[2]
    return os.environ.get(f"TTSI_{name.upper()}")


def _text(description: Any) -> str:
    """A description as one line; whoever prints it breaks it where the terminal ends."""
    if description is None:
        return ""
    plain = getattr(description, "plain", None) or getattr(description, "primary_renderable", description)
    return " ".join(str(getattr(plain, "plain", plain)).split())
