"""Is a continuation's score what the plain, wasteful way computes?"""

from __future__ import annotations

import pytest
import torch
from transformers import PreTrainedModel

from ttsi.engine import batching
from ttsi.engine.loglikelihood import ScoringItem, continuation_logprobs
from ttsi.engine.lora import LoraStack
from ttsi.errors import ModelError

ITEMS: list[ScoringItem] = [
    ([1, 2, 3, 4], [[5, 6], [5, 7, 8, 9], [10]]),
    ([9], [[1], [2, 3]]),
    (list(range(40)), [[77], [78, 79]]),
    ([5, 6], []),
    ([5, 6], [[], [7]]),
]


@torch.no_grad()
def naive(model: PreTrainedModel, prompt: list[int], continuation: list[int]) -> float:
    """One whole forward pass per continuation, log-softmax over all positions."""
    ids = [*prompt, *continuation]
    logprobs_TV = model(input_ids=torch.tensor([ids]), use_cache=False).logits[0].log_softmax(-1)
    return sum(float(logprobs_TV[at - 1, ids[at]]) for at in range(len(prompt), len(ids)))


def test_equals_the_naive_way(any_model: PreTrainedModel) -> None:
    found = continuation_logprobs(any_model, ITEMS)
    for (prompt, continuations), scores in zip(ITEMS, found, strict=True):
        assert scores == pytest.approx([naive(any_model, list(prompt), list(c)) for c in continuations], rel=1e-5)


def test_control_first_token_is_scored_by_the_prompt(model: PreTrainedModel) -> None:
    (with_one,) = continuation_logprobs(model, [([1, 2, 3], [[4]])])
    (with_other,) = continuation_logprobs(model, [([1, 2, 8], [[4]])])
    assert abs(with_one[0] - with_other[0]) > 1e-3


@pytest.mark.parametrize("budget", [1, 16, 10_000])
def test_an_item_alone_equals_among_others(model: PreTrainedModel, budget: int) -> None:
    together = continuation_logprobs(model, ITEMS, token_budget=budget)
    for item, scores in zip(ITEMS, together, strict=True):
        assert continuation_logprobs(model, [item])[0] == pytest.approx(scores, abs=1e-5)


def test_unbound_adapters_do_not_act(model: PreTrainedModel) -> None:
    before = continuation_logprobs(model, ITEMS)
    stack = LoraStack(model, 1, 4, 8.0)
    stack.values_SP.fill_(0.3)
    stack.attach()
    assert continuation_logprobs(model, ITEMS) == before


def test_nothing_to_score(model: PreTrainedModel) -> None:
    assert continuation_logprobs(model, []) == []


def test_groups_fill_the_budget_and_cover_every_row() -> None:
    lengths = [5, 1, 9, 5, 30, 2]
    found = batching.groups(lengths, 10)
    assert sorted(row for group in found for row in group) == list(range(6))
    assert all(len(g) == 1 or len(g) * max(lengths[r] for r in g) <= 10 for g in found)
    assert found[0] == [4]


def test_groups_that_are_full_enough_take_no_padding() -> None:
    lengths = [100, 99, 90, 50, 40]
    assert batching.groups(lengths, 1000) == [[0, 1, 2, 3, 4]]
    assert batching.groups(lengths, 1000, saturating=200) == [[0, 1, 2], [3, 4]]
    assert batching.groups(lengths, 1000, saturating=1000) == [[0, 1, 2, 3, 4]]


def test_out_of_memory_halves_until_it_fits() -> None:
    sizes: list[int] = []

    def work(items: object) -> list[int]:
        assert isinstance(items, list)
        sizes.append(len(items))
        if len(items) > 2:
            raise torch.OutOfMemoryError("no room")
        return [2 * item for item in items]

    assert batching.with_oom_backoff(work, [1, 2, 3, 4, 5]) == [2, 4, 6, 8, 10]
    assert sizes == [5, 2, 3, 1, 2]


def test_out_of_memory_alone_is_an_error_and_other_errors_pass() -> None:
    def full(items: object) -> list[int]:
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory")

    def broken(items: object) -> list[int]:
        raise RuntimeError("shapes differ")

    with pytest.raises(ModelError, match="out of memory"):
        batching.with_oom_backoff(full, [1, 2])
    with pytest.raises(RuntimeError, match="shapes"):
        batching.with_oom_backoff(broken, [1, 2])
