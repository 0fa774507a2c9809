"""The request filter: keys, Host, Origin, sizes, overload and shutdown."""

from __future__ import annotations

import base64
import json
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import openai
import pytest

from tests.serve.conftest import ROOT, Server, body, chat_body, running
from tests.serve.test_server import FAULTY, complete, connect, exchange, post, wait_for_gauge
from ttsi.cli import main
from ttsi.serve.api_keys import add_key


def status(raw: bytes) -> int:
    """The status of an answer."""
    return int(raw.split(b" ")[1])


def request(method: str, path: str, *headers: str) -> bytes:
    """A request without a body."""
    return "\r\n".join([f"{method} {path} HTTP/1.1", "Host: localhost", "Connection: close", *headers, "", ""]).encode()


@pytest.fixture(scope="module")
def locked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, str]]:
    """A server with a key, and the key."""
    path = tmp_path_factory.mktemp("keys") / "keys"
    key = add_key(path, "ada")
    with running("--api-keys", str(path)) as server:
        yield server, key


METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "HEAD", "TRACE")


@pytest.mark.parametrize("method", METHODS)
def test_every_route_but_health_needs_a_key(locked: tuple[Server, str], method: str) -> None:
    server, key = locked
    listed = exchange(server, request("GET", "/openapi.json", f"Authorization: Bearer {key}"))
    paths = json.loads(listed.partition(b"\r\n\r\n")[2])["paths"]
    others = ["/", "/openapi.json", "/docs", "/redoc", "/nothing", "/health", "/health/live/", "//v1/models"]
    for path in [*(path.replace("{name}", "x") for path in paths), *others]:
        if path in ("/health/live", "/health/ready"):
            continue
        assert status(exchange(server, request(method, path))) == 401, (method, path)
        assert status(exchange(server, request(method, path, "Authorization: Bearer wrong"))) == 401
        assert status(exchange(server, request(method, path, f"Authorization: Bearer {key}"))) != 401  # control


def test_health_is_open_and_says_nothing_else(locked: tuple[Server, str]) -> None:
    assert json.loads(locked[0].get("/health/ready")) == {"status": "ready"}


def test_a_browser_sends_the_key_as_a_password(locked: tuple[Server, str]) -> None:
    server, key = locked
    refused = exchange(server, request("GET", "/"))
    assert b"www-authenticate: Basic" in refused
    password = base64.b64encode(f"anybody:{key}".encode()).decode()
    assert status(exchange(server, request("GET", "/", f"Authorization: Basic {password}"))) == 200
    for broken in ("Basic", "Basic !!", "Basic " + base64.b64encode(b"\xff").decode(), f"Digest {key}", key):
        assert status(exchange(server, request("GET", "/", f"Authorization: {broken}"))) == 401


def test_the_client_reports_401_as_an_authentication_error(locked: tuple[Server, str]) -> None:
    server, key = locked
    with server.client(api_key="wrong") as client, pytest.raises(openai.AuthenticationError, match="key is not known"):
        complete(client)
    assert b"an API key is required" in exchange(server, request("GET", "/v1/models")), "control: none was sent"
    with server.client(api_key=key) as client:
        assert complete(client)["choices"]


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:80", "localhost.evil.example", "127.0.0.1.evil.example", ""]
)
def test_other_hosts_are_rejected(server: Server, host: str) -> None:  # DNS rebinding; compare CVE-2026-27482
    raw = exchange(server, f"GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
    assert status(raw) in (400, 403)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://localhost:1"])
def test_cross_origin_requests_are_rejected_by_every_method(server: Server, method: str, origin: str) -> None:
    assert status(exchange(server, request(method, "/v1/models", f"Origin: {origin}"))) == 403
    assert status(exchange(server, request("GET", "/v1/models", "Origin: http://localhost"))) == 200  # control: its own


def test_bodies_beyond_the_limit_are_rejected(server: Server) -> None:
    big = body("x" * (5 * 2**20))
    assert status(exchange(server, post(b"", f"Content-Length: {len(big)}"))) == 413
    assert status(exchange(server, post(b"", "Content-Length: 99999999999999999999"))) in (400, 413)
    with connect(server) as connection:
        connection.sendall(post(b"", "Transfer-Encoding: chunked"))
        sent = 0
        with Tolerant():
            while sent < 6 * 2**20:
                connection.sendall(b"10000\r\n" + b"x" * 65536 + b"\r\n")
                sent += 65536
        assert status(connection.recv(65536)) == 413
    assert status(exchange(server, post(b"", "Content-Encoding: gzip", "Content-Length: 0"))) == 415


class Tolerant:
    """For servers that reject a body and close before all of it was sent."""

    def __enter__(self) -> None: ...

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> bool:
        return kind is not None and issubclass(kind, OSError)


def test_headers_beyond_the_limit_are_rejected(server: Server) -> None:  # compare CVE-2025-48956
    assert status(exchange(server, request("GET", "/v1/models", *[f"X-{i}: 1" for i in range(200)]))) == 431
    with connect(server) as connection, Tolerant():
        connection.sendall(request("GET", "/v1/models", "X: " + "x" * 2**20))
        assert status(connection.recv(65536)) in (400, 431)
    assert server.get("/health/live")


def test_request_smuggling_is_rejected(server: Server) -> None:
    pair = post(b"0\r\n\r\nGET /metrics HTTP/1.1\r\nHost: x\r\n\r\n", "Content-Length: 5", "Transfer-Encoding: chunked")
    assert exchange(server, pair).count(b"HTTP/1.1 200") == 0


def test_a_body_that_never_ends_times_out() -> None:
    with running("--limits.body-seconds", "0.2") as server, connect(server) as connection:
        connection.sendall(post(b"{", "Content-Length: 100"))
        assert status(connection.recv(65536)) == 408


def send_at_once(server: Server, requests: int) -> tuple[list[threading.Thread], Counter[int]]:
    """Send so many requests at once; returns their threads, and the statuses they will have received."""
    statuses: Counter[int] = Counter()

    def one() -> None:
        raw = exchange(server, post(body("spin umbrella Lima")))
        assert status(raw) == 200 or b"retry-after" in raw
        statuses.update([status(raw)])

    threads = [threading.Thread(target=one) for _ in range(requests)]
    for thread in threads:
        thread.start()
    return threads, statuses


def test_overload_is_rejected_early_and_no_request_is_dropped() -> None:
    with running("per_key=4", "adapt_seconds=0.3", command=FAULTY) as server:
        threads, statuses = send_at_once(server, 16)
        for thread in threads:
            thread.join()
        assert statuses.keys() <= {200, 429} and statuses[200] >= 4 and statuses.total() == 16
        wait_for_gauge(server, "ttsi_requests_inside", 0.0)


def test_a_key_with_too_many_requests_is_rejected_before_the_next_is_read() -> None:
    with running("per_key=1", "adapt_seconds=600", command=FAULTY) as server, connect(server) as connection:
        unfinished = post(b"[", "Content-Length: 100")
        assert status(exchange(server, post(b"["))) == 400
        with connect(server) as other, pytest.raises(TimeoutError):  # control: with room, its end is waited for
            other.settimeout(0.5)
            other.sendall(unfinished)
            other.recv(65536)
        connection.sendall(post(body("spin on")))
        wait_for_gauge(server, "ttsi_requests_inside", 1.0)
        assert status(exchange(server, post(b"["))) == 429
        with connect(server) as other:
            other.sendall(unfinished)
            assert status(other.recv(65536)) == 429


def test_connections_beyond_the_limit_are_rejected() -> None:
    with running("connections=1", "adapt_seconds=600", command=FAULTY) as server, connect(server) as connection:
        connection.sendall(post(body("spin on")))
        head, _, content = b"", b"", b""
        while b" 503 " not in head:  # until the first has come
            head, _, content = exchange(server, request("GET", "/v1/models")).partition(b"\r\n\r\n")
        assert b"retry-after: 1" in head and json.loads(content)["error"]["message"] == "the server is busy"
        assert status(exchange(server, request("GET", "/health/live"))) == 200
        assert status(exchange(server, request("HEAD", "/health/ready"))) == 200
        assert status(exchange(server, request("HEAD", "/v1/models"))) != 200, "the control"


def test_sigterm_under_load_answers_or_rejects_every_request_and_exits_with_0() -> None:
    with running("adapt_seconds=0.4", "drain_seconds=5", command=FAULTY) as server:
        threads, statuses = send_at_once(server, 6)
        wait_for_gauge(server, "ttsi_requests_inside", 6.0)
        assert server.end() == 0
        for thread in threads:
            thread.join()
        assert statuses.total() == 6 and statuses.keys() <= {200, 503} and statuses[200] >= 1


def test_a_second_sigterm_ends_at_once() -> None:
    with running("adapt_seconds=600", "drain_seconds=600", command=FAULTY) as server, connect(server) as connection:
        connection.sendall(post(body("spin on")))
        wait_for_gauge(server, "ttsi_requests_inside", 1.0)
        server.process.terminate()
        while b"503" not in exchange_or_nothing(server):
            pass
        server.process.terminate()
        assert server.process.wait(timeout=60) == 0


@pytest.mark.parametrize(("kind", "code"), [(signal.SIGTERM, 0), (signal.SIGINT, 0), (signal.SIGKILL, -9)])
def test_a_server_that_is_stopped_while_its_model_loads_takes_the_worker_along(
    tmp_path: Path, kind: signal.Signals, code: int
) -> None:
    file = tmp_path / "worker"
    words = [sys.executable, *FAULTY, "--model", "NAME", "--port", "0", f"model=endless:{file}"]
    with subprocess.Popen(words, cwd=ROOT, stdout=subprocess.DEVNULL) as front:
        while not (file.exists() and file.read_text()):
            assert front.poll() is None
            time.sleep(0.05)
        worker = Path(f"/proc/{file.read_text()}")
        assert worker.exists()  # the control: it is there, and would be for ten minutes
        front.send_signal(kind)
        assert front.wait(timeout=60) == code
        while worker.exists() and "(zombie)" not in (worker / "status").read_text():
            time.sleep(0.05)


def exchange_or_nothing(server: Server) -> bytes:
    """The response to a new connection during a shutdown: 503, or no listener."""
    try:
        return exchange(server, request("GET", "/health/ready"))
    except OSError:
        return b"503"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--host", "0.0.0.0"], "--api-keys"),
        (["--api-keys", "no-such-file"], "cannot read"),
        (["--add-key", "ada"], "--api-keys"),
        (["--model", "scripted:nobody"], "unknown script"),
        (["--method", "ttsy"], "did you mean"),
    ],
)
def test_a_wrong_start_is_one_line_and_2(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    model = [] if "--model" in arguments else ["--model", "scripted:demo"]
    assert main(["serve", "--port", "0", *model, *arguments]) == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if not line.endswith(" ...")]  # loading takes time
    assert len(lines) == 1 and message in lines[0]


def test_add_key_prints_the_key_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["serve", "--api-keys", str(tmp_path / "keys"), "--add-key", "ada"]) == 0
    key = capsys.readouterr().out.strip()
    assert key.startswith("ttsi-") and key not in (tmp_path / "keys").read_text()


def test_the_body_of_the_tests_is_a_request() -> None:
    assert json.loads(body()) == chat_body()
