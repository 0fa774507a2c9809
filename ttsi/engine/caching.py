"""The keyword argument by which a transformers model takes a key-value cache.

Inputs: a decoder, a cache. Outputs: the keyword argument that this version of transformers takes: `cache`, or before
5.24 `past_key_values`, which 5.40 no longer accepts.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import cache
from typing import Any

from torch import nn
from transformers import Cache


def cache_argument(decoder: nn.Module, held: Cache | None) -> dict[str, Any]:
    """The keyword argument with which a decoder continues behind the cache."""
    return {_name(type(decoder).forward): held}


@cache
def _name(forward: Callable[..., Any]) -> str:
    return "cache" if "cache" in inspect.signature(forward).parameters else "past_key_values"
