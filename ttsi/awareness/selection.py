"""Selection of the inputs that are adapted: the unsure ones, or a control group.

Inputs: each input with its awareness, the settings. Outputs: the indices of the selected inputs. The paper
(arXiv:2510.07841) adapts on unsure inputs only; the gates "sure", "all" and "random" are controls.
"""

from __future__ import annotations

from collections.abc import Sequence

from ttsi.config import LoopConfig
from ttsi.types import Awareness, Episode, Input, stage_seed


def select(inputs: Sequence[Input], awareness: Sequence[Awareness], config: LoopConfig, repeat: int = 0) -> list[int]:
    """The indices of the inputs to adapt.

    None where the settings only measure; and no input that the base answers in words, where its decision whether to
    call is kept.
    """
    gate, share = config.awareness.gate, config.awareness.share
    return [
        i
        for i, (item, confidence) in enumerate(zip(inputs, awareness, strict=True))
        if config.adapt and is_selected(confidence, gate, gate_uniform(config.seed, item.content_hash, repeat) < share)
        if not (config.adaptation.keep_decision and confidence.in_words)
    ]


def select_episodes(
    inputs: Sequence[Input], episodes: Sequence[Episode], config: LoopConfig, repeat: int = 0
) -> list[int]:
    """`select` for inputs that were measured and answered before; none of those that failed."""
    measured = {
        i: one.awareness for i, one in enumerate(episodes) if one.base is not None and one.awareness is not None
    }
    places = list(measured)
    return [places[i] for i in select([inputs[i] for i in places], list(measured.values()), config, repeat)]


def is_selected(awareness: Awareness, gate: str, by_chance: bool = False) -> bool:
    """Whether a gate lets this input through; `by_chance` decides for the gate "random"."""
    if gate == "random":
        return by_chance
    return gate == "all" or awareness.unsure == (gate == "unsure")


def gate_uniform(run_seed: int, input_hash: str, repeat: int) -> float:
    """The uniform number in [0, 1) of the gate "random"; it depends on nothing but the seed and the input."""
    return stage_seed(run_seed, input_hash, repeat, "gate") / 2**63
