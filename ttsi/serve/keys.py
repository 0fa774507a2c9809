"""Who is asking?

Inputs: a file of keys, one `NAME sha256:HEX` a line. Outputs: the name of the key that was shown, or None. Keys are 256
random bits, so a plain SHA-256 keeps them; every stored digest is compared, in constant time, whatever is found.
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

LOCAL = "local"
"""The name of whoever asks where no keys are needed."""
_LINE = re.compile(r"(?P<name>[A-Za-z0-9_.-]{1,64})\s+sha256:(?P<digest>[0-9a-f]{64})")


def read_keys(path: Path) -> dict[str, bytes]:
    """Name -> SHA-256 of its key.

    Raises:
        ConfigError: the file is missing, empty or holds something else.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        raise ConfigError(
            f"{path} cannot be read: make it with `ttsi serve --api-keys {path} --add-key NAME`"
        ) from None
    found: dict[str, bytes] = {}
    for number, line in enumerate(lines, start=1):
        if not line.strip() or line.startswith("#"):
            continue
        match = _LINE.fullmatch(line.strip())
        if match is None or match["name"] in found:
            # The line itself is not shown: it may be a key that somebody wrote down as it is.
            raise ConfigError(f"{path}:{number}: write `NAME sha256:HEX`, each name once (ttsi serve --add-key NAME)")
        found[match["name"]] = bytes.fromhex(match["digest"])
    if not found:
        raise ConfigError(f"{path} holds no key: add one with `ttsi serve --api-keys {path} --add-key NAME`")
    return found


def add_key(path: Path, name: str) -> str:
    """A new key, whose digest is added to the file; the key itself is kept nowhere.

    Raises:
        ConfigError: the name is taken or not allowed.
    """
    key = f"ttsi-{secrets.token_urlsafe(32)}"
    line = f"{name} sha256:{hashlib.sha256(key.encode()).hexdigest()}"
    if not _LINE.fullmatch(line):
        raise ConfigError(f"{name!r} is no name for a key: use letters, digits and _.- (at most 64)")
    if path.exists() and name in read_keys(path):
        raise ConfigError(f"{path} has a key named {name} already: remove its line first")
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "a", encoding="utf-8") as file:
        file.write(line + "\n")
    return key


def owner(shown: str, keys: Mapping[str, bytes]) -> str | None:
    """Whose key this is; the work is the same whether one matches or none."""
    digest = hashlib.sha256(shown.encode("utf-8", "surrogateescape")).digest()
    found = None
    for name, stored in keys.items():
        if hmac.compare_digest(digest, stored):
            found = name
    return found
