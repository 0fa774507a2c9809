"""What is there? Benchmarks, models, formats, methods, shipped files, runs: one line each, without importing torch."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from ttsi.errors import ConfigError, RunFolderError, unknown_name

KINDS = ("benchmarks", "pools", "models", "formats", "measures", "methods", "examples", "runs")


def ls(
    kind: Annotated[str, Parameter(help=f"One of: {', '.join(KINDS)}.")] = "",
    /,
    *,
    runs: Path = Path("runs"),
) -> None:
    """List benchmarks, training pools, models, tool-call formats, measures, methods, shipped files or runs.

    The last part of a run's default name is the digest of its settings: equal settings, equal name.

    Args:
        kind: what to list.
        runs: the folder that holds run folders.
    """
    if not kind:
        print("\n".join(f"ttsi ls {name}" for name in KINDS))
        return
    if kind not in KINDS:
        raise ConfigError(unknown_name("list", kind, KINDS))
    found = _runs(runs) if kind == "runs" else _known(kind)
    width = max((len(name) for name in found), default=0)
    for name, gloss in found.items():
        print(f"{name:<{width}}  {gloss}")
        if kind == "methods":
            for sets in _sets(name):
                print(f"{'':<{width}}    {sets}")
    if kind == "examples":
        from ttsi.cli.shipped import root

        print(f"they lie in {root()} and are found by these names from any folder", file=sys.stderr)
    if kind == "runs" and not found:
        print(f"no runs in {runs}; make one with: ttsi run", file=sys.stderr)


def _known(kind: str) -> Mapping[str, str]:
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

        return {name: _gloss_of_format(one) for name, one in FORMATS.items()}
    if kind == "examples":
        from ttsi.cli.shipped import listed

        return listed()
    if kind == "methods":
        from ttsi.methods import METHODS

        return {name: method.gloss for name, method in METHODS.items()}
    from ttsi.awareness.measures import MEASURES

    return {name: (measure.__doc__ or "").strip().split("\n")[0] for name, measure in MEASURES.items()}


def _gloss_of_format(one: Any) -> str:
    """A call as the model writes it, on one line."""
    from ttsi.types import ToolCall

    return " ".join(one.render([ToolCall("get_weather", {"city": "Oslo"})]).split())


def _sets(method: str) -> list[str]:
    """What a method changes in the defaults that --help shows, and what of it is another for a model of your own."""
    from ttsi.methods import overrides

    def flat(model: str | None) -> dict[str, object]:
        stages = overrides(method, model).items()
        return {f"{stage}.{knob}": value for stage, knobs in stages for knob, value in knobs.items()}

    chosen, elsewhere = flat("embedded"), flat(None)
    other = {name: value for name, value in elsewhere.items() if value != chosen[name]}
    lines = {"sets": chosen, "with a model of your own": other}
    return [f"{how} {', '.join(f'{k} {v}' for k, v in knobs.items())}" for how, knobs in lines.items() if knobs]


def _runs(folder: Path) -> dict[str, str]:
    if not folder.is_dir():
        return {}
    found = sorted(entry for entry in folder.iterdir() if (entry / "config.json").is_file())
    return {entry.name: _describe(entry) for entry in found}


def _describe(folder: Path) -> str:
    from ttsi.runs.store import read_json

    if not (folder / "summary.json").is_file():
        return "unfinished; go on with --resume"
    try:
        summary = read_json(folder / "summary.json")
    except RunFolderError as error:
        return str(error)
    scores = [
        f"{side} {summary[side]['score']:.1f} %"
        for side in ("base", "adapted")
        if summary[side] is not None and summary[side]["score"] is not None
    ]
    return ", ".join([f"{summary['n']} inputs", *scores])
