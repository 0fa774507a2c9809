"""The loop with a library: prequential, gated, never merged; a library that fails changes nothing."""

from __future__ import annotations

import logging
import re
from dataclasses import replace
from pathlib import Path

import pytest

from tests.library.streams import PLACES, QUESTIONS, UNSURE, answer, inputs, unsure_below
from tests.worlds import TOOLS, few_everywhere, tool
from ttsi.chat.conversation import read_tools
from ttsi.config import LibraryConfig
from ttsi.errors import ConfigError, ModelError
from ttsi.library import (
    AdapterLibrary,
    LibraryEntry,
    LibraryUse,
    check_library,
    improve_with_library,
    tools_hash,
)
from ttsi.library.entry import AdapterKey
from ttsi.library.stored_answers import fitting_entry
from ttsi.loop import improve
from ttsi.models import Model, ModelWrapper, Request, load
from ttsi.models.scripted import DemoModel
from ttsi.types import Input, Message


@pytest.fixture
def demo() -> Model:
    return load("scripted:demo")


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
    assert again.adaptation.status == "trained"


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
        pytest.raises(ModelError, match="does not fit: it has rank 8, not 4"),
        adapter_keeper(model).with_adapters([file], replace(config, rank=4)),
    ):
        pass
    with (
        pytest.raises(ModelError, match="no safetensors file"),
        adapter_keeper(model).with_adapters([b"nothing"], config),
    ):
        pass


class Inventive(DemoModel):
    """Invents a city; with an adapter that of an example, or another one."""

    of_example = True

    def _text(self, request: Request) -> str:
        text = super()._text(request)
        place = request.prompt.messages[-1].content.rpartition(" ")[2]
        if place not in PLACES or place not in text:
            return text
        learned = self._training_examples(request)
        cities = [match[1] for one in learned if (match := re.search(r'"city": "([^"]+)"', one.target))]
        earlier = [city for city in cities[:3] if city not in cities[3:]]  # of a stored adapter, or of the only one
        city = "Bergen" if not cities else earlier[0] if self.of_example else "Kiel"
        return text.replace(place, city)


@pytest.mark.parametrize("of_example", [True, False])
def test_a_stored_adapters_answer_has_no_value_that_only_its_examples_state(tmp_path: Path, of_example: bool) -> None:
    model = Inventive()
    model.of_example = of_example
    config = replace(UNSURE, adaptation=replace(UNSURE.adaptation, refuse_unstated=True))
    questions = [f"Will there be rain and cold and an umbrella in {place}" for place in ("Turin", "Perth")]
    with AdapterLibrary(tmp_path) as library:
        _, second = answer(library, inputs(questions), model, config, admission="all")
    assert (second.adaptation.status == "library") != of_example
    assert second.adaptation.library_entry, "it was tried"


@pytest.mark.parametrize("of_example", [True, False])
def test_nor_has_the_answer_of_an_adapter_that_started_from_it(tmp_path: Path, of_example: bool) -> None:
    model, config = Inventive(), unsure_below(0.0)  # no stored answer is given
    model.of_example = of_example
    config = replace(config, adaptation=replace(config.adaptation, refuse_unstated=True))
    questions = [f"Will there be rain and cold and an umbrella in {place}" for place in ("Turin", "Perth")]
    with AdapterLibrary(tmp_path) as library:
        _, second = answer(library, inputs(questions), model, config, admission="all", gate="sure")
    assert second.adaptation.started_from
    refused = "an example states its city, and the conversation does not" if of_example else ""
    assert (second.adaptation.refused, second.adapted == second.base) == (refused, of_example)
