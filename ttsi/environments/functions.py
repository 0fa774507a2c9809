"""Python functions as an agent's environment: type hints and docstrings become tools, calls become function calls.

Inputs: functions or methods with type hints, and the user's turns. Outputs: `FunctionEnvironment`, and `function_tool`,
which makes a tool of one function. Arguments are checked against the hints before a function is called; what it raises
becomes an error that the model reads. The paper (arXiv:2510.07841) executes nothing.
"""

from __future__ import annotations

import copy
import dataclasses
import json
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from types import MethodType
from typing import Any

from pydantic_core import to_json

from ttsi.environments.call_limits import error_result
from ttsi.environments.object_copies import copy_together, has_state
from ttsi.environments.signatures import read_signature
from ttsi.errors import ConfigError, EnvironmentFailure, NotRepeatable, on_one_line, unknown_name
from ttsi.plurals import kind_of
from ttsi.types import Message, Tool, ToolCall, ToolResult


def function_tool(function: Callable[..., Any]) -> Tool:
    """The tool of a Python function: its name, the first paragraph of its docstring, and its type hints.

    The docstring's texts of the arguments (Google, NumPy or Sphinx style) describe them; a text in
    `Annotated[int, "in metres"]` does too. An async function runs to its end in an event loop of its own for each call.

    Raises:
        ConfigError: it is no plain function or method, or an argument has no hint, a hint without a JSON Schema, or no
            name to pass it by. One line that names the function and the argument.
    """
    return read_signature(function).tool


class FunctionEnvironment:
    """An environment whose tools are Python functions.

    Any function may act on the world: a method may write to a database or post to an address that its object holds. So
    a copy calls those in `safe_to_repeat` only, methods with a copy of their object. What a method keeps elsewhere (a
    file, a global) is not copied (`ttsi.environments.object_copies`).
    """

    def __init__(
        self,
        functions: Iterable[Callable[..., Any]],
        turns: Iterable[str | Message | Sequence[Message]] = (),
        *,
        system: str = "",
        safe_to_repeat: bool | str | Collection[str] = False,
    ) -> None:
        """Make an environment at the beginning of its turns.

        Args:
            functions: plain functions or methods of objects; see `function_tool`.
            turns: what the user says, turn by turn: a text, a message, or several messages.
            system: text of a system message before the first turn; "" is none.
            safe_to_repeat: the names of the functions that a copy may call, as they change nothing that lasts but
                attributes of their object; True is all.

        Raises:
            ConfigError: a function cannot be a tool, two have the same name, a turn is empty or neither text nor
                messages, or what should be a list is none.
        """
        signatures = [read_signature(function) for function in _function_list(functions)]
        self._signatures = {signature.tool.name: signature for signature in signatures}
        if len(self._signatures) < len(signatures):
            names = [signature.tool.name for signature in signatures]
            twice = next(name for name in names if names.count(name) > 1)
            raise ConfigError(f"two functions are called {twice!r}: a tool's name must be unique")
        self._turns = conversation_turns(turns, system)
        self._next = 0
        self._is_copy = False
        self._safe = _safe_names(safe_to_repeat, self._signatures)

    def tools(self) -> Sequence[Tool]:
        """The tools, in the order of the functions."""
        return tuple(signature.tool for signature in self._signatures.values())

    def next_turn(self) -> Sequence[Message] | None:
        """The messages of the next turn; None is the end."""
        if self._next == len(self._turns):
            return None
        self._next += 1
        return self._turns[self._next - 1]

    def execute(self, call: ToolCall) -> ToolResult:
        """Call the function; wrong arguments and what the function raises are results with `error`.

        A text that it returns is the result. Any other value is written as JSON, dates, enums, sets and pydantic
        models as pydantic writes them; what has no JSON as its `str`.

        Raises:
            NotRepeatable: this is a copy, and the function may act on the world.
            EnvironmentFailure: the function raised it, to end the task.
        """
        if call.name not in self._signatures:
            return ToolResult(unknown_name("tool", call.name, self._signatures), error=True)
        signature = self._signatures[call.name]
        if self._is_copy and not self._is_repeatable(signature.function):
            raise NotRepeatable(_not_repeatable(signature.function))
        try:
            arguments = signature.check(call.arguments)
        except ValueError as problem:
            return ToolResult(on_one_line(problem), error=True)
        try:
            value = signature.function(**arguments)
        except EnvironmentFailure:
            raise
        except (Exception, SystemExit) as error:  # whatever the function raises; the model reads it
            return error_result(error)
        return _result(call.name, value)

    def copy(self) -> FunctionEnvironment:
        """An independent copy at the same turn.

        The objects behind the methods are copied by one `copy.deepcopy`, so that what they share stays shared.

        Raises:
            EnvironmentFailure: no function is safe to repeat, an object cannot be copied, or a copy would share state
                with its original.
        """
        functions = [signature.function for signature in self._signatures.values()]
        repeatable = [function for function in functions if self._is_repeatable(function)]
        if functions and not repeatable:
            raise EnvironmentFailure(_not_repeatable(functions[0]))
        owners = {id(owner): owner for function in repeatable if (owner := _owner(function)) is not None}
        copies = dict(zip(owners, copy_together(list(owners.values())), strict=True))
        twin = copy.copy(self)
        twin._signatures = {
            name: dataclasses.replace(signature, function=_rebind(signature.function, copies))
            for name, signature in self._signatures.items()
        }
        twin._is_copy = True
        return twin

    def _is_repeatable(self, function: Callable[..., Any]) -> bool:
        return function.__name__ in self._safe


def _function_list(functions: object) -> list[Callable[..., Any]]:
    if isinstance(functions, type | str | bytes | Mapping) or not isinstance(functions, Iterable):
        given = f"the class {functions.__name__}" if isinstance(functions, type) else kind_of(functions)
        raise ConfigError(f"functions is {given}: pass a list of functions or methods, [bank.deposit, bank.balance]")
    return list(functions)


def conversation_turns(turns: Iterable[str | Message | Sequence[Message]], system: str) -> list[tuple[Message, ...]]:
    """The messages of each turn, with a system message before those of the first where there is a text for it.

    Raises:
        ConfigError: it is no list; a turn is neither text nor messages, or empty; or there is a system text but no
            turn, or a second one.
    """
    if isinstance(turns, type | str | bytes | Message | Mapping) or not isinstance(turns, Iterable):
        raise ConfigError(f"turns is {kind_of(turns)}: pass a list with one entry per turn, turns=[...]")
    messages = [_turn_messages(number, turn) for number, turn in enumerate(turns, 1)]
    if system and not messages:
        raise ConfigError("a system text needs at least one turn that it stands before")
    if system and messages[0][0].role == "system":
        raise ConfigError("the first turn begins with a system message already: leave system out")
    if system:
        messages[0] = (Message("system", system), *messages[0])
    return messages


def _turn_messages(number: int, turn: object) -> tuple[Message, ...]:
    if isinstance(turn, str):
        turn = Message("user", turn)
    messages = (turn,) if isinstance(turn, Message) else tuple(turn) if isinstance(turn, Sequence) else ()
    if not messages or not all(isinstance(message, Message) for message in messages):
        raise ConfigError(f"turn {number} must be a text, a Message or a list of Messages")
    if any(message.role == "user" and not message.content.strip() for message in messages):
        raise ConfigError(f"turn {number} is empty: write what the user says, or leave the turn out")
    return messages


def _safe_names(safe: bool | str | Collection[str], names: Collection[str]) -> frozenset[str]:
    check_safe_to_repeat(safe)
    if isinstance(safe, bool):
        return frozenset(names if safe else ())
    listed = frozenset((safe,) if isinstance(safe, str) else safe)
    for name in sorted(listed.difference(names)):
        raise ConfigError(f"safe_to_repeat (--safe-to-repeat): {unknown_name('function', name, names)}")
    return listed


def check_safe_to_repeat(safe: object, also: str = "") -> None:
    """Refuse what is neither a yes or no nor names.

    Args:
        safe: the argument `safe_to_repeat` of an environment.
        also: the only text that is allowed; without it a text is the name of one function.

    Raises:
        ConfigError: it is something else.
    """
    if isinstance(safe, bool) or (isinstance(safe, str) and also in ("", safe)):
        return
    if isinstance(safe, str) or not isinstance(safe, Collection) or not all(isinstance(name, str) for name in safe):
        words = f'True, False, "{also}"' if also else "True, False"
        raise ConfigError(f"safe_to_repeat must be {words} or a list of names")


def _owner(function: Callable[..., Any]) -> object | None:
    """The object that a method acts on; None for a plain function, a class method, and an object without attributes."""
    owner = getattr(function, "__self__", None)
    return None if isinstance(owner, type) or not has_state(owner) else owner


def _not_repeatable(function: Callable[..., Any]) -> str:
    """Why a copy does not call the function, and what to do about it."""
    owner = _owner(function)
    but = "" if owner is None else f" but attributes of its {type(owner).__name__}, which is copied"
    return (
        f"{function.__name__} may act on the world, so it is not called on a copy: name it in safe_to_repeat "
        f"(--safe-to-repeat) if it changes nothing{but}"
    )


def _rebind(function: Callable[..., Any], copies: dict[int, object]) -> Callable[..., Any]:
    twin = copies.get(id(_owner(function)))
    return function if twin is None else MethodType(function.__func__, twin)  # type: ignore[attr-defined]


def _result(name: str, value: object) -> ToolResult:
    if isinstance(value, str):
        return ToolResult(value)
    try:
        plain = json.loads(to_json(value, inf_nan_mode="strings", fallback=_text_of))
        return ToolResult(json.dumps(plain, ensure_ascii=False))
    except (TypeError, ValueError, RecursionError) as error:
        # The function has done its work, so its call is no failed one.
        return ToolResult(f"done, but what {name} returned cannot be written as JSON: {on_one_line(error)}")


def _text_of(value: object) -> str:
    kind = type(value)
    speaks = kind.__str__ is not object.__str__ or kind.__repr__ is not object.__repr__
    return str(value) if speaks else kind_of(value)
