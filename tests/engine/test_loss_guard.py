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
