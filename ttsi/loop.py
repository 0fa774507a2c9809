"""THE METHOD on one page: test-time self-improvement (TT-SI, TT-D; arXiv:2510.07841, Algorithm 1).

Inputs: a batch of inputs, a model, a writer (the model itself for TT-SI, a teacher for TT-D, a training file for
few-shot prompting), the settings. Outputs: one `Episode` per input, in order. Every method is this page with other
arguments (`ttsi.methods.PRESETS`); for SFT the model is one that has learned already (`ttsi.adaptation.shared`).

How it differs from the paper: a batch of one is the paper; in a larger batch the stages run side by side, each input
still with its own adapter and its own random numbers. The base's own answer is always kept beside the adapted one.
An input that fails is an episode with an error; a failed adaptation leaves the base's answer.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import replace

from ttsi.adaptation import adapters
from ttsi.adaptation.guard import lack_of_confidence
from ttsi.answer import generate_answers
from ttsi.awareness import estimate, needs_samples
from ttsi.config import LoopConfig
from ttsi.errors import ConfigError
from ttsi.models import Model, Writer, prefix_cache
from ttsi.synthesis import synthesise
from ttsi.types import Adaptation, Answer, Awareness, Episode, Input, Prompt, input_hash, stage_seed

log = logging.getLogger(__name__)


def improve(
    inputs: Sequence[Input], model: Model, writer: Writer, config: LoopConfig, repeat: int = 0
) -> list[Episode]:
    """Measure, write, learn, answer, forget: for every input its episode.

    Args:
        inputs: what to answer; they go through the model together, each with its own adapter and random numbers.
        model: who answers (`ttsi.load_model`); its weights are the same afterwards.
        writer: who writes the examples: the model itself (TT-SI), another model (TT-D), or training data.
        config: the settings; `ttsi.preset("ttsi")` are those of the method, with `embedded=False` for other models.
        repeat: how many inputs with the same content came before these; another repeat has other random numbers.

    Returns:
        One episode per input, in order: the base's answer and the one given in the end, how sure the model was, the
        examples, what became of the training; or an `error`.

    >>> import ttsi
    >>> weather = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
    >>> tools = (ttsi.Tool("get_weather", "get the weather of a city", weather),)
    >>> item = ttsi.Input("1", (ttsi.Message("user", "Will it rain in Oslo"),), tools)
    >>> model = ttsi.load_model("scripted:demo")
    >>> [episode] = ttsi.improve([item], model, model, ttsi.preset("ttsi"))
    >>> episode.adapted.calls[0].name
    'get_weather'

    Raises:
        ConfigError: a setting is wrong (nothing else is raised: an input that fails is an episode with `error`).
    """
    return _in_order(inputs, [_unfit(model, item, config) for item in inputs], model, writer, config, repeat)


def _improve(inputs: Sequence[Input], model: Model, writer: Writer, config: LoopConfig, repeat: int) -> list[Episode]:
    """Algorithm 1."""
    book = _Book(inputs)
    drawn = needs_samples(config.awareness)
    book.begin("answer")
    before = generate_answers(model, inputs, config.answer, seeds=_seeds(inputs, config, repeat, "answer"), drawn=drawn)
    book.begin("awareness")
    awareness = estimate(model, inputs, before, config.awareness)  # H

    chosen = [i for i in range(len(inputs)) if config.adapt and _chosen(inputs[i], awareness[i], config, repeat)]
    unsure, known, first = [inputs[i] for i in chosen], [awareness[i] for i in chosen], [before[i] for i in chosen]
    book.begin("synthesis", chosen)
    seeds = _seeds(unsure, config, repeat, "synthesis")
    examples = synthesise(writer, unsure, known, config.synthesis, seeds, learner=model)  # G
    book.begin("adaptation")
    seeds, room = _seeds(unsure, config, repeat, "adaptation"), config.answer.max_tokens
    nearest = config.synthesis.source == "nearest"
    with adapters(model, unsure, examples, config.adaptation, seeds, first, room, nearest) as tuned:  # T
        book.begin("answer")
        seeds = _seeds(unsure, config, repeat, "answer")
        after = generate_answers(model, tuned.inputs, config.answer, tuned.adapters, seeds, voted=tuned.voted)
    book.end()

    told = [
        Episode(item.id, input_hash(item), base, base, sure, seconds=book.seconds(i))
        for i, (item, base, sure) in enumerate(zip(inputs, before, awareness, strict=True))
    ]
    for i, written, state, answer in zip(chosen, examples, tuned.adaptations, after, strict=True):
        told[i] = _settled(
            replace(told[i], examples=written, adaptation=state), answer, config.adaptation.min_confidence_gain
        )
    return told


def _settled(told: Episode, answer: Answer, min_confidence_gain: float | None) -> Episode:
    """The episode with the new answer, or with the base's where nothing was learned or the guard says so."""
    state = told.adaptation
    if told.base is None or state.status in ("none", "training-failed"):
        return told
    reason = (
        lack_of_confidence(told.base, answer, min_confidence_gain)
        if state.status in ("trained", "in-context")
        else None
    )
    if reason:
        return replace(told, adaptation=replace(state, status="kept-base", reason=reason))
    return replace(told, adapted=answer)


def passes(known: Awareness, gate: str, drawn: bool = False) -> bool:
    """Is this input adapted? Unsure ones are the method; sure ones, all and drawn ones are controls."""
    if gate == "random":
        return drawn
    return gate == "all" or known.unsure == (gate == "unsure")


def coin(run_seed: int, item_hash: str, repeat: int) -> float:
    """A number in [0, 1) by which the gate "random" draws; it depends on nothing but the seed and the input."""
    return stage_seed(run_seed, item_hash, repeat, "gate") / 2**63


def _chosen(item: Input, known: Awareness, config: LoopConfig, repeat: int) -> bool:
    drawn = coin(config.seed, input_hash(item), repeat) < config.awareness.share
    return passes(known, config.awareness.gate, drawn)


def _seeds(inputs: Sequence[Input], config: LoopConfig, repeat: int, stage: str) -> list[int]:
    return [stage_seed(config.seed, input_hash(item), repeat, stage) for item in inputs]


class _Book:
    """Who used how much wall time in which stage: a stage's time is shared equally by the inputs it served."""

    def __init__(self, inputs: Sequence[Input]) -> None:
        self._served = list(range(len(inputs)))
        self._seconds: list[dict[str, float]] = [{} for _ in inputs]
        self._stage = ""
        self._began = time.perf_counter()

    def begin(self, stage: str, served: list[int] | None = None) -> None:
        """From here on time is this stage's, for these inputs or for those of the stage before."""
        self.end()
        self._served = self._served if served is None else served
        self._stage = stage
        if self._served:
            log.info("stage begun stage=%s inputs=%d", stage, len(self._served))

    def end(self) -> None:
        """Book the time since a stage began."""
        now = time.perf_counter()
        for i in self._served if self._stage else ():
            spent = self._seconds[i]
            spent[self._stage] = spent.get(self._stage, 0.0) + (now - self._began) / len(self._served)
        self._began, self._stage = now, ""

    def seconds(self, i: int) -> dict[str, float]:
        """Seconds per stage of one input."""
        return self._seconds[i]


def _unfit(model: Model, item: Input, config: LoopConfig) -> str | None:
    """Why this input cannot be asked at all, or None."""
    if not item.messages:
        return "prompt: there is no message"
    try:
        reason = model.fits(Prompt(item.messages, item.tools), config.answer.max_tokens)
    except Exception as error:
        return f"prompt: {_line(error)}"
    return reason and f"prompt: {reason}"


def _in_order(
    inputs: Sequence[Input],
    unfit: Sequence[str | None],
    model: Model,
    writer: Writer,
    config: LoopConfig,
    repeat: int,
) -> list[Episode]:
    fit = [item for item, reason in zip(inputs, unfit, strict=True) if reason is None]
    told = iter(_isolated(fit, model, writer, config, repeat))
    return [
        next(told) if reason is None else Episode(item.id, input_hash(item), None, None, None, error=reason)
        for item, reason in zip(inputs, unfit, strict=True)
    ]


def _isolated(inputs: Sequence[Input], model: Model, writer: Writer, config: LoopConfig, repeat: int) -> list[Episode]:
    """`_improve`; when a batch fails, each of its inputs alone; when that fails, the base's answer alone."""
    if not inputs:
        return []
    try:
        with prefix_cache(model):
            return _improve(inputs, model, writer, config, repeat)
    except ConfigError:
        raise
    except Exception as error:
        reason = f"{type(error).__name__}: {_line(error)}"
    if len(inputs) == 1 and config.adapt:
        [told] = _isolated(inputs, model, writer, replace(config, adapt=False), repeat)
        return [told if told.error else replace(told, adaptation=Adaptation("training-failed", reason=reason))]
    if len(inputs) == 1:
        return [Episode(inputs[0].id, input_hash(inputs[0]), None, None, None, error=reason)]
    return [episode for item in inputs for episode in _isolated([item], model, writer, config, repeat)]


def _line(error: Exception) -> str:
    """The first line of an error's message."""
    return next(iter(str(error).splitlines()), type(error).__name__)
