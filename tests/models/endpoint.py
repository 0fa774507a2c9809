"""A chat endpoint on this machine that answers, or fails in every way that a teacher can."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Handler = BaseHTTPRequestHandler
Behaviour = Callable[[Handler, dict[str, Any]], None]
EXAMPLE = '{"name": "get_weather", "arguments": {"city": "Rome"}}\nRequest: shall I need an umbrella in Rome'


def completion(text: Any = EXAMPLE, finish: str = "stop", **more: Any) -> bytes:
    """The body of a usual reply."""
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": finish}
    usage = {"prompt_tokens": 100, "completion_tokens": 20, "total_tokens": 120}
    return json.dumps({"id": "1", "object": "chat.completion", "choices": [choice], "usage": usage, **more}).encode()


def send(handler: Handler, body: bytes, status: int = 200, **headers: str) -> None:
    handler.send_response(status)
    handler.send_header("Content-Type", "application/json")
    handler.send_header("Content-Length", str(len(body)))
    for name, value in headers.items():
        handler.send_header(name.replace("_", "-"), value)
    handler.end_headers()
    handler.wfile.write(body)


def says(text: Any, finish: str = "stop") -> Behaviour:
    return lambda handler, asked: send(handler, completion(text, finish))


def sends(body: bytes, status: int = 200, **headers: str) -> Behaviour:
    return lambda handler, asked: send(handler, body, status, **headers)


def hangs(handler: Handler, asked: dict[str, Any]) -> None:
    """Says nothing until the other side has gone."""
    handler.connection.recv(1)


def drips(handler: Handler, asked: dict[str, Any]) -> None:
    """White space without end."""
    handler.send_response(200)
    handler.end_headers()
    try:
        while True:
            handler.wfile.write(b" " * 4096)
    except OSError:
        pass


def breaks(handler: Handler, asked: dict[str, Any]) -> None:
    """Promises more than it sends."""
    handler.send_response(200)
    handler.send_header("Content-Length", "1000")
    handler.end_headers()
    handler.wfile.write(b'{"choices": ')
    handler.close_connection = True


@dataclass
class Endpoint:
    """What the server was asked, and how it behaves: a list is used up, its last entry stays."""

    url: str = ""
    behaviours: list[Behaviour] = field(default_factory=lambda: [says(EXAMPLE)])
    asked: list[dict[str, Any]] = field(default_factory=list)
    keys: list[str] = field(default_factory=list)

    def next(self) -> Behaviour:
        return self.behaviours.pop(0) if len(self.behaviours) > 1 else self.behaviours[0]


@contextmanager
def serving(*behaviours: Behaviour) -> Iterator[Endpoint]:
    """An endpoint for as long as the block lasts."""
    endpoint = Endpoint()
    if behaviours:
        endpoint.behaviours = list(behaviours)

    class Answering(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            endpoint.asked.append(asked)
            endpoint.keys.append(self.headers["Authorization"])
            endpoint.next()(self, asked)

        def log_message(self, *_: object) -> None:
            """Silent."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answering)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    endpoint.url = f"http://127.0.0.1:{server.server_port}/v1"
    try:
        yield endpoint
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
