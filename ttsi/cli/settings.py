"""Flags that several verbs share, and the last step from parsed flags to complete settings.

cyclopts parses `RunConfig`, `MethodConfig` and `LoopConfig` themselves, so no setting is listed twice: this module adds
the groups of the help page, the short names, and what only a command can work out, such as a tau read off another run.
"""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, get_type_hints

from cyclopts import Group, Parameter

from ttsi.cli.config_layers import method_preset
from ttsi.cli.shipped_files import find_file
from ttsi.cli.tau import is_recipe, tau_from_run
from ttsi.config import LoopConfig, MethodConfig, RunConfig, TeacherConfig, check
from ttsi.object_reference import resolve

BASIC = Group("Basic", sort_key=0)
AWARENESS = Group("Awareness", help="Stage 1: how confident is the model?", sort_key=1)
SYNTHESIS = Group("Synthesis", help="Stage 2: write similar examples.", sort_key=2)
ADAPTATION = Group("Adaptation", help="Stage 3: train a temporary adapter on them.", sort_key=3)
ANSWER = Group("Answer", help="How the model answers, before and after adaptation.", sort_key=4)
TEACHER = Group("Teacher", help="Another model that writes the examples (methods ttd and ttd-icl).", sort_key=5)
TRAINING = Group("Training data", help="What the methods icl and sft learn from.", sort_key=6)
FOLDER = Group("Run folder", sort_key=7)
ACCESS = Group("Access", help="Who may use the server.", sort_key=8)
LIMITS = Group("Limits", help="Limits per request, per key and for the whole server.", sort_key=9)
MACHINE = Group("Machine", help="Where the work is done.", sort_key=10)
OUTPUT = Group("Output", sort_key=11)


def _annotate(config: type, **parameters: Parameter) -> None:
    """Add cyclopts' parameters to fields, as if their types named them: `ttsi.config` knows no command line."""
    hints = get_type_hints(config, include_extras=True)
    config.__annotations__.update({name: Annotated[hints[name], extra] for name, extra in parameters.items()})


_annotate(
    LoopConfig,
    awareness=Parameter(group=AWARENESS),
    synthesis=Parameter(group=SYNTHESIS),
    adaptation=Parameter(group=ADAPTATION),
    answer=Parameter(group=ANSWER),
    adapt=Parameter(parse=False),
)
_annotate(
    MethodConfig,
    loop=Parameter(name="*"),
    teacher=Parameter(group=TEACHER),
    teacher_budget=Parameter(group=TEACHER),
    train_data=Parameter(group=TRAINING),
    train_limit=Parameter(group=TRAINING),
)
_annotate(RunConfig, format=Parameter(group=ANSWER), batch_size=Parameter(group=MACHINE))

InBasic = Parameter(name="*", group=BASIC)
"""For a dataclass whose fields are flags; those without a group of their own stand under Basic."""

Switch = Annotated[bool, Parameter(negative="")]
"""A flag without a --no- form."""
Device = Annotated[str, Parameter(group=MACHINE, help="auto, cpu, cuda, cuda:1, mps.")]
Dtype = Annotated[str, Parameter(group=MACHINE, help="auto (the fastest here), float32, bfloat16, float16.")]
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


def complete(config: Config, shortcuts: Shortcuts, model: str, inputs: int | None = None) -> Config:
    """The settings with everything that a command can work out, checked.

    Args:
        config: the parsed settings.
        shortcuts: the parsed short names; `tau` may name a finished run.
        model: the model that answers; a tau from a run of another model is refused.
        inputs: the number of inputs to come, where it is known; a budget of updates needs it.

    Raises:
        ConfigError: there is no such method or measure, a value is out of range, or tau cannot be chosen that way.
    """
    from ttsi.awareness.measures import MEASURES, NEVER_ABOVE_ZERO

    loop = config.loop
    resolve("measure", loop.awareness.measure, MEASURES)
    awareness = loop.awareness
    if shortcuts.tau is not None and is_recipe(shortcuts.tau):
        awareness = replace(awareness, tau=tau_from_run(shortcuts.tau, awareness, loop.answer, inputs, model))
    loop = replace(loop, awareness=awareness, adapt=method_preset(config.method, model).adapt)
    check(loop)
    if awareness.measure in NEVER_ABOVE_ZERO and 0 < awareness.tau < math.inf:
        print(
            f"ttsi: {awareness.measure} is never above 0, so tau {awareness.tau:g} makes every input uncertain; "
            "0.95 is a value for the margin (--awareness.measure margin)",
            file=sys.stderr,
        )
    return replace(config, loop=_with_prompt(loop))


def _with_prompt(loop: LoopConfig) -> LoopConfig:
    """The synthesis prompt's file, found in the current folder or among the shipped files."""
    prompt: Any = getattr(loop.synthesis, "prompt", None)
    return loop if prompt is None else replace(loop, synthesis=replace(loop.synthesis, prompt=find_file(Path(prompt))))  # type: ignore[call-arg]
