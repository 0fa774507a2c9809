"""What has this model said and scored already? For sweeps, whose points ask mostly the same.

Inputs: a model. Outputs: a model that says the same and is asked each thing once: continuations of the base (a request
holds its seed, so two equal ones have equal answers) and scores. What depends on an adapter is never kept.

Points of a sweep then share the base's answers, awareness and most examples: K = 8 begins with the examples of K = 1.
An answer found here took no time, so seconds of such runs mean nothing; `describe` says so in the run's record. Not in
the paper (arXiv:2510.07841).
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any

from ttsi.config import AdaptationConfig
from ttsi.models import Generation, Model, ModelWrapper, Request
from ttsi.types import Adaptation, Prompt, TrainingExample


class CachedModel(ModelWrapper):
    """A model with a memory for what it was asked without an adapter."""

    def __init__(self, model: Model) -> None:
        """Nothing is known yet."""
        self._model = model
        self._said: dict[bytes, Generation] = {}
        self._scored: dict[bytes, float] = {}
        self.spec, self.format = model.spec, model.format

    def describe(self) -> dict[str, Any]:
        """The model's own description, and a warning about its seconds."""
        return {**self._model.describe(), "recalling": True}

    def fits(self, prompt: Prompt, room: int) -> str | None:
        """As the model."""
        return self._model.fits(prompt, room)

    def generate(self, requests: Sequence[Request]) -> list[Generation]:
        """As the model; base requests that were answered before are not asked again."""
        keys = [_key(request) for request in requests]
        new = {key: request for key, request in zip(keys, requests, strict=True) if key not in self._said}
        found = dict(zip(new, self._model.generate(list(new.values())), strict=True)) if new else {}
        self._said |= {key: said for key, said in found.items() if new[key].adapter is None}
        return [found[key] if key in found else self._said[key] for key in keys]

    def score(self, prompts: Sequence[Prompt], continuations: Sequence[Sequence[str]]) -> list[list[float]]:
        """As the model; a prompt all of whose continuations were scored before is not scored again."""
        keys = [[_key(prompt, text) for text in texts] for prompt, texts in zip(prompts, continuations, strict=True)]
        new = [i for i, wanted in enumerate(keys) if not all(key in self._scored for key in wanted)]
        for i, scores in zip(
            new, self._model.score([prompts[i] for i in new], [continuations[i] for i in new]), strict=True
        ):
            self._scored |= dict(zip(keys[i], scores, strict=True))
        return [[self._scored[key] for key in wanted] for wanted in keys]

    def adapted(
        self, jobs: Sequence[Sequence[TrainingExample]], config: AdaptationConfig, seeds: Sequence[int]
    ) -> AbstractContextManager[list[Adaptation]]:
        """As the model."""
        return self._model.adapted(jobs, config, seeds)


def _key(*parts: object) -> bytes:
    return hashlib.sha256(repr(parts).encode("utf-8", "surrogatepass")).digest()
