"""How is tau found on a finished run? `--tau quantile:0.4:RUN` and its sisters.

Inputs: a recipe, the settings of the coming run, how many inputs are to come. Outputs: a number. The maths is in
`ttsi.awareness.threshold`; this module only reads the recorded measures (and grades) of a run folder, and refuses one
whose measures are other numbers: made with another model, other candidates, or answers decoded in another way. The run
should be one of validation data; a run of the same inputs does for a quantile or a budget, which look at no grade.
The paper (arXiv:2510.07841) sets 0.95 and calls a learned threshold open.
"""

from __future__ import annotations

import math
from dataclasses import asdict
from pathlib import Path

from ttsi.config import AnswerConfig, AwarenessConfig
from ttsi.errors import ConfigError, unknown_name

RECIPES = {
    "quantile": "quantile:0.4:RUN adapts on the 40 % of inputs with the lowest values",
    "budget": "budget:100:RUN adapts on about 100 inputs of the coming run",
    "conformal-share": "conformal-share:0.4:RUN adapts on at most 40 % in expectation, whatever the sample's size",
    "conformal-risk": "conformal-risk:0.05:RUN lets at most 5 % of all inputs be wrong and sure, in expectation",
}

MEASURED_WITH = ("candidates", "no_tool")
"""Settings of stage H that measures depend on."""


def is_recipe(text: str) -> bool:
    """Is this no number, but a way to find one?"""
    return ":" in text


def tau_from_run(
    recipe: str, awareness: AwarenessConfig, answer: AnswerConfig, inputs: int | None = None, model: str | None = None
) -> float:
    """The tau that a recipe means.

    Args:
        recipe: "NAME:NUMBER:RUN".
        awareness: how the coming run measures; its measure's values are compared with tau.
        answer: how it answers.
        inputs: how many inputs the coming run has; only a budget asks.
        model: what answers; None when that is not known.

    Raises:
        ConfigError: the recipe cannot be read, or the run does not say enough.
        RunFolderError: there is no such run.
    """
    from ttsi.awareness import threshold

    name, number, folder = _parts(recipe)
    _check_alike(Path(folder), awareness, answer, model)
    values, right = _recorded(Path(folder), awareness.measure)
    try:
        if name == "quantile":
            return threshold.tau_for_share(values, number)
        if name == "budget":
            if not inputs:
                raise ValueError("a budget needs to know how many inputs are to come")
            return threshold.tau_for_share(values, min(1.0, number / inputs))
        if name == "conformal-share":
            return threshold.conformal_share(values, number)
        if None in right:
            raise ValueError("the run has inputs without gold, and a risk is counted in right and wrong")
        return threshold.conformal_risk(values, [bool(verdict) for verdict in right], number)
    except ValueError as error:
        raise ConfigError(f"--tau {recipe}: {error}") from None


def _parts(recipe: str) -> tuple[str, float, str]:
    name, _, rest = recipe.partition(":")
    if name not in RECIPES:
        raise ConfigError(unknown_name("way to find tau", name, RECIPES))
    number, _, folder = rest.partition(":")
    try:
        value = float(number)
    except ValueError:
        value = math.nan
    if not folder or math.isnan(value):
        raise ConfigError(f"--tau {recipe}: write {RECIPES[name].partition(' ')[0]}, RUN being a run folder")
    return name, value, folder


def _check_alike(folder: Path, awareness: AwarenessConfig, answer: AnswerConfig, model: str | None) -> None:
    from ttsi.runs.store import read_json

    settings = read_json(folder / "config.json")["settings"]
    loop = settings["loop"]
    pairs = {f"awareness.{name}": (loop["awareness"][name], getattr(awareness, name)) for name in MEASURED_WITH}
    recorded = {**asdict(AnswerConfig()), **loop["answer"]}  # a run that is older than a setting had its default
    pairs |= {f"answer.{name}": (recorded[name], value) for name, value in asdict(answer).items()}
    if model is not None:
        pairs["model"] = (settings["model"], model)
    for name, (there, here) in pairs.items():
        if there != here:
            raise ConfigError(
                f"--tau ...:{folder}: that run has {name} {there}, this one {here}, so their measures are not the same "
                "numbers: make RUN with this one's settings, or give tau as a number"
            )


def _recorded(folder: Path, measure: str) -> tuple[list[float], list[bool | None]]:
    """The measure's values in a run, and whether the base was right."""
    from ttsi.runs.store import read_json, read_rows

    matcher = read_json(folder / "config.json").get("data", {}).get("matcher", "strict")
    values: list[float] = []
    right: list[bool | None] = []
    for row in read_rows(folder):
        known = row.episode.awareness
        value = None if known is None else known.measures.get(measure)
        if value is not None and not math.isnan(value):
            values.append(value)
            right.append(None if row.grades is None else row.grades[matcher]["base"])
    if not values:
        raise ConfigError(f"{folder} has no values of {measure}: choose another run, or --awareness.measure")
    return values, right
