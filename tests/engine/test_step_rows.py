"""Does training on many examples with beginnings of their own hold those of one step only, and change nothing?"""

from __future__ import annotations

import gc
from dataclasses import replace

import torch
from torch import Tensor
from transformers import PreTrainedModel

from tests.engine.test_suffix import example, trained
from ttsi.engine.engine_config import EngineConfig
from ttsi.engine.objective import cross_entropy
from ttsi.engine.prefix import PrefixCache, PrefixEntry
from ttsi.engine.training_job import TrainingJob

LISTS = [tuple(range(100 + at, 120 + at)) for at in range(0, 120, 10)]
"""Twelve tool lists, of which none begins like another."""
ROWS = TrainingJob(
    0, tuple(example(tools, (1, at), (3, at)) for at, tools in enumerate(LISTS)), (len(LISTS[0]),) * len(LISTS)
)
CONFIG = EngineConfig(rank=4, alpha=8.0, lr=2e-2, epochs=2, batch_size=2)


def alive() -> int:
    """Beginnings in memory."""
    return sum(type(each) is PrefixEntry for each in gc.get_objects())


def most_held(model: PreTrainedModel, prefixes: PrefixCache) -> tuple[int, Tensor]:
    """(the most beginnings in memory at a step, the trained adapter)."""
    counts = []

    def counting(logprobs_BT: Tensor, mask_BT: Tensor) -> Tensor:
        counts.append(alive())
        return cross_entropy(logprobs_BT, mask_BT)

    before = alive()
    with trained(model, [ROWS], replace(CONFIG, objective=counting), prefixes=prefixes) as ([report], stack):
        assert report.ok and len(report.losses) == 12
        return max(counts) - before, stack.values_SP[0].clone()


def test_a_step_holds_its_own_beginnings_where_there_is_no_room_for_all(model: PreTrainedModel) -> None:
    held, narrow_P = most_held(model, PrefixCache(max_bytes=0))
    assert held <= CONFIG.batch_size
    _, wide_P = most_held(model, PrefixCache())
    assert torch.equal(narrow_P, wide_P)


def test_control_a_cache_with_room_keeps_all_of_them(model: PreTrainedModel) -> None:
    held, _ = most_held(model, PrefixCache())
    assert held >= len(LISTS)
