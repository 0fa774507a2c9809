"""`ttsi export`: a run's rows as JSONL, CSV or Parquet, or its curves in an experiment tracker.

Inputs: a run folder. Outputs: a file (`ttsi.runs.row_export`), a run of a tracker (`ttsi.interop.trackers`), or with
--schema the JSON Schema of a JSONL line on stdout.
"""

from __future__ import annotations

import json
import shlex
import sys
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from ttsi.cli.default_names import beside, check_replaceable
from ttsi.cli.settings import Switch
from ttsi.errors import ConfigError, RunFolderError
from ttsi.plurals import with_noun


def export(
    run: Annotated[Path | None, Parameter(help="The run folder.")] = None,
    /,
    *,
    format: Literal["jsonl", "csv", "parquet", "trackio", "wandb"] = "jsonl",
    output: Path | None = None,
    project: str = "ttsi",
    schema: Switch = False,
) -> None:
    """Write a run's rows to a file that other tools read, or hand its scores to an experiment tracker.

    Args:
        format: jsonl (everything), csv (flat), parquet (flat with types, and everything in one column); trackio or
            wandb hand over settings, curves and metrics, no texts.
        output: The file; by default RUN.FORMAT, beside the run folder, where that is free or an earlier export.
        project: The tracker's project that receives the run.
        schema: Print the JSON Schema of a JSONL line, and stop.
    """
    from ttsi.interop.trackers import TRACKERS, track
    from ttsi.row_schema import row_schema
    from ttsi.runs.row_export import export_rows

    if schema:
        print(json.dumps(row_schema(), indent=2, ensure_ascii=False))
        return
    if run is None:
        raise ConfigError("which run? ttsi export RUN --format csv (`ttsi ls runs` lists them)")
    if format in TRACKERS:
        if output is not None:
            raise ConfigError(f"{format} writes no file: leave --output out, or choose --format csv")
        count = track(run, format, project)
        print(f"ttsi: a run of {with_noun(count, 'input')} handed to {format}, project {project}", file=sys.stderr)
        return
    target = output or _default_target(run, format)
    count = export_rows(run, format, target)
    print(f"ttsi: {with_noun(count, 'row')} written to {target}", file=sys.stderr)


def _default_target(run: Path, format: str) -> Path:
    """RUN.FORMAT beside the run folder.

    Raises:
        RunFolderError: there is no run.
        ConfigError: a file that is no export has this name, such as the run's own benchmark.
    """
    from ttsi.runs.row_export import is_export
    from ttsi.runs.store import holds_run

    if not holds_run(run):
        raise RunFolderError(f"{run} holds no run: `ttsi ls runs` lists those in runs/")
    target = beside(run, f".{format}")
    way_on = f"choose another file with --output (--output {shlex.quote(str(target))} replaces it)"
    check_replaceable(target, lambda path: is_export(path, format), "export", way_on)
    return target
