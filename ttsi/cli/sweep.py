"""`ttsi sweep`: many runs that differ in a few settings, over one loaded model.

Inputs: a YAML file with `run` (settings of all points), `points` (a list of settings, for rows that are no product) and
`grid` (setting -> list of values; every combination). Outputs: one run folder per point, `sweep.json`, and a table on
stdout with the mean over seeds. A point is a command line of `ttsi run`, shown by --dry-run: so its settings have the
same names, defaults and checks, and it can be run by hand.

Finished points are read, interrupted ones go on. Unless the file says `share: false`, points share what is equal
(`ttsi.models.cached`); then their seconds mean nothing.
"""

from __future__ import annotations

import contextlib
import io
import itertools
import json as json_module
import shlex
import statistics
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import yaml
from cyclopts import Parameter

from ttsi.cli.help import BASIC, FOLDER, OUTPUT
from ttsi.cli.progress import loading, print_notes
from ttsi.cli.run import plain_name
from ttsi.cli.settings import Device, Dtype, FormatName, Switch
from ttsi.cli.shipped import resolved
from ttsi.errors import ConfigError, RunFolderError, unknown_name
from ttsi.models import Model, check_format, load
from ttsi.models.cached import CachedModel

KEYS = ("run", "points", "grid", "share")
OWN = frozenset({
    "output-dir", "resume", "clean", "retry-failed", "repair", "json", "quiet", "dry-run", "device", "dtype", "config",
    "num-workers", "ray",
})  # fmt: skip
"""Flags of `ttsi run` that say how and where a run is done, and not what it is: the sweep sets them itself, or does
without, as it does without workers, which could not share its one loaded model."""

Settings = dict[str, Any]


@dataclass(frozen=True)
class Point:
    """One run of a sweep."""

    settings: Settings
    varied: Settings
    """Those of the settings in which points differ."""

    @property
    def name(self) -> str:
        """What is different, as the name of a folder."""
        parts = [f"{key}={plain_name(str(value))}" for key, value in self.varied.items()]
        return "--".join(parts) or "run"

    def flags(self) -> list[str]:
        """The settings as flags of `ttsi run`."""
        return [word for key, value in self.settings.items() for word in _flag(key, value)]


def sweep(
    config: Annotated[
        Path,
        Parameter(help="A YAML file, or one that ships (ttsi ls examples), like configs/own-model.yaml.", group=BASIC),
    ],
    /,
    *,
    model: Annotated[str | None, Parameter(group=BASIC)] = None,
    benchmark: Annotated[str | None, Parameter(group=BASIC)] = None,
    data: Annotated[Path | None, Parameter(group=BASIC)] = None,
    limit: Annotated[int | None, Parameter(group=BASIC)] = None,
    format: FormatName = None,
    output_dir: Annotated[Path | None, Parameter(group=FOLDER)] = None,
    clean: Annotated[Switch, Parameter(group=FOLDER)] = False,
    json: Annotated[Switch, Parameter(group=OUTPUT)] = False,
    quiet: Annotated[Switch, Parameter(group=OUTPUT)] = False,
    dry_run: Annotated[Switch, Parameter(group=OUTPUT)] = False,
    device: Device = "auto",
    dtype: Dtype = "auto",
) -> int:
    """Run every combination of some settings, and go on where it was interrupted.

    Args:
        config: the sweep.
        model: who answers, instead of the file's.
        benchmark: which questions, instead of the file's: a name (ttsi ls benchmarks) or a .jsonl file.
        data: the folder with downloaded benchmarks.
        limit: only the first so many inputs of each run.
        output_dir: where the runs are kept; by default runs/sweep--NAME--MODEL, behind it the benchmark and the limit
            where they are given.
        clean: do every point again, instead of going on.
        json: print sweep.json instead of the table.
        quiet: no progress on stderr.
        dry_run: print the command line of each point, and stop.
    """
    check_format(format)
    overriding = {"model": model, "benchmark": benchmark, "data": data, "limit": limit, "format": format}
    points, share = read_sweep(resolved(config), overriding)
    if dry_run:
        print("\n".join(shlex.join(["ttsi", "run", *point.flags()]) for point in points))
        return 0
    who = plain_name(str(points[0].settings.get("model", "embedded")))
    given = [plain_name(str(one)) for one in (benchmark, limit, format) if one is not None]
    folder = output_dir or Path("runs") / "--".join(["sweep", plain_name(config.stem), who, *given])
    speakers = _Speakers(device, dtype, share)
    found = []
    for number, point in enumerate(points, start=1):
        if not quiet:
            print(f"ttsi: point {number} of {len(points)}: {point.name}", file=sys.stderr)
        summary = _run(point, folder / point.name, speakers, quiet, clean)
        found.append({"point": point.varied, "folder": point.name, "summary": summary})
    from ttsi.runs.store import write_json

    write_json(folder / "sweep.json", {"schema": 1, "points": found})
    print(json_module.dumps(found, indent=2, ensure_ascii=False) if json else table(found))
    return 0


def read_sweep(path: Path, overrides: Mapping[str, Any] | None = None) -> tuple[list[Point], bool]:
    """The points of a file, and whether they share what is equal.

    Args:
        path: the YAML file.
        overrides: settings that beat the file's; None is no override.

    Raises:
        ConfigError: it is no sweep; one line.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"{path} cannot be read: {' '.join(str(error).split())}") from None
    if not isinstance(content, dict):
        raise ConfigError(f"{path} is no mapping: write run:, points: and grid:")
    for key in content:
        if key not in KEYS:
            raise ConfigError(f"{path}: {unknown_name('key', str(key), KEYS)}")
    given = {key: str(value) for key, value in (overrides or {}).items() if value is not None}
    common, grid = _flat(content.get("run"), path), _flat(content.get("grid"), path)
    for key, values in grid.items():
        if not isinstance(values, list) or not values:
            raise ConfigError(f"{path}: grid.{key} is no list: write the values to try, like [0.5, 0.9]")
    # What is overridden is no axis any more: the override's value stands for all of its values.
    grid = {key: values for key, values in grid.items() if key not in given}
    rows = [_flat(row, path) for row in content.get("points") or [{}]]
    combinations = [dict(zip(grid, values, strict=True)) for values in itertools.product(*grid.values())]
    several = {key for row in rows for key in row if len({repr(other.get(key)) for other in rows}) > 1}
    varied = [
        key for key in (*dict.fromkeys(key for row in rows for key in row), *grid) if key in several or key in grid
    ]
    points = []
    for row, choice in itertools.product(rows, combinations):
        settings = {**common, **row, **choice, **given}
        points.append(Point(settings, {key: settings[key] for key in varied if key in settings and key not in given}))
    names = [point.name for point in points]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise ConfigError(f"{path} has the point {twice} twice: let points differ in a setting that is no override")
    return points, bool(content.get("share", True))


def table(found: Sequence[Mapping[str, Any]]) -> str:
    """One line per point, seeds put together as mean and standard deviation."""
    groups: dict[str, list[Mapping[str, Any]]] = {}
    for entry in found:
        label = ", ".join(f"{key} {value}" for key, value in entry["point"].items() if key != "seed")
        groups.setdefault(label or "run", []).append(entry["summary"])
    lines: list[tuple[str, ...]] = [("", "seeds", "n", "base", "adapted", "gain", "unsure", "trained")]
    for label, summaries in groups.items():
        first = summaries[0]
        cells = [_spread(summaries, lambda s: s["base"]), _spread(summaries, lambda s: s["adapted"])]
        gain = _spread(summaries, lambda s: s["gain"] and {"score": s["gain"]["points"]})
        counts = [f"{statistics.mean(s[key] for s in summaries):.0f}" for key in ("n_unsure", "samples_trained")]
        lines.append((label, str(len(summaries)), str(first["n"]), *cells, gain, *counts))
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
    padded = [
        "  ".join(
            [line[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(line[1:], widths[1:], strict=True))]
        )
        for line in lines
    ]
    return "\n".join(line.rstrip() for line in padded)


def _spread(summaries: Sequence[Mapping[str, Any]], part: Callable[[Mapping[str, Any]], Any]) -> str:
    values = [found["score"] for s in summaries if (found := part(s)) and found["score"] is not None]
    if not values:
        return "-"
    mean = f"{statistics.mean(values):.2f}"
    return mean if len(values) == 1 else f"{mean} ± {statistics.stdev(values):.2f}"


class _Speakers:
    """Models by spec, each loaded once; only the last one is kept."""

    def __init__(self, device: str, dtype: str, share: bool) -> None:
        self._device, self._dtype, self._share = device, dtype, share
        self._spec: tuple[str, str | None] = ("", None)
        self._model: Model | None = None

    def get(self, spec: str, format: str | None, quiet: bool) -> Model:
        """The model of this spec that speaks this format."""
        if (spec, format) != self._spec or self._model is None:
            self._model = None  # first let the old one go
            with loading(spec, quiet):
                loaded = load(spec, device=self._device, dtype=self._dtype, format=format)
            print_notes(loaded, quiet)
            self._spec, self._model = (spec, format), CachedModel(loaded) if self._share else loaded
        return self._model


def _run(point: Point, folder: Path, speakers: _Speakers, quiet: bool, clean: bool) -> dict[str, Any]:
    """The summary of a point, from its folder or by `ttsi run`."""
    from ttsi.cli import build
    from ttsi.cli.run import run
    from ttsi.runs.store import holds_run

    flags = [*point.flags(), "--output-dir", str(folder), "--json"]
    flags += (["--clean"] if clean else ["--resume"]) if holds_run(folder) else []
    flags += ["--quiet"] if quiet else []
    _, bound, _ = build().parse_args(["run", *flags], exit_on_error=False, print_error=False)
    speaker = speakers.get(str(point.settings.get("model", "embedded")), point.settings.get("format"), quiet)
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        run(*bound.args, **bound.kwargs, speaker=speaker)
    summary: dict[str, Any] = json_module.loads(printed.getvalue())
    if summary["n_error"] == summary["n"]:
        raise RunFolderError(f"every input of the point {point.name} failed: look into {folder}")
    return summary


def _flat(settings: Any, path: Path, before: str = "") -> Settings:
    """{"awareness": {"tau": 1}} -> {"awareness.tau": 1}, with names as flags have them."""
    if settings is None:
        return {}
    if not isinstance(settings, dict):
        raise ConfigError(f"{path}: {before or 'run, grid and each of points'} must be a mapping of settings")
    found: Settings = {}
    for key, value in settings.items():
        name = f"{before}{key}".replace("_", "-")
        if name in OWN:
            hint = "leave it out, or give it to ttsi sweep if it knows it"
            raise ConfigError(f"{path}: {name} says how a run is done and is no setting of a point: {hint}")
        found |= _flat(value, path, f"{name}.") if isinstance(value, dict) else {name: value}
    return found


def _flag(key: str, value: Any) -> list[str]:
    if isinstance(value, bool):
        stage, _, name = key.rpartition(".")
        return [f"--{stage}.{'' if value else 'no-'}{name}" if stage else f"--{'' if value else 'no-'}{name}"]
    return [] if value is None else [f"--{key}", str(value)]
