"""Adapters that go on learning from answered inputs, and the evidence for each of them.

The examples of a list's first unsure input train its adapter. Each later input is first evidence: the adapter wins it
where it finds the input's own examples, which it has not learned yet, likelier than the base does. Then it learns them,
in one more pass, if it has won. So an input that contradicts what was learned before changes nothing.

Inputs: adapted inputs with their examples, an open library. Outputs: adapters, wins and losses, admissions and refusals
in the library. Neither the gold answer nor the answer that was given is among the inputs.

The paper (arXiv:2510.07841) learns from one input's examples at a time.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import chain, zip_longest

from ttsi.adaptation import adapters
from ttsi.adaptation.examples import training_examples
from ttsi.batch import log_stage
from ttsi.config import LibraryConfig, LoopConfig
from ttsi.errors import LibraryError
from ttsi.library.adapter_library import AdapterLibrary
from ttsi.library.adapter_loading import stored_adapters
from ttsi.library.admission import is_admitted, is_hopeless
from ttsi.library.entry import AdapterKey, LibraryEntry, entries_of, tools_hash
from ttsi.library.preparation import EXAMPLES_PER_STEP, TESTS_TO_ADMIT, preparation_examples
from ttsi.library.retention import retention_divergence
from ttsi.models import Model, adapter_keeper
from ttsi.models.adapter_files import StartedFrom
from ttsi.types import Answer, Episode, Example, Input, Message, Tool, stage_seed

log = logging.getLogger(__name__)

FURTHER_EPOCHS = 1
"""Passes over an input's examples in which an adapter learns more: on validation rows as good as three (dev/log.md)."""
MAX_EXAMPLES = 16
"""Most examples that an adapter learns in a pass from several inputs."""

Batch = Sequence[tuple[Input, Episode]]
Lesson = tuple[Input, Episode, tuple[Example, ...]]
"""An input, its episode, and the examples that were learned for it."""
Test = tuple[Input, Sequence[Example]]
"""An input, and examples that an adapter has not learned."""


@dataclass(frozen=True)
class LessonGroup:
    """What a batch has to teach about one list of tools."""

    tools: str
    """Hash of the list."""
    entry: LibraryEntry | None
    """The adapter of this list; None where there is none yet."""
    file: bytes | None
    """That adapter's own, which learns it; None where it learns nothing more, or cannot be read at the moment."""
    lessons: list[Lesson]

    @property
    def inputs(self) -> list[str]:
        """Hashes of the inputs."""
        return [item.content_hash for item, _, _ in self.lessons]

    @property
    def examples(self) -> list[Example]:
        """The inputs' examples in turn."""
        if len(self.lessons) == 1:
            return list(self.lessons[0][2])  # all of them: of a list that is prepared
        in_turn = chain.from_iterable(zip_longest(*(examples for _, _, examples in self.lessons)))
        return [example for example in in_turn if example is not None][:MAX_EXAMPLES]

    @property
    def version(self) -> int:
        """Of the adapter that is to be trained."""
        return 0 if self.entry is None else self.entry.version + 1


@dataclass(frozen=True)
class TrainedFile:
    """A new adapter, or why there is none."""

    file: bytes
    """b"" where the training failed."""
    reason: str = ""


@dataclass(frozen=True)
class Learner:
    """What learns, from what, and under which rules."""

    library: AdapterLibrary
    model: Model
    config: LoopConfig
    settings: LibraryConfig
    retention: Sequence[Input]
    origin: str
    trained: Mapping[str, bytes] = field(default_factory=dict)
    """Adapters that were trained for inputs of this batch, by their SHA-256: what they have learned is not learned
    again."""

    @cached_property
    def key(self) -> AdapterKey:
        """What an adapter of this model and these settings fits."""
        return AdapterKey.of(self.model.describe(), self.config.adaptation)

    def learn(self, batch: Batch) -> None:
        """Judge each list's adapter by the batch, then train it further, or a new one; within a step."""
        groups = self._groups(batch)
        if groups:
            log_stage("library", sum(len(group.lessons) for group in groups))
        judged = [group for group in groups if group.entry is not None]
        won = self._judge(judged) if self.settings.admission == "tested" else list(map(self._admit_untested, judged))
        for group, trained in self._adapters(won, further_config(self.config)):
            if group.entry is not None and trained.file:
                self._keep_examples(group)
                learned = self.library.train_further(group.entry, trained.file, group.inputs, len(group.examples))
                self._watch(learned, len(group.entry.inputs))
        new = [group for group in groups if group.entry is None]
        if self.config.synthesis.source == "schema":
            returned = [group.lessons[0][0].tools for group in new if self._comes_back(group)]
            for group in new:
                self._keep_examples(group)
            self._prepare(returned)
        else:
            for group, trained in self._adapters(new, self.config):
                self._keep_examples(group)
                self._begin(group, trained, len(group.examples))

    def _groups(self, batch: Batch) -> list[LessonGroup]:
        """What is new in a batch, list by list."""
        groups: dict[str, LessonGroup] = {}
        for item, episode in batch:
            examples = kept_examples(episode)
            if not examples:
                continue
            tools = tools_hash(item.tools)
            if tools not in groups:
                groups[tools] = self._group(tools, item)
            group = groups[tools]
            room = len(group.lessons) < MAX_EXAMPLES  # each of them has an example among those that are learned
            if room and item.content_hash not in group.inputs and self._is_new(group, item):
                group.lessons.append((item, episode, examples))
        return [group for group in groups.values() if group.lessons]

    def _group(self, tools: str, item: Input) -> LessonGroup:
        entry = entry_of(self.library, item, self.key)
        if entry is None or entry.status == "refused" or (entry.prepared and entry.status == "admitted"):
            return LessonGroup(tools, entry, None, [])
        file = self.library.usable_adapter(entry)
        evicted = file is None and entry.id not in {one.id for one in self.library.entries}
        return LessonGroup(tools, None if evicted else entry, file, [])

    def _is_new(self, group: LessonGroup, item: Input) -> bool:
        """Whether an input can begin an adapter, or be a test of the one that there is."""
        entry, seen = group.entry, item.content_hash
        if entry is None or group.file is None:
            return entry is None
        return seen not in entry.inputs and not self.library.has_evidence(entry, seen)

    def _comes_back(self, group: LessonGroup) -> bool:
        """Whether another unsure input had these tools, before or in this batch: then preparing an adapter may pay."""
        return len(group.lessons) > 1 or self.library.has_other_input(group.tools, self.key, group.inputs)

    def _keep_examples(self, group: LessonGroup) -> None:
        for item, _, examples in group.lessons:
            self.library.add_input(group.tools, self.key, item.content_hash, examples, self.origin)

    # Evidence

    def _admit_untested(self, group: LessonGroup) -> LessonGroup:
        entry = group.entry
        if entry is None or entry.status != "candidate":
            return group
        return replace(group, entry=self.library.set_status(entry, "admitted", "not tested"))

    def _judge(self, groups: Sequence[LessonGroup]) -> list[LessonGroup]:
        """Count each new input for or against the adapter of its list; the groups with what was won, to be learned."""
        files = {group.entry.id: group.file for group in groups if group.entry is not None and group.file is not None}
        tests = {
            group.entry.id: [(item, examples) for item, _, examples in group.lessons]
            for group in groups if group.entry is not None
        }  # fmt: skip
        gains = self._gains(files, tests) if files else {}
        fitting = [group for group in groups if group.entry is not None and group.entry.id in gains]
        return [won for group in fitting if (won := self._count(group, gains)).lessons]

    def _gains(self, files: Mapping[str, bytes], tests: Mapping[str, Sequence[Test]]) -> dict[str, list[float]]:
        """How much likelier (nats) each entry's adapter finds the examples of each of its tests than the base does.

        An adapter that does not fit its model is evicted, and has no gains.
        """
        gains: dict[str, list[float]] = {}
        with stored_adapters(self.library, self.model, files, self.config.adaptation) as places:
            rows = [
                (id_, number, row)
                for id_ in places
                for number, (item, examples) in enumerate(tests[id_])
                for row in training_examples(self.model.format, item, examples)
                if self.model.fits(row.prompt, self.config.answer.max_tokens) is None
            ]
            prompts, targets = [row.prompt for _, _, row in rows], [[row.target] for _, _, row in rows]
            before = self.model.score(prompts, targets)
            after = self.model.score(prompts, targets, [places[id_] for id_, _, _ in rows])
            gains = {id_: [0.0] * len(tests[id_]) for id_ in places}
            for (id_, number, _), [old], [new] in zip(rows, before, after, strict=True):
                gains[id_][number] += new - old
        return gains

    def _count(self, group: LessonGroup, gains: Mapping[str, Sequence[float]]) -> LessonGroup:
        """Add an adapter's wins and losses, and what follows from them; the lessons that it may learn."""
        assert group.entry is not None
        own = gains[group.entry.id]
        entry = self._decide(group.entry, group.inputs, own)
        won = [lesson for lesson, gain in zip(group.lessons, own, strict=True) if gain > 0 and math.isfinite(gain)]
        return replace(group, entry=entry, lessons=won if entry.status != "refused" else [])

    def _decide(self, entry: LibraryEntry, names: Sequence[str], gains: Sequence[float]) -> LibraryEntry:
        """Add evidence, each under its name; admit or refuse the adapter where it is enough."""
        for name, gain in zip(names, gains, strict=True):
            entry = self.library.add_evidence(entry, name, gain if math.isfinite(gain) else -1.0)
        if is_hopeless(entry.wins, entry.losses):
            return self._refuse(entry, f"it lost {entry.losses} of {entry.wins + entry.losses} tests")
        if entry.status == "candidate" and is_admitted(entry.wins, entry.losses):
            return self._admit(entry)
        return entry

    def _watch(self, entry: LibraryEntry, before: int) -> None:
        """Measure an admitted adapter's effect on other requests again, whenever its inputs have doubled."""
        doubled = len(entry.inputs).bit_length() > before.bit_length()
        if entry.status == "admitted" and self.settings.admission == "tested" and doubled:
            self._admit(entry)

    def _admit(self, entry: LibraryEntry) -> LibraryEntry:
        """Admit an entry with enough evidence, unless it changes the answers to other requests too much.

        Without any such request it waits: another run may have them.
        """
        lowered = retention_divergence(self.library, self.model, self.retention, entry, self.config)
        if lowered is None:
            log.warning("library: entry=%s not admitted yet: there is no request with other tools to measure", entry.id)
            return entry
        if lowered > self.settings.max_divergence:
            reason = f"it lowers the base's answers to other requests by {lowered:.2f} nats per token"
            return self._refuse(entry, reason, lowered)
        log.info("library: admitted entry=%s wins=%d losses=%d", entry.id, entry.wins, entry.losses)
        return self.library.set_status(entry, "admitted", divergence=lowered)

    def _refuse(self, entry: LibraryEntry, reason: str, lowered: float | None = None) -> LibraryEntry:
        log.info("library: refused entry=%s: %s", entry.id, reason)
        return self.library.set_status(entry, "refused", reason, lowered)

    # Training

    def _adapters(self, groups: Sequence[LessonGroup], config: LoopConfig) -> list[tuple[LessonGroup, TrainedFile]]:
        """An adapter for each group, on from its entry's own where it has one."""
        untrained = [group for group in groups if self._adapter_at_hand(group) is None]
        files = iter(self._train(untrained, config) if untrained else ())
        return [(group, self._adapter_at_hand(group) or next(files)) for group in groups]

    def _adapter_at_hand(self, group: LessonGroup) -> TrainedFile | None:
        """The adapter that was trained for the group's only input, if it started where the group's own does."""
        if len(group.lessons) != 1:
            return None
        [(_, episode, _)] = group.lessons
        start = "" if group.entry is None else group.entry.sha256
        done = episode.adaptation
        file = self.trained.get(done.adapter_sha256) if done.started_from == start else None
        return TrainedFile(file) if file and done.adapter_sha256 else None

    def _train(self, groups: Sequence[LessonGroup], config: LoopConfig) -> list[TrainedFile]:
        firsts = [group.lessons[0] for group in groups]
        items, episodes = [item for item, _, _ in firsts], [episode for _, episode, _ in firsts]
        bases = [base for episode in episodes if (base := episode.base) is not None]
        awareness = [measured for episode in episodes if (measured := episode.awareness) is not None]
        seeds = [stage_seed(config.seed, group.tools, group.version, "library") for group in groups]
        model = StartedFrom(
            self.model, {seed: group.file for seed, group in zip(seeds, groups, strict=True) if group.file}
        )
        with adapters(model, items, [group.examples for group in groups], bases, config, seeds, awareness) as tuned:
            return [
                TrainedFile(adapter_keeper(model).adapter_file(place) if done.status == "trained" else b"", done.reason)
                for place, done in enumerate(tuned.adaptations)
            ]

    def prepare(self, tools: Sequence[Tool]) -> LibraryEntry:
        """Train an adapter for a list of tools ahead of its requests, and test it; within a step.

        Raises:
            LibraryError: there are not enough examples that a rule can make of these tools.
        """
        entries = self._prepare([tools])
        if not entries:
            raise LibraryError(
                "a rule can make too few different examples of these tools: some to learn, and "
                f"{TESTS_TO_ADMIT} others that test the adapter"
            )
        return entries[0]

    def _prepare(self, lists: Sequence[Sequence[Tool]]) -> list[LibraryEntry]:
        """An entry for each of these lists but those of which too few examples can be made."""
        groups, tests = [], []
        for tools in lists:
            digest = tools_hash(tools)
            made = preparation_examples(tools, stage_seed(self.config.seed, digest, 0, "preparation"))
            item = Input("preparation", (Message("user", ""),), tuple(tools))
            nothing = Episode(item.id, item.content_hash, Answer("", ()), None, None)
            testable = len(made.held_back) >= TESTS_TO_ADMIT or self.settings.admission == "all"
            if made.learned and testable:
                groups.append(LessonGroup(digest, None, None, [(item, nothing, made.learned)]))
                tests.append([(item, [example]) for example in made.held_back])
        if not groups:
            return []
        log_stage("preparation", len(groups))
        # Each step has other examples, so that a higher loss than before says nothing: what is held back judges.
        settings = replace(
            self.config.adaptation, objective="cross-entropy", epochs=1, batch_size=EXAMPLES_PER_STEP, held_back=0,
            max_loss_rise=math.inf,
        )  # fmt: skip
        trained = self._train(groups, replace(self.config, adaptation=settings))
        entries = []
        for group, own, own_tests in zip(groups, trained, tests, strict=True):
            self._keep_examples(group)
            entry = self._begin(group, own, len(group.examples), prepared=True)
            if entry.status == "candidate":
                gains = self._gains({entry.id: own.file}, {entry.id: own_tests}).get(entry.id, ())
                names = [f"held back: {examples[0].query}" for _, examples in own_tests][: len(gains)]
                entry = self._decide(entry, names, gains)
            entries.append(entry)
        return entries

    def _begin(self, group: LessonGroup, trained: TrainedFile, examples: int, prepared: bool = False) -> LibraryEntry:
        """A new candidate, in the place of one that lost too many inputs."""
        for old in entries_of(self.library.entries, group.tools, self.key):
            self.library.evict(old, "a new adapter takes its place")
        file, reason = trained.file, f"no adapter: {trained.reason or 'its training failed'}"
        if len(file) > self.settings.max_bytes:
            file, reason = b"", "no adapter: one is larger than max_bytes"
        entry = LibraryEntry(
            "", 0, "candidate", group.tools, group.lessons[0][0].tools, self.key, "", 0, tuple(group.inputs), examples,
            origin=self.origin, prepared=prepared,
        )  # fmt: skip
        entry = self.library.add_entry(entry, file)
        if not file:
            # An entry all the same, so that it is not tried again with each input.
            return self._refuse(entry, reason)
        return self.library.set_status(entry, "admitted", "not tested") if self.settings.admission == "all" else entry


def further_config(config: LoopConfig) -> LoopConfig:
    """The settings with which an adapter learns more."""
    return replace(config, adaptation=replace(config.adaptation, epochs=FURTHER_EPOCHS))


def kept_examples(episode: Episode) -> tuple[Example, ...]:
    """The examples that were learned for an input; () where nothing was."""
    learned = episode.adaptation.status == "trained"
    return tuple(example for example in episode.examples if example.refused is None) if learned else ()


def entry_of(library: AdapterLibrary, item: Input, key: AdapterKey) -> LibraryEntry | None:
    """The entry for an input's own tools; of several the last.

    One that lost too many inputs does not count: perhaps its first input was misleading, and a new one may begin.
    """
    entry = next(reversed(entries_of(library.entries, tools_hash(item.tools), key)), None)
    lost = entry is not None and entry.status == "refused" and is_hopeless(entry.wins, entry.losses)
    return None if lost else entry
