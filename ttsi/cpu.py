"""The processor: its instructions, the number of threads that compute, and how they wait for each other.

Inputs: the system, and the environment of this process before torch is imported. Outputs: facts for `ttsi env`, and an
environment with a waiting policy where the user set none. Threads that spin while they wait keep their core although
they do nothing: beside another busy process each step then lasts as long as that process's turns, and a run takes many
times as long. Threads that sleep while they wait give the core away.

OpenMP reads the environment once, when its library is loaded: a variable set after `import torch` does nothing.
"""

from __future__ import annotations

import os
import sys
from functools import cache
from pathlib import Path

WAITING = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME")
"""Variables for how threads wait: of every OpenMP, of GNU's (the torch wheels for Linux), of LLVM's and Intel's."""
COUNTS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")
"""Variables for how many there are."""
POLICY = ("OMP_WAIT_POLICY", "PASSIVE")
"""Sleep while waiting; GNU's and LLVM's OpenMP both read it as "do not spin"."""

BFLOAT16 = ("amx_bf16", "avx512_bf16")
"""Instructions with which a processor multiplies bfloat16 faster than float32."""

_set_here: set[str] = set()


def sleep_while_waiting() -> bool:
    """Make threads sleep while they wait, unless the user set a policy or torch is imported already.

    Returns:
        Whether it was set.
    """
    if "torch" in sys.modules or any(name in os.environ for name in WAITING):
        return False
    name, value = POLICY
    os.environ[name] = value
    _set_here.add(name)
    return True


def in_force() -> dict[str, str]:
    """The variables that hold for the threads of this process, and who set them.

    >>> "OMP_NUM_THREADS" in in_force()
    True
    """
    lines = {}
    for name in (*COUNTS, *WAITING):
        value = os.environ.get(name)
        if value is not None:
            source = "set by ttsi" if name in _set_here and value == POLICY[1] else "from the environment"
            lines[name] = f"{value} ({source})"
        elif name == COUNTS[0]:
            lines[name] = f"not set (one thread per core: {cores()})"
    return lines


def cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@cache
def instructions() -> frozenset[str]:
    """Names of the processor's instruction sets as Linux lists them; empty on other systems."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return frozenset()
    line = next((line for line in text.splitlines() if line.startswith(("flags", "Features"))), "")
    return frozenset(line.partition(":")[2].split())


def is_fast_with_bfloat16() -> bool:
    """Whether this processor multiplies bfloat16 in hardware."""
    return not instructions().isdisjoint(BFLOAT16)


def capability() -> str:
    """The widest vector instructions, and whether bfloat16 is among them, in a few words."""
    names = [name for name in ("avx2", "avx512f", "asimd", *BFLOAT16) if name in instructions()]
    return ", ".join(names) or "not known"
