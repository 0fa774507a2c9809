"""What does the model that will learn the examples think of them?

Inputs: the learner, the examples written so far. Outputs: the same examples, some refused with the reason.

    round trip   the learner's own greedy answer to the request is another call: either the label or the model is wrong,
                 and nobody can say which (cycle consistency, arXiv:1906.05416)
    worst loss   of an input's n kept examples the floor(trim * n) with the lowest log-likelihood per character of the
                 call go: labels that look odd to the model are more often wrong than new (small-loss selection,
                 arXiv:1804.06872)

Both cost one more pass over the examples and are off by default. The paper (arXiv:2510.07841) checks nothing. They keep
what the model can already do, so they may as well throw away what it needs; measure before you use them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ttsi.chat.grammar import answer_grammar
from ttsi.config import SynthesisConfig
from ttsi.models import Model, Request
from ttsi.types import Example, Input, canonical_calls, standalone_prompt

Written = list[list[Example]]
Place = tuple[int, int]
"""Number of the input, number of the example."""


def apply_model_filters(
    learner: Model, inputs: Sequence[Input], written: Written, config: SynthesisConfig
) -> list[tuple[Example, ...]]:
    """The examples after the checks that the settings ask for."""
    if config.round_trip:
        _round_trip(learner, inputs, written, config)
    if config.drop_worst > 0:
        _trim(learner, inputs, written, config.drop_worst)
    return [tuple(examples) for examples in written]


def worst(scores: Sequence[float], share: float) -> list[int]:
    """Which of the scores are the floor(share * n) lowest; of equal ones the later.

    >>> worst([-0.1, -2.0, -0.5, -0.5], 0.5)
    [1, 3]
    """
    ranked = sorted(range(len(scores)), key=lambda i: (scores[i], -i))
    return sorted(ranked[: int(share * len(scores))])


def _round_trip(learner: Model, inputs: Sequence[Input], written: Written, config: SynthesisConfig) -> None:
    places = _kept(written)
    requests = [
        Request(
            standalone_prompt(inputs[i], written[i][j].query),
            config.max_tokens,
            grammar=answer_grammar(learner.format, inputs[i].tools),
        )
        for i, j in places
    ]
    for (i, j), said in zip(places, learner.generate(requests), strict=True):
        found = learner.format.parse(said.text, inputs[i].tools)
        if found.error or not said.finished:
            _refuse(written, (i, j), "round trip: the model's own answer cannot be read")
        elif canonical_calls(found.calls) != canonical_calls(written[i][j].calls):
            names = " and ".join(call.name for call in found.calls) or "no tool"
            same = sorted(c.name for c in found.calls) == sorted(c.name for c in written[i][j].calls)
            _refuse(written, (i, j), f"round trip: the model calls {names}{' with other arguments' if same else ''}")


def _trim(learner: Model, inputs: Sequence[Input], written: Written, share: float) -> None:
    places = _kept(written)
    targets = [_target(learner, inputs[i], written[i][j]) for i, j in places]
    prompts = [standalone_prompt(inputs[i], written[i][j].query) for i, j in places]
    found = learner.score(prompts, [[target] for target in targets])
    scores = [value / max(len(target), 1) for [value], target in zip(found, targets, strict=True)]
    for number in range(len(written)):
        own = [at for at, (i, _) in enumerate(places) if i == number]
        for at in worst([scores[at] for at in own], share):
            _refuse(written, places[own[at]], f"loss: among the {share:.0%} that the model finds least likely")


def _target(learner: Model, item: Input, example: Example) -> str:
    tools = {tool.name: tool for tool in item.tools}
    reasons = [learner.format.reason(tools[call.name], example.query, item.tools) for call in example.calls]
    return learner.format.render(example.calls, reasons, item.tools)


def _kept(written: Written) -> list[Place]:
    return [(i, j) for i, examples in enumerate(written) for j, one in enumerate(examples) if one.refused is None]


def _refuse(written: Written, place: Place, reason: str) -> None:
    i, j = place
    written[i][j] = replace(written[i][j], refused=reason)
