"""What do a benchmark's JSON files hold?

Inputs: their paths, plain or `.gz` (`ttsi.benchmarks.places` finds them). Outputs: their values, and one SHA-256 over
the uncompressed files, in the given order. Nothing of this is in the paper (arXiv:2510.07841).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ttsi.benchmarks import jsonl
from ttsi.errors import DataError


def read_json(paths: Sequence[Path]) -> tuple[list[Any], str]:
    """What the files hold, and one checksum over all of them.

    Raises:
        DataError: a file is missing, damaged or no JSON.
    """
    data = [jsonl.read_bytes(path) for path in paths]
    return [_parse(content, path) for content, path in zip(data, paths, strict=True)], jsonl.sha256(b"".join(data))


def _parse(data: bytes, path: Path) -> Any:
    try:
        return json.loads(data)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path} is not the expected JSON ({error}); fetch it again") from None
