"""Examples for on-policy distillation: the model's own answers to the input, taught by itself with examples in context.

Inputs: inputs with their kept examples. Outputs: `TrainingExample`s whose target is an answer that the base drew for
the input, and whose teacher's prompt has the examples as earlier turns (`adaptation.objective` distill). The adapter
learns the distributions of that teacher on its own texts: OPCD (arXiv:2602.12275), SDFT (arXiv:2601.19897). No example
is a target, and no gold answer is anywhere.

The answers are drawn once, before the first step, when adapter and base are the same: exactly on-policy there, and
nearly so for the few small steps behind it. Drawing them anew at each step would take several times as long as the
training itself, since a written token costs a pass of its own. The paper (arXiv:2510.07841) trains with cross-entropy.
"""

from __future__ import annotations

from collections.abc import Sequence

from ttsi.adaptation.examples import fitting_demonstrations, with_demonstrations
from ttsi.chat.grammar import answer_grammar
from ttsi.config import LoopConfig
from ttsi.models import Model, Request
from ttsi.types import Example, Input, Prompt, TrainingExample

SAMPLES = 4
"""Answers drawn per input: a step then costs about what it costs with four written examples, which all share the
input's own prompt."""


def distillation_examples(
    model: Model,
    inputs: Sequence[Input],
    kept: Sequence[Sequence[Example]],
    config: LoopConfig,
    seeds: Sequence[int],
) -> list[list[TrainingExample]]:
    """One list per input: empty where no example fits the context, or no answer came to its end."""
    fitting = [fitting_demonstrations(model, *pair, config) for pair in zip(inputs, kept, strict=True)]
    places = [place for place, examples in enumerate(fitting) if examples for _ in range(SAMPLES)]
    requests = [
        Request(
            Prompt(inputs[place].messages, inputs[place].tools),
            config.answer.max_tokens,
            temperature=1.0,
            seed=seeds[place] + 7919 * (number % SAMPLES),
            grammar=_grammar(model, inputs[place], config),
        )
        for number, place in enumerate(places)
    ]
    lessons: list[list[TrainingExample]] = [[] for _ in inputs]
    for place, request, answer in zip(places, requests, model.generate(requests) if requests else (), strict=True):
        if answer.finished and answer.error is None:
            taught = with_demonstrations(inputs[place], fitting[place])
            teacher = Prompt(taught.messages, taught.tools)
            lessons[place].append(TrainingExample(request.prompt, answer.text, teacher=teacher))
    return lessons


def _grammar(model: Model, item: Input, config: LoopConfig) -> str | None:
    """The grammar under which the input is answered, too."""
    if config.answer.grammar or config.answer.decoding == "free" or not item.tools:
        return config.answer.grammar
    return answer_grammar(model.format, item.tools, config.answer.calls, config.answer.tools)
