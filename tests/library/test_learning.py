"""What a library learns from answered inputs: on which evidence, from which start, once, and never half of it."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from tests.library.streams import OTHER, UNSURE, answer, inputs, unsure_below
from ttsi.config import LibraryConfig
from ttsi.errors import ModelError
from ttsi.library import (
    AdapterLibrary,
    LibraryUse,
    answer_with_library,
    improve_with_library,
    learn,
    tools_hash,
)
from ttsi.library.candidate_adapters import MAX_EXAMPLES, LessonGroup
from ttsi.models import Model, ModelWrapper, load
from ttsi.types import Adaptation, Answer, Episode, Example


@pytest.fixture
def demo() -> Model:
    return load("scripted:demo")


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


def test_where_the_library_could_train_no_adapter_it_does_not_try_again(tmp_path: Path, demo: Model) -> None:
    class Failing(ModelWrapper):
        """A model that trains nothing for the library."""

        tries = 0

        @contextmanager
        def adapted_from(self, files, jobs, config, seeds):  # type: ignore[no-untyped-def]
            self.tries += len(jobs)
            yield [Adaptation("training-failed", reason="no luck")] * len(jobs)

    model = Failing(demo)
    with AdapterLibrary(tmp_path) as library:
        use = LibraryUse(library, LibraryConfig(), [OTHER])
        for start in range(0, 8, 2):  # two at once, so that neither one's own adapter will do
            with library.step(f"{start}"):
                improve_with_library(use, inputs()[start : start + 2], model, None, UNSURE)
        [entry] = library.entries
    assert (entry.status, entry.reason, model.tries) == ("refused", "no adapter: no luck", 1)


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


def test_without_a_request_to_measure_the_effect_on_an_adapter_waits(
    tmp_path: Path, demo: Model, caplog: pytest.LogCaptureFixture
) -> None:
    with AdapterLibrary(tmp_path) as library:
        for item in inputs()[:8]:
            with library.step(item.id):
                improve_with_library(LibraryUse(library, LibraryConfig()), [item], demo, None, UNSURE)
        [entry] = library.entries
        assert (entry.status, entry.uses, entry.wins) == ("candidate", 0, 7)
        assert "no request with other tools" in caplog.text
        answer(library, inputs()[8:9], demo, UNSURE)  # the control: here there is one
        assert library.entries[0].status == "admitted"


def test_what_an_adapter_has_learned_is_no_test_of_it(tmp_path: Path, demo: Model) -> None:
    first, second = inputs()[:2]
    with AdapterLibrary(tmp_path) as library:
        answer(library, [first, replace(first, id="again"), replace(first, id="once more")], demo, UNSURE)
        [entry] = library.entries
        assert (entry.wins, entry.losses, entry.inputs) == (0, 0, (first.content_hash,))
        answer(library, [second], demo, UNSURE)  # the control
        assert library.entries[0].wins == 1


def test_an_adapter_of_other_settings_neither_learns_nor_answers(tmp_path: Path, demo: Model) -> None:
    other = replace(UNSURE, adaptation=replace(UNSURE.adaptation, rank=UNSURE.adaptation.rank * 2))
    with AdapterLibrary(tmp_path) as library:
        answer(library, inputs()[:3], demo, UNSURE)
        answer(library, inputs()[3:5], demo, other)
        first, second = library.entries
    assert (first.key.rank * 2, first.wins, second.wins) == (second.key.rank, 2, 1)


def test_an_adapter_that_its_model_refuses_does_not_keep_others_from_learning(tmp_path: Path, demo: Model) -> None:
    class Refusing(ModelWrapper):
        """A model that takes no adapter of this content."""

        refused = b""

        @contextmanager
        def with_adapters(self, files, config):  # type: ignore[no-untyped-def]
            if self.refused in files:
                raise ModelError("rank 3")
            with super().with_adapters(files, config) as loaded:
                yield loaded

    model = Refusing(demo)
    fewer = [replace(item, id=f"fewer {item.id}", tools=item.tools[:2]) for item in inputs()]
    with AdapterLibrary(tmp_path) as library:
        answer(library, [inputs()[0], fewer[0]], model, UNSURE)
        misfit, fitting = library.entries
        model.refused = library.adapter(misfit)
        use = LibraryUse(library, LibraryConfig(), [OTHER])
        with library.step("both"):
            improve_with_library(use, [inputs()[1], fewer[1]], model, None, UNSURE)
        assert misfit.id not in [entry.id for entry in library.entries]
        assert [entry.wins for entry in library.entries if entry.id == fitting.id] == [1]


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


@pytest.mark.parametrize(("drifts", "status", "learned"), [(True, "refused", 8), (False, "admitted", 12)])
def test_the_effect_on_other_requests_is_measured_again_when_the_inputs_have_doubled(
    tmp_path: Path, demo: Model, drifts: bool, status: str, learned: int
) -> None:
    class Drifting(ModelWrapper):
        """A demo whose stored adapters harm other answers from the second time on."""

        times = 0

        def score(self, prompts, continuations, adapters=()):  # type: ignore[no-untyped-def]
            scores = super().score(prompts, continuations, adapters)
            other = adapters and prompts[0].tools == OTHER.tools
            self.times += bool(other)
            return [[score - 100 for score in row] for row in scores] if other and drifts and self.times > 1 else scores

    model = Drifting(demo)
    with AdapterLibrary(tmp_path) as library:
        answer(library, inputs(), model, unsure_below(0.0), gate="sure")
        [entry] = library.entries
    assert (entry.status, len(entry.inputs), model.times) == (status, learned, 2)
    assert ("other requests" in entry.reason) == drifts


def test_without_the_test_earlier_candidates_answer_too(tmp_path: Path, demo: Model) -> None:
    with AdapterLibrary(tmp_path) as library:
        answer(library, inputs()[:3], demo, UNSURE)
        assert library.entries[0].status == "candidate"
        answer(library, inputs()[3:4], demo, UNSURE, admission="all")
        assert library.entries[0].status == "admitted"


def test_inputs_beyond_what_a_pass_takes_are_learned_later(tmp_path: Path, demo: Model) -> None:
    many = inputs([f"Will there be rain and cold and an umbrella in {number} places" for number in range(40)])
    with AdapterLibrary(tmp_path) as library:
        use = LibraryUse(library, LibraryConfig(), [OTHER])
        with library.step("many"):
            improve_with_library(use, many, demo, None, UNSURE)
        [entry] = library.entries
        assert entry.examples == len(entry.inputs) == MAX_EXAMPLES


def test_the_examples_of_several_inputs_are_learned_in_turn() -> None:
    nothing = Episode("", "", Answer("", ()), None, None)
    lessons = [
        (item, nothing, tuple(Example(f"{name}{number}", (), "") for number in range(count)))
        for item, name, count in zip(inputs(), "abc", (30, 1, 30), strict=False)
    ]
    queries = [example.query for example in LessonGroup("", None, None, lessons).examples]
    assert queries[:5] == ["a0", "b0", "c0", "a1", "c1"]
    assert len(queries) == MAX_EXAMPLES
    alone = LessonGroup("", None, None, lessons[:1])  # the control: all of one input, as of a list that is prepared
    assert len(alone.examples) == 30


def test_each_version_draws_its_own_random_numbers(tmp_path: Path, demo: Model) -> None:
    class Seen(ModelWrapper):
        """A model that remembers the seeds of what it trains from stored adapters."""

        seeds: tuple[int, ...] = ()

        def adapted_from(self, files, jobs, config, seeds):  # type: ignore[no-untyped-def]
            self.seeds += tuple(seeds)
            return super().adapted_from(files, jobs, config, seeds)

    model = Seen(demo)
    with AdapterLibrary(tmp_path) as library:
        answer(library, inputs()[:5], model, UNSURE)
        assert library.entries[0].version == len(model.seeds) == len(set(model.seeds)) == 4


def test_the_time_of_learning_counts_and_so_does_that_of_an_answer_that_was_not_given(
    tmp_path: Path, demo: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [0.0]

    class Slow(ModelWrapper):
        """A model that takes a second to load stored adapters."""

        @contextmanager
        def with_adapters(self, files, config):  # type: ignore[no-untyped-def]
            clock[0] += 1.0
            with super().with_adapters(files, config) as loaded:
                yield loaded

    monkeypatch.setattr("time.perf_counter", lambda: clock[0])
    with AdapterLibrary(tmp_path) as library:
        episodes = answer(library, inputs(), Slow(demo), unsure_below(0.0), gate="sure")
        assert library.entries[0].tries == 6
    assert episodes[0].seconds["adaptation"] == 0.0  # the control: the first has nothing to be tested on
    assert [episode.seconds["adaptation"] for episode in episodes[1:5]] == [1.0] * 4
    assert [episode.seconds["answer"] for episode in episodes[1:]] == [0.0] * 5 + [1.0] * 6
