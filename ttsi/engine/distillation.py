"""On-policy distillation: the base with a longer prompt teaches the adapter behind a shorter one.

With student q (the adapter) and teacher p (the base behind its own prompt), each label token t of a text that the
student wrote has

    KL_t = sum_v q(v | x, y_<t) (log q(v | x, y_<t) - log p(v | x', y_<t))

over the whole vocabulary: the reverse KL of OPCD (arXiv:2602.12275) and SDFT (arXiv:2601.19897). Inputs: branches with
a teacher's prompt x'. Outputs: the teacher's hidden states, once per job, and the divergence at each step. Hidden
states are kept, not distributions: the frozen vocabulary head makes one from the other, and they are a hundred times
smaller. The paper (arXiv:2510.07841) trains with cross-entropy.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint
from transformers import Cache, PreTrainedModel

from ttsi.engine.anatomy import head_logits
from ttsi.engine.batching import SATURATING_TOKENS, in_groups, pass_tokens
from ttsi.engine.loglikelihood import ScoringItem, continuation_batch, item_tokens
from ttsi.engine.packing import PackedBatch, head_logprobs, label_states
from ttsi.engine.prefix import PrefixCache
from ttsi.engine.training_job import Branch

KL_ROWS = 256
"""Labels whose distributions are in memory at once, the student's, the teacher's and their difference."""


@torch.no_grad()
def teacher_states(model: PreTrainedModel, branches: Sequence[Branch], prefixes: PrefixCache) -> list[Tensor]:
    """Hidden states [labels, D] of each branch's labels as the base reads them behind the teacher's prompt, in order.

    Raises:
        ModelError: one prompt alone does not fit the memory.
    """
    places: dict[tuple[int, ...], list[int]] = {}
    for place, branch in enumerate(branches):
        places.setdefault(branch.teacher_prompt, []).append(place)
    items: list[ScoringItem] = [
        (prompt, [branches[place].labels for place in behind]) for prompt, behind in places.items()
    ]

    def work(part: Sequence[ScoringItem]) -> list[list[Tensor]]:
        rows_B, batch, cache = continuation_batch(model, part, prefixes)
        states_ND = label_states(model, batch, cache)[batch.labels_N]
        parts = iter(torch.split(states_ND, [count for row in rows_B for count in row.counts_K]))
        return [[next(parts) for _ in row.counts_K] for row in rows_B]

    read = in_groups(work, items, [item_tokens(item) for item in items], pass_tokens(model.device), SATURATING_TOKENS)
    by_place = {
        place: states for behind, group in zip(places.values(), read, strict=True)
        for place, states in zip(behind, group, strict=True)
    }  # fmt: skip
    return [by_place[place] for place in range(len(branches))]


def label_values(
    model: PreTrainedModel, batch: PackedBatch, cache: Cache | None, taught_N: Tensor, teacher_MD: Tensor
) -> Tensor:
    """What the objective averages [N]: log-probabilities, and minus the divergence where a label has a teacher.

    Args:
        taught_N: which labels have one.
        teacher_MD: the teacher's hidden states for these.
    """
    hidden_ND, targets_N = label_states(model, batch, cache)[batch.labels_N], batch.targets_U[batch.labels_N]
    logprobs_N = head_logprobs(model, hidden_ND[~taught_N], targets_N[~taught_N])
    values_N = logprobs_N.new_zeros(len(targets_N)).masked_scatter(~taught_N, logprobs_N)
    return values_N.masked_scatter(taught_N, -reverse_kl(model, hidden_ND[taught_N], teacher_MD))


def reverse_kl(model: PreTrainedModel, hidden_MD: Tensor, teacher_MD: Tensor) -> Tensor:
    """KL(student || teacher) [M] in nats of the next-token distributions that two hidden states predict."""
    parts = zip(torch.split(hidden_MD, KL_ROWS), torch.split(teacher_MD, KL_ROWS), strict=True)
    # Distributions are forgotten and computed again in the backward pass.
    rows = [
        checkpoint(_reverse_kl, model, student, teacher, use_reentrant=False, preserve_rng_state=False)
        for student, teacher in parts
    ]
    return torch.cat(rows)


def _reverse_kl(model: PreTrainedModel, hidden_MD: Tensor, teacher_MD: Tensor) -> Tensor:
    with torch.no_grad():
        teacher_MV = head_logits(model, teacher_MD).log_softmax(dim=-1)
    student_MV = head_logits(model, hidden_MD).log_softmax(dim=-1)
    return (student_MV.exp() * (student_MV - teacher_MV)).sum(dim=-1)
