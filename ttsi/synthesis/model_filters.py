"""Filters that use the model: round-trip consistency, and dropping the least likely examples.

Inputs: the model that will learn the examples, the examples written so far. Outputs: the same examples, some refused
with the reason.

    round trip   the model's own greedy answer to the request is another call: either the label or the model is wrong
                 (cycle consistency, arXiv:1906.05416)
    drop worst   of an input's n kept examples the floor(drop_worst * n) with the lowest log-likelihood per character of
                 the call go: unlikely labels are more often wrong than new (small-loss selection, arXiv:1804.06872)

Both cost one more pass over the examples and are off by default. The paper (arXiv:2510.07841) checks nothing. They keep
what the model can do already and may drop what it needs to learn: measure before you use them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ttsi.call_equality import canonical_calls
from ttsi.chat.grammar import answer_grammar
from ttsi.config import SynthesisConfig
from ttsi.models import Model, Request
from ttsi.types import Example, Input, standalone_prompt

Written = list[list[Example]]
"""Per input, its examples."""


def apply_model_filters(
    model: Model, inputs: Sequence[Input], written: Written, config: SynthesisConfig
) -> list[tuple[Example, ...]]:
    """The examples after the filters that the settings switch on."""
    if config.round_trip:
        _round_trip(model, inputs, written, config)
    if config.drop_worst > 0:
        _drop_worst(model, inputs, written, config.drop_worst)
    return [tuple(examples) for examples in written]


def worst(scores: Sequence[float], share: float) -> list[int]:
    """The indices of the floor(share * n) lowest scores; of equal ones the later.

    >>> worst([-0.1, -2.0, -0.5, -0.5], 0.5)
    [1, 3]
    """
    ranked = sorted(range(len(scores)), key=lambda i: (scores[i], -i))
    return sorted(ranked[: int(share * len(scores))])


def _round_trip(model: Model, inputs: Sequence[Input], written: Written, config: SynthesisConfig) -> None:
    indices = _indices_kept(written)
    requests = [
        Request(
            standalone_prompt(inputs[i], written[i][j].query),
            config.max_tokens,
            grammar=answer_grammar(model.format, inputs[i].tools),
        )
        for i, j in indices
    ]
    for (i, j), generation in zip(indices, model.generate(requests), strict=True):
        parsed, calls = model.format.parse(generation.text, inputs[i].tools), written[i][j].calls
        if parsed.error or not generation.finished:
            _refuse(written, i, j, "round trip: the model's own answer cannot be read")
        elif canonical_calls(parsed.calls) != canonical_calls(calls):
            names = " and ".join(call.name for call in parsed.calls) or "no tool"
            same = sorted(call.name for call in parsed.calls) == sorted(call.name for call in calls)
            _refuse(written, i, j, f"round trip: the model calls {names}{' with other arguments' if same else ''}")


def _drop_worst(model: Model, inputs: Sequence[Input], written: Written, share: float) -> None:
    indices = _indices_kept(written)
    targets = [_target(model, inputs[i], written[i][j]) for i, j in indices]
    prompts = [standalone_prompt(inputs[i], written[i][j].query) for i, j in indices]
    logprobs = model.score(prompts, [[target] for target in targets])
    scores = [value / max(len(target), 1) for [value], target in zip(logprobs, targets, strict=True)]
    for number in range(len(written)):
        of_input = [at for at, (i, _) in enumerate(indices) if i == number]
        for at in worst([scores[at] for at in of_input], share):
            _refuse(written, *indices[of_input[at]], f"loss: among the {share:.0%} that the model finds least likely")


def _target(model: Model, item: Input, example: Example) -> str:
    tools = {tool.name: tool for tool in item.tools}
    reasons = [model.format.reason(tools[call.name], example.query, item.tools) for call in example.calls]
    return model.format.render(example.calls, reasons, item.tools)


def _indices_kept(written: Written) -> list[tuple[int, int]]:
    """(input, example) of every example that was not refused."""
    return [
        (i, j) for i, examples in enumerate(written) for j, example in enumerate(examples) if example.refused is None
    ]


def _refuse(written: Written, i: int, j: int, reason: str) -> None:
    written[i][j] = replace(written[i][j], refused=reason)
