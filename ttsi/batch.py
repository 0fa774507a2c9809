"""A batch around the method: checks of the settings, unfit inputs, isolated failures, seconds, episodes.

Inputs: the page of the method (`ttsi.loop`) and its arguments. Outputs: one `Episode` per input, whatever happens. An
input that does not fit the model, or fails, is an episode with an error. A failed adaptation leaves the base's answer,
which is not asked again; inputs that were not to be adapted have no part in it.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import wraps
from typing import TypeVar, cast

from ttsi.adaptation import Tuned
from ttsi.adaptation.confidence import call_dropped, lack_of_confidence, worse_values
from ttsi.awareness import needs_samples
from ttsi.awareness.measures import find_measure
from ttsi.chat.conversation import check_input
from ttsi.config import OBJECTIVE_NAMES, AdaptationConfig, LoopConfig, check
from ttsi.environments.experience import Experience
from ttsi.errors import ConfigError, first_line
from ttsi.methods import adaptation_method, check_method, preset
from ttsi.models import Model, Writer, as_model, as_writer, prefix_cache
from ttsi.object_reference import load_function, resolve
from ttsi.plurals import kind_of, with_noun
from ttsi.synthesis import check_synthesis
from ttsi.types import Adaptation, Answer, Awareness, Episode, Example, Input, Prompt, stage_seed

log = logging.getLogger(__name__)


def check_references(config: LoopConfig) -> None:
    """Refuse names, object references and files in the settings that do not exist, before a model is loaded.

    Raises:
        ConfigError: one line that names it.
    """
    check_method(config)
    find_measure(config.awareness.measure)
    load_function("adaptation.method", adaptation_method(config.adaptation.method).function)
    resolve("adaptation.objective", config.adaptation.objective, dict.fromkeys(OBJECTIVE_NAMES), load_function)
    check_synthesis(config.synthesis)


Improve = TypeVar("Improve", bound=Callable[..., list[Episode]])
"""The type of `ttsi.improve`: one episode per input, in order."""


def isolate_failures(method: Improve) -> Improve:
    """Keep one input's failure its own: inputs go through the method together, and each alone where that fails."""

    @wraps(method)
    def improve(
        inputs: Sequence[Input],
        model: Model,
        writer: Writer | None = None,
        config: LoopConfig | None = None,
        repeat: int = 0,
        answers: Sequence[Answer] = (),
        experience: Experience | None = None,
    ) -> list[Episode]:
        given, model = model, as_model(model)
        writer = model if writer is None or writer is given else as_writer(writer)
        settings = preset("ttsi", model) if config is None else config
        if not isinstance(settings, LoopConfig):
            raise ConfigError(f"config is {kind_of(settings)}: use a LoopConfig, as ttsi.preset makes it")
        check(settings)
        inputs = _as_list(inputs)
        if answers and len(answers) != len(inputs):
            given_answers = with_noun(len(answers), "answer")
            raise ConfigError(f"{given_answers} for {with_noun(len(inputs), 'input')}: give one per input, or none")
        if needs_samples(settings.awareness) and not all(answer.samples for answer in answers):
            answers = ()

        def attempt(inputs: Sequence[Input], answers: Sequence[Answer]) -> list[Episode]:
            with prefix_cache(model):
                return method(inputs, model, writer, settings, repeat, answers, experience)

        unfit = [_unfit(model, item, settings.answer.max_tokens) for item in inputs]
        fit = [i for i, failed in enumerate(unfit) if failed is None]
        done = iter(_each_alone_on_failure(attempt, [inputs[i] for i in fit], [answers[i] for i in fit if answers]))
        return [failed or next(done) for failed in unfit]

    return cast(Improve, improve)


def _as_list(inputs: object) -> list[Input]:
    """The inputs as a list.

    Raises:
        ConfigError: they are no list of inputs; the line says how to make one.
    """
    if isinstance(inputs, Input):
        raise ConfigError("inputs is a single Input: put it into a list, improve([input], model)")
    kind = kind_of(inputs)
    if isinstance(inputs, Mapping):
        raise ConfigError(f"inputs is {kind}: use a list of inputs, [ttsi.read_input(dictionary)]")
    if isinstance(inputs, str) or not isinstance(inputs, Iterable):
        raise ConfigError(f"inputs is {kind}: use a list of ttsi.Input")
    items = list(inputs)
    for place, item in enumerate(items):
        if not isinstance(item, Input):
            hint = ", as ttsi.read_input makes it of a dictionary" if isinstance(item, Mapping) else ""
            raise ConfigError(f"inputs[{place}] is {kind_of(item)}: use a ttsi.Input{hint}")
    return items


Attempt = Callable[[Sequence[Input], Sequence[Answer]], list[Episode]]


def _each_alone_on_failure(attempt: Attempt, inputs: Sequence[Input], answers: Sequence[Answer]) -> list[Episode]:
    if not inputs:
        return []
    plain: list[Episode] = []
    owed: Sequence[int] = range(len(inputs))
    try:
        return attempt(inputs, answers)
    except ConfigError:
        raise
    except _AdaptationFailed as failure:
        plain, owed, reason = failure.episodes, failure.selected, failure.reason
        answers = [episode.base for episode in plain if episode.base is not None]
    except (Exception, SystemExit) as error:
        reason = _reason(error)
    # Outside of the handlers, so that the failed attempt's tensors are free by now.
    if len(inputs) > 1:
        alone = {i: _each_alone_on_failure(attempt, [inputs[i]], answers[i : i + 1])[0] for i in owed}
        return [alone[i] if i in alone else plain[i] for i in range(len(inputs))]
    if plain:
        return [replace(plain[0], adaptation=Adaptation("training-failed", reason=reason)) if owed else plain[0]]
    return [Episode(inputs[0].id, inputs[0].content_hash, None, None, None, error=reason)]


class _AdaptationFailed(Exception):
    """A stage behind the base's answer failed; carries the episodes in which the base answers."""

    def __init__(self, episodes: list[Episode], selected: Sequence[int], reason: str) -> None:
        super().__init__(reason)
        self.episodes, self.selected, self.reason = episodes, selected, reason


class Interruption(BaseException):
    """Ends the loop from outside, as a deadline does. No stage takes it for a failure of its own."""

    episodes: tuple[Episode, ...] = ()
    """What was known by then, with the base's answers; none before awareness was known."""


Examples = Sequence[tuple[Example, ...]]


@contextmanager
def fall_back_to(
    stages: Stages, episodes: list[Episode], selected: Sequence[int]
) -> Iterator[Callable[[Examples], Examples]]:
    """Where the block fails, these episodes stand; within `isolate_failures`. An interruption takes them with it.

    Those of the selected inputs, which were to be adapted, have the reason, and the examples that the block recorded:
    they were paid for, as was the time of the stage that ended early.
    """

    def record(examples: Examples) -> Examples:
        for i, written in zip(selected, examples, strict=True):
            episodes[i] = replace(episodes[i], examples=written)
        return examples

    try:
        yield record
    except ConfigError:
        raise
    except (Exception, SystemExit) as error:
        stages.end()
        raise _AdaptationFailed(episodes, selected, _reason(error)) from error
    except Interruption as interruption:
        stages.end()
        interruption.episodes = tuple(episodes)
        raise


def _reason(error: BaseException) -> str:
    return f"{type(error).__name__}: {first_line(error)}"


def _unfit(model: Model, item: Input, max_new_tokens: int) -> Episode | None:
    """The episode of an input that cannot be answered at all, or None."""
    content_hash = ""
    try:
        check_input(item)
        content_hash = item.content_hash  # kept with the input: later it cannot fail
        prompt = Prompt(item.messages, item.tools)
        reason = model.fits(prompt, max_new_tokens) if prompt.messages else "there is no message"
    except ConfigError:
        raise
    except (Exception, SystemExit) as error:
        reason = first_line(error)
    return Episode(item.id, content_hash, None, None, None, error=f"prompt: {reason}") if reason else None


def log_stage(stage: str, inputs: int) -> None:
    """Log that a stage begins; the command line shows it as progress."""
    log.info("stage begun stage=%s inputs=%d", stage, inputs)


class Stages:
    """Wall time and random seeds of a batch, stage by stage."""

    def __init__(self, inputs: Sequence[Input], run_seed: int, repeat: int) -> None:
        self.inputs, self._run_seed, self._repeat = inputs, run_seed, repeat
        self._served = list(range(len(inputs)))
        self._seconds: list[dict[str, float]] = [{} for _ in inputs]
        self._stage = ""
        self._start = time.perf_counter()

    def begin(self, stage: str, served: list[int] | None = None) -> list[int]:
        """Begin a stage for these inputs, or for those of the stage before.

        Returns:
            The inputs' seeds for this stage; they depend on the run's seed, the input, its repeat and the stage alone.
        """
        self.end()
        self._served = self._served if served is None else served
        self._stage = stage
        if self._served:
            log_stage(stage, len(self._served))
        hashes = [self.inputs[i].content_hash for i in self._served]
        return [stage_seed(self._run_seed, content_hash, self._repeat, stage) for content_hash in hashes]

    def end(self) -> None:
        """End a stage: its time is shared equally by the inputs that it served."""
        now = time.perf_counter()
        for i in self._served if self._stage else ():
            seconds = self._seconds[i]
            seconds[self._stage] = seconds.get(self._stage, 0.0) + (now - self._start) / len(self._served)
        self._start, self._stage = now, ""

    def add(self, i: int, stage: str, seconds: float) -> None:
        """Add time that a stage of an input has had before, in a run that was interrupted."""
        if seconds:
            self._seconds[i][stage] = self._seconds[i].get(stage, 0.0) + seconds

    def episodes(self, before: Sequence[Answer], awareness: Sequence[Awareness]) -> list[Episode]:
        """The episodes in which the base answers; seconds of later stages are added to them."""
        return [
            Episode(item.id, item.content_hash, base, base, confidence, seconds=seconds)
            for item, base, confidence, seconds in zip(self.inputs, before, awareness, self._seconds, strict=True)
        ]


def with_adaptations(
    stages: Stages,
    episodes: Sequence[Episode],
    adapted: Sequence[int],
    examples: Examples,
    tuned: Tuned,
    after: Sequence[Answer],
    config: AdaptationConfig,
    experience: Experience | None = None,
) -> list[Episode]:
    """The episodes, of which the adapted ones have their examples, their adaptation and their new answer.

    The base's answer stays where nothing was learned or a guard refuses the new one. The last stage ends here.
    """
    stages.end()
    results = list(episodes)
    for i, written, adaptation, answer in zip(adapted, examples, tuned.adaptations, after, strict=True):
        stages.add(i, "adaptation", adaptation.earlier_seconds)
        adaptation = replace(adaptation, logprob_shift=logprob_shift(answer))
        episode = replace(results[i], examples=written, adaptation=adaptation)
        results[i] = _settle(stages.inputs[i], episode, answer, config, experience)
    return results


def logprob_shift(answer: Answer) -> float | None:
    """How far the adapter moved the mean log-probability of its answer's tokens (nats)."""
    return None if answer.base_logprob is None else (answer.logprob - answer.base_logprob) / max(1, answer.tokens)


def _settle(
    item: Input, episode: Episode, answer: Answer, config: AdaptationConfig, experience: Experience | None
) -> Episode:
    adaptation = episode.adaptation
    if episode.base is None or adaptation.status in ("none", "training-failed"):
        return episode
    more = more_failures(item, episode.base, answer, experience)
    if reason := guard_refusal(item, episode.base, answer, config, more, episode.examples):
        return replace(episode, adaptation=replace(adaptation, refused=reason))
    return replace(episode, adapted=answer)


def guard_refusal(
    item: Input,
    base: Answer,
    adapted: Answer,
    config: AdaptationConfig,
    more_failed: int = 0,
    examples: Sequence[Example] = (),
) -> str | None:
    """Why a guard refuses the adapted answer, or None.

    Where an agent's environment accepts more calls of one of them (`more_failures`), that decides, and the other guards
    have no say. The examples are those that the adapter learned, or that the prompt has.
    """
    if more_failed < 0 and adapted.calls:
        return None
    reason = _execution_refusal(more_failed) or lack_of_confidence(base, adapted, config.min_confidence_gain)
    if config.refuse_unstated:
        reason = reason or worse_values(base, adapted, item, examples)
    if config.keep_decision:
        reason = reason or call_dropped(base, adapted)
    return reason


def _execution_refusal(more_failed: int) -> str | None:
    return "more of its calls fail on a copy of the environment" if more_failed > 0 else None


def more_failures(item: Input, base: Answer, adapted: Answer, experience: Experience | None) -> int:
    """How many more of an answer's calls fail on a copy of an agent's environment than of the base's.

    0 without an environment, and where calls that were not tried could change the sign.
    """
    if experience is None:
        return 0
    before, after = experience.failures(item, base.calls), experience.failures(item, adapted.calls)
    return max(0, after.least - before.most) or min(0, after.most - before.least)
