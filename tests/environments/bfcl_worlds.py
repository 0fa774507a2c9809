"""Tasks of BFCL's simulators in miniature, and how a test says that the simulators are not installed."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

import pytest

from ttsi.environments.bfcl_simulators import Scenario, SimulatorTask
from ttsi.types import Answer, Message, Step, Tool, ToolCall, ToolResult, Trajectory, Turn

needs_simulators = pytest.mark.skipif(
    find_spec("bfcl_eval") is None, reason="no simulators of BFCL: pip install --no-deps bfcl-eval"
)


def tool(name: str) -> Tool:
    return Tool(name, f"{name}.", {"type": "object", "properties": {}})


def call(name: str, /, **arguments: Any) -> ToolCall:
    return ToolCall(name, arguments)


def said(text: str) -> tuple[Message, ...]:
    return (Message("user", text),)


NOTES = {"type": "file", "content": "b\na"}
FILES = {"root": {"home": {"type": "directory", "contents": {"notes.txt": NOTES}}}}
TASK = SimulatorTask(
    "files",
    Scenario(("GorillaFileSystem", "MathAPI"), {"GorillaFileSystem": FILES}),
    (said("Make a folder docs."), said("Sort the notes."), said("What about now?"), said("And add 1 and 2.")),
    tuple(map(tool, ("mkdir", "ls", "cat", "touch", "add"))),
    {2: (tool("sort"),)},
)
GOLD = (
    (call("mkdir", dir_name="docs"), call("ls")),
    (),
    (call("sort", file_name="notes.txt"),),
    (call("add", a=1, b=2),),
)


def trajectory(*turns: tuple[ToolCall, ...]) -> Trajectory:
    """One step per call, and one in words at the end of each turn."""
    done = Step(None, Answer("Done.", ()))
    steps = [(*(Step(None, Answer("", (one,)), results=(ToolResult(""),)) for one in turn), done) for turn in turns]
    return Trajectory(tuple(Turn((), made, "done") for made in steps))
