"""Does the guard reject what went wrong, and only that?"""

from __future__ import annotations

import math

import pytest

from ttsi.adaptation.guard import less_sure, verdict
from ttsi.types import Answer


@pytest.mark.parametrize("losses", [(), (2.0,), (2.0, 1.0), (2.0, 5.0, 1.9), (2.0, 2.4), (0.0, 0.0)])
def test_accepts(losses: tuple[float, ...]) -> None:
    assert verdict(losses, 0.2) is None


@pytest.mark.parametrize(
    ("losses", "reason"),
    [
        ((2.0, 2.5), "the loss rose from 2 to 2.5"),
        ((2.0, math.nan, 1.0), "non-finite loss at step 2"),
        ((math.inf,), "non-finite loss at step 1"),
    ],
)
def test_rejects(losses: tuple[float, ...], reason: str) -> None:
    assert verdict(losses, 0.2) == reason


def answer(logprob: float, tokens: int) -> Answer:
    return Answer("", (), logprob=logprob, tokens=tokens)


@pytest.mark.parametrize(
    ("base", "adapted", "margin", "taken"),
    [
        (answer(-2.0, 10), answer(-1.0, 10), 0.05, True),
        (answer(-2.0, 10), answer(-1.9, 10), 0.05, False),
        (answer(-2.0, 10), answer(-2.0, 20), 0.05, True),  # per token, not in all
        (answer(-1.0, 10), answer(-2.0, 10), 0.0, False),
        (answer(-1.0, 10), answer(-2.0, 10), None, True),
        (answer(0.0, 0), answer(-0.0, 0), 0.05, False),
    ],
)
def test_an_answer_is_taken_when_the_model_is_surer_of_it(
    base: Answer, adapted: Answer, margin: float | None, taken: bool
) -> None:
    assert (less_sure(base, adapted, margin) is None) is taken
