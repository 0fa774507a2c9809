"""Temporary adaptation to each input's examples. (The paper's T.)

Inputs: unsure inputs with their examples. Outputs: a `with` block in which the model answers each input with its own
temporary adapter, with its examples in the prompt, or with both. Leaving the block drops what was learned.

The paper trains one adapter after another and merges it before answering; ours trains many side by side and never
merges, because merging and unmerging changes the weights for good. Each way of adapting is one function here, and its
record in `ttsi.methods`; a function of your own is named by an object reference.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from typing import get_args

from ttsi.adaptation.contrast import with_contrasts
from ttsi.adaptation.examples import (
    fitting_demonstrations,
    training_examples,
    with_demonstrations,
    with_self_doubt_turn,
)
from ttsi.adaptation.irrelevance import no_tool_examples
from ttsi.adaptation.on_policy import distillation_examples
from ttsi.config import LoopConfig, Strategy
from ttsi.errors import ConfigError, unknown_name
from ttsi.methods import adaptation_method
from ttsi.models import Model
from ttsi.object_reference import load_function
from ttsi.plurals import kind_of, with_noun
from ttsi.types import Adaptation, Answer, Awareness, Example, Input, TrainingExample


@dataclass(frozen=True)
class AdaptationTask:
    """Unsure inputs, and all that a way of adapting may use; sequences have one entry per input."""

    model: Model
    inputs: Sequence[Input]
    examples: Sequence[Sequence[Example]]
    """Written examples, kept and refused."""
    answers: Sequence[Answer]
    """The base's answers."""
    config: LoopConfig
    seeds: Sequence[int]
    awareness: Sequence[Awareness] = ()
    """How confident the base is; () where that was not measured."""

    @property
    def kept(self) -> list[list[Example]]:
        """The examples that were not refused."""
        return [[example for example in written if example.refused is None] for written in self.examples]


@dataclass(frozen=True)
class Tuned:
    """How the adapted model answers; every tuple has one entry per input."""

    inputs: tuple[Input, ...]
    """The inputs to answer, e.g. with demonstrations in front."""
    adapters: tuple[int | None, ...]
    """Which adapter answers; None is the base."""
    adaptations: tuple[Adaptation, ...]
    """The record of what was done."""
    strategy: Strategy | None = None
    """How to answer, a value of `answer.strategy`, whatever the settings have there; None is the settings' own. With
    "rerank", an unchanged input without an adapter keeps the base's answer as the one to rerank."""


AdaptationFunction = Callable[[AdaptationTask], AbstractContextManager[Tuned]]


@contextmanager
def adapters(
    model: Model,
    inputs: Sequence[Input],
    examples: Sequence[Sequence[Example]],
    answers: Sequence[Answer],
    config: LoopConfig,
    seeds: Sequence[int],
    awareness: Sequence[Awareness] = (),
) -> Iterator[Tuned]:
    """Adapt the model to each input for as long as the block lasts, in the way that `config.adaptation.method` names.

    Where there are no inputs, no function is called.

    Raises:
        ConfigError: there is no such way of adapting, or it does not yield a `Tuned` with one entry per input.
    """
    if not inputs:
        yield Tuned((), (), ())
        return
    reference = adaptation_method(config.adaptation.method).function
    adapt: AdaptationFunction = load_function("adaptation.method", reference)
    block = adapt(AdaptationTask(model, inputs, examples, answers, config, seeds, awareness))
    if not isinstance(block, AbstractContextManager):
        raise ConfigError(f"adaptation.method {reference!r} is no context manager: decorate it with @contextmanager")
    with block as tuned:
        if not isinstance(tuned, Tuned):
            raise ConfigError(f"adaptation.method {reference!r} yields {kind_of(tuned)}: yield a Tuned")
        if lengths := {len(tuned.inputs), len(tuned.adapters), len(tuned.adaptations)} - {len(inputs)}:
            raise ConfigError(
                f"adaptation.method {reference!r} yields {with_noun(lengths.pop(), 'entry', 'entries')} for "
                f"{with_noun(len(inputs), 'input')}"
            )
        if tuned.strategy not in (None, *get_args(Strategy)):
            hint = unknown_name("answer.strategy", str(tuned.strategy), get_args(Strategy))
            raise ConfigError(f"adaptation.method {reference!r}: {hint}")
        yield tuned


@contextmanager
def lora(task: AdaptationTask) -> Iterator[Tuned]:
    """One temporary adapter per input, trained on its kept examples."""
    jobs = _jobs(task)
    with task.model.adapted(jobs, task.config.adaptation, task.seeds) as outcomes:
        adaptations = list(map(_with_reason, outcomes, task.kept, jobs))
        usable = (adaptation.status in ("trained", "shared") for adaptation in adaptations)
        indices = tuple(i if adapter_exists else None for i, adapter_exists in enumerate(usable))
        yield Tuned(tuple(task.inputs), indices, tuple(adaptations))


def _jobs(task: AdaptationTask) -> list[list[TrainingExample]]:
    """The training examples of each input; those that are held back stand last."""
    config, fmt = task.config.adaptation, task.model.format
    # Where a call is demanded, no answer is without one.
    without_call = config.irrelevance if task.config.answer.calls == "auto" else 0
    learned = [kept[: -config.held_back] if 0 < config.held_back < len(kept) else kept for kept in task.kept]
    jobs = []
    for item, kept, examples, lessons in zip(task.inputs, task.kept, learned, _lessons(task, learned), strict=True):
        if lessons:
            held_back = training_examples(fmt, item, kept[len(examples) :])
            lessons += no_tool_examples(fmt, item, examples, without_call)
            lessons += [replace(example, held_back=True) for example in held_back]
        jobs.append(lessons)
    return jobs


def _lessons(task: AdaptationTask, learned: Sequence[Sequence[Example]]) -> list[list[TrainingExample]]:
    """What the objective makes of each input's examples."""
    fmt, objective = task.model.format, task.config.adaptation.objective
    if objective == "distill":
        return distillation_examples(task.model, task.inputs, learned, task.config, task.seeds)
    if objective != "contrast":
        return [training_examples(fmt, item, examples) for item, examples in zip(task.inputs, learned, strict=True)]
    awareness = task.awareness or (None,) * len(learned)
    return [
        with_contrasts(fmt, item, examples, confidence)
        for item, examples, confidence in zip(task.inputs, learned, awareness, strict=True)
    ]


def _with_reason(outcome: Adaptation, kept: Sequence[Example], job: Sequence[TrainingExample]) -> Adaptation:
    """The record of an input; where its kept examples made no training example, it says so."""
    if job or not kept:
        return outcome
    return Adaptation("training-failed", reason="no answer to distil: none ended, or no example fits the context")


@contextmanager
def in_context(task: AdaptationTask) -> Iterator[Tuned]:
    """The kept examples in the prompt, as earlier turns; nothing is trained."""
    fitting = [
        fitting_demonstrations(task.model, item, kept, task.config)
        for item, kept in zip(task.inputs, task.kept, strict=True)
    ]
    inputs = tuple(map(with_demonstrations, task.inputs, fitting))
    adaptations = tuple(map(_in_context_record, task.kept, fitting))
    yield Tuned(inputs, (None,) * len(inputs), adaptations)


@contextmanager
def lora_in_context(task: AdaptationTask) -> Iterator[Tuned]:
    """A temporary adapter per input, and its examples in the prompt as well."""
    with in_context(task) as prompted, lora(task) as trained:
        yield replace(trained, inputs=prompted.inputs)


@contextmanager
def vote(task: AdaptationTask) -> Iterator[Tuned]:
    """A majority vote over samples; nothing is learned."""
    yield replace(_without_training(task.inputs, "majority vote"), strategy="vote")


@contextmanager
def ask_again(task: AdaptationTask) -> Iterator[Tuned]:
    """The model reads its first answer and answers once more (arXiv:2602.08520); nothing is learned."""
    inputs = [with_self_doubt_turn(item, answer) for item, answer in zip(task.inputs, task.answers, strict=True)]
    yield _without_training(inputs, "asked again")


@contextmanager
def rerank(task: AdaptationTask) -> Iterator[Tuned]:
    """Another tool's call where the answer's own has values that the conversation does not state; nothing is learned.

    The tools are tried from the likeliest name on (`ttsi.answer.reranking`).
    """
    yield replace(_without_training(task.inputs, "reranked"), strategy="rerank")


def _without_training(inputs: Sequence[Input], reason: str) -> Tuned:
    n = len(inputs)
    return Tuned(tuple(inputs), (None,) * n, (Adaptation("resampled", reason=reason),) * n)


def _in_context_record(kept: Sequence[Example], fitting: Sequence[Example]) -> Adaptation:
    if fitting:
        return Adaptation("in-context", samples=len(fitting), left_out=len(kept) - len(fitting))
    return Adaptation("none", reason="no example fits the context" if kept else "", left_out=len(kept))
