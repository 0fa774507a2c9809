"""The name under which a model takes what it has read so far.

Inputs: a decoder of transformers, a cache. Outputs: the keyword argument that this version takes: `cache`, or as before
5.24 `past_key_values`, which from 5.40 on is no argument any more. Not in the paper (arXiv:2510.07841).
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import cache
from typing import Any

from torch import nn
from transformers import Cache


def reading_on(decoder: nn.Module, read: Cache | None) -> dict[str, Any]:
    """The keyword argument with which a decoder goes on behind what is read."""
    return {_name(type(decoder).forward): read}


@cache
def _name(forward: Callable[..., Any]) -> str:
    return "cache" if "cache" in inspect.signature(forward).parameters else "past_key_values"
