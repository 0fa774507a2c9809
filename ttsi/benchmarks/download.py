"""Download of public data, or import of a copy: complete files or none.

Inputs: a `PublicDataset` and the folder to fill (`TTSI_HOME/data`, or `--data DIR`), and for an import a folder with a
copy. Outputs: the files under `FOLDER/DATASET/`, each put into place only after its checksum was right, and last of all
`manifest.json`: where they came from, their sums, their licence.

A download that was cut off leaves `FILE.part` and goes on from there next time; what is there already and right is not
downloaded again. Only `https` addresses of the pinned commit are asked for, and nothing is ever executed or unpacked.

pooch would break four of these promises: it begins a cut download again, has no limit of size, takes one checksum per
file where two are right here, and does not take a packed copy for the same file.
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

from ttsi.atomic import write_atomically
from ttsi.benchmarks.data_files import find, find_if_present, read_bytes, sha256
from ttsi.benchmarks.datasets import PublicDataset
from ttsi.errors import DataError

CHUNK_BYTES = 1 << 16
MAX_BYTES = 64 << 20
"""A longer file is none of ours."""
TIMEOUT_SECONDS = 30.0
"""Without any byte, after which a connection is given up."""

Log = Callable[[str], None]


def download(dataset: PublicDataset, data_dir: Path, log: Log = lambda line: None) -> Path:
    """Download what is missing.

    Args:
        dataset: what to download.
        data_dir: the folder that holds one folder per data set.
        log: gets one line per file.

    Returns:
        The data set's folder.

    Raises:
        DataError: it is not published, cannot be reached, or is not the pinned file.
    """
    import_hint = f"run `ttsi data import {dataset.name} DIR`"
    for file, sums in dataset.files.items():
        path = find_if_present(data_dir, dataset.name, file)
        if path is not None and sha256(read_bytes(path)) in sums:
            log(f"{file}: here already")
            continue
        url, target = dataset.url(file), data_dir / dataset.name / file
        target.parent.mkdir(parents=True, exist_ok=True)
        part = target.with_name(target.name + ".part")
        _download(url, part, import_hint)
        if sha256(read_bytes(part)) not in sums:
            part.unlink()
            raise DataError(
                f"{url} is not the pinned file (its checksum differs): try again, or {import_hint} with a good copy"
            )
        os.replace(part, target)
        log(f"{file}: downloaded")
    return _write_manifest(dataset, data_dir, dataset.repository)


def import_copy(dataset: PublicDataset, copy: Path, data_dir: Path, log: Log = lambda line: None) -> Path:
    """Copy a data set's files from a folder of the user's, plain or .gz; `copy` is that folder or the one above.

    Raises:
        DataError: a file is missing or not the pinned one; then nothing was copied.
    """
    contents: dict[str, bytes] = {}
    for file, sums in dataset.files.items():
        path = find_if_present(copy, dataset.name, file)
        if path is None:
            raise DataError(f"{copy} has no {file}[.gz]: give the folder with the files of {dataset.name}")
        contents[file] = read_bytes(path)
        if sha256(contents[file]) not in sums:
            raise DataError(
                f"{path} is not the file of the pinned commit: download {dataset.repository} at {dataset.commit}"
            )
    for file, content in contents.items():
        target = data_dir / dataset.name / file
        target.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(target, content)
        log(f"{file}: copied")
    return _write_manifest(dataset, data_dir, str(copy))


def _write_manifest(dataset: PublicDataset, data_dir: Path, origin: str) -> Path:
    folder = data_dir / dataset.name
    manifest = {
        "source": dataset.name,
        "repository": dataset.repository,
        "commit": dataset.commit,
        "licence": dataset.licence,
        "note": dataset.note,
        "from": origin,
        "files": {file: sha256(read_bytes(find(data_dir, dataset.name, file))) for file in dataset.files},
    }
    write_atomically(folder / "manifest.json", json.dumps(manifest, indent=2) + "\n")
    return folder


def _download(url: str, part: Path, otherwise: str) -> None:
    """Append to `part` what it lacks of an address's content."""
    start = part.stat().st_size if part.is_file() else 0
    request = urllib.request.Request(url, headers={"Range": f"bytes={start}-"} if start else {})
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS) as reply:
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
        while block := reply.read(CHUNK_BYTES):
            file.write(block)
            if file.tell() > MAX_BYTES:
                raise OSError(f"more than {MAX_BYTES >> 20} MiB came")
