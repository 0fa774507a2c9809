"""Many episodes of an agent in one process: does memory stay flat?

    python -m tests.trials.agent_episodes 1000 scripted:demo

Inputs: how many, and a model. Outputs: one JSON line with the resident memory (MB) after a tenth of the episodes and
after all of them.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from pathlib import Path
from typing import Any

import ttsi
from tests.agents.actors import FileStore, world


def resident_mb() -> float:
    """The resident memory of this process now; its peak where the system has no /proc."""
    status = Path("/proc/self/statm")
    if status.is_file():
        return int(status.read_text().split()[1]) * resource.getpagesize() / 1e6
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3


def episodes(n: int, spec: str) -> dict[str, Any]:
    """Run n episodes of two turns, each with another file."""
    model = ttsi.load_model(spec)
    early, began, steps = 0.0, time.monotonic(), 0
    for number in range(n):
        store = FileStore(f"report {number}", f"letter {number}")
        environment = world(store, f"list files of box {number}", f"read file report {number}")
        trajectory = ttsi.run_episode(environment, model, agent=ttsi.AgentConfig(max_steps=4, life="episode"))
        steps += len(trajectory.steps)
        if number + 1 == max(1, n // 10):
            early = resident_mb()
    late, seconds = resident_mb(), time.monotonic() - began
    return {
        "model": spec, "episodes": n, "steps": steps, "mb_after_a_tenth": round(early), "mb_after_all": round(late),
        "seconds": round(seconds),
    }  # fmt: skip


if __name__ == "__main__":
    print(json.dumps(episodes(int(sys.argv[1]), sys.argv[2])))
