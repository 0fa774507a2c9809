"""Does the method do what its page describes, and does one input's failure stay its own?

A world in miniature: the scripted demo with two tools. "find a hotel in Lima" shares words with its tool, so it is sure
and right; "will I need an umbrella in Oslo" shares none, so it is unsure and wrong until it has learned.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from ttsi import improve
from ttsi.batch import Interruption, check_references
from ttsi.chat.grammar import answer_grammar
from ttsi.config import AdaptationConfig, AnswerConfig, AwarenessConfig, LoopConfig, Strategy, SynthesisConfig
from ttsi.errors import ConfigError
from ttsi.methods import preset
from ttsi.models import Generation, Request
from ttsi.models.scripted import DemoModel
from ttsi.reports.story import story
from ttsi.types import Adaptation, Episode, Input, Message, Prompt, Tool, TrainingExample

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

    fault: BaseException = MemoryError("no room for the adapter")

    @contextmanager
    def adapted(
        self, jobs: Sequence[Sequence[TrainingExample]], config: AdaptationConfig, seeds: Sequence[int]
    ) -> Iterator[list[Adaptation]]:
        if jobs:
            raise self.fault
        yield []


class Narrow(Spy):
    """In whose context little fits."""

    def fits(self, prompt: Prompt, max_new_tokens: int) -> str | None:
        size = len(prompt.messages[-1].content)
        return f"{size} letters do not fit" if size > 100 else None


def run(
    inputs: Sequence[Input], model: Spy | None = None, config: LoopConfig = CONFIG, repeat: int = 0
) -> list[Episode]:
    """The episodes of a model that is its own writer."""
    return improve(inputs, model or Spy(), config=config, repeat=repeat)


def timeless(episodes: Sequence[Episode]) -> list[Episode]:
    return [replace(episode, seconds={}) for episode in episodes]


def called(episode: Episode, which: str) -> str:
    return getattr(episode, which).calls[0].name  # type: ignore[no-any-return]


def test_the_method_mends_what_it_was_unsure_about_and_leaves_the_rest() -> None:
    sure, unsure = run([SURE, UNSURE])
    assert (called(sure, "base"), called(sure, "adapted")) == ("find_hotel", "find_hotel")
    assert (called(unsure, "base"), called(unsure, "adapted")) == ("find_hotel", "get_weather")
    assert (sure.examples, sure.adaptation.status) == ((), "none")
    assert len([e for e in unsure.examples if e.refused is None]) == unsure.adaptation.samples == 6
    assert unsure.adaptation.status == "trained"


def test_one_episode_per_input_in_order() -> None:
    inputs = [UNSURE, SURE, replace(UNSURE, id="again"), SURE]
    episodes = run(inputs)
    assert [episode.input_id for episode in episodes] == ["unsure", "sure", "again", "sure"]
    assert [episode.input_hash for episode in episodes] == [item.content_hash for item in inputs]
    assert run([]) == []


def test_the_batch_does_not_matter() -> None:
    alone = [*run([SURE]), *run([UNSURE])]
    assert timeless(run([SURE, UNSURE])) == timeless(alone)
    assert timeless(run([UNSURE, SURE])) == timeless(list(reversed(alone)))


def test_the_same_seed_is_the_same_story_and_control_another_is_not() -> None:
    assert timeless(run([UNSURE])) == timeless(run([UNSURE]))
    [first], [other] = run([UNSURE]), run([UNSURE], config=replace(CONFIG, seed=1))
    assert first.base == other.base
    assert first.examples != other.examples
    [again] = run([UNSURE], repeat=1)
    assert first.examples != again.examples


@pytest.mark.parametrize(
    ("gate", "adapted"), [("unsure", [False, True]), ("sure", [True, False]), ("all", [True, True])]
)
def test_the_gate_says_who_is_adapted(gate: str, adapted: list[bool]) -> None:
    config = replace(CONFIG, awareness=replace(BY_NAME, gate=gate))  # type: ignore[arg-type]
    episodes = run([SURE, UNSURE], config=config)
    assert [bool(episode.examples) for episode in episodes] == adapted
    assert [episode.adaptation.status == "trained" for episode in episodes] == adapted
    assert [episode.awareness.unsure for episode in episodes if episode.awareness] == [False, True]


def test_the_method_base_only_measures_and_answers() -> None:
    spy = Spy()
    [episode] = run([UNSURE], spy, replace(preset("base", "embedded"), awareness=BY_NAME))
    assert episode.adapted == episode.base is not None
    assert episode.awareness is not None
    assert (episode.examples, episode.adaptation) == ((), Adaptation("none"))
    assert len(spy.requests) == 1


def test_in_context_the_examples_are_read_instead_of_learned() -> None:
    spy = Spy()
    [episode] = run([UNSURE], spy, replace(CONFIG, adaptation=AdaptationConfig(method="in-context")))
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
    run([UNSURE], spy, replace(CONFIG, answer=replace(CONFIG.answer, decoding=decoding)))  # type: ignore[arg-type]
    base, adapted = spy.answers_to(UNSURE)
    assert (base.adapter, adapted.adapter) == (None, 0)
    assert replace(adapted, adapter=None, with_base=False) == base
    assert (base.grammar is None) is (decoding == "free")


class Wavering(Spy):
    """Samples the right call once in four times, and so is not sure of the other."""

    def generate(self, requests: Sequence[Request]) -> list[Generation]:
        generations = super().generate(requests)
        swap = [
            r.temperature > 0 and "Request:" not in s.text and r.seed % 4 == 0
            for r, s in zip(requests, generations, strict=True)
        ]
        return [
            replace(one, text=one.text.replace("find_hotel", "get_weather"), logprob=-9.0) if wavers else one
            for one, wavers in zip(generations, swap, strict=True)
        ]


class Inventing(Spy):
    """Invents a city wherever it is free to choose the tool; every tool's name is as likely as another's."""

    def generate(self, requests: Sequence[Request]) -> list[Generation]:
        free = answer_grammar(self.format, TOOLS)
        return [
            replace(one, text=one.text.replace("Oslo", "Rome")) if request.grammar == free else one
            for request, one in zip(requests, super().generate(requests), strict=True)
        ]

    def score(
        self, prompts: Sequence[Prompt], continuations: Sequence[Sequence[str]], adapters: Sequence[int | None] = ()
    ) -> list[list[float]]:
        return [[-1.0] * len(texts) for texts in continuations]


@pytest.mark.parametrize(("strategy", "city"), [("rerank", "Oslo"), ("greedy", "Rome")])
def test_base_and_adapted_are_reranked_alike(strategy: Strategy, city: str) -> None:
    model = Inventing()
    [episode] = run([UNSURE], model, replace(CONFIG, answer=AnswerConfig(strategy=strategy)))
    assert episode.base is not None and episode.adapted is not None and episode.adaptation.status == "trained"
    assert [answer.calls[0].arguments for answer in (episode.base, episode.adapted)] == [{"city": city}] * 2
    tools = {"rerank": ["get_weather", "find_hotel"], "greedy": ["find_hotel", "get_weather"]}
    assert [called(episode, "base"), called(episode, "adapted")] == tools[strategy]
    asked = [request.adapter for request in model.answers_to(UNSURE)]
    assert asked == {"rerank": [None, None, 0, 0], "greedy": [None, 0]}[strategy]


def test_the_method_rerank_leaves_grounded_answers_alone_to_the_last_bit() -> None:
    config = preset("rerank", "embedded")
    for model, changed in ((Spy(), False), (Inventing(), True)):
        [episode] = run([UNSURE], model, config)
        assert (episode.adapted == episode.base) is not changed
        assert len(model.answers_to(UNSURE)) == 1 + changed, "the base is asked once"


def test_votes_of_samples_are_a_measure_and_sampled_calls_are_candidates() -> None:
    spy = Wavering()
    config = replace(
        CONFIG,
        awareness=AwarenessConfig(candidates="samples", measure="vote_share", tau=0.99),
        answer=replace(CONFIG.answer, samples=8),
    )
    [episode] = run([SURE], spy, config)
    assert episode.base is not None and episode.awareness is not None
    assert len(episode.base.samples) == 8
    assert [candidate.action for candidate in episode.awareness.candidates] == ["find_hotel", "get_weather"]
    assert episode.awareness.value == episode.awareness.measures["vote_share"] == 6 / 8
    assert episode.awareness.unsure and episode.adaptation.status == "trained"
    [plain] = run([SURE], Wavering())
    assert plain.base is not None and plain.base.samples == (), "control: nobody samples unless somebody counts"
    assert plain.awareness is not None and "vote_share" not in plain.awareness.measures


@pytest.mark.parametrize("place", [0, 1, 2])
def test_an_input_that_raises_is_one_failed_episode(place: int) -> None:
    inputs = [SURE, UNSURE]
    inputs.insert(place, BOOM)
    episodes = run(inputs)
    failed = episodes.pop(place)
    assert failed.error == "RuntimeError: out of cheese"
    assert (failed.input_id, failed.base, failed.adapted) == ("boom", None, None)
    assert timeless(episodes) == timeless(run([SURE, UNSURE]))


@pytest.mark.parametrize(
    ("model", "reason"),
    [(Rejecting, "non-finite loss at step 2"), (Raising, "MemoryError: no room for the adapter")],
)
def test_a_failed_adaptation_leaves_the_bases_answer_and_says_why(model: type[Spy], reason: str) -> None:
    sure, unsure = run([SURE, UNSURE], model())
    assert unsure.error is None
    assert unsure.adaptation.status == "training-failed"
    assert unsure.adaptation.reason == reason
    assert unsure.adapted == unsure.base is not None
    assert timeless([sure]) == timeless(run([SURE]))


def test_a_failed_adaptation_keeps_its_examples_which_were_paid_for() -> None:
    [failed] = run([UNSURE], Raising())
    [trained] = run([UNSURE])
    assert failed.adaptation.failed and failed.examples == trained.examples != ()

    class Mute(Spy):
        def generate(self, requests: Sequence[Request]) -> list[Generation]:
            if any(request.adapter is not None for request in requests):
                raise TimeoutError("the adapted model does not answer")
            return super().generate(requests)

    [silent] = run([UNSURE], Mute())
    assert (silent.adaptation.reason, silent.examples) == (
        "TimeoutError: the adapted model does not answer", trained.examples,
    )  # fmt: skip


def test_the_time_of_a_stage_that_failed_counts() -> None:
    [failed], [trained] = run([UNSURE], Raising()), run([UNSURE])
    assert set(failed.seconds) == set(trained.seconds) == {"answer", "awareness", "synthesis", "adaptation"}


def test_an_interruption_ends_the_loop_and_takes_what_was_known_with_it() -> None:
    class Interrupted(Raising):
        fault: BaseException = Interruption()

    [sure], [trained] = run([SURE]), run([UNSURE])
    with pytest.raises(Interruption) as raised:
        run([SURE, UNSURE], Interrupted())
    known_sure, known = raised.value.episodes
    assert timeless([known_sure]) == timeless([sure])
    assert (known.awareness, known.examples, known.adapted) == (trained.awareness, trained.examples, trained.base)
    with pytest.raises(KeyboardInterrupt) as other:  # the control: any other leaves as it came
        run([UNSURE], type("Stopped", (Raising,), {"fault": KeyboardInterrupt()})())
    assert not hasattr(other.value, "episodes")


def test_an_input_that_learned_nothing_is_not_answered_twice() -> None:
    def answers(spy: Spy) -> list[int | None]:
        run([UNSURE], spy)
        return [request.adapter for request in spy.answers_to(UNSURE) if request.max_tokens == CONFIG.answer.max_tokens]

    assert answers(Rejecting()) == [None]
    assert answers(Spy()) == [None, 0], "control: an adapter answers"


def test_an_answer_that_the_model_is_not_more_confident_of_is_not_taken() -> None:
    guarded = replace(CONFIG, adaptation=AdaptationConfig(min_confidence_gain=100.0))
    sure, unsure = run([SURE, UNSURE], config=guarded)
    assert unsure.adaptation.status == "trained"
    assert unsure.adaptation.refused.startswith("the model is not surer of it")
    assert unsure.adaptation.samples == 6, "it learned, and that was paid for"
    assert unsure.adapted == unsure.base is not None
    assert sure.adaptation.status == "none"


def test_control_a_more_confident_answer_is_taken() -> None:
    guarded = replace(CONFIG, adaptation=AdaptationConfig(min_confidence_gain=-100.0))
    [unsure] = run([UNSURE], config=guarded)
    assert (unsure.adaptation.status, called(unsure, "adapted")) == ("trained", "get_weather")


@pytest.mark.parametrize(
    ("method", "status", "line"),
    [
        ("in-context", "in-context", "3. 6 examples were put into the prompt; nothing was trained."),
        ("ask-again", "resampled", "2. Nothing was learned; the model answers a second time (asked again)."),
    ],
)
def test_a_refused_answer_is_recorded_by_what_was_done(method: str, status: str, line: str) -> None:
    settings = replace(CONFIG, adaptation=AdaptationConfig(method=method, min_confidence_gain=100.0))
    [refused] = run([UNSURE], config=settings)
    assert refused.adaptation.status == status
    assert refused.adaptation.refused.startswith("the model is not surer of it")
    assert refused.adapted == refused.base is not None
    told = story(UNSURE, refused)
    assert line in told and "The new answer is not taken (the model is not surer" in told
    [given] = run([UNSURE], config=replace(CONFIG, adaptation=AdaptationConfig(method=method)))  # control: no guard
    assert (given.adaptation.status, given.adaptation.refused) == (status, "")
    assert "not taken" not in story(UNSURE, given)


def test_an_answer_that_invents_a_value_is_not_taken() -> None:
    guarded = replace(CONFIG, adaptation=AdaptationConfig(refuse_unstated=True))
    [stated] = run([UNSURE], config=guarded)
    assert (stated.adaptation.status, called(stated, "adapted")) == ("trained", "get_weather")  # Oslo is stated

    class Inventive(Spy):
        def generate(self, requests: Sequence[Request]) -> list[Generation]:
            written = super().generate(requests)
            return [
                replace(one, text=one.text.replace("Oslo", "Bergen")) if request.adapter is not None else one
                for one, request in zip(written, requests, strict=True)
            ]

    [invented] = run([UNSURE], Inventive(), config=guarded)
    assert invented.adaptation.refused == "the conversation does not state its city"
    assert invented.adapted == invented.base
    [plain] = run([UNSURE], Inventive())  # control: without the guard
    assert plain.adapted is not None and plain.adapted.calls[0].arguments == {"city": "Bergen"}


@pytest.mark.parametrize("of_example", [True, False])
def test_a_value_of_an_example_is_not_taken(of_example: bool) -> None:
    guarded = replace(CONFIG, adaptation=AdaptationConfig(refuse_unstated=True))
    [plain] = run([UNSURE], config=guarded)
    kept = [call.arguments["city"] for one in plain.examples if one.refused is None for call in one.calls]
    other = next(city for city in kept if city != "Oslo") if of_example else "Tromsø"  # control: of no example

    class Inventive(Spy):
        def generate(self, requests: Sequence[Request]) -> list[Generation]:
            return [
                replace(one, text=one.text.replace("Oslo", "Bergen" if request.adapter is None else other))
                if request.prompt.messages == UNSURE.messages
                else one
                for one, request in zip(super().generate(requests), requests, strict=True)
            ]

    [episode] = run([UNSURE], Inventive(), config=guarded)
    assert episode.base is not None and episode.base.calls[0].arguments["city"] == "Bergen"
    refused = "an example states its city, and the conversation does not" if of_example else ""
    assert (episode.adaptation.refused, episode.adapted == episode.base) == (refused, of_example)


class Wordy(Spy):
    """Answers in words, cut off where `finished` is not set: as the base, or once it has an adapter."""

    def __init__(self, adapted: bool, finished: bool = True) -> None:
        super().__init__()
        self._adapted, self._finished = adapted, finished

    def generate(self, requests: Sequence[Request]) -> list[Generation]:
        return [
            replace(one, text="It seldom rains.", finished=self._finished)
            if request.prompt.messages == UNSURE.messages and (request.adapter is not None) == self._adapted
            else one
            for one, request in zip(super().generate(requests), requests, strict=True)
        ]


KEEPS_DECISION = replace(CONFIG, adaptation=AdaptationConfig(keep_decision=True))


@pytest.mark.parametrize("finished", [True, False])
def test_an_answer_in_words_is_not_adapted_where_the_decision_is_kept(finished: bool) -> None:
    [kept] = run([UNSURE], Wordy(False, finished), KEEPS_DECISION)
    assert kept.awareness is not None and kept.awareness.unsure and kept.awareness.in_words
    assert (kept.adaptation.status, kept.examples, kept.adapted) == ("none", (), kept.base)
    [plain] = run([UNSURE], Wordy(False, finished))  # control: without the guard
    assert (plain.adaptation.status, called(plain, "adapted")) == ("trained", "get_weather")
    [calls] = run([UNSURE], config=KEEPS_DECISION)  # control: the base calls
    assert calls.awareness is not None and not calls.awareness.in_words
    assert (calls.adaptation.status, called(calls, "adapted")) == ("trained", "get_weather")


def test_words_do_not_take_the_place_of_a_call_where_the_decision_is_kept() -> None:
    [kept] = run([UNSURE], Wordy(True), KEEPS_DECISION)
    assert kept.adaptation.refused == "it calls no tool, and the base calls one"
    assert kept.adapted == kept.base
    [plain] = run([UNSURE], Wordy(True))  # control: without the guard
    assert plain.adapted is not None and plain.adapted.text == "It seldom rains."


def test_control_a_good_adaptation_does_change_the_answer() -> None:
    [unsure] = run([UNSURE])
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
    episodes = run([long, SURE, empty], spy)
    assert [episode.error for episode in episodes] == [
        "prompt: 250 letters do not fit",
        None,
        "prompt: there is no message",
    ]
    assert episodes[0].base is None
    assert not spy.answers_to(long)
    assert timeless([episodes[1]]) == timeless(run([SURE]))


def test_a_prompt_that_cannot_even_be_measured_is_recorded() -> None:
    class Unmeasurable(Spy):
        def fits(self, prompt: Prompt, max_new_tokens: int) -> str | None:
            raise ValueError("the template refuses this talk")

    [episode] = run([SURE], Unmeasurable())
    assert episode.error == "prompt: the template refuses this talk"


def test_a_wrong_setting_is_an_error_not_an_episode() -> None:
    with pytest.raises(ConfigError, match="did you mean 'margin'"):
        run([SURE], config=replace(CONFIG, awareness=replace(BY_NAME, measure="margni")))


def test_seconds_are_booked_and_only_the_chosen_pay_for_learning() -> None:
    sure, unsure = run([SURE, UNSURE])
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
    improve([SURE, UNSURE], model, config=CONFIG)
    assert model.notes == ["open", "closed"]
    improve([BOOM], model, config=replace(CONFIG, adapt=False))
    assert model.notes == ["open", "closed"] * 2
    model.generate([])  # the control: what is asked outside is seen
    assert model.notes[-1] == "asked outside"


def test_nothing_learned_survives() -> None:
    spy = Spy()
    run([UNSURE], spy)
    with pytest.raises(IndexError):
        spy.generate([Request(Prompt(UNSURE.messages, TOOLS), 50, adapter=0)])
    assert timeless(run([UNSURE], spy)) == timeless(run([UNSURE]))


@pytest.mark.parametrize("method", ["ttsi", "ttsi-paper", "ttsi-icl", "base"])
def test_every_method_runs(method: str) -> None:
    episodes = run([SURE, UNSURE], config=preset(method, "embedded"))
    assert [episode.error for episode in episodes] == [None, None]
    assert all(episode.adaptation.status != "training-failed" for episode in episodes), episodes


def test_without_settings_the_model_writes_for_itself_with_the_preset_that_fits_it() -> None:
    assert timeless(improve([UNSURE], Spy())) == timeless(run([UNSURE], config=preset("ttsi", "scripted:demo")))
    stranger = Spy()
    stranger.spec = "somebody-elses"
    [episode] = improve([UNSURE], stranger)
    assert episode.awareness is not None
    assert (episode.awareness.measure, episode.awareness.tau) == ("grounded_margin", 0.85), "not the embedded one's"


def test_an_answer_that_is_handed_in_is_not_asked_again() -> None:
    plain = run([SURE, UNSURE])
    spy = Spy()
    episodes = improve([SURE, UNSURE], spy, config=CONFIG, answers=[e.base for e in plain if e.base])
    assert timeless(episodes) == timeless(plain)
    assert [request.adapter for request in spy.answers_to(UNSURE)] == [0], "adapted only"
    assert spy.answers_to(SURE) == []
    control = Spy()
    improve([SURE], control, config=CONFIG)
    assert len(control.answers_to(SURE)) == 1


def test_an_answer_without_the_samples_that_the_settings_count_is_asked_again() -> None:
    config = replace(CONFIG, awareness=AwarenessConfig(measure="vote_share", tau=0.99), adapt=False)
    [sampled], [greedy] = run([SURE], config=config), run([SURE])
    assert greedy.base is not None and sampled.base is not None
    for given, requests in ((greedy.base, 1 + config.answer.samples), (sampled.base, 0)):
        spy = Spy()
        [episode] = improve([SURE], spy, config=config, answers=[given])
        assert len(spy.answers_to(SURE)) == requests
        assert timeless([episode]) == timeless([sampled])


@pytest.mark.parametrize("inputs", [[UNSURE], [SURE, UNSURE]])
def test_a_failed_adaptation_does_not_ask_the_base_again(inputs: list[Input]) -> None:
    spy = Raising()
    *_, unsure = run(inputs, spy)
    assert unsure.adaptation == Adaptation("training-failed", reason="MemoryError: no room for the adapter")
    assert unsure.awareness is not None and unsure.adapted == unsure.base is not None
    assert [len(spy.answers_to(item)) for item in inputs] == [1] * len(inputs)


def test_a_measure_of_your_own_decides_and_is_recorded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "own_measure.py").write_text("def length(evidence):\n    return -evidence.answer_tokens\n")
    monkeypatch.syspath_prepend(tmp_path)
    config = replace(CONFIG, awareness=replace(BY_NAME, measure="own_measure:length", tau=-1000.0))
    [episode] = run([UNSURE], config=config)
    assert episode.awareness is not None and episode.base is not None
    assert episode.awareness.value == episode.awareness.measures["own_measure:length"] == -episode.base.tokens
    assert not episode.awareness.unsure
    assert run([UNSURE])[0].awareness != episode.awareness, "control"


def test_names_and_files_are_checked_before_a_model_is_there() -> None:
    check_references(CONFIG)
    for wrong, line in (
        (replace(CONFIG, awareness=replace(BY_NAME, measure="margni")), "unknown measure 'margni'"),
        (replace(CONFIG, adaptation=AdaptationConfig(method="loar")), "did you mean 'lora'"),
        (replace(CONFIG, adaptation=AdaptationConfig(objective="no_such_module:loss")), "cannot import no_such_module"),
        (replace(CONFIG, synthesis=SynthesisConfig(filter=("no_such_module:short",))), "cannot import no_such_module"),
        (replace(CONFIG, synthesis=SynthesisConfig(prompt=Path("no.txt"))), "no.txt cannot be read"),
        (replace(CONFIG, synthesis=SynthesisConfig(k=0)), "nothing would be learned"),
    ):
        with pytest.raises(ConfigError, match=line):
            check_references(wrong)
