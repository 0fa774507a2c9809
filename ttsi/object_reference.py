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
import posixpath
import re
import sys
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

from ttsi.errors import ConfigError, type_and_line, unknown_name

T = TypeVar("T")

_DRIVE = re.compile(r"[A-Za-z]:(?=[\\/])")

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
    file, path = _split(reference)
    module_name, folder = _module_of(file)
    if not file or not path or folder:
        example = f"{module_name or 'module'}:{path or 'object'}"
        where = f", and start ttsi in the folder {folder} or name it in PYTHONPATH" if folder else ""
        raise ConfigError(f"{kind} {reference!r}: write module:object, like {example}{where}")
    _search_current_folder()
    try:
        value: Any = importlib.import_module(file)
    except (Exception, SystemExit) as error:  # whatever the user's module raises on import
        if module_name != file:
            slip = "leave out .py and write" if file.endswith(".py") else "write dots,"
            raise ConfigError(f"{kind} {reference!r}: {slip} {module_name}:{path}") from error
        reason = f"cannot import {module_name}: {type_and_line(error)}{_shadow(module_name)}"
        raise ConfigError(f"{kind} {reference!r}: {reason}") from error
    module_name = file
    for attribute in path.split("."):
        try:
            value = getattr(value, attribute)
        except AttributeError as error:
            raise ConfigError(f"{kind} {reference!r}: {module_name} has no {path!r}{_source(module_name)}") from error
        except (Exception, SystemExit) as error:  # whatever a property of the user's raises
            raise ConfigError(f"{kind} {reference!r}: {type_and_line(error)}") from error
    return value


def _split(reference: str) -> tuple[str, str]:
    """Module and object of a reference. A drive's colon separates nothing.

    >>> _split("shop.tools:Store"), _split("C:/tools.py:Store"), _split("C:/tools.py")
    (('shop.tools', 'Store'), ('C:/tools.py', 'Store'), ('C:/tools.py', ''))
    """
    drive = _DRIVE.match(reference)
    start = drive.end() if drive else 0
    file, _, path = reference[start:].partition(":")
    return reference[:start] + file, path


def _module_of(file: str) -> tuple[str, str]:
    """The name of a module where the path of its file was written, and the folder where that is no part of the name.

    >>> _module_of("tools.py"), _module_of("./shop/tools.py"), _module_of("shop.tools")
    (('tools', ''), ('shop.tools', ''), ('shop.tools', ''))
    >>> _module_of("shop/tools"), _module_of("C:/shop/tools.py"), _module_of("../tools.py")
    (('shop.tools', ''), ('tools', 'C:/shop'), ('tools', '..'))
    """
    parts = file.removesuffix(".py").replace("\\", "/")
    folder, _, name = parts.rpartition("/")
    if parts.startswith(("/", "~", "../")) or _DRIVE.match(parts):
        return name, folder or "/"
    return posixpath.normpath(parts).replace("/", ".") if parts else "", ""


def _source(module_name: str) -> str:
    """The file from which a module was imported, and the one of the current folder that it stands before."""
    file = getattr(sys.modules.get(module_name), "__file__", None)
    return _shadow(module_name) or (f" ({file})" if file else "")


def _shadow(module_name: str) -> str:
    """What to do where a module of the current folder was meant, and another one has its name."""
    top = module_name.partition(".")[0]
    own = next((path for path in (Path(f"{top}.py"), Path(top, "__init__.py")) if path.is_file()), None)
    imported = sys.modules.get(top)
    if own is None or imported is None:
        return ""
    file = getattr(imported, "__file__", None)
    if file is not None and Path(file).resolve() == own.resolve():
        return ""
    return f"; {file or 'a module of Python'} was imported, which comes before {own} of this folder: rename yours"


def load_function(kind: str, reference: str) -> Any:
    """The function that `package.module:object` names; arguments and errors as for `load_object`.

    Raises:
        ConfigError: the object cannot be called, or nobody would await what it returns.
    """
    value = load_object(kind, reference)
    if not callable(value):
        raise ConfigError(f"{kind} {reference!r} is not a function but of type {type(value).__name__}")
    refuse_async(kind, reference, value)
    return value


def refuse_async(kind: str, reference: str, value: Any) -> None:
    """Refuse a function that returns something to await, before it is called.

    Raises:
        ConfigError: it is one.
    """
    if inspect.iscoroutinefunction(value) or inspect.isasyncgenfunction(value):
        raise ConfigError(f"{kind} {reference!r} is async, and nobody awaits it: write def instead of async def")


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
