"""inspect_ai runs an evaluation on the method as on any model."""

from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("inspect_ai", reason="the extra `inspect` is not installed")

from inspect_ai import Task, eval
from inspect_ai.dataset import Sample
from inspect_ai.model import ChatMessageAssistant, ChatMessageTool, ChatMessageUser
from inspect_ai.scorer import CORRECT, INCORRECT, Score, Target, accuracy, scorer
from inspect_ai.solver import TaskState, generate, use_tools
from inspect_ai.tool import Tool, ToolCall, ToolFunction, ToolInfo, tool

from ttsi.interop.inspect_provider import as_input  # as its entry point does where ttsi is installed
from ttsi.types import answered_calls

# inspect_ai leaves streams open at the end of an evaluation; that is not ours to mend.
pytestmark = pytest.mark.filterwarnings("ignore")


@tool
def book_flight() -> Tool:
    async def execute(city: str) -> str:
        """Book a flight to a city.

        Args:
            city: where to.
        """
        return "booked"

    return execute


@tool
def get_weather() -> Tool:
    async def execute(city: str) -> str:
        """Look up the weather of a city.

        Args:
            city: where.
        """
        return "rain"

    return execute


@scorer(metrics=[accuracy()])
def called() -> Any:
    async def score(state: TaskState, target: Target) -> Score:
        names = [call.function for call in state.output.message.tool_calls or []]
        return Score(value=CORRECT if names == [target.text] else INCORRECT)

    return score


def accuracy_of(method: str, tmp_path: Any) -> float:
    task = Task(
        dataset=[Sample(input="Do I need an umbrella in Lima", target="get_weather")],
        solver=[use_tools([book_flight(), get_weather()]), generate(tool_calls="none")],
        scorer=called(),
    )
    options = {"log_dir": str(tmp_path), "display": "none"}
    [log] = eval(task, model="ttsi/scripted:demo", model_args={"method": method}, **options)
    assert log.status == "success" and log.results is not None
    return float(log.results.scores[0].metrics["accuracy"].value)


def test_an_evaluation_runs_and_improving_helps(tmp_path: Any) -> None:
    assert accuracy_of("ttsi", tmp_path) == 1.0


def test_control_without_improving_it_is_wrong(tmp_path: Any) -> None:
    assert accuracy_of("base", tmp_path) == 0.0


def test_a_result_stays_with_its_call_and_a_forced_tool_does_not_hide_the_others() -> None:
    calls = [ToolCall(id=name, function=name, arguments={}) for name in ("get_time", "get_weather")]
    spoken = [
        ChatMessageUser(content="time and weather?"),
        ChatMessageAssistant(content="", tool_calls=calls),
        ChatMessageTool(content="rain", tool_call_id="get_weather"),
    ]
    tools = [ToolInfo(name=name, description=name) for name in ("get_time", "get_weather")]
    item = as_input(list(spoken), tools, ToolFunction("get_time"))
    assert answered_calls(item.messages)[-1] == 1
    assert len(item.tools) == 2 and as_input(list(spoken), tools, "none").tools == ()
