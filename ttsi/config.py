"""Which knobs are there, and what are they set to by default?

One frozen dataclass per stage and `RunConfig` over them. The same objects are the Python arguments, the command's
flags, the keys of a YAML file and the record in a run folder; the line under each field is its help text.

The paper's values (arXiv:2510.07841; `docs/method.md` lists what it leaves open) are the preset `ttsi-paper`; the
preset `ttsi` is what the validation data of toolworld chose. A preset is a set of overrides, nothing else.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

from ttsi.errors import ConfigError, unknown_name


@dataclass(frozen=True)
class AwarenessConfig:
    """H: is the model sure?"""

    candidates: Literal["calls", "names"] = "names"
    """What competes: the tools' names (begun calls), or whole calls as the model would write them."""
    no_tool: bool = True
    """Let "no tool" compete where the model's format says how it is written."""
    measure: str = "margin"
    """The number that decides; `ttsi ls measures` lists them. Larger is surer."""
    tau: float = 0.95
    """Unsure when the measure is below this: the paper's 0.95 for the margin; set it on validation data of yours."""
    gate: Literal["unsure", "sure", "all"] = "unsure"
    """Which inputs are adapted: the unsure ones (the method), or a control."""


@dataclass(frozen=True)
class SynthesisConfig:
    """G: write similar examples."""

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
    tries: int = 2
    """Rounds of writing; a later round only replaces what was refused."""
    schema_grammar: bool = True
    """Let the writer produce only calls that fit the tool's schema (where the model can)."""
    grounded: bool = True
    """Refuse an example whose argument values do not occur in its query."""
    pointed: bool = True
    """Refuse an example whose query shares more words with another tool's line than with the called tool's."""


@dataclass(frozen=True)
class AdaptationConfig:
    """T: learn the examples, briefly."""

    method: Literal["lora", "in-context"] = "lora"
    """Train a temporary adapter, or put the examples in the prompt."""
    rank: int = 8
    """LoRA rank."""
    alpha: float = 16.0
    """LoRA alpha; the update is scaled by alpha / rank."""
    lr: float = 3e-3
    """Peak learning rate. 1e-4 in the paper; a tiny model needs more."""
    epochs: int = 5
    """Passes over the examples."""
    batch_size: int = 0
    """Examples per optimizer step; 0 means all of an input's examples at once."""
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


@dataclass(frozen=True)
class AnswerConfig:
    """Say it. The same for base and adapted, always."""

    decoding: Literal["free", "constrained"] = "constrained"
    """Constrained: only calls that fit the tools' schemas can be written (grammar mask)."""
    max_tokens: int = 160
    """Longest answer, in tokens."""


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


_CHOSEN: dict[str, Any] = {"measure": "answer_mean", "tau": -0.13}
"""The gate that toolworld-validation chose for the embedded model (dev/log.md)."""

PRESETS: dict[str, dict[str, dict[str, Any]]] = {
    "base": {"awareness": _CHOSEN},
    "ttsi": {"awareness": _CHOSEN},
    "ttsi-paper": {
        "awareness": {"candidates": "names", "measure": "margin", "tau": 0.95},
        "synthesis": {"k": 1, "temperature": 0.7, "pointed": False},
        "adaptation": {
            "rank": 8, "alpha": 16.0, "lr": 1e-4, "epochs": 5, "batch_size": 1,
            "warmup_ratio": 0.03, "schedule": "cosine", "warmup_from_zero": True,
        },
    },
    "ttsi-icl": {"awareness": _CHOSEN, "adaptation": {"method": "in-context"}},
}  # fmt: skip
"""Methods by name: what each changes in the defaults (`ttsi ls methods`)."""

METHOD_GLOSS = {
    "base": "the model as it is: measured and answered, never adapted",
    "ttsi": "TT-SI with the settings that validation chose",
    "ttsi-paper": "TT-SI with the paper's settings (K = 1, lr 1e-4, 5 epochs, tau 0.95)",
    "ttsi-icl": "TT-SI in context: the examples go into the prompt, no training",
}
"""One line per method, for `ttsi ls methods`."""


def preset(name: str) -> LoopConfig:
    """The settings of a method by name.

    Raises:
        ConfigError: there is no such method.
    """
    if name not in PRESETS:
        raise ConfigError(unknown_name("method", name, PRESETS))
    config = LoopConfig(adapt=name != "base")
    for stage, values in PRESETS[name].items():
        config = replace(config, **{stage: replace(getattr(config, stage), **values)})
    return config


def digest(settings: object) -> str:
    """First 16 hex digits of the SHA-256 of a dataclass's values: equal settings, equal digest."""
    canonical = json.dumps(asdict(settings), sort_keys=True, default=str)  # type: ignore[call-overload]
    return hashlib.sha256(canonical.encode()).hexdigest()[:16]
