"""Names that are either built in or an object reference `package.module:object` of the user's own.

Inputs: what kind of thing a name is for, the name, the table of those that are built in. Outputs: the object. The form
is that of Python's entry points; the current folder is searched last.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import re
import sys
from collections.abc import Mapping
from typing import Any, TypeVar

from ttsi.errors import ConfigError, first_line, unknown_name

T = TypeVar("T")

REFERENCE = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*(\.[A-Za-z_]\w*)*")
"""`package.module:object`, with dots on both sides of the colon where needed."""


def is_reference(name: str) -> bool:
    """Whether a name has the form `package.module:object`.

    >>> is_reference("mine.measures:gap"), is_reference("margin"), is_reference("hf:Qwen/Qwen3-0.6B")
    (True, False, False)
    """
    return REFERENCE.fullmatch(name) is not None


def can_import(module_name: str) -> bool:
    """Whether the first part of a module's name is installed or lies in the current folder."""
    _search_current_folder()
    return importlib.util.find_spec(module_name.partition(".")[0]) is not None


def _search_current_folder() -> None:
    if (folder := os.getcwd()) not in sys.path:
        sys.path.append(folder)  # last: a file of the current folder must not stand in for an installed package


def load_object(kind: str, reference: str) -> Any:
    """The object that `package.module:object` names.

    Args:
        kind: what it is to be, for the error: "measure", "benchmark", ...

    Raises:
        ConfigError: the module cannot be imported, or has no such object; one line.
    """
    module_name, _, path = reference.partition(":")
    _search_current_folder()
    try:
        value: Any = importlib.import_module(module_name)
    except Exception as error:  # whatever the user's module raises on import
        reason = f"{type(error).__name__}: {first_line(error)}"
        raise ConfigError(f"{kind} {reference!r}: cannot import {module_name}: {reason}") from error
    for attribute in path.split("."):
        if not hasattr(value, attribute):
            raise ConfigError(f"{kind} {reference!r}: {module_name} has no {path!r}")
        value = getattr(value, attribute)
    return value


def resolve(kind: str, name: str, table: Mapping[str, T]) -> T:
    """The built-in object of a name, or the user's own where the name is an object reference.

    Raises:
        ConfigError: there is no such name; the line suggests the nearest.
    """
    if name in table:
        return table[name]
    if is_reference(name):
        value: T = load_object(kind, name)
        return value
    raise ConfigError(unknown_name(kind, name, table))
