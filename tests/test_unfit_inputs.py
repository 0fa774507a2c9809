"""An input that was built in Python and cannot be answered is an error of its own row: the others keep every bit.

Nothing may hash such an input before it is refused, because a hash needs JSON in UTF-8.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import replace
from types import MappingProxyType
from typing import Any

import pytest

from ttsi import Benchmark, Sample, batch, evaluate, improve, load_model
from ttsi.codec import dumps
from ttsi.errors import ConfigError, DataError
from ttsi.plurals import kind_of
from ttsi.types import Episode, Input, Message, Tool, ToolCall

CITY = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
TOOL = Tool("get_weather", "get the weather of a city", CITY)
USER = Message("user", "Will it rain in Oslo")
GOOD = Input("good", (USER,), (TOOL,))


def says(*messages: Any) -> Input:
    return replace(GOOD, messages=messages)


def calls(*made: Any) -> Input:
    return says(USER, Message("assistant", "", made), Message("tool", "rain"), USER)


def offers(**parts: Any) -> Input:
    return replace(GOOD, tools=(TOOL, replace(TOOL, **{"name": "other", **parts})))


def has(value: Any) -> Input:
    """Offers a tool with this value in its schema."""
    return offers(parameters={**CITY, "properties": {"city": {"type": "string", "default": value}}})


def endless() -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "object"}
    schema["properties"] = {"city": schema}
    return schema


def deep() -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "object"}
    for _ in range(100_000):
        schema = {"type": "object", "properties": {"city": schema}}
    return schema


HALF = "half of a character \ud800"
UNFIT: dict[str, tuple[Callable[[], Input], str]] = {
    "half a character in a message": (lambda: says(replace(USER, content=HALF)), r"messages\[0\]: .*surrogate"),
    "in a call's name": (lambda: calls(ToolCall(HALF, {})), r"messages\[1\]: tool_calls\[0\]: .*surrogate"),
    "in a call's arguments": (lambda: calls(ToolCall("f", {"x": [HALF]})), r"tool_calls\[0\]: .*surrogate"),
    "in the name of an argument": (lambda: calls(ToolCall("f", {HALF: 1})), r"tool_calls\[0\]: .*surrogate"),
    "in a call's id": (lambda: calls(ToolCall("f", {}, HALF)), r"tool_calls\[0\]: .*surrogate"),
    "in a tool's name": (lambda: offers(name=HALF), r"tools\[1\]: .*surrogate"),
    "in a description": (lambda: offers(description=HALF), r"tools\[1\]: .*surrogate"),
    "in a schema": (lambda: has(HALF), r"tools\[1\]: .*surrogate"),
    "a set": (lambda: has({1, 2}), r"tools\[1\]: not JSON \(Object of type set"),
    "an object": (lambda: has(object()), r"tools\[1\]: not JSON \(Object of type object"),
    "bytes": (lambda: has(b"x"), "not JSON"),
    "no number": (lambda: has(math.nan), "not JSON"),
    "an infinite number": (lambda: calls(ToolCall("f", {"x": math.inf})), "not JSON"),
    "keys of two types": (lambda: has({1: 2, "a": 3}), "not JSON"),
    "a schema within itself": (lambda: offers(parameters=endless()), "not JSON"),
    "a schema without an end": (lambda: offers(parameters=deep()), "nested too deeply"),
    "no schema": (lambda: offers(parameters=None), "parameters is missing"),
    "no description": (lambda: offers(description=None), "description is missing"),
    "no content": (lambda: says(replace(USER, content=None)), "content is missing"),
    "another role": (lambda: says(replace(USER, role="human")), "role is unknown"),
    "a message of OpenAI's": (lambda: says({"role": "user", "content": "x"}), "is an object; write a ttsi.Message"),
    "a call of OpenAI's": (lambda: calls({"name": "f", "arguments": {}}), "is an object; write a ttsi.ToolCall"),
    "a tool of OpenAI's": (lambda: replace(GOOD, tools=({"name": "f"},)), "is an object; write a ttsi.Tool"),
    "a text for messages": (lambda: replace(GOOD, messages="hello"), "messages is a string"),
    "no tools": (lambda: replace(GOOD, tools=None), "tools is missing"),
    "the assistant's word at the end": (
        lambda: says(USER, Message("assistant", "Yes.")),
        "messages must end with a user",
    ),
    "an empty word at the end": (lambda: says(USER, Message("assistant", "")), "messages must end with a user"),
    "a tool without a name": (lambda: offers(name=""), r"tools\[1\]: a tool needs a name"),
    "a tool with a blank name": (lambda: offers(name=" "), r"tools\[1\]: a tool needs a name"),
}
FIT: dict[str, Callable[[], Input]] = {
    "the good one": lambda: GOOD,
    "lists": lambda: replace(GOOD, messages=[USER], tools=[TOOL]),
    "another mapping": lambda: offers(parameters=MappingProxyType(CITY)),
    "arguments as another mapping": lambda: calls(ToolCall("get_weather", MappingProxyType({"city": "Oslo"}))),
    "a tuple in a schema": lambda: has(("a", "b")),
    "a whole character": lambda: says(replace(USER, content="\U0001f4a9")),
    "the assistant's word in the middle": lambda: says(USER, Message("assistant", "Yes."), USER),
    "a result at the end": lambda: says(USER, Message("assistant", "", (ToolCall("f", {}),)), Message("tool", "rain")),
    "a short name": lambda: offers(name="x"),
}


def timeless(episode: Episode) -> Episode:
    return replace(episode, seconds={})


@pytest.mark.parametrize("name", UNFIT)
def test_an_unfit_input_is_an_error_of_its_row_and_the_others_are_untouched(name: str) -> None:
    build, reason = UNFIT[name]
    model, bad = load_model("scripted:demo"), replace(build(), id="bad")
    [alone] = improve([GOOD], model)
    first, failed, last = improve([GOOD, bad, GOOD], model)
    assert (failed.input_id, failed.input_hash, failed.base, failed.adapted) == ("bad", "", None, None)
    assert failed.error is not None and re.search(rf"^prompt: .*{reason}.*$", failed.error), failed.error
    assert "\n" not in failed.error
    assert timeless(first) == timeless(last) == timeless(alone)
    assert alone.error is None and alone.base is not None
    dumps(failed)


@pytest.mark.parametrize("name", FIT)
def test_control_a_fit_input_is_answered(name: str) -> None:
    [episode] = improve([FIT[name]()], load_model("scripted:demo"))
    assert episode.error is None and episode.base is not None and len(episode.input_hash) == 64


def test_control_without_the_check_one_input_ends_the_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    model, bad = load_model("scripted:demo"), UNFIT["half a character in a message"][0]()
    monkeypatch.setattr(batch, "_unfit", lambda model, item, most: None)
    with pytest.raises(UnicodeEncodeError):
        improve([GOOD, bad, GOOD], model)


@pytest.mark.parametrize("stranger", ["hello", None, {"messages": []}, (GOOD,)])
def test_what_is_no_input_is_refused_by_its_place(stranger: Any) -> None:
    hint = ", as ttsi.read_input makes it of a dictionary" if isinstance(stranger, dict) else ""
    with pytest.raises(ConfigError, match=rf"^inputs\[1\] is {kind_of(stranger)}: use a ttsi.Input{hint}$"):
        improve([GOOD, stranger], load_model("scripted:demo"))


@pytest.mark.parametrize(
    ("inputs", "line"),
    [
        (GOOD, r"inputs is a single Input: put it into a list, improve\(\[input\], model\)"),
        ({"messages": []}, r"inputs is a dict: use a list of inputs, \[ttsi.read_input\(dictionary\)\]"),
        ("hello", "inputs is a str: use a list of ttsi.Input"),
        (None, "inputs is None: use a list of ttsi.Input"),
    ],
)
def test_what_is_no_list_of_inputs_is_refused(inputs: Any, line: str) -> None:
    model = load_model("scripted:demo")
    with pytest.raises(ConfigError, match=f"^{line}$"):
        improve(inputs, model)
    for control in ([GOOD], (GOOD,), iter([GOOD])):
        assert improve(control, model)[0].error is None  # type: ignore[arg-type]


def benchmark(*samples: Any) -> Benchmark:
    return Benchmark("mine", (Sample(GOOD, (ToolCall("get_weather", {"city": "Oslo"}),)), *samples), "0", "Python")


BAD_SAMPLES: dict[str, tuple[Callable[[], Any], str]] = {
    **{name: ((lambda build=build: Sample(build(), None)), reason) for name, (build, reason) in UNFIT.items()},
    "no input": (lambda: Sample("hello", None), "input is a string"),  # type: ignore[arg-type]
    "no sample": (lambda: GOOD, "a sample is an Input; write a ttsi.Sample"),
    "a number for an id": (lambda: Sample(replace(GOOD, id=7), None), "id is a number"),  # type: ignore[arg-type]
    "half a character in an id": (lambda: Sample(replace(GOOD, id=HALF), None), "surrogate"),
    "a set in gold": (lambda: Sample(GOOD, (ToolCall("f", {"x": {1}}),)), r"gold\[0\]: not JSON"),
    "a number for a tag": (lambda: Sample(GOOD, None, {"level": 3}), "a tag is a number"),  # type: ignore[dict-item]
}


@pytest.mark.parametrize("name", BAD_SAMPLES)
def test_a_benchmark_made_in_python_is_read_as_strictly_as_a_file(name: str) -> None:
    build, reason = BAD_SAMPLES[name]
    with pytest.raises(DataError, match=rf"^mine: samples\[1\]: .*{reason}.*$") as caught:
        evaluate(benchmark(build()), "scripted:demo")
    assert "\n" not in str(caught.value)


def test_control_fit_samples_are_evaluated() -> None:
    summary = evaluate(benchmark(*(Sample(build(), None, {"level": "3"}) for build in FIT.values())), "scripted:demo")
    assert (summary["n"], summary["n_error"]) == (1 + len(FIT), 0)
