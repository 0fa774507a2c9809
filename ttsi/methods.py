"""The methods as data: one record per method, one per way of adapting, and the settings that fit a model.

A method is a name for a set of settings. A method of your own is a `Method` that you name by an object reference:
`--method my.module:METHOD`. The preset `ttsi-paper` has the paper's values (arXiv:2510.07841; `docs/method.md` lists
what the paper leaves open). The other presets have those that validation data chose: rows of public benchmarks, and
toolworld's for the embedded model (`Method.embedded`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, is_dataclass, replace
from typing import TYPE_CHECKING, Any

from ttsi.config import AdaptationConfig, LoopConfig
from ttsi.errors import ConfigError, unknown_name
from ttsi.object_reference import resolve
from ttsi.plurals import kind_of

if TYPE_CHECKING:
    from ttsi.models import Model


@dataclass(frozen=True)
class AdaptationMethod:
    """One way of adapting to an input: a value of `adaptation.method`."""

    function: str
    """package.module:function, a context manager that takes an `AdaptationTask` and yields `Tuned` (`ttsi.adaptation`).
    A reference, so that this table imports no stage."""
    summary: str = "{whom} it {wrote}, and adapted in a way of its own"
    """A report's sentence about a run, with the slots {whom} (which inputs), {wrote} (the examples), {samples} (of a
    vote) and {attempted} (how many inputs)."""
    uses_examples: bool = False
    """It learns from the examples of each input; without examples it does nothing."""
    trains: bool = False
    """It trains a temporary adapter per input."""
    shared: bool = False
    """It answers with one adapter that learned the training data before the run (`ttsi.adaptation.shared`)."""
    needs_environment: bool = False
    """It tries the tools of an agent's environment; on single requests it does nothing."""


ADAPTATION_METHODS: Mapping[str, AdaptationMethod] = {
    "lora": AdaptationMethod(
        "ttsi.adaptation:lora",
        "{whom} it {wrote}, and learned them in a temporary adapter per input",
        uses_examples=True,
        trains=True,
    ),
    "in-context": AdaptationMethod(
        "ttsi.adaptation:in_context", "{whom} it {wrote}, and put them into the prompt", uses_examples=True
    ),
    "both": AdaptationMethod(
        "ttsi.adaptation:lora_in_context",
        "{whom} it {wrote}, and learned them in a temporary adapter per input and put them into the prompt as well",
        uses_examples=True,
        trains=True,
    ),
    "shared": AdaptationMethod(
        "ttsi.adaptation:lora",
        "one adapter had learned the training data beforehand and answered {attempted}",
        shared=True,
    ),
    "explore": AdaptationMethod(
        "ttsi.adaptation.exploration:explore",
        "{whom} it tried the tools on a copy of the environment, and put the results into the prompt",
        uses_examples=True,
        needs_environment=True,
    ),
    "vote": AdaptationMethod("ttsi.adaptation:vote", "{whom} the majority of {samples} samples was taken"),
    "ask-again": AdaptationMethod("ttsi.adaptation:ask_again", "{whom} it was shown its first answer and asked again"),
    "rerank": AdaptationMethod(
        "ttsi.adaptation:rerank",
        "{whom} a call with a value that the conversation does not state gave way to the next likeliest tool's call "
        "without one",
    ),
}
"""Ways of adapting by name. A report looks one up with `.get(name, AdaptationMethod(name))`, which imports no code."""


def adaptation_method(name: str) -> AdaptationMethod:
    """The record of a value of `adaptation.method`: a name of the table, or a reference to a function of your own.

    Raises:
        ConfigError: there is no such way of adapting.
    """
    value: Any = resolve("adaptation.method", name, ADAPTATION_METHODS)
    return value if isinstance(value, AdaptationMethod) else AdaptationMethod(name)


@dataclass(frozen=True)
class Method:
    """A name for a set of settings."""

    gloss: str
    """One line for `ttsi ls methods`."""
    overrides: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Stage -> setting -> value: where it differs from the defaults (of `ttsi.config`, with calls that omit values
    filled)."""
    embedded: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Stage -> setting -> value: where the embedded model differs from that."""
    adapts: bool = True
    """False: measure and answer only."""
    needs_teacher: bool = False
    with_teacher: str | None = None
    """The name of the same method where a teacher writes the examples."""
    extends: str | None = None
    """The method of `METHODS` whose settings this one starts from; None is the defaults."""


_UNSURE: dict[str, dict[str, Any]] = {"awareness": {"measure": "grounded_margin", "tau": 0.85}}
"""Unsure is an answer with a value that the conversation does not state, or where the paper's margin is below tau. Both
chosen on validation rows of public data (dev/log.md)."""

_EVERY_INPUT: dict[str, dict[str, Any]] = {"awareness": {**_UNSURE["awareness"], "gate": "all"}}

_GUARDS: dict[str, Any] = {"refuse_unstated": True, "keep_decision": True}
"""A guard against invented values, of which a model copies some from examples in its prompt; and whether to call at all
stays the base's decision: all examples are calls."""

_NO_GUARDS: dict[str, Any] = {"refuse_unstated": False, "keep_decision": False}

_TRAINING: dict[str, Any] = {"lr": None, "epochs": 3, "scope": "suffix", "min_confidence_gain": 0.0, **_GUARDS}
"""Three steps, a learning rate that follows the model's size, adapters that act behind the tools, a guard against less
confident answers, and the others."""

_IN_CONTEXT: dict[str, Any] = {"method": "in-context", **_GUARDS}
"""No guard against less confident answers: behind another prompt they are written with other probabilities."""

_SCHEMA_EXAMPLES: dict[str, Any] = {"source": "schema", "k": 4}
"""Examples made from the tools' schemas: on validation rows of public data they help SmolLM2-135M more than those that
it writes (dev/log.md)."""

_REWORDED: dict[str, Any] = {"source": "writer", "order": "schema-first", "k": 4, "max_rounds": 3, "temperature": 0.7}
"""The model only rewords such examples: of whole pairs SmolLM2-135M keeps one in seven."""

_TEACHER_WRITES: dict[str, Any] = {"k": 4, "temperature": 1.0, "max_tokens": 1024}
"""As many examples as without a teacher. Hosted models: some accept no other temperature, and the tokens they think
with count as written."""

_ANSWERED: dict[str, dict[str, Any]] = {"answer": {"fill_omitted": True, "convert_dates": True}}
"""Of every method alike, so that methods stay comparable: a call that leaves out what the request states is written
again, and dates take the format that their tool states. On validation rows this repaired some and harmed none
(dev/log.md)."""

_EMBEDDED_UNSURE: dict[str, dict[str, Any]] = {"awareness": {"measure": "answer_mean", "tau": -0.04}}
"""Measure and threshold that toolworld-validation chose for the embedded model (dev/log.md)."""

_EMBEDDED: dict[str, dict[str, Any]] = {
    **_EMBEDDED_UNSURE,
    "synthesis": {"source": "writer", "order": "call-first", "k": 8, "max_rounds": 2, "temperature": 0.4},
    "adaptation": {
        "lr": 6e-3,
        "epochs": 5,
        "scope": "all",
        "irrelevance": 2,
        **_NO_GUARDS,
    },
}
"""The embedded model writes its examples, has a learning rate of its own, learns when not to call, and has the guard on
confidence alone."""

METHODS: Mapping[str, Method] = {
    "base": Method(
        "the model as it is: measured and answered, never adapted", _UNSURE, embedded=_EMBEDDED_UNSURE, adapts=False
    ),
    "ttsi": Method(
        "TT-SI with the settings that validation chose",
        {**_UNSURE, "synthesis": _SCHEMA_EXAMPLES, "adaptation": _TRAINING},
        embedded=_EMBEDDED,
        with_teacher="ttd",
    ),
    "ttsi-paper": Method(
        "TT-SI with the paper's settings (K = 1, lr 1e-4, 5 epochs, tau 0.95)",
        {
            "awareness": {"candidates": "names", "measure": "margin", "tau": 0.95},
            "synthesis": {"k": 1, "temperature": 0.7, "unambiguous": False},
            "adaptation": {
                "rank": 8, "alpha": 16.0, "lr": 1e-4, "epochs": 5, "batch_size": 1,
                "warmup_ratio": 0.03, "schedule": "cosine", "warmup_from_zero": True,
            },
        },
    ),
    "ttsi-icl": Method(
        "TT-SI in context: the examples go into the prompt, no training",
        {**_UNSURE, "synthesis": _SCHEMA_EXAMPLES, "adaptation": _IN_CONTEXT},
        embedded={**_EMBEDDED, "adaptation": _NO_GUARDS},
        with_teacher="ttd-icl",
    ),
    "ttsi-written": Method(
        "as ttsi, and the model itself writes the examples, whichever model it is",
        {**_UNSURE, "synthesis": _REWORDED, "adaptation": _TRAINING},
        embedded=_EMBEDDED,
        with_teacher="ttd",
    ),
    "ttsi-both": Method(
        "TT-SI in weights and context: the examples are learned and go into the prompt",
        {**_UNSURE, "synthesis": _SCHEMA_EXAMPLES, "adaptation": {**_TRAINING, "method": "both"}},
        embedded=_EMBEDDED,
    ),
    "ttd": Method(
        "TT-D: a teacher writes the examples (--teacher openai:NAME, or any model)",
        {**_UNSURE, "synthesis": _TEACHER_WRITES, "adaptation": _TRAINING},
        embedded={**_EMBEDDED, "synthesis": {"k": 8}},
        needs_teacher=True,
    ),
    "ttd-icl": Method(
        "TT-D in context: the teacher's examples go into the prompt",
        {**_UNSURE, "synthesis": _TEACHER_WRITES, "adaptation": _IN_CONTEXT},
        embedded={**_EMBEDDED_UNSURE, "synthesis": {"k": 8}, "adaptation": _NO_GUARDS},
        needs_teacher=True,
    ),
    "explore": Method(
        "agents only: tools are tried on a copy of the environment, and their results go into the prompt; no training",
        {
            **_EVERY_INPUT,
            "synthesis": {"source": "schema", "k": 8, "max_rounds": 1},
            "adaptation": {"method": "explore"},
        },
        embedded=_EMBEDDED_UNSURE,
    ),
    "icl": Method(
        "few-shot: the nearest rows of --train-data go into the prompt, for every input",
        {**_EVERY_INPUT, "synthesis": {"source": "nearest", "k": 4}, "adaptation": {"method": "in-context"}},
        embedded=_EMBEDDED_UNSURE,
    ),
    # One batch's loss says nothing about another's, so the guard on the loss only sees a blow-up.
    "sft": Method(
        "fine-tuning: one adapter learns --train-data before the run and answers every input",
        {
            **_EVERY_INPUT,
            "synthesis": {"k": 0},
            "adaptation": {
                "method": "shared", "scope": "all", "lr": 1e-3, "epochs": 3, "batch_size": 16, "max_loss_rise": 1e6,
            },
        },
        embedded=_EMBEDDED_UNSURE,
    ),
    "vote": Method(
        "majority vote over samples (--answer.samples); nothing is learned",
        {**_EVERY_INPUT, "synthesis": {"k": 0}, "adaptation": {"method": "vote"}},
        embedded=_EMBEDDED_UNSURE,
    ),
    "ask-again": Method(
        "where unsure, the model reads its first answer and answers once more",
        {**_UNSURE, "synthesis": {"k": 0}, "adaptation": {"method": "ask-again"}},
        embedded=_EMBEDDED_UNSURE,
    ),
    "rerank": Method(
        "a call with values that the conversation does not state gives way to another tool's; no training",
        {**_EVERY_INPUT, "synthesis": {"k": 0}, "adaptation": {"method": "rerank"}},
        embedded=_EMBEDDED_UNSURE,
    ),
}  # fmt: skip
"""Methods by name (`ttsi ls methods`)."""


def find_method(name: str) -> Method:
    """The method of a name, or of an object reference of your own.

    Raises:
        ConfigError: there is no such method.
    """
    if not isinstance(name, str):
        raise ConfigError(f"a method is named by a str, not by {name!r}: ttsi ls methods lists the names")
    value: Any = resolve("method", name, METHODS)
    if not isinstance(value, Method):
        raise ConfigError(f"method {name!r} is {kind_of(value)}: make it a ttsi.methods.Method")
    return value


def overrides(name: str, model: Model | str | None = None) -> dict[str, dict[str, Any]]:
    """The settings of a method that differ from the defaults, by stage.

    Args:
        name: of the method.
        model: the model that answers, or its spec; None is any but the embedded one, which has settings of its own
            (docs/own-model.md shows how to choose yours).

    Raises:
        ConfigError: there is no such method.
    """
    method = find_method(name)
    if method.extends is not None and method.extends not in METHODS:
        raise ConfigError(f"method {name!r}: {unknown_name('method to extend', method.extends, METHODS)}")
    inherited = {} if method.extends is None else overrides(method.extends, model)
    is_embedded = _is_embedded(model)
    defaults, embedded = ({}, method.embedded) if is_embedded else (_ANSWERED, {})
    layers = [defaults, inherited, method.overrides, embedded]
    stages = dict.fromkeys(stage for layer in layers for stage in layer)
    return {stage: {key: value for layer in layers for key, value in layer.get(stage, {}).items()} for stage in stages}


def preset(name: str, model: Model | str | None = None) -> LoopConfig:
    """The settings of a method for a model.

    Args:
        name: the method, as `ttsi ls methods` lists it, or "package.module:object".
        model: the model that answers, or its spec; None is any but the embedded one.

    Raises:
        ConfigError: there is no such method.
    """
    config = LoopConfig(adapt=find_method(name).adapts)
    for stage, values in overrides(name, model).items():
        stages = [field.name for field in fields(config) if is_dataclass(getattr(config, field.name))]
        if stage not in stages:
            raise ConfigError(f"method {name!r}: {unknown_name('stage', stage, stages)}")
        settings = [field.name for field in fields(getattr(config, stage))]
        if unknown := [setting for setting in values if setting not in settings]:
            raise ConfigError(f"method {name!r}: {unknown_name(f'setting of {stage}', unknown[0], settings)}")
        config = replace(config, **{stage: replace(getattr(config, stage), **values)})
    return config


def _is_embedded(model: Model | str | None) -> bool:
    from ttsi.models import is_embedded  # not at the top: a report needs the table and no model

    # A bare model of transformers has no spec, and is not the embedded one.
    return model is not None and is_embedded(model if isinstance(model, str) else getattr(model, "spec", ""))


def wants_training_data(config: LoopConfig) -> bool:
    """Whether these settings learn from a training file."""
    return config.synthesis.source in ("nearest", "random") or adaptation_method(config.adaptation.method).shared


def check_method(config: LoopConfig) -> None:
    """Refuse a way of adapting that does not exist, or that would have nothing to learn from.

    Raises:
        ConfigError: one line.
    """
    adaptation = adaptation_method(config.adaptation.method)
    if config.adapt and adaptation.uses_examples and config.synthesis.k == 0:
        raise ConfigError("synthesis.k is 0, so nothing would be learned: use a number from 1, or --method base")
    if config.adapt and adaptation.trains and 0 < config.synthesis.k <= config.adaptation.held_back:
        raise ConfigError(
            f"adaptation.held_back is {config.adaptation.held_back} and synthesis.k {config.synthesis.k}, so nothing "
            "would ever be held back: use a larger synthesis.k"
        )
    if config.adapt and adaptation.shared:
        check_shared(config.adaptation)


def check_single_requests(config: LoopConfig, where: str) -> None:
    """Refuse a way of adapting that only agents have, where inputs are single requests.

    Args:
        config: the settings.
        where: says that they are single requests, for the error.

    Raises:
        ConfigError: one line.
    """
    way = config.adaptation.method
    if config.adapt and adaptation_method(way).needs_environment:
        raise ConfigError(f"adaptation.method {way} is for agents' tasks, and {where}: use another method")


def check_shared(config: AdaptationConfig) -> None:
    """Refuse settings with which one adapter cannot learn a training file.

    Raises:
        ConfigError: one line.
    """
    if config.held_back:
        raise ConfigError(
            "adaptation.held_back is for the examples of one input: fine-tuning on a training file needs "
            "adaptation.held_back 0"
        )
    if config.objective in ("contrast", "distill"):
        raise ConfigError(
            f"adaptation.objective is {config.objective}, which is for the examples of one input: fine-tuning on a "
            "training file needs cross-entropy or a function of yours"
        )
