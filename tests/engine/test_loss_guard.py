"""Does the loss guard reject what went wrong, and only that?"""

from __future__ import annotations

import math

import pytest

from ttsi.engine.loss_guard import loss_guard


@pytest.mark.parametrize("losses", [(), (2.0,), (2.0, 1.0), (2.0, 5.0, 1.9), (2.0, 2.4), (0.0, 0.0)])
def test_accepts(losses: tuple[float, ...]) -> None:
    assert loss_guard(losses, 0.2) is None


@pytest.mark.parametrize(
    ("losses", "reason"),
    [
        ((2.0, 2.5), "the loss rose from 2 to 2.5"),
        ((2.0, math.nan, 1.0), "non-finite loss at step 2"),
        ((math.inf,), "non-finite loss at step 1"),
    ],
)
def test_rejects(losses: tuple[float, ...], reason: str) -> None:
    assert loss_guard(losses, 0.2) == reason


@pytest.mark.parametrize(
    ("losses", "steps", "rejected"),
    [
        ((1.2, 4.6, 1.1, 4.4), 2, False),
        ((1.2, 4.6, 1.1, 4.4), 1, True),  # the control: as if all steps had the same examples
        ((4.6, 1.2, 4.7, 2.9), 2, True),
        ((1.2, 4.6), 2, False),
        ((1.2, 4.6, 2.4), 2, True),  # cut within the second epoch: the same examples rose
        ((1.2, 4.6, 1.2), 2, False),
        ((1.0, 2.0, 3.0, 9.0, 1.0, 2.0, 3.0), 3, False),
    ],
)
def test_losses_of_the_same_examples_are_compared(losses: tuple[float, ...], steps: int, rejected: bool) -> None:
    assert (loss_guard(losses, 0.2, steps) is not None) == rejected
