"""How is the answer decoded?

Inputs: inputs, and which adapter answers each. Outputs: one `Answer` per input, in order. Greedy, or the majority of
samples; free, or constrained to calls that fit the tools' schemas. A gain is never a difference between two ways of
decoding, so base and adapted pass through this one function with the same settings.

The paper decodes directly, by majority vote and as pass@5. The vote gives the winning sample; for pass@k the greedy
answer is given and the samples stand beside it (`Answer.samples`), any of which may be right: a way of scoring. Both
sides sample with the same seeds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

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
    voted: bool = False,
    drawn: bool = False,
) -> list[Answer]:
    """Answer each input, with its adapter where it has one.

    Args:
        adapters: which adapter answers each input; None is the base.
        seeds: one per input, for samples; needed where there are any.
        voted: answer by majority vote whatever the strategy is (the method `vote`).
        drawn: sample as well, since somebody counts votes (awareness).
    """
    chosen = adapters if adapters is not None else [None] * len(inputs)
    requests = [_request(model, item, config, adapter) for item, adapter in zip(inputs, chosen, strict=True)]
    vote = voted or config.strategy == "vote"
    samples = _samples(requests, seeds, config) if vote or drawn or config.strategy == "pass@k" else []
    said = model.generate([*([] if vote else requests), *samples])
    answers = [] if vote else [_answer(model, item, text) for item, text in zip(inputs, said, strict=False)]
    draws = said[len(answers) :]
    if not draws:
        return answers
    per_input = [draws[start : start + config.samples] for start in range(0, len(draws), config.samples)]
    if vote:
        return [_elected(model, item, texts) for item, texts in zip(inputs, per_input, strict=True)]
    return [
        replace(answer, samples=_draws([_answer(model, item, text) for text in texts]))
        for answer, item, texts in zip(answers, inputs, per_input, strict=True)
    ]


def _samples(requests: Sequence[Request], seeds: Sequence[int], config: AnswerConfig) -> list[Request]:
    return [
        replace(request, temperature=config.temperature, seed=seed + 7919 * number)
        for request, seed in zip(requests, seeds, strict=True)
        for number in range(config.samples)
    ]


def _elected(model: Model, item: Input, texts: Sequence[Generation]) -> Answer:
    answers = [_answer(model, item, text) for text in texts]
    draws = _draws(answers)
    return replace(answers[winner(draws)], samples=draws)


def _draws(answers: Sequence[Answer]) -> tuple[SampledAnswer, ...]:
    return tuple(SampledAnswer(answer.text, answer.calls, answer.error, answer.logprob) for answer in answers)


def _request(model: Model, item: Input, config: AnswerConfig, adapter: int | None) -> Request:
    constrained = config.decoding == "constrained" and item.tools
    grammar = config.grammar or (answer_grammar(model.format, item.tools, config.calls) if constrained else None)
    return Request(Prompt(item.messages, item.tools), config.max_tokens, grammar=grammar, adapter=adapter)


def _answer(model: Model, item: Input, said: Generation) -> Answer:
    parsed = model.format.parse(said.text, item.tools)
    error = parsed.error if said.finished else "cut off at max_tokens"
    return Answer(
        text=said.text,
        calls=() if error else parsed.calls,
        error=error,
        logprob=said.logprob,
        min_logprob=said.min_logprob,
        tokens=said.tokens,
        finish_reason="stop" if said.finished else "length",
    )
