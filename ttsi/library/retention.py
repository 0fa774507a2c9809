"""The effect of a library's adapter on requests with other tools.

Inputs: requests, an entry. Outputs: by how much its adapter lowers the log-probability of the base's own answers to
them. The base answers once for each model and each set of requests; the library keeps these answers.

The paper (arXiv:2510.07841) drops each adapter, which can so have no effect on other requests.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace

from ttsi.answer import generate_answers
from ttsi.config import LoopConfig
from ttsi.library.adapter_library import AdapterLibrary
from ttsi.library.admission import divergence
from ttsi.library.entry import LibraryEntry, tools_hash
from ttsi.models import Model, adapter_keeper
from ttsi.types import Answer, Input, Prompt

RETENTION_INPUTS = 8
"""Requests whose answers a candidate may not change much."""
RETENTION_ROWS = 32
"""Requests to choose them from: the first that fit the model."""


def retention_divergence(
    library: AdapterLibrary, model: Model, retention: Sequence[Input], entry: LibraryEntry, config: LoopConfig
) -> float | None:
    """How much an entry lowers the base's own answers to requests with other tools, in nats per token.

    None where there is no such request, or the entry's file cannot be read.
    """
    answers = _base_answers(library, model, retention, entry.key.digest, config)
    answers = [one for one in answers if tools_hash(one[0].tools) != entry.tools_hash]
    file = library.usable_adapter(entry) if answers else None
    if file is None:
        return None
    prompts, texts = [prompt for prompt, _ in answers], [[answer.text] for _, answer in answers]
    with adapter_keeper(model).with_adapters([file], config.adaptation):
        after = [score for [score] in model.score(prompts, texts, [0] * len(prompts))]
    return divergence([answer.logprob for _, answer in answers], after, [answer.tokens for _, answer in answers])


def _base_answers(
    library: AdapterLibrary, model: Model, retention: Sequence[Input], key_digest: str, config: LoopConfig
) -> list[tuple[Prompt, Answer]]:
    """The base's own answers, with their log-probabilities."""
    hashes = [item.content_hash for item in retention]
    digest = hashlib.sha256(" ".join([key_digest, *hashes]).encode()).hexdigest()
    kept = library.retention_answers(digest)
    if kept or not retention:
        return kept
    # As the operator has it, and not as one request wants it: a forced tool, say, or an answer of one token.
    settings = replace(config.answer, grammar=None, max_tokens=max(config.answer.max_tokens, 64))
    prompts = [(item, Prompt(item.messages, item.tools)) for item in retention]
    fitting = [pair for pair in prompts if model.fits(pair[1], settings.max_tokens) is None][:RETENTION_INPUTS]
    written = generate_answers(model, [item for item, _ in fitting], settings)
    pairs = [(prompt, answer) for (_, prompt), answer in zip(fitting, written, strict=True) if answer.text]
    scores = model.score([prompt for prompt, _ in pairs], [[answer.text] for _, answer in pairs])
    answers = [
        (prompt, replace(answer, logprob=score)) for (prompt, answer), [score] in zip(pairs, scores, strict=True)
    ]
    library.add_retention_answers(digest, answers)
    return answers
