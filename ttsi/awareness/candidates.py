"""The competing actions of an input, and their log-probabilities.

Inputs: inputs with their tools. Outputs: for each input the competing actions as (action, text, summed
log-probability in nats).

    names   for each tool, the begun call up to the closed name; where the family reasons first, summed over every
            reason it knows for that tool: P(a) = sum over reasons r of P(r, name)
    calls   for each tool, the likeliest call of it (greedy under a grammar that admits only that tool), scored under
            the unmasked model; of several reasons the likeliest
    samples the different answers among the base's samples, each scored as its likeliest sample; for open answers, whose
            actions cannot be listed

Where the family has a text for "no tool fits", that text competes, too. The paper says only "each candidate action
a_n (e.g. the available APIs)". Scoring names behind a reasoning that already names the tool would measure nothing:
hence the sum over reasons. Whole calls add the uncertainty about argument values, but where values are long it
swamps the difference between tools: a softmax over sums of -30 and -50 is certain of the first (dev/log.md).
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence

from ttsi.call_equality import canonical_calls
from ttsi.chat.grammar import tool_grammar
from ttsi.config import AwarenessConfig
from ttsi.errors import ModelError
from ttsi.models import Model, Request
from ttsi.models.name_scores import Scored, score_names
from ttsi.types import NO_TOOL, Answer, Input, Prompt, SampledAnswer

MAX_CALL_TOKENS = 200


def score_candidates(
    model: Model,
    inputs: Sequence[Input],
    config: AwarenessConfig,
    answers: Sequence[Answer] = (),
    adapters: Sequence[int | None] = (),
) -> list[Scored]:
    """The competing actions of each input: in the order of its tools, "no tool" last; samples likeliest first.

    Raises:
        ModelError: the model gave no text for a call (`Generation.error`).
    """
    if config.candidates == "samples":
        return [_distinct(answer.samples) for answer in answers]
    if config.candidates == "names":
        return score_names(model, inputs, config.no_tool, adapters)
    return _calls(model, inputs, config.no_tool, adapters)


def _distinct(samples: Sequence[SampledAnswer]) -> Scored:
    likeliest: dict[str, SampledAnswer] = {}
    for sample in sorted(samples, key=lambda sample: -sample.logprob):
        if sample.error is None:
            likeliest.setdefault(canonical_calls(sample.calls), sample)
    return [(_action(sample), sample.text, sample.logprob) for sample in likeliest.values()]


def count_votes(samples: Sequence[SampledAnswer]) -> tuple[int, ...]:
    """Sizes of the groups of equal samples, largest first; each unreadable sample is a group of its own."""
    sizes = Counter(
        canonical_calls(sample.calls) if sample.error is None else f"unreadable {i}" for i, sample in enumerate(samples)
    )
    return tuple(sorted(sizes.values(), reverse=True))


def _action(sample: SampledAnswer) -> str:
    return " + ".join(call.name for call in sample.calls) or NO_TOOL


def _calls(model: Model, inputs: Sequence[Input], no_tool: bool, adapters: Sequence[int | None]) -> list[Scored]:
    actions: list[tuple[int, str]] = []
    requests: list[Request] = []
    for number, (item, adapter) in enumerate(zip(inputs, adapters or [None] * len(inputs), strict=True)):
        prompt = Prompt(item.messages, item.tools)
        for action, grammar in _grammars(model, item, no_tool):
            actions.append((number, action))
            requests.append(Request(prompt, MAX_CALL_TOKENS, grammar=grammar, adapter=adapter))
    scored: list[Scored] = [[] for _ in inputs]
    for (number, action), call in zip(actions, model.generate(requests), strict=True):
        if call.error is not None:  # a log-probability of 0 would make it the likeliest of all
            raise ModelError(f"the model gave no text ({call.error})")
        scored[number].append((action, call.text, call.logprob))
    return scored


def _grammars(model: Model, item: Input, no_tool: bool) -> list[tuple[str, str]]:
    grammars = [(tool.name, tool_grammar(model.format, tool, model.format.reasons(tool))) for tool in item.tools]
    if no_tool and model.format.no_tool is not None:
        grammars.append((NO_TOOL, f"start: {json.dumps(model.format.no_tool)}"))
    return grammars
