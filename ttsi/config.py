"""Which knobs are there, and what are they set to by default?

One frozen dataclass per stage and `RunConfig` over them. The same objects are the Python arguments, the command's
flags, the keys of a YAML file and the record in a run folder; the line under each field is its help text.

The paper's values (arXiv:2510.07841; `docs/method.md` lists what it leaves open) are the preset `ttsi-paper`; the
preset `ttsi` is what the validation data of toolworld chose for the embedded model. Its gate and its learning rate were
tried with no other: there they are the paper's (`overrides`). A preset is a set of overrides, nothing else.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from ttsi.errors import ConfigError, unknown_name


@dataclass(frozen=True)
class AwarenessConfig:
    """H: is the model sure?"""

    candidates: Literal["calls", "names", "samples"] = "names"
    """What competes: the tools' names (begun calls), the likeliest call of each tool, or calls that were sampled."""
    no_tool: bool = True
    """Let "no tool" compete where the model's format says how it is written."""
    measure: str = "margin"
    """The number that decides (`ttsi ls measures`), or a package.module:function of your own. Larger is more
    confident."""
    tau: float = 0.95
    """Unsure when the measure is below this: the paper's 0.95 for the margin; set it on validation data of yours."""
    gate: Literal["unsure", "sure", "all", "random"] = "unsure"
    """Which inputs are adapted: the unsure ones (the method), or a control."""
    share: float = 0.5
    """With the gate "random": the share of inputs adapted; a run adapts exactly that share, drawn by its seed."""


@dataclass(frozen=True)
class SynthesisConfig:
    """G: write similar examples."""

    source: Literal["writer", "nearest", "random"] = "writer"
    """Examples are written, or taken from the training data: those with the most similar requests, or drawn."""
    k: int = 8
    """Examples wanted per unsure input."""
    order: Literal["call-first", "query-first"] = "call-first"
    """Write the call and then a request for it, or the request and then the call."""
    tools: Literal["round-robin", "likely", "free"] = "round-robin"
    """Which tool an example calls: each in turn from the likeliest, only the likeliest, or the writer's choice."""
    temperature: float = 0.4
    """Sampling temperature."""
    max_tokens: int = 160
    """Longest example, in tokens."""
    max_rounds: int = 2
    """Rounds of writing; a later round only replaces what was refused."""
    schema_grammar: bool = True
    """Let the writer produce only calls that fit the tool's schema (where the model can)."""
    grounded: bool = True
    """Refuse an example whose argument values do not occur in its query."""
    unambiguous: bool = True
    """Refuse an example whose query shares more words with another tool's line than with the called tool's."""
    seed_overlap: float = 1.0
    """Refuse an example whose query shares more than this share of words with the input's request; 1 is off."""
    overlap: float = 1.0
    """Refuse an example whose query shares more than this share of words with one kept before (diversity); 1 is off."""
    round_trip: bool = False
    """Refuse an example when the model that will learn it answers its query with another call."""
    drop_worst: float = 0.0
    """Refuse this share of an input's examples, those that the model finds least likely per character; 0 is off."""
    filter: tuple[str, ...] = ()
    """Example filters of your own, each a package.module:function (docs/extending.md)."""
    prompt: Path | None = None
    """A text file with the prompt for writing an example, in place of the built-in one. Slots: {seed} is the input's
    request (needed), {tool} the tool to call, {tools} all tools as JSON."""


@dataclass(frozen=True)
class AdaptationConfig:
    """T: learn the examples, briefly."""

    method: str = "lora"
    """lora trains a temporary adapter on the examples, in-context puts them in the prompt, both does both. The others
    use no examples: shared is one adapter that learned the training data before the run, vote is a majority vote,
    ask-again shows the model its first answer and asks again. Or a package.module:function of your own."""
    objective: str = "cross-entropy"
    """The training loss: cross-entropy, or a package.module:function of your own that maps the label tokens'
    log-probabilities and their mask, both [batch, tokens], to one loss per row."""
    rank: int = 8
    """LoRA rank."""
    alpha: float = 16.0
    """LoRA alpha; the update is scaled by alpha / rank."""
    lr: float = 3e-3
    """Peak learning rate. A method sets it by the model: 1e-4 as in the paper, more for the tiny embedded one."""
    epochs: int = 5
    """Passes over the examples."""
    batch_size: int = 0
    """Examples per optimizer step; 0 means all of an input's examples at once."""
    irrelevance: int = 0
    """This many of an input's examples are learned once more with the called tool off the list, where the right answer
    is that no tool fits: whoever learns nothing but calls learns to call."""
    warmup_ratio: float = 0.03
    """Share of the steps with a rising learning rate."""
    schedule: Literal["cosine", "linear", "constant"] = "cosine"
    """How the learning rate falls after the warm-up."""
    warmup_from_zero: bool = False
    """Give the first warm-up step learning rate 0, as Hugging Face schedules do."""
    weight_decay: float = 0.0
    """AdamW weight decay."""
    max_grad_norm: float = 1.0
    """Gradient clipping per adapter; 0 turns it off."""
    max_loss_rise: float = 0.2
    """Guard: reject the adapter when the last loss is above the first by this share."""
    min_confidence_gain: float | None = None
    """Guard: take the new answer only when the model is surer of it than the base of its own, by more than this many
    nats per token; 0 keeps most of what adapting would break (dev/log.md). None takes every new answer, as the paper
    does."""


@dataclass(frozen=True)
class AnswerConfig:
    """Say it. The same for base and adapted, always."""

    decoding: Literal["free", "constrained"] = "constrained"
    """Constrained: only calls that fit the tools' schemas can be written (grammar mask)."""
    calls: Literal["auto", "required", "one"] = "auto"
    """Where a call is wanted: "required" admits no words before the call, "one" exactly one call; auto leaves the
    choice to the model. Only constrained decoding can demand a call."""
    max_tokens: int = 160
    """Longest answer, in tokens."""
    strategy: Literal["greedy", "vote", "pass@k"] = "greedy"
    """One greedy answer; the most frequent of some samples; or samples beside it, any of which may be right."""
    samples: int = 5
    """How many samples a vote or pass@k takes."""
    temperature: float = 0.7
    """Sampling temperature of those samples."""
    grammar: str | None = None
    """A llguidance Lark grammar of the answer, in place of the one that the tools make."""


@dataclass(frozen=True)
class TeacherConfig:
    """A writer behind an OpenAI-compatible endpoint (`ttsi.models.remote`): what a run may ask of it."""

    budget: str | None = None
    """The most that a run may take: "200000tokens", "2.50usd", or both with a comma. None is no limit."""
    price: str | None = None
    """Dollars per million tokens read and written, "0.25,2.00"; needed for a budget in usd."""
    cache: Path = Path("runs/teacher.db")
    """Where replies are kept, so that nothing is paid for twice."""
    attempts: int = 3
    """Tries per reply."""
    timeout: float = 60.0
    """Seconds for one attempt, from the connection to the last byte."""
    parallel: int = 8
    """Requests under way at the same time."""


@dataclass(frozen=True)
class LoopConfig:
    """Everything that `ttsi.improve` needs."""

    awareness: AwarenessConfig = field(default_factory=AwarenessConfig)
    synthesis: SynthesisConfig = field(default_factory=SynthesisConfig)
    adaptation: AdaptationConfig = field(default_factory=AdaptationConfig)
    answer: AnswerConfig = field(default_factory=AnswerConfig)
    seed: int = 0
    """Seed of the run; every stage of every input derives its own from it."""
    adapt: bool = True
    """False: only measure and answer (method `base`)."""


@dataclass(frozen=True)
class RunConfig:
    """A run: which questions, which model, which method."""

    benchmark: str = "toolworld"
    """Name of a benchmark (`ttsi ls benchmarks`), or the path of a .jsonl file."""
    model: str = "embedded"
    """Who answers (`ttsi ls models`)."""
    method: str = "ttsi"
    """How it improves (`ttsi ls methods`); sets the knobs that nobody set."""
    writer: str | None = None
    """Who writes the examples: a teacher's model spec, or nothing for the model itself."""
    loop: LoopConfig = field(default_factory=LoopConfig)
    limit: int | None = None
    """Only the first so many inputs, for a quick look."""
    batch_size: int = 16
    """Inputs that go through the model together."""
    data_dir: Path | None = None
    """The folder with downloaded benchmarks."""
    split: str = "test"
    """Which part of the benchmark."""
    writer_budget: str | None = None
    """The most that a teacher behind an endpoint may take (`ttsi.config.TeacherConfig`)."""
    train: str | None = None
    """What few-shot prompting and fine-tuning learn from: a benchmark's name, or a .jsonl file with gold."""
    train_limit: int | None = None
    """Only so many rows of it, drawn by the seed; a smaller draw is part of a larger one."""

    format: str | None = None
    """Tool-call format to speak (`ttsi ls formats`), instead of what the handshake finds."""

    def __post_init__(self) -> None:
        """Refuse what cannot be run.

        Raises:
            ConfigError: a number is out of range.
        """
        if self.batch_size < 1:
            raise ConfigError(f"batch-size is {self.batch_size}: use 1 or more")
        if self.limit is not None and self.limit < 1:
            raise ConfigError(f"limit is {self.limit}: use 1 or more, or leave it out for all inputs")
        check(self.loop)


CALLS = ("auto", "required", "one")
"""How a call may be demanded."""

RANGES: dict[str, tuple[float, float]] = {
    "awareness.share": (0, 1),
    "synthesis.k": (0, math.inf),
    "synthesis.temperature": (0, math.inf),
    "synthesis.max_tokens": (1, math.inf),
    "synthesis.max_rounds": (1, math.inf),
    "synthesis.seed_overlap": (0, 1),
    "synthesis.overlap": (0, 1),
    "synthesis.drop_worst": (0, 1),
    "adaptation.rank": (1, math.inf),
    "adaptation.alpha": (0, math.inf),
    "adaptation.lr": (0, math.inf),
    "adaptation.epochs": (1, math.inf),
    "adaptation.batch_size": (0, math.inf),
    "adaptation.irrelevance": (0, math.inf),
    "adaptation.warmup_ratio": (0, 1),
    "adaptation.weight_decay": (0, math.inf),
    "adaptation.max_grad_norm": (0, math.inf),
    "adaptation.max_loss_rise": (0, math.inf),
    "answer.max_tokens": (1, math.inf),
    "answer.samples": (1, math.inf),
    "answer.temperature": (0, math.inf),
}
"""What numbers may be; outside, a run would do nothing, or fail when its work is done."""


def check(config: LoopConfig) -> None:
    """Refuse settings that cannot mean anything, before a model is loaded.

    Raises:
        ConfigError: one line that names the setting.
    """
    for name, (low, high) in RANGES.items():
        stage, _, knob = name.partition(".")
        value = getattr(getattr(config, stage), knob)
        if not low <= value <= high:
            bound = f"from {low:g}" if high == math.inf else f"between {low:g} and {high:g}"
            raise ConfigError(f"{name} is {value}: use a number {bound}")
    if config.answer.calls != "auto" and config.answer.decoding == "free":
        raise ConfigError(
            f"answer.calls is {config.answer.calls!r}, which only a grammar can demand: decode constrained, not free"
        )
    if math.isnan(config.awareness.tau):
        raise ConfigError("awareness.tau is not a number: nothing is below it, and nothing would be adapted")
    if config.answer.calls not in CALLS:
        raise ConfigError(unknown_name("value of answer.calls", config.answer.calls, CALLS))
    if config.seed < 0:
        raise ConfigError(f"seed is {config.seed}: use a number from 0")


ADDED: dict[str, object] = {"synthesis.filter": (), "synthesis.prompt": None, "adaptation.objective": "cross-entropy"}
"""Settings that the first run folders lack -> the default with which they mean the same."""


RENAMED = {
    "synthesis.tries": "synthesis.max_rounds",
    "synthesis.pointed": "synthesis.unambiguous",
    "synthesis.trim": "synthesis.drop_worst",
    "adaptation.min_surer": "adaptation.min_confidence_gain",
}
"""A setting's dotted name in older YAML files and run folders -> its name now; the first name of a setting stays."""


def rename_settings(settings: Mapping[str, Any], names: Mapping[str, str] = RENAMED) -> dict[str, Any]:
    """Nested settings with new names; a setting under both names is left alone, for its reader to refuse.

    Args:
        settings: by stage, as in a YAML file or in a run's `settings.loop`.
        names: dotted name -> dotted name.

    >>> rename_settings({"synthesis": {"tries": 3, "k": 8}, "seed": 1})
    {'synthesis': {'k': 8, 'max_rounds': 3}, 'seed': 1}
    """
    result = {name: dict(value) if isinstance(value, Mapping) else value for name, value in settings.items()}
    for old, new in names.items():
        (stage, _, old_name), (new_stage, _, new_name) = old.rpartition("."), new.rpartition(".")
        source = result.get(stage) if stage else result
        if isinstance(source, dict) and old_name in source:
            target = result.setdefault(new_stage, {}) if new_stage else result
            if new_name not in target:
                target[new_name] = source.pop(old_name)
    return result


def digest(settings: object) -> str:
    """First 16 hex digits of the SHA-256 of a dataclass's values: equal settings, equal digest.

    Every setting counts under its first name, so that a new name is not another run; an added setting counts only where
    it is not at its default. So the runs of older versions can be resumed.
    """
    values: dict[str, Any] = asdict(settings)  # type: ignore[call-overload]
    first_names = {new: old for old, new in RENAMED.items()}
    loop = values.get("loop", values)
    for name, default in ADDED.items():
        stage, _, setting = name.partition(".")
        if stage in loop and loop[stage][setting] == default:
            del loop[stage][setting]
    values = rename_settings(values, first_names)
    if isinstance(values.get("loop"), dict):
        values["loop"] = rename_settings(values["loop"], first_names)
    canonical = json.dumps(values, sort_keys=True, default=str)
    return hashlib.sha256(canonical.encode()).hexdigest()[:16]
