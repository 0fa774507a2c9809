"""Where does the value of a knob come from?

Flags > TTSI_* environment > YAML file > preset of the method > defaults. Inputs: what cyclopts parsed. Outputs: the
same arguments, completed tier by tier; each tier only fills what nobody before it set, so a knob that the user set
always beats the method's preset. The knobs are the dataclasses of `ttsi.config`; nothing is listed twice.
"""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from cyclopts import App, ArgumentCollection, CycloptsError, Parameter
from cyclopts.config import Dict, Env, Yaml

from ttsi.cli.help import ADAPTATION, ANSWER, AWARENESS, BASIC, MACHINE, SYNTHESIS, TEACHER, TRAINING
from ttsi.cli.shipped import resolved
from ttsi.cli.tau import RECIPES, is_recipe, tau_from_run
from ttsi.config import (
    AdaptationConfig,
    AnswerConfig,
    AwarenessConfig,
    LoopConfig,
    SynthesisConfig,
    TeacherConfig,
    check,
)
from ttsi.errors import ConfigError
from ttsi.methods import overrides, preset

Switch = Annotated[bool, Parameter(negative="")]
"""A flag without a --no- form."""

Device = Annotated[str, Parameter(group=MACHINE, help="auto, cpu, cuda, cuda:1, mps.")]
Dtype = Annotated[str, Parameter(group=MACHINE, help="auto, float32, bfloat16, float16; auto is what is fastest here.")]
FormatName = Annotated[
    str | None,
    Parameter(group=ANSWER, help="Tool-call format to speak (`ttsi ls formats`), instead of what the handshake finds."),
]
"""Arguments that several verbs have."""

PLACES = frozenset({"--model", "--data", "--device", "--dtype", "--format", "--batch-size", "--num-workers", "--ray"})
"""What the environment may say beside the knobs: where things are and how much the machine can hold."""

SHORT = {"--tau": "--awareness.tau", "--k": "--synthesis.k", "--decoding": "--answer.decoding"}
"""Short names of knobs."""


@Parameter(name="*")
@dataclass(frozen=True)
class Knobs:
    """Every knob of the method; the same for all verbs."""

    method: Annotated[str, Parameter(group=BASIC)] = "ttsi"
    """How to improve (ttsi ls methods). It sets what you do not set."""
    tau: Annotated[str | None, Parameter(group=AWARENESS)] = None
    """Short for --awareness.tau; or found on a finished run (recorded measures, e.g. of validation data):
    quantile:SHARE:RUN, budget:UPDATES:RUN, conformal-share:SHARE:RUN, conformal-risk:RISK:RUN."""
    k: Annotated[int | None, Parameter(group=SYNTHESIS)] = None
    """Short for --synthesis.k."""
    decoding: Annotated[Literal["free", "constrained"] | None, Parameter(group=ANSWER)] = None
    """Short for --answer.decoding."""
    teacher: Annotated[str | None, Parameter(group=TEACHER)] = None
    """Who writes the examples instead of the model: openai:NAME, or any model spec (methods ttd and ttd-icl)."""
    teacher_budget: Annotated[str | None, Parameter(group=TEACHER)] = None
    """The most that a teacher behind an endpoint may take: 200000tokens, 2.50usd, or both with a comma."""
    teacher_price: Annotated[str | None, Parameter(group=TEACHER)] = None
    """Its dollars per million tokens read and written, like 0.25,2.00."""
    teacher_cache: Annotated[Path, Parameter(group=TEACHER)] = TeacherConfig.cache
    """The file of its replies, so that nothing is paid for twice."""
    train_data: Annotated[str | None, Parameter(group=TRAINING)] = None
    """What icl and sft learn from: a .jsonl file with gold, or a benchmark's name (NAME or NAME:SPLIT)."""
    train_limit: Annotated[int | None, Parameter(group=TRAINING)] = None
    """Only so many rows of it, drawn by the seed."""
    seed: Annotated[int, Parameter(group=BASIC)] = 0
    """Seed of the run; every stage of every input derives its own from it."""
    awareness: Annotated[AwarenessConfig, Parameter(group=AWARENESS)] = field(default_factory=AwarenessConfig)
    synthesis: Annotated[SynthesisConfig, Parameter(group=SYNTHESIS)] = field(default_factory=SynthesisConfig)
    adaptation: Annotated[AdaptationConfig, Parameter(group=ADAPTATION)] = field(default_factory=AdaptationConfig)
    answer: Annotated[AnswerConfig, Parameter(group=ANSWER)] = field(default_factory=AnswerConfig)
    config: Annotated[Path | None, Parameter(group=BASIC)] = None
    """A YAML file with values for any of these, e.g. "awareness: {tau: 0.9}"."""

    def loop(self, inputs: int | None = None, model: str | None = None) -> LoopConfig:
        """The settings for `ttsi.improve`.

        Args:
            inputs: how many inputs there will be, where that is known; a budget of updates needs it.
            model: what will answer; a tau found on a run of another one is refused.

        Raises:
            ConfigError: there is no such method or measure, a number is out of its range, or tau cannot be found
                that way.
        """
        from ttsi.awareness.measures import find_measure, upper_bound
        from ttsi.batch import check_references

        found = replace(
            preset(self.method),
            awareness=self._awareness(inputs, model),
            synthesis=self.synthesis,
            adaptation=self.adaptation,
            answer=self.answer,
            seed=self.seed,
        )
        check(found)
        check_references(found)
        if upper_bound(find_measure(self.awareness.measure)) <= 0 < found.awareness.tau < math.inf:
            name, tau = found.awareness.measure, found.awareness.tau
            hint = f"{name} is never above 0, so a tau of {tau:g} calls every input unsure; 0.95 belongs to the margin"
            print(f"ttsi: {hint} (--awareness.measure margin)", file=sys.stderr)
        return found

    def teaching(self) -> TeacherConfig:
        """What may be asked of a teacher behind an endpoint."""
        return TeacherConfig(budget=self.teacher_budget, price=self.teacher_price, cache=self.teacher_cache)

    def _awareness(self, inputs: int | None, model: str | None) -> AwarenessConfig:
        if self.tau is None or not is_recipe(self.tau):
            return self.awareness
        return replace(self.awareness, tau=tau_from_run(self.tau, self.awareness, self.answer, inputs, model))


def sources() -> list[Any]:
    """The tiers below the flags, in order, for `cyclopts.App(config=...)`."""
    return [_unfold, _environment, _unfold, _yaml, _unfold, _preset]


def _environment(app: App, commands: tuple[str, ...], arguments: ArgumentCollection) -> None:
    """TTSI_... for knobs, and for what belongs to the machine; never for what one command reads, writes or deletes."""
    knobs = {f"--{field.name.replace('_', '-')}" for field in fields(Knobs)}
    meant = arguments.filter_by(parse=True)
    meant[:] = [one for one in meant if one.name.partition(".")[0] in knobs | PLACES]
    Env("TTSI_", command=False)(app, commands, meant)


def _unfold(app: App, commands: tuple[str, ...], arguments: ArgumentCollection) -> None:
    """Give a short name's value to the knob it stands for, unless a higher tier has set that one."""
    named = {argument.name: argument for argument in arguments}
    for short, long in SHORT.items():
        if short not in named or not named[short].tokens:
            continue
        given, meant = named[short].tokens, named[long].tokens
        if short == "--tau":
            if is_recipe(given[0].value):
                continue  # worked out when everything else is known (Knobs.loop)
            _check_number(given[0].value)
        if not meant:
            for token in given:
                named[long].append(token)
        elif meant[0].source == given[0].source and meant[0].value != given[0].value:
            raise ConfigError(f"{short} and {long} are the same knob and differ: give one of them")


def _check_number(tau: str) -> None:
    try:
        float(tau)
    except ValueError:
        ways = ", ".join(f"{name}:NUMBER:RUN" for name in RECIPES)
        raise ConfigError(f"--tau {tau}: write a number, or how to find one on a finished run: {ways}") from None


def _yaml(app: App, commands: tuple[str, ...], arguments: ArgumentCollection) -> None:
    """The file that --config (or TTSI_CONFIG) names."""
    given = _value(arguments, "--config")
    if given is None:
        return
    path = resolved(Path(given))
    if not path.is_file():
        raise ConfigError(f"--config {path}: there is no such file")
    try:
        yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{path}, line {mark.line + 1}" if mark else str(path)
        raise ConfigError(f"{where}: no YAML: {getattr(error, 'problem', None) or error}") from None
    try:
        Yaml(path, must_exist=True, use_commands_as_keys=False, source=str(path))(app, commands, arguments)
    except CycloptsError as error:
        # Its own message comes in several lines and forms; the file's name must be in it.
        text = " ".join(str(error).split()).removeprefix(f"{type(error).__name__} ")
        raise ConfigError(text if str(path) in text else f"{path}: {text}") from None


def _preset(app: App, commands: tuple[str, ...], arguments: ArgumentCollection) -> None:
    """What the method says about knobs that nobody set, for the model that answers."""
    if not any(argument.name == "--method" for argument in arguments):
        return
    method = _value(arguments, "--method") or Knobs.method
    values = overrides(method, _value(arguments, "--model") or "embedded")
    if values:
        Dict(values, use_commands_as_keys=False, source=f"method {method}")(app, commands, arguments)


def _value(arguments: ArgumentCollection, name: str) -> str | None:
    """What was given for a name so far."""
    for argument in arguments:
        if argument.name == name and argument.tokens:
            return argument.tokens[0].value
    return None
