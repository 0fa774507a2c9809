"""Runs made by hand, for reports: rows whose every number is known."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import Any

from ttsi.methods import preset
from ttsi.record import Question, Run, RunRow
from ttsi.runs.reading import run_from_record
from ttsi.types import (
    Adaptation,
    Answer,
    Awareness,
    Candidate,
    Episode,
    Example,
    Input,
    Message,
    Tool,
    ToolCall,
)

SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
TOOLS = (Tool("get_weather", "Look up the weather", SCHEMA), Tool("find_hotel", "Find a hotel", SCHEMA))
GOLD = (ToolCall("get_weather", {"city": "Oslo"}),)
WRONG = (ToolCall("find_hotel", {"city": "Oslo"}),)


def row(
    number: int,
    base: bool | None = True,
    adapted: bool | None = None,
    sure: float = 0.5,
    query: str = "",
    **more: Any,
) -> RunRow:
    """A row; `adapted` is as `base` when not given; unsure below 0.95, and then adapted with two examples."""
    adapted = base if adapted is None else adapted
    unsure = sure < 0.95
    before, after = _answer(base), _answer(adapted)
    awareness = Awareness(
        (Candidate("get_weather", "get_weather(", -0.1, 0.9), Candidate("find_hotel", "find_hotel(", -2.3, 0.1)),
        "margin", sure, 0.95, unsure, {"margin": sure, "top1": (1 + sure) / 2, "answer_logprob": -1.0},
    )  # fmt: skip
    examples = (
        Example("weather of Rome please", (ToolCall("get_weather", {"city": "Rome"}),), "raw"),
        Example("hotel", (), "raw", "grounded: the value of city is not in the request"),
    )
    episode = Episode(
        f"q{number}", f"{number:064x}", before, after, awareness, examples if unsure else (),
        Adaptation("trained", 1, 2, (1.0, 0.5)) if unsure else Adaptation("none"), {"answer": 0.5, "awareness": 1.0},
    )  # fmt: skip
    item = Input(f"q{number}", (Message("user", query or f"question {number} about Oslo"),), TOOLS)
    grades = {rule: {"base": base, "adapted": adapted} for rule in ("strict", "tool_choice")}
    question = Question(item, GOLD if base is not None else None)
    tags = {"kind": "even" if number % 2 == 0 else "odd"}
    made = RunRow(episode, 0, number, None if base is None else grades, tags, question=question)  # type: ignore[arg-type]
    return replace(made, **more)


def _answer(right: bool | None) -> Answer:
    return Answer("said", GOLD if right else WRONG, logprob=-1.0, tokens=4)


def config(method: str = "ttsi", seed: int = 0, n: int = 4, **data: Any) -> dict[str, Any]:
    """A configuration as config.json holds it."""
    loop = asdict(preset(method, "embedded"))
    loop["seed"] = seed
    loop["awareness"] |= {"measure": "margin", "tau": 0.95}
    return {
        "settings": {"benchmark": "b", "model": "m", "method": method, "loop": loop, "data": "/secret/place"},
        "data": {"benchmark": "b", "checksum": "c", "matcher": "strict", "n": n} | data,
        "model": {"weights_sha256": "w"},
        "versions": {"ttsi": "0"},
        "machine": {"source": "/secret/file"},
    }


def run(rows: list[RunRow], name: str = "one", settings: dict[str, Any] | None = None) -> Run:
    """A run of these rows."""
    return run_from_record(name, settings or config(n=len(rows)), rows)


def four(name: str = "one", seed: int = 0) -> Run:
    """Right and sure; fixed; wrong; broken."""
    rows = [row(0, True, True, 1.0), row(1, False, True, 0.1), row(2, False, False, 0.2), row(3, True, False, 0.6)]
    return run(rows, name, config(seed=seed))
