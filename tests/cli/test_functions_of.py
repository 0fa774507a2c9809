"""What `--functions module:object` takes as tools: methods of the user's own classes, lists, and single functions."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ttsi.cli.tool_sources import functions_of, read_tools_of
from ttsi.environments.functions import FunctionEnvironment
from ttsi.errors import ConfigError, TTSIError
from ttsi.types import ToolCall

TOOLS = """
import abc
import functools
import sys
from collections import UserDict
from typing import NamedTuple

from pydantic import BaseModel


def add(a: int, b: int = 2) -> int:
    return a + b


def make():
    return [add]


async def now() -> str:
    return "noon"


def series():
    yield add


class PStore(BaseModel):
    names: list[str] = ["a"]

    def put(self, name: str) -> list[str]:
        self.names.append(name)
        return self.names

    def json(self, indent: int) -> str:
        return "own"


class Shelf(PStore):
    def look(self) -> list[str]:
        return self.names


class Prices(dict):
    def price(self, name: str) -> int:
        return self[name]

    @classmethod
    def kind(cls) -> str:
        return cls.__name__


class Names(list):
    @staticmethod
    def size() -> int:
        return 3


class Wrapped(UserDict, abc.ABC):
    def get(self, name: str) -> int:
        return 1


class Lazy:
    @functools.cached_property
    def trap(self):
        raise RuntimeError("boom")

    def look(self) -> str:
        return "seen"


class Own(dict):
    def __init__(self):
        self.update_all = add


class Pair(NamedTuple):
    first: object = add
    second: object = make


class Bare(BaseModel):
    names: list[str] = []


class Leaves:
    def __init__(self):
        raise SystemExit(3)

    def look(self) -> str:
        return "never"


class Stays:
    def __init__(self):
        self.names = []

    def look(self) -> str:
        return "seen"

    @property
    def trap(self):
        raise SystemExit("behind")


class Sums:
    @staticmethod
    def double(number: int) -> int:
        return 2 * number


def leave():
    sys.exit("no\\nlicence")


def leave_at_once():
    sys.exit()


def leave_later():
    yield add
    sys.exit(4)


def interrupted():
    raise KeyboardInterrupt


stays = Stays()
store = PStore()
mixed, methods = [add, 3], [Stays.look]
plain_dict, plain_list, text, empty_dict = {"add": add}, [], "add", Prices.fromkeys("a", 1)
"""


@pytest.fixture(autouse=True)
def tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "own_functions.py").write_text(TOOLS)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "own_functions", raising=False)


@pytest.mark.parametrize(
    ("name", "names"),
    [
        ("PStore", ["json", "put"]),
        ("store", ["json", "put"]),
        ("Shelf", ["json", "look", "put"]),
        ("Prices", ["kind", "price"]),
        ("empty_dict", ["kind", "price"]),
        ("Names", ["size"]),
        ("Wrapped", ["get"]),
        ("Lazy", ["look"]),
        ("Own", ["add"]),
        ("Pair", ["add", "make"]),
        ("make", ["add"]),
        ("series", ["add"]),
        ("add", ["add"]),
        ("now", ["now"]),
        ("store.put", ["put"]),
        ("Prices.kind", ["kind"]),
    ],
)
def test_the_tools_are_what_the_users_own_code_defines(name: str, names: list[str]) -> None:
    assert [function.__name__ for function in functions_of(f"own_functions:{name}")] == names


def test_they_are_executed_on_their_object() -> None:
    environment = FunctionEnvironment(functions_of("own_functions:PStore"), safe_to_repeat=True)
    twin = environment.copy()
    assert twin.execute(ToolCall("put", {"name": "b"})).content == '["a", "b"]'
    assert environment.execute(ToolCall("put", {"name": "c"})).content == '["a", "c"]'


@pytest.mark.parametrize(
    ("name", "kind"),
    [("plain_dict", "dict"), ("plain_list", "list"), ("text", "str"), ("Bare", "Bare")],
)
def test_control_values_without_own_functions_are_refused(name: str, kind: str) -> None:
    with pytest.raises(ConfigError, match=f"is a {kind} without functions of its own: give") as refusal:
        functions_of(f"own_functions:{name}")
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("read", [functions_of, read_tools_of])
@pytest.mark.parametrize(
    ("reference", "words"),
    [
        ("own_functions:mixed", "entry 2 of the list is an int, no function"),
        ("own_functions:Stays.look", "is a method without its object: write own_functions:Stays for all methods"),
        ("own_functions:Shelf.put", "write own_functions:Shelf for all .* like own_functions:shelf.put"),
        ("own_functions.py:add", "leave out .py and write own_functions:add"),
        ("own_functions.py", "write module:object, like own_functions:object"),
        ("./shop/own_functions.py:add", "leave out .py and write shop.own_functions:add"),
        ("shop/own_functions:add", "write dots, shop.own_functions:add"),
        ("C:/shop/own_functions.py:add", "like own_functions:add, and start ttsi in the folder C:/shop"),
        ("C:\\shop\\own_functions:add", "like own_functions:add, and start ttsi in the folder C:/shop"),
    ],
)
def test_functions_and_tools_have_the_same_help(
    read: Callable[[str], Any], reference: str, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # where own_functions.py is, which is no JSON file
    with pytest.raises(ConfigError, match=words) as refusal:
        read(reference)
    assert repr(reference) in str(refusal.value) and "\n" not in str(refusal.value)


def test_control_a_method_of_an_object_and_a_static_one_are_functions() -> None:
    for reference in ("own_functions:stays.look", "own_functions:Prices.kind", "own_functions:Sums.double"):
        assert [tool.name for tool in read_tools_of(reference)] == [reference.rpartition(".")[2]]
    with pytest.raises(ConfigError, match=r"^look is a method without its object: pass .* like Stays\(\)\.look$"):
        FunctionEnvironment(functions_of("own_functions:methods"))


@pytest.mark.parametrize(
    ("reference", "words"),
    [
        ("own_functions", "functions 'own_functions': write module:object, like own_functions:object"),
        ("own_functions.py:add", "functions 'own_functions.py:add': leave out .py and write own_functions:add"),
    ],
)
def test_a_slip_is_refused_with_what_was_meant(reference: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        functions_of(reference)


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("Leaves", "SystemExit: 3"),
        ("leave", "SystemExit: no"),
        ("leave_at_once", "SystemExit"),
        ("leave_later", "SystemExit: 4"),
        ("stays.trap", "SystemExit: behind"),
    ],
)
def test_code_that_leaves_the_program_is_refused_in_one_line(name: str, says: str) -> None:
    with pytest.raises(ConfigError) as refusal:
        functions_of(f"own_functions:{name}")
    assert str(refusal.value) == f"functions 'own_functions:{name}': {says}"
    with pytest.raises(ConfigError, match=f"^tools 'own_functions:{name}': {says}$"):
        read_tools_of(f"own_functions:{name}")


def test_control_code_that_stays_has_tools_and_ctrl_c_ends_the_program() -> None:
    assert [function.__name__ for function in functions_of("own_functions:Stays")] == ["look"]
    with pytest.raises(KeyboardInterrupt):
        functions_of("own_functions:interrupted")


def test_tools_of_a_command_are_a_file_or_functions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    [tool] = read_tools_of("own_functions:make")
    assert (tool.name, tool.parameters["required"]) == ("add", ["a"])
    # A file comes first, whatever its name is.
    Path("own_functions:make").write_text(json.dumps([{"type": "function", "function": {"name": "of_the_file"}}]))
    assert [tool.name for tool in read_tools_of("own_functions:make")] == ["of_the_file"]


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("missing.json", "or module:object"),
        ("C:/missing.json", "or module:object"),
        ("http://host/tools.json", "or module:object"),
        ("own_functions:missing", "missing"),
        ("no_such_module:x", "no_such_module"),
    ],
)
def test_tools_that_are_not_there_are_named(name: str, says: str) -> None:
    with pytest.raises(TTSIError, match=says):
        read_tools_of(name)


def test_what_a_module_prints_is_not_on_stdout(tmp_path: Path) -> None:
    noise = "import os\nprint('noise')\nos.system('echo more noise')\n"
    (tmp_path / "loud_functions.py").write_text(f"{noise}def go(n: int): ...\n")
    code = "from ttsi.cli.tool_sources import read_tools_of; print(read_tools_of('loud_functions:go')[0].name)"
    environment = {**os.environ, "PYTHONPATH": f"{Path(__file__).parents[2]}{os.pathsep}{tmp_path}"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout == "go\n"
    assert {"noise", "more noise"} <= set(done.stderr.splitlines()), "control: it was printed"
