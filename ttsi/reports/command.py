"""Which command makes a run again?

Inputs: a run's configuration, as config.json holds it. Outputs: the line of `ttsi run` that asks for it, and on what a
group of runs was made. A folder of data is written as `--data DIR`: pages are passed on, and places of one machine mean
nothing on another.

The paper (arXiv:2510.07841) published no commands.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from ttsi.reports.naming import changed
from ttsi.reports.record import Group
from ttsi.reports.words import listing, seeds

NAMED = {
    "benchmark": "toolworld",
    "split": "test",
    "model": "embedded",
    "method": "ttsi",
    "teacher": None,
    "teacher_budget": None,
    "train_data": None,
    "train_limit": None,
    "limit": None,
    "batch_size": 16,
    "format": None,
}
"""Settings of a run beside the loop's, in the order in which they are written, and what they are when not given."""


def command(config: Mapping[str, Any]) -> str:
    """`ttsi run` with what is not the default; the seed is left out, since runs are pooled over it."""
    settings = config["settings"]
    words = ["ttsi", "run"]
    for name, usual in NAMED.items():
        value = settings.get(name, usual)
        if value != usual:
            words += [f"--{name.replace('_', '-')}", str(value)]
    if settings.get("data") is not None:
        words += ["--data", "DIR"]
    for name, value in changed(config).items():
        words += _flag(name, value)
    return shlex.join(words)


def _flag(name: str, value: Any) -> list[str]:
    stage, _, knob = name.rpartition(".")
    flag = f"--{stage}.{knob.replace('_', '-')}"
    if isinstance(value, bool):
        return [flag if value else f"--{stage}.no-{knob.replace('_', '-')}"]
    # As one word: a value such as -0.07 would read like a flag of its own.
    return [f"{flag}={value}"]


def commands(found: Sequence[Group]) -> list[str]:
    """One line per group, with its seeds."""
    return [f"{command(group.config)}  # {seeds(group)}" for group in found]


def made_with(found: Sequence[Group]) -> str:
    """Commit, machine and versions of some groups, each thing once."""
    configs = [run.config for group in found for run in group.runs]
    facts = [
        f"commit {_each(config.get('machine', {}).get('commit') or 'not recorded' for config in configs)}",
        _each(_machine(config) for config in configs),
        _each(_weights(config) for config in configs),
    ]
    return "; ".join(fact for fact in facts if fact)


def _machine(config: Mapping[str, Any]) -> str:
    machine, model = config.get("machine", {}), config.get("model") or {}
    device = str(model.get("device") or "cpu")
    versions = config.get("versions", {})
    parts = [
        f"{machine['cpus']} CPU cores" if device == "cpu" and machine.get("cpus") else device,
        f"Python {machine['python']}" if machine.get("python") else "",
        f"torch {versions['torch']}" if versions.get("torch") else "",
        str(model.get("dtype") or ""),
    ]
    return ", ".join(part for part in parts if part)


def _weights(config: Mapping[str, Any]) -> str:
    found = (config.get("model") or {}).get("weights_sha256")
    return f"weights {str(found)[:12]}" if found else ""


def _each(values: Any) -> str:
    return listing(list(dict.fromkeys(value for value in values if value)) or [""])
