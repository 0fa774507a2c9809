"""Flags that several verbs share, and the last step from parsed flags to complete settings.

cyclopts parses `RunConfig` and `MethodConfig` themselves, so no setting is listed twice. This module adds short names,
and what only a command can work out, such as a tau chosen from another run.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Literal, TypeVar

from cyclopts import Parameter

from ttsi.cli.config_layers import method_preset
from ttsi.cli.option_groups import ANSWER, AWARENESS, BASIC, FOLDER, MACHINE, OUTPUT, SYNTHESIS, TEACHER
from ttsi.cli.shipped_files import find_file
from ttsi.cli.tau import is_recipe, tau_from_run
from ttsi.config import LoopConfig, MethodConfig, TeacherConfig, check

InBasic = Parameter(name="*", group=BASIC)
"""For a dataclass whose fields are flags; those without a group of their own stand under Basic."""

Switch = Annotated[bool, Parameter(negative="")]
"""A flag without a --no- form."""
FolderSwitch = Annotated[bool, Parameter(negative="", group=FOLDER)]
OutputSwitch = Annotated[bool, Parameter(negative="", group=OUTPUT)]
OutputDir = Annotated[Path | None, Parameter(group=FOLDER)]
Device = Annotated[str, Parameter(group=MACHINE, help="auto, cpu, cuda, cuda:1, mps.")]
Dtype = Annotated[
    str,
    Parameter(
        group=MACHINE,
        help="auto (the fastest here), float32, bfloat16, float16; int8 keeps weights in half the memory of bfloat16.",
    ),
]
ModelSpec = Annotated[
    str,
    Parameter(
        group=BASIC,
        help="The model that answers (ttsi ls models): embedded, smollm2, a folder, FILE.gguf, hf:OWNER/NAME.",
    ),
]
FormatName = Annotated[
    str | None,
    Parameter(
        group=ANSWER,
        help="Tool-call format of the model (ttsi ls formats), instead of the one that its chat template uses.",
    ),
]


@Parameter(name="*")
@dataclass(frozen=True)
class Shortcuts:
    """Short names of settings, and the file of settings."""

    config: Annotated[Path | None, Parameter(group=BASIC)] = None
    """A YAML file with values for any of these settings, e.g. "awareness: {tau: 0.9}"."""
    tau: Annotated[str | None, Parameter(group=AWARENESS)] = None
    """Short for --awareness.tau. Or choose tau from the confidences recorded in a finished run (of validation data):
    quantile:SHARE:RUN, budget:UPDATES:RUN, conformal-share:SHARE:RUN, conformal-risk:RISK:RUN."""
    k: Annotated[int | None, Parameter(group=SYNTHESIS)] = None
    """Short for --synthesis.k."""
    decoding: Annotated[Literal["free", "constrained"] | None, Parameter(group=ANSWER)] = None
    """Short for --answer.decoding."""


@Parameter(name="*", group=TEACHER)
@dataclass(frozen=True)
class TeacherCosts:
    """What a teacher's replies cost and where they are kept; neither changes a result."""

    teacher_price: str | None = None
    """The teacher's price in dollars per million tokens of input and of output, like 0.25,2.00."""
    teacher_cache: Path = TeacherConfig.cache
    """File that keeps the teacher's replies, so that no reply is paid for twice."""

    def teacher_config(self, budget: str | None) -> TeacherConfig:
        """The limits and costs of a teacher behind an endpoint."""
        return TeacherConfig(budget=budget, price=self.teacher_price, cache=self.teacher_cache)


Config = TypeVar("Config", bound=MethodConfig)


def complete(config: Config, shortcuts: Shortcuts, model: str, inputs: Callable[[], int] | None = None) -> Config:
    """The settings with everything that a command can work out, checked.

    Args:
        config: the parsed settings.
        shortcuts: the parsed short names; `tau` may name a finished run.
        model: the model that answers; a tau from a run of another model is refused.
        inputs: counts the inputs to come, where that can be known; only a budget of updates asks.

    Raises:
        ConfigError: there is no such method or measure, a value is out of range, or tau cannot be chosen that way.
    """
    from ttsi.awareness.measures import find_measure, upper_bound
    from ttsi.batch import check_references

    loop = config.loop
    awareness = loop.awareness
    if shortcuts.tau is not None and is_recipe(shortcuts.tau):
        coming = inputs() if inputs is not None and shortcuts.tau.startswith("budget:") else None
        awareness = replace(awareness, tau=tau_from_run(shortcuts.tau, awareness, loop.answer, coming, model))
    loop = _with_prompt(replace(loop, awareness=awareness, adapt=method_preset(config.method, model).adapt))
    check(loop)
    check_references(loop)
    if upper_bound(find_measure(awareness.measure)) <= 0 < awareness.tau < math.inf:
        print(
            f"ttsi: {awareness.measure} is never above 0, so tau {awareness.tau:g} makes every input unsure; "
            "0.95 is a value for the margin (--awareness.measure margin)",
            file=sys.stderr,
        )
    return replace(config, loop=loop)


def _with_prompt(loop: LoopConfig) -> LoopConfig:
    """The synthesis prompt's file, found in the current folder or among the shipped files."""
    prompt = loop.synthesis.prompt
    return loop if prompt is None else replace(loop, synthesis=replace(loop.synthesis, prompt=find_file(prompt)))
