"""The page that --help prints: options in groups, with the values that this method and this model would use.

Inputs: the words of the command line, cyclopts' entries. Outputs: the same entries, in which each setting's default is
the one that runs: `ttsi run --method sft --model hf:OWNER/NAME --help` shows those of that method and that model.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from cyclopts.help import DefaultFormatter, InlineText

from ttsi.cli.config_layers import method_preset, model_of, stage_settings
from ttsi.errors import ConfigError

if TYPE_CHECKING:
    from cyclopts.help import HelpEntry, HelpPanel
    from rich.console import Console, ConsoleOptions

FIRST = ("--benchmark", "--model", "--method")
"""Options that head the page."""

NO_DEFAULT = {"None", "()", '""'}
"""Values that Python writes where a setting has none."""


class Formatter:
    """cyclopts' own formatter, given entries whose defaults are those that run."""

    def __init__(self, words: Sequence[str]) -> None:
        self._formatter = DefaultFormatter()
        self._method = option_value(words, "method") or "ttsi"
        self._model = option_value(words, "model") or model_of(words[:1])
        self._defaults = default_values(self._method, self._model)

    def __call__(self, console: Console, options: ConsoleOptions, panel: HelpPanel) -> None:
        """Print one group."""
        entries = sorted((self._entry(entry) for entry in panel.entries), key=_rank)
        description = panel.description
        if any(name in self._defaults for entry in entries for name in entry.positive_names):
            source = f"Defaults of --method {self._method} with --model {self._model}."
            description = f"{_text(description)} {source}\n\n".lstrip()
        self._formatter(console, options, panel.copy(entries=entries, description=description))

    def render_usage(self, console: Console, options: ConsoleOptions, usage: Any) -> None:
        """Print the usage line."""
        self._formatter.render_usage(console, options, usage)

    def render_description(self, console: Console, options: ConsoleOptions, description: Any) -> None:
        """Print what the command does."""
        text = InlineText.from_format(_paragraphs(_plain(description)), "plaintext", force_empty_end=True)
        self._formatter.render_description(console, options, text)

    def _entry(self, entry: HelpEntry) -> HelpEntry:
        # The lines of a docstring end where the source's do.
        changed: dict[str, Any] = {"description": _text(entry.description)}
        for name in entry.positive_names:
            if name in self._defaults:
                changed["default"] = self._defaults[name]
        if str(changed.get("default", entry.default)) in NO_DEFAULT:
            changed["default"] = None
        return entry.copy(**changed)


def _rank(entry: HelpEntry) -> int:
    return min((FIRST.index(name) for name in entry.positive_names if name in FIRST), default=len(FIRST))


def default_values(method: str, model: str) -> Mapping[str, str]:
    """Each setting as a flag, and its default for this method and model; empty where there is no such method.

    >>> [default_values("ttsi", model)["--awareness.tau"] for model in ("embedded", "hf:some/model")]
    ['-0.04', '0.85']
    """
    try:
        settings = stage_settings(method_preset(method, model))
    except ConfigError:
        return {}
    return {f"--{name.replace('_', '-')}": str(value) for name, value in settings.items()}


def option_value(words: Sequence[str], name: str) -> str | None:
    """The value of --NAME on a command line, else of TTSI_NAME.

    >>> option_value(["run", "--method", "sft"], "method"), option_value(["run", "--method=sft"], "method")
    ('sft', 'sft')
    """
    for word, following in zip(words, [*words, None][1:], strict=True):
        if word == f"--{name}":
            return following
        if word.startswith(f"--{name}="):
            return word.partition("=")[2]
    return os.environ.get(f"TTSI_{name.upper()}")


def _text(description: Any) -> str:
    """A description as one line; the terminal breaks it."""
    return " ".join(_plain(description).split())


def _paragraphs(text: str) -> str:
    """A text with every paragraph on one line; one with an indented line was laid out by hand, and stays.

    >>> _paragraphs("A line\\nthat goes on.\\n\\nAnother."), _paragraphs("Try:\\n\\n    ttsi ls\\n    ttsi run")
    ('A line that goes on.\\n\\nAnother.', 'Try:\\n\\n    ttsi ls\\n    ttsi run')
    """
    if any(line.startswith(" ") for line in text.splitlines()):
        return text
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in text.rstrip().split("\n\n"))


def _plain(description: Any) -> str:
    if description is None:
        return ""
    plain = getattr(description, "plain", None) or getattr(description, "primary_renderable", description)
    return str(getattr(plain, "plain", plain))
