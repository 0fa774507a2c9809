"""A server for the clients, and one that damages its traffic, for the controls.

Inputs: a model's spec. Outputs: base URLs. `serving` runs `ttsi serve` in the checkout's own environment. `damaging` is
a proxy that damages requests and responses: `misspelt` calls another tool, `cut` leaves an argument incomplete, `ids`
gives results the ids of calls that nobody made.
"""

from __future__ import annotations

import json
import subprocess
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

ROOT = Path(__file__).parents[1]
DAMAGE = {
    "misspelt": ((b'"rate_film"', b'"rate_fim"'), (b'"list_showtimes"', b'"list_shows"')),
    "ids": (
        (b'"tool_call_id":"call_', b'"tool_call_id":"gone_'),
        (b'"tool_call_id": "call_', b'"tool_call_id": "gone_'),
    ),
    "cut": ((b'\\"stars\\": 4', b'\\"stars\\"'), (b'\\"city\\": \\"Oslo\\"', b'\\"city\\":')),
}


@contextmanager
def serving(model: str, *options: str) -> Iterator[str]:
    """Run `ttsi serve` until the end of the block."""
    command = [str(ROOT / ".venv/bin/python"), "-m", "ttsi", "serve", "--model", model, "--port", "0", *options]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT)
    assert process.stdout is not None
    try:
        line = process.stdout.readline()
        if " answers " not in line:
            raise SystemExit(f"ttsi serve did not start: {line}")
        yield line.split()[1]
    finally:
        process.terminate()
        process.wait()
        process.stdout.close()


def scripted(folder: Path) -> str:
    """A scripted model that replies with a call, text, a call, text, text."""

    def call(name: str, arguments: dict[str, object]) -> str:
        return f"<tool_call>\n{json.dumps({'name': name, 'arguments': arguments})}\n</tool_call>"

    replies = [
        call("rate_film", {"film": "hidden bird", "stars": 4}),
        "It has four stars now.",
        call("list_showtimes", {"film": "hidden bird", "city": "Oslo"}),
        "At eight.",
        "I know none.",
    ]
    path = folder / "script.json"
    path.write_text(json.dumps({"format": "hermes", "replies": replies}), encoding="utf-8")
    return f"scripted:{path}"


@contextmanager
def damaging(url: str, damage: str) -> Iterator[str]:
    """A proxy in front of `url` that damages requests and responses."""

    def damage_bytes(data: bytes) -> bytes:
        for right, wrong in DAMAGE[damage]:
            data = data.replace(right, wrong)
        return data

    class Proxy(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = damage_bytes(self.rfile.read(int(self.headers["content-length"])))
            place = url + self.path.removeprefix("/v1")
            request = urllib.request.Request(place, body, {"content-type": "application/json"})
            try:
                with urllib.request.urlopen(request, timeout=300) as answer:
                    status, kind, reply = answer.status, answer.headers["content-type"], answer.read()
            except urllib.error.HTTPError as error:
                status, kind, reply = error.code, error.headers["content-type"], error.read()
            reply = damage_bytes(reply)
            self.send_response(status)
            self.send_header("content-type", kind)
            self.send_header("content-length", str(len(reply)))
            self.end_headers()
            self.wfile.write(reply)

        def log_message(self, *_: object) -> None:
            """Log nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Proxy)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1"
    finally:
        server.shutdown()
        server.server_close()
