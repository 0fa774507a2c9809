"""The methods by name: what each changes in the default settings.

The paper's values (arXiv:2510.07841; `docs/method.md` lists what it leaves open) are the preset `ttsi-paper`; the
preset `ttsi` is what the validation data of toolworld chose for the embedded model. Its gate and its learning rate were
tried with no other: there they are the paper's (`overrides`). A preset is a set of overrides, nothing else.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from ttsi.config import LoopConfig
from ttsi.errors import ConfigError, unknown_name

_CHOSEN: dict[str, Any] = {"measure": "answer_mean", "tau": -0.04}
"""The gate that toolworld-validation chose for the embedded model (dev/log.md)."""

_LEARNED: dict[str, Any] = {"lr": 6e-3, "irrelevance": 2, "min_confidence_gain": 0.0}
"""And how it learns: also when not to call, and an answer that it is less sure of than of its first is not given."""

_UNTUNED: dict[str, dict[str, Any]] = {"awareness": {"measure": "margin", "tau": 0.95}, "adaptation": {"lr": 1e-4}}
"""What stands in their place for a model with which nobody has chosen: the paper's values."""

_EVERY: dict[str, Any] = {**_CHOSEN, "gate": "all"}
"""The same measurements, but every input is answered a second time."""

_BY_TEACHER: dict[str, Any] = {"temperature": 1.0, "max_tokens": 1024}
"""What hosted models accept: some take no other temperature, and what they think counts as written."""

# With batches of a training file one batch's loss says nothing of another's: the guard of `sft` sees only a blow-up.
PRESETS: dict[str, dict[str, dict[str, Any]]] = {
    "base": {"awareness": _CHOSEN},
    "ttsi": {"awareness": _CHOSEN, "adaptation": _LEARNED},
    "ttsi-paper": {
        "awareness": {"candidates": "names", "measure": "margin", "tau": 0.95},
        "synthesis": {"k": 1, "temperature": 0.7, "unambiguous": False},
        "adaptation": {
            "rank": 8, "alpha": 16.0, "lr": 1e-4, "epochs": 5, "batch_size": 1,
            "warmup_ratio": 0.03, "schedule": "cosine", "warmup_from_zero": True,
        },
    },
    "ttsi-icl": {"awareness": _CHOSEN, "adaptation": {"method": "in-context"}},
    "ttsi-both": {"awareness": _CHOSEN, "adaptation": {**_LEARNED, "method": "both"}},
    "ttd": {"awareness": _CHOSEN, "synthesis": _BY_TEACHER, "adaptation": _LEARNED},
    "ttd-icl": {"awareness": _CHOSEN, "synthesis": _BY_TEACHER, "adaptation": {"method": "in-context"}},
    "icl": {
        "awareness": _EVERY,
        "synthesis": {"source": "nearest", "k": 4},
        "adaptation": {"method": "in-context"},
    },
    "sft": {
        "awareness": _EVERY,
        "synthesis": {"k": 0},
        "adaptation": {
            "method": "shared", "lr": 1e-3, "epochs": 3, "batch_size": 16, "max_loss_rise": 1e6,
        },
    },
    "vote": {"awareness": _EVERY, "synthesis": {"k": 0}, "adaptation": {"method": "vote"}},
    "ask-again": {"awareness": _CHOSEN, "synthesis": {"k": 0}, "adaptation": {"method": "ask-again"}},
}  # fmt: skip
"""Methods by name: what each changes in the defaults (`ttsi ls methods`)."""

METHOD_GLOSS = {
    "base": "the model as it is: measured and answered, never adapted",
    "ttsi": "TT-SI with the settings that validation chose",
    "ttsi-paper": "TT-SI with the paper's settings (K = 1, lr 1e-4, 5 epochs, tau 0.95)",
    "ttsi-icl": "TT-SI in context: the examples go into the prompt, no training",
    "ttsi-both": "TT-SI in weights and context: learned and shown",
    "ttd": "TT-D: a teacher writes the examples (--teacher openai:NAME, or any model)",
    "ttd-icl": "TT-D in context: the teacher's examples go into the prompt",
    "icl": "few-shot: the nearest rows of --train-data go into the prompt, for every input",
    "sft": "fine-tuning: one adapter learns --train-data before the run and answers every input",
    "vote": "majority vote of samples (--answer.samples), nothing is learned",
    "ask-again": "where unsure, the model is shown its first answer and asked once more",
}
"""One line per method, for `ttsi ls methods`."""


WANTS_TEACHER = ("ttd", "ttd-icl")
"""Methods that cannot be run without `--teacher`."""


def wants_training_data(loop: LoopConfig) -> bool:
    """Does this learn from a training file?"""
    return loop.synthesis.source != "writer" or loop.adaptation.method == "shared"


def overrides(name: str, embedded: bool = True) -> dict[str, dict[str, Any]]:
    """What a method changes in the defaults, by stage.

    Args:
        name: of the method.
        embedded: for the embedded model, which validation chose with. Its learning rate is sixty times the paper's,
            and how likely right answers are differs from model to model: for any other the gate and the learning rate
            are the paper's, until validation data of its own say more (docs/own-model.md).

    Raises:
        ConfigError: there is no such method.
    """
    if name not in PRESETS:
        raise ConfigError(unknown_name("method", name, PRESETS))
    elsewhere = {} if embedded else _UNTUNED
    return {
        stage: {knob: elsewhere.get(stage, {}).get(knob, value) for knob, value in values.items()}
        for stage, values in PRESETS[name].items()
    }


def preset(name: str, embedded: bool = True) -> LoopConfig:
    """The settings of a method by name; `embedded` as in `overrides`.

    Raises:
        ConfigError: there is no such method.
    """
    config = LoopConfig(adapt=name != "base")
    for stage, values in overrides(name, embedded).items():
        config = replace(config, **{stage: replace(getattr(config, stage), **values)})
    return config
