"""The layer of a resumed run's own settings: `ttsi run --resume --output-dir FOLDER` needs no other flag.

Inputs: the flags that cyclopts parsed. Outputs: the same, in which what no flag and no file of --config sets is as the
run in the folder has it, its method, data and dtype among them; TTSI_* variables do not count. A setting that is given
stands: where it differs from the run's, opening the folder refuses it (`ttsi.runs.folder`).
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from cyclopts import App, ArgumentCollection

from ttsi.cli.layer import fill
from ttsi.config import CUSTOM, RunConfig
from ttsi.runs.folder import holds_run, read_json, recorded_settings

CONTINUING = ("--resume", "--retry-failed", "--repair")
"""Flags that continue a run."""
_NAMED = {name: getattr(RunConfig(), name) for name in ("benchmark", "model", "method", "limit")}
"""Settings that are named where they are taken from the run, with their defaults."""


def continues_run(commands: tuple[str, ...], arguments: ArgumentCollection) -> bool:
    """Whether the command continues the run in its --output-dir."""
    given = _first_values(arguments)
    continues = commands == ("run",) and "--output-dir" in given and not given.keys().isdisjoint(CONTINUING)
    return continues and holds_run(Path(given["--output-dir"]))


def resumed_settings(app: App, commands: tuple[str, ...], arguments: ArgumentCollection) -> None:
    """Fill what no layer above has set from the run that the command continues."""
    given = _first_values(arguments)
    folder = Path(given["--output-dir"])
    recorded = own_settings(folder)
    open_flags = (one.name.removeprefix("--") for one in arguments.filter_by(parse=True) if not one.tokens)
    missing = {name: recorded[name] for name in open_flags if name in recorded}
    fill(missing, f"the run in {folder}", app, commands, arguments)
    chosen = [f"{name} {missing[name]}" for name, default in _NAMED.items() if missing.get(name, default) != default]
    if chosen and "--quiet" not in given:
        print(f"ttsi: going on with the settings of {folder} ({', '.join(chosen)})", file=sys.stderr)


def _first_values(arguments: ArgumentCollection) -> dict[str, str]:
    """The first value of each flag that has one."""
    return {argument.name: argument.tokens[0].value for argument in arguments if argument.tokens}


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
            yield ("library" if flag == "library.folder" else flag), value
