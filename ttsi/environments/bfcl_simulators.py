"""Simulators of BFCL's multi-turn tasks as environments: eight stateful APIs, and users whose turns are fixed.

Inputs: a `SimulatorTask`, which `ttsi.benchmarks.bfcl_multi_turn` reads from the data. Outputs: `BFCLEnvironment`, and
for the judge (`ttsi.benchmarks.bfcl_judge`) the functions beneath it, which make, call and read simulators.

The simulators are the owners' classes (bfcl-eval 2026.3.23, Apache-2.0), imported where they are needed and nothing
else of that package: `pip install --no-deps bfcl-eval`. Three things are done differently from the owners' executor:

* It evaluates the model's text as Python. Here a call is a name and JSON values: the name is looked up among the tools
  on offer and then among the methods of the simulators' classes, and the values are passed as keyword arguments.
* It keeps simulators in globals under the model's name and the task's id. Here they belong to one environment, and they
  are copied once after they were loaded, because long-context tasks share their additional records between instances.
* Arguments that would take a simulator for ever (a square root to 10^9 digits) or are unreasonably large are refused.

The results that the model reads are the owners': JSON for a dict, else `str`; "Error during execution: ..." for an
exception. The paper (arXiv:2510.07841) executes nothing.
"""

from __future__ import annotations

import copy
import decimal
import inspect
import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

from ttsi.errors import EnvironmentFailure, first_line, unknown_name
from ttsi.plurals import kind_of
from ttsi.types import Message, Tool, ToolCall, ToolResult

MODULES = {
    "GorillaFileSystem": "gorilla_file_system",
    "MathAPI": "math_api",
    "MessageAPI": "message_api",
    "TicketAPI": "ticket_api",
    "TradingBot": "trading_bot",
    "TravelAPI": "travel_booking",
    "TwitterAPI": "posting_api",
    "VehicleControlAPI": "vehicle_control",
}
"""Class of a simulator -> its module, which is also the name of the file that describes its tools."""
PACKAGE = "bfcl_eval.eval_checker.multi_turn_eval.func_source_code"
STATELESS = ("MathAPI",)
INSTALL = "pip install --no-deps bfcl-eval"

TURN_DONE = "Done."
"""What the assistant says at the end of each earlier turn."""

LONGEST = 100_000
"""Characters and values in the arguments of one call; the longest of the gold calls has 7,000."""
DEEPEST = 20
MOST_BITS = 1023
"""Of a whole number: what a float can hold."""
MOST_DIGITS = 10_000
"""Of a result whose precision is an argument."""

Simulators = Mapping[str, Any]
"""Class -> its instance, in the order of the task."""


@dataclass(frozen=True)
class Scenario:
    """The simulators of a task and their state at its beginning."""

    classes: tuple[str, ...]
    initial_config: Mapping[str, Any]
    """Class -> what it loads."""
    long_context: bool = False
    """Whether the simulators add records that nobody asks for."""


@dataclass(frozen=True)
class SimulatorTask:
    """A task as an agent meets it; it has no gold."""

    id: str
    scenario: Scenario
    turns: tuple[tuple[Message, ...], ...]
    """What the user says, turn by turn."""
    tools: tuple[Tool, ...]
    """On offer from the beginning."""
    later_tools: Mapping[int, tuple[Tool, ...]] = field(default_factory=dict)
    """Turn -> the tools that are handed over in it."""

    def tools_in(self, turn: int) -> tuple[Tool, ...]:
        """The tools on offer in a turn, counted from 0; those handed over last come last."""
        later = [tools for number, tools in sorted(self.later_tools.items()) if number <= turn]
        return sum(later, self.tools)


class BFCLEnvironment:
    """A task of BFCL multi-turn: fixed turns of a user, tools with a state behind them."""

    def __init__(self, task: SimulatorTask, gold_prefix: Sequence[Sequence[ToolCall]] | None = None) -> None:
        """Make the environment of a task, at its beginning or at a later turn.

        Args:
            task: the task.
            gold_prefix: None is the whole task. The gold calls of the first n turns make an environment of turn n
                alone: they are executed, and the first `next_turn` returns the conversation until then, in which the
                assistant made one call at a time, with the turn.

        Raises:
            EnvironmentFailure: the simulators are not installed.
        """
        self._task = task
        self._simulators = make_simulators(task.scenario)
        self._first = len(gold_prefix or ())
        self._turn = self._first - 1
        self._last = len(task.turns) - 1 if gold_prefix is None else self._first
        turns = zip(task.turns, gold_prefix or (), strict=False)
        self._history = [message for turn, calls in turns for message in replay_turn(self._simulators, turn, calls)]

    def tools(self) -> Sequence[Tool]:
        """The tools on offer in this turn; before the first turn, those of the first."""
        return self._task.tools_in(max(self._turn, self._first))

    def next_turn(self) -> Sequence[Message] | None:
        """Begin the next turn; None is the end."""
        if self._turn == self._last:
            return None
        self._turn += 1
        messages = (*self._history, *self._task.turns[self._turn])
        self._history = []
        return messages

    def execute(self, call: ToolCall) -> ToolResult:
        """Execute a call of a tool on offer."""
        if call.name not in {tool.name for tool in self.tools()}:
            return _failure(f"no tool of this name is on offer: {call.name[:100]!r}")
        return execute_call(self._simulators, call)

    def copy(self) -> BFCLEnvironment:
        """An independent copy, with its own generators of random numbers in the same state."""
        other = copy.copy(self)
        other._simulators = copy.deepcopy(self._simulators)
        other._history = list(self._history)
        return other

    def state(self) -> str:
        """All public attributes of the simulators as JSON text, which is what the owners' checker compares."""
        return json.dumps({name: _plain(one) for name, one in self._simulators.items()})


def make_simulators(scenario: Scenario) -> Simulators:
    """The simulators of a scenario at its beginning.

    Raises:
        EnvironmentFailure: they are not installed.
    """
    simulators = {}
    for name in scenario.classes:
        simulators[name] = _simulator_class(name)()
        if name not in STATELESS:
            config = copy.deepcopy(scenario.initial_config.get(name, {}))
            simulators[name]._load_scenario(config, long_context=scenario.long_context)
    # In long contexts, records of the module's own are among the attributes, and calls change them.
    return copy.deepcopy(simulators)


def _simulator_class(name: str) -> type:
    if name not in MODULES:
        raise EnvironmentFailure(unknown_name("simulator of BFCL", name, MODULES))
    try:
        simulator: type = getattr(import_module(f"{PACKAGE}.{MODULES[name]}"), name)
    except ImportError as error:
        raise EnvironmentFailure(
            f"BFCL's simulators are not installed ({first_line(error)}): run `{INSTALL}`"
        ) from None
    return simulator


def replay_turn(simulators: Simulators, turn: Iterable[Message], calls: Iterable[ToolCall]) -> list[Message]:
    """Execute the calls of a turn, and the conversation that this makes: one call at a time, and a word at its end."""
    messages = list(turn)
    for call in calls:
        messages += [Message("assistant", "", (call,)), Message("tool", execute_call(simulators, call).content)]
    return [*messages, Message("assistant", TURN_DONE)]


def execute_call(simulators: Simulators, call: ToolCall) -> ToolResult:
    """Execute a call on the simulator that has a method of this name, whether or not the tool is on offer.

    The name is only ever compared with those of public methods that the classes define, and nothing is evaluated.
    """
    if reason := unfit_arguments(call.arguments):
        return _failure(reason)
    for simulator in simulators.values():
        if method := public_methods(type(simulator)).get(call.name):
            return _call_method(method, simulator, call.arguments)
    return _failure(f"name {call.name[:100]!r} is not defined")


def _call_method(method: Callable[..., Any], simulator: Any, arguments: Mapping[str, Any]) -> ToolResult:
    try:
        with decimal.localcontext():  # one simulator sets the precision of the whole thread
            value = method(simulator, **copy.deepcopy(dict(arguments)))
        return ToolResult(_result_text(value), isinstance(value, dict) and "error" in value)
    except Exception as error:
        return _failure(str(error))


def public_methods(simulator: type) -> Mapping[str, Callable[..., Any]]:
    """The functions that a class itself defines under a name without an underscore at its beginning."""
    return {name: one for name, one in vars(simulator).items() if inspect.isfunction(one) and name[0] != "_"}


def unfit_arguments(arguments: Any) -> str | None:
    """Why a simulator must not be called with these arguments: they are too large, too deep, no JSON, or too costly."""
    if not isinstance(arguments, Mapping):
        return "the arguments are no JSON object"
    left, stack = LONGEST, [(arguments, 0)]
    while stack:
        value, depth = stack.pop()
        left -= 1
        if isinstance(value, Mapping | list | tuple):
            left -= len(value)
            inner = [*value.keys(), *value.values()] if isinstance(value, Mapping) and left >= 0 else value
            stack += [(one, depth + 1) for one in (inner if left >= 0 else ())]
        elif isinstance(value, str):
            left -= len(value)
        elif isinstance(value, int) and value.bit_length() > MOST_BITS:
            return f"a whole number has more than {MOST_BITS} bits"
        elif not (value is None or isinstance(value, int) or (isinstance(value, float) and math.isfinite(value))):
            return f"{kind_of(value)} is no JSON value"
        if left < 0 or depth > DEEPEST:
            return f"the arguments are larger than {LONGEST} characters or deeper than {DEEPEST} levels"
    return "the result would have too many digits" if _too_many_digits(arguments) else None


def _too_many_digits(arguments: Mapping[str, Any]) -> bool:
    """Whether the arithmetic of `MathAPI` would hardly end: it has whole numbers of any size."""
    base, exponent = arguments.get("base"), arguments.get("exponent")
    if isinstance(base, int) and isinstance(exponent, int) and base.bit_length() * exponent > MOST_DIGITS * 4:
        return True
    return any(_magnitude(arguments.get(name)) > MOST_DIGITS for name in ("precision", "decimal_places"))


def _magnitude(value: Any) -> float:
    try:
        return abs(float(value))
    except (TypeError, ValueError):
        return 0.0


def _result_text(value: Any) -> str:
    """A result as the owners write it."""
    if isinstance(value, str):
        return value
    if isinstance(value, dict):
        try:
            return json.dumps(value)
        except (TypeError, ValueError, RecursionError):  # an object that is no JSON value
            pass
    return str(value)


def _failure(reason: str) -> ToolResult:
    return ToolResult(f"Error during execution: {reason}", error=True)


def public_state(simulator: Any) -> Mapping[str, Any]:
    """The attributes of a simulator that the owners' checker compares."""
    return {name: value for name, value in vars(simulator).items() if not name.startswith("_")}


def _plain(value: Any, depth: int = 0) -> Any:
    """A value as JSON: objects by their public attributes, sets sorted, keys as text and sorted."""
    if depth > DEEPEST * 5:
        return "..."
    if isinstance(value, Mapping):
        texts = {key if isinstance(key, str) else repr(key): _plain(one, depth + 1) for key, one in value.items()}
        return dict(sorted(texts.items()))
    if isinstance(value, list | tuple):
        return [_plain(one, depth + 1) for one in value]
    if isinstance(value, set | frozenset):
        return sorted(map(repr, value))
    if value is None or isinstance(value, str | int | float | bool):
        return value
    # A directory is its name and its contents; where it lies follows from its parent's.
    return _plain({name: one for name, one in public_state(value).items() if name != "parent"}, depth + 1)
