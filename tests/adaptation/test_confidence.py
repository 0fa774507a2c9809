"""Does the confidence guard keep the base's answer where the model is less confident of the new one, and only there?"""

from __future__ import annotations

import pytest

from ttsi.adaptation.confidence import lack_of_confidence
from ttsi.types import Answer


def answer(logprob: float, tokens: int) -> Answer:
    return Answer("", (), logprob=logprob, tokens=tokens)


def unreadable(logprob: float) -> Answer:
    return Answer("", (), error="cut off: it repeats itself", logprob=logprob, tokens=10)


@pytest.mark.parametrize(
    ("base", "adapted", "margin", "taken"),
    [
        (answer(-2.0, 10), answer(-1.0, 10), 0.05, True),
        (answer(-2.0, 10), answer(-1.9, 10), 0.05, False),
        (answer(-2.0, 10), answer(-2.0, 20), 0.05, True),  # per token, not in all
        (answer(-1.0, 10), answer(-2.0, 10), 0.0, False),
        (answer(-1.0, 10), answer(-2.0, 10), None, True),
        (answer(0.0, 0), answer(-0.0, 0), 0.05, False),
        (unreadable(-1.0), answer(-2.0, 10), 0.05, True),  # the base's answer cannot be read, this one can
        (unreadable(-1.0), unreadable(-2.0), 0.05, False),
        (answer(-1.0, 10), unreadable(-2.0), 0.05, False),
    ],
)
def test_an_answer_is_taken_when_the_model_is_more_confident_of_it(
    base: Answer, adapted: Answer, margin: float | None, taken: bool
) -> None:
    assert (lack_of_confidence(base, adapted, margin) is None) is taken
