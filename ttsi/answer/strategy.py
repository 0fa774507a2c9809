"""How is the answer decoded?

Inputs: inputs, and which adapter answers each. Outputs: one `Answer` per input, in order. Greedy; free, or
constrained to calls that fit the tools' schemas. A gain is never a difference between two ways of decoding, so base
and adapted pass through this one function with the same settings.

The paper decodes directly, by majority vote and as pass@5; this module holds the direct way.
"""

from __future__ import annotations

from collections.abc import Sequence

from ttsi.chat.grammar import answer_grammar
from ttsi.config import AnswerConfig
from ttsi.models import Generation, Model, Prompt, Request
from ttsi.types import Answer, Input


def reply(
    model: Model, inputs: Sequence[Input], config: AnswerConfig, adapters: Sequence[int | None] | None = None
) -> list[Answer]:
    """Answer each input, with its adapter where it has one."""
    chosen = adapters if adapters is not None else [None] * len(inputs)
    requests = [_request(model, item, config, adapter) for item, adapter in zip(inputs, chosen, strict=True)]
    said = model.generate(requests)
    return [_answer(model, item, generation) for item, generation in zip(inputs, said, strict=True)]


def _request(model: Model, item: Input, config: AnswerConfig, adapter: int | None) -> Request:
    constrained = config.decoding == "constrained" and item.tools
    grammar = answer_grammar(model.format, item.tools) if constrained else None
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
