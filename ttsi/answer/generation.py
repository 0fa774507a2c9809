"""Decoding of answers: greedy, or samples and their majority; free, or constrained to the tools' schemas.

Inputs: inputs, and which adapter answers each. Outputs: one `Answer` per input, in order. Base and adapted answers pass
through this one function with the same settings, so a gain is never a difference between two ways of decoding.

The paper decodes greedily, by majority vote and as pass@5. A vote returns the winning sample. With pass@k the greedy
answer is returned with the samples beside it (`Answer.samples`), any of which may be right: it is a way of scoring.
Base and adapted samples have the same seeds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from ttsi.answer.voting import winner
from ttsi.chat.grammar import answer_grammar
from ttsi.config import AnswerConfig
from ttsi.models import Generation, Model, Request
from ttsi.types import Answer, Input, Prompt, SampledAnswer


def generate_answers(
    model: Model,
    inputs: Sequence[Input],
    config: AnswerConfig,
    adapters: Sequence[int | None] | None = None,
    seeds: Sequence[int] = (),
    *,
    vote: bool = False,
    sample: bool = False,
) -> list[Answer]:
    """Answer each input, with its adapter where it has one.

    Args:
        adapters: which adapter answers each input; None is the base.
        seeds: one per input, for samples; needed where there are any.
        vote: answer by majority vote whatever the strategy is.
        sample: return samples beside the greedy answer whatever the strategy is.
    """
    adapters = adapters if adapters is not None else [None] * len(inputs)
    requests = [_request(model, item, config, adapter) for item, adapter in zip(inputs, adapters, strict=True)]
    vote = vote or config.strategy == "vote"
    sampling = _sampling(requests, seeds, config) if vote or sample or config.strategy == "pass@k" else []
    generations = model.generate([*([] if vote else requests), *sampling])
    read = partial(_answer, model)
    greedy = [] if vote else list(map(read, inputs, generations))
    sampled = generations[len(greedy) :]
    if not sampled:
        return greedy
    n = config.samples
    per_input = [[read(item, sample) for sample in sampled[i * n : (i + 1) * n]] for i, item in enumerate(inputs)]
    samples = [tuple(SampledAnswer(a.text, a.calls, a.error, a.logprob) for a in answers) for answers in per_input]
    final = [answers[winner(votes)] for answers, votes in zip(per_input, samples, strict=True)] if vote else greedy
    return [replace(answer, samples=beside) for answer, beside in zip(final, samples, strict=True)]


def _sampling(requests: Sequence[Request], seeds: Sequence[int], config: AnswerConfig) -> list[Request]:
    return [
        replace(request, temperature=config.temperature, seed=seed + 7919 * number)
        for request, seed in zip(requests, seeds, strict=True)
        for number in range(config.samples)
    ]


def _request(model: Model, item: Input, config: AnswerConfig, adapter: int | None) -> Request:
    constrained = config.decoding == "constrained" and item.tools
    grammar = config.grammar or (answer_grammar(model.format, item.tools, config.calls) if constrained else None)
    prompt, with_base = Prompt(item.messages, item.tools), adapter is not None
    return Request(prompt, config.max_tokens, grammar=grammar, adapter=adapter, with_base=with_base)


def _answer(model: Model, item: Input, generation: Generation) -> Answer:
    parsed = model.format.parse(generation.text, item.tools)
    error = parsed.error if generation.finished else "cut off at max_tokens"
    return Answer(
        text=generation.text,
        calls=() if error else parsed.calls,
        error=error,
        logprob=generation.logprob,
        min_logprob=generation.min_logprob,
        base_logprob=generation.base_logprob,
        tokens=generation.tokens,
        finish_reason="stop" if generation.finished else "length",
    )
