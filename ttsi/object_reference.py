"""Names that are either built in or an object reference `package.module:object` of the user's own.

Inputs: what kind of thing a name is for, the name, the table of those that are built in. Outputs: the object. The form
is that of Python's entry points; the current folder is searched last.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import inspect
import os
import re
import sys
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

from ttsi.errors import ConfigError, type_and_line, unknown_name

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
        ConfigError: it is no reference, the module cannot be imported, or it has no such object; one line.
    """
    module_name, _, path = reference.partition(":")
    if not module_name or not path:
        example = f"{_without_suffix(module_name) or 'module'}:{path or 'object'}"
        raise ConfigError(f"{kind} {reference!r}: write module:object, like {example}")
    _search_current_folder()
    try:
        value: Any = importlib.import_module(module_name)
    except (Exception, SystemExit) as error:  # whatever the user's module raises on import
        if (written := _without_suffix(module_name)) != module_name:
            raise ConfigError(f"{kind} {reference!r}: leave out .py and write {written}:{path}") from error
        reason = type_and_line(error)
        raise ConfigError(f"{kind} {reference!r}: cannot import {module_name}: {reason}") from error
    for attribute in path.split("."):
        try:
            value = getattr(value, attribute)
        except AttributeError as error:
            raise ConfigError(f"{kind} {reference!r}: {module_name} has no {path!r}") from error
        except (Exception, SystemExit) as error:  # whatever a property of the user's raises
            raise ConfigError(f"{kind} {reference!r}: {type_and_line(error)}") from error
    return value


def _without_suffix(module_name: str) -> str:
    """The name of the module where the path of its file was written.

    >>> _without_suffix("tools.py"), _without_suffix("./shop/tools.py"), _without_suffix("shop.tools")
    ('tools', 'shop.tools', 'shop.tools')
    """
    if not module_name.endswith(".py"):
        return module_name
    return module_name.removesuffix(".py").removeprefix("./").replace("/", ".")


def load_function(kind: str, reference: str) -> Any:
    """The function that `package.module:object` names; arguments and errors as for `load_object`.

    Raises:
        ConfigError: the object cannot be called.
    """
    value = load_object(kind, reference)
    if not callable(value):
        raise ConfigError(f"{kind} {reference!r} is not a function but of type {type(value).__name__}")
    return value


def source_hash(reference: str) -> str | None:
    """First 12 hex digits of the SHA-256 of the file in which a loaded object's module stands.

    None where the name is no reference, its module is not loaded, or there is no such file.
    """
    module = sys.modules.get(reference.partition(":")[0])
    return _file_hash(module) if module is not None and is_reference(reference) else None


@cache  # a file that is edited later is not what this process runs
def _file_hash(module: ModuleType) -> str | None:
    try:
        file = inspect.getsourcefile(module)
        return file and hashlib.sha256(Path(file).read_bytes()).hexdigest()[:12]
    except (OSError, TypeError):  # no file: built into Python, or typed at a prompt
        return None


def resolve(kind: str, name: str, table: Mapping[str, T], load: Callable[[str, str], Any] = load_object) -> T:
    """The built-in object of a name, or the user's own where the name is an object reference.

    Args:
        kind: what it is to be, for the error.
        name: of the object.
        table: those that are built in.
        load: how a reference is loaded: `load_object`, or `load_function` where only a function will do.

    Raises:
        ConfigError: there is no such name; the line suggests the nearest.
    """
    if name in table:
        return table[name]
    if is_reference(name):
        value: T = load(kind, name)
        return value
    raise ConfigError(unknown_name(kind, name, table))
