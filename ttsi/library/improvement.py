"""The loop with a library: what was learned before answers first, and what is learned now may be kept.

Inputs: those of `ttsi.improve`, and an open library. Outputs: the same episodes. An unsure input whose tools have an
admitted adapter is answered with it, and nothing is trained, where the gate lets that answer through. Else its training
starts from that adapter. Every other input goes through `ttsi.improve`, unchanged. Afterwards (`learn`) the batch is
evidence for the library's adapters, which then learn its examples. So an input is answered before the library learns
from it (prequential evaluation).

The paper (arXiv:2510.07841) forgets each adapter after one answer.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from ttsi.awareness import select_episodes
from ttsi.batch import guard_refusal, logprob_shift
from ttsi.config import LibraryConfig, LoopConfig
from ttsi.errors import ConfigError, LibraryError, first_line
from ttsi.library.adapter_library import AdapterLibrary
from ttsi.library.candidate_adapters import Learner, entry_of, further_config
from ttsi.library.entry import AdapterKey, LibraryEntry, entries_of, tools_hash
from ttsi.library.stored_answers import StoredAnswer, learned_examples, stored_answers
from ttsi.loop import improve
from ttsi.models import Model, Writer, adapter_keeper, prefix_cache
from ttsi.models.adapter_files import AdapterRecorder, StartedFrom
from ttsi.types import Adaptation, Answer, Episode, Example, Input, Tool, stage_seed

log = logging.getLogger(__name__)

T = TypeVar("T")


@dataclass(frozen=True)
class LibraryUse:
    """An open library, and how it is used."""

    library: AdapterLibrary
    config: LibraryConfig
    retention: Sequence[Input] = ()
    """Requests on whose answers an adapter may not have much effect."""
    origin: str = ""
    """Who learns: the name of a run, or "ask"."""


def check_library(config: LoopConfig) -> None:
    """Refuse a method whose adapters cannot be kept.

    Raises:
        ConfigError: it trains no adapter of each input.
    """
    if config.adaptation.method != "lora" or not config.adapt:
        raise ConfigError("--library keeps adapters: use a method that trains one per input, like ttsi")


def improve_with_library(
    use: LibraryUse,
    inputs: Sequence[Input],
    model: Model,
    writer: Writer | None,
    config: LoopConfig,
    repeat: int = 0,
    answers: Sequence[Answer] = (),
) -> list[Episode]:
    """Improve a batch of inputs with the library's adapters, and learn from them: one episode per input, in order.

    Args:
        use: the library, within a `step` of it.
        inputs: as for `ttsi.improve`, and so are the other arguments.

    Raises:
        ConfigError: a setting is wrong.
        ModelError: the model's adapters cannot be kept.
        LibraryError: the library cannot be written. Any other failure leaves the inputs as they are without a library.
    """
    with prefix_cache(model):
        recorder = AdapterRecorder(model)
        episodes = answer_with_library(use, inputs, recorder, writer, config, repeat, answers)
        began = time.perf_counter()
        learn(use, model, list(zip(inputs, episodes, strict=True)), config, recorder.files)
    adapted = [i for i, episode in enumerate(episodes) if episode.adaptation.status not in ("none", "library")]
    learning = (time.perf_counter() - began) / max(1, len(adapted))
    return [_with_seconds(e, adaptation=learning) if i in adapted else e for i, e in enumerate(episodes)]


def answer_with_library(
    use: LibraryUse,
    inputs: Sequence[Input],
    model: Model,
    writer: Writer | None,
    config: LoopConfig,
    repeat: int = 0,
    answers: Sequence[Answer] = (),
) -> list[Episode]:
    """The first half of `improve_with_library`: the answers. Arguments and errors are the same."""
    check_library(config)
    adapter_keeper(model)
    with prefix_cache(model):
        plain = improve(inputs, model, writer, replace(config, adapt=False), repeat, answers)
        selected = select_episodes(inputs, plain, config, repeat)
        stored = _library_answers(use, model, inputs, plain, selected, config, repeat)
        episodes = [_with_stored(episode, stored.get(i)) for i, episode in enumerate(plain)]
        rest = [i for i in selected if i not in stored or stored[i].refusal is not None]
        starts = _starts(use, model, [inputs[i] for i in rest], config, repeat)
        started = [i for i, start in zip(rest, starts, strict=True) if start is not None]
        files = {start.seed: start.file for start in starts if start is not None}
        for indices, tuned, settings in (
            ([i for i in rest if i not in started], model, config),
            (started, StartedFrom(model, files), further_config(config)),
        ):
            bases = [base for i in indices if (base := plain[i].base) is not None]
            adapted = improve([inputs[i] for i in indices], tuned, writer, settings, repeat, bases)
            for i, episode in zip(indices, adapted, strict=True):
                episodes[i] = _after(episodes[i], episode)
        for i, start in zip(rest, starts, strict=True):
            if start is not None:
                episodes[i] = _with_start(inputs[i], episodes[i], start, config)
        return episodes


@dataclass(frozen=True)
class _Start:
    """The stored adapter from which the training for an input starts."""

    entry: LibraryEntry
    file: bytes
    seed: int
    """Of the training."""
    learned: Sequence[Example]
    """What the adapter has learned before."""


def _starts(
    use: LibraryUse, model: Model, items: Sequence[Input], config: LoopConfig, repeat: int
) -> list[_Start | None]:
    """Per input the admitted adapter of the same tools, or None; none at all where that fails."""

    def read() -> list[_Start | None]:
        key = AdapterKey.of(model.describe(), config.adaptation)
        return [_start(use.library, item, key, config.seed, repeat) for item in items]

    return _attempt(use, read, [None] * len(items)) if use.config.start == "stored" else [None] * len(items)


def _start(library: AdapterLibrary, item: Input, key: AdapterKey, run_seed: int, repeat: int) -> _Start | None:
    entry = entry_of(library, item, key)
    if entry is None or entry.status != "admitted":
        return None
    file = library.usable_adapter(entry)
    seed = stage_seed(run_seed, item.content_hash, repeat, "adaptation")
    return None if file is None else _Start(entry, file, seed, learned_examples(library, entry))


def _with_start(item: Input, episode: Episode, start: _Start, config: LoopConfig) -> Episode:
    """The episode with its start, whose examples the guard has not seen yet."""
    adaptation, base, adapted = episode.adaptation, episode.base, episode.adapted
    if not adaptation.steps:
        return episode
    adaptation = replace(adaptation, started_from=start.entry.sha256)
    given = adaptation.status == "trained" and not adaptation.refused
    if given and base is not None and adapted is not None:
        reason = guard_refusal(item, base, adapted, config.adaptation, examples=start.learned)
        adapted, adaptation = (base, replace(adaptation, refused=reason)) if reason else (adapted, adaptation)
    return replace(episode, adapted=adapted, adaptation=adaptation)


def learn(
    use: LibraryUse,
    model: Model,
    batch: Sequence[tuple[Input, Episode]],
    config: LoopConfig,
    trained: Mapping[str, bytes] | None = None,
) -> None:
    """The second half: what the library learns from answered inputs, all of it or, where that fails, nothing.

    Args:
        use: the library, within a `step` of it.
        model: the base.
        batch: inputs with their episodes.
        config: the settings of the loop.
        trained: adapters that were trained for these inputs, by their SHA-256, where they are still at hand.

    Raises:
        ConfigError: a setting is wrong.
        LibraryError: the library cannot be written.
    """
    learner = Learner(use.library, model, config, use.config, use.retention, use.origin, trained or {})
    try:
        with prefix_cache(model), use.library.attempt():
            learner.learn(batch)
    except (ConfigError, LibraryError):
        raise
    except Exception as error:
        log.warning("library: nothing was learned from this batch (%s: %s)", type(error).__name__, first_line(error))
    use.library.evict_beyond(use.config.max_bytes, time.time() - 86400 * use.config.max_days)


def prepare(use: LibraryUse, model: Model, tools: Sequence[Tool], config: LoopConfig) -> LibraryEntry:
    """Train and test an adapter for a list of tools ahead of its requests; within a `step` of the library.

    Raises:
        ConfigError: a setting is wrong.
        ModelError: the model's adapters cannot be kept.
        LibraryError: the library has an entry for these tools, no example can be made of any, or it cannot be written.
    """
    check_library(config)
    adapter_keeper(model)
    learner = Learner(use.library, model, config, use.config, use.retention, use.origin)
    same = entries_of(use.library.entries, tools_hash(tools), learner.key)
    if any(entry.status == "admitted" for entry in same):
        advice = f"ttsi library rm {use.library.folder} {same[-1].id} deletes it"
        raise LibraryError(f"{use.library.folder} has the admitted entry {same[-1].id} for these tools: {advice}")
    with prefix_cache(model):
        return learner.prepare(tools)


def _library_answers(
    use: LibraryUse,
    model: Model,
    inputs: Sequence[Input],
    plain: Sequence[Episode],
    selected: Sequence[int],
    config: LoopConfig,
    repeat: int,
) -> dict[int, StoredAnswer]:
    """The answers of the library's adapters, counted as its uses; none where that fails."""
    items = [inputs[i] for i in selected]
    bases = [base for i in selected if (base := plain[i].base) is not None]
    seeds = [stage_seed(config.seed, item.content_hash, repeat, "answer") for item in items]

    def answer() -> dict[int, StoredAnswer]:
        answers = stored_answers(use.library, model, items, bases, config, use.config, seeds)
        by_place = {i: one for i, one in zip(selected, answers, strict=True) if one is not None}
        for i, one in by_place.items():
            use.library.add_use(one.entry, inputs[i].content_hash, one.refusal is None)
        return by_place

    return _attempt(use, answer, {})


def _attempt(use: LibraryUse, read: Callable[[], T], otherwise: T) -> T:
    """What the library has for a batch; where it fails, the batch is answered without it."""
    try:
        with use.library.attempt():
            return read()
    except (ConfigError, LibraryError):
        raise
    except Exception as error:
        log.warning("library: not used for this batch (%s: %s)", type(error).__name__, first_line(error))
        return otherwise


def _with_stored(episode: Episode, stored: StoredAnswer | None) -> Episode:
    """The episode in which the library answers; where its answer is refused, the entry is named and its time counts."""
    if stored is None:
        return episode
    episode = _with_seconds(episode, answer=stored.answer_seconds, awareness=stored.awareness_seconds)
    if stored.refusal is not None:
        return replace(episode, adaptation=Adaptation("none", library_entry=stored.entry.id))
    adaptation = Adaptation(
        "library",
        adapter_sha256=stored.entry.sha256,
        logprob_shift=logprob_shift(stored.answer),
        library_entry=stored.entry.id,
    )
    return replace(episode, adapted=stored.answer, adaptation=adaptation)


def _after(before: Episode, adapted: Episode) -> Episode:
    """What `improve` made of an input that the library did not answer, with all of its seconds."""
    adaptation = replace(adapted.adaptation, library_entry=before.adaptation.library_entry)
    return _with_seconds(replace(adapted, adaptation=adaptation), **before.seconds)


def _with_seconds(episode: Episode, **more: float) -> Episode:
    seconds = dict(episode.seconds)
    for stage, spent in more.items():
        seconds[stage] = seconds.get(stage, 0.0) + spent
    return replace(episode, seconds=seconds)
