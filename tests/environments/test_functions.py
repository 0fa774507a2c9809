"""Python functions as an environment: their tools, the check of arguments, results, turns, and copies."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from enum import Enum
from pathlib import Path
from types import MethodType
from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel
from typing_extensions import TypedDict  # pydantic takes that of `typing` from Python 3.12 on

from ttsi.chat.tool_schema import problem
from ttsi.environments.environment import Environment
from ttsi.environments.functions import FunctionEnvironment, function_tool
from ttsi.errors import ConfigError, EnvironmentFailure, NotRepeatable
from ttsi.types import Message, Tool, ToolCall, ToolResult


def add(a: int, b: int = 2) -> int:
    """Add two numbers,
    one to the other.

    Not for texts.

    Args:
        a: the first
            of the two
        b (int): the second: 2 unless it is given

    Returns:
        c: the sum
    """
    return a + b


class Store:
    """A store that another may share."""

    def __init__(self, things: list[str]) -> None:
        self.things = things

    def put(self, thing: str) -> list[str]:
        """Put a thing in."""
        self.things.append(thing)
        return self.things

    def look(self) -> list[str]:
        """What is in it."""
        return self.things


class Clerk:
    """Takes from the store of somebody else."""

    def __init__(self, store: Store) -> None:
        self.store = store

    def take(self) -> str:
        """Take the last thing out."""
        return self.store.things.pop()


@dataclass
class Point:
    x: float
    y: float = 0.0


class Options(TypedDict, total=False):
    deep: bool


class Colour(Enum):
    RED = "red"


def draw(
    json: Literal["line", "dot"],
    at: Point,
    copy: str | None = None,
    points: list[Point] = [],  # noqa: B006 as people write them
    weights: dict[str, float] = {},  # noqa: B006
    options: Options = {},  # noqa: B006
    colour: Colour = Colour.RED,
    width: Annotated[int, "in pixels"] = 1,
    pair: tuple[int, str] = (1, "a"),
) -> str:
    """Draw."""
    return f"{json} {at} {copy} {points} {weights} {options} {colour} {width} {pair}"


def call(environment: Environment, name: str, **arguments: Any) -> ToolResult:
    return environment.execute(ToolCall(name, arguments))


def test_five_lines_are_an_environment() -> None:
    store = Store([])
    environment = FunctionEnvironment([add, store.put], turns=["Add 2 and 3", "Store it"], system="Be brief.")
    assert isinstance(environment, Environment)
    assert environment.next_turn() == (Message("system", "Be brief."), Message("user", "Add 2 and 3"))
    assert call(environment, "add", a=2, b=3) == ToolResult("5")
    assert environment.next_turn() == (Message("user", "Store it"),)
    assert call(environment, "put", thing="5") == ToolResult('["5"]')
    assert environment.next_turn() is None
    assert environment.next_turn() is None
    assert store.things == ["5"]


def test_a_function_becomes_a_tool() -> None:
    parameters = {
        "type": "object",
        "properties": {
            "a": {"type": "integer", "description": "the first of the two"},
            "b": {"type": "integer", "description": "the second: 2 unless it is given", "default": 2},
        },
        "required": ["a"],
    }
    assert function_tool(add) == Tool("add", "Add two numbers, one to the other.", parameters)
    empty = {"type": "object", "properties": {}}
    assert function_tool(Store([]).look) == Tool("look", "What is in it.", empty)


def test_hints_become_json_schema() -> None:
    schema = function_tool(draw).parameters
    assert schema["required"] == ["json", "at"]
    assert schema["properties"]["json"] == {"type": "string", "enum": ["line", "dot"]}
    assert schema["properties"]["copy"] == {"anyOf": [{"type": "string"}, {"type": "null"}], "default": None}
    assert schema["properties"]["points"]["items"] == {"$ref": "#/$defs/Point"}
    assert schema["properties"]["weights"]["additionalProperties"] == {"type": "number"}
    assert schema["properties"]["width"] == {"type": "integer", "description": "in pixels", "default": 1}
    assert schema["$defs"]["Point"]["required"] == ["x"]
    assert schema["$defs"]["Colour"] == {"type": "string", "enum": ["red"]}
    assert "title" not in str(schema)


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        ({}, "a is missing"),
        ({"a": "3"}, "a: Input should be a valid integer"),
        ({"a": True}, "a: Input should be a valid integer"),
        ({"a": 3.5}, "a: Input should be a valid integer"),
        ({"a": None}, "a: Input should be a valid integer"),
        ({"a": 1, "c": 2}, "unknown argument c"),
        ({"a": 1, "argument_0": 2}, "unknown argument argument_0"),
        ({"a": float("nan")}, "the arguments are no JSON"),
        ({"a": {1}}, "the arguments are no JSON"),
    ],
)
def test_wrong_arguments_are_an_error_that_names_the_argument(arguments: dict[str, Any], line: str) -> None:
    result = FunctionEnvironment([add]).execute(ToolCall("add", arguments))
    assert result.error
    assert result.content.startswith(line)
    assert "\n" not in result.content


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        ({"json": "box", "at": {"x": 1}}, "json: Input should be 'line' or 'dot'"),
        ({"json": "dot", "at": {"y": 1}}, "at.x is missing"),
        ({"json": "dot", "at": {"x": 1, "z": 1}}, "at.z"),
        ({"json": "dot", "at": {"x": 1}, "points": [{"x": "1"}]}, "points.0.x"),
        ({"json": "dot", "at": {"x": 1}, "options": {"deeper": True}}, "unknown argument options.deeper"),
    ],
)
def test_nested_arguments_are_checked_too(arguments: dict[str, Any], line: str) -> None:
    result = FunctionEnvironment([draw]).execute(ToolCall("draw", arguments))
    assert result.error
    assert result.content.startswith(line)


def test_a_function_gets_what_its_hints_say() -> None:
    arguments = {"json": "dot", "at": {"x": 3}, "points": [{"x": 1, "y": 2}], "colour": "red", "pair": [2, "b"]}
    result = FunctionEnvironment([draw]).execute(ToolCall("draw", arguments))
    points = "Point(x=3.0, y=0.0) None [Point(x=1.0, y=2.0)]"
    assert result == ToolResult(f"dot {points} {{}} {{}} Colour.RED 1 (2, 'b')")
    assert problem(ToolCall("draw", arguments), [function_tool(draw)]) is None


def test_an_unknown_tool_is_an_error_that_suggests_another() -> None:
    assert call(FunctionEnvironment([add]), "ad") == ToolResult("unknown tool 'ad'; did you mean 'add'?", error=True)


def returned(value: Any) -> ToolResult:
    def give() -> Any:
        return value

    return call(FunctionEnvironment([give]), "give")


def test_results_are_text_or_json() -> None:
    assert returned('a "text"') == ToolResult('a "text"')
    assert returned(None) == ToolResult("null")
    assert returned({"é": [1, 2.5, True]}) == ToolResult('{"é": [1, 2.5, true]}')
    assert returned([Point(1.0)]) == ToolResult('[{"x": 1.0, "y": 0.0}]')


class Receipt(BaseModel):
    """What many tools return."""

    day: date
    lines: dict[str, Decimal]


class Unit(Enum):
    """A choice."""

    KM = "km"


class Basket:
    """An object of no kind that JSON has."""

    def __str__(self) -> str:
        return "two apples"


def test_results_of_usual_kinds_are_written_as_pydantic_writes_them() -> None:
    assert returned(Receipt(day=date(2027, 5, 3), lines={"tea": Decimal("1.50")})) == ToolResult(
        '{"day": "2027-05-03", "lines": {"tea": "1.50"}}'
    )
    assert returned([Unit.KM, Path("a/b"), {3}, float("inf")]) == ToolResult('["km", "a/b", [3], "Infinity"]')
    assert returned({"basket": Basket(), "event": object()}) == ToolResult(
        '{"basket": "two apples", "event": "an object"}'
    )


def test_a_call_whose_result_cannot_be_written_has_not_failed() -> None:
    endless: list[Any] = []
    endless.append(endless)
    result = returned(endless)
    assert not result.error  # its work is done, and a model that reads an error would do it again
    assert result.content.startswith("done, but what give returned cannot be written as JSON: ")


def raising(error: BaseException) -> FunctionEnvironment:
    def fail() -> None:
        raise error

    return FunctionEnvironment([fail])


def test_what_a_function_raises_is_an_error_of_one_line() -> None:
    assert call(raising(ValueError("no such\nfile")), "fail") == ToolResult("ValueError: no such file", error=True)
    assert call(raising(KeyError()), "fail") == ToolResult("KeyError", error=True)
    assert call(raising(SystemExit(3)), "fail") == ToolResult("SystemExit: 3", error=True)


def test_control_a_function_may_end_the_task() -> None:
    with pytest.raises(EnvironmentFailure, match="the power is off"):
        call(raising(EnvironmentFailure("the power is off")), "fail")
    with pytest.raises(KeyboardInterrupt):
        call(raising(KeyboardInterrupt()), "fail")


def no_hint(a) -> None: ...  # type: ignore[no-untyped-def]
def positional(a: int, /) -> None: ...
def many(*args: int) -> None: ...
def keywords(**options: int) -> None: ...
def function_hint(a: Callable[[int], int]) -> None: ...
def class_hint(a: threading.Event) -> None: ...
def unknown_hint(a: NoSuchClass) -> None: ...  # type: ignore[name-defined]  # noqa: F821
def generator(a: int) -> Iterator[int]:
    yield a


async def asynchronous(a: int) -> AsyncIterator[int]:
    yield a


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (no_hint, "no_hint: the argument 'a' has no type hint"),
        (positional, "positional: .*by name"),
        (many, r"many: .*by name.*\*args"),
        (keywords, r"keywords: .*by name.*\*\*options"),
        (function_hint, "function_hint: the type of 'a'"),
        (class_hint, "class_hint: the type of 'a'"),
        (unknown_hint, "unknown_hint: .*NoSuchClass"),
        (generator, "generator is a generator"),
        (asynchronous, "asynchronous is a generator"),
        (print, "print.* is no plain function or method"),
        (Store, "the class Store is no plain function or method: pass an object's methods"),
        (Store.look, r"look is a method without its object: pass that of an object, like Store\(\)\.look"),
        ("one\ntwo" * 99, "is no plain function or method"),
        (lambda: 1, "cannot be a tool"),
    ],
)
def test_a_function_that_cannot_be_a_tool_is_refused_by_name(function: Any, words: str) -> None:
    with pytest.raises(ConfigError, match=words) as refusal:
        function_tool(function)
    assert "\n" not in str(refusal.value)


def test_a_default_that_is_no_json_makes_an_argument_optional() -> None:
    unset = object()

    def find(name: Any = unset) -> bool:
        return name is unset

    assert function_tool(find).parameters == {"type": "object", "properties": {"name": {}}}
    assert call(FunctionEnvironment([find]), "find") == ToolResult("true")


def test_a_name_that_stands_twice_is_refused() -> None:
    with pytest.raises(ConfigError, match="'put'"):
        FunctionEnvironment([Store([]).put, Store([]).put])


def test_a_copy_has_its_own_objects_and_the_same_turn() -> None:
    store = Store(["a"])
    environment = FunctionEnvironment([store.put, store.look], turns=["one", "two"], safe_to_repeat=True)
    environment.next_turn()
    twin = environment.copy()
    assert call(twin, "put", thing="b") == ToolResult('["a", "b"]')
    assert call(twin, "look") == ToolResult('["a", "b"]')  # both methods act on the same copy
    assert call(environment, "look") == ToolResult('["a"]')
    assert twin.next_turn() == (Message("user", "two"),)
    assert environment.next_turn() == (Message("user", "two"),)
    assert environment.next_turn() is None


def test_objects_that_refer_to_each_other_stay_linked_in_a_copy() -> None:
    store = Store(["a"])
    twin = FunctionEnvironment([store.put, Clerk(store).take], safe_to_repeat=True).copy()
    call(twin, "put", thing="b")
    assert call(twin, "take") == ToolResult("b")
    assert store.things == ["a"]


class Shared(Store):
    """Its state is an attribute of the class."""

    things: list[str] = []  # noqa: RUF012

    def __init__(self) -> None: ...


def test_a_copy_has_its_own_state_of_the_class() -> None:
    environment = FunctionEnvironment([Shared().put, Shared().look], safe_to_repeat=True)
    assert call(environment.copy(), "put", thing="b") == ToolResult('["b"]')
    assert call(environment, "look") == ToolResult("[]")
    assert call(environment, "put", thing="a") == ToolResult('["a"]')  # the control: the class itself is changed
    assert Shared.things.pop() == "a"


class Things(list[str]):
    """A store that is a list itself."""

    def put(self, thing: str) -> list[str]:
        """Put a thing in."""
        self.append(thing)
        return self


def test_an_object_that_is_a_list_itself_is_copied() -> None:
    things = Things(["a"])
    assert call(FunctionEnvironment([things.put], safe_to_repeat=True).copy(), "put", thing="b") == ToolResult(
        '["a", "b"]'
    )
    assert things == ["a"]


class Indirect(Store):
    """It changes its state by a function in an attribute."""

    def __init__(self, things: list[str], own: bool) -> None:
        super().__init__(things)
        self.add = (lambda store, thing: store.things.append(thing)) if own else (lambda _, thing: things.append(thing))

    def store(self, thing: str) -> list[str]:
        """Store a thing."""
        self.add(self, thing)
        return self.things


def test_a_copy_that_would_change_its_original_is_refused() -> None:
    with pytest.raises(EnvironmentFailure, match=r"Indirect\.__init__\..* would act on the original of a copy"):
        FunctionEnvironment([Indirect([], own=False).store], safe_to_repeat=True).copy()
    # The control: a function that refers to nothing from outside.
    environment = FunctionEnvironment([Indirect([], own=True).store, Store(["z"]).look], safe_to_repeat=True)
    assert call(environment.copy(), "store", thing="a") == ToolResult('["a"]')
    assert call(environment, "store", thing="b") == ToolResult('["b"]')


class Counter:
    """Counts for all of its kind."""

    @classmethod
    def count(cls) -> int:
        """Count."""
        return 1


class Client:
    """Holds the address of a server, as most clients do: a copy has the address, and not the server."""

    def __init__(self, server: list[str]) -> None:
        self.post, self.url = server.append, "http://hub"

    def open_door(self, door: str) -> str:
        """Open a door."""
        self.post(door)
        return "open"


def test_every_function_needs_a_declaration_to_be_called_on_a_copy() -> None:
    for function in (add, Counter.count, Counter().count, Store(["a"]).put, Client([]).open_door):
        with pytest.raises(EnvironmentFailure, match=f"{function.__name__} may act on the world"):
            FunctionEnvironment([function]).copy()
        for safe in (True, function.__name__, (function.__name__,)):
            FunctionEnvironment([function], safe_to_repeat=safe).copy()
    assert call(FunctionEnvironment([add], safe_to_repeat=True).copy(), "add", a=1) == ToolResult("3")


def test_a_copy_calls_what_is_declared_and_no_other_function() -> None:
    made: list[str] = []

    def send(text: str) -> str:
        made.append(text)
        return "sent"

    store = Store(["a"])
    doors: list[str] = []
    client = Client(doors)
    twin = FunctionEnvironment([add, send, store.put, client.open_door], safe_to_repeat=("add", "put")).copy()
    assert call(twin, "add", a=1) == ToolResult("3")
    assert call(twin, "put", thing="b") == ToolResult('["a", "b"]')
    with pytest.raises(NotRepeatable, match=r"send may act on the world.*\(--safe-to-repeat\) if it changes nothing$"):
        call(twin, "send", text="hello")
    with pytest.raises(NotRepeatable, match="changes nothing but attributes of its Client, which is copied"):
        call(twin, "open_door", door="garage")
    assert (made, store.things, doors) == ([], ["a"], [])
    call(FunctionEnvironment([client.open_door]), "open_door", door="front")
    assert doors == ["front"], "control: an answer is executed"


def test_a_declaration_must_name_a_function() -> None:
    with pytest.raises(ConfigError, match="unknown function 'ad'; did you mean 'add'"):
        FunctionEnvironment([add], safe_to_repeat=("ad",))
    for wrong in (None, 3, [add], {"add": 1}.items()):
        with pytest.raises(ConfigError, match=r"^safe_to_repeat must be True, False or a list of names$"):
            FunctionEnvironment([add], safe_to_repeat=wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("functions", "given"),
    [
        (Store, "the class Store"),
        (Unit, "the class Unit"),  # which can be iterated over
        (Store([]), "a Store"),
        (add, "a function"),
        ({"add": add}, "a dict"),
        ("add", "a str"),
        (None, "None"),
        (3, "an int"),
    ],
)
def test_what_is_no_list_of_functions_is_refused(functions: Any, given: str) -> None:
    words = f"^functions is {given}: pass a list of functions or methods, "
    with pytest.raises(ConfigError, match=words) as refusal:
        FunctionEnvironment(functions)
    assert "\n" not in str(refusal.value)
    for control in ([add], (add,), iter([add]), {add}):
        assert [tool.name for tool in FunctionEnvironment(control).tools()] == ["add"]


class Locked(Store):
    """Holds what no copy can have."""

    def __init__(self) -> None:
        super().__init__([])
        self.lock = threading.Lock()


class Same(Store):
    """Its deep copy is itself."""

    def __deepcopy__(self, memo: dict[int, Any]) -> Same:
        return self


class Unlocked(Locked):
    """Its own method copies it."""

    def __deepcopy__(self, memo: dict[int, Any]) -> Unlocked:
        return Unlocked()


def test_a_method_deepcopy_can_copy_what_nothing_else_can() -> None:
    FunctionEnvironment([Unlocked().put], safe_to_repeat=True).copy()


def test_an_argument_without_a_name_is_refused_with_what_to_write() -> None:
    def total(*numbers: float) -> float:
        """Add up."""
        return sum(numbers)

    def label(**texts: str) -> str:
        """Label."""
        return str(texts)

    def square(number: int, /) -> int:
        """Square."""
        return number * number

    for function, words in (
        (total, r"which \*numbers does not allow: take one list$"),
        (label, r"which \*\*texts does not allow: name each argument$"),
        (square, "which number does not allow: leave out the /$"),
    ):
        with pytest.raises(ConfigError, match=words):
            function_tool(function)


def test_an_object_that_cannot_be_copied_is_named() -> None:
    with pytest.raises(EnvironmentFailure, match=r"^Locked cannot be copied: TypeError: .*lock.*; a method __deepc"):
        FunctionEnvironment([Locked().put, Clerk(Store([])).take], safe_to_repeat=True).copy()
    with pytest.raises(EnvironmentFailure, match="Same cannot be copied"):
        FunctionEnvironment([Same([]).put], safe_to_repeat=True).copy()


def test_a_turn_is_a_text_a_message_or_several() -> None:
    history = [Message("user", "one"), Message("assistant", "done"), Message("user", "two")]
    environment = FunctionEnvironment([add], turns=["a", Message("user", "b"), history])
    assert [environment.next_turn() for _ in range(4)] == [
        (Message("user", "a"),),
        (Message("user", "b"),),
        tuple(history),
        None,
    ]


@pytest.mark.parametrize(
    ("turns", "system", "words"),
    [
        ("Add 2 and 3", "", "turns is a str: pass a list with one entry per turn"),
        (Message("user", "a"), "", "turns is a Message: pass a list with one entry per turn"),
        (None, "", "turns is None: pass a list with one entry per turn"),
        (3, "", "turns is an int: pass a list with one entry per turn"),
        ({"role": "user"}, "", "turns is a dict: pass a list with one entry per turn"),
        ([3], "", "turn 1 must be"),
        (["a", []], "", "turn 2 must be"),
        ([["a"]], "", "turn 1 must be"),
        ([""], "", "turn 1 is empty: write what the user says"),
        (["a", " \n"], "", "turn 2 is empty"),
        ([Message("user", "")], "", "turn 1 is empty"),
        ([[Message("system", "x"), Message("user", " ")]], "", "turn 1 is empty"),
        ([], "Be brief.", "at least one turn"),
        ([[Message("system", "x"), Message("user", "y")]], "Be brief.", "a system message already"),
    ],
)
def test_control_other_turns_are_refused(turns: Any, system: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        FunctionEnvironment([add], turns=turns, system=system)


def test_a_function_cannot_change_the_arguments_of_the_call() -> None:
    def empty(names: list[str]) -> int:
        names.clear()
        return 0

    request = ToolCall("empty", {"names": ["a"]})
    FunctionEnvironment([empty]).execute(request)
    assert request.arguments == {"names": ["a"]}


def test_a_function_is_read_once_for_all_objects_of_a_class() -> None:
    first, second = FunctionEnvironment([Store(["a"]).look]), FunctionEnvironment([Store(["b"]).look])
    assert first.tools()[0] is second.tools()[0]
    assert (call(first, "look"), call(second, "look")) == (ToolResult('["a"]'), ToolResult('["b"]'))


def test_control_a_function_of_the_same_name_or_with_a_new_one_is_read_again() -> None:
    def make(word: str) -> Callable[..., str]:
        def say() -> str:
            return word

        return say

    say = make("a")
    assert [call(FunctionEnvironment([each]), "say").content for each in (say, make("b"))] == ["a", "b"]
    say.__name__ = "shout"
    assert function_tool(say).name == "shout"

    def count(self: int) -> int:
        return 1

    assert "self" in function_tool(count).parameters["properties"]
    assert function_tool(MethodType(count, 3)).parameters["properties"] == {}
