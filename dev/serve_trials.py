"""Does the server keep its promises in large numbers? `python dev/serve_trials.py NAME N`, from the root of a checkout.

    isolation    N answers of a victim beside 8 hostile tenants, compared with those it gets alone
    hostile      N requests made by mutating good ones: statuses, worker restarts, memory
    kills        the worker is killed N times: seconds until the server is ready again
    disconnects  N clients that leave, streaming and plain: what is left in the server
    sigterms     N servers stopped under load: exit codes, and who was answered or refused

Each trial is a function that tests run with a small N (`tests/serve/test_trials.py`), beside a control that must fail.
The servers are real processes on free ports; their model is the scripted demo with an ear for the words "die" and
"spin" (`tests/serve/faults.py`).
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.serve.conftest import Server, asked, running
from tests.serve.test_server import FAULTY, connect, exchange, post
from tests.worlds import REQUESTS
from ttsi.serve.keys import add_key

TENANTS = 8
ROOMY = ("adaptations_per_minute=1e9", "adaptations_per_key=1e9", "keep_alive_seconds=0.05", "wait_seconds=1e9")


def isolation(n: int, model: str = "commanded") -> dict[str, Any]:
    """How many of a victim's answers change when others adapt, leave and send nonsense."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "keys"
        victim, *tenants = [add_key(path, f"key{number}") for number in range(TENANTS + 1)]
        options = (*ROOMY, f"model={model}", f"keys={path}")
        with running(*options, command=FAULTY) as server:
            alone = [_answer(server, victim, number) for number in range(n)]
        with running(*options, command=FAULTY) as server:
            done = threading.Event()
            others = [threading.Thread(target=_harass, args=(server, key, done)) for key in tenants]
            for thread in others:
                thread.start()
            beside = [_answer(server, victim, number) for number in range(n)]
            done.set()
            for thread in others:
                thread.join()
            adapted = _metric(server, victim, 'ttsi_answers_total{adaptation="trained"}')
    changed = sum(a != b for a, b in zip(alone, beside, strict=True))
    return {"answers": n, "changed": changed, "adaptations beside": adapted - sum("trained" in a for a in beside)}


def _answer(server: Server, key: str, number: int) -> str:
    """The victim's answer with its whole story, without ids and times."""
    texts = list(REQUESTS)
    data = json.dumps(asked(f"Number {number}: {texts[number % len(texts)]}", seed=number)).encode()
    raw = exchange(server, post(data, f"Authorization: Bearer {key}", "X-TTSI-Details: on"))
    reply = json.loads(raw.partition(b"\r\n\r\n")[2])
    message, [story] = reply["choices"][0]["message"], reply["ttsi"]
    story["seconds"] = sorted(story["seconds"])
    for call in message.get("tool_calls", []):
        del call["id"]
    return json.dumps([message, reply["choices"][0]["finish_reason"], reply["usage"], story])


def _harass(server: Server, key: str, done: threading.Event) -> None:
    rng = random.Random(key)
    while not done.is_set():
        data = json.dumps(asked(rng.choice(list(REQUESTS)), n=rng.choice((1, 3)))).encode()
        request = post(data, f"Authorization: Bearer {key}")
        kind = rng.choice(("adapt", "adapt", "leave", "nonsense"))
        if kind == "leave":
            with connect(server) as connection:
                connection.sendall(request)
        else:
            exchange(server, request if kind == "adapt" else post(b"[" * 999, f"Authorization: Bearer {key}"))


def hostile(n: int, seed: int = 0) -> dict[str, Any]:
    """What mutated requests do."""
    rng = random.Random(seed)
    statuses: Counter[int] = Counter()
    with running(*ROOMY, command=FAULTY) as server:
        for _ in range(min(n, 200)):  # what is loaded late is loaded before memory is measured
            exchange(server, post(_mutated(rng)))
        before = _memory(server)
        for _ in range(n):
            statuses[int(exchange(server, post(_mutated(rng))).split(b" ")[1])] += 1
        after, restarts = _memory(server), server.metric("ttsi_worker_restarts")
    return {"statuses": dict(statuses), "restarts": restarts, "memory": round(after / before, 3)}


_VALUES: tuple[Any, ...] = (
    None, True, -1, 0, 1, 2**31, 2**63, 1e308, "", "1", "\x00", "<|im_end|>", "{{7*7}}", "../" * 9, "é" * 999, [], {},
    [[]], {"a": {}}, {"type": "object"}, {"$ref": "#"}, {"$ref": "file:///etc/passwd"}, {"pattern": "(a+)+$"},
    {"type": "image_url", "image_url": {"url": "http://127.0.0.1:9"}}, ["a"] * 99, "x" * 5000,
)  # fmt: skip


def _mutated(rng: random.Random) -> bytes:
    """A good request with some of its values, keys or bytes exchanged."""
    request: Any = json.loads(json.dumps(asked(rng.choice(list(REQUESTS)), n=1, stop="x", tool_choice="auto", seed=1)))
    for _ in range(rng.randint(1, 3)):
        node: Any = request
        while isinstance(node, dict | list) and node:
            place = rng.choice(list(node) if isinstance(node, dict) else range(len(node)))
            if rng.random() < 0.35 or not isinstance(node[place], dict | list) or not node[place]:
                node[place] = json.loads(json.dumps(rng.choice(_VALUES)))  # a copy, which later mutations may fill
                break
            node = node[place]
    data = bytearray(json.dumps(request).encode())
    if rng.random() < 0.2:
        data[rng.randrange(len(data))] = rng.randrange(256)
    return bytes(data)


def kills(n: int) -> dict[str, Any]:
    """Seconds until an answer comes again after each SIGKILL of the worker, spread so that it is no crash loop."""
    waits = []
    with running(*ROOMY, command=FAULTY) as server:
        for number in range(n):
            if number and number % 4 == 0:
                _wait_for(lambda: server.metric("ttsi_ready") == 1.0, pause=61.0)
            began = time.monotonic()
            exchange(server, post(json.dumps(asked("die now")).encode()))
            _wait_for(lambda: b" 200 " in exchange(server, post(json.dumps(asked()).encode()))[:20])
            waits.append(time.monotonic() - began)
        return {"kills": n, "restarts": server.metric("ttsi_worker_restarts"), "slowest seconds": round(max(waits), 1)}


def disconnects(n: int) -> dict[str, Any]:
    """What is left of clients that leave."""
    with running(*ROOMY, "adapt_seconds=600", command=FAULTY) as server:
        for number in range(n):
            with connect(server) as connection:
                connection.sendall(post(json.dumps(asked("spin on", stream=bool(number % 2))).encode()))
                _wait_for(lambda: server.metric("ttsi_requests_inside") == 1.0)
            _wait_for(lambda: server.metric("ttsi_requests_inside") == 0.0)
        ok = b" 200 " in exchange(server, post(json.dumps(asked()).encode()))[:20]
        return {"disconnects": server.metric("ttsi_disconnects_total"), "next answered": ok}


def sigterms(n: int) -> dict[str, Any]:
    """Exit codes and statuses of servers that are stopped at any moment of their work."""
    codes: Counter[int] = Counter()
    statuses: Counter[int] = Counter()
    rng = random.Random(0)
    for _ in range(n):
        with running(*ROOMY, "adapt_seconds=0.2", "per_key=99", command=FAULTY) as server:
            threads = [threading.Thread(target=_status, args=(server, statuses)) for _ in range(16)]
            for thread in threads:
                thread.start()
            time.sleep(rng.random())
            codes[server.end()] += 1
            for thread in threads:
                thread.join()
    return {"exit codes": dict(codes), "statuses (0: refused by the system)": dict(statuses)}


def _status(server: Server, statuses: Counter[int]) -> None:
    try:
        raw = exchange(server, post(json.dumps(asked("spin umbrella Lima")).encode()))
    except OSError:
        raw = b""
    statuses[int(raw.split(b" ")[1]) if raw else 0] += 1


def _wait_for(state: Callable[[], bool], pause: float = 0.0) -> None:
    time.sleep(pause)
    until = time.monotonic() + 120
    while not state():
        if time.monotonic() > until:
            raise TimeoutError
        time.sleep(0.01)


def _metric(server: Server, key: str, name: str) -> float:
    head = f"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nAuthorization: Bearer {key}\r\n\r\n"
    lines = exchange(server, head.encode()).decode().splitlines()
    return next((float(line.rpartition(" ")[2]) for line in lines if line.startswith(name)), 0.0)


def _memory(server: Server) -> float:
    """Resident bytes of the server and its worker."""
    pids = [server.process.pid]
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and f"PPid:\t{server.process.pid}\n" in _read(entry / "status"):
            pids.append(int(entry.name))
    pages = sum(int(_read(Path(f"/proc/{pid}/statm")).split()[1]) for pid in pids)
    return float(pages * os.sysconf("SC_PAGE_SIZE"))


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""


TRIALS: dict[str, Callable[[int], dict[str, Any]]] = {
    "isolation": isolation, "hostile": hostile, "kills": kills, "disconnects": disconnects, "sigterms": sigterms,
}  # fmt: skip

if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    if len(sys.argv) != 3 or sys.argv[1] not in TRIALS:
        sys.exit(__doc__)
    print(json.dumps(TRIALS[sys.argv[1]](int(sys.argv[2]))))
