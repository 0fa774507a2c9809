"""How do data come onto this machine, whole or not at all?

Inputs: a `Source` and the folder to fill (`TTSI_HOME/data`, or `--data DIR`), and for an import a folder with a copy.
Outputs: the files under `FOLDER/SOURCE/`, each put into place only after its checksum was right, and last of all
`manifest.json`: where they came from, their sums, their licence.

A download that was cut off leaves `FILE.part` and goes on from there next time; what is there already and right is not
fetched again. Only `https` addresses of the pinned commit are asked for, and nothing is ever executed or unpacked.
Not in the paper (arXiv:2510.07841).
"""

from __future__ import annotations

import json
import os
import urllib.error
import urllib.request
from collections.abc import Callable
from http.client import HTTPException
from pathlib import Path
from typing import Any

from ttsi.benchmarks import jsonl, places
from ttsi.benchmarks.sources import Source
from ttsi.errors import DataError

CHUNK = 1 << 16
LARGEST = 64 << 20
"""Bytes; a longer file is none of ours."""
TIMEOUT = 30.0
"""Seconds without any byte after which a connection is given up."""

Report = Callable[[str], None]


def get(source: Source, data_dir: Path, report: Report = lambda line: None) -> Path:
    """Download what is missing.

    Args:
        source: what to fetch.
        data_dir: the folder that holds one folder per source.
        report: told one line per file.

    Returns:
        The source's folder.

    Raises:
        DataError: it is not published, cannot be reached, or is not the pinned file.
    """
    folder = data_dir / source.name
    for file, sums in source.files.items():
        if _right(places.there(data_dir, source.name, file), sums):
            report(f"{file}: here already")
            continue
        target = folder / file
        target.parent.mkdir(parents=True, exist_ok=True)
        part = target.with_name(target.name + ".part")
        _download(source.url(file), part, f"run `ttsi data import {source.name} DIR`")
        if not _right(part, sums):
            part.unlink()
            raise DataError(
                f"{source.url(file)} is not the pinned file (its checksum differs): try again, or run "
                f"`ttsi data import {source.name} DIR` with a good copy"
            )
        os.replace(part, target)
        report(f"{file}: downloaded")
    return _finish(source, data_dir, source.repository)


def bring(source: Source, copy: Path, data_dir: Path, report: Report = lambda line: None) -> Path:
    """Copy a source's files from a folder of the user's, plain or .gz; `copy` is that folder or the one above.

    Raises:
        DataError: a file is missing or not the pinned one; then nothing was copied.
    """
    found: dict[str, bytes] = {}
    for file, sums in source.files.items():
        path = places.there(copy, source.name, file)
        if path is None:
            raise DataError(f"{copy} has no {file}[.gz]: give the folder with the files of {source.name}")
        found[file] = jsonl.read_bytes(path)
        if jsonl.sha256(found[file]) not in sums:
            raise DataError(
                f"{path} is not the file of the pinned commit: fetch {source.repository} at {source.commit}"
            )
    for file, content in found.items():
        _write(data_dir / source.name / file, content)
        report(f"{file}: copied")
    return _finish(source, data_dir, str(copy))


def _right(path: Path | None, sums: tuple[str, ...]) -> bool:
    return path is not None and path.is_file() and jsonl.sha256(jsonl.read_bytes(path)) in sums


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    part.write_bytes(content)
    os.replace(part, path)


def _finish(source: Source, data_dir: Path, origin: str) -> Path:
    folder = data_dir / source.name
    manifest: dict[str, Any] = {
        "source": source.name,
        "repository": source.repository,
        "commit": source.commit,
        "licence": source.licence,
        "note": source.note,
        "from": origin,
        "files": {file: _sum(data_dir, source, file) for file in source.files},
    }
    _write(folder / "manifest.json", (json.dumps(manifest, indent=2) + "\n").encode())
    return folder


def _sum(data_dir: Path, source: Source, file: str) -> str:
    return jsonl.sha256(jsonl.read_bytes(places.find(data_dir, source.name, file)))


def _download(url: str, part: Path, otherwise: str) -> None:
    """Append to `part` what it lacks of an address's content."""
    start = part.stat().st_size if part.is_file() else 0
    request = urllib.request.Request(url, headers={"Range": f"bytes={start}-"} if start else {})
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT) as reply:
            # A server that ignores the range sends everything from the start.
            _receive(reply, part, append=start > 0 and reply.status == 206)
    except urllib.error.HTTPError as error:
        error.close()
        if error.code == 416:  # nothing is missing
            return
        raise DataError(f"{url} answers {error.code} {error.reason}: {otherwise}") from None
    except (OSError, HTTPException) as error:
        reason = getattr(error, "reason", error)
        raise DataError(f"{url} cannot be reached ({reason}): go online and run it again, or {otherwise}") from None


def _receive(reply: Any, part: Path, append: bool) -> None:
    with part.open("ab" if append else "wb") as file:
        while block := reply.read(CHUNK):
            file.write(block)
            if file.tell() > LARGEST:
                raise OSError(f"more than {LARGEST >> 20} MiB came")
