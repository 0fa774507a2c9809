"""Learn the examples, briefly, and forget them. (The paper's T.)

Inputs: unsure inputs with their examples. Outputs: a `with` block in which the model answers each input with its own
temporary adapter, with its examples in the prompt, or with both. Leaving the block is the reset.

The paper trains one adapter after another and merges it before answering; ours trains many side by side and never
merges, since merging and unmerging changes weights for good. What the paper compares with goes through the same block:
`shared` answers with the one adapter that `ttsi.adaptation.shared` trained before the run (SFT), `vote` and `ask-again`
learn nothing and only answer a second time, in another way.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from ttsi.adaptation.examples import training_examples, with_demonstrations, with_self_doubt_turn
from ttsi.adaptation.irrelevance import no_tool_examples
from ttsi.config import AdaptationConfig
from ttsi.models import Model
from ttsi.types import Adaptation, Answer, Example, Input, Prompt


@dataclass(frozen=True)
class Tuned:
    """How the adapted model is to be asked."""

    inputs: tuple[Input, ...]
    """The inputs as they are now asked: with demonstrations, or with the first answer and a doubt."""
    adapters: tuple[int | None, ...]
    """Which adapter answers each input; None is the base."""
    adaptations: tuple[Adaptation, ...]
    voted: bool = False
    """Answer by majority vote."""


@contextmanager
def adapters(
    model: Model,
    inputs: Sequence[Input],
    examples: Sequence[Sequence[Example]],
    config: AdaptationConfig,
    seeds: Sequence[int],
    first: Sequence[Answer] = (),
    room: int = 0,
    best_last: bool = False,
) -> Iterator[Tuned]:
    """Adapt the model to each input's kept examples for as long as the block lasts.

    Args:
        first: the base's answers, which "ask-again" shows to the model.
        room: tokens that an answer needs; demonstrations that would leave less are dropped.
        best_last: drop the first ones first, since the nearest demonstration stands last, by the question.
    """
    if config.method in ("vote", "ask-again"):
        yield _again(inputs, config, first)
        return
    kept = [[example for example in written if example.refused is None] for written in examples]
    shown = kept if config.method in ("in-context", "both") else [[] for _ in kept]
    shown = [_fitting(model, item, good, room, best_last) for item, good in zip(inputs, shown, strict=True)]
    asked = tuple(with_demonstrations(item, good) for item, good in zip(inputs, shown, strict=True))
    if config.method == "in-context":
        states = tuple(_shown(len(good), len(fitting)) for good, fitting in zip(kept, shown, strict=True))
        yield Tuned(asked, (None,) * len(asked), states)
        return
    jobs = [
        training_examples(model.format, item, good) + no_tool_examples(model.format, item, good, config.irrelevance)
        for item, good in zip(inputs, kept, strict=True)
    ]
    with model.adapted(jobs, config, seeds) as done:
        adapters = tuple(i if state.status in ("trained", "shared") else None for i, state in enumerate(done))
        yield Tuned(asked, adapters, tuple(done))


def _again(inputs: Sequence[Input], config: AdaptationConfig, first: Sequence[Answer]) -> Tuned:
    vote = config.method == "vote"
    asked = tuple(inputs) if vote else tuple(with_self_doubt_turn(*pair) for pair in zip(inputs, first, strict=True))
    state = Adaptation("resampled", reason="majority vote" if vote else "asked again")
    return Tuned(asked, (None,) * len(asked), (state,) * len(asked), voted=vote)


def _shown(kept: int, shown: int) -> Adaptation:
    if shown:
        return Adaptation("in-context", samples=shown, left_out=kept - shown)
    return Adaptation("none", reason="no example fits the context" if kept else "", left_out=kept)


def _fitting(model: Model, item: Input, good: Sequence[Example], room: int, best_last: bool) -> list[Example]:
    """The demonstrations that fit the context together with the input and its answer."""
    fitting = list(good)
    while fitting:
        asked = with_demonstrations(item, fitting)
        if model.fits(Prompt(asked.messages, asked.tools), room) is None:
            break
        fitting.pop(0 if best_last else -1)
    return fitting
