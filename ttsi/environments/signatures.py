"""Signatures of Python functions: what a model may pass them, as JSON Schema and as a check of the arguments.

Inputs: a plain function or a bound method, async or not, with type hints and a docstring. Outputs: a
`FunctionSignature` with the tool, the function, and the check. Nothing is coerced: "3" is no integer, though 3 is a
float.
"""

from __future__ import annotations

import asyncio
import contextvars
import functools
import inspect
import json
import typing
from collections.abc import Callable, Coroutine, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from types import MethodType
from typing import Annotated, Any
from weakref import WeakKeyDictionary

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, create_model
from pydantic.errors import PydanticUserError

from ttsi.chat.tool_schema import tool_from_openai
from ttsi.environments.docstrings import argument_texts, first_paragraph
from ttsi.errors import ConfigError, DataError, first_line, on_one_line
from ttsi.types import Tool

_DATA = frozenset({"default", "const", "enum", "examples"})
"""Keywords whose values are data, not schemas."""
_LONGEST = 100
"""Characters that an error quotes of what is no function."""
_ORDER = ("type", "description", "properties", "required")
"""Keywords that come first in a schema, as in most tools that a model was trained on."""

_PLAIN: WeakKeyDictionary[Callable[..., Any], tuple[Tool, type[BaseModel]]] = WeakKeyDictionary()
_BOUND: WeakKeyDictionary[Callable[..., Any], tuple[Tool, type[BaseModel]]] = WeakKeyDictionary()
"""What was read of a function, as itself and as a method: environments of one class are made by the hundred."""


@dataclass(frozen=True)
class FunctionSignature:
    """A function, its tool, and the model that its arguments must fit."""

    function: Callable[..., Any]
    """It returns its value, also where what was read is async."""
    tool: Tool
    model: type[BaseModel]

    def check(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """The arguments as the function takes them: a dataclass where the hint is one, only those that were given.

        Raises:
            ValueError: an argument is missing, unknown or wrong; the message is one line that names it.
        """
        try:
            text = json.dumps(dict(arguments), allow_nan=False)
        except (TypeError, ValueError, RecursionError) as error:
            raise ValueError(f"the arguments are no JSON: {on_one_line(error)}") from error
        try:
            values = self.model.model_validate_json(text, strict=True)  # as JSON: a list may be a tuple, a text a date
        except ValidationError as error:
            raise ValueError(_describe(error)) from error
        fields = type(values).model_fields
        return {str(fields[name].alias): getattr(values, name) for name in fields if name in values.model_fields_set}


def read_signature(function: Callable[..., Any]) -> FunctionSignature:
    """The signature of a function.

    Raises:
        ConfigError: it cannot be a tool; see `ttsi.environments.functions.function_tool`.
    """
    if not (inspect.isfunction(function) or inspect.ismethod(function)):
        if isinstance(function, type):
            raise ConfigError(f"the class {function.__name__} is no plain function or method: pass an object's methods")
        name = " ".join(repr(function).split())[:_LONGEST]
        raise ConfigError(f"{name} is no plain function or method: wrap it in one, with type hints")
    plain = getattr(function, "__func__", function)
    cache = _PLAIN if plain is function else _BOUND
    if plain not in cache or cache[plain][0].name != function.__name__:
        cache[plain] = _read(function)
    return FunctionSignature(_blocking(function), *cache[plain])


def _blocking(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function; where it is async, one that returns its value. Of a method a method, so that a copy can rebind it.

    Each call has an event loop of its own. What is bound to another loop, like an open session, does not work there.
    """
    plain = getattr(function, "__func__", function)
    if not inspect.iscoroutinefunction(inspect.unwrap(plain)):
        return function

    @functools.wraps(plain)
    def call(*args: Any, **arguments: Any) -> Any:
        value = plain(*args, **arguments)
        return _run_to_end(value) if inspect.iscoroutine(value) else value

    return MethodType(call, function.__self__) if inspect.ismethod(function) else call


def _run_to_end(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """The value of a coroutine; it runs in a thread of its own where this one has a running event loop."""
    try:
        if not _has_event_loop():
            return asyncio.run(coroutine)
        context = contextvars.copy_context()
        with ThreadPoolExecutor(1) as pool:
            return pool.submit(context.run, asyncio.run, coroutine).result()
    except asyncio.CancelledError as error:  # no Exception: the caller would take it for its own end
        raise RuntimeError("the call was cancelled") from error


def _has_event_loop() -> bool:
    """Whether an event loop runs in this thread, as in a notebook."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def _read(function: Callable[..., Any]) -> tuple[Tool, type[BaseModel]]:
    name = function.__name__
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        raise ConfigError(f"{name} is a generator: wrap it in a function that returns its values as a list")
    if owner := class_without_object(function):
        raise ConfigError(f"{name} is a method without its object: pass that of an object, like {owner}().{name}")
    model = _argument_model(function)
    description = {"description": first_paragraph(inspect.getdoc(function) or "")}
    try:
        tool = tool_from_openai({"name": name, **description, "parameters": _parameters(model)})
    except DataError as error:
        raise ConfigError(f"{name} cannot be a tool: {error}") from error
    return tool, model


def _argument_model(function: Callable[..., Any]) -> type[BaseModel]:
    name = function.__name__
    hints, texts = _hints(function), argument_texts(inspect.getdoc(function) or "")
    fields: dict[str, Any] = {}
    for position, parameter in enumerate(inspect.signature(function).parameters.values()):
        argument = parameter.name
        if parameter.kind not in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
            raise ConfigError(_refusal(name, parameter))
        if argument not in hints:
            raise ConfigError(f"{name}: the argument {argument!r} has no type hint")
        _check_hint(name, argument, hints[argument])
        text = texts.get(argument) or _annotation_text(hints[argument])
        settings = {"alias": argument, **({"description": text} if text else {}), **_default(parameter.default)}
        # Numbered, because pydantic reserves names such as `json`; the alias is what counts.
        fields[f"argument_{position}"] = (hints[argument], Field(**settings))
    return create_model(name, __config__=ConfigDict(extra="forbid"), **fields)


def _refusal(name: str, parameter: inspect.Parameter) -> str:
    """Why a parameter is no argument of a tool, and what to write instead."""
    remedies: dict[Any, str] = {
        parameter.VAR_POSITIONAL: "take one list",
        parameter.VAR_KEYWORD: "name each argument",
        parameter.POSITIONAL_ONLY: "leave out the /",
    }
    bare = parameter.replace(annotation=parameter.empty)
    return f"{name}: a tool's arguments are passed by name, which {bare} does not allow: {remedies[parameter.kind]}"


def class_without_object(function: object) -> str:
    """The class of a method that was taken from its class, where it has no object to act on; "" for all else."""
    if not inspect.isfunction(function):
        return ""
    owner = function.__qualname__.rpartition(".")[0].rpartition(".")[2]
    first = next(iter(inspect.signature(function).parameters), "")
    return owner if first == "self" and owner != "<locals>" else ""


def _hints(function: Callable[..., Any]) -> dict[str, Any]:
    try:
        return typing.get_type_hints(function, include_extras=True)
    except Exception as error:  # a name that does not exist, or whatever evaluating it raises
        raise ConfigError(f"{function.__name__}: its type hints cannot be read: {on_one_line(error)}") from error


def _check_hint(name: str, argument: str, hint: Any) -> None:
    try:
        TypeAdapter(hint).json_schema()
    except PydanticUserError as error:
        reason = first_line(error)
        raise ConfigError(f"{name}: the type of {argument!r} cannot be JSON Schema: {reason}") from error


def _annotation_text(hint: Any) -> str:
    notes = typing.get_args(hint)[1:] if typing.get_origin(hint) is Annotated else ()
    return next((note for note in notes if isinstance(note, str)), "")


def _default(value: Any) -> dict[str, Any]:
    """The default for pydantic; one that is no JSON value makes the argument optional and is not in the schema."""
    if value is inspect.Parameter.empty:
        return {}
    try:
        json.dumps(value, allow_nan=False)
    except (TypeError, ValueError):
        return {"default_factory": lambda: value}
    return {"default": value}


def _parameters(model: type[BaseModel]) -> dict[str, Any]:
    schema: dict[str, Any] = _readable(model.model_json_schema())
    schema.pop("additionalProperties", None)  # arguments that are listed are complete anyway (`tool_schema`)
    return schema


def _readable(schema: Any) -> Any:
    """A schema without pydantic's titles, which repeat the names, and with its type first."""
    if isinstance(schema, list):
        return [_readable(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    keywords = sorted(schema, key=lambda key: _ORDER.index(key) if key in _ORDER else len(_ORDER))
    return {key: _readable_value(key, schema[key]) for key in keywords if key != "title"}


def _readable_value(key: str, value: Any) -> Any:
    if key in _DATA:
        return value
    if key in ("properties", "$defs"):
        return {name: _readable(part) for name, part in value.items()}
    return _readable(value)


def _describe(error: ValidationError) -> str:
    """The most useful error as one line: a missing argument before an unknown one before a wrong one."""
    ranks = {"missing": 0, "extra_forbidden": 1}
    first = min(error.errors(include_url=False), key=lambda part: ranks.get(part["type"], 2))
    place = ".".join(str(part) for part in first["loc"]) or "the arguments"
    if first["type"] == "missing":
        return f"{place} is missing"
    if first["type"] == "extra_forbidden":
        return f"unknown argument {place}"
    return f"{place}: {first['msg']}"
