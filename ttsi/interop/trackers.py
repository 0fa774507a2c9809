"""Experiment trackers: a finished run in trackio or wandb.

Inputs: a run folder, a tracker (trackio or wandb, which share one way of being called) and the name of a project.
Outputs: one run of that tracker, with the settings as its config, the scores as they grew with the inputs as its
curves, and the metrics of summary.json at its end. Off unless asked for, after the run, and from its record alone, so
that no result depends on a tracker and a failed upload can be repeated.

trackio writes below ~/.cache/huggingface/trackio unless its own variables name another folder; wandb uploads.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

from ttsi.errors import ConfigError, TTSIError, on_one_line
from ttsi.runs.folder import read_json, recorded_settings
from ttsi.runs.store import each_row
from ttsi.runs.tally import RunProgress, Tally

TRACKERS = ("trackio", "wandb")
POINTS = 200
"""Points of a curve at most; a tracker needs no more to draw it, however long the run was."""


def track(folder: Path, tracker: str, project: str) -> int:
    """Hand a run over, under the name of its folder.

    Returns:
        The number of rows.

    Raises:
        RunFolderError: there is no run, it is not finished, or it is damaged.
        ConfigError: the tracker is not installed.
        TTSIError: the tracker refused.
    """
    summary, config = read_json(folder / "summary.json"), read_json(folder / "config.json")
    seed = recorded_settings(folder)["loop"]["seed"]
    try:
        module = import_module(tracker)
    except ImportError:
        install = "pip install 'ttsi[track]'" if tracker == "trackio" else f"pip install {tracker}"
        raise ConfigError(f"{tracker} is not installed: {install}") from None
    try:
        module.init(project=project, name=folder.resolve().name, config=config)
        for step, point in curve(folder, summary["n"], config["data"]["matcher"], seed):
            module.log(point, step=step)
        module.log(final(summary), step=summary["n"])
        module.finish()
    except Exception as error:  # a tracker may raise anything; its user gets one line
        raise TTSIError(f"{tracker} did not take the run: {on_one_line(error)}") from error
    return int(summary["n"])


def curve(folder: Path, n: int, matcher: str, seed: int) -> Iterator[tuple[int, dict[str, float]]]:
    """(Number of inputs, scores over them), in the benchmark's order; the last point is the summary.

    Args:
        folder: the run.
        n: its number of inputs.
        matcher: the headline's rule.
        seed: of the run, which the summary's intervals are drawn with.
    """
    tally, points = Tally(n, matcher, seed), min(POINTS, n)
    wanted = {(at + 1) * n // points for at in range(points)} if points else set()
    for step, row in enumerate(each_row(folder), 1):
        tally.add(row)
        if step in wanted:
            yield step, _point(tally.progress())


def _point(state: RunProgress) -> dict[str, float]:
    point = {"unsure": 100 * state.unsure / state.done, "failed": float(state.errors)}
    if result := state.gain():
        gain, interval = result
        point |= {
            "score/base": 100 * state.base_right / state.graded,
            "score/adapted": 100 * state.adapted_right / state.graded,
            "gain": gain, "fixed": float(state.fixed), "broken": float(state.broken),
        }  # fmt: skip
        if interval is not None:
            point |= {"gain/low": interval.low, "gain/high": interval.high}
    return point


def final(summary: Mapping[str, Any]) -> dict[str, float]:
    """The numbers of summary.json, each under its own name."""
    numbers = {f"final/{name}": value for name, value in summary["metrics"].items()}
    numbers |= {f"seconds/{stage}": value for stage, value in summary["seconds"].items()}
    numbers["samples_trained"] = summary["samples_trained"]
    return {name: float(value) for name, value in numbers.items() if value is not None}
