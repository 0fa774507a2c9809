"""Candidates for the library: adapters trained on the pooled examples of several inputs, and the evidence for them.

Inputs: adapted inputs with their examples and answers, an open library. Outputs: pooled examples, candidates, wins and
losses, admissions and refusals in the library. An input is evidence for what was learned from earlier inputs only. The
gold answer is not among the inputs.

The paper (arXiv:2510.07841) learns from one input's examples at a time.
"""

from __future__ import annotations

import hashlib
import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import chain, zip_longest

from ttsi.adaptation import adapters
from ttsi.answer import generate_answers
from ttsi.config import LibraryConfig, LoopConfig
from ttsi.errors import PromptTooLong
from ttsi.library.adapter_library import AdapterLibrary
from ttsi.library.admission import divergence, is_admitted, is_hopeless
from ttsi.library.entry import AdapterKey, LibraryEntry, tools_hash
from ttsi.models import Model, adapter_keeper
from ttsi.types import Answer, Episode, Example, Input, Prompt, stage_seed

log = logging.getLogger(__name__)

MAX_EXAMPLES = 16
"""Most examples that a candidate learns."""
RETENTION_INPUTS = 8
"""Requests whose answers a candidate may not change much."""
RETENTION_ROWS = 32
"""Requests to choose them from: the first that fit the model."""
LEARNED = ("trained", "kept-base")
"""Adaptations that learned an input's examples."""

Batch = Sequence[tuple[Input, Episode]]


@dataclass(frozen=True)
class Learner:
    """What learns, from what, and under which rules."""

    library: AdapterLibrary
    model: Model
    config: LoopConfig
    settings: LibraryConfig
    retention: Sequence[Input]
    origin: str

    @property
    def key(self) -> AdapterKey:
        """What an adapter of this model and these settings fits."""
        return AdapterKey.of(self.model.describe(), self.config.adaptation)

    def learn(self, batch: Batch) -> None:
        """Count each input for or against the candidate of its tools, then train new candidates; within a step."""
        key = self.key
        for item, episode in batch:
            entry = entry_of(self.library, item, key)
            if entry is not None and entry.status == "candidate":
                self._judge(entry, item, episode)
        self._train_candidates(batch, key)

    # Evidence

    def _judge(self, entry: LibraryEntry, item: Input, episode: Episode) -> None:
        library, seen = self.library, item.content_hash
        if episode.adaptation.status not in LEARNED or seen in entry.inputs or library.has_evidence(entry, seen):
            return
        gain = self._gain(entry, item, episode)
        if gain is None:
            return
        entry = library.add_evidence(entry, seen, gain)
        if is_admitted(entry.wins, entry.losses):
            self._admit(entry)
        elif is_hopeless(entry.wins, entry.losses) and self.settings.admission == "tested":
            library.set_status(entry, "refused", f"it lost {entry.losses} of {entry.wins + entry.losses} later inputs")

    def _gain(self, entry: LibraryEntry, item: Input, episode: Episode) -> float | None:
        """How much likelier (nats) the adapter finds the answer that the input got than the base does."""
        answer = episode.adapted
        file = self.library.usable_adapter(entry) if answer is not None and answer.text else None
        if file is None or answer is None:
            return None
        prompts, texts = [Prompt(item.messages, item.tools)], [[answer.text]]
        try:
            [[before]] = self.model.score(prompts, texts)
            with adapter_keeper(self.model).with_adapters([file], self.config.adaptation):
                [[after]] = self.model.score(prompts, texts, [0])
        except PromptTooLong:
            return None
        gain = after - before
        return gain if math.isfinite(gain) else -1.0

    def _admit(self, entry: LibraryEntry) -> None:
        """Admit an entry with enough evidence, unless it changes the answers to other requests too much."""
        lowered = self._divergence(entry)
        if lowered is None:
            self.library.set_status(entry, "refused", "there is no request on which its effect could be measured")
        elif lowered > self.settings.max_divergence:
            reason = f"it lowers the base's answers to other requests by {lowered:.2f} nats per token"
            self.library.set_status(entry, "refused", reason, lowered)
        else:
            self.library.set_status(entry, "admitted", divergence=lowered)
            log.info("library: admitted entry=%s wins=%d losses=%d", entry.id, entry.wins, entry.losses)

    def _divergence(self, entry: LibraryEntry) -> float | None:
        """How much an entry lowers the base's own answers to requests with other tools; None without any."""
        answers = [one for one in self._retention_answers() if tools_hash(one[0].tools) != entry.tools_hash]
        file = self.library.usable_adapter(entry) if answers else None
        if file is None:
            return None
        prompts, texts = [prompt for prompt, _ in answers], [[answer.text] for _, answer in answers]
        with adapter_keeper(self.model).with_adapters([file], self.config.adaptation):
            after = [score for [score] in self.model.score(prompts, texts, [0] * len(prompts))]
        return divergence([answer.logprob for _, answer in answers], after, [answer.tokens for _, answer in answers])

    def _retention_answers(self) -> list[tuple[Prompt, Answer]]:
        """The base's own answers to the retention set; written once for each model and each set."""
        hashes = [item.content_hash for item in self.retention]
        digest = hashlib.sha256(" ".join([self.key.digest, *hashes]).encode()).hexdigest()
        kept = self.library.retention_answers(digest)
        if kept or not self.retention:
            return kept
        # As the operator has it, and not as one request wants it: a forced tool, say, or an answer of one token.
        config = replace(self.config.answer, grammar=None, max_tokens=max(self.config.answer.max_tokens, 64))
        prompts = [(item, Prompt(item.messages, item.tools)) for item in self.retention]
        fitting = [pair for pair in prompts if self.model.fits(pair[1], config.max_tokens) is None][:RETENTION_INPUTS]
        written = generate_answers(self.model, [item for item, _ in fitting], config)
        pairs = [(prompt, answer) for (_, prompt), answer in zip(fitting, written, strict=True) if answer.text]
        scores = self.model.score([prompt for prompt, _ in pairs], [[answer.text] for _, answer in pairs])
        answers = [
            (prompt, replace(answer, logprob=score)) for (prompt, answer), [score] in zip(pairs, scores, strict=True)
        ]
        self.library.add_retention_answers(digest, answers)
        return answers

    # Training

    def _train_candidates(self, batch: Batch, key: AdapterKey) -> None:
        latest: dict[str, tuple[Input, Episode]] = {}
        for item, episode in batch:
            examples = kept_examples(episode)
            if examples and entry_of(self.library, item, key) is None:
                self.library.add_input(tools_hash(item.tools), key, item.content_hash, examples, self.origin)
                latest[tools_hash(item.tools)] = item, episode
        for tools, (item, episode) in latest.items():
            pooled = self.library.pooled_inputs(tools, key)
            if len(pooled) >= self.settings.min_inputs:
                in_turn = chain.from_iterable(zip_longest(*(one.examples for one in pooled)))
                learned = [example for example in in_turn if example is not None][:MAX_EXAMPLES]
                inputs = tuple(one.input_hash for one in pooled)
                entry = LibraryEntry(
                    "", 0, "candidate", tools, item.tools, key, "", 0, inputs, len(learned), origin=self.origin
                )  # fmt: skip
                self._train(item, episode, learned, entry)

    def _train(self, item: Input, episode: Episode, examples: Sequence[Example], entry: LibraryEntry) -> None:
        assert episode.base is not None and episode.awareness is not None
        seed = stage_seed(self.config.seed, entry.tools_hash, len(entry.inputs), "library")
        first, confidence = [episode.base], [episode.awareness]
        with adapters(self.model, [item], [examples], first, self.config, [seed], confidence) as tuned:
            [adaptation] = tuned.adaptations
            trained = adaptation.status == "trained"
            file = adapter_keeper(self.model).adapter_file(0) if trained else b""
        if len(file) > self.settings.max_bytes:
            trained, file, adaptation = False, b"", replace(adaptation, reason="one adapter is larger than max_bytes")
        entry = self.library.add_entry(entry, file)
        if not trained:
            # An entry all the same, so that it is not tried again with each input.
            self.library.set_status(entry, "refused", f"no adapter: {adaptation.reason}")
        elif self.settings.admission == "all":
            self.library.set_status(entry, "admitted", "not tested")


def kept_examples(episode: Episode) -> tuple[Example, ...]:
    """The examples that were learned for an input; () where nothing was."""
    learned = episode.adaptation.status in LEARNED
    return tuple(example for example in episode.examples if example.refused is None) if learned else ()


def entry_of(library: AdapterLibrary, item: Input, key: AdapterKey) -> LibraryEntry | None:
    """The entry for an input's own tools, whatever its status; of several the last."""
    wanted = tools_hash(item.tools)
    return next((e for e in reversed(library.entries) if e.tools_hash == wanted and e.key == key), None)
