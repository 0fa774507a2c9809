"""Requests and measurements shared by the trials of the server.

Inputs: a running server (`tests/serve/conftest.py`). Outputs: request bodies of a model's own world, verdicts on what
came back, memory and processes, and one line per figure.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from tests.serve.conftest import SERVE, Server, chat_body
from tests.serve.test_server import FAULTY
from tests.worlds import REQUESTS
from ttsi.benchmarks import load
from ttsi.chat.templates import openai_turns
from ttsi.types import Input, Message, to_openai

Figures = dict[str, Any]
ROOMY: dict[str, float] = {
    "adaptations_per_minute": 10**9, "adaptations_per_key": 10**9, "keep_alive_seconds": 0.05, "wait_seconds": 10**9,
}  # fmt: skip
"""Limits that are in nobody's way."""


def limited(limits: dict[str, float], command: tuple[str, ...] = SERVE) -> tuple[str, ...]:
    """Limits as the command takes them."""
    if command == FAULTY:
        return tuple(f"{name}={value}" for name, value in limits.items())
    return tuple(f"--limits.{name.replace('_', '-')}={value}" for name, value in limits.items())


def questions(model: str, n: int) -> list[dict[str, Any]]:
    """n request bodies of the model's own world; some of them make it unsure."""
    if model != "embedded" and not Path(model).is_dir():
        texts = list(REQUESTS)
        return [chat_body(f"Number {number}: {texts[number % len(texts)]}", seed=number) for number in range(n)]
    inputs = [sample.input for sample in load("toolworld-validation").samples]  # test is for figures of the method
    return [{**body_of(inputs[number % len(inputs)], model), "seed": number} for number in range(n)]


def body_of(item: Input, model: str) -> dict[str, Any]:
    """An input as a client sends it."""
    return {
        "model": Path(model).name if Path(model).is_dir() else model,
        "messages": _messages(item.messages),
        "tools": [to_openai(tool) for tool in item.tools],
    }


def _messages(messages: Sequence[Message]) -> list[dict[str, Any]]:
    """Turns as a client sends them: arguments are text."""
    turns = openai_turns(messages)
    for function in (call["function"] for turn in turns for call in turn.get("tool_calls", ())):
        function["arguments"] = json.dumps(function["arguments"])
    return turns


def verdict(raw: bytes) -> str:
    """What a client makes of all that came back: answered, refused (as OpenAI refuses), or what is wrong with it."""
    head, found, data = raw.partition(b"\r\n\r\n")
    if not found:
        return "cut" if raw else "no answer"
    try:
        if b"text/event-stream" in head:
            events = [line[6:] for line in data.split(b"\n") if line.startswith(b"data: ")]
            if not data.endswith(b"\r\n0\r\n\r\n") or not events:
                return "cut"
            return "answered" if events[-1] == b"[DONE]" else _refusal(json.loads(events[-1]))
        body = json.loads(data)
    except ValueError:
        return "no JSON"
    if head.split(b" ", 2)[1] != b"200":
        return _refusal(body)
    return "answered" if all(choice["finish_reason"] for choice in body["choices"]) else "no completion"


def _refusal(body: Any) -> str:
    error = body.get("error", {})
    return "refused" if error.get("message") and error.get("type") and error.get("id") else "no error of OpenAI's form"


def wait_for(state: Callable[[], bool], patience: float = 120.0) -> None:
    """Ask until it is so.

    Raises:
        TimeoutError: it does not come.
    """
    until = time.monotonic() + patience
    while not state():
        if time.monotonic() > until:
            raise TimeoutError
        time.sleep(0.01)


def workers(server: Server) -> list[int]:
    """The process ids of a server's workers."""
    entries = [entry for entry in Path("/proc").iterdir() if entry.name.isdigit()]
    return [int(e.name) for e in entries if f"PPid:\t{server.process.pid}\n" in _read(e / "status")]


def memory(server: Server) -> float:
    """Resident bytes of the server and its worker."""
    pids = [server.process.pid, *workers(server)]
    return sum(float(_read(Path(f"/proc/{pid}/statm")).split()[1]) for pid in pids) * os.sysconf("SC_PAGE_SIZE")


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""


def say(name: str, figures: Figures) -> None:
    """One line per figure."""
    for what, value in figures.items():
        print(f"{name}: {what}: {json.dumps(value)}", flush=True)


def main(trials: Sequence[Callable[..., Figures]], arguments: Sequence[str], usage: str) -> None:
    """The trial that was named, with its number and what else it takes."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    found = {trial.__name__: trial for trial in trials}
    if len(arguments) < 2 or arguments[0] not in found:
        sys.exit(usage)
    say(arguments[0], found[arguments[0]](int(arguments[1]), *arguments[2:]))
