"""Log-likelihood of a prompt's candidates, beside lm-eval, minicons and one forward pass per candidate.

Work: inputs with P prompt tokens and N candidates of C tokens each. Least work: P + N C tokens through the body, N C
logits. Same results: summed log-probabilities within 1e-3 nats (fp32 log-softmax on both sides).
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from transformers import PreTrainedModel

from speed import peers
from speed.measure import Case, largest
from speed.shapes import cost_of, model_of, tokens
from ttsi.engine.loglikelihood import ScoringItem, continuation_logprobs

SHAPE = "qwen2.5-0.5b"
TOLERANCE = 1e-3
KEYS = ("score_vs_lm_eval", "score_vs_minicons", "score_vs_plain")


def cases(shape: str, device: torch.device, quick: bool) -> Iterator[Case]:
    """One per peer."""
    model = model_of(shape, device)
    inputs, prompt, candidates, length = (2, 24, 3, 5) if quick else (2, 512, 8, 24)
    items = items_of(model, inputs, prompt, candidates, length)
    cost = cost_of(model)
    own = length // 4 + candidates * (length - length // 4)  # the tokens in which candidates are alike count once
    pairs = prompt**2 / 2 + own * (prompt + length / 2)
    work = cost.forward(inputs * (prompt + own), inputs * own, inputs * pairs)
    task = f"{shape}, {inputs} inputs, P {prompt}, N {candidates}, C {length}"
    usual = (
        ("lm-eval HFLM, batch 8", peers.lm_eval(model)),
        ("minicons, one prompt at a time", peers.minicons(model)),
        ("a forward pass per candidate", peers.forward_each(model)),
    )
    for key, (name, peer) in zip(KEYS, usual, strict=True):
        yield Case(
            key, name, task,
            ours=lambda: continuation_logprobs(model, items),
            peer=lambda peer=peer: peer(items),
            difference=lambda ours, theirs: largest(
                pair for one, other in zip(ours, theirs, strict=True) for pair in zip(one, other, strict=True)
            ),
            tolerance=TOLERANCE,
            work=[work],
        )  # fmt: skip


def items_of(model: PreTrainedModel, inputs: int, prompt: int, candidates: int, length: int) -> list[ScoringItem]:
    """Random prompts; candidates begin alike for a quarter of their tokens, as calls do."""
    alike = length // 4
    return [
        (
            tokens(prompt, index, model),
            [
                (*tokens(alike, 999, model), *tokens(length - alike, 1000 + 97 * index + at, model))
                for at in range(candidates)
            ],
        )
        for index in range(inputs)
    ]
