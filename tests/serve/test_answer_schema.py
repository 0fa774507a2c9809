"""Schemas of answers and tools in a request: references, data that look like references, and what no value fits."""

from __future__ import annotations

import asyncio
import json
from types import SimpleNamespace
from typing import Any

import pytest

from tests.serve.conftest import body
from tests.serve.test_chat_request import read, rejection, with_schema
from tests.serve.test_worker import job
from ttsi.chat.grammar import json_answer
from ttsi.errors import DataError, GrammarError, PromptTooLong
from ttsi.methods import preset
from ttsi.models.scripted import DemoModel
from ttsi.serve.chat_request import InvalidRequest
from ttsi.serve.interruptible import Interrupts
from ttsi.serve.limits import MAX_REFERENCE, Limits, check_schemas
from ttsi.serve.pipe import AnswerJob, Outcome, Start
from ttsi.serve.service import ServerSettings, Service
from ttsi.serve.worker import answer_job

Y = {"$ref": "#/$defs/y"}
MAYBE = {"anyOf": [{"$ref": "#"}, {"type": "null"}]}
DATA = {"$ref": "http://x/y"}


def with_answer(schema: Any, **more: Any) -> bytes:
    form = {"type": "json_schema", "json_schema": {"name": "a", "schema": schema, **more}}
    return body(tools=None, response_format=form)


def admits(schema: str, text: str) -> bool:
    """Whether the grammar of an answer admits a text."""
    guidance = pytest.importorskip("llguidance")
    matcher = guidance.LLMatcher(guidance.LLTokenizer("byte"), guidance.grammar_from("lark", json_answer(schema)))
    assert not matcher.is_error(), matcher.get_error()
    return bool(matcher.try_consume_tokens(list(text.encode())) == len(text) and matcher.is_accepting())


REFERRING = {
    "nested": ({"properties": {"a": Y}, "required": ["a"], "$defs": {"y": {"enum": ["v"]}}}, '{"a":"v"}', '{"a":"w"}'),
    "root": ({**Y, "$defs": {"y": {"type": "integer"}}}, "1", '"w"'),
    "recursive": (
        {"properties": {"n": MAYBE}, "required": ["n"], "additionalProperties": False}, '{"n":{"n":null}}', '{"n":1}',
    ),
    "list": ({"type": "array", "items": Y, "$defs": {"y": {"enum": ["v"]}}}, '["v","v"]', '["w"]'),
    "a list's entry": ({"anyOf": [{"const": "v"}, {"type": "array", "items": {"$ref": "#/anyOf/0"}}]}, '["v"]', "[1]"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFERRING)
def test_references_of_an_answers_schema_are_followed(name: str) -> None:
    schema, right, wrong = REFERRING[name]
    text = read(with_answer({"type": "object", **schema} if "properties" in schema else schema)).answer_schema
    assert text is not None and admits(text, right)
    assert not admits(text, wrong), "control: the schema is enforced"


def test_what_pydantic_makes_of_nested_models_is_read() -> None:
    openai = pytest.importorskip("openai")
    from pydantic import BaseModel

    class Stop(BaseModel):
        city: str
        then: Stop | None

    class Trip(BaseModel):
        first: Stop

    form = openai.lib._parsing._completions.type_to_response_format_param(Trip)
    text = read(body(tools=None, response_format=form)).answer_schema
    assert text is not None and "$ref" in text
    assert admits(text, '{"first":{"city":"Oslo","then":{"city":"Rome","then":null}}}')
    assert not admits(text, '{"first":{"city":"Oslo","then":1}}')


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "object", "properties": {"a": {"$ref": "#/$defs/z"}}, "$defs": {"y": {}}},
        {"$ref": "#/$defs/y"},
        {"type": "array", "items": {"$ref": "http://127.0.0.1:9/x"}},
        {"type": "array", "items": {"$ref": 3}},
        {"type": "sting"},
        {"type": "string", "pattern": "(?:"},
        {"type": "object", "properties": []},
        {"enum": list(range(1001))},
    ],
    ids=str,
)
def test_an_answers_schema_that_cannot_be_used_is_named(schema: Any) -> None:
    error = rejection(with_answer(schema))
    assert error.param == "response_format" and str(error).startswith("response_format: ")


REF_NAMED = {"type": "object", "properties": {"$ref": {"type": "string"}}, "required": ["$ref"]}


@pytest.mark.parametrize(
    "schema",
    [
        REF_NAMED,
        {"type": "object", "$defs": {"$ref": {"type": "string"}}},
        *({"type": "object", "properties": {"a": {key: DATA}}} for key in ("default", "const", "example")),
        *({"type": "object", "properties": {"a": {key: [DATA]}}} for key in ("enum", "examples")),
        {"type": "object", "properties": {"default": {"type": "string", "default": {"properties": DATA}}}},
    ],
    ids=str,
)
def test_a_name_and_data_are_no_reference(schema: Any) -> None:
    check_schemas([schema], Limits())


@pytest.mark.parametrize(
    "schema",
    [
        DATA,
        {"properties": {"a": DATA}},
        {"properties": {"$ref": DATA}},
        {"properties": {"default": DATA}},
        {"properties": {"a": {"anyOf": [DATA]}}},
        {"$defs": {"enum": DATA}},
        {"items": {"not": DATA}},
        {"dependentSchemas": {"a": DATA}},
    ],
    ids=str,
)
def test_control_a_reference_outside_is_seen_wherever_a_schema_stands(schema: Any) -> None:
    with pytest.raises(DataError, match="must point into its own schema"):
        check_schemas([schema], Limits())


def test_a_tool_may_have_a_parameter_of_that_name() -> None:
    [tool] = read(with_schema(REF_NAMED)).item.tools
    assert tool.parameters == REF_NAMED
    assert rejection(with_schema({"type": "object", "properties": {"a": DATA}})).param == "tools"  # control


def test_references_to_entries_of_a_list_are_expanded_too() -> None:
    doubling = [{"allOf": [{"$ref": f"#/anyOf/{i + 1}"}] * 2} for i in range(14)]
    with pytest.raises(DataError, match="a schema "):
        check_schemas([{"anyOf": [*doubling, {"type": "null"}]}], Limits())
    check_schemas([{"anyOf": [*doubling[12:], {"type": "null"}]}], Limits())  # control: it dangles, and is small
    assert rejection(with_schema({"type": "object", "anyOf": [{"$ref": "#/anyOf/" + "9" * 5000}]})).param == "tools"
    check_schemas([{"$ref": "#" + "a" * (MAX_REFERENCE - 1)}], Limits())  # control


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"response_format": {"type": "json_schema", "json_schema": {"name": "a"}}}, "this field is required"),
        (
            {"response_format": {"type": "json_schema", "json_schema": {"name": "a", "shema": {}}}},
            "this field is required; did you misspell it as shema?",
        ),
        ({"response_format": {"tpye": "text"}}, "this field is required; did you misspell it as tpye?"),
        ({"model": None, "tools": [], "response_format": {"json_schema": None}}, "Input should be a valid string"),
    ],
    ids=str,
)
def test_a_hint_at_a_misspelling_names_a_field_beside_it(changes: dict[str, Any], line: str) -> None:
    assert str(rejection(body(**changes))).partition(": ")[2] == line


def test_control_a_misspelt_field_of_the_request_is_hinted_at() -> None:
    renamed = {"model": "m", "mesages": [], "tools": []}
    assert "did you misspell it as mesages?" in str(rejection(json.dumps(renamed).encode()))
    assert "misspell" not in str(rejection(json.dumps({"model": "m", "tools": []}).encode()))


class Strict(DemoModel):
    """A model that can write nothing."""

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self._error = error

    def generate(self, requests: Any) -> Any:
        """What the engine says where a grammar admits nothing."""
        raise self._error


@pytest.mark.parametrize(
    ("more", "param"),
    [
        ({"tools": None, "response_format": {"type": "json_object"}}, "response_format"),
        ({"tool_choice": "required"}, "tools"),
        ({"tools": None}, "messages"),
    ],
    ids=str,
)
def test_the_field_that_the_model_cannot_follow_is_named(more: dict[str, Any], param: str) -> None:
    outcome = answer_job(Strict(GrammarError("the grammar does not compile: secret")), job(**more), Interrupts())
    assert (outcome.state, outcome.param) == ("unfit", param) and "secret" not in outcome.model_dump_json()
    too_long = answer_job(Strict(PromptTooLong("secret")), job(**more), Interrupts())
    assert (too_long.state, too_long.param) == ("too-long", "messages")  # control: the cause is another


@pytest.mark.parametrize(
    ("outcome", "param"),
    [(Outcome(id="1", state="unfit", param="tools"), "tools"), (Outcome(id="1", state="too-long"), "messages")],
)
def test_the_client_reads_the_field(outcome: Outcome, param: str) -> None:
    async def answer(_job: AnswerJob) -> Outcome:
        return outcome

    start = Start(model="m", device="cpu", dtype="auto")
    service = Service(ServerSettings(start, "m", preset("base", "embedded")))
    service.supervisor = SimpleNamespace(ready=True, base=None, answer=answer)  # type: ignore[assignment]
    with pytest.raises(InvalidRequest) as error:
        asyncio.run(service.answer(read(body()), "ada"))
    assert (error.value.status, error.value.param) == (400, param)


@pytest.mark.parametrize("schema", [{"not": {}}, {"enum": []}], ids=str)
def test_a_schema_that_admits_nothing_is_the_requests_fault(schema: Any) -> None:
    pytest.importorskip("torch")
    from ttsi.models import load

    model, plain = load("embedded"), job(method="base")
    for wanted, state in ((schema, "unfit"), ({"enum": ["v"]}, "answered")):  # the second is the control
        one: AnswerJob = plain.model_copy(update={"options": read(with_answer(wanted))})
        outcome = answer_job(model, one, Interrupts())  # type: ignore[arg-type]
        assert outcome.state == state
        assert state == "answered" or outcome.param == "response_format"
