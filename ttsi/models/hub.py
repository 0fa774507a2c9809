"""Whether the Hugging Face hub can be asked at all.

Inputs: a model's name. Outputs: whether its files must come from this machine. The hub's client tries a request again
for a minute; where the hub's address does not even open, that minute tells nobody anything. Not in the paper
(arXiv:2510.07841).
"""

from __future__ import annotations

import os
import socket
from functools import cache
from pathlib import Path
from urllib.parse import urlsplit

PATIENCE = 3.0
"""Seconds for one connection."""
PROXIES = ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy")


def endpoint() -> str:
    """The hub's address."""
    return os.environ.get("HF_ENDPOINT") or "https://huggingface.co"


def is_local(name: str) -> bool:
    """Must a model come from this machine: from a folder or, where the hub is out of reach, from the cache?"""
    return Path(name).is_dir() or not _reachable(endpoint())


def advice(name: str) -> str:
    """What to say of a model that is neither here nor to be had; empty where the hub answers."""
    if Path(name).is_dir() or _reachable(endpoint()):
        return ""
    host = urlsplit(endpoint()).hostname
    return f"{host} cannot be reached and {name} was not downloaded before: go online, or give a folder"


@cache
def _reachable(address: str) -> bool:
    if any(os.environ.get(name) for name in PROXIES):
        return True  # only the client knows the way
    place = urlsplit(address)
    try:
        socket.create_connection((place.hostname or "", place.port or 443), PATIENCE).close()
    except OSError:
        return False
    return True
