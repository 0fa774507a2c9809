"""Adapters prepared ahead: what they learn, what tests them, and that they answer the first request of their tools."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tests.library.streams import OTHER, UNSURE, answer, inputs
from tests.worlds import TOOLS
from ttsi.chat.conversation import read_tools
from ttsi.chat.tool_schema import problem
from ttsi.config import LibraryConfig
from ttsi.errors import LibraryError
from ttsi.library import AdapterLibrary, LibraryEntry, LibraryUse, prepare
from ttsi.library.preparation import (
    FEWEST_TESTS,
    MOST_EXAMPLES,
    MOST_TESTS,
    TESTS_TO_ADMIT,
    preparation_examples,
)
from ttsi.models import Model, ModelWrapper, load
from ttsi.types import Tool

BY_RULE = replace(UNSURE, synthesis=replace(UNSURE.synthesis, source="schema", order="call-first"))
OFFERED = read_tools(TOOLS)


@pytest.fixture
def demo() -> Model:
    return load("scripted:demo")


def prepared(folder: Path, model: Model, tools: tuple[Tool, ...] = OFFERED, **settings: object) -> LibraryEntry:
    use = LibraryConfig(**settings)  # type: ignore[arg-type]
    with AdapterLibrary(folder) as library, library.step(f"after {library.last_tag}"):
        return prepare(LibraryUse(library, use, [OTHER], "prepare"), model, tools, BY_RULE)


@pytest.mark.parametrize("count", [1, 3, 12, 40, 100])
def test_every_tool_is_learned_as_far_as_there_is_room_and_nothing_that_tests_is(count: int) -> None:
    tools = tuple(replace(OFFERED[0], name=f"tool_{number}") for number in range(count))
    made = preparation_examples(tools, 0)
    assert len({example.calls[0].name for example in made.learned}) == min(count, MOST_EXAMPLES)
    assert len(made.learned) <= MOST_EXAMPLES
    assert len(made.held_back) <= min(MOST_TESTS, max(FEWEST_TESTS, count))
    assert len(made.held_back) >= 5  # enough to admit
    learned, held_back = ({(e.calls[0].name, e.query) for e in part} for part in (made.learned, made.held_back))
    assert not learned & held_back
    by_name = {one.name: one for one in tools}
    for example in (*made.learned, *made.held_back):
        assert problem(example.calls[0], [by_name[example.calls[0].name]]) is None
    assert preparation_examples(tools, 0) == made != preparation_examples(tools, 1)


def test_a_prepared_adapter_answers_the_first_request_of_its_tools(tmp_path: Path, demo: Model) -> None:
    entry = prepared(tmp_path / "ahead", demo)
    assert (entry.status, entry.prepared, entry.losses, entry.divergence) == ("admitted", True, 0, 0.0)
    assert entry.wins >= 5
    with AdapterLibrary(tmp_path / "ahead") as library:
        first = answer(library, inputs()[:3], demo, BY_RULE)
        assert library.entries[0].version == 0  # it learns nothing from requests
    with AdapterLibrary(tmp_path / "empty") as library:  # the control: without it they train
        control = answer(library, inputs()[:1], demo, BY_RULE)
    asked = [episode.adaptation.library_entry for episode in first]
    assert asked == [entry.id] * 3
    assert control[0].adaptation.library_entry == ""


def test_a_stream_prepares_an_adapter_when_a_list_of_tools_comes_back(tmp_path: Path, demo: Model) -> None:
    with AdapterLibrary(tmp_path / "by rule") as library:
        episodes = answer(library, inputs()[:4], demo, BY_RULE)
        [entry] = library.entries
    assert (entry.prepared, entry.status) == (True, "admitted")
    assert [bool(episode.adaptation.library_entry) for episode in episodes] == [False, False, True, True]
    with AdapterLibrary(tmp_path / "once") as library:  # the control: the same input again is no other one
        answer(library, [inputs()[0], replace(inputs()[0], id="again")], demo, BY_RULE)
        assert library.entries == []
    with AdapterLibrary(tmp_path / "written") as library:  # the control: examples that a model writes for one input
        answer(library, inputs()[:4], demo, UNSURE)
        assert not library.entries[0].prepared


def test_one_that_finds_what_was_held_back_less_likely_is_refused(tmp_path: Path, demo: Model) -> None:
    class Worse(ModelWrapper):
        """A model to whose stored adapters every answer is less likely."""

        def score(self, prompts, continuations, adapters=()):  # type: ignore[no-untyped-def]
            scores = super().score(prompts, continuations, adapters)
            return [[score - 99 for score in row] for row in scores] if adapters else scores

    entry = prepared(tmp_path / "worse", Worse(demo))
    assert (entry.status, entry.wins) == ("refused", 0)
    assert "it lost" in entry.reason
    untested = prepared(tmp_path / "all", Worse(demo), admission="all")
    assert (untested.status, untested.wins + untested.losses) == ("admitted", 0)


def test_what_cannot_be_prepared_is_refused(tmp_path: Path, demo: Model) -> None:
    prepared(tmp_path / "library", demo)
    with pytest.raises(LibraryError, match="has the admitted entry"):
        prepared(tmp_path / "library", demo)
    code = {"type": "object", "properties": {"code": {"type": "string", "pattern": "^[A-Z]{7}$"}}, "required": ["code"]}
    with pytest.raises(LibraryError, match="too few different examples"):
        prepared(tmp_path / "impossible", demo, (replace(OFFERED[0], parameters=code),))
    with AdapterLibrary(tmp_path / "impossible") as library:
        assert library.entries == []


def test_tools_with_too_few_different_examples_are_refused_and_not_prepared_in_a_stream(
    tmp_path: Path, demo: Model
) -> None:
    nothing = {"type": "object", "properties": {}}
    bare = tuple(replace(one, parameters=nothing) for one in OFFERED[:2])
    assert len(preparation_examples(bare, 0).held_back) < TESTS_TO_ADMIT
    with pytest.raises(LibraryError, match="too few different examples"):
        prepared(tmp_path / "bare", demo, bare)
    assert prepared(tmp_path / "all", demo, bare, admission="all").status == "admitted"
    with AdapterLibrary(tmp_path / "stream") as library:
        answer(library, [replace(item, tools=bare) for item in inputs()[:4]], demo, BY_RULE)
        assert library.entries == []
