"""The scripted models obey the Model protocol, and what is learned is forgotten at the end of the block."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.worlds import TOOLS
from ttsi.benchmarks.jsonl import read_tools
from ttsi.chat.grammar import answer_grammar, tool_grammar
from ttsi.config import AdaptationConfig
from ttsi.errors import ModelError
from ttsi.loop import improve
from ttsi.methods import preset
from ttsi.models import Model, Request, load
from ttsi.types import Input, Message, Prompt, ToolCall, TrainingExample

OFFER = read_tools(TOOLS)
UMBRELLA = Prompt((Message("user", "Do I need an umbrella in Lima"),), OFFER)


def called(model: Model, prompt: Prompt = UMBRELLA, adapter: int | None = None, grammar: str | None = None) -> ToolCall:
    [said] = model.generate([Request(prompt, 50, adapter=adapter, grammar=grammar)])
    [call] = model.format.parse(said.text, prompt.tools).calls
    return call


def test_the_demo_learns_inside_the_block_and_forgets_outside() -> None:
    model = load("scripted:demo")
    example = TrainingExample(
        Prompt((Message("user", "umbrella for Rome"),), OFFER),
        model.format.render([ToolCall("get_weather", {"city": "Rome"})]),
    )
    before = called(model)
    with model.adapted([[example], []], AdaptationConfig(), [0, 1]) as done:
        assert [state.status for state in done] == ["trained", "none"]
        assert len(done[0].losses) == done[0].steps == 5
        assert called(model, adapter=0) == ToolCall("get_weather", {"city": "Lima"})
        assert called(model, adapter=1) == before
        assert called(model) == before
    assert called(model) == before
    assert before.name == "book_flight"


def test_the_demo_forgets_after_a_failure_too() -> None:
    model = load("scripted:demo")
    with pytest.raises(ZeroDivisionError), model.adapted([[]], AdaptationConfig(), [0]):
        raise ZeroDivisionError
    with model.adapted([], AdaptationConfig(), []):
        pass


def test_the_demo_obeys_a_grammar_for_one_tool() -> None:
    model = load("scripted:demo")
    for tool in OFFER:
        assert called(model, grammar=tool_grammar(model.format, tool)).name == tool.name
    # Control: the grammar of all tools leaves the choice open.
    assert called(model, grammar=answer_grammar(model.format, OFFER)).name == "book_flight"


def test_the_demo_tells_the_whole_story() -> None:
    model = load("scripted:demo")
    item = Input("1", UMBRELLA.messages, OFFER)
    [episode] = improve([item], model, model, preset("ttsi", "embedded"))
    assert episode.error is None
    assert episode.awareness is not None
    assert episode.awareness.unsure
    assert episode.adaptation.status == "trained"
    assert episode.base is not None
    assert episode.adapted is not None
    assert episode.base.calls[0].name == "book_flight"
    assert episode.adapted.calls[0].name == "get_weather"
    # Control: without examples nothing is learned.
    [plain] = improve([item], model, model, preset("base", "embedded"))
    assert plain.adapted is not None
    assert plain.adapted.calls == episode.base.calls


def script(path: Path, content: Any) -> Model:
    path.write_text(json.dumps(content), encoding="utf-8")
    return load(f"scripted:{path}")


def test_a_list_is_said_in_order_and_runs_out(tmp_path: Path) -> None:
    model = script(tmp_path / "s.json", ["one two three", "two"])
    [first, second] = model.generate([Request(UMBRELLA, 2), Request(UMBRELLA, 2)])
    assert (first.text, first.finished, first.tokens) == ("one two", False, 2)
    assert (second.text, second.finished) == ("two", True)
    with pytest.raises(ModelError, match="no reply"):
        model.generate([Request(UMBRELLA, 2)])


def test_a_mapping_answers_by_request_and_by_adapter(tmp_path: Path) -> None:
    replies = {"Do I need an umbrella in Lima": {"base": "old", "adapted": "new"}}
    scores = {"get_weather": -1.5}
    model = script(tmp_path / "s.json", {"replies": replies, "scores": scores, "context": 40, "format": "plain"})
    request = Request(UMBRELLA, 9)
    assert model.generate([request])[0].text == "old"
    with model.adapted([[TrainingExample(UMBRELLA, "x")]], AdaptationConfig(), [0]):
        assert model.generate([Request(UMBRELLA, 9, adapter=0)])[0].text == "new"
    assert model.score([UMBRELLA], [["call get_weather", "else"]]) == [[-1.5, -10.0]]
    assert model.format.name == "plain"
    assert model.fits(UMBRELLA, 5) is None
    assert "41 characters" in str(model.fits(Prompt((Message("user", "x" * 41),), ()), 5))


@pytest.mark.parametrize(
    ("spec", "message"),
    [("scripted:dmeo", "did you mean 'demo'"), ("scripted:none.json", "cannot be read")],
)
def test_unknown_scripts_get_one_line(spec: str, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        load(spec)


def test_a_request_with_two_replies_is_refused(tmp_path: Path) -> None:
    (tmp_path / "s.json").write_text('{"hello": "one", "hello": "two"}')
    with pytest.raises(ModelError, match="the key 'hello' stands twice"):
        load(f"scripted:{tmp_path / 's.json'}")


@pytest.mark.parametrize("content", ["text", {"replies": [], "format": "hermse"}])
def test_a_file_that_is_no_script_gets_one_line(tmp_path: Path, content: Any) -> None:
    with pytest.raises(ModelError, match="the script"):
        script(tmp_path / "s.json", content)
