"""Answers of the library's adapters: each is tried, and given only where the model is surer of it, or sure.

Inputs: unsure inputs with the base's answers, an open library. Outputs: for each input that an entry fits, the answer
with that entry's adapter, and the reason where it is not to be given. An entry fits that was admitted for the same
tools, else the one that shares most of them. Its adapter is never merged, and leaves the model with the block.

The paper (arXiv:2510.07841) trains anew for every input, whatever came before.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

from ttsi.adaptation.confidence import lack_of_confidence
from ttsi.answer import generate_answers
from ttsi.awareness import estimate, needs_samples
from ttsi.batch import guard_refusal
from ttsi.chat.tool_schema import problem
from ttsi.config import LibraryConfig, LoopConfig
from ttsi.library.adapter_library import AdapterLibrary
from ttsi.library.adapter_loading import stored_adapters
from ttsi.library.entry import AdapterKey, LibraryEntry, shared_tools, tools_hash
from ttsi.models import Model
from ttsi.types import Answer, Awareness, Example, Input

MIN_TRIES, MIN_SHARE = 8, 0.25
"""An entry that was tried so often and answered less than this share is not tried any more."""


@dataclass(frozen=True)
class StoredAnswer:
    """An answer with a library's adapter."""

    entry: LibraryEntry
    answer: Answer
    refusal: str | None
    """Why it is not to be given, or None."""
    answer_seconds: float
    """This answer's share of the time."""
    awareness_seconds: float


def fitting_entry(library: AdapterLibrary, item: Input, key: AdapterKey, config: LibraryConfig) -> LibraryEntry | None:
    """The admitted entry to try on an input, or None.

    That of the same tools, else the one with the largest share of common tools, of equal ones the one with most
    evidence.
    """
    wanted = tools_hash(item.tools)
    fitting = [entry for entry in library.entries if entry.key == key and _is_worth_trying(entry)]
    exact = [entry for entry in fitting if entry.tools_hash == wanted]
    if exact or config.near >= 1:
        return max(exact, key=lambda entry: entry.wins - entry.losses, default=None)
    shares = [(shared_tools(entry.tools, item.tools), entry.wins - entry.losses, entry) for entry in fitting]
    share, _, entry = max(shares, key=lambda one: one[:2], default=(0.0, 0, None))
    return entry if share >= config.near else None


def _is_worth_trying(entry: LibraryEntry) -> bool:
    wasted = entry.tries >= MIN_TRIES and entry.uses < MIN_SHARE * entry.tries
    return entry.status == "admitted" and not wasted


def stored_answers(
    library: AdapterLibrary,
    model: Model,
    inputs: Sequence[Input],
    first: Sequence[Answer],
    config: LoopConfig,
    settings: LibraryConfig,
    seeds: Sequence[int],
) -> list[StoredAnswer | None]:
    """Answer each input with the adapter that fits it; None where there is none, or its file is damaged.

    Args:
        inputs: unsure inputs.
        first: the base's answers.
        seeds: one per input, for samples.
    """
    began, measured = time.perf_counter(), settings.gate == "sure"
    key = AdapterKey.of(model.describe(), config.adaptation)
    chosen = [fitting_entry(library, item, key, settings) for item in inputs]
    different = {entry.id: entry for entry in chosen if entry is not None}
    usable = {id_: library.usable_adapter(entry) for id_, entry in different.items()}
    results: list[StoredAnswer | None] = [None] * len(inputs)
    files = {id_: file for id_, file in usable.items() if file is not None}
    with stored_adapters(library, model, files, config.adaptation) as places:
        tried = [i for i, entry in enumerate(chosen) if entry is not None and entry.id in places]
        if not tried:
            return results
        entries = [entry for i in tried if (entry := chosen[i]) is not None]
        items, base = [inputs[i] for i in tried], [first[i] for i in tried]
        adapters = [places[entry.id] for entry in entries]
        answers = generate_answers(
            model, items, config.answer, adapters, [seeds[i] for i in tried], None, (items, base),
            sample=measured and needs_samples(config.awareness),
        )  # fmt: skip
        answered = time.perf_counter()
        awareness: Sequence[Awareness | None] = [None] * len(tried)
        if measured:
            awareness = estimate(model, items, answers, config.awareness, adapters)
        learned = {entry.id: learned_examples(library, entry) for entry in entries}
    spent = (answered - began) / len(tried), (time.perf_counter() - answered) / len(tried)
    for i, entry, item, old, answer, confidence in zip(tried, entries, items, base, answers, awareness, strict=True):
        refusal = _refusal(item, old, answer, confidence, learned[entry.id], config)
        results[i] = StoredAnswer(entry, answer, refusal, *spent)
    return results


def learned_examples(library: AdapterLibrary, entry: LibraryEntry) -> list[Example]:
    """The examples that an entry's adapter learned."""
    pooled = library.pooled_inputs(entry.tools_hash, entry.key)
    return [example for one in pooled if one.input_hash in entry.inputs for example in one.examples]


def _refusal(
    item: Input,
    base: Answer,
    answer: Answer,
    confidence: Awareness | None,
    learned: Sequence[Example],
    config: LoopConfig,
) -> str | None:
    if confidence is not None and confidence.unsure:
        return f"the model is unsure with it, too ({confidence.measure} {confidence.value:.3f})"
    illegal = next((error for call in answer.calls if (error := problem(call, item.tools))), None)
    if answer.error or illegal:
        return f"it is not legal: {answer.error or illegal}"
    return lack_of_confidence(base, answer, 0.0) or guard_refusal(
        item, base, answer, config.adaptation, examples=learned
    )
