"""A trajectory as text: what changed by an adapter, what was trained, and why nothing was."""

from __future__ import annotations

from dataclasses import replace

from ttsi.reports.trajectory_story import trajectory_story
from ttsi.types import Adaptation, Answer, Message, Step, ToolCall, Trajectory, Turn


def answer(name: str, logprob: float) -> Answer:
    """An answer of one call."""
    return Answer(name, (ToolCall(name, {}),), None, logprob, logprob, 1)


def story(step: Step) -> str:
    """The story of one decision."""
    return trajectory_story(Trajectory((Turn((Message("user", "go"),), (step,), "done"),), None))


TRAINED = Step(answer("look", -2.0), answer("look", -1.0), adaptation=Adaptation("trained", samples=10, steps=5))


def test_an_answer_that_stayed_has_no_before() -> None:
    assert "before:" not in story(TRAINED), "the same call, though likelier"
    assert "; before: wait()" in story(replace(TRAINED, base=answer("wait", -2.0))), "control"


def test_what_was_learned_is_counted_as_training_examples() -> None:
    said = story(replace(TRAINED, adaptation=replace(TRAINED.adaptation, logprob_shift=0.5)))
    assert "trained: 10 training examples in 5 steps, log-probability of its answer +0.50 nats per token" in said


def test_a_reason_for_no_adaptation_is_said() -> None:
    refused = replace(TRAINED, adaptation=Adaptation("none", reason="no example fits the context"))
    assert "not adapted: no example fits the context" in story(refused)
    assert "adapted" not in story(replace(TRAINED, adaptation=Adaptation("none"))), "control: a sure decision"


def test_a_long_answer_in_words_is_shown_whole() -> None:
    text = "\n".join(f"line {number}: " + "word " * 30 for number in range(3))
    words = replace(answer("", -1.0), text=text, calls=())
    said = story(Step(words, words))
    assert "in words:" in said and said.count("word ") + said.count("word\n") == 90
    assert max(map(len, said.splitlines())) < 110
    short = replace(words, text="Done.\nAll of it.")
    assert '"Done. All of it."' in story(Step(short, short)), "control: what fits stays on its line"


def test_an_answer_that_was_cut_off_is_shown_as_far_as_it_goes() -> None:
    cut = replace(answer("", -1.0), text="word " * 90, calls=(), error="cut off at max_tokens")
    said = story(Step(cut, cut))
    assert "wrote:" in said and said.count("word") == 90
    assert "(not readable: cut off at max_tokens: --answer.max-tokens allows more)" in said
    garbage = replace(cut, text="{", error="no call can be read")
    assert "{   (not readable: no call can be read)" in story(Step(garbage, garbage)), "control"
