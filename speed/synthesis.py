"""K samples of the base for each of many inputs, beside `generate` per input and `generate_batch`.

Work: inputs with P prompt tokens, K samples of G tokens each, a generator of its own for every sample on our side.
Two ways to draw cannot give the same samples, so the results compared are what a seed cannot change: every sample has
G tokens, and the greedy continuation of each prompt is the same.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from transformers import PreTrainedModel

from speed.measure import Case
from speed.peers import generate
from speed.shapes import cost_of, model_of, tokens
from ttsi.engine.decoding import DecodingRow, decode

SHAPE = "smollm2-135m"
KEYS = ("synthesis_vs_generate", "synthesis_vs_generate_batch")
Written = tuple[list[int], list[tuple[int, ...]]]
"""(lengths of the samples, greedy continuations)."""
GREEDY = 8


def cases(shape: str, device: torch.device, quick: bool) -> Iterator[Case]:
    """One per peer."""
    model = model_of(shape, device)
    inputs, prompt, samples, length = (2, 24, 2, 6) if quick else (16, 256, 4, 96)
    prompts = [tokens(prompt, index, model) for index in range(inputs)]
    cost = cost_of(model)
    read = cost.forward(inputs * prompt, inputs, inputs * prompt**2 / 2)
    work = [read, *(cost.step(inputs * samples, prompt + at) for at in range(1, length))]
    task = f"{shape}, {inputs} inputs, P {prompt}, K {samples}, G {length}, temperature 1"

    # The greedy continuations are for the comparison of results and cost both sides next to nothing.
    def ours() -> Written:
        rows = [
            DecodingRow(ids, length, 1.0, seed=97 * at + k) for at, ids in enumerate(prompts) for k in range(samples)
        ]
        greedy = [DecodingRow(ids, GREEDY) for ids in prompts[:1]]
        decoded = decode(model, [*rows, *greedy])
        return [len(one.ids) for one in decoded[: len(rows)]], [one.ids for one in decoded[len(rows) :]]

    def per_input() -> Written:
        lengths = []
        for ids in prompts:
            written = generate(
                model, ids, length, device, do_sample=True, temperature=1.0, top_k=0, num_return_sequences=samples
            )
            lengths += [written.shape[1]] * len(written)
        return lengths, _greedy(model, prompts[:1], device)

    def batch() -> Written:
        sequences = continuous(model, [list(ids) for ids in prompts for _ in range(samples)], length)
        return [len(one) for one in sequences], _greedy(model, prompts[:1], device)

    usual = (("generate(num_return_sequences=K) per input", per_input), ("generate_batch (continuous batching)", batch))
    for key, (name, peer) in zip(KEYS, usual, strict=True):
        yield Case(key, name, task, ours, peer, lambda a, b: float(a != b), tolerance=0.0, work=work)


def _greedy(model: PreTrainedModel, prompts: Sequence[tuple[int, ...]], device: torch.device) -> list[tuple[int, ...]]:
    return [tuple(generate(model, ids, GREEDY, device)[0].tolist()) for ids in prompts]


def continuous(model: Any, prompts: list[list[int]], length: int) -> list[list[int]]:
    """Continuous batching of transformers, in the order of the prompts; started anew for each call, its default."""
    from transformers import ContinuousBatchingConfig, GenerationConfig

    settings = GenerationConfig(
        do_sample=True, temperature=1.0, top_k=0, max_new_tokens=length, eos_token_id=-1, pad_token_id=0
    )
    blocks = sum(len(prompt) + length for prompt in prompts) // 16 + 64
    outputs = model.generate_batch(
        prompts, settings, ContinuousBatchingConfig(page_size=16, num_blocks=blocks, max_batch_tokens=2048),
    )  # fmt: skip
    ordered = sorted(outputs.values(), key=lambda output: int(output.request_id.rpartition("_")[2]))
    return [output.generated_tokens for output in ordered]
