"""Does `package.module:object` find the user's own object, and is everything else refused in one line?"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from ttsi.benchmarks import load as load_benchmark
from ttsi.errors import ConfigError
from ttsi.models import load as load_model
from ttsi.object_reference import is_reference, load_function, load_object, resolve, source_hash

TABLE = {"margin": 1, "entropy": 2}


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "own_things.py").write_text("class Box:\n    inner = 7\nvalue = 3\n")
    (tmp_path / "leaving_things.py").write_text("raise SystemExit('bye')\n")
    (tmp_path / "broken_things.py").write_text("1 / 0\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.path", list(sys.path))
    monkeypatch.delitem(sys.modules, "own_things", raising=False)


@pytest.mark.usefixtures("own")
def test_an_object_of_the_current_folder_is_used() -> None:
    assert resolve("number", "own_things:value", TABLE) == 3
    assert resolve("number", "own_things:Box.inner", TABLE) == 7
    assert resolve("number", "margin", TABLE) == 1, "built-in names come first"


@pytest.mark.usefixtures("own")
@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("margn", "unknown number 'margn'; did you mean 'margin'?"),
        ("own_things:valu", "number 'own_things:valu': own_things has no 'valu'"),
        ("no_such_things:value", "cannot import no_such_things: ModuleNotFoundError"),
        ("broken_things:value", "cannot import broken_things: ZeroDivisionError: division by zero"),
        ("leaving_things:value", "cannot import leaving_things: SystemExit: bye"),
        ("own_things.py:value", "number 'own_things.py:value': leave out .py and write own_things:value"),
    ],
)
def test_what_cannot_be_used_is_refused_in_one_line(name: str, line: str) -> None:
    with pytest.raises(ConfigError) as refusal:
        resolve("number", name, TABLE)
    assert line in str(refusal.value) and "\n" not in str(refusal.value)


@pytest.mark.parametrize("name", ["hf:Qwen/Qwen3-0.6B", "openai:gpt-5-mini", "margin", "a:b:c", ":x", "x:", "a b:c"])
def test_only_its_own_form_is_a_reference(name: str) -> None:
    # openai:gpt-5-mini has a hyphen behind the colon; a model's kinds win over references in any case.
    assert not is_reference(name)


@pytest.mark.usefixtures("own")
@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("own_things", "number 'own_things': write module:object, like own_things:object"),
        ("own_things:", "number 'own_things:': write module:object, like own_things:object"),
        (":value", "number ':value': write module:object, like module:value"),
        ("own_things.py", "number 'own_things.py': write module:object, like own_things:object"),
        ("a/own_things.py:value", "number 'a/own_things.py:value': leave out .py and write a.own_things:value"),
        ("shop/own_things:value", "number 'shop/own_things:value': write dots, shop.own_things:value"),
        ("./own_things:value", "number './own_things:value': write dots, own_things:value"),
        ("./own_things.py:value", "number './own_things.py:value': leave out .py and write own_things:value"),
    ],
)
def test_a_flag_that_takes_references_only_says_how_to_write_one(name: str, line: str) -> None:
    with pytest.raises(ConfigError) as refusal:
        load_object("number", name)
    assert str(refusal.value) == line


@pytest.mark.usefixtures("own")
@pytest.mark.parametrize(
    ("name", "example", "folder"),
    [
        ("C:/tools/my.py:Store", "my:Store", "C:/tools"),
        ("C:\\tools\\my_tools:Store", "my_tools:Store", "C:/tools"),
        ("C:\\tools\\my_tools.py", "my_tools:object", "C:/tools"),
        ("/srv/tools/my.py:Store", "my:Store", "/srv/tools"),
        ("../my.py:Store", "my:Store", ".."),
    ],
)
def test_the_path_of_a_file_elsewhere_is_no_module(name: str, example: str, folder: str) -> None:
    line = f"number {name!r}: write module:object, like {example}, and start ttsi in the folder {folder} or name it in"
    with pytest.raises(ConfigError) as refusal:
        load_object("number", name)
    assert str(refusal.value) == f"{line} PYTHONPATH"


@pytest.mark.usefixtures("own")
def test_the_file_that_was_imported_is_named(tmp_path: Path) -> None:
    import calendar

    for name in ("calendar:Store", "calendar.shop:Store", "time:Store"):
        with pytest.raises(ConfigError) as before:
            load_object("number", name)
        assert "rename yours" not in str(before.value), "control: there is no such file in the folder"
        own = tmp_path / f"{name.partition('.')[0].partition(':')[0]}.py"
        own.write_text("class Store: pass\n")
        with pytest.raises(ConfigError) as refusal:
            load_object("number", name)
        source = "a module of Python" if name == "time:Store" else calendar.__file__
        words = f"; {source} was imported, which comes before {own.name} of this folder: rename yours"
        assert str(refusal.value).endswith(words) and "\n" not in str(refusal.value)
        own.unlink()
    with pytest.raises(ConfigError) as plain:
        load_object("number", "own_things:valu")
    assert str(plain.value) == f"number 'own_things:valu': own_things has no 'valu' ({tmp_path / 'own_things.py'})"


@pytest.mark.usefixtures("own")
def test_control_a_module_that_is_called_py_is_no_slip(tmp_path: Path) -> None:
    (tmp_path / "own_package").mkdir()
    (tmp_path / "own_package" / "py.py").write_text("value = 4\n")
    assert load_object("number", "own_package.py:value") == 4
    with pytest.raises(ConfigError, match=r"^number 'own_package.py:valu': own_package.py has no 'valu' \("):
        load_object("number", "own_package.py:valu")


@pytest.mark.usefixtures("own")
def test_only_a_function_does_where_one_is_called() -> None:
    with pytest.raises(ConfigError, match="number 'own_things:value' is not a function but of type int"):
        resolve("number", "own_things:value", TABLE, load_function)
    assert load_function("number", "own_things:Box") is load_object("number", "own_things:Box")


@pytest.mark.usefixtures("own")
@pytest.mark.parametrize("body", ["return 1", "yield 1"])
def test_a_function_that_nobody_would_await_is_refused_before_it_is_called(tmp_path: Path, body: str) -> None:
    """Called, it would end in two warnings of Python behind the line that says what it returned."""
    with (tmp_path / "own_things.py").open("a") as file:
        file.write(f"async def later(*_):\n    {body}\ndef now(*_):\n    {body}\n")
    sys.modules.pop("own_things", None)
    importlib.invalidate_caches()
    message = "'own_things:later' is async, and nobody awaits it: write def instead of async def"
    uses: list[Callable[[str], object]] = [partial(load_function, "number"), load_benchmark, load_model]
    for use in uses:
        with pytest.raises(ConfigError, match=message):
            use("own_things:later")
    assert load_function("number", "own_things:now")  # the control: the same without async


@pytest.mark.usefixtures("own")
def test_the_source_of_a_reference_is_the_text_that_was_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "own_things", raising=False)
    load_object("number", "own_things:value")
    before = source_hash("own_things:value")
    assert before == source_hash("own_things:Box.inner")
    with (tmp_path / "own_things.py").open("a") as file:
        file.write("# a change\n")
    assert source_hash("own_things:value") == before, "the edited text is not what this process runs"
    del sys.modules["own_things"]
    importlib.invalidate_caches()
    load_object("number", "own_things:value")
    assert source_hash("own_things:value") not in (before, None)
    assert source_hash("margin") is source_hash("scripted:demo") is source_hash("math:sqrt") is None
