"""Load trials of the server: `python -m tests.trials.server_load NAME N [MODEL]`, from a checkout.

    load      N seconds at half of what the server can do, adapting and not: answers per second, p50, p99
    overload  N seconds at five times what it can do: how fast who is refused hears it, how late who is let in
    fairness  N seconds of a quiet key alone, and N beside one that floods
    soak      N minutes at a third of what it can do: memory and latency, first third against last
    gain      N inputs of toolworld's test file through OpenAI's client, graded, beside `ttsi run` on the same inputs

Inputs: how long or how many, and the model: scripted:demo (the default; a stub, so that the server's own time is seen),
or embedded, whose questions are toolworld's validation file. Outputs: one line per figure.

The load is an open model: requests are sent at the moments of a Poisson clock, whatever has been answered, and their
seconds count from these moments, so that a server that stalls cannot hide it. Tests run it small, beside controls that
must fail (`tests/serve/test_load.py`). Nothing else may run on a machine whose figures are quoted.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import math
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tests.serve.conftest import ROOT, Server, running
from tests.serve.test_server import post
from tests.trials.server_requests import ROOMY, Figures, body_of, limited, main, memory, questions, verdict, workers
from ttsi.benchmarks import load as load_benchmark
from ttsi.benchmarks.matching import MATCHERS, readable
from ttsi.runs.store import read_rows
from ttsi.serve.api_keys import add_key
from ttsi.serve.limits import Limits
from ttsi.stats import paired_bootstrap
from ttsi.types import ToolCall

CLIENTS = 4
"""Clients that find out what a server can do: enough to keep its one worker busy."""
KEYS = 16
LOWEST_RATE = 0.01
"""Requests a second where a machine answered none while its capacity was measured."""
LEAST_FLOOD = 200.0
"""Requests a second that are too many for any machine that is busy otherwise: more than the queue holds."""
BASE = "X-TTSI-Adapt: off"


@dataclass(frozen=True)
class Heard:
    """What one request came to."""

    due: float
    """Seconds after the beginning at which it was to be sent."""
    seconds: float
    """From that moment to the last byte."""
    raw: bytes

    @property
    def status(self) -> int:
        """The HTTP status; 0 where the connection was lost."""
        return int(self.raw.split(b" ", 2)[1]) if self.raw else 0


async def arrivals(url: str, requests: Iterator[bytes], rate: float, seconds: float, seed: int = 0) -> list[Heard]:
    """So many requests a second on average, each at its own moment; the first at once, so that there is one."""
    rng, began, due = random.Random(seed), time.monotonic(), 0.0
    async with asyncio.TaskGroup() as group:
        tasks = []
        while due < seconds:
            await asyncio.sleep(max(0.0, began + due - time.monotonic()))
            tasks.append(group.create_task(_ask(url, next(requests), began, due)))
            due += rng.expovariate(max(rate, LOWEST_RATE))
    return [task.result() for task in tasks]


async def _ask(url: str, request: bytes, began: float, due: float) -> Heard:
    raw = b""
    place = urlsplit(url)
    try:
        reader, writer = await asyncio.open_connection(place.hostname, place.port)
        writer.write(request)
        raw = await reader.read()
        writer.close()
        await writer.wait_closed()
    except OSError:
        raw = b""
    return Heard(due, time.monotonic() - began - due, raw)


async def _capacity(url: str, requests: Iterator[bytes], seconds: float) -> float:
    """Answers a second with clients that ask again as soon as they are answered."""
    began = time.monotonic()

    async def client() -> int:
        count = 0
        while time.monotonic() - began < seconds:
            count += (await _ask(url, next(requests), began, 0.0)).status == 200
        return count

    counts = await asyncio.gather(*[client() for _ in range(CLIENTS)])
    return sum(counts) / (time.monotonic() - began)


def capacity(server: Server, requests: Iterator[bytes], seconds: float) -> float:
    """The same, behind a few requests whose time is not counted."""
    asyncio.run(_capacity(server.url, requests, min(10.0, seconds)))
    return asyncio.run(_capacity(server.url, requests, seconds))


def endless(model: str, *headers: str, keys: Sequence[str] = ("none",), stream: bool = False) -> Iterator[bytes]:
    """The model's questions over and over, the keys in turn, and every second one as a stream where that is asked."""
    bodies = questions(model, 192)
    for number, body in enumerate(itertools.cycle(bodies)):
        streamed = {"stream": True} if stream and number % 2 else {}
        shown = f"Authorization: Bearer {keys[number % len(keys)]}"
        yield post(json.dumps({**body, "seed": number, **streamed}).encode(), shown, *headers)


def at(share: float, seconds: Sequence[float]) -> float | None:
    """A percentile in milliseconds (nearest rank); None of nothing."""
    ranked = sorted(seconds)
    return round(1000 * ranked[math.ceil(share * len(ranked)) - 1], 1) if ranked else None


def _latency(heard: Sequence[Heard]) -> Figures:
    seconds = [each.seconds for each in heard if each.status == 200]
    return {"n": len(seconds), "p50 ms": at(0.5, seconds), "p95 ms": at(0.95, seconds), "p99 ms": at(0.99, seconds)}


def _not_answered(heard: Sequence[Heard]) -> Figures:
    return dict(Counter(f"{each.status}: {verdict(each.raw)}" for each in heard if verdict(each.raw) != "answered"))


def load(seconds: int, model: str = "scripted:demo", queue: int = 64, share: float = 0.5) -> Figures:
    """Answers a second and latency at a share of them, adapting and not; a `queue` that is too small is the control."""
    figures: Figures = {}
    with running(*limited({**ROOMY, "per_key": 10**6, "queue": queue}), model=model) as server:
        for name, headers in (("base only", (BASE,)), ("adapting", ())):
            requests = endless(model, *headers)
            most = capacity(server, requests, seconds / 2)
            heard = asyncio.run(arrivals(server.url, requests, share * most, seconds))
            figures[f"{name}: answers a second, {CLIENTS} clients at once"] = round(most, 2)
            figures[f"{name}: at {share:g} of that"] = _latency(heard)
            figures[f"{name}: not answered"] = _not_answered(heard)
        figures["answers by what adaptation did"] = _adaptations(server)
    return figures


def _adaptations(server: Server) -> dict[str, float]:
    lines = [line for line in server.get("/metrics").splitlines() if line.startswith("ttsi_answers_total{")]
    return {line.split('"')[1]: float(line.rpartition(" ")[2]) for line in lines}


def overload(seconds: int, model: str = "scripted:demo") -> Figures:
    """Five times too much, from 16 keys, with the limits as they are delivered but for a wait of 5 seconds at most."""
    limits = {**ROOMY, "wait_seconds": 5.0}
    latest = limits["wait_seconds"] + Limits().adapt_seconds
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "keys"
        keys = [add_key(path, f"key{number}") for number in range(KEYS)]
        with running(*limited(limits), "--api-keys", str(path), model=model) as server:
            most = capacity(server, endless(model, keys=keys), seconds / 3)
            offered = max(5 * most, LEAST_FLOOD)
            before = memory(server)
            with _elsewhere() as client:
                heard = client.submit(_arrived, server.url, model, keys, offered, seconds).result()
            after = memory(server)
    accepted = [each for each in heard if each.status == 200]
    refused = [each.seconds for each in heard if each.status in (429, 503)]
    silent = sum(each.status in (429, 503) and b"retry-after: " not in each.raw.lower() for each in heard)
    return {
        "offered a second": round(offered, 1),
        "requests": len(heard),
        "not answered": _not_answered(heard),
        "refused": {"n": len(refused), "p50 ms": at(0.5, refused), "p99 ms": at(0.99, refused)},
        "refused without Retry-After": silent,
        "let in": _latency(heard),
        f"let in and later than {latest:g} s": sum(each.seconds > latest for each in accepted),
        f"let in and later than {limits['wait_seconds']:g} s": sum(each.seconds > 5.0 for each in accepted),
        "memory, end over beginning": round(after / before, 3),
    }


def _arrived(url: str, model: str, keys: Sequence[str], rate: float, seconds: float) -> list[Heard]:
    return asyncio.run(arrivals(url, endless(model, keys=keys), rate, seconds, seed=1))


def _elsewhere() -> ProcessPoolExecutor:
    """A process for a load so large that it would delay what is measured beside it."""
    return ProcessPoolExecutor(1, mp_context=get_context("spawn"))


def fairness(
    seconds: int,
    model: str = "scripted:demo",
    shared: bool = False,
    times: float = 10.0,
    quiet: float = 1.0,
    lead: float = 2.0,
) -> Figures:
    """`quiet` requests a second of one key, or a tenth of what the server can do where that is less, beside `times`
    what it can do of another's, which begins `lead` seconds before; `shared` gives both one key, as the control."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "keys"
        own, loud = add_key(path, "quiet"), add_key(path, "loud")
        options = (*limited({**ROOMY, "wait_seconds": Limits().wait_seconds}), "--api-keys", str(path))
        with running(*options, model=model) as server:
            most = capacity(server, endless(model, keys=[loud]), seconds / 3)
            rate, flooding = quiet if shared else min(quiet, most / 10), max(times * most, LEAST_FLOOD)
            alone = asyncio.run(arrivals(server.url, endless(model, keys=[own]), rate, seconds))
            mine = endless(model, keys=[loud if shared else own])
            with _elsewhere() as client:
                client.submit(at, 0.5, []).result()  # its process has imported what it needs
                flood = client.submit(_arrived, server.url, model, [loud], flooding, seconds + 2 * lead + 1)
                time.sleep(lead)  # the flood has begun
                beside = asyncio.run(arrivals(server.url, mine, rate, seconds))
                flooded = flood.result()
    first, second = _latency(alone), _latency(beside)
    return {
        "flood a second": round(flooding, 1),
        "flood by status": dict(Counter(each.status for each in flooded)),
        "quiet key alone": first,
        "quiet key beside it": second,
        "quiet key not answered": _not_answered([*alone, *beside]),
        "p95 beside over alone": round(second["p95 ms"] / first["p95 ms"], 2) if second["n"] else None,
    }


def soak(minutes: int, model: str = "scripted:demo", seconds: float = 0.0) -> Figures:
    """Memory and latency over time; `seconds` instead of minutes where a test has less time."""
    length = seconds or 60.0 * minutes
    with running(*limited({**ROOMY, "per_key": 10**6}), model=model) as server:
        requests = endless(model, stream=True)
        rate = capacity(server, requests, min(30.0, length / 3)) / 3
        heard, sizes = asyncio.run(_soaked(server, requests, rate, length))
        restarts, files = server.metric("ttsi_worker_restarts"), [_files(server), len(workers(server))]
    thirds = [[each for each in heard if part <= 3 * each.due / length < part + 1] for part in range(3)]
    means = [sum(part) / len(part) for part in (sizes[: len(sizes) // 3 + 1], sizes[-(len(sizes) // 3 + 1) :])]
    return {
        "requests a second": round(rate, 2),
        "requests": len(heard),
        "not answered": _not_answered(heard),
        "worker restarts": restarts,
        "first third": _latency(thirds[0]),
        "last third": _latency(thirds[2]),
        "memory MB, first third": round(means[0] / 1e6, 1),
        "memory MB, last third": round(means[1] / 1e6, 1),
        "memory, last over first": round(means[1] / means[0], 4),
        "open files of the front process, and workers, at the end": files,
    }


async def _soaked(
    server: Server, requests: Iterator[bytes], rate: float, seconds: float
) -> tuple[list[Heard], list[float]]:
    sizes: list[float] = []

    async def watch() -> None:
        while True:
            sizes.append(memory(server))
            await asyncio.sleep(seconds / 120)

    watching = asyncio.create_task(watch())
    try:
        return await arrivals(server.url, requests, rate, seconds), sizes
    finally:
        watching.cancel()


def _files(server: Server) -> int:
    return len(list(Path(f"/proc/{server.process.pid}/fd").iterdir()))


def gain(n: int, model: str = "embedded") -> Figures:
    """Base and improved answers through the client, and the run's, on the same inputs with the same seed."""
    samples = load_benchmark("toolworld").samples[:n]
    with tempfile.TemporaryDirectory() as folder:
        options = ("--model", model, "--limit", str(n), "--output-dir", folder, "--json", "--quiet", "--clean")
        done = subprocess.run([sys.executable, "-m", "ttsi", "run", *options], stdout=subprocess.PIPE, cwd=ROOT)
        summary = json.loads(done.stdout)
        rows = {row.position: row.episode for row in read_rows(Path(folder))}
    answers: dict[str, list[Sequence[ToolCall] | None]] = {"base": [], "adapted": []}
    stories: list[dict[str, Any]] = []
    with running(*limited(ROOMY), model=model) as server, server.client(timeout=600) as client:
        for sample in samples:
            ask = {**body_of(sample.input, model), "seed": summary["seed"]}
            base = client.chat.completions.create(**ask, extra_headers={"X-TTSI-Adapt": "off"})
            adapted = client.chat.completions.create(**ask, extra_headers={"X-TTSI-Details": "on"})
            answers["base"].append(_calls(base))
            answers["adapted"].append(_calls(adapted))
            stories += adapted.model_dump()["ttsi"]
    right = {side: [MATCHERS["strict"](c, s.gold or ()) for c, s in zip(calls, samples, strict=True)]
             for side, calls in answers.items()}  # fmt: skip
    known = {"base": [rows[place].base for place in range(len(samples))],
             "adapted": [rows[place].adapted for place in range(len(samples))]}  # fmt: skip
    same = {side: sum(readable(run) == (None if said is None else tuple(said))
                      for run, said in zip(known[side], answers[side], strict=True)) for side in known}  # fmt: skip
    interval = paired_bootstrap(right["base"], right["adapted"])
    trained = [told for told in stories if told["adaptation"] == "trained"]
    return {
        "inputs": len(samples),
        "server, base and adapted %": [round(100 * sum(right[side]) / len(samples), 2) for side in right],
        "server, gain and 95 %": [round(100 * part, 2) for part in (
            (sum(right["adapted"]) - sum(right["base"])) / len(samples),
            *((interval.low, interval.high) if interval else ()))],
        "run, base and adapted %": [summary["base"]["score"], summary["adapted"]["score"]],
        "run, gain and 95 %": [summary["gain"]["points"], *(summary["gain"]["ci95"] or ())],
        "same answers as the run, base and adapted": list(same.values()),
        "adapted": len(trained),
        "fallbacks": dict(Counter(told["fallback"] for told in stories if told["fallback"])),
        "seconds a stage of an adapted request, mean": _stages(trained),
    }  # fmt: skip


def _calls(completion: Any) -> Sequence[ToolCall] | None:
    """The calls of a completion; None where it was cut off, which nobody could act on."""
    [choice] = completion.choices
    if choice.finish_reason == "length":
        return None
    said = choice.message.tool_calls or []
    return [ToolCall(call.function.name, json.loads(call.function.arguments)) for call in said]


def _stages(stories: Sequence[dict[str, Any]]) -> dict[str, float]:
    names = stories[0]["seconds"] if stories else {}
    return {name: round(sum(told["seconds"][name] for told in stories) / len(stories), 4) for name in names}


if __name__ == "__main__":
    main([load, overload, fairness, soak, gain], sys.argv[1:], __doc__)
