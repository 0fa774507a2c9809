"""Which data can be downloaded, and are the ones here whole and the right ones?

Inputs: `sources.yaml` beside this file, which pins repository, commit, licence and the SHA-256 of each file; and a data
folder. Outputs: `Source` objects, and for each source what is missing or different, how many rows its benchmarks and
training pools have, and how many of them cannot be answered right (`EXPECTED`).

A checksum is that of the uncompressed content, so packed and plain copies are the same data. Not in the paper
(arXiv:2510.07841), which names its benchmarks without revisions.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from ttsi.benchmarks import Benchmark, jsonl, places
from ttsi.errors import ConfigError, DataError, unknown_name

RAW = "https://raw.githubusercontent.com"
"""Where files of a pinned commit are served."""


@dataclass(frozen=True)
class Source:
    """A repository whose data are read here."""

    name: str
    """Its folder."""
    repository: str
    commit: str
    path: str | None
    """The files' folder in the repository; None where the files are not published in this form."""
    licence: str
    note: str
    files: Mapping[str, tuple[str, ...]]
    """File -> the SHA-256 sums that its content may have."""

    def url(self, file: str) -> str:
        """Where a file is downloaded from.

        Raises:
            DataError: it is not published in the form that is read here.
        """
        if self.path is None:
            raise DataError(
                f"{self.name} cannot be downloaded in the form that is read here: "
                f"run `ttsi data import {self.name} DIR` with a copy of {file}"
            )
        return f"{RAW}/{self.repository}/{self.commit}/{self.path}{file}"


@dataclass(frozen=True)
class Count:
    """How many rows a benchmark or pool has, and how many of them no answer can solve."""

    rows: int
    unsolvable: int = 0


EXPECTED: dict[str, dict[str, Count]] = {
    "bfcl": {"bfcl": Count(3641, 6)},
    "seal-tools": {
        "seal-tools-in": Count(700, 2),
        "seal-tools-out": Count(654, 3),
        "seal-tools-dev": Count(700, 3),
        "sealtool-dev": Count(200),
    },
    "hammer-eval": {
        "sealtool": Count(294),
        "apibank-l1:hammer": Count(399, 8),
        "apibank-l2:hammer": Count(127, 6),
    },
    "api-bank": {
        "apibank-l1": Count(399, 8),
        "apibank-l2": Count(135, 14),
        "apibank-l3": Count(245),
        "pool:api-bank-l3": Count(907, 2),
    },
    "api-bank-toolrl": {
        "apibank-l1:toolrl": Count(399, 13),
        "apibank-l2:toolrl": Count(67, 6),
        "apibank-l3:toolrl": Count(131),
    },
    "toolalpaca": {"toolalpaca": Count(114, 6), "toolalpaca-simulated": Count(100, 34)},
    "nexusraven": {"nexusraven": Count(318, 1)},
    "toolrl-sft400": {"pool:toolrl-400": Count(400, 1)},
}
"""Source -> what is read from it, and its counts: benchmarks (NAME or NAME:SPLIT) and training pools (pool:NAME)."""


@lru_cache(maxsize=1)
def sources() -> dict[str, Source]:
    """Every source by name."""
    import yaml

    rows: dict[str, Any] = yaml.safe_load((Path(__file__).parent / "sources.yaml").read_text(encoding="utf-8"))
    return {name: _source(name, row) for name, row in rows.items()}


def _source(name: str, row: Mapping[str, Any]) -> Source:
    files = {file: (sums,) if isinstance(sums, str) else tuple(sums) for file, sums in row["files"].items()}
    return Source(name, row["repository"], row["commit"], row.get("path"), row["licence"], row.get("note", ""), files)


def source(name: str) -> Source:
    """A source by its name.

    Raises:
        ConfigError: there is none of this name.
    """
    if name not in sources():
        raise ConfigError(unknown_name("data source", name, sources()))
    return sources()[name]


def present(data_dir: Path, wanted: Source) -> int:
    """How many of a source's files lie in a data folder; their content is not looked at."""
    return sum(places.there(data_dir, wanted.name, file) is not None for file in wanted.files)


def faults(data_dir: Path, wanted: Source) -> list[str]:
    """Which files are missing or are not the pinned ones, one line each."""
    found = []
    for file, sums in wanted.files.items():
        path = places.there(data_dir, wanted.name, file)
        if path is None:
            found.append(f"{file} is missing")
        elif jsonl.sha256(jsonl.read_bytes(path)) not in sums:
            found.append(f"{file} is not the file of the pinned commit: its checksum differs")
    return found


def counts(data_dir: Path, wanted: Source) -> dict[str, tuple[Count, Count]]:
    """For each benchmark and pool of a source: what was counted, and what was expected."""
    return {name: (_count(name, data_dir), expected) for name, expected in EXPECTED.get(wanted.name, {}).items()}


def _count(name: str, data_dir: Path) -> Count:
    read = _load(name, data_dir)
    return Count(len(read.samples), sum(sample.tags.get("solvable") == "no" for sample in read.samples))


def _load(name: str, data_dir: Path) -> Benchmark:
    from ttsi.benchmarks import load, pools

    if name.startswith("pool:"):
        return pools.load(name.removeprefix("pool:"), data_dir)
    benchmark, _, split = name.partition(":")
    return load(benchmark, data_dir, split or "test")
