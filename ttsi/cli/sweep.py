"""`ttsi sweep`: many runs that differ in a few settings, with one loaded model.

Inputs: a YAML file with `run` (settings of all points), `points` (a list of settings, for rows that are not a product),
`grid` (setting -> list of values; every combination) and `dtype` (of the model's weights). Outputs: one run folder per
point, `sweep.json`, and a table on stdout with the mean over seeds. A point is a command line of `ttsi run`, which
--dry-run prints: its settings have the same names, defaults and checks, and it can be run by hand.

sweep.json names all points from the start, so that a killed sweep is one for `ttsi report`; the summary of a point that
is not done is null there.
Finished points are read, interrupted ones are resumed. Unless the file has `share: false`, points share equal work
(`ttsi.models.cached`); their seconds then mean nothing.
"""

from __future__ import annotations

import contextlib
import hashlib
import inspect
import io
import itertools
import json as json_module
import math
import shlex
import statistics
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, NamedTuple

from cyclopts import App, Parameter

from ttsi.cli.config_layers import SHORT, config_layers, read_yaml, upgrade_settings
from ttsi.cli.default_names import check_replaceable
from ttsi.cli.option_groups import BASIC
from ttsi.cli.progress import loading, print_notes
from ttsi.cli.report import page_beside
from ttsi.cli.resumed_settings import own_settings
from ttsi.cli.run import folder_name, run
from ttsi.cli.settings import Device, Dtype, FolderSwitch, FormatName, OutputDir, OutputSwitch
from ttsi.cli.shipped_files import find_file
from ttsi.errors import ConfigError, RunFolderError, unknown_name
from ttsi.models import Model, check_format, load
from ttsi.models.cached import CachedModel
from ttsi.reports.phrases import graded_cell
from ttsi.runs.run_folders import SWEEP_TABLE, sweep_points

KEYS = ("run", "points", "grid", "share", "dtype")
NOT_SETTINGS_OF_A_POINT = frozenset({
    "output-dir", "resume", "clean", "retry-failed", "repair", "json", "quiet", "dry-run", "device", "dtype", "config",
    "num-workers", "ray",
})  # fmt: skip
"""Flags of `ttsi run` about how and where a run is done. The sweep sets some itself and has no use for the others:
workers, for example, could not share its one loaded model."""
NUMBERS_OR_NONE = frozenset({"adaptation.lr", "adaptation.min-confidence-gain"})
"""Numbers that a method's preset may give and `null` takes away; every other `null` is a flag left out."""

Settings = dict[str, Any]


@dataclass(frozen=True)
class Point:
    """One run of a sweep."""

    settings: Settings
    varied: Settings
    """The settings in which points differ."""
    needs_digest: bool = False
    """Another point has the same name without one, as two files of one name in two folders give."""

    @property
    def name(self) -> str:
        """The varied settings, as the name of a folder."""
        parts = [f"{key}={_value_name(value)}" for key, value in self.varied.items()]
        if self.needs_digest:
            parts.append(hashlib.sha256(repr(_flags(dict(sorted(self.varied.items())))).encode()).hexdigest()[:8])
        return "--".join(parts) or "run"

    @property
    def older_name(self) -> str:
        """The name in versions that left out the sign of a number."""
        return "--".join(f"{key}={folder_name(str(value))}" for key, value in self.varied.items()) or "run"

    def flags(self) -> list[str]:
        """The settings as flags of `ttsi run`."""
        return _flags(self.settings)


class SweepFile(NamedTuple):
    """What a sweep's file holds."""

    points: list[Point]
    share: bool
    """Whether points share equal work."""
    dtype: str
    """Of the model's weights; "auto" where the file leaves it open."""


def sweep(
    config: Annotated[
        Path,
        Parameter(help="A YAML file, or one that ships (ttsi ls examples), like configs/own-model.yaml.", group=BASIC),
    ],
    /,
    *,
    model: Annotated[str | None, Parameter(group=BASIC)] = None,
    benchmark: Annotated[str | None, Parameter(group=BASIC)] = None,
    teacher: Annotated[str | None, Parameter(group=BASIC)] = None,
    data: Annotated[Path | None, Parameter(group=BASIC)] = None,
    limit: Annotated[int | None, Parameter(group=BASIC)] = None,
    format: FormatName = None,
    output_dir: OutputDir = None,
    clean: FolderSwitch = False,
    json: OutputSwitch = False,
    quiet: OutputSwitch = False,
    dry_run: OutputSwitch = False,
    device: Device = "auto",
    dtype: Dtype = "auto",
) -> int:
    """Run every combination of some settings.

    The same command again continues an interrupted sweep.

    Args:
        config: The sweep.
        model: The model that answers, instead of the file's.
        benchmark: The questions, instead of the file's: a benchmark (ttsi ls benchmarks), or your own FILE.jsonl.
        teacher: The model that writes the examples, instead of the file's, in each point that has a teacher.
        data: Folder with downloaded benchmarks.
        limit: Use only this many inputs in each run, from the first of their order on.
        output_dir: Folder of the runs; by default runs/sweep--NAME--MODEL, followed by the benchmark and the limit
            if they are given here.
        clean: Run every point again instead of continuing.
        json: Print sweep.json instead of the table.
        quiet: Show no progress on stderr.
        dry_run: Print the command line of each point, and stop.
    """
    check_format(format)
    overriding = {
        "model": model, "benchmark": benchmark, "teacher": teacher, "data": data, "limit": limit, "format": format,
    }  # fmt: skip
    points, share, own_dtype = read_sweep(find_file(config), overriding)
    dtype = own_dtype if dtype == "auto" else dtype
    if dry_run:
        machine = [] if dtype == "auto" else ["--dtype", dtype]
        print("\n".join(shlex.join(["ttsi", "run", *point.flags(), *machine]) for point in points))
        return 0
    answering = folder_name(str(points[0].settings.get("model", "embedded")))
    replaced = [folder_name(str(value)) for value in (benchmark, limit, format) if value is not None]
    folder = output_dir or Path("runs") / "--".join(["sweep", folder_name(config.stem), answering, *replaced])
    results = folder / SWEEP_TABLE
    check_replaceable(
        results,
        lambda path: sweep_points(path) is not None,
        "table of a sweep",
        "choose another folder with --output-dir",
    )
    for point in points:
        _arguments(point.flags())  # a wrong value of the last one is named before the first one runs
    models = _LastModel(device, dtype, share)
    _rename_older(points, folder)
    entries = [{"point": _plain(point.varied), "folder": point.name, "summary": None} for point in points]
    if sweep_points(results) is None:  # the table of an earlier sitting stays until a point of this one is done
        _write_table(results, entries)
    for number, (point, entry) in enumerate(zip(points, entries, strict=True), start=1):
        if not quiet:
            print(f"ttsi: point {number} of {len(points)}: {point.name}", file=sys.stderr)
        entry["summary"] = _run(point, folder / point.name, models, quiet, clean)
        _write_table(results, entries)
    if json:
        print(json_module.dumps(entries, indent=2, ensure_ascii=False))
    else:
        print(table(entries))
        if not quiet:
            place, page = shlex.quote(str(folder)), shlex.quote(str(page_beside(folder)))
            print(f"kept in {folder}\nthe report, one page:  ttsi report {place} --output {page}", file=sys.stderr)
    return 0


def read_sweep(path: Path, overrides: Mapping[str, Any] | None = None) -> SweepFile:
    """The points of a file, whether they share equal work, and the dtype.

    Args:
        path: the YAML file.
        overrides: settings that replace the file's; None replaces nothing. A teacher only replaces another one.

    Raises:
        ConfigError: the file is not a sweep; one line.
    """
    content = read_yaml(path)
    if not content:
        raise ConfigError(f"{path} is empty: write run:, points: and grid:")
    for key in content:
        if key not in KEYS:
            raise ConfigError(f"{path}: {unknown_name('key', str(key), KEYS)} (a run's settings stand under run:)")
    replaced = {key: str(value) for key, value in (overrides or {}).items() if value is not None}
    common, grid = _flat(content.get("run"), path), _flat(content.get("grid"), path)
    for key, values in grid.items():
        if not isinstance(values, list) or not values:
            raise ConfigError(f"{path}: grid.{key} is not a list: write the values to try, like [0.5, 0.9]")
    # A setting that is replaced is not varied any more: one value stands for all of its values.
    grid = {key: values for key, values in grid.items() if key not in replaced}
    rows = [_flat(row, path) for row in content.get("points") or [{}]]
    combinations = [dict(zip(grid, values, strict=True)) for values in itertools.product(*grid.values())]
    keys = dict.fromkeys(key for row in rows for key in row)
    varied = [key for key in keys if key in grid or len({repr(row.get(key)) for row in rows}) > 1]
    varied += [key for key in grid if key not in keys]
    points = []
    for row, choice in itertools.product(rows, combinations):
        settings = {**common, **row, **choice}
        settings |= {key: value for key, value in replaced.items() if key != "teacher" or key in settings}
        varied_here = {key: settings[key] for key in varied if key in settings and key not in replaced}
        points.append(Point(settings, varied_here))
    flags = [_flags(dict(sorted(point.settings.items()))) for point in points]
    twice = next((point.name for point, own in zip(points, flags, strict=True) if flags.count(own) > 1), None)
    if twice is not None:
        raise ConfigError(f"{path} has the point {twice} twice: points must differ in a setting that is not replaced")
    names = [point.name for point in points]
    points = [replace(point, needs_digest=names.count(point.name) > 1) for point in points]
    return SweepFile(points, bool(content.get("share", True)), str(content.get("dtype", "auto")))


def _rename_older(points: Sequence[Point], folder: Path) -> None:
    """Give the folders of points that an older version named without a sign the names of today.

    Raises:
        RunFolderError: a process is writing into such a folder.
    """
    from ttsi.runs.folder import holds_run, take_lock

    for point in points:
        if point.needs_digest:  # older versions refused such a sweep
            continue
        old, new = folder / point.older_name, folder / point.name
        if old != new and not new.exists() and holds_run(old) and _is_run_of(point, old):
            with take_lock(old):
                old.rename(new)
            print(f"ttsi: {old} is the run of {point.name}, so it is now called {new}", file=sys.stderr)


def _is_run_of(point: Point, folder: Path) -> bool:
    """Whether the run in the folder has the numbers of this point, whose signs its name may lack."""
    try:
        recorded = own_settings(folder)
    except RunFolderError:  # it says nothing; going on with it is refused with the reason
        return False
    numbers = {name: number for name, value in point.varied.items() if (number := _as_number(value)) is not None}
    return all(
        _as_number(recorded.get(SHORT.get(f"--{name}", f"--{name}")[2:])) == value for name, value in numbers.items()
    )


def table(entries: Sequence[Mapping[str, Any]]) -> str:
    """One line per point; seeds are pooled as mean and standard deviation."""
    groups: dict[str, list[Mapping[str, Any]]] = {}
    for entry in entries:
        label = ", ".join(f"{key} {value}" for key, value in entry["point"].items() if key != "seed")
        groups.setdefault(label or "run", []).append(entry["summary"])
    lines: list[tuple[str, ...]] = [("", "seeds", "n", "base", "adapted", "gain", "unsure", "trained")]
    for label, summaries in groups.items():
        first = summaries[0]
        cells = [_spread(summaries, lambda s: s["base"]), _spread(summaries, lambda s: s["adapted"])]
        gain = _spread(summaries, lambda s: s["gain"] and {"score": s["gain"]["points"]})
        counts = [f"{statistics.mean(s[key] for s in summaries):.0f}" for key in ("n_unsure", "samples_trained")]
        n = graded_cell(first["metrics"]["graded"], first["n"])
        lines.append((label, str(len(summaries)), n, *cells, gain, *counts))
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
    padded = [
        "  ".join(
            [line[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(line[1:], widths[1:], strict=True))]
        )
        for line in lines
    ]
    return "\n".join(line.rstrip() for line in padded)


def _spread(summaries: Sequence[Mapping[str, Any]], part: Callable[[Mapping[str, Any]], Any]) -> str:
    parts = [part(summary) for summary in summaries]
    values = [scored["score"] for scored in parts if scored and scored["score"] is not None]
    if not values:
        return "-"
    mean = f"{statistics.mean(values):.2f}"
    return mean if len(values) == 1 else f"{mean} ± {statistics.stdev(values):.2f}"


class _LastModel:
    """The model that was used last, so that points with the same model load it once."""

    def __init__(self, device: str, dtype: str, share: bool) -> None:
        self.device, self.dtype, self._share = device, dtype, share
        self._spec: tuple[str, str | None] = ("", None)
        self._model: Model | None = None

    def get(self, spec: str, format: str | None, quiet: bool) -> Model:
        """The model of this spec with this tool-call format."""
        if (spec, format) != self._spec or self._model is None:
            self._model = None  # first let the old one go
            with loading(spec, quiet):
                loaded = load(spec, device=self.device, dtype=self.dtype, format=format)
            print_notes(loaded, quiet)
            self._spec, self._model = (spec, format), CachedModel(loaded) if self._share else loaded
        return self._model


def _run(point: Point, folder: Path, models: _LastModel, quiet: bool, clean: bool) -> dict[str, Any]:
    """The summary of a point, from its folder or by `ttsi run`."""
    from ttsi.runs.store import holds_run

    # A teacher is loaded by the run.
    flags = [*point.flags(), "--output-dir", str(folder), "--json", "--device", models.device, "--dtype", models.dtype]
    flags += (["--clean"] if clean else ["--resume"]) if holds_run(folder) else []
    flags += ["--quiet"] if quiet else []
    bound = _arguments(flags)
    model = models.get(str(point.settings.get("model", "embedded")), point.settings.get("format"), quiet)
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        run(*bound.args, **bound.kwargs, loaded=model)
    summary: dict[str, Any] = json_module.loads(printed.getvalue())
    if summary["n_error"] == summary["n"]:
        raise RunFolderError(f"every input of the point {point.name} failed: look into {folder}")
    return summary


def _arguments(flags: Sequence[str]) -> inspect.BoundArguments:
    """The arguments of `ttsi run` that flags stand for, checked."""
    app = App(config=config_layers(restore=False))
    app.command(run)
    _, bound, _ = app.parse_args(["run", *flags], exit_on_error=False, print_error=False)
    return bound


def _write_table(path: Path, entries: Sequence[Mapping[str, Any]]) -> None:
    """Write sweep.json, in which a point without a summary is still to be done."""
    from ttsi.runs.folder import disk_named, write_json

    with disk_named(path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json(path, {"schema": 1, "points": entries})


def _plain(settings: Settings) -> Settings:
    """Settings as JSON has them: a number that is not finite, which YAML has as .inf, is a text."""
    is_other = {key: isinstance(value, float) and not math.isfinite(value) for key, value in settings.items()}
    return {key: str(value) if is_other[key] else value for key, value in settings.items()}


def _flat(settings: Any, path: Path, before: str = "") -> Settings:
    """{"awareness": {"tau": 1}} -> {"awareness.tau": 1}, with names as in flags."""
    if settings is None:
        return {}
    if not isinstance(settings, dict):
        raise ConfigError(f"{path}: {before or 'run, grid and each of points'} must be a mapping of settings")
    flat: Settings = {}
    for key, value in (settings if before else upgrade_settings(settings, path)).items():
        name = f"{before}{key}".replace("_", "-")
        if name == "library":
            raise ConfigError(f"{path}: the points of a sweep would answer from one another's library: leave it out")
        if name in NOT_SETTINGS_OF_A_POINT:
            hint = "leave it out, or use it as a flag of ttsi sweep"
            raise ConfigError(f"{path}: {name} is about how a run is done, not a setting of a point: {hint}")
        flat |= _flat(value, path, f"{name}.") if isinstance(value, dict) else {name: value}
    return flat


def _value_name(value: Any) -> str:
    """A value as part of a folder's name; a number keeps its sign.

    >>> _value_name(-0.5), _value_name("-inf"), _value_name("-data/mine.jsonl")
    ('-0.5', '-inf', 'mine')
    """
    return folder_name(str(value)) if _as_number(value) is None else str(value).strip()


def _as_number(value: Any) -> float | None:
    try:
        return None if isinstance(value, bool) else float(value)
    except (TypeError, ValueError):
        return None


def _flags(settings: Settings) -> list[str]:
    return [word for key, value in settings.items() for word in _flag(key, value)]


def _flag(key: str, value: Any) -> list[str]:
    if isinstance(value, bool):
        stage, _, name = key.rpartition(".")
        return [f"--{stage}.{'' if value else 'no-'}{name}" if stage else f"--{'' if value else 'no-'}{name}"]
    if value is None:
        return [f"--{key}", "none"] if key in NUMBERS_OR_NONE else []
    values = value if isinstance(value, list) else [value]
    return [word for one in values for word in (f"--{key}", str(one))]
