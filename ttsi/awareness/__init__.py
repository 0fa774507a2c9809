"""Is the model sure? (The paper's H, section "self-awareness".)

Inputs: inputs and the base's own answers to them. Outputs: one `Awareness` per input, in order.

The paper scores "each candidate action a_n" and takes the margin of a relative softmax (RSS); it does not say which
string is scored. Ours scores whole calls as the model would write them for each tool, or the tools' names
(`AwarenessConfig.candidates`), and computes every other measure beside the deciding one, so that reports can compare
them.
"""

from __future__ import annotations

from collections.abc import Sequence

from ttsi.awareness.candidates import score_candidates, votes
from ttsi.awareness.measures import MEASURES, SAMPLED, Evidence, softmax
from ttsi.awareness.threshold import is_unsure
from ttsi.config import AwarenessConfig
from ttsi.errors import ConfigError, unknown_name
from ttsi.models import Model
from ttsi.types import Answer, Awareness, Candidate, Input


def needs_samples(config: AwarenessConfig) -> bool:
    """Does this way of measuring need samples of the base's answer?"""
    return config.candidates == "samples" or config.measure in SAMPLED


def estimate(
    model: Model, inputs: Sequence[Input], answers: Sequence[Answer], config: AwarenessConfig
) -> list[Awareness]:
    """Measure how sure `model` is about each input.

    Args:
        answers: the base's own answers, whose log-probabilities are evidence, too.

    Raises:
        ConfigError: there is no measure of that name.
    """
    if config.measure not in MEASURES:
        raise ConfigError(unknown_name("measure", config.measure, MEASURES))
    scored = score_candidates(model, inputs, config, answers)
    return [_judge(actions, answer, config) for actions, answer in zip(scored, answers, strict=True)]


def _judge(actions: list[tuple[str, str, float]], answer: Answer, config: AwarenessConfig) -> Awareness:
    logprobs = tuple(logprob for _, _, logprob in actions)
    evidence = Evidence(logprobs, answer.logprob, answer.min_logprob, answer.tokens, votes(answer.samples))
    measures = {name: measure(evidence) for name, measure in MEASURES.items() if evidence.votes or name not in SAMPLED}
    ranked = sorted(zip(actions, softmax(logprobs), strict=True), key=lambda pair: -pair[1])
    value = MEASURES[config.measure](evidence)
    return Awareness(
        candidates=tuple(Candidate(action, text, logprob, share) for (action, text, logprob), share in ranked),
        measure=config.measure,
        value=value,
        tau=config.tau,
        unsure=is_unsure(value, config.tau),
        measures=measures,
    )
