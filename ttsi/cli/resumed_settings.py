"""The layer of a resumed run's own settings: `ttsi run --resume --output-dir FOLDER` needs no other flag.

Inputs: the flags that cyclopts parsed. Outputs: the same, in which what no flag, TTSI_* variable or file sets is as the
run in the folder has it, its method, data and dtype among them. A setting that is given stands: where it differs from
the run's, opening the folder refuses it (`ttsi.runs.folder`).
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from cyclopts import App, ArgumentCollection
from cyclopts.config import Dict

from ttsi.config import CUSTOM, RunConfig
from ttsi.runs.folder import holds_run, read_json, recorded_settings

CONTINUING = ("--resume", "--retry-failed", "--repair")
"""Flags that continue a run."""
_NAMED = {name: getattr(RunConfig(), name) for name in ("benchmark", "model", "method", "limit")}
"""Settings that are named where they are taken from the run, with their defaults."""


def resumed_settings(app: App, commands: tuple[str, ...], arguments: ArgumentCollection) -> None:
    """Fill what no layer above has set from the run in --output-dir, if the command continues it."""
    given = {argument.name: argument.tokens[0].value for argument in arguments if argument.tokens}
    folder = Path(given.get("--output-dir", ""))
    if commands != ("run",) or given.keys().isdisjoint(CONTINUING) or not holds_run(folder):
        return
    recorded = own_settings(folder)
    missing = {
        name: value
        for argument in arguments.filter_by(parse=True)
        if not argument.tokens and (name := argument.name.removeprefix("--")) in recorded
        for value in (recorded[name],)
    }
    Dict(_nest(missing), use_commands_as_keys=False, source=f"the run in {folder}")(app, commands, arguments)
    chosen = [f"{name} {missing[name]}" for name, default in _NAMED.items() if missing.get(name, default) != default]
    if chosen and "--quiet" not in given:
        print(f"ttsi: going on with the settings of {folder} ({', '.join(chosen)})", file=sys.stderr)


def own_settings(folder: Path) -> dict[str, Any]:
    """The settings of the run in a folder, by the name of their flag; none of a run with settings from Python alone.

    Raises:
        RunFolderError: config.json is missing or damaged.
    """
    settings, model = recorded_settings(folder), read_json(folder / "config.json").get("model") or {}
    if settings["method"] == CUSTOM:
        return {}
    dtype = {"dtype": model["dtype"]} if "dtype" in model else {}
    return dict(_by_flag({**settings, **settings["loop"], **dtype}))


def _by_flag(settings: Mapping[str, Any], section: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in settings.items():
        flag = f"{section}{name}".replace("_", "-")
        if isinstance(value, Mapping):
            yield from _by_flag(value, f"{flag}.")
        else:
            yield flag, value


def _nest(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings by dotted name as the mapping that a file would hold."""
    nested: dict[str, Any] = {}
    for name, value in settings.items():
        section, _, last = name.rpartition(".")
        (nested.setdefault(section, {}) if section else nested)[last] = value
    return nested
