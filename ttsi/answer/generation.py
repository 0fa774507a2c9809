"""Decoding of answers: greedy, reranked, or samples and their majority; free, or constrained to the tools' schemas.

Inputs: inputs, and which adapter answers each. Outputs: one `Answer` per input, in order. Base and adapted answers pass
through this one function with the same settings, so a gain is never a difference between two ways of decoding.

The paper decodes greedily, by majority vote and as pass@5. A vote returns the winning sample. With pass@k the greedy
answer is returned with the samples beside it (`Answer.samples`), any of which may be right: it is a way of scoring.
Base and adapted samples have the same seeds. Reranking is ours (`ttsi.answer.reranking`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ttsi.answer.omissions import fill_omitted
from ttsi.answer.reranking import rerank
from ttsi.answer.task import AnswerTask
from ttsi.answer.voting import winner
from ttsi.config import AnswerConfig, Strategy
from ttsi.models import Model, Request
from ttsi.types import Answer, Input, SampledAnswer


def generate_answers(
    model: Model,
    inputs: Sequence[Input],
    config: AnswerConfig,
    adapters: Sequence[int | None] | None = None,
    seeds: Sequence[int] = (),
    strategy: Strategy | None = None,
    base: tuple[Sequence[Input], Sequence[Answer]] | None = None,
    *,
    sample: bool = False,
) -> list[Answer]:
    """Answer each input, with its adapter where it has one.

    Args:
        adapters: which adapter answers each input; None is the base.
        seeds: one per input, for samples; needed where there are any.
        strategy: in place of `config.strategy`.
        base: the inputs as the base had them, and its answers with the same settings. Values count as stated only
            where they stand in the former. A greedy answer is not written again where the base would answer the same
            input once more.
        sample: return samples beside the greedy answer whatever the strategy is.

    Raises:
        ModelError: the model gave no text for an input (`Generation.error`).
    """
    adapters = adapters if adapters is not None else [None] * len(inputs)
    conversations, first = base or (inputs, ())
    task = AnswerTask(model, inputs, config, adapters, conversations)
    strategy = strategy or config.strategy
    requests, vote = task.requests, strategy == "vote"
    answered = {} if vote or config.strategy == "vote" else _base_answers(task, first)
    waiting = [] if vote else [i for i in range(len(inputs)) if i not in answered]
    sampling = _sampling(requests, seeds, config) if vote or sample or config.strategy == "pass@k" else []
    generations = model.generate([*(requests[i] for i in waiting), *sampling])
    answered |= {i: task.read(i, generation) for i, generation in zip(waiting, generations, strict=False)}
    greedy = [answered[i] for i in sorted(answered)]
    final = rerank(task, greedy) if strategy == "rerank" else greedy
    sampled = generations[len(waiting) :]
    if not sampled:
        return fill_omitted(task, final) if config.fill_omitted else final
    n = config.samples
    per_input = [task.read_samples(i, sampled[i * n : (i + 1) * n]) for i in range(len(inputs))]
    samples = [tuple(SampledAnswer(a.text, a.calls, a.error, a.logprob) for a in answers) for answers in per_input]
    if vote:
        final = [answers[winner(votes)] for answers, votes in zip(per_input, samples, strict=True)]
    final = fill_omitted(task, final) if config.fill_omitted else final
    return [replace(answer, samples=beside) for answer, beside in zip(final, samples, strict=True)]


def _base_answers(task: AnswerTask, first: Sequence[Answer]) -> dict[int, Answer]:
    """The base's greedy answers that answer these very inputs, by their place; its samples do not count."""
    same = enumerate(zip(task.inputs, task.conversations, task.adapters, first, strict=False))
    return {
        i: replace(answer, samples=())
        for i, (item, conversation, adapter, answer) in same
        if adapter is None and item == conversation
    }


def _sampling(requests: Sequence[Request], seeds: Sequence[int], config: AnswerConfig) -> list[Request]:
    return [
        replace(request, temperature=config.temperature, seed=seed + 7919 * number)
        for request, seed in zip(requests, seeds, strict=True)
        for number in range(config.samples)
    ]
