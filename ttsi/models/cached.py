"""Cache of a model's generations and scores, shared by the points of a sweep.

Inputs: a model. Outputs: a model with the same answers that computes each of them once: continuations of the base (a
request holds its seed, so two equal ones have equal answers) and scores. What depends on an adapter is never kept.

Points of a sweep then share the base's answers, awareness and most examples: K = 8 begins with the examples of K = 1.
A cached answer takes no time, so seconds of such runs mean nothing; `describe` records that.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

from ttsi.models import Generation, Model, ModelWrapper, Request
from ttsi.types import Prompt, answered_calls


class CachedModel(ModelWrapper):
    """A model with a cache for everything that needs no adapter."""

    def __init__(self, model: Model) -> None:
        super().__init__(model)
        self._generations: dict[bytes, Generation] = {}
        self._scores: dict[bytes, float] = {}

    def describe(self) -> dict[str, Any]:
        """The model's own description, marked because its seconds mean nothing."""
        return {**super().describe(), "recalling": True}

    def generate(self, requests: Sequence[Request]) -> list[Generation]:
        """See `Model.generate`; base requests that were answered before come from the cache."""
        keys = [_key(request.prompt, request) for request in requests]
        new = {key: request for key, request in zip(keys, requests, strict=True) if key not in self._generations}
        answers = dict(zip(new, self._model.generate(list(new.values())), strict=True)) if new else {}
        kept = {key: answer for key, answer in answers.items() if new[key].adapter is None and not answer.error}
        self._generations |= kept  # a failure is no answer: the next point asks again
        return [answers[key] if key in answers else self._generations[key] for key in keys]

    def score(
        self, prompts: Sequence[Prompt], continuations: Sequence[Sequence[str]], adapters: Sequence[int | None] = ()
    ) -> list[list[float]]:
        """See `Model.score`; a prompt all of whose continuations the base scored before comes from the cache."""
        if any(adapter is not None for adapter in adapters):
            return super().score(prompts, continuations, adapters)
        keys = [[_key(prompt, text) for text in texts] for prompt, texts in zip(prompts, continuations, strict=True)]
        new = [i for i, wanted in enumerate(keys) if not all(key in self._scores for key in wanted)]
        for i, scores in zip(
            new, self._model.score([prompts[i] for i in new], [continuations[i] for i in new]), strict=True
        ):
            self._scores |= dict(zip(keys[i], scores, strict=True))
        return [[self._scores[key] for key in wanted] for wanted in keys]


def _key(prompt: Prompt, part: object) -> bytes:
    # Of a prompt's text alone, two results in one order would be the same, whichever calls they answer.
    text = repr((prompt, answered_calls(prompt.messages), part))
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()
