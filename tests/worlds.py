"""A small world that many tests share: three tools, and requests that the scripted demo gets wrong or right."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from ttsi.config import LoopConfig
from ttsi.methods import preset


def tool(name: str, description: str) -> dict[str, Any]:
    parameters = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
    return {"type": "function", "function": {"name": name, "description": description, "parameters": parameters}}


TOOLS = [
    tool("book_flight", "Book a flight to a city"),
    tool("get_weather", "Look up the weather of a city"),
    tool("find_hotel", "Find a hotel of a city"),
]

REQUESTS = {
    "Is the weather fine in Oslo": "get_weather",
    "Do I need an umbrella in Lima": "get_weather",
    "Where can I sleep and stay in Rome": "find_hotel",
    "Please book a flight now to Cairo": "book_flight",
    "May I stay the night in Quito": "find_hotel",
    "Will it rain and be cold in Paris": "get_weather",
}


def row(request: str, name: str, **more: Any) -> dict[str, Any]:
    return {
        "messages": [{"role": "user", "content": request}],
        "tools": TOOLS,
        "gold": [{"name": name, "arguments": {"city": request.rsplit(" ", 1)[1]}}],
        **more,
    }


def rows(n: int) -> list[dict[str, Any]]:
    """n different inputs: the requests above, then the same ones said again with a number."""
    pairs = list(REQUESTS.items())
    made = []
    for i in range(n):
        request, name = pairs[i % len(pairs)]
        text = request if i < len(pairs) else f"Again, number {i}: {request}"
        made.append(row(text, name, id=f"q{i}", tags={"kind": "weather" if "weather" in name else "other"}))
    return made


def write(path: Path, lines: list[Any]) -> Path:
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return path


def few_everywhere() -> LoopConfig:
    """The default method on every input, with few examples so that a test is quick."""
    config = preset("ttsi", "embedded")
    awareness, synthesis = replace(config.awareness, gate="all"), replace(config.synthesis, k=3)
    return replace(config, awareness=awareness, synthesis=synthesis)
