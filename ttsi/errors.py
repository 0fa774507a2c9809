"""Errors that a user can mend, named by the boundary they crossed.

Every error here carries one line that tells the user what to do; the command line prints that line and exits with
code 2. An input that fails during a run is not an error but a recorded fact (`Episode.error`).
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class TTSIError(Exception):
    """Something the user can mend; the message says how."""


class ConfigError(TTSIError):
    """A setting is unknown or out of range."""


class WrongResult(ConfigError):
    """An object of the user's own returned what it must not.

    Args:
        who: the object, and its member.
        value: what it returned.
        wanted: what to do about it.
    """

    def __init__(self, who: str, value: str, wanted: str) -> None:
        super().__init__(who, value, wanted)
        self.without_value = f"{who} returned what it must not: {wanted}"
        """The same line for a log that holds no text of others."""

    def __str__(self) -> str:
        who, value, wanted = self.args
        return f"{who} returned {value}: {wanted}"


class DataError(TTSIError):
    """A file of inputs or tools cannot be read as such."""


class ModelError(TTSIError):
    """A model cannot be loaded or cannot do what was asked."""


class GrammarError(ModelError):
    """A model cannot follow a grammar, such as that of the request's schemas."""


class UnrenderablePrompt(ModelError):
    """A model cannot be given a conversation: its template refuses it, or it lacks a token of it."""


class RunFolderError(TTSIError):
    """A run folder is in use, damaged or belongs to another run."""


class LibraryError(TTSIError):
    """A library of adapters is in use, damaged, or cannot be written."""


class EnvironmentFailure(TTSIError):
    """An agent's environment failed, or cannot do what was asked."""


class NotRepeatable(EnvironmentFailure):
    """A copy of an environment does not execute this call, because it may act on the world. Nothing was done."""


class PromptTooLong(TTSIError):
    """A prompt does not fit the model's context."""


def unknown_name(kind: str, name: str, names: Iterable[str]) -> str:
    """One line for a name that does not exist: what was meant, or what there is."""
    names = sorted(names)
    close = difflib.get_close_matches(name, names, n=1)
    hint = f"did you mean {close[0]!r}?" if close else f"choose one of: {', '.join(names)}"
    return f"unknown {kind} {name!r}; {hint}"


def first_line(error: BaseException) -> str:
    """The first line of an error's message; its type where the message is empty.

    >>> first_line(ValueError("no such file\\nand more")), first_line(KeyError())
    ('no such file', 'KeyError')
    """
    return next(iter(str(error).splitlines()), type(error).__name__)


def type_and_line(error: BaseException) -> str:
    """An error's type and the first line of its message; the type alone where the message is empty.

    >>> type_and_line(ValueError("no such file\\nand more")), type_and_line(SystemExit())
    ('ValueError: no such file', 'SystemExit')
    """
    return f"{type(error).__name__}: {first_line(error)}" if str(error) else type(error).__name__


def on_one_line(error: BaseException, limit: int = 200) -> str:
    """An error's whole message on one line, cut at `limit` characters; its type where the message is empty.

    >>> on_one_line(ValueError("cannot load:\\n  wrong shape")), on_one_line(KeyError())
    ('cannot load: wrong shape', 'KeyError')
    """
    return " ".join(str(error).split())[:limit] or type(error).__name__
