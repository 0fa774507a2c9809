"""Memory that the C library holds free, given back to the system.

Inputs: none. Outputs: none. The tensors of one training step have other sizes than those of the next, and glibc keeps
what was freed between those in use: in a run of SmolLM2-135M two of four gigabytes. Where the C library is another one
(macOS, Windows, musl) nothing is done; memory of a GPU is torch's affair.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable
from functools import cache


def give_back() -> None:
    """Return free pages of the heap to the system (`malloc_trim`)."""
    trim = _malloc_trim()
    if trim is not None:
        trim(0)


@cache
def _malloc_trim() -> Callable[[int], int] | None:
    if not sys.platform.startswith("linux"):
        return None
    function: Callable[[int], int] | None = getattr(ctypes.CDLL(None), "malloc_trim", None)
    return function
