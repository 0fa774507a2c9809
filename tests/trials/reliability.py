"""Trials of the run folder at full size: crashes, damage, order, scale, nodes.

    python -m tests.trials.reliability NAME N

    kills     N SIGKILLs at random instants, up to five per run, resumed each time
    journals  N damaged copies of a record: refused, or nothing but true rows
    files     the shipped model, cut at N places and flipped in N bits
    orders    the same run N times in other orders of batches and interrupted: the same bytes
    scale     memory and time per input of a scripted run of N inputs
    nodes     a Ray cluster of N nodes on this machine, one killed on the way

Inputs: the name of a trial and n. Outputs: one line of JSON with n and the counts; an error where a promise is broken.
Scripted models only. The tests under tests/runs do the same with small n, with their controls.
"""

from __future__ import annotations

import json
import os
import random
import resource
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from tests.models.test_weight_files import damaged
from tests.runs.crashes import Crashes
from tests.runs.test_database import copied, refusals
from tests.runs.test_kill import KILLED, outcome
from tests.worlds import rows, write
from ttsi.benchmarks import load as load_benchmark
from ttsi.config import LoopConfig, RunConfig
from ttsi.embedded import WEIGHTS
from ttsi.errors import ModelError
from ttsi.methods import preset
from ttsi.models import load
from ttsi.models.weight_files import MANIFEST, verify
from ttsi.runs.executor import local_executor
from ttsi.runs.folder import was_started
from ttsi.runs.plan import Batch, plan
from ttsi.runs.provenance import resolve
from ttsi.runs.runner import run
from ttsi.runs.store import open_run, read_json, read_rows
from ttsi.types import Episode

INPUTS, BATCH = 24, 4


def command(file: Path, folder: Path, *more: str) -> list[str]:
    """A run of the file into the folder."""
    fixed = ["--model", "scripted:demo", "--batch-size", str(BATCH), "--quiet", "--output-dir", str(folder)]
    # Where a kill came before there was anything to go on with, one begins.
    words = [word for word in more if word != "--resume" or was_started(folder)]
    return ["run", "--benchmark", str(file), *fixed, *words]


def kills(n: int, tmp: Path) -> dict[str, Any]:
    """A quarter of the kills in the first fifth of a run, the others anywhere; one more resume may be killed again."""
    rng, counts = random.Random(0), Counter[str]()
    file, memo = write(tmp / "mine.jsonl", rows(INPUTS)), tmp / "memo"
    with Crashes() as crashes:
        assert crashes.run(command(file, tmp / "warm")) == 0
        begun = time.perf_counter()
        assert crashes.run(command(file, tmp / "whole")) == 0
        length = time.perf_counter() - begun
        expected = outcome(tmp / "whole")
        while counts["kills"] < n:
            folder, killed = tmp / "torn", 0
            shutil.rmtree(folder, ignore_errors=True)
            memo.unlink(missing_ok=True)
            for sitting in range(rng.randint(1, 5)):
                early = rng.random() < 0.25
                after = rng.uniform(0, length / 5 if early else length)
                resumed = folder.exists()
                if crashes.run(command(file, folder, "--resume"), after=after, memo=memo) == KILLED:
                    killed += 1
                    counts["kills"] += 1
                    counts["at start or while resuming"] += early or resumed
                    counts["second or later in a run"] += sitting > 0
            assert crashes.run(command(file, folder, "--resume"), memo=memo) == 0
            assert outcome(folder) == expected, "another report"
            batches = memo.read_text().splitlines().count("batch: begun")
            assert batches <= INPUTS // BATCH + killed, "more than one batch repeated per kill"
            counts["batches repeated"] += batches - INPUTS // BATCH
            counts["runs"] += 1
    return {**counts, "other reports": 0, "inputs lost": 0, "inputs counted twice": 0}


def journals(n: int, tmp: Path) -> dict[str, Any]:
    """Half of them damaged in run.db, half in the journal of a killed run."""
    file, torn = write(tmp / "mine.jsonl", rows(8)), tmp / "torn"
    with Crashes() as crashes:
        assert crashes.run(command(file, torn), point="row: committed", nth=6) == KILLED
    truth = read_rows(torn)
    closed = copied(torn, tmp / "closed")
    with open_run(closed, {}, clean=True) as store:
        for row in truth:
            store.record(row)
    refused = {
        "run.db": refusals(closed, "run.db", truth, tmp / "damaged", n // 2),
        "run.db-wal": refusals(torn, "run.db-wal", truth, tmp / "damaged", n - n // 2),
    }
    return {"damaged": n, "times read": 2 * n, "refused": refused, "wrong rows": 0}


def files(n: int, tmp: Path) -> dict[str, Any]:
    """Every one must be refused by the name of the file."""
    rng, refused, folder = random.Random(0), Counter[str](), copied(WEIGHTS, tmp / "weights")
    names = sorted(path.name for path in folder.iterdir() if path.name != MANIFEST and path.suffix != ".md")
    for kind in ("cut", "flip"):
        for trial in range(n):
            path = folder / ("model.safetensors" if trial % 2 else names[trial // 2 % len(names)])
            whole = path.read_bytes()
            path.write_bytes(damaged(path, rng, kind))
            try:
                verify(folder)
            except ModelError as error:
                refused[kind] += path.name in str(error)
            path.write_bytes(whole)
    verify(folder)
    assert refused["cut"] == refused["flip"] == n
    return {"trials": 2 * n, "refused by name": refused.total()}


def orders(n: int, tmp: Path) -> dict[str, Any]:
    """Batches in a drawn order; every third run is stopped once on the way."""
    file, prints = write(tmp / "mine.jsonl", rows(100)), Counter[str]()
    config = RunConfig(str(file), "scripted:demo", loop=preset("ttsi", "embedded"), batch_size=BATCH)
    benchmark, model = load_benchmark(config.benchmark), load(config.model)
    stopped = 0
    for number in range(n):
        rng, folder = random.Random(number), tmp / f"run{number}"

        def shuffled(
            batches: Iterator[Batch], loop: LoopConfig, rng: random.Random = rng, stop: bool = number % 3 == 2
        ) -> Iterator[tuple[Batch, list[Episode]]]:
            order = list(batches)
            rng.shuffle(order)
            yield from local_executor(model, model)(iter(order[: len(order) // 2] if stop else order), loop)

        resolved = resolve(config, benchmark, model, model)
        if number % 3 == 2:
            stopped += 1
            with open_run(folder, resolved) as store, suppress(KeyboardInterrupt):
                run(benchmark, model, model, config, store, executor=shuffled)
            assert len(read_rows(folder)) < len(plan(benchmark, config))
        with open_run(folder, resolved, resume=True) as store:
            whole = run(benchmark, model, model, config, store, executor=None if number % 3 == 2 else shuffled)
        prints[whole["results_sha256"]] += 1
    assert len(prints) == 1
    return {"runs": n, "of which stopped once": stopped, "different results": len(prints) - 1}


def scale(n: int, tmp: Path) -> dict[str, Any]:
    """Resident memory after loading, in the middle, before and after summing up."""
    file = write(tmp / "mine.jsonl", rows(n))
    config = RunConfig(str(file), "scripted:demo", loop=preset("ttsi", "embedded"), batch_size=64)
    benchmark, model = load_benchmark(config.benchmark), load(config.model)
    memory: dict[str, int] = {}

    def watch(state: Any) -> None:
        for share in (0, 10, 50, 100):
            if state.done >= n * share // 100:
                memory.setdefault(f"{share} %", _resident_mib())

    begun = time.perf_counter()
    with open_run(tmp / "run", resolve(config, benchmark, model, model)) as store:
        run(benchmark, model, model, config, store, watch)
    seconds = time.perf_counter() - begun
    size = (tmp / "run" / "run.db").stat().st_size
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    return {
        "inputs": n, "milliseconds per input": round(1000 * seconds / n, 2), "MiB at": memory,
        "MiB peak with summing up": peak, "run.db bytes per input": size // n,
    }  # fmt: skip


def _resident_mib() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") // 2**20


def nodes(n: int, tmp: Path) -> dict[str, Any]:
    """One worker per node; after a few batches a node is killed."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    import ray
    from ray.cluster_utils import Cluster as Machines

    from ttsi.runs.cluster import Cluster, ray_executor

    file = write(tmp / "mine.jsonl", rows(400))
    config = RunConfig(str(file), "scripted:demo", loop=preset("ttsi", "embedded"), batch_size=BATCH)
    benchmark, model = load_benchmark(config.benchmark), load(config.model)
    resolved = resolve(config, benchmark, model, model)
    machines = Machines(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    others = [machines.add_node(num_cpus=2) for _ in range(n - 1)]
    prints, killed = [], []

    def kill(state: Any) -> None:
        if state.done >= 40 and not killed:
            killed.append(state.done)
            machines.remove_node(others[0], allow_graceful=False)

    for name, watch in (("calm", lambda state: None), ("killed", kill)):
        solve = ray_executor(Cluster(n, machines.address), model, model)
        with open_run(tmp / name, resolved) as store:
            prints.append(run(benchmark, model, model, config, store, watch, executor=solve)["results_sha256"])
    machines.shutdown()
    ray.shutdown()
    with open_run(tmp / "alone", resolved) as store:
        prints.append(run(benchmark, model, model, config, store)["results_sha256"])
    assert killed and len(set(prints)) == 1
    assert read_json(tmp / "killed" / "summary.json")["n"] == 400
    return {"nodes": n, "inputs": 400, "node killed after": killed[0], "different results": 0}


FIGURES = {"kills": kills, "journals": journals, "files": files, "orders": orders, "scale": scale, "nodes": nodes}

if __name__ == "__main__":
    name, number = sys.argv[1], int(sys.argv[2])
    with tempfile.TemporaryDirectory() as folder:
        print(json.dumps({"figure": name, **FIGURES[name](number, Path(folder))}), flush=True)
