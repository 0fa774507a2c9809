"""The loop with a library: prequential, gated, never merged; a library that fails changes nothing."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

import pytest

from tests.library.streams import OTHER, QUESTIONS, answer, inputs
from tests.worlds import TOOLS, few_everywhere, tool
from ttsi.chat.conversation import read_tools
from ttsi.config import LibraryConfig, LoopConfig
from ttsi.errors import ConfigError, ModelError
from ttsi.library import (
    AdapterLibrary,
    LibraryEntry,
    LibraryUse,
    answer_with_library,
    check_library,
    improve_with_library,
    learn,
    tools_hash,
)
from ttsi.library.entry import AdapterKey
from ttsi.library.stored_answers import fitting_entry
from ttsi.loop import improve
from ttsi.models import Model, ModelWrapper, load
from ttsi.types import Input, Message


@pytest.fixture
def demo() -> Model:
    return load("scripted:demo")


def unsure_below(tau: float) -> LoopConfig:
    """Settings of the demo that judge by the mean log-probability of the answer."""
    config = few_everywhere()
    awareness = replace(config.awareness, gate="unsure", measure="answer_mean", tau=tau)
    return replace(config, awareness=awareness)


UNSURE = unsure_below(-0.3)
"""The base's answers to `QUESTIONS` lie below, those of an adapter that knows the word above."""


def test_an_entry_is_trained_tested_on_later_inputs_which_it_then_learns_and_answers_at_last(
    tmp_path: Path, demo: Model
) -> None:
    with AdapterLibrary(tmp_path) as library:
        episodes = answer(library, inputs(), demo, UNSURE)
        [entry] = library.entries
    statuses = [episode.adaptation.status for episode in episodes]
    assert "library" not in statuses[:6]  # one input trains it, and five others have to speak for it
    assert set(statuses[6:]) == {"library"}
    assert (entry.version, len(entry.inputs)) == (5, 6)  # what it answers, it does not learn
    assert (entry.status, entry.wins, entry.losses, entry.divergence) == ("admitted", 5, 0, 0.0)
    assert entry.uses == statuses.count("library")
    served = next(episode for episode in episodes if episode.adaptation.status == "library")
    assert served.examples == ()
    assert served.adaptation.steps == 0
    assert (served.adaptation.library_entry, served.adaptation.adapter_sha256) == (entry.id, entry.sha256)


@pytest.mark.parametrize(("gate", "answers"), [("sure", False), ("surer", True)])
def test_a_stored_answer_may_count_where_the_model_is_only_surer_of_it(
    tmp_path: Path, demo: Model, gate: str, answers: bool
) -> None:
    """With a tau that no answer reaches, the stricter gate lets none through."""
    with AdapterLibrary(tmp_path) as library:
        episodes = answer(library, inputs(), demo, unsure_below(0.0), gate=gate)
    assert ("library" in {episode.adaptation.status for episode in episodes}) == answers


def test_what_an_input_trained_is_not_trained_again_for_the_library(tmp_path: Path, demo: Model) -> None:
    class Counting(ModelWrapper):
        """A model that counts the adapters that it trains."""

        trained = 0

        def adapted(self, jobs, config, seeds):  # type: ignore[no-untyped-def]
            self.trained += len(jobs)
            return super().adapted(jobs, config, seeds)

        def adapted_from(self, files, jobs, config, seeds):  # type: ignore[no-untyped-def]
            self.trained += len(jobs)
            return super().adapted_from(files, jobs, config, seeds)

    def stream(folder: str, at_once: bool) -> tuple[int, list[tuple[str, int]]]:
        model = Counting(demo)
        with AdapterLibrary(tmp_path / folder) as library:
            use = LibraryUse(library, LibraryConfig(gate="sure"), [OTHER])
            for item in inputs():
                with library.step(item.id):
                    if at_once:
                        improve_with_library(use, [item], model, None, unsure_below(0.0))
                    else:
                        [episode] = answer_with_library(use, [item], model, None, unsure_below(0.0))
                        learn(use, model, [(item, episode)], unsure_below(0.0))
            return model.trained, [(entry.sha256, entry.version) for entry in library.entries]

    at_once, entries = stream("at once", True)
    later, the_same = stream("later", False)
    assert entries == the_same
    # One for each of the 12 inputs, and for the library from the second to the sixth; when it learns later, for all.
    assert (at_once, later) == (12 + 5, 12 + 12)


@pytest.mark.parametrize(("start", "steps"), [("stored", 1), ("zero", 5)])
def test_training_starts_from_the_stored_adapter_where_its_answer_is_not_given(
    tmp_path: Path, demo: Model, start: str, steps: int
) -> None:
    """With a tau that no answer reaches, the stricter gate lets no stored answer through."""
    with AdapterLibrary(tmp_path) as library:
        episodes = answer(library, inputs(), demo, unsure_below(0.0), gate="sure", start=start)
        [entry] = library.entries
    assert [episode.adaptation.steps for episode in episodes] == [5] * 6 + [steps] * 6
    from_stored = [bool(episode.adaptation.started_from) for episode in episodes]
    assert from_stored == [False] * 6 + [start == "stored"] * 6
    assert {episode.adaptation.library_entry for episode in episodes[6:]} == {entry.id}
    assert entry.version == 11  # all later inputs were learned


def test_an_input_whose_examples_it_finds_less_likely_teaches_nothing(tmp_path: Path, demo: Model) -> None:
    class Contradicted(ModelWrapper):
        """A model to whose stored adapters whatever mentions Rome is less likely."""

        def score(self, prompts, continuations, adapters=()):  # type: ignore[no-untyped-def]
            scores = super().score(prompts, continuations, adapters)
            if not adapters:
                return scores
            return [
                [score - 99 * ("Rome" in text) for score, text in zip(row, texts, strict=True)]
                for row, texts in zip(scores, continuations, strict=True)
            ]

    mentions = [q.content_hash for q, e in zip(inputs(), answer_all(demo, tmp_path), strict=True) if "Rome" in str(e)]
    with AdapterLibrary(tmp_path / "library") as library:
        answer(library, inputs(), Contradicted(demo), unsure_below(0.0), gate="sure")
        [entry] = library.entries
    assert 0 < entry.losses == len(set(mentions) - {entry.inputs[0]})
    assert not set(mentions[1:]) & set(entry.inputs)
    assert entry.version == entry.wins == 11 - entry.losses


def answer_all(model: Model, folder: Path) -> list[object]:
    """The kept examples of each input, without a judge."""
    with AdapterLibrary(folder / "free") as library:
        episodes = answer(library, inputs(), model, unsure_below(0.0), gate="sure")
    return [[example.calls for example in episode.examples if example.refused is None] for episode in episodes]


def test_what_the_library_does_not_answer_is_answered_as_without_it(tmp_path: Path, demo: Model) -> None:
    items = inputs()
    with AdapterLibrary(tmp_path) as library:
        episodes = answer(library, items, demo, UNSURE)
    alone = [improve([item], demo, None, UNSURE)[0] for item in items]
    compared = 0
    for with_library, without in zip(episodes, alone, strict=True):
        assert with_library.base == without.base
        assert with_library.awareness == without.awareness
        if with_library.adaptation.status != "library":
            plain = replace(with_library.adaptation, library_entry="")
            assert replace(with_library, adaptation=plain, seconds={}) == replace(without, seconds={})
            compared += 1
    assert compared >= 4


def test_a_sure_input_never_asks_the_library(tmp_path: Path, demo: Model) -> None:
    with AdapterLibrary(tmp_path) as library:
        answer(library, inputs(), demo, UNSURE)
        tries = sum(entry.tries for entry in library.entries)
        with library.step("sure"):
            use = LibraryUse(library, LibraryConfig())
            [episode] = improve_with_library(use, inputs()[:1], demo, None, unsure_below(-9.0))
        assert episode.adaptation.status == "none"
        assert sum(entry.tries for entry in library.entries) == tries > 0


def test_an_answer_of_which_the_model_is_not_sure_is_not_given(tmp_path: Path, demo: Model) -> None:
    """The control of the gate: the same stream, and a tau that no answer reaches."""
    with AdapterLibrary(tmp_path) as library:
        episodes = answer(library, inputs(), demo, unsure_below(0.0), gate="sure")
        assert all(episode.adaptation.status != "library" for episode in episodes)
        assert sum(entry.tries for entry in library.entries) > 0
        assert sum(entry.uses for entry in library.entries) == 0


def test_without_the_test_of_admission_an_entry_answers_at_once(tmp_path: Path, demo: Model) -> None:
    with AdapterLibrary(tmp_path) as library:
        episodes = answer(library, inputs(), demo, UNSURE, admission="all")
        assert library.entries[0].reason == "not tested"
    assert "library" in [episode.adaptation.status for episode in episodes[2:4]]


def scores_with(change: float) -> type[ModelWrapper]:
    """A demo whose adapters find every text of other tools so many nats likelier."""

    class Changed(ModelWrapper):
        def score(self, prompts, continuations, adapters=()):  # type: ignore[no-untyped-def]
            scores = super().score(prompts, continuations, adapters)
            moved = [change if prompt.tools == OTHER.tools and adapters else 0.0 for prompt in prompts]
            return [[score + more for score in row] for row, more in zip(scores, moved, strict=True)]

    return Changed


@pytest.mark.parametrize(("change", "status"), [(-100.0, "refused"), (-0.1, "admitted"), (100.0, "admitted")])
def test_an_adapter_that_lowers_other_answers_too_much_is_refused(
    tmp_path: Path, demo: Model, change: float, status: str
) -> None:
    with AdapterLibrary(tmp_path) as library:
        answer(library, inputs(), scores_with(change)(demo), UNSURE)
        [entry] = library.entries
    assert entry.status == status
    assert ("other requests" in entry.reason) == (status == "refused")


def test_without_a_request_to_measure_the_effect_on_nothing_is_admitted(tmp_path: Path, demo: Model) -> None:
    with AdapterLibrary(tmp_path) as library:
        for item in inputs():
            with library.step(item.id):
                improve_with_library(LibraryUse(library, LibraryConfig()), [item], demo, None, UNSURE)
        [entry] = library.entries
    assert (entry.status, entry.uses) == ("refused", 0)
    assert "no request" in entry.reason


def test_an_adapter_that_loses_later_inputs_is_refused(tmp_path: Path, demo: Model) -> None:
    class Worse(ModelWrapper):
        """A model to whose stored adapters every answer is less likely."""

        def score(self, prompts, continuations, adapters=()):  # type: ignore[no-untyped-def]
            scores = super().score(prompts, continuations, adapters)
            return [[score - 9 for score in row] for row in scores] if adapters else scores

    with AdapterLibrary(tmp_path) as library:
        answer(library, inputs(), Worse(demo), UNSURE)
        [entry] = library.entries
    # Two lose five inputs each; the second took the place of the first.
    assert (entry.status, entry.wins, entry.losses, entry.version) == ("refused", 0, 5, 0)
    assert len(entry.inputs) == 1


def test_the_same_input_counts_once_however_often_it_comes(tmp_path: Path, demo: Model) -> None:
    first, second, again = inputs()[:3]
    with AdapterLibrary(tmp_path) as library:
        answer(library, [first, second, *(replace(again, id=f"again {n}") for n in range(9))], demo, UNSURE)
        [entry] = library.entries
        assert (entry.wins, entry.status) == (2, "candidate")
        answer(library, inputs()[3:8], demo, UNSURE)  # the control: others count
        assert library.entries[0].status == "admitted"


def test_a_failure_while_learning_leaves_the_answers_and_no_half_of_it(
    tmp_path: Path, demo: Model, caplog: pytest.LogCaptureFixture
) -> None:
    class Broken(ModelWrapper):
        """A model whose adapters cannot be kept when it comes to it."""

        def adapter_file(self, index: int) -> bytes:
            raise RuntimeError("no memory")

    with AdapterLibrary(tmp_path) as library:
        episodes = answer(library, inputs()[:3], Broken(demo), UNSURE)
        assert [episode.adaptation.status for episode in episodes] == ["trained"] * 3
        assert "an adapter is not kept (RuntimeError: no memory)" in caplog.text
        assert "nothing was learned from this batch (RuntimeError: no memory)" in caplog.text
        assert library.entries == []
        assert library.pooled_inputs(tools_hash(inputs()[0].tools)) == []
        answer(library, inputs()[3:5], demo, UNSURE)
        assert len(library.entries) == 1


def test_an_entry_that_is_mostly_tried_in_vain_is_not_tried_any_more(tmp_path: Path, demo: Model) -> None:
    with AdapterLibrary(tmp_path) as library:
        answer(library, inputs()[:8], demo, UNSURE)
        [entry] = library.entries
        assert fitting_entry(library, inputs()[0], entry.key, LibraryConfig()) is not None
        with library.step("in vain"):
            for number in range(9):
                entry = library.add_use(entry, f"{number}", given=False)
        assert fitting_entry(library, inputs()[0], entry.key, LibraryConfig()) is None


def planted(name: str) -> LibraryEntry:
    tools = read_tools([tool(name, "Something else")])
    key = AdapterKey.of({}, few_everywhere().adaptation)
    return LibraryEntry(name, 0, "admitted", tools_hash(tools), tools, key, "", 0, (), 1, wins=99)


class Planted(AdapterLibrary):
    """A library that holds admitted entries for other tools only."""

    @property
    def entries(self) -> list[LibraryEntry]:
        return [planted(f"tool_{number}") for number in range(20)]


def test_an_entry_for_other_tools_is_never_tried(tmp_path: Path) -> None:
    key = planted("one").key
    with Planted(tmp_path) as library:
        for number in range(1000):
            item = Input(
                f"{number}", (Message("user", QUESTIONS[number % 8]),), read_tools([*TOOLS, tool(f"x{number}", "")])
            )
            assert fitting_entry(library, item, key, LibraryConfig()) is None
            assert fitting_entry(library, item, key, LibraryConfig(near=0.5)) is None
        own = Input("own", inputs()[0].messages, planted("tool_7").tools)
        fitting = fitting_entry(library, own, key, LibraryConfig())
        assert fitting is not None  # the control: with its own tools it is
        assert fitting.id == "tool_7"
        assert fitting_entry(library, own, replace(key, weights_sha256="another model"), LibraryConfig()) is None


def test_near_lists_are_tried_only_where_that_is_wanted(tmp_path: Path, demo: Model) -> None:
    with AdapterLibrary(tmp_path) as library:
        answer(library, inputs(), demo, UNSURE)
        key = library.entries[0].key
        item = Input("near", inputs()[0].messages, read_tools([*TOOLS, tool("sing_a_song", "Sing a song")]))
        assert fitting_entry(library, item, key, LibraryConfig()) is None
        assert fitting_entry(library, item, key, LibraryConfig(near=0.7)) == library.entries[0]
        assert fitting_entry(library, item, key, LibraryConfig(near=0.8)) is None


def test_a_damaged_adapter_is_named_and_the_input_adapted_as_without_it(
    tmp_path: Path, demo: Model, caplog: pytest.LogCaptureFixture
) -> None:
    items = inputs()
    with AdapterLibrary(tmp_path) as library:
        episodes = answer(library, items, demo, UNSURE)
        place = next(i for i, episode in enumerate(episodes) if episode.adaptation.status == "library")
        [entry] = library.entries
        [file] = (tmp_path / "adapters").iterdir()
        file.write_bytes(b"cut")
        with caplog.at_level(logging.WARNING), library.step("again"):
            [again] = improve_with_library(LibraryUse(library, LibraryConfig()), [items[place]], demo, None, UNSURE)
    assert entry.id in caplog.text
    assert again.adaptation.status in ("trained", "kept-base")


def test_an_adapter_that_does_not_fit_after_all_is_evicted_and_the_others_answer(
    tmp_path: Path, demo: Model, caplog: pytest.LogCaptureFixture
) -> None:
    class Picky(ModelWrapper):
        """A model into which one file does not fit."""

        misfit = b""

        def with_adapters(self, files, config):  # type: ignore[no-untyped-def]
            if self.misfit in files:
                raise ModelError("the adapter does not fit this model")
            return super().with_adapters(files, config)

    model = Picky(demo)
    others = [replace(item, id=f"r{item.id}", tools=read_tools([*TOOLS, tool("sing", "Sing")])) for item in inputs()]
    with AdapterLibrary(tmp_path) as library:
        answer(library, [*inputs()[:8], *others[:8]], model, UNSURE)
        first, second = library.entries
        model.misfit = library.adapter(first)
        with library.step("both"):
            use = LibraryUse(library, LibraryConfig())
            episodes = improve_with_library(use, [inputs()[9], others[9]], model, None, UNSURE)
        assert [episode.adaptation.status for episode in episodes] == ["trained", "library"]
        ids = [entry.id for entry in library.entries]
        assert first.id not in ids
        assert second.id in ids
    assert f"entry {first.id} is not used: the adapter does not fit this model" in caplog.text


def test_models_and_methods_whose_adapters_cannot_be_kept_are_refused() -> None:
    from ttsi.methods import preset
    from ttsi.models import adapter_keeper

    with pytest.raises(ConfigError, match="method that trains one per input"):
        check_library(preset("ttsi-icl", "embedded"))
    with pytest.raises(ModelError, match="cannot be kept"):
        adapter_keeper(_Remote())  # type: ignore[arg-type]


class _Remote:
    spec = "openai:somebody"


def test_the_embedded_model_keeps_its_bits_and_an_adapter_put_back_answers_as_when_it_was_trained(
    tmp_path: Path,
) -> None:
    from ttsi.models import adapter_keeper
    from ttsi.types import Prompt, TrainingExample

    model = load("embedded")
    item = inputs()[0]
    prompt = Prompt(item.messages, item.tools)
    config = few_everywhere().adaptation
    lesson = TrainingExample(prompt, '{"name": "get_weather", "arguments": {"city": "Lima"}}')
    before = model.weights_sha256()  # type: ignore[attr-defined]
    texts = [["get_weather", "find_hotel"]]
    base = model.score([prompt], texts)
    with model.adapted([[lesson]], config, [0]):
        trained = model.score([prompt], texts, [0])
        file = adapter_keeper(model).adapter_file(0)
    with adapter_keeper(model).with_adapters([file], config):
        assert model.score([prompt], texts, [0]) == trained
        assert model.score([prompt], texts) == base
    assert trained != base
    assert model.score([prompt], texts) == base
    assert model.weights_sha256() == before  # type: ignore[attr-defined]
    with (
        pytest.raises(ModelError, match="does not fit this model"),
        adapter_keeper(model).with_adapters([file], replace(config, rank=4)),
    ):
        pass
    with (
        pytest.raises(ModelError, match="no safetensors file"),
        adapter_keeper(model).with_adapters([b"nothing"], config),
    ):
        pass
