"""Does the method do what its page says, and does one input's failure stay its own?

A world in miniature: the scripted demo with two tools. "find a hotel in Lima" shares words with its tool, so it is sure
and right; "will I need an umbrella in Oslo" shares none, so it is unsure and wrong until it has learned.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

import pytest

from ttsi import improve
from ttsi.config import AdaptationConfig, AwarenessConfig, LoopConfig, SynthesisConfig
from ttsi.errors import ConfigError
from ttsi.methods import preset
from ttsi.models import Generation, Request
from ttsi.models.scripted import DemoModel
from ttsi.types import Adaptation, Episode, Input, Message, Prompt, Tool, TrainingExample, input_hash

CITY = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
TOOLS = (
    Tool("find_hotel", "find a hotel in a city", CITY),
    Tool("get_weather", "get the weather forecast of some place", CITY),
)


def ask(name: str, request: str) -> Input:
    return Input(name, (Message("user", request),), TOOLS)


SURE = ask("sure", "find a hotel in Lima")
UNSURE = ask("unsure", "will I need an umbrella or a jacket for Oslo")
BOOM = ask("boom", "boom")
BY_NAME = AwarenessConfig(candidates="names", tau=0.8)
CONFIG = LoopConfig(awareness=BY_NAME, synthesis=SynthesisConfig(k=6))


class Spy(DemoModel):
    """The demo, remembering every request; whoever says "boom" makes it raise."""

    def __init__(self) -> None:
        super().__init__()
        self.requests: list[Request] = []

    def generate(self, requests: Sequence[Request]) -> list[Generation]:
        self.requests += requests
        if any("boom" in message.content for request in requests for message in request.prompt.messages):
            raise RuntimeError("out of cheese\nmore about it")
        return super().generate(requests)

    def answers_to(self, item: Input) -> list[Request]:
        """What was asked with exactly the input's own messages."""
        return [request for request in self.requests if request.prompt.messages == item.messages]


class Rejecting(Spy):
    """Whose training goes wrong, politely."""

    @contextmanager
    def adapted(
        self, jobs: Sequence[Sequence[TrainingExample]], config: AdaptationConfig, seeds: Sequence[int]
    ) -> Iterator[list[Adaptation]]:
        yield [Adaptation("training-failed", reason="non-finite loss at step 2") for _ in jobs]


class Raising(Spy):
    """Whose training raises."""

    @contextmanager
    def adapted(
        self, jobs: Sequence[Sequence[TrainingExample]], config: AdaptationConfig, seeds: Sequence[int]
    ) -> Iterator[list[Adaptation]]:
        if jobs:
            raise MemoryError("no room for the adapter")
        yield []


class Narrow(Spy):
    """In whose context little fits."""

    def fits(self, prompt: Prompt, room: int) -> str | None:
        size = len(prompt.messages[-1].content)
        return f"{size} letters do not fit" if size > 100 else None


def told(
    inputs: Sequence[Input], model: Spy | None = None, config: LoopConfig = CONFIG, repeat: int = 0
) -> list[Episode]:
    """The episodes of a model that is its own writer."""
    speaker = model or Spy()
    return improve(inputs, speaker, speaker, config, repeat)


def timeless(episodes: Sequence[Episode]) -> list[Episode]:
    return [replace(episode, seconds={}) for episode in episodes]


def called(episode: Episode, which: str) -> str:
    return getattr(episode, which).calls[0].name  # type: ignore[no-any-return]


def test_the_method_mends_what_it_was_unsure_about_and_leaves_the_rest() -> None:
    sure, unsure = told([SURE, UNSURE])
    assert (called(sure, "base"), called(sure, "adapted")) == ("find_hotel", "find_hotel")
    assert (called(unsure, "base"), called(unsure, "adapted")) == ("find_hotel", "get_weather")
    assert (sure.examples, sure.adaptation.status) == ((), "none")
    assert len([e for e in unsure.examples if e.refused is None]) == unsure.adaptation.samples == 6
    assert unsure.adaptation.status == "trained"


def test_one_episode_per_input_in_order() -> None:
    inputs = [UNSURE, SURE, replace(UNSURE, id="again"), SURE]
    episodes = told(inputs)
    assert [episode.input_id for episode in episodes] == ["unsure", "sure", "again", "sure"]
    assert [episode.input_hash for episode in episodes] == [input_hash(item) for item in inputs]
    assert told([]) == []


def test_the_batch_does_not_matter() -> None:
    alone = [*told([SURE]), *told([UNSURE])]
    assert timeless(told([SURE, UNSURE])) == timeless(alone)
    assert timeless(told([UNSURE, SURE])) == timeless(list(reversed(alone)))


def test_the_same_seed_is_the_same_story_and_control_another_is_not() -> None:
    assert timeless(told([UNSURE])) == timeless(told([UNSURE]))
    [first], [other] = told([UNSURE]), told([UNSURE], config=replace(CONFIG, seed=1))
    assert first.base == other.base
    assert first.examples != other.examples
    [again] = told([UNSURE], repeat=1)
    assert first.examples != again.examples


@pytest.mark.parametrize(
    ("gate", "adapted"), [("unsure", [False, True]), ("sure", [True, False]), ("all", [True, True])]
)
def test_the_gate_says_who_is_adapted(gate: str, adapted: list[bool]) -> None:
    config = replace(CONFIG, awareness=replace(BY_NAME, gate=gate))  # type: ignore[arg-type]
    episodes = told([SURE, UNSURE], config=config)
    assert [bool(episode.examples) for episode in episodes] == adapted
    assert [episode.adaptation.status == "trained" for episode in episodes] == adapted
    assert [episode.awareness.unsure for episode in episodes if episode.awareness] == [False, True]


def test_the_method_base_only_measures_and_answers() -> None:
    spy = Spy()
    [episode] = told([UNSURE], spy, replace(preset("base"), awareness=BY_NAME))
    assert episode.adapted == episode.base is not None
    assert episode.awareness is not None
    assert (episode.examples, episode.adaptation) == ((), Adaptation("none"))
    assert len(spy.requests) == 1


def test_in_context_the_examples_are_read_instead_of_learned() -> None:
    spy = Spy()
    [episode] = told([UNSURE], spy, replace(CONFIG, adaptation=AdaptationConfig(method="in-context")))
    assert (episode.adaptation.status, called(episode, "adapted")) == ("in-context", "get_weather")
    assert [r.adapter for r in spy.requests if r.prompt.messages[-1] == UNSURE.messages[-1]] == [None, None]


def test_a_teacher_writes_and_the_model_learns() -> None:
    model, teacher = Spy(), Spy()
    [episode] = improve([UNSURE], model, teacher, CONFIG)
    assert called(episode, "adapted") == "get_weather"
    assert all(request.prompt.messages == UNSURE.messages for request in model.requests)
    assert teacher.requests
    assert not teacher.answers_to(UNSURE)


@pytest.mark.parametrize("decoding", ["free", "constrained"])
def test_base_and_adapted_are_decoded_alike(decoding: str) -> None:
    spy = Spy()
    told([UNSURE], spy, replace(CONFIG, answer=replace(CONFIG.answer, decoding=decoding)))  # type: ignore[arg-type]
    base, adapted = spy.answers_to(UNSURE)
    assert (base.adapter, adapted.adapter) == (None, 0)
    assert replace(adapted, adapter=None) == base
    assert (base.grammar is None) is (decoding == "free")


class Wavering(Spy):
    """Samples the right call once in four times, and so is not sure of the other."""

    def generate(self, requests: Sequence[Request]) -> list[Generation]:
        said = super().generate(requests)
        swap = [
            r.temperature > 0 and "Request:" not in s.text and r.seed % 4 == 0
            for r, s in zip(requests, said, strict=True)
        ]
        return [
            replace(one, text=one.text.replace("find_hotel", "get_weather"), logprob=-9.0) if wavers else one
            for one, wavers in zip(said, swap, strict=True)
        ]


def test_votes_of_samples_are_a_measure_and_sampled_calls_are_candidates() -> None:
    spy = Wavering()
    config = replace(
        CONFIG,
        awareness=AwarenessConfig(candidates="samples", measure="vote_share", tau=0.99),
        answer=replace(CONFIG.answer, samples=8),
    )
    [episode] = told([SURE], spy, config)
    assert episode.base is not None and episode.awareness is not None
    assert len(episode.base.samples) == 8
    assert [candidate.action for candidate in episode.awareness.candidates] == ["find_hotel", "get_weather"]
    assert episode.awareness.value == episode.awareness.measures["vote_share"] == 6 / 8
    assert episode.awareness.unsure and episode.adaptation.status == "trained"
    [plain] = told([SURE], Wavering())
    assert plain.base is not None and plain.base.samples == (), "control: nobody samples unless somebody counts"
    assert plain.awareness is not None and "vote_share" not in plain.awareness.measures


@pytest.mark.parametrize("place", [0, 1, 2])
def test_an_input_that_raises_is_one_failed_episode(place: int) -> None:
    inputs = [SURE, UNSURE]
    inputs.insert(place, BOOM)
    episodes = told(inputs)
    failed = episodes.pop(place)
    assert failed.error == "RuntimeError: out of cheese"
    assert (failed.input_id, failed.base, failed.adapted) == ("boom", None, None)
    assert timeless(episodes) == timeless(told([SURE, UNSURE]))


@pytest.mark.parametrize(
    ("model", "reason"),
    [(Rejecting, "non-finite loss at step 2"), (Raising, "MemoryError: no room for the adapter")],
)
def test_a_failed_adaptation_leaves_the_bases_answer_and_says_why(model: type[Spy], reason: str) -> None:
    sure, unsure = told([SURE, UNSURE], model())
    assert unsure.error is None
    assert unsure.adaptation.status == "training-failed"
    assert unsure.adaptation.reason == reason
    assert unsure.adapted == unsure.base is not None
    assert timeless([sure]) == timeless(told([SURE]))


def test_an_answer_that_the_model_is_not_surer_of_is_not_taken() -> None:
    guarded = replace(CONFIG, adaptation=AdaptationConfig(min_confidence_gain=100.0))
    sure, unsure = told([SURE, UNSURE], config=guarded)
    assert unsure.adaptation.status == "kept-base"
    assert unsure.adaptation.reason.startswith("the model is not surer of it")
    assert unsure.adaptation.samples == 6, "it learned, and that was paid for"
    assert unsure.adapted == unsure.base is not None
    assert sure.adaptation.status == "none"


def test_control_a_surer_answer_is_taken() -> None:
    guarded = replace(CONFIG, adaptation=AdaptationConfig(min_confidence_gain=-100.0))
    [unsure] = told([UNSURE], config=guarded)
    assert (unsure.adaptation.status, called(unsure, "adapted")) == ("trained", "get_weather")


def test_control_a_good_adaptation_does_change_the_answer() -> None:
    [unsure] = told([UNSURE])
    assert unsure.adapted != unsure.base


def test_a_writer_that_raises_costs_the_adaptation_not_the_answer() -> None:
    class Mute(Spy):
        def generate(self, requests: Sequence[Request]) -> list[Generation]:
            raise TimeoutError("the teacher does not answer")

    [unsure] = improve([UNSURE], Spy(), Mute(), CONFIG)
    assert (unsure.error, unsure.adapted) == (None, unsure.base)
    assert unsure.adaptation == Adaptation("training-failed", reason="TimeoutError: the teacher does not answer")


def test_what_cannot_be_asked_is_recorded_and_never_asked() -> None:
    long, empty = ask("long", "rain " * 50), Input("empty", (), TOOLS)
    spy = Narrow()
    episodes = told([long, SURE, empty], spy)
    assert [episode.error for episode in episodes] == [
        "prompt: 250 letters do not fit",
        None,
        "prompt: there is no message",
    ]
    assert episodes[0].base is None
    assert not spy.answers_to(long)
    assert timeless([episodes[1]]) == timeless(told([SURE]))


def test_a_prompt_that_cannot_even_be_measured_is_recorded() -> None:
    class Unmeasurable(Spy):
        def fits(self, prompt: Prompt, room: int) -> str | None:
            raise ValueError("the template refuses this talk")

    [episode] = told([SURE], Unmeasurable())
    assert episode.error == "prompt: the template refuses this talk"


def test_a_wrong_setting_is_an_error_not_an_episode() -> None:
    with pytest.raises(ConfigError, match="did you mean 'margin'"):
        told([SURE], config=replace(CONFIG, awareness=replace(BY_NAME, measure="margni")))


def test_seconds_are_booked_and_only_the_chosen_pay_for_learning() -> None:
    sure, unsure = told([SURE, UNSURE])
    assert set(sure.seconds) == {"awareness", "answer"}
    assert set(unsure.seconds) == {"awareness", "answer", "synthesis", "adaptation"}
    for episode in (sure, unsure):
        assert sum(episode.seconds.values()) > 0
        assert all(spent >= 0 for spent in episode.seconds.values())
    assert sure.seconds["awareness"] == unsure.seconds["awareness"], "a shared stage is shared equally"


class Remembering(Spy):
    """Notes when it may remember what it read, and whether it was asked outside of that."""

    def __init__(self) -> None:
        super().__init__()
        self.notes: list[str] = []

    @contextmanager
    def prefix_cache(self) -> Iterator[None]:
        self.notes.append("open")
        try:
            yield
        finally:
            self.notes.append("closed")

    def generate(self, requests: Sequence[Request]) -> list[Generation]:
        if self.notes[-1:] != ["open"]:
            self.notes.append("asked outside")
        return super().generate(requests)


def test_a_batch_is_read_in_one_block_that_is_closed_whatever_happens() -> None:
    model = Remembering()
    improve([SURE, UNSURE], model, model, CONFIG)
    assert model.notes == ["open", "closed"]
    improve([BOOM], model, model, replace(CONFIG, adapt=False))
    assert model.notes == ["open", "closed"] * 2
    model.generate([])  # the control: what is asked outside is seen
    assert model.notes[-1] == "asked outside"


def test_nothing_learned_survives() -> None:
    spy = Spy()
    told([UNSURE], spy)
    with pytest.raises(IndexError):
        spy.generate([Request(Prompt(UNSURE.messages, TOOLS), 50, adapter=0)])
    assert timeless(told([UNSURE], spy)) == timeless(told([UNSURE]))


@pytest.mark.parametrize("method", ["ttsi", "ttsi-paper", "ttsi-icl", "base"])
def test_every_method_runs(method: str) -> None:
    episodes = told([SURE, UNSURE], config=preset(method))
    assert [episode.error for episode in episodes] == [None, None]
    assert all(episode.adaptation.status != "training-failed" for episode in episodes), episodes
