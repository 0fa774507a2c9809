"""Data files on disk: where they lie, their content, their checksum.

Inputs: the folder that the user named (`--data DIR`) or None, a data set's folder ("bfcl") and a file in it, plain or
`.gz`. Outputs: its path, its uncompressed bytes, its JSON values. Without `--data` it is looked for in the cache,
`TTSI_HOME/data` (by default `~/.cache/ttsi/data`), which `ttsi data get` and `ttsi data import` fill.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import zlib
from pathlib import Path
from typing import Any

from ttsi.errors import DataError
from ttsi.home import home


def cache() -> Path:
    """The folder that holds one folder per downloaded data set."""
    return home() / "data"


def find(data_dir: Path | None, folder: str, name: str) -> Path:
    """A data set's file, under `data_dir/folder`, in `data_dir` itself, or in the cache.

    Args:
        data_dir: the folder that --data named, or None for the cache.
        folder: the data set's folder, as `ttsi data ls` names it.
        name: the file's path inside it, without .gz.

    Raises:
        DataError: it is not there.
    """
    path = find_if_present(data_dir, folder, name)
    if path is not None:
        return path
    where = (
        f"{folder} is not on this machine" if data_dir in (None, cache()) else f"{data_dir} has no {folder}/{name}[.gz]"
    )
    raise DataError(f"{where}: run `ttsi data get {folder}`, or pass --data DIR, the folder that holds {folder}")


def find_if_present(data_dir: Path | None, folder: str, name: str) -> Path | None:
    """As `find`, but None where it is missing."""
    folders = [cache() / folder] if data_dir is None else [data_dir / folder, data_dir]
    paths = [inner / (name + end) for inner in folders for end in ("", ".gz")]
    return next((path for path in paths if path.is_file()), None)


def read_bytes(path: Path) -> bytes:
    """A file's content, decompressed where its name ends in .gz.

    Raises:
        DataError: it is missing or damaged.
    """
    try:
        data = path.read_bytes()
        return gzip.decompress(data) if path.suffix == ".gz" else data
    except FileNotFoundError:
        raise DataError(f"{path} does not exist: check the path") from None
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path} cannot be read: {error}") from None


def sha256(data: bytes) -> str:
    """SHA-256 in hex."""
    return hashlib.sha256(data).hexdigest()


def parse_json(data: bytes, path: Path, lines: bool = False) -> Any:
    """The JSON value of a file's content, or with `lines` the list of the values on its lines.

    Raises:
        DataError: it is not JSON.
    """
    try:
        return [json.loads(line) for line in data.splitlines() if line.strip()] if lines else json.loads(data)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path} is not the expected JSON ({error}); download it again") from None
