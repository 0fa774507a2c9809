"""Log-probabilities of an input's tools, each by the begun call up to its closed name.

Inputs: a model and inputs with their tools. Outputs: for each input (action, text, summed log-probability in nats), in
the order of its tools; where a family reasons first, summed over every reason that it has for a tool: P(a) = sum over
reasons r of P(r, name). Awareness compares these, and an answer is reranked by them.

The paper (arXiv:2510.07841) compares "candidate actions" and does not define their text.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from ttsi.models import Model
from ttsi.types import NO_TOOL, Input, Prompt

Scored = list[tuple[str, str, float]]
"""(action, text, summed log-probability in nats)."""


def score_names(
    model: Model, inputs: Sequence[Input], no_tool: bool = False, adapters: Sequence[int | None] = ()
) -> list[Scored]:
    """One entry per tool of each input; behind them "no tool", where it counts and the family has words for it.

    Args:
        adapters: which adapter scores each input; None is the base, and so is no entry at all.
    """
    prompts = [Prompt(item.messages, item.tools) for item in inputs]
    openings = [_call_openings(model, item, no_tool) for item in inputs]
    texts = [[text for _, text in pairs] for pairs in openings]
    # A model of one's own may score without adapters: only where there are any does it have to take them.
    trained = any(adapter is not None for adapter in adapters)
    scores = model.score(prompts, texts, adapters) if trained else model.score(prompts, texts)
    return [_sum_by_action(pairs, logprobs) for pairs, logprobs in zip(openings, scores, strict=True)]


def _call_openings(model: Model, item: Input, no_tool: bool) -> list[tuple[str, str]]:
    """Every text to be scored, with the action that it begins."""
    spans = {tool.name: "".join(model.format.name_span(tool.name)) for tool in item.tools}
    openings = [(tool.name, reason + spans[tool.name]) for tool in item.tools for reason in model.format.reasons(tool)]
    if no_tool and model.format.no_tool is not None:
        openings.append((NO_TOOL, model.format.no_tool))
    return openings


def _sum_by_action(texts: Sequence[tuple[str, str]], logprobs: Sequence[float]) -> Scored:
    """One entry per action: its likeliest text, and the log of its texts' summed probability."""
    by_action: dict[str, list[tuple[float, str]]] = {}
    for (action, text), logprob in zip(texts, logprobs, strict=True):
        by_action.setdefault(action, []).append((logprob, text))
    return [(action, max(pairs)[1], _log_sum_exp([value for value, _ in pairs])) for action, pairs in by_action.items()]


def _log_sum_exp(values: Sequence[float]) -> float:
    top = max(values)
    return top if top == -math.inf else top + math.log(sum(math.exp(value - top) for value in values))
