"""Does the majority win, whatever the order, and does what cannot be read never win?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ttsi.answer import generate_answers
from ttsi.answer.voting import groups, winner
from ttsi.chat.calls import FORMATS, Format
from ttsi.config import AnswerConfig
from ttsi.models import Generation, Request
from ttsi.types import Input, Message, SampledAnswer, Tool, ToolCall

A, B = ToolCall("a", {"x": 1, "y": 2}), ToolCall("b", {})


def draw(*calls: ToolCall, logprob: float = -1.0, error: str | None = None) -> SampledAnswer:
    return SampledAnswer("", calls, error, logprob)


def test_the_most_frequent_wins_and_the_likelier_breaks_a_tie() -> None:
    assert winner([draw(A), draw(B), draw(B)]) == 1
    assert winner([draw(A, logprob=-2.0), draw(B, logprob=-1.0)]) == 1
    assert winner([draw(A, logprob=-1.0), draw(B, logprob=-2.0)]) == 0


def test_equal_is_the_same_calls_in_any_order_and_words_are_one_answer() -> None:
    other = ToolCall("a", {"y": 2, "x": 1})
    assert [len(group) for group in groups([draw(A, B), draw(B, other), draw(A)])] == [2, 1]
    assert [len(group) for group in groups([draw(), draw(), draw(A)])] == [2, 1]
    assert len(groups([draw(ToolCall("a", {"x": "1"})), draw(ToolCall("a", {"x": 1}))])) == 2


def test_what_cannot_be_read_has_no_vote() -> None:
    assert winner([draw(error="not JSON"), draw(error="not JSON"), draw(A)]) == 2
    assert winner([draw(error="not JSON")]) == 0
    assert groups([draw(error="not JSON")]) == []


@given(st.lists(st.tuples(st.sampled_from([(A,), (B,), ()]), st.floats(-9, 0)), min_size=1, max_size=7), st.randoms())
def test_the_order_of_the_samples_does_not_matter(cases: list[tuple[tuple[ToolCall, ...], float]], rng: object) -> None:
    samples = [draw(*calls, logprob=logprob - i) for i, (calls, logprob) in enumerate(cases)]
    mixed = list(samples)
    rng.shuffle(mixed)  # type: ignore[attr-defined]
    chosen, again = samples[winner(samples)], mixed[winner(mixed)]
    assert (chosen.calls, chosen.logprob) == (again.calls, again.logprob)


TOOL = Tool("a", "do a", {"type": "object", "properties": {}})
ITEMS = [Input(name, (Message("user", name),), (TOOL,)) for name in ("one", "two")]


@dataclass
class Speaker:
    """Says call a to three of four seeds, words else; greedy is words."""

    format: Format = FORMATS["hermes"]
    requests: list[Request] = field(default_factory=list)

    def generate(self, requests: Sequence[Request]) -> list[Generation]:
        self.requests += requests
        call = self.format.render([ToolCall("a", {})])
        texts = [call if request.temperature and request.seed % 4 else "words" for request in requests]
        return [Generation(text, 3, -1.0 - i, -0.5, True) for i, text in enumerate(texts)]


def test_a_vote_asks_for_samples_only_and_gives_the_winner() -> None:
    speaker = Speaker()
    answers = generate_answers(speaker, ITEMS, AnswerConfig(strategy="vote", samples=4), None, [0, 100])  # type: ignore[arg-type]
    assert len(speaker.requests) == 8 and all(request.temperature == 0.7 for request in speaker.requests)
    assert [[call.name for call in answer.calls] for answer in answers] == [["a"], ["a"]]
    assert [len(answer.samples) for answer in answers] == [4, 4]
    assert len({request.seed for request in speaker.requests}) == 8


@pytest.mark.parametrize(("strategy", "sample", "n"), [("pass@k", False, 4), ("greedy", True, 4), ("greedy", False, 0)])
def test_samples_stand_beside_a_greedy_answer(strategy: str, sample: bool, n: int) -> None:
    speaker = Speaker()
    config = AnswerConfig(strategy=strategy, samples=4)  # type: ignore[arg-type]
    answers = generate_answers(speaker, ITEMS, config, None, [0, 100], sample=sample)  # type: ignore[arg-type]
    assert [(answer.text, len(answer.samples)) for answer in answers] == [("words", n)] * 2
    assert len(speaker.requests) == 2 + 2 * n


def test_control_the_method_vote_votes_whatever_the_strategy_is() -> None:
    [plain, _] = generate_answers(Speaker(), ITEMS, AnswerConfig(samples=4))  # type: ignore[arg-type]
    [voted, _] = generate_answers(Speaker(), ITEMS, AnswerConfig(samples=4), None, [0, 4], "vote")  # type: ignore[arg-type]
    assert (plain.calls, [call.name for call in voted.calls]) == ((), ["a"])
