"""Reachability of the Hugging Face hub.

Inputs: a model's name. Outputs: whether its files must come from this machine. The hub's client retries a request for a
minute; where no connection to the hub can be opened, that minute is wasted.
"""

from __future__ import annotations

import os
import socket
from functools import cache
from pathlib import Path
from urllib.parse import urlsplit

CONNECT_TIMEOUT_SECONDS = 3.0
PROXIES = ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy")


def endpoint() -> str:
    """The hub's address."""
    return os.environ.get("HF_ENDPOINT") or "https://huggingface.co"


def is_local(name: str) -> bool:
    """Whether a model must come from this machine: a folder or, where the hub is out of reach, the cache."""
    return Path(name).is_dir() or not _reachable(endpoint())


def advice(name: str) -> str:
    """One line for a model that cannot be loaded because the hub is out of reach; empty where the hub answers."""
    if Path(name).is_dir() or _reachable(endpoint()):
        return ""
    host = urlsplit(endpoint()).hostname
    return f"{host} cannot be reached and {name} was not downloaded before: go online, or give a folder"


@cache
def _reachable(address: str) -> bool:
    if any(os.environ.get(name) for name in PROXIES):
        return True  # only the client can use a proxy
    place = urlsplit(address)
    try:
        socket.create_connection((place.hostname or "", place.port or 443), CONNECT_TIMEOUT_SECONDS).close()
    except OSError:
        return False
    return True
