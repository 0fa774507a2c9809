"""Types of settings: the values that a field takes, and the refusal of all others.

Inputs: a frozen dataclass of settings, whose fields are numbers (`Between`), texts, paths, choices (`Literal`), tuples
or further dataclasses, each perhaps None. Outputs: nothing, or a `ConfigError` of one line that names the setting. The
command and YAML files convert what they read; Python does not look at annotations, so that 2.5 examples would be
asked for, and fail in the middle of a run.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from dataclasses import dataclass, is_dataclass
from functools import cache
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from ttsi.errors import ConfigError, unknown_name


@dataclass(frozen=True)
class Between:
    """The numbers that a setting takes, bounds included; outside them a run would do nothing, or fail at its end."""

    low: float = -math.inf
    high: float = math.inf
    infinite: bool = False
    """Whether infinite numbers within the bounds are taken, too: as a threshold that all are below, or no limit."""

    def __str__(self) -> str:
        if self.low == -math.inf and self.high == math.inf:
            return "a number"
        return f"{self.low:g} or more" if self.high == math.inf else f"a number between {self.low:g} and {self.high:g}"


Fraction = Annotated[float, Between(0, 1)]
PositiveInt = Annotated[int, Between(1)]
NonNegativeInt = Annotated[int, Between(0)]
NonNegativeFloat = Annotated[float, Between(0)]
Threshold = Annotated[float, Between(infinite=True)]
UpperLimit = Annotated[float, Between(0, infinite=True)]
"""With inf nothing is above it."""

_TYPES: dict[Any, tuple[str, Callable[[Any], bool]]] = {
    bool: ("True or False", lambda value: isinstance(value, bool)),
    int: ("a whole number", lambda value: isinstance(value, int) and not isinstance(value, bool)),
    float: ("a number", lambda value: isinstance(value, int | float) and not isinstance(value, bool)),
    str: ("a string", lambda value: isinstance(value, str)),
    Path: ("a path", lambda value: isinstance(value, str | os.PathLike)),
    tuple: ("strings in a tuple", lambda value: _is_list(value) and all(isinstance(one, str) for one in value)),
}
"""Type of a field -> its name in messages, and whether a value is of it. A bool is no number, though Python's is. Other
types, which a field of the user's own may have, are not checked."""


def check_values(config: Any, section: str = "") -> None:
    """Refuse a value that its field does not take, in these settings or in those inside them.

    Args:
        config: a dataclass.
        section: the dotted name of its settings, with a dot at its end.

    Raises:
        ConfigError: one line.
    """
    for name, hint in _hints(config.__class__).items():
        value, setting = getattr(config, name), f"{section}{name}"
        kind, _, _ = _parts(hint)
        if isinstance(kind, type) and is_dataclass(kind):
            if not isinstance(value, kind):
                raise ConfigError(f"{setting} is {_short(value)}: use {kind.__name__}(...)")
            check_values(value, "" if name == "loop" else f"{setting}.")
        else:
            _check_value(setting, value, hint)


def _check_value(setting: str, value: Any, hint: Any) -> None:
    kind, bounds, optional = _parts(hint)
    if value is None and optional:
        return
    if get_origin(kind) is Literal:
        if value not in get_args(kind):
            raise ConfigError(unknown_name(f"value of {setting}", str(value), get_args(kind)))
        return
    words, takes = _TYPES.get(get_origin(kind) or kind, ("", lambda value: True))
    if not takes(value):
        raise ConfigError(f"{setting} is {_short(value)}: use {words}{' or None' if optional else ''}")
    for between in bounds:
        if not between.low <= value <= between.high:
            raise ConfigError(f"{setting} is {value!r}: use {between}")
    if kind is float and not math.isfinite(value) and not any(between.infinite for between in bounds):
        raise ConfigError(f"{setting} is {value!r}: use a finite number{' or None' if optional else ''}")


def _parts(hint: Any) -> tuple[Any, list[Between], bool]:
    """The type in a hint, its bounds, and whether None is taken, too."""
    if get_origin(hint) is Annotated:
        inner, *marks = get_args(hint)
        kind, bounds, optional = _parts(inner)
        # The command has marks of its own.
        return kind, [*bounds, *(mark for mark in marks if isinstance(mark, Between))], optional
    rest = [part for part in get_args(hint) if part is not NoneType]
    if get_origin(hint) in (Union, UnionType) and len(rest) == 1:
        kind, bounds, _ = _parts(rest[0])
        return kind, bounds, True
    return hint, [], False


def _is_list(value: object) -> bool:
    return isinstance(value, list | tuple)


def _short(value: object) -> str:
    text = " ".join(repr(value).split())
    return text if len(text) <= 60 else f"{text[:57]}..."


@cache
def _hints(config: type) -> dict[str, Any]:
    return get_type_hints(config, include_extras=True)
