"""API keys, stored as hashes.

Inputs: a file of keys, one `NAME sha256:HEX` a line. Outputs: the name of the key that a request carries, or None. Keys
are 256 random bits, so a plain SHA-256 protects them. Every stored digest is compared, in constant time, also after a
match.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import re
import secrets
from collections.abc import Mapping
from pathlib import Path

from ttsi.errors import ConfigError

LOCAL = "no key"
"""The key name of every request where no keys are needed; no key can have it."""
_LINE = re.compile(r"(?P<name>[A-Za-z0-9_.-]{1,64})\s+sha256:(?P<digest>[0-9a-f]{64})")


def read_keys(path: Path) -> dict[str, bytes]:
    """Read a key file: name -> SHA-256 of its key.

    Raises:
        ConfigError: the file is missing, empty or has a line that is not valid.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        raise ConfigError(f"cannot read {path}: create it with `ttsi serve --api-keys {path} --add-key NAME`") from None
    digests: dict[str, bytes] = {}
    for number, line in enumerate(lines, start=1):
        if not line.strip() or line.startswith("#"):
            continue
        match = _LINE.fullmatch(line.strip())
        if match is None or match["name"] in digests:
            # The message does not repeat the line, which may be a key in plain text.
            raise ConfigError(f"{path}:{number}: write `NAME sha256:HEX`, each name once (ttsi serve --add-key NAME)")
        digests[match["name"]] = bytes.fromhex(match["digest"])
    if not digests:
        raise ConfigError(f"{path} has no keys: add one with `ttsi serve --api-keys {path} --add-key NAME`")
    return digests


def add_key(path: Path, name: str) -> str:
    """Create a key and add its digest to the file; the key itself is not stored.

    Raises:
        ConfigError: the name is taken or not allowed.
    """
    key = f"ttsi-{secrets.token_urlsafe(32)}"
    line = f"{name} sha256:{hashlib.sha256(key.encode()).hexdigest()}"
    if not _LINE.fullmatch(line):
        raise ConfigError(f"{name!r} is not a valid key name: use letters, digits and _.- (at most 64)")
    if path.exists() and name in read_keys(path):
        raise ConfigError(f"{path} already has a key named {name}: remove its line first")
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "a", encoding="utf-8") as file:
        file.write(line + "\n")
    return key


def key_name(key: str, keys: Mapping[str, bytes]) -> str | None:
    """The name of this key, or None; the work is the same in both cases."""
    digest = hashlib.sha256(key.encode("utf-8", "surrogateescape")).digest()
    match = None
    for name, stored in keys.items():
        if hmac.compare_digest(digest, stored):
            match = name
    return match
