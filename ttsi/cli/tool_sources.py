"""Tools that a command is given: a JSON file of schemas, or Python functions.

Inputs: what was typed, a path or module:object. Outputs: tools, or the functions themselves. The paper
(arXiv:2510.07841) has the tools of its benchmarks.
"""

from __future__ import annotations

import inspect
import json
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from ttsi.cli.shipped_files import find_file
from ttsi.cli.standard_streams import OwnStdout
from ttsi.errors import ConfigError, DataError, type_and_line
from ttsi.object_reference import load_object
from ttsi.plurals import kind_of
from ttsi.types import Tool

_REFERENCE = re.compile(r".*:[^\W\d][\w.]*|.*\.py")
"""module:object, or the path of a file of Python, also where it is written amiss; a drive's letter is followed by a
slash."""


def read_tools_of(name: str) -> tuple[Tool, ...]:
    """The tools of a JSON file, also of one that ships with ttsi; where there is none, of Python functions.

    Raises:
        ConfigError: a function cannot be a tool, or there is none.
        DataError: the file is missing, not JSON, or not a list of function schemas; one line.
    """
    path = find_file(Path(name))
    if (path.exists() and path.suffix != ".py") or not _REFERENCE.fullmatch(name):
        return _read_file(path)
    from ttsi.environments.functions import FunctionEnvironment

    with OwnStdout():  # the module may print, and stdout is the answer's
        return tuple(FunctionEnvironment(functions_of(name, "tools")).tools())


def _read_file(path: Path) -> tuple[Tool, ...]:
    from ttsi.chat.conversation import parse_json, read_tools

    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        instead = "give a JSON file of tools, or module:object with Python functions"
        raise DataError(f"{path} cannot be read ({error.strerror}): {instead}") from None
    except UnicodeDecodeError:
        raise DataError(f"{path} is not UTF-8 text: save it as UTF-8") from None
    try:
        return read_tools(parse_json(text))
    except json.JSONDecodeError as error:
        raise DataError(f"{path} is not JSON: {error.msg} in line {error.lineno}, column {error.colno}") from None
    except DataError as error:
        raise DataError(f"{path}: {error}") from None


def functions_of(reference: str, setting: str = "functions") -> list[Callable[..., Any]]:
    """The functions that `module:object` names.

    Raises:
        ConfigError: there are none.
    """
    value = load_object(setting, reference)
    _refuse_unbound(setting, reference, value)
    try:
        if _is_one_tool(value):
            return [value]
        if inspect.isclass(value) or inspect.isfunction(value):
            value = value()
        # Its methods first: a class of the user's own may extend list.
        members = _public_methods(value) or (list(value) if isinstance(value, list | tuple | Iterator) else [])
    except (Exception, SystemExit) as error:  # whatever the user's own code raises
        raise ConfigError(f"{setting} {reference!r}: {type_and_line(error)}") from error
    wrong = next((place for place, member in enumerate(members) if not callable(member)), None)
    if wrong is not None:
        kind = kind_of(members[wrong])
        raise ConfigError(f"{setting} {reference!r}: entry {wrong + 1} of the list is {kind}, no function")
    if not members:
        raise ConfigError(
            f"{setting} {reference!r} is {kind_of(value)} without functions of its own: give a list of "
            "functions, an object with public methods, a function that makes one, or one function with parameters"
        )
    return members


def _refuse_unbound(setting: str, reference: str, value: object) -> None:
    from ttsi.environments.signatures import class_without_object

    if not (owner := class_without_object(value)):
        return
    module_name, _, path = reference.partition(":")
    owner, _, name = path.rpartition(".") if "." in path else (owner, "", path)
    raise ConfigError(
        f"{setting} {reference!r} is a method without its object: write {module_name}:{owner} for all methods of a new "
        f"object, or name the method of an object, like {module_name}:{owner.lower()}.{name}"
    )


def _is_one_tool(value: object) -> bool:
    """Whether an object is a tool itself; a function without parameters makes tools, unless it is async."""
    if inspect.isfunction(value):
        return bool(inspect.signature(value).parameters) or inspect.iscoroutinefunction(value)
    return inspect.isroutine(value)


def _public_methods(value: object) -> list[Callable[..., Any]]:
    """The public methods of the user's own classes, and functions among the attributes.

    Those of the standard library and pydantic are left out, and properties are not evaluated.
    """
    own: set[str] = set()
    foreign = {"pydantic", *sys.stdlib_module_names}
    for kind in reversed(type(value).__mro__):  # the first class that has a name counts
        change = own.difference_update if kind.__module__.partition(".")[0] in foreign else own.update
        change(vars(kind))
    own.update(getattr(value, "__dict__", ()))
    names = sorted(name for name in own if not name.startswith("_"))
    return [getattr(value, name) for name in names if _is_method(inspect.getattr_static(value, name))]


def _is_method(attribute: object) -> bool:
    # A cached property counts as a routine, but cannot be called.
    return inspect.isroutine(attribute) and (callable(attribute) or isinstance(attribute, classmethod))
