"""Copies of the objects behind an agent's tools, for examples that are executed without consequences.

Inputs: the objects whose methods are tools. Outputs: deep copies, made together, so that what the objects share stays
shared. Lists, dicts and sets that belong to the class of an object (`items = []` in the class body) become the copy's
own. An object of which an attribute is a function that refers to the original (`self.remove = lambda n: self.x.pop(n)`)
is refused: `copy.deepcopy` keeps such a function, and a call on the copy would change the original. What lies
elsewhere (a file, a global, a database) is not copied. The paper (arXiv:2510.07841) executes nothing.
"""

from __future__ import annotations

import copy
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from functools import cache
from types import FunctionType
from typing import Any

from ttsi.errors import EnvironmentFailure, on_one_line

_CONTAINERS = (list, dict, set, bytearray, deque)
"""Kinds of values that change in place."""


def copy_together(objects: list[Any]) -> list[Any]:
    """Copies of the objects by one `copy.deepcopy`, with lists, dicts and sets of their classes.

    Raises:
        EnvironmentFailure: an object cannot be copied, or a copy would share state with its original.
    """
    memo: dict[int, Any] = {}
    try:
        copies = copy.deepcopy(objects, memo)
        originals = memo.get(id(memo), [])  # deepcopy keeps here whatever it has copied
        for original in originals:
            _copy_class_state(original, memo)
    except Exception as error:  # whatever an object's own copying raises
        names = ", ".join(_culprits(objects))
        reason = f"{type(error).__name__}: {on_one_line(error)}"
        raise EnvironmentFailure(f"{names} cannot be copied: {reason}; a method __deepcopy__ can do it") from error
    for original, twin in zip(objects, copies, strict=True):
        if twin is original:
            name = type(original).__name__
            raise EnvironmentFailure(f"{name} cannot be copied: its deepcopy is the object itself")
    for function in _functions(originals):
        if _shares_state(function, memo):
            raise EnvironmentFailure(
                f"{function.__qualname__} would act on the original of a copy, because it is a function in an "
                "attribute and refers to the state from outside: make it a method"
            )
    return copies


def has_state(owner: object) -> bool:
    """Whether an object has anything that a copy of it has for itself."""
    kind: Any = type(owner)
    return (
        isinstance(owner, _CONTAINERS)
        or bool(getattr(owner, "__dict__", None))
        or (hasattr(owner, "__dict__") and bool(_class_state(kind)))
        or any(hasattr(owner, name) for base in kind.__mro__ for name in getattr(base, "__slots__", ()))
    )


@cache
def _class_state(kind: Any) -> tuple[str, ...]:
    """The names of the lists, dicts and sets in the body of a class or of its bases; pydantic copies its own."""
    values = {name: value for base in reversed(kind.__mro__) for name, value in vars(base).items()}
    names = (name for name, value in values.items() if isinstance(value, _CONTAINERS) and not name.startswith("__"))
    return () if hasattr(kind, "__pydantic_fields__") else tuple(names)


def _copy_class_state(original: Any, memo: dict[int, Any]) -> None:
    kind: Any = type(original)
    twin = memo.get(id(original))
    own = getattr(twin, "__dict__", None)
    if twin is original or not isinstance(own, dict) or isinstance(original, type):
        return
    for name in _class_state(kind):
        if name not in own:
            own[name] = copy.deepcopy(getattr(kind, name), memo)


def _functions(originals: Iterable[object]) -> Iterator[FunctionType]:
    """The functions that stand as values in what was copied; the attributes of an object are a dict there, too."""
    for original in originals:
        values = original.values() if isinstance(original, dict) else original
        if isinstance(original, dict | list | tuple | set | deque):
            yield from (value for value in values if isinstance(value, FunctionType))  # type: ignore[attr-defined]


def _shares_state(function: FunctionType, memo: Mapping[int, Any], depth: int = 8) -> bool:
    """Whether a function holds, from outside, something that was copied or that changes in place."""
    held = list(function.__defaults__ or ())
    for cell in function.__closure__ or ():
        with suppress(ValueError):  # a name that has no value yet
            held.append(cell.cell_contents)
    return any(
        isinstance(value, _CONTAINERS)
        or memo.get(id(value), value) is not value
        or (isinstance(value, FunctionType) and depth > 0 and _shares_state(value, memo, depth - 1))
        for value in held
    )


def _culprits(objects: list[Any]) -> list[str]:
    """The classes of the objects that cannot be copied alone; of all, where each of them can."""

    def fails(value: object) -> bool:
        try:
            copy.deepcopy(value)
        except Exception:
            return True
        return False

    classes = [type(value).__name__ for value in objects if fails(value)]
    return classes or [type(value).__name__ for value in objects]
