"""Everything that a run's results depend on, as config.json holds it.

Inputs: a benchmark, a model, a writer and a `RunConfig`. Outputs: JSON values: the settings and their digest, the data,
model and writer with their checksums, the writing prompt's hash, and the versions of what computes.
"""

from __future__ import annotations

import os
import platform
import subprocess
from dataclasses import replace
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from ttsi import codec
from ttsi.benchmarks import Benchmark
from ttsi.config import RunConfig
from ttsi.config_history import digest
from ttsi.models import Model, Writer
from ttsi.object_reference import source_hash
from ttsi.runs.grading import headline
from ttsi.runs.training_data import check_sources
from ttsi.types import TrainingData

PACKAGES = ("torch", "transformers", "tokenizers", "llguidance", "numpy")
"""Packages whose versions may change a result."""


def resolve(config: RunConfig, benchmark: Benchmark, model: Model, writer: Writer) -> dict[str, Any]:
    """The content of config.json: everything that the results depend on, as JSON values."""
    check_sources(config)
    from ttsi.synthesis import prompt_hash

    data = writer if isinstance(writer, TrainingData) else None
    example_writer = model if isinstance(writer, TrainingData) else writer
    return {
        "schema": 1,
        "settings": settings_of(config),
        "digest": settings_digest(config),
        "data": {
            "benchmark": benchmark.name,
            "checksum": benchmark.checksum,
            "matcher": headline(benchmark, config.loop),
            "n": len(benchmark.samples[: config.limit]),
        },
        "model": model.describe(),
        "writer": None if config.teacher is None else example_writer.describe(),
        "train": data and {"name": data.name, "checksum": data.checksum, "n": len(data.pairs)},
        "prompt": prompt_hash(config.loop.synthesis, example_writer.format.name),
        "sources": _source_hashes(config),
        "versions": {name: installed for name in ("ttsi", *PACKAGES) if (installed := _version(name))},
        "machine": {
            "python": platform.python_version(),
            "platform": platform.platform(),
            "cpus": os.cpu_count(),
            "commit": _commit(),
            "source": benchmark.source,
        },
    }


def _source_hashes(config: RunConfig) -> dict[str, str] | None:
    """Object reference -> hash of the file that it is loaded from; None where all names are built in.

    A benchmark's reference is not among them: its rows are matched by their content, as those of a file are.
    """
    loop = config.loop
    names = [
        config.model, config.teacher, config.format, config.method, loop.awareness.measure, *loop.synthesis.filter,
        loop.adaptation.method, loop.adaptation.objective,
    ]  # fmt: skip
    hashes = {name: text_hash for name in names if name and (text_hash := source_hash(name))}
    return hashes or None


def settings_of(config: RunConfig) -> dict[str, Any]:
    """The settings as JSON values; a tau of infinity is the string "inf" (`ttsi.codec`)."""
    settings: dict[str, Any] = codec.to_json(config)
    return settings


def settings_digest(config: RunConfig) -> str:
    """16 hex digits: equal settings, equal digest; where the data lie does not matter."""
    return digest(replace(config, data=None))


@cache
def _commit() -> str | None:
    """The commit of the code that runs, "-dirty" where files differ from it; None where this is no checkout of ours."""
    here = Path(__file__)
    try:
        # An installed copy may lie inside somebody else's checkout, which does not track it.
        _git(here.parent, "ls-files", "--error-unmatch", here.name)
        return _git(here.parent, "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*")
    except (OSError, subprocess.SubprocessError):
        return None


def _git(folder: Path, *words: str) -> str:
    command = ["git", "--no-optional-locks", "-C", str(folder), *words]
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=10).stdout.strip()


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        from ttsi import __version__

        return __version__ if package == "ttsi" else None
