"""Is the learning rate of each step what the docstring says?"""

from __future__ import annotations

from typing import Literal

import pytest

from ttsi.engine.engine_config import EngineConfig
from ttsi.engine.schedule import learning_rates


def rates(steps: int, **settings: object) -> tuple[float, ...]:
    """Learning rates with peak 1."""
    return learning_rates(EngineConfig(lr=1.0, **settings), steps)  # type: ignore[arg-type]


@pytest.mark.parametrize("steps", [1, 2, 5, 40, 101])
@pytest.mark.parametrize("ratio", [0.0, 0.03, 0.5, 1.0])
def test_from_zero_with_cosine_is_hugging_face(steps: int, ratio: float) -> None:
    import math

    import torch
    from transformers import get_cosine_schedule_with_warmup

    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    schedule = get_cosine_schedule_with_warmup(optimizer, math.ceil(ratio * steps), steps)
    expected = []
    for _ in range(steps):
        expected.append(schedule.get_last_lr()[0])
        optimizer.step()
        schedule.step()
    assert rates(steps, warmup_ratio=ratio, warmup_from_zero=True) == pytest.approx(expected, abs=1e-12)


def test_the_papers_five_steps() -> None:
    wasted = rates(5, warmup_ratio=0.03, warmup_from_zero=True)
    used = rates(5, warmup_ratio=0.03)
    assert wasted[0] == 0.0 and used[0] == 1.0
    assert used[1:] == wasted[1:]


@pytest.mark.parametrize("schedule", ["cosine", "linear", "constant"])
@pytest.mark.parametrize("steps", [1, 5, 30])
def test_no_step_is_wasted(schedule: Literal["cosine", "linear", "constant"], steps: int) -> None:
    found = rates(steps, schedule=schedule, warmup_ratio=0.1)
    assert len(found) == steps and all(0 < rate <= 1 for rate in found)


def test_shapes() -> None:
    assert rates(4, schedule="linear", warmup_ratio=0.0) == (1.0, 0.75, 0.5, 0.25)
    assert rates(4, schedule="constant", warmup_ratio=0.5) == (0.5, 1.0, 1.0, 1.0)
    assert rates(2, schedule="cosine", warmup_ratio=0.0) == pytest.approx((1.0, 0.5))
    assert rates(0) == ()
