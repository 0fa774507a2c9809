"""A result of the wrong type or shape from a model of the user's own ends the run in one line that names the member."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest

from tests.worlds import rows, write
from ttsi import batch
from ttsi.benchmarks import load as load_benchmark
from ttsi.chat.calls import FORMATS
from ttsi.chat.grammar import answer_grammar
from ttsi.errors import ConfigError
from ttsi.loop import improve
from ttsi.methods import preset
from ttsi.models import Generation, ModelWrapper, Request, as_model, as_teacher
from ttsi.models.checked_model import CheckedModel
from ttsi.models.grammar_watch import MOST_ANSWERS, enforceable_tool
from ttsi.models.scripted import DemoModel
from ttsi.runs.evaluation import evaluate
from ttsi.types import Adaptation, Input, Message, Prompt, Tool, ToolCall

CITY = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
TOOLS = (Tool("get_weather", "get the weather of a city", CITY), Tool("find_hotel", "find a hotel in a city", CITY))
INPUTS = [
    Input(str(i), (Message("user", f"Will it rain in {city}"),), TOOLS) for i, city in enumerate(("Oslo", "Lima"))
]
ALL = preset("ttsi", "scripted:demo")
ALL = replace(ALL, awareness=replace(ALL.awareness, gate="all"))


class Own(DemoModel):
    """A right model of the user's own; a test spoils one member."""


def spoilt(member: str, value: Any) -> Own:
    """The model in which one member is, or returns, something else."""
    model, right = Own(), getattr(Own(), member)
    change = value if callable(value) else (lambda result: value)
    if member in ("spec", "format"):
        setattr(model, member, value)
    elif member == "adapted":
        setattr(model, member, lambda *arguments: change(Own().adapted(*arguments)))
    else:
        setattr(model, member, lambda *arguments: change(right(*arguments)))
    return model


def with_field(name: str, value: Any) -> Callable[[list[Generation]], list[Generation]]:
    return lambda generations: [replace(one, **{name: value}) for one in generations]


def yielding(change: Callable[[list[Adaptation]], Any]) -> Any:
    @contextmanager
    def block(right: Any) -> Iterator[Any]:
        with right as adaptations:
            yield change(adaptations)

    return block


FAULTS: list[tuple[str, Any, str]] = [
    ("spec", 5, "the spec of the model Own is 5: make it a name"),
    ("format", "hermes", "the format of the model scripted:demo is 'hermes', which has no 'name'"),
    ("fits", False, "fits returned False: return None where the prompt fits"),
    ("fits", True, "fits returned True: return None where the prompt fits"),
    ("fits", "", "fits returned '': return None where the prompt fits"),
    ("generate", None, "generate returned None: return a list with one Generation per request"),
    ("generate", iter, "list_iterator object"),
    ("generate", lambda right: right[:-1], "generate returned 1 values for 2 requests"),
    ("generate", lambda right: [one.text for one in right], "with .* in it: return a list with one Generation"),
    ("generate", with_field("text", None), "a Generation whose text is None: make it a str"),
    ("generate", with_field("tokens", 1.5), "a Generation whose tokens is 1.5: make it an int"),
    ("generate", with_field("logprob", math.nan), "a Generation whose logprob is nan: make it a float that is not NaN"),
    ("generate", with_field("finished", None), "a Generation whose finished is None: make it a bool"),
    ("score", None, "score returned None: return a list with one list per prompt"),
    ("score", lambda right: right[:1], "score returned 1 values for 2 prompts"),
    ("score", lambda right: [row[:-1] for row in right], "score returned .*: return .* floats for this prompt"),
    ("score", lambda right: [[math.nan for _ in row] for row in right], "score returned .nan.*none of them NaN"),
    ("score", lambda right: [["a" for _ in row] for row in right], "score returned .*floats for this prompt"),
    ("adapted", None, "adapted returned None: return a context manager: decorate it with @contextmanager"),
    ("adapted", yielding(lambda right: None), "adapted returned None: return a list with one Adaptation per job"),
    ("adapted", yielding(lambda right: right[:1]), "adapted returned 1 values for 2 jobs"),
    ("adapted", yielding(lambda right: ["done"] * 2), "adapted returned a list with 'done' in it"),
    ("adapted", yielding(lambda right: [Adaptation("done")] * 2), "make its status one of: none, trained"),  # type: ignore[arg-type]
]


@pytest.mark.parametrize(("member", "value", "line"), FAULTS)
def test_a_wrong_result_ends_the_loop_in_one_line(member: str, value: Any, line: str) -> None:
    with pytest.raises(ConfigError, match=line) as error:
        improve(INPUTS, spoilt(member, value), config=ALL)
    assert "\n" not in str(error.value) and len(str(error.value)) < 300


def test_control_a_right_model_runs_and_is_adapted() -> None:
    episodes = improve(INPUTS, Own(), config=ALL)
    assert {episode.adaptation.status for episode in episodes} == {"trained"}
    assert not any(episode.error for episode in episodes)
    assert strip(episodes) == strip(improve(INPUTS, DemoModel(), config=ALL)), "the check changes no result"


def strip(episodes: Sequence[Any]) -> list[Any]:
    return [replace(episode, seconds={}) for episode in episodes]


def test_control_without_the_check_every_input_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batch, "as_model", lambda model: model)
    for member, value in (("fits", True), ("generate", iter), ("score", lambda right: [[math.nan] * 3] * len(right))):
        episodes = improve(INPUTS, spoilt(member, value), config=ALL)
        assert any(episode.error or episode.adaptation.reason for episode in episodes)


def test_an_error_that_the_model_raises_belongs_to_its_input() -> None:
    class Raises(Own):
        def generate(self, requests: Sequence[Request]) -> list[Generation]:
            raise KeyError("column")

    assert [episode.error for episode in improve(INPUTS, Raises(), config=ALL)] == ["KeyError: 'column'"] * 2


@pytest.mark.parametrize(
    ("member", "value", "line"),
    [
        *FAULTS[:4],
        ("describe", {"names": {1}}, "describe returned {'names': {1}}: return JSON values"),
        ("describe", {"loss": math.nan}, "describe returned {'loss': nan}: return JSON values"),
        ("describe", {1: "a"}, "describe returned {1: 'a'}: return a dict"),
        ("describe", "rule", "describe returned 'rule': return a dict"),
        ("describe", {"parameters": "2M"}, "describe returned {'parameters': '2M'}: make it a whole number"),
    ],
)
def test_a_wrong_result_ends_an_evaluation_in_one_line(tmp_path: Any, member: str, value: Any, line: str) -> None:
    write(tmp_path / "mine.jsonl", rows(2))
    questions = load_benchmark(str(tmp_path / "mine.jsonl"))
    with pytest.raises(ConfigError) as error:
        evaluate(questions, spoilt(member, value))
    assert line in str(error.value) and "\n" not in str(error.value)
    assert evaluate(questions, Own())["n_error"] == 0  # control


def test_models_of_this_package_are_not_wrapped_and_others_once() -> None:
    demo, own = DemoModel(), Own()
    assert as_model(demo) is demo and as_model(wrapped := ModelWrapper(demo)) is wrapped
    checked = as_model(own)
    assert isinstance(checked, CheckedModel) and as_model(checked) is checked
    assert isinstance(as_model(ModelWrapper(own)), CheckedModel), "one behind a wrapper of ours is checked, too"
    assert as_model(in_front := ModelWrapper(checked)) is in_front
    own.placement = "cpu"  # type: ignore[attr-defined]
    assert checked.placement == "cpu"  # type: ignore[attr-defined]
    with pytest.raises(AttributeError):
        checked.absent  # type: ignore[attr-defined]  # noqa: B018


def test_a_teacher_needs_less_and_what_lacks_more_is_refused() -> None:
    class Teacher:
        """Writes only."""

        spec, format = "teacher", DemoModel().format

        def describe(self) -> dict[str, Any]:
            return {"spec": self.spec}

        def generate(self, requests: Sequence[Request]) -> Any:
            return []

    with pytest.raises(ConfigError, match="without 'fits'"):
        as_model(Teacher())
    with pytest.raises(ConfigError, match="generate returned 0 values for 1 requests"):
        as_teacher(Teacher()).generate([Request(Prompt(INPUTS[0].messages, TOOLS), 9)])
    with pytest.raises(ConfigError, match="without 'describe'"):
        as_teacher(ModelWrapper(type("Bare", (), {"spec": "bare", "format": DemoModel().format})()))


def answers(text: str, tools: Sequence[Tool] = TOOLS, count: int = 1, grammar: str | None = "") -> list[str]:
    """The warnings of a model that answers so."""

    class Writes(Own):
        format = FORMATS["hermes"]

        def generate(self, requests: Sequence[Request]) -> list[Generation]:
            return [Generation(text, 3, -1.0, -0.5, True) for _ in requests]

    model = Writes()
    model.format = FORMATS["hermes"]
    made = answer_grammar(model.format, tools) if grammar == "" else grammar
    request = Request(Prompt(INPUTS[0].messages, tuple(tools)), 99, grammar=made)
    records: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: records.append(record.getMessage())  # type: ignore[method-assign]
    log = logging.getLogger("ttsi.models.grammar_watch")
    log.addHandler(handler)
    try:
        checked = as_model(model)
        for _ in range(count):
            checked.generate([request])
    finally:
        log.removeHandler(handler)
    return records


HERMES = FORMATS["hermes"].render
RIGHT = HERMES([ToolCall("get_weather", {"city": "Oslo"})])
PATTERN = Tool("f", "", {"type": "object", "properties": {"a": {"type": "string", "not": {"const": "x"}}}})


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        (HERMES([ToolCall("get_weather", {"town": "Oslo"})]), "city is missing"),
        (HERMES([ToolCall("get_weather", {"city": 1})]), "city is not of type string"),
        (HERMES([ToolCall("other", {})]), "no tool is called 'other'"),
        ('<tool_call>{"name": "get_weather", "arguments": 1}</tool_call>', "arguments"),
    ],
)
def test_a_model_that_ignores_its_grammar_is_named_once(text: str, fault: str) -> None:
    [line] = answers(text, count=3)
    assert fault in line and "does not follow the grammar" in line and "Request.grammar" in line


def test_control_answers_that_the_grammar_admits_are_no_fault() -> None:
    wrong = HERMES([ToolCall("get_weather", {"town": "Oslo"})])
    assert answers(RIGHT) == answers("It will not rain.") == []
    assert answers(wrong, grammar=None) == [], "decoding is free"
    assert answers(wrong, grammar='start: "x"') == [], "a grammar that is not made from the tools"
    assert answers(HERMES([ToolCall("f", {"a": "x"})]), [PATTERN]) == [], "what no grammar can enforce"
    assert "not" not in enforceable_tool(PATTERN).parameters["properties"]["a"]


def test_only_the_first_answers_are_looked_at() -> None:
    class Late(Own):
        count = 0

        def generate(self, requests: Sequence[Request]) -> list[Generation]:
            self.count += 1
            wrong = HERMES([ToolCall("other", {})])
            return [Generation(RIGHT if self.count <= MOST_ANSWERS else wrong, 3, -1.0, -0.5, True) for _ in requests]

    model = Late()
    model.format = FORMATS["hermes"]
    checked = as_model(model)
    request = Request(Prompt(INPUTS[0].messages, TOOLS), 99, grammar=answer_grammar(model.format, TOOLS))
    for _ in range(MOST_ANSWERS + 1):
        checked.generate([request])
    assert isinstance(checked, CheckedModel) and checked._watch._left == 0
