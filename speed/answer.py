"""Answers for many inputs, each with its own adapter, beside one by one and PEFT's mixed batches.

Work: B adapters, prompts of P tokens, A greedy tokens each. Same results: the same tokens. The adapters are loaded
beforehand on both sides; the peer only switches them.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any

import torch
from transformers import PreTrainedModel

from speed.measure import Case, Work
from speed.peers import generate
from speed.shapes import cost_of, model_of, tokens
from ttsi.engine.decoding import DecodingRow, decode
from ttsi.engine.lora import LoraStack

SHAPE = "smollm2-135m"
KEYS = ("answer_vs_one_by_one", "answer_vs_peft_mixed")
Tokens = list[tuple[int, ...]]


def cases(shape: str, device: torch.device, quick: bool) -> Iterator[Case]:
    """One per peer."""
    model = model_of(shape, device)
    rows, prompt, length = (2, 24, 6) if quick else (16, 512, 48)
    stack = LoraStack(model, rows, 8, 16.0)
    stack.values_SP.normal_(std=0.02, generator=torch.Generator(device).manual_seed(0))
    prompts = [tokens(prompt, row, model) for row in range(rows)]
    tuned = with_peft(model_of(shape, device), stack)
    cost, adapter = cost_of(model), sum(stack.sizes)
    read = cost.forward(rows * prompt, rows, rows * prompt**2 / 2)
    steps = [cost.step(rows, prompt + at, rows * adapter) for at in range(1, length)]
    work = [Work(read.flops + 2.0 * adapter * rows * prompt), *steps]
    task = f"{shape}, {rows} adapters of rank 8, P {prompt}, A {length}, greedy"

    def ours() -> Tokens:
        stack.attach()
        try:
            wanted = [DecodingRow(ids, length, slot=slot) for slot, ids in enumerate(prompts)]
            return [row.ids for row in decode(model, wanted, stack=stack)]
        finally:
            stack.detach()

    def one_by_one() -> Tokens:
        written = []
        for slot, ids in enumerate(prompts):
            tuned.set_adapter(f"a{slot}")
            written.append(tuple(generate(tuned, ids, length, device)[0].tolist()))
        return written

    @torch.no_grad()
    def all_in_one_batch() -> Tokens:
        ids = torch.tensor(prompts, device=device)
        written = tuned.generate(
            input_ids=ids, attention_mask=torch.ones_like(ids), adapter_names=[f"a{slot}" for slot in range(rows)],
            max_new_tokens=length, min_new_tokens=length, do_sample=False, pad_token_id=0, eos_token_id=None,
        )  # fmt: skip
        return [tuple(row) for row in written[:, prompt:].tolist()]

    usual = (
        ("PEFT set_adapter and generate, one by one", one_by_one),
        ("PEFT adapter_names, one mixed batch", all_in_one_batch),
    )
    for key, (name, peer) in zip(KEYS, usual, strict=True):
        yield Case(key, name, task, ours, peer, difference=unequal, tolerance=0.0, work=work)


def with_peft(model: PreTrainedModel, stack: LoraStack) -> Any:
    """A PEFT model with the stack's adapters under the names a0, a1, ..."""
    from peft import LoraConfig, get_peft_model, set_peft_model_state_dict

    config = LoraConfig(**{**stack.export(0)[1], "inference_mode": True})
    tuned = get_peft_model(model, config, adapter_name="a0")
    for slot in range(stack.slots):
        if slot:
            tuned.add_adapter(f"a{slot}", config)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            set_peft_model_state_dict(tuned, stack.export(slot)[0], adapter_name=f"a{slot}")
    return tuned.eval()


def unequal(ours: Tokens, theirs: Tokens) -> float:
    """How many answers differ."""
    return float(sum(one != other for one, other in zip(ours, theirs, strict=True)))
