"""Trials of the server's promises at full size: `python -m tests.trials.server_promises NAME N [MODEL]`.

    isolation    N answers of a victim beside 8 hostile tenants, compared with those it gets alone
    hostile      N requests made by mutating good ones: statuses, worker restarts, memory
    documented   N requests that schemathesis (to be installed for it) makes from the OpenAPI document: the same
    kills        N SIGKILLs of the worker while it answers: seconds until the server is ready, and the answers behind it
    disconnects  N clients that leave, streaming and plain: what is left in the server
    sigterms     N servers stopped under load: exit codes, seconds, and whether everybody was answered or refused

Inputs: how often, and the model where it may be another than the scripted demo. Outputs: one line per figure. Load and
latency are `server_load.py`'s.

Each trial is a function that tests run with a small N (`tests/serve/test_trials.py`), beside a control that must fail.
The servers are real processes on free ports: `ttsi serve`, or where a trial has to say when something happens, the same
with a worker that listens for the words "die" and "spin" (`tests/serve/faulty_worker.py`).
"""

from __future__ import annotations

import json
import os
import random
import signal
import socket
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.serve.conftest import SERVE, Server, chat_body, running
from tests.serve.test_server import FAULTY, connect, exchange, post
from tests.trials.server_requests import ROOMY, Figures, limited, main, memory, questions, verdict, wait_for, workers
from tests.worlds import REQUESTS
from ttsi.serve.api_keys import add_key

TENANTS = 8
CLIENTS = 16


def isolation(n: int, model: str = "commanded") -> Figures:
    """How many of a victim's answers change when others adapt, leave and send nonsense."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "keys"
        victim, *tenants = [add_key(path, f"key{number}") for number in range(TENANTS + 1)]
        options = (*limited(ROOMY, FAULTY), f"model={model}", f"keys={path}")
        bodies = questions("scripted:demo", n)
        with running(*options, command=FAULTY) as server:
            alone = [story(server, body, victim) for body in bodies]
        with running(*options, command=FAULTY) as server:
            done = threading.Event()
            others = [threading.Thread(target=_harass, args=(server, key, done)) for key in tenants]
            for thread in others:
                thread.start()
            beside = [story(server, body, victim) for body in bodies]
            done.set()
            for thread in others:
                thread.join()
            adapted = _metric(server, victim, 'ttsi_answers_total{adaptation="trained"}')
    changed = sum(a != b for a, b in zip(alone, beside, strict=True))
    return {"answers": n, "changed": changed, "adaptations beside": adapted - sum("trained" in a for a in beside)}


def story(server: Server, body: dict[str, Any], key: str = "none") -> str:
    """An answer with all that is told about it, without ids and times."""
    request = post(json.dumps(body).encode(), f"Authorization: Bearer {key}", "X-TTSI-Details: on")
    reply = json.loads(exchange(server, request).partition(b"\r\n\r\n")[2])
    message, [told] = reply["choices"][0]["message"], reply["ttsi"]
    told["seconds"] = sorted(told["seconds"])
    for call in message.get("tool_calls", []):
        del call["id"]
    return json.dumps([message, reply["choices"][0]["finish_reason"], reply["usage"], told])


def _harass(server: Server, key: str, done: threading.Event) -> None:
    rng = random.Random(key)
    while not done.is_set():
        data = json.dumps(chat_body(rng.choice(list(REQUESTS)), n=rng.choice((1, 3)))).encode()
        request = post(data, f"Authorization: Bearer {key}")
        kind = rng.choice(("adapt", "adapt", "leave", "nonsense"))
        if kind == "leave":
            with connect(server) as connection:
                connection.sendall(request)
        else:
            exchange(server, request if kind == "adapt" else post(b"[" * 999, f"Authorization: Bearer {key}"))


def hostile(n: int, seed: int = 0) -> Figures:
    """What mutated requests do."""
    rng = random.Random(seed)
    with running(*limited(ROOMY)) as server:
        return _attacked(server, (post(_mutated(rng)) for _ in range(n + 200)))


def documented(n: int, seed: int = 0) -> Figures:
    """What requests do that schemathesis makes from the server's OpenAPI document, by its rules and against them."""
    import schemathesis
    from hypothesis import HealthCheck, Phase, given, settings
    from hypothesis import seed as seeded

    with running(*limited(ROOMY)) as server:
        document = json.loads(server.get("/openapi.json"))
        # Otherwise nearly all would end at the first check, which is for a model's name.
        document["components"]["schemas"]["ChatRequest"]["properties"]["model"] = {"enum": ["scripted:demo"]}
        operation = schemathesis.openapi.from_dict(document)["/v1/chat/completions"]["POST"]
        made: list[bytes] = []
        for mode in (schemathesis.GenerationMode.POSITIVE, schemathesis.GenerationMode.NEGATIVE):
            # Made apart from being sent, so that no answer decides what is asked next.
            @seeded(seed)
            @settings(max_examples=(n + 200) // 2, database=None, deadline=None, phases=[Phase.generate],
                      suppress_health_check=list(HealthCheck))  # fmt: skip
            @given(case=operation.as_strategy(generation_mode=mode))
            def make(case: Any) -> None:
                body = case.body
                made.append(post(body if isinstance(body, bytes) else json.dumps(body, default=str).encode()))

            make()
        random.Random(seed).shuffle(made)
        return _attacked(server, iter(made))


def _attacked(server: Server, requests: Iterator[bytes]) -> Figures:
    """What a server says to requests, and what they leave behind in it."""
    for _ in range(200):  # what is loaded late is loaded before memory is measured
        exchange(server, next(requests))
    before, worker = memory(server), workers(server)
    statuses: Counter[int] = Counter()
    wrong: list[str] = []
    for request in requests:
        raw = exchange(server, request)
        statuses[int(raw.split(b" ")[1])] += 1
        if verdict(raw) not in ("answered", "refused"):
            wrong.append(verdict(raw))
    return {
        "requests": statuses.total(),
        "statuses": dict(sorted(statuses.items())),
        "neither answered nor refused as OpenAI does": dict(Counter(wrong)),
        "worker restarts": server.metric("ttsi_worker_restarts") + (workers(server) != worker),
        "memory, end over beginning": round(memory(server) / before, 3),
    }


_VALUES: tuple[Any, ...] = (
    None, True, -1, 0, 1, 2**31, 2**63, 1e308, "", "1", "\x00", "<|im_end|>", "{{7*7}}", "../" * 9, "é" * 999, [], {},
    [[]], {"a": {}}, {"type": "object"}, {"$ref": "#"}, {"$ref": "file:///etc/passwd"}, {"pattern": "(a+)+$"},
    {"type": "image_url", "image_url": {"url": "http://127.0.0.1:9"}}, ["a"] * 99, "x" * 5000,
)  # fmt: skip


def _mutated(rng: random.Random) -> bytes:
    """A good request with some of its values, keys or bytes exchanged."""
    request: Any = json.loads(
        json.dumps(chat_body(rng.choice(list(REQUESTS)), n=1, stop="x", tool_choice="auto", seed=1))
    )
    for _ in range(rng.randint(1, 3)):
        node: Any = request
        while isinstance(node, dict | list) and node:
            place = rng.choice(list(node) if isinstance(node, dict) else range(len(node)))
            if rng.random() < 0.35 or not isinstance(node[place], dict | list) or not node[place]:
                alike = [value for value in _VALUES if type(value) is type(node[place])]  # it gets further inside
                value = rng.choice(alike if alike and rng.random() < 0.7 else _VALUES)
                node[place] = json.loads(json.dumps(value))  # a copy, which later mutations may fill
                break
            node = node[place]
    data = bytearray(json.dumps(request).encode())
    if rng.random() < 0.2:
        data[rng.randrange(len(data))] = rng.randrange(256)
    return bytes(data)


def kills(n: int, model: str = "scripted:demo", command: tuple[str, ...] = SERVE, patience: float = 300.0) -> Figures:
    """Seconds until the server is ready behind each SIGKILL, spread so that they are no crash loop.

    The worker is killed while four clients keep it busy. The server is ready when the next worker's base has the first
    one's hash (`ttsi.serve.supervisor`), and then six questions must get the answers they got before.
    """
    rng = random.Random(0)
    waits: list[float] = []
    heard: Counter[str] = Counter()
    killed = changed = 0
    own = (f"model={model}",) if command == FAULTY else ()
    with running(*limited(ROOMY, command), *own, command=command, model=model) as server:
        bodies = questions(model, 6)
        before = [story(server, body) for body in bodies]
        for number in range(n):
            if number and number % 4 == 0:
                time.sleep(61.0)
            [worker] = workers(server)
            done = threading.Event()
            busy = [threading.Thread(target=_ask_on, args=(server, body, heard, done)) for body in bodies[:4]]
            for thread in busy:
                thread.start()
            time.sleep(rng.uniform(0.2, 2.0))
            os.kill(worker, signal.SIGKILL)
            killed += 1
            began = time.monotonic()
            done.set()
            try:
                wait_for(lambda: server.metric("ttsi_worker_restarts") > number and _ready(server), patience)  # noqa: B023
            except TimeoutError:
                break
            finally:
                for thread in busy:
                    thread.join()
            waits.append(time.monotonic() - began)
            changed += sum(story(server, body) != known for body, known in zip(bodies, before, strict=True))
        restarts, stages = server.metric("ttsi_worker_restarts"), _stage_shares(server)
    return {
        "kills": killed,
        "worker restarts": restarts,
        "ready again": len(waits),
        "seconds until ready, median": round(sorted(waits)[len(waits) // 2], 2) if waits else None,
        "seconds until ready, longest": round(max(waits), 2) if waits else None,
        f"answers changed, of {len(bodies) * len(waits)}": changed,
        "what the four clients heard": dict(heard),
        "where a worker's time goes, and so the kills": stages,
    }


def _ask_on(server: Server, body: dict[str, Any], heard: Counter[str], done: threading.Event) -> None:
    while not done.is_set():
        raw = exchange(server, post(json.dumps(body).encode()))
        heard["lost its worker" if b"worker was lost" in raw else verdict(raw)] += 1


def _stage_shares(server: Server) -> dict[str, float]:
    lines = [line for line in server.get("/metrics").splitlines() if line.startswith("ttsi_stage_seconds_total{")]
    seconds = {line.split('"')[1]: float(line.rpartition(" ")[2]) for line in lines}
    return {stage: round(spent / sum(seconds.values()), 2) for stage, spent in seconds.items()}


def _ready(server: Server) -> bool:
    return server.metric("ttsi_ready") == 1.0


def disconnects(n: int) -> Figures:
    """What is left of clients that leave."""
    with running(*limited({**ROOMY, "adapt_seconds": 600}, FAULTY), command=FAULTY) as server:
        for number in range(n):
            with connect(server) as connection:
                connection.sendall(post(json.dumps(chat_body("spin on", stream=bool(number % 2))).encode()))
                wait_for(lambda: server.metric("ttsi_requests_inside") == 1.0)
            wait_for(lambda: server.metric("ttsi_requests_inside") == 0.0)
        ok = b" 200 " in exchange(server, post(json.dumps(chat_body()).encode()))[:20]
        return {"disconnects": server.metric("ttsi_disconnects_total"), "next answered": ok}


def sigterms(n: int, model: str = "scripted:demo", stop: signal.Signals = signal.SIGTERM) -> Figures:
    """What becomes of requests whose server is stopped at any moment; `stop` is another signal in the control."""
    codes: Counter[int] = Counter()
    heard: Counter[str] = Counter()
    slowest = 0.0
    rng = random.Random(0)
    bodies = [{**body, "stream": bool(place % 2)} for place, body in enumerate(questions(model, CLIENTS))]
    for _ in range(n):
        with running(*limited({**ROOMY, "per_key": 2 * CLIENTS}), model=model) as server:
            threads = [threading.Thread(target=_insist, args=(server, body, heard)) for body in bodies]
            for thread in threads:
                thread.start()
            time.sleep(rng.uniform(0.0, 3.0))
            began = time.monotonic()
            server.process.send_signal(stop)
            codes[server.process.wait(timeout=60)] += 1
            slowest = max(slowest, time.monotonic() - began)
            for thread in threads:
                thread.join()
    return {
        "servers": n,
        "exit codes": dict(codes),
        "seconds until the end, longest": round(slowest, 2),
        "requests": heard.total(),
        "what they heard": dict(heard),
    }


def _insist(server: Server, body: dict[str, Any], heard: Counter[str]) -> None:
    """Ask again and again until nobody listens."""
    while True:
        try:
            connection = connect(server)
        except OSError:
            return
        heard[_one(connection, post(json.dumps(body).encode()))] += 1


def _one(connection: socket.socket, request: bytes) -> str:
    raw = b""
    with connection:
        try:
            connection.sendall(request)
            while part := connection.recv(65536):
                raw += part
        except TimeoutError:
            return "hangs"
        except OSError:
            return "cut" if raw else "connection reset"
    return verdict(raw)


def _metric(server: Server, key: str, name: str) -> float:
    head = f"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nAuthorization: Bearer {key}\r\n\r\n"
    lines = exchange(server, head.encode()).decode().splitlines()
    return next((float(line.rpartition(" ")[2]) for line in lines if line.startswith(name)), 0.0)


if __name__ == "__main__":
    main([isolation, hostile, documented, kills, disconnects, sigterms], sys.argv[1:], __doc__)
