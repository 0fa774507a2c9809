"""Public data sets: where each is published, and whether the files here are complete and the pinned ones.

Inputs: `datasets.yaml` beside this file, which pins repository, commit, licence and the SHA-256 of each file and counts
the rows that are read from it; and a data folder. Outputs: `PublicDataset` objects, and for each what is missing or
different, how many rows its benchmarks and training pools have, and how many of them no answer can solve.

A checksum is that of the uncompressed content, so packed and plain copies are the same data.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from ttsi.benchmarks import load as load_benchmark
from ttsi.benchmarks import training_pools
from ttsi.benchmarks.data_files import find_if_present, read_bytes, sha256
from ttsi.errors import ConfigError, DataError, unknown_name

RAW = "https://raw.githubusercontent.com"
"""Where files of a pinned commit are served."""


@dataclass(frozen=True)
class RowCount:
    """How many rows a benchmark or pool has, and how many of them no answer can solve."""

    rows: int
    unsolvable: int = 0


@dataclass(frozen=True)
class PublicDataset:
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
    counts: Mapping[str, RowCount]
    """What is read from it and its counts: benchmarks (NAME or NAME:SPLIT) and training pools (pool:NAME)."""

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

    def present(self, data_dir: Path) -> int:
        """How many of the files lie in a data folder; their content is not looked at."""
        return sum(find_if_present(data_dir, self.name, file) is not None for file in self.files)

    def mismatches(self, data_dir: Path) -> list[str]:
        """Which files are missing or are not the pinned ones, one line each."""
        lines = []
        for file, sums in self.files.items():
            path = find_if_present(data_dir, self.name, file)
            if path is None:
                lines.append(f"{file} is missing")
            elif sha256(read_bytes(path)) not in sums:
                lines.append(f"{file} is not the file of the pinned commit: its checksum differs")
        return lines

    def count_rows(self, data_dir: Path) -> dict[str, tuple[RowCount, RowCount]]:
        """For each benchmark and pool: what was counted, and what is expected."""
        return {name: (_count(name, data_dir), expected) for name, expected in self.counts.items()}


@lru_cache(maxsize=1)
def datasets() -> dict[str, PublicDataset]:
    """Every data set by name."""
    import yaml

    rows: dict[str, Any] = yaml.safe_load((Path(__file__).parent / "datasets.yaml").read_text(encoding="utf-8"))
    return {name: _dataset(name, row) for name, row in rows.items()}


def _dataset(name: str, row: Mapping[str, Any]) -> PublicDataset:
    files = {file: (sums,) if isinstance(sums, str) else tuple(sums) for file, sums in row["files"].items()}
    counts = {what: RowCount(*numbers) for what, numbers in row["counts"].items()}
    note = row.get("note", "")
    return PublicDataset(name, row["repository"], row["commit"], row.get("path"), row["licence"], note, files, counts)


def dataset(name: str) -> PublicDataset:
    """A data set by its name.

    Raises:
        ConfigError: there is none of this name.
    """
    if name not in datasets():
        raise ConfigError(unknown_name("data source", name, datasets()))
    return datasets()[name]


def _count(name: str, data_dir: Path) -> RowCount:
    if name.startswith("pool:"):
        samples = training_pools.load(name.removeprefix("pool:"), data_dir).samples
    else:
        benchmark, _, split = name.partition(":")
        samples = load_benchmark(benchmark, data_dir, split or "test").samples
    return RowCount(len(samples), sum(sample.tags.get("solvable") == "no" for sample in samples))
