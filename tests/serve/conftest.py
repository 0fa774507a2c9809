"""A real server on a free port of this machine, with the scripted demo or a faulty variant of it as its model."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("fastapi", reason="the extra `serve` is not installed")

import openai

from tests.worlds import TOOLS

ROOT = Path(__file__).parents[2]
UNSURE = "Do I need an umbrella in Lima"
"""A request that the demo answers wrongly until it has adapted."""
SERVE = ("-m", "ttsi", "serve")


@dataclass
class Server:
    """A server under test."""

    process: subprocess.Popen[str]
    url: str

    def client(self, **options: Any) -> openai.OpenAI:
        """OpenAI's own client, without retries unless a test wants them."""
        return openai.OpenAI(**{"base_url": f"{self.url}/v1", "api_key": "none", "max_retries": 0, **options})

    def get(self, path: str) -> str:
        """The body at a path."""
        with urllib.request.urlopen(self.url + path, timeout=60) as answer:
            return str(answer.read().decode())

    def metric(self, name: str) -> float:
        """One line of /metrics."""
        lines = [line for line in self.get("/metrics").splitlines() if line.startswith(f"{name} ")]
        return float(lines[0].split()[1])

    def end(self) -> int:
        """Send SIGTERM; returns the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=60)


@contextlib.contextmanager
def running(*options: str, command: tuple[str, ...] = SERVE, model: str = "scripted:demo") -> Iterator[Server]:
    """`ttsi serve` until the block is left."""
    arguments = [sys.executable, *command, "--model", model, "--port", "0", *options]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1"}
    process = subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True, env=environment, cwd=ROOT)
    assert process.stdout is not None
    try:
        line = process.stdout.readline()
        assert "answers" in line, line
        yield Server(process, line.split()[1].removesuffix("/v1"))
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    """One server for tests that only send requests."""
    with running("--limits.adaptations-per-minute", "100000", "--limits.adaptations-per-key", "100000") as process:
        yield process


@pytest.fixture
def client(server: Server) -> Iterator[openai.OpenAI]:
    """A client of it."""
    with server.client() as openai_client:
        yield openai_client


def chat_body(text: str = UNSURE, **more: Any) -> dict[str, Any]:
    """A request body."""
    return {"model": "scripted:demo", "messages": [{"role": "user", "content": text}], "tools": TOOLS, **more}


def body(text: str = UNSURE, **more: Any) -> bytes:
    """A request body as bytes."""
    return json.dumps(chat_body(text, **more)).encode()


Bodies = Callable[..., bytes]
