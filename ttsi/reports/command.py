"""The command that makes a run again, and the machine and versions that a group of runs was made with.

A folder of data is written as `--data DIR`: pages are passed on, and paths of one machine mean nothing on another. A
library is written as `--library NEW`: a run begins with it as it was then, mostly a new one.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

from ttsi.config import RunConfig
from ttsi.record import Run
from ttsi.reports.groups import Group
from ttsi.reports.naming import (
    changed_agent,
    changed_library,
    changed_settings,
    has_embedded_settings,
    seeds,
    usual_method,
)
from ttsi.reports.phrases import listing

FLAGS = (
    "benchmark", "split", "model", "method", "teacher", "teacher_budget", "train_data", "train_limit", "limit",
    "order_seed", "batch_size", "format",
)  # fmt: skip
"""Settings of a run beside the loop's, in the order in which their flags are written."""


def command(config: RunConfig, embedded: bool = True, dtype: str | None = None) -> str:
    """`ttsi run` with what is not the default; without the seed, since runs are pooled over it.

    Args:
        config: the run's.
        embedded: whether the method's preset is the embedded model's.
        dtype: of the model's weights, which is chosen by the machine where none is given; None leaves it out.
    """
    words, usual = ["ttsi", "run"], RunConfig()
    config = replace(config, method=usual_method(config))
    for name in FLAGS:
        if (value := getattr(config, name)) != getattr(usual, name):
            words += [f"--{name.replace('_', '-')}", str(value)]
    if config.data is not None:
        words += ["--data", "DIR"]
    if config.library.folder is not None:
        words += ["--library", "NEW"]
    changed = {**changed_library(config), **changed_agent(config), **changed_settings(config, embedded)}
    words += [flag for name, value in changed.items() for flag in _flags(name, value)]
    return shlex.join(words if dtype is None else [*words, "--dtype", dtype])


def _flags(name: str, value: Any) -> list[str]:
    stage, _, setting = name.rpartition(".")
    setting = setting.replace("_", "-")
    if isinstance(value, bool):
        return [f"--{stage}.{setting if value else f'no-{setting}'}"]
    # As one word: a value such as -0.07 would read like a flag of its own.
    return [f"--{stage}.{setting}={one}" for one in (value if isinstance(value, tuple) else (value,))]


def commands(groups: Sequence[Group]) -> list[str]:
    """One line per group, with its seeds."""
    made = [command(one.config, has_embedded_settings(one.first), one.first.model.get("dtype")) for one in groups]
    return [f"{line}  # {seeds(group)}" for line, group in zip(made, groups, strict=True)]


def provenance(groups: Sequence[Group]) -> str:
    """Commit, machine, versions and weights of some groups, each thing once."""
    runs = [run for group in groups for run in group.runs]
    facts = [
        f"commit {_each(str(run.machine.get('commit') or 'not recorded') for run in runs)}",
        _each(map(_machine, runs)),
        _each(f"weights {run.weights[:12]}" if run.weights else "" for run in runs),
    ]
    return "; ".join(fact for fact in facts if fact)


def _machine(run: Run) -> str:
    device = str(run.model.get("device") or "cpu")
    parts = [
        f"{run.machine['cpus']} CPU cores" if device == "cpu" and run.machine.get("cpus") else device,
        f"Python {run.machine['python']}" if run.machine.get("python") else "",
        f"torch {run.versions['torch']}" if run.versions.get("torch") else "",
        str(run.model.get("dtype") or ""),
    ]
    return ", ".join(part for part in parts if part)


def _each(values: Iterable[str]) -> str:
    return listing(list(dict.fromkeys(value for value in values if value)) or [""])
