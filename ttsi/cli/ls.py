"""`ttsi ls`: benchmarks, models, formats, methods, shipped files and runs, one line each; imports no torch."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from ttsi.errors import ConfigError, RunFolderError, unknown_name
from ttsi.plurals import with_noun

KINDS = ("benchmarks", "pools", "models", "formats", "measures", "methods", "examples", "runs")
REFERABLE = {
    "benchmarks": "--benchmark",
    "models": "--model",
    "formats": "--format",
    "measures": "--awareness.measure",
    "methods": "--method",
}
"""Kinds of which a user's own object can be named, and the flag for it."""


def ls(
    kind: Annotated[str, Parameter(help=f"One of: {', '.join(KINDS)}.")] = "",
    /,
    *,
    runs: Path = Path("runs"),
) -> None:
    """List benchmarks, models, methods and other names.

    A run's default name ends with the digest of its settings: equal settings, equal name.

    Args:
        kind: what to list.
        runs: Folder that holds run folders.
    """
    if not kind:
        print("\n".join(f"ttsi ls {name}" for name in KINDS))
        return
    if kind not in KINDS:
        raise ConfigError(unknown_name("list", kind, KINDS))
    entries = _runs(runs) if kind == "runs" else _descriptions(kind)
    width = max((len(name) for name in entries), default=0)
    for name, description in entries.items():
        print(f"{name:<{width}}  {description}")
        if kind == "methods":
            for line in _method_lines(name):
                print(f"{'':<{width}}    {line}")
    if kind in REFERABLE:
        print(f"your own {kind[:-1]} works too: {REFERABLE[kind]} package.module:object", file=sys.stderr)
    if kind == "examples":
        from ttsi.cli.shipped_files import shipped_root

        print(f"these files are in {shipped_root()}; commands find them by these names in any folder", file=sys.stderr)
    if kind == "runs" and not entries:
        print(f"no runs in {runs}; start one with: ttsi run", file=sys.stderr)


def _descriptions(kind: str) -> Mapping[str, str]:
    if kind == "benchmarks":
        from ttsi.benchmarks import BENCHMARKS, FILE_SUMMARY, summaries

        return summaries(BENCHMARKS) | {"FILE.jsonl": FILE_SUMMARY}
    if kind == "pools":
        from ttsi.benchmarks import summaries, training_pools

        return summaries(training_pools.POOLS) | {"FILE.jsonl": training_pools.FILE_SUMMARY}
    if kind == "models":
        from ttsi.models import model_specs

        return model_specs()
    if kind == "formats":
        from ttsi.chat.calls import FORMATS

        return {name: _example_call(format) for name, format in FORMATS.items()}
    if kind == "examples":
        from ttsi.cli.shipped_files import list_files

        return list_files()
    if kind == "methods":
        from ttsi.methods import METHODS

        return {name: method.gloss for name, method in METHODS.items()}
    from ttsi.awareness.measures import MEASURES

    return {name: (measure.__doc__ or "").strip().split("\n")[0] for name, measure in MEASURES.items()}


def _example_call(format: Any) -> str:
    """A call as the model writes it, on one line."""
    from ttsi.types import ToolCall

    return " ".join(format.render([ToolCall("get_weather", {"city": "Oslo"})]).split())


def _method_lines(method: str) -> Iterator[str]:
    """The defaults that a method changes, and which values are others for the embedded model."""
    from ttsi.cli.config_layers import method_changes, method_preset, stage_settings

    changes = method_changes(method, "hf:OWNER/NAME")
    embedded, own = (stage_settings(method_preset(method, model)) for model in ("embedded", "hf:OWNER/NAME"))
    other = {name: value for name, value in embedded.items() if value != own[name]}
    for how, values in (("sets", changes), ("with the embedded model:", other)):
        if values:
            yield f"{how} {', '.join(f'{name} {value}' for name, value in values.items())}"


def _runs(folder: Path) -> dict[str, str]:
    from ttsi.runs.store import holds_run

    if not folder.is_dir():
        return {}
    folders = sorted(entry for entry in folder.iterdir() if holds_run(entry))
    return {entry.name: _describe(entry) for entry in folders}


def _describe(folder: Path) -> str:
    from ttsi.runs.store import read_json

    if not (folder / "summary.json").is_file():
        return f"unfinished; continue with: ttsi run --resume --output-dir {shlex.quote(str(folder))}"
    try:
        summary = read_json(folder / "summary.json")
    except RunFolderError as error:
        return str(error)
    scores = [
        f"{side} {summary[side]['score']:.1f} %"
        for side in ("base", "adapted")
        if summary[side] is not None and summary[side]["score"] is not None
    ]
    graded = summary["metrics"]["graded"]
    of = [f"{graded} graded"] if scores and graded < summary["n"] else []
    return ", ".join([with_noun(summary["n"], "input"), *of, *scores])
