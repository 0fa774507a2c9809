"""Free memory goes back to the system, after a training and within a long one."""

from __future__ import annotations

import ctypes
import sys
from pathlib import Path

import pytest

from ttsi.engine import free_memory

BLOCK, BLOCKS = 100_000, 3_000
"""Blocks of this size come from the heap, and are freed one by one."""


def resident_mb() -> float:
    """Memory of this process in use, as Linux counts it."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096 / 2**20


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_free_pages_between_blocks_in_use_go_back() -> None:
    if not hasattr(ctypes.CDLL(None), "malloc_trim"):
        pytest.skip("the C library is not glibc")
    blocks = [bytearray(b"x" * BLOCK) for _ in range(BLOCKS)]
    kept = blocks[::10]
    full = resident_mb()
    del blocks
    held = resident_mb()
    free_memory.give_back()
    assert held > full - 100  # the control: freeing alone returns little
    assert resident_mb() < held - 150
    assert all(block == b"x" * BLOCK for block in kept)


def test_other_systems_do_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    free_memory._malloc_trim.cache_clear()
    monkeypatch.setattr(free_memory.sys, "platform", "darwin")
    assert free_memory._malloc_trim() is None
    free_memory.give_back()
    free_memory._malloc_trim.cache_clear()
