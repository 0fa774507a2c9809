"""Is a model, or a tool-call format, of one's own found by its object reference, and is what cannot be used named?"""

from __future__ import annotations

import inspect
import sys
from dataclasses import replace
from importlib import import_module
from types import ModuleType
from typing import Any

import pytest

from ttsi.chat.calls import FORMATS
from ttsi.errors import ConfigError, ModelError
from ttsi.models import MODELS, Request, check_format, computes_here, load, model_specs, split_spec
from ttsi.models.scripted import DemoModel
from ttsi.types import Message, Prompt, Tool

PROMPT = Prompt((Message("user", "rain?"),), (Tool("get_weather", "Weather of a city", {"type": "object"}),))


@pytest.fixture
def mine(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """An importable module of the user's own."""
    module = ModuleType("mine")
    monkeypatch.setitem(sys.modules, "mine", module)
    monkeypatch.setattr("ttsi.cpu.sleep_while_waiting", lambda: False)
    return module


def test_a_callable_gets_the_placement_and_an_object_is_taken(mine: Any) -> None:
    calls: list[dict[str, str]] = []

    def make(device: str, dtype: str, **more: str) -> DemoModel:
        calls.append({"device": device, "dtype": dtype, **more})
        return DemoModel()

    mine.make, mine.MODEL = make, DemoModel()
    made = load("mine:make", device="cpu")
    assert load("mine:MODEL") is mine.MODEL
    assert made.generate([Request(PROMPT, 9)]) == mine.MODEL.generate([Request(PROMPT, 9)])
    load("mine:make", format="hermes")
    assert calls == [
        {"device": "cpu", "dtype": "auto"},
        {"device": "auto", "dtype": "auto", "format": "hermes"},
    ]
    with pytest.raises(ConfigError, match="a format of its own: leave --format out"):
        load("mine:MODEL", format="hermes")


def test_a_class_is_called(mine: Any) -> None:
    class Mine(DemoModel):
        def __init__(self, device: str, dtype: str) -> None:
            super().__init__()
            self.placement = device, dtype

    mine.Mine = Mine
    assert load("mine:Mine").placement == ("auto", "auto")  # type: ignore[attr-defined]


def test_kinds_win_over_references(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "scripted", ModuleType("scripted"))
    assert isinstance(load("scripted:demo"), DemoModel)
    with pytest.raises(ModelError, match="unknown script 'dmo'; did you mean 'demo'"):
        load("scripted:dmo")


def test_what_cannot_be_used_is_named(mine: Any) -> None:
    def fails(**_: str) -> None:
        raise RuntimeError("no GPU\nat all")

    mine.fails, mine.number, mine.empty = fails, 3, lambda **_: object()
    faults = {
        "mine:absent": "has no 'absent'",
        "no_such_module_here:x": "cannot import no_such_module_here",
        "mine:number": "model 'mine:number' has no 'spec'",
        "mine:empty": "model 'mine:empty' has no 'spec'",
    }
    for spec, text in faults.items():
        with pytest.raises(ConfigError, match=text):
            load(spec)
    with pytest.raises(ModelError, match=r"model 'mine:fails': RuntimeError: no GPU$"):
        load("mine:fails")
    with pytest.raises(ModelError, match=r"unknown model 'nothing'.*package\.module:object"):
        load("nothing")


def test_a_format_of_ones_own(mine: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ttsi.chat.calls.FORMATS", FORMATS)
    mine.FORM = replace(FORMATS["hermes"], name="mine", order=999)  # type: ignore[type-var]
    mine.number = 3
    try:
        check_format("mine:FORM")
        assert FORMATS["mine:FORM"] is mine.FORM
        check_format("mine:FORM")
    finally:
        FORMATS.pop("mine:FORM", None)
    with pytest.raises(ConfigError, match="format 'mine:number' has no 'name'"):
        check_format("mine:number")
    with pytest.raises(ConfigError, match="unknown format 'hermse'; did you mean 'hermes'"):
        check_format("hermse")


def test_every_kind_says_how_it_is_written() -> None:
    assert set(MODELS) == {"embedded", "smollm2", "hf", "gguf", "openai", "scripted"}
    assert all(kind.specs for kind in MODELS.values()) and "package.module:object" in model_specs()
    assert [computes_here(spec) for spec in ("embedded", "a.gguf", "mine:make", "openai:x", "scripted:demo")] == [
        True,
        True,
        True,
        False,
        False,
    ]
    assert split_spec("hf:a/b:c.gguf") == ("gguf", "hf:a/b:c.gguf") and split_spec("x:y") == ("x", "y")


def test_every_kind_of_model_takes_the_same_options() -> None:
    for kind in MODELS.values():
        module, _, name = kind.loader.partition(":")
        signature = inspect.signature(getattr(import_module(module), name))
        signature.bind("NAME", device="cpu", dtype="auto", format="hermes")
        with pytest.raises(TypeError):  # control
            signature.bind("NAME", "cpu", device="cpu")
