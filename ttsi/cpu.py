"""The processor: what it can do, how many threads compute on it, and how they wait for each other.

Inputs: the system, and the environment of this process before torch is imported. Outputs: facts for `ttsi env`, and the
environment with a policy of waiting where the user set none. Threads that spin while they wait keep their core although
they do nothing: beside another busy process each step then lasts as long as that process's turns, and a run takes many
times as long. Threads that sleep while they wait give the core away.

OpenMP reads the environment once, when its library is loaded: what is set after `import torch` does nothing. The paper
(arXiv:2510.07841) ran on GPUs, where this does not matter.
"""

from __future__ import annotations

import os
import sys
from functools import cache
from pathlib import Path

WAITING = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME")
"""What decides how threads wait: of every OpenMP, of GNU's (the torch wheels for Linux), of LLVM's and Intel's."""
COUNTS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")
"""What decides how many there are."""
POLICY = ("OMP_WAIT_POLICY", "PASSIVE")
"""Sleep while waiting; GNU's and LLVM's OpenMP both take it for "do not spin"."""

BFLOAT16 = ("amx_bf16", "avx512_bf16")
"""Instructions with which a processor multiplies bfloat16 faster than float32."""

_set_here: set[str] = set()


def sleep_while_waiting() -> bool:
    """Have threads sleep while they wait, unless the user said how they wait or it is too late.

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
    """What holds for the threads of this process, by variable, and who said so.

    >>> "OMP_NUM_THREADS" in in_force()
    True
    """
    shown = {}
    for name in (*COUNTS, *WAITING):
        value = os.environ.get(name)
        if value is None:
            shown[name] = f"not set (one thread per core: {cores()})" if name == COUNTS[0] else "not set"
        else:
            shown[name] = (
                f"{value} ({'set by ttsi' if name in _set_here and value == POLICY[1] else 'from the environment'})"
            )
    return {name: said for name, said in shown.items() if name == COUNTS[0] or said != "not set"}


def cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@cache
def instructions() -> frozenset[str]:
    """Names of the processor's instruction sets as Linux lists them; empty where the system does not say."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return frozenset()
    line = next((line for line in text.splitlines() if line.startswith(("flags", "Features"))), "")
    return frozenset(line.partition(":")[2].split())


def is_fast_with_bfloat16() -> bool:
    """Does this processor multiply bfloat16 in hardware?"""
    return not instructions().isdisjoint(BFLOAT16)


def capability() -> str:
    """The widest vector instructions, and whether bfloat16 is among them, in a few words."""
    known = [name for name in ("avx2", "avx512f", "asimd", *BFLOAT16) if name in instructions()]
    return ", ".join(known) or "not known"
