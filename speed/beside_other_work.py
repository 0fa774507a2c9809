"""The slowdown of a command beside another busy process.

`python -m speed.beside_other_work` runs `ttsi run --limit 32` (with --demo all of it, as `make demo` does) idle
and beside one process that burns a core, in turns: with threads that sleep while they wait, as the command has them,
and with torch's own setting. Outputs: one line per run, then for each setting the medians and their ratio, busy by
idle; as JSON with --json FILE. The machine should do nothing else: the script says so where its load is not near zero.

Inputs: --repeats (3), --limit (32). The paper (arXiv:2510.07841) ran on GPUs, where this does not matter.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ttsi.cpu import WAITING, capability, cores

SETTINGS: dict[str, dict[str, str]] = {
    "as shipped": {},
    "torch's own": {"GOMP_SPINCOUNT": "300000"},
}
"""What the environment holds; the second is what GNU's OpenMP does where nobody says anything."""
BURN = "while True: pass"


@contextmanager
def busy(wanted: bool) -> Iterator[None]:
    """One core burns for as long as the block lasts."""
    process = subprocess.Popen([sys.executable, "-c", BURN]) if wanted else None
    try:
        yield
    finally:
        if process is not None:
            process.kill()
            process.wait()


def seconds(limit: int | None, variables: dict[str, str], beside: bool) -> float:
    """Wall time of one run, from the start of its process to its end."""
    environment = {name: value for name, value in os.environ.items() if name not in WAITING} | variables
    with tempfile.TemporaryDirectory() as folder, busy(beside):
        command = [sys.executable, "-m", "ttsi", "run", "--output-dir", str(Path(folder) / "run"), "--quiet", "--json"]
        command += [] if limit is None else ["--limit", str(limit)]
        start = time.perf_counter()
        subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL)
        return time.perf_counter() - start


def main() -> None:
    """Measure in turns, and print what came out."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--limit", type=int, default=32)
    parser.add_argument("--demo", action="store_true", help="all inputs, as make demo does")
    parser.add_argument("--only", choices=list(SETTINGS), help="one setting only")
    parser.add_argument("--json", type=Path, help="also write the times to this file")
    options = parser.parse_args()
    load = os.getloadavg()[0]
    print(f"{cores()} cores, {capability()}, load {load:.1f} before")
    if load > 0.5:
        print("the machine does other work already: the ratios below are too small or too large")
    limit = None if options.demo else options.limit
    times: dict[str, dict[str, list[float]]] = {}
    for repeat in range(options.repeats):
        for name in [options.only] if options.only else SETTINGS:
            for beside in (False, True):
                where = "busy" if beside else "idle"
                spent = seconds(limit, SETTINGS[name], beside)
                times.setdefault(name, {}).setdefault(where, []).append(spent)
                print(f"{name:<12} {where} {spent:7.1f} s  (round {repeat + 1})", flush=True)
    for name, seconds_by_load in times.items():
        idle, loaded = (statistics.median(seconds_by_load[where]) for where in ("idle", "busy"))
        print(f"{name:<12} idle {idle:.1f} s, busy {loaded:.1f} s, ratio {loaded / idle:.2f}")
    if options.json is not None:
        options.json.write_text(json.dumps({"limit": limit, "cores": cores(), "seconds": times}, indent=2) + "\n")


if __name__ == "__main__":
    main()
