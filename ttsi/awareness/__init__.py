"""Self-awareness: the model's confidence about each input. (The paper's H.)

Inputs: inputs and the base's own answers to them. Outputs: one `Awareness` per input, in order.

The paper scores "each candidate action a_n" and takes the margin of a relative softmax (RSS); it does not say which
string is scored. Ours scores the tools' names, or whole calls as the model would write them
(`AwarenessConfig.candidates`), and computes every other measure beside the deciding one, so that reports can compare
them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ttsi.awareness.candidates import count_votes, score_candidates
from ttsi.awareness.measures import MEASURES, Evidence, checked_value, counts_samples, find_measure, softmax
from ttsi.awareness.selection import select, select_episodes
from ttsi.awareness.threshold import is_unsure
from ttsi.chat.grounding import StatedValues, conversation_text, unstated_arguments
from ttsi.chat.omission import omitted_literals
from ttsi.config import AwarenessConfig
from ttsi.environments.experience import Experience
from ttsi.models import Model
from ttsi.models.name_scores import Scored
from ttsi.types import END_TURN, Answer, Awareness, Candidate, Input

__all__ = ["estimate", "needs_samples", "select", "select_episodes"]


def needs_samples(config: AwarenessConfig) -> bool:
    """Whether this way of measuring needs samples of the base's answer."""
    return config.candidates == "samples" or counts_samples(find_measure(config.measure))


def estimate(
    model: Model,
    inputs: Sequence[Input],
    answers: Sequence[Answer],
    config: AwarenessConfig,
    adapters: Sequence[int | None] = (),
    experience: Experience | None = None,
) -> list[Awareness]:
    """Measure the model's confidence about each input.

    Args:
        answers: the model's own answers, whose log-probabilities are evidence, too.
        adapters: which adapter is measured on each input, and has answered it; () is the base.
        experience: the environments that the inputs are decisions in; a call that fails there is evidence, too.

    Raises:
        ConfigError: there is no measure of that name.
    """
    find_measure(config.measure)  # a wrong name costs no forward pass
    scored = score_candidates(model, inputs, config, answers, adapters)
    return [
        replace(
            _judge(actions, _evidence(item, actions, answer, experience), config),
            in_words=_is_in_words(model, item, answer),
        )
        for item, actions, answer in zip(inputs, scored, answers, strict=True)
    ]


def _is_in_words(model: Model, item: Input, answer: Answer) -> bool:
    # The text decides: an answer that was cut off has no calls, whatever it began with.
    parsed = model.format.parse(answer.text, item.tools)
    return parsed.error is None and all(call.name == END_TURN for call in parsed.calls)


def _evidence(item: Input, actions: Scored, answer: Answer, experience: Experience | None) -> Evidence:
    stated = StatedValues.of(conversation_text(item.messages))
    unstated = sum(len(unstated_arguments(call, item.tools, stated)) for call in answer.calls)
    return Evidence(
        tuple(logprob for _, _, logprob in actions),
        answer.logprob,
        answer.min_logprob,
        answer.tokens,
        count_votes(answer.samples),
        unstated + (answer.error is not None) + (experience.failures(item, answer.calls).least if experience else 0),
        len(omitted_literals(answer.calls, item.tools, item.messages)),
        sum(sample.error is not None for sample in answer.samples),
    )


def _judge(actions: Scored, evidence: Evidence, config: AwarenessConfig) -> Awareness:
    functions = {name: f for name, f in MEASURES.items() if evidence.votes or not counts_samples(f)}
    functions[config.measure] = find_measure(config.measure)
    measures = {name: function(evidence) for name, function in functions.items()}
    value = measures[config.measure] = checked_value(config.measure, measures[config.measure])
    ranked = sorted(zip(actions, softmax(evidence.logprobs), strict=True), key=lambda pair: -pair[1])
    return Awareness(
        candidates=tuple(Candidate(action, text, logprob, share) for (action, text, logprob), share in ranked),
        measure=config.measure,
        value=value,
        tau=config.tau,
        unsure=is_unsure(value, config.tau),
        measures=measures,
    )
