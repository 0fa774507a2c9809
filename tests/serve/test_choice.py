"""`tool_choice` is exact, and no mark or inner text of a call reaches `content`, whatever the model writes."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from tests.serve.conftest import UNSURE, body
from tests.serve.test_chat_request import allowing
from tests.serve.test_worker import job
from ttsi.chat.calls import FORMATS
from ttsi.models import Generation, Request
from ttsi.models.scripted import DemoModel
from ttsi.serve.chat_request import read_request
from ttsi.serve.interruptible import Interrupts
from ttsi.serve.limits import Limits
from ttsi.serve.pipe import AnswerJob, ChatChoice
from ttsi.serve.replies import ChatReply
from ttsi.serve.worker import answer_job
from ttsi.types import ToolCall

CALL, OTHER = ToolCall("get_weather", {"city": "Lima"}), ToolCall("find_hotel", {"city": "Lima"})
FORCED = {"type": "function", "function": {"name": "find_hotel"}}
FRAME = re.compile(r"<[^\s<>]+>|\[[A-Z_]+\]")
MARK = re.compile(rf"{FRAME.pattern}|get_weather|Lima")


class Writes(DemoModel):
    """A model that writes a fixed text and keeps its requests."""

    def __init__(self, text: str, finished: bool = True, form: str = "hermes") -> None:
        super().__init__()
        self.format = FORMATS[form]
        self._text, self._finished = text, finished
        self.requests: list[Request] = []

    def generate(self, requests: Sequence[Request]) -> list[Generation]:
        self.requests += requests
        return [Generation(self._text, 9, -1.0, -0.5, self._finished) for _ in requests]


def choice(model: Writes, **more: Any) -> ChatChoice:
    [only] = answer_job(model, job(method="base", **more), Interrupts()).choices
    return only


@pytest.mark.parametrize("writer", FORMATS)
@pytest.mark.parametrize("form", ["the writer's own", "hermes", "marked", "plain"])
@pytest.mark.parametrize("more", [{"tool_choice": "none"}, {"tools": None}, {"tools": []}], ids=str)
def test_none_never_returns_a_call(writer: str, form: str, more: dict[str, Any]) -> None:
    text = FORMATS[writer].render([CALL])
    model = Writes(text, form=form if form in FORMATS else writer)
    answer = choice(model, **more)
    assert (answer.calls, answer.finish) == ((), "stop") and model.requests[0].prompt.tools == ()
    if more.get("tool_choice") or FRAME.search(text):
        assert answer.content == ""
    else:  # no marks, and a tool that the conversation never names: the user may want JSON
        assert answer.content == text


def test_control_the_same_text_is_a_call_where_it_may_be_one() -> None:
    answer = choice(Writes(FORMATS["hermes"].render([CALL])))
    assert (answer.content, answer.calls, answer.finish) == (None, (("get_weather", '{"city": "Lima"}'),), "tool_calls")


def test_none_keeps_calls_out_of_the_details_too() -> None:
    outcome = answer_job(Writes(FORMATS["hermes"].render([CALL])), job(tool_choice="none"), Interrupts())
    assert outcome.episodes[0].base and outcome.episodes[0].base.calls == ()


def test_a_forced_tool_is_the_only_one_that_can_be_written_and_all_are_in_the_prompt() -> None:
    model = Writes(FORMATS["hermes"].render([OTHER]))
    assert choice(model, tool_choice=FORCED).calls == (("find_hotel", '{"city": "Lima"}'),)
    [request] = model.requests
    assert len(request.prompt.tools) == 3 and request.grammar
    assert "find_hotel" in request.grammar and "get_weather" not in request.grammar


@pytest.mark.parametrize("mode", ["auto", "required"])
@pytest.mark.parametrize("decoding", ["constrained", "free"])
def test_only_allowed_tools_can_be_written_and_all_are_in_the_prompt(mode: str, decoding: str) -> None:
    asked = job(method="base", tool_choice=allowing("find_hotel", "book_flight", mode=mode))
    answer = replace(asked.config.answer, decoding=decoding)  # type: ignore[arg-type]
    asked = asked.model_copy(update={"config": replace(asked.config, answer=answer)})
    asked = AnswerJob.model_validate_json(asked.model_dump_json())  # as the worker gets it
    model = Writes(FORMATS["hermes"].render([OTHER]))
    assert answer_job(model, asked, Interrupts()).choices[0].calls == (("find_hotel", '{"city": "Lima"}'),)
    [request] = model.requests
    assert len(request.prompt.tools) == 3 and request.grammar
    assert "find_hotel" in request.grammar and "book_flight" in request.grammar
    assert "get_weather" not in request.grammar
    assert ("WORDS" in request.grammar.splitlines()[0]) == (mode == "auto")
    choice(model)
    assert "get_weather" in (model.requests[1].grammar or ""), "the control: all may be called"


def test_an_operators_stricter_demand_holds_among_allowed_tools() -> None:
    asked, starts = job(method="base", tool_choice=allowing("find_hotel")), []
    for calls in ("auto", "one"):
        answer = replace(asked.config.answer, calls=calls)  # type: ignore[arg-type]
        model = Writes(FORMATS["hermes"].render([OTHER]))
        answer_job(model, asked.model_copy(update={"config": replace(asked.config, answer=answer)}), Interrupts())
        starts.append((model.requests[0].grammar or "").splitlines()[0])
    assert ["WORDS" in start for start in starts] == [True, False]


def test_required_has_no_way_around_a_call_and_one_call_no_second() -> None:
    grammars = {}
    for name, more in {"auto": {}, "required": {}, "one": {"parallel_tool_calls": False}}.items():
        model = Writes(FORMATS["hermes"].render([CALL]))
        choice(model, tool_choice="auto" if name == "auto" else "required", **more)
        grammars[name] = model.requests[0].grammar or ""
    starts = {name: grammar.splitlines()[0] for name, grammar in grammars.items()}
    assert "WORDS" in starts["auto"], "the control: words are a way around"
    assert "WORDS" not in starts["required"] and "*" in starts["required"]
    assert "WORDS" not in starts["one"] and "*" not in starts["one"] and "+" not in starts["one"]


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("tool_choice", ["auto", "required", FORCED], ids=str)
def test_an_answer_that_is_cut_off_is_no_call_and_says_so(form: str, tool_choice: Any) -> None:
    whole = FORMATS[form].render([CALL])
    for end in range(1, len(whole) + 1, 3):
        answer = choice(Writes(whole[:end], finished=False, form=form), tool_choice=tool_choice)
        assert (answer.content, answer.calls, answer.finish) == (None, (), "length"), whole[:end]


def test_text_before_a_call_is_content_even_where_the_call_is_cut_off() -> None:
    whole = FORMATS["hermes"].render([CALL], "Let me look.")
    assert choice(Writes(whole)).content == "Let me look."
    assert choice(Writes(whole[:-20], finished=False)) == ChatChoice(
        content="Let me look.", calls=(), finish="length", tokens=9
    )


def test_an_unreadable_call_is_not_content() -> None:
    answer = choice(Writes('Look: <tool_call>\n{"name": get_weather}\n</tool_call>'))
    assert (answer.content, answer.calls, answer.finish) == ("Look:", (), "stop")


@pytest.mark.parametrize(
    ("text", "more"),
    [
        (FORMATS["hermes"].render([CALL], "Let me look."), {}),
        (FORMATS["hermes"].render([CALL, OTHER]), {"parallel_tool_calls": False}),
        (FORMATS["hermes"].render([CALL], "Let me look."), {"tool_choice": "none"}),
        (FORMATS["hermes"].render([CALL], "Let me look."), {"stop": "me"}),
    ],
)
def test_stream_and_completion_are_equal_and_hold_no_mark(text: str, more: dict[str, Any]) -> None:
    options = read_request(body(UNSURE, **more), Limits(), "id")
    outcome = answer_job(Writes(text), job(method="base", **more), Interrupts())
    reply = ChatReply(options, outcome, "")
    [whole] = reply.completion()["choices"]
    deltas = [chunk["choices"][0]["delta"] for chunk in reply.chunks()]
    content = "".join(delta.get("content") or "" for delta in deltas)
    names = [call["function"]["name"] for delta in deltas for call in delta.get("tool_calls", ()) if "id" in call]
    assert content == (whole["message"]["content"] or "") and not MARK.search(content)
    assert names == [call["function"]["name"] for call in whole["message"].get("tool_calls", ())]
    assert len(names) == (0 if {"tool_choice", "stop"} & more.keys() else 1)


def free(**more: Any) -> AnswerJob:
    """A request to a server that decodes freely."""
    wanted = job(**more)
    answer = replace(wanted.config.answer, decoding="free")
    return wanted.model_copy(update={"config": replace(wanted.config, answer=answer)})


@pytest.mark.parametrize(
    "choice",
    [
        "required",
        {"type": "function", "function": {"name": "get_weather"}},
        allowing("find_hotel", "get_weather", mode="required"),
    ],
    ids=str,
)
def test_a_demanded_call_is_adapted_on_a_server_that_decodes_freely(choice: Any) -> None:
    outcome = answer_job(DemoModel(), free(tool_choice=choice), Interrupts())
    assert outcome.fallback is None and outcome.episodes[0].adaptation.status == "trained"
    assert [name for name, _ in outcome.choices[0].calls] == ["get_weather"]
    usual = answer_job(DemoModel(), job(tool_choice=choice), Interrupts())
    assert outcome.choices == usual.choices, "as on any other server"


def test_control_what_demands_no_call_is_decoded_freely() -> None:
    grammars = []
    for wanted in (free(), free(tool_choice="required"), job()):
        model = Writes("<tool_call>")
        answer_job(model, wanted, Interrupts())
        grammars.append(model.requests[0].grammar)
    assert grammars[0] is None and grammars[1] is not None and grammars[2] is not None
