"""Recipes for tau, read off a finished run: `--tau quantile:0.4:RUN` and others.

Inputs: a recipe, the settings of the coming run, its number of inputs. Outputs: a number. The formulas are in
`ttsi.awareness.threshold`. This module reads the recorded measures (and grades) of a run folder, and refuses a run
whose measures are other numbers: made with another model, other candidates, or answers decoded in another way. Use a
run of validation data; a run of the same inputs does for a quantile or a budget, which need no grade. A risk needs the
grade of every input: those with gold need not be like the others, and the promise would hold for their like alone.
The paper (arXiv:2510.07841) sets 0.95 and calls a learned threshold open.
"""

from __future__ import annotations

import math
from dataclasses import asdict

from ttsi.config import AnswerConfig, AwarenessConfig
from ttsi.errors import ConfigError, unknown_name
from ttsi.plurals import plural, with_noun
from ttsi.record import Run

RECIPES = {
    "quantile": "quantile:0.4:RUN adapts on the 40 % of inputs with the lowest values",
    "budget": "budget:100:RUN adapts on about 100 inputs of the coming run",
    "conformal-share": "conformal-share:0.4:RUN adapts on at most 40 % in expectation, whatever the sample's size",
    "conformal-risk": "conformal-risk:0.05:RUN lets at most 5 % of all inputs be wrong and sure, in expectation",
}

MEASURED_WITH = ("candidates", "no_tool")
"""Settings of stage H that measures depend on."""


def is_recipe(text: str) -> bool:
    """Whether a text is a recipe and not a number."""
    return ":" in text


def tau_from_run(
    recipe: str, awareness: AwarenessConfig, answer: AnswerConfig, inputs: int | None = None, model: str | None = None
) -> float:
    """The tau that a recipe means.

    Args:
        recipe: "NAME:NUMBER:RUN".
        awareness: how the coming run measures; its measure's values are compared with tau.
        answer: how it answers.
        inputs: how many inputs the coming run has; only a budget needs it.
        model: the spec of the model that answers; None when it is not given yet.

    Raises:
        ConfigError: the recipe cannot be read, or the run lacks what it needs.
        RunFolderError: there is no such run.
    """
    from ttsi.awareness import threshold
    from ttsi.runs.reading import load_run

    name, number, folder = _parse_recipe(recipe)
    run = load_run(folder)
    _check_same_measures(folder, run, awareness, answer, model)
    values, right = _values_and_verdicts(folder, run, awareness.measure)
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
            have = plural(right.count(None), "has", "have")
            raise ValueError(
                f"{right.count(None)} of {with_noun(len(right), 'input')} of {folder} {have} no gold, and a risk holds "
                "for inputs like those that were graded: make RUN from a file in which every row has gold"
            )
        return threshold.conformal_risk(values, [bool(verdict) for verdict in right], number)
    except ValueError as error:
        raise ConfigError(f"--tau {recipe}: {error}") from None


def _parse_recipe(recipe: str) -> tuple[str, float, str]:
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


def _check_same_measures(
    folder: str, run: Run, awareness: AwarenessConfig, answer: AnswerConfig, model: str | None
) -> None:
    loop = run.config.loop
    pairs = {f"awareness.{name}": (getattr(loop.awareness, name), getattr(awareness, name)) for name in MEASURED_WITH}
    pairs |= {f"answer.{name}": (getattr(loop.answer, name), value) for name, value in asdict(answer).items()}
    if model is not None:
        pairs["model"] = (run.config.model, model)
    for name, (recorded, coming) in pairs.items():
        if recorded != coming:
            raise ConfigError(
                f"--tau ...:{folder}: that run has {name} {recorded}, this one {coming}, so their measures are not the "
                "same numbers: make RUN with this one's settings, or give tau as a number"
            )


def _values_and_verdicts(folder: str, run: Run, measure: str) -> tuple[list[float], list[bool | None]]:
    """The measure's values in a run, and whether the base was right."""
    pairs = [(row.measure(measure), row.right("base", run.data.matcher)) for row in run.rows]
    values = [value for value, _ in pairs if value is not None]
    if not values:
        raise ConfigError(f"{folder} has no values of {measure}: choose another run, or --awareness.measure")
    return values, [right for value, right in pairs if value is not None]
