"""Architecture check: the engine's results beside the model's own forward pass.

The engine asks a model for hidden states of trees of tokens, with masks and positions of its own, continues from cached
keys and values, applies the head apart, and binds an adapter to each row. Whether that adds up to the model's own
forward pass depends on its architecture, so it is measured on every model that is loaded, on a few tokens:

    a tree of two sequences, and its log-probabilities       (training, scoring)
    the same behind a beginning that was read before         (scoring)
    some tokens written behind it                            (decoding)
    an adapter on one of two rows                            (adaptation)

Windows are made so short meanwhile that these few tokens are longer. In bfloat16, tokens that the model finds unlikely
may differ by rounding alone (by 3.5 nats of 23 in a fine-tuned SmolLM2-135M), so there tokens of the model's own choice
have the last word. Inputs: a model. Outputs: the longest sequence on which the engine's attention is exact, or a
refusal that names the architecture.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel

from ttsi.engine.anatomy import decoder_of, head_of
from ttsi.engine.batching import is_out_of_memory
from ttsi.engine.decoding import DecodingRow, decode
from ttsi.engine.decoding_attention import fused_attention_only
from ttsi.engine.lora import LoraStack
from ttsi.engine.packing import collate, label_logprobs, pack
from ttsi.engine.prefix import CachedPrompt, cache_of, prefill
from ttsi.engine.windows import spans_of
from ttsi.errors import ModelError, on_one_line

Sequences = tuple[tuple[int, ...], tuple[int, ...]]
"""Two that begin alike."""
SEQUENCES: Sequences = ((1, 2, 3, 4, 5, 6, 7, 8, 9), (1, 2, 3, 4, 5, 8, 3, 9, 1))
SHARED, LENGTH = 5, 9
"""Tokens with which both begin, and all tokens of each."""
SHORT = 3
"""The window meanwhile: less than the sequences' length, so that it matters."""

LAYER_TYPES = frozenset({"full_attention", "attention", "sliding_attention", "chunked_attention"})
"""Types of layers whose attention windows the engine computes (`ttsi.engine.windows`)."""
WINDOW_SETTINGS = (
    "window_size",
    "attention_window",
    "attention_window_size",
    "local_attention",
    "local_window_size",
    "index_topk",
    "keep_window_size",
)
"""Settings of models with other windows, which a few tokens would not show."""

_WINDOWS = ("sliding_window", "attention_chunk_size")
"""Settings of a language model that say how far back its layers look."""


def check_architecture(model: PreTrainedModel) -> int | None:
    """Compare the engine with the model's own forward pass.

    Returns:
        The longest sequence on which the engine is exact; None where it always is.

    Raises:
        ModelError: they differ: this architecture computes something that the engine does not.
    """
    limits = [span.limit for span in spans_of(model) if span.limit]
    # In bfloat16 another order of the same sums may differ by more than a mistake does.
    with fused_attention_only(), _shortened(model, _WINDOWS):
        fault = _fault(model)
    if not fault:
        return _longest_frequencies(model)
    with fused_attention_only(), _shortened(model, ()):
        if not limits or _fault(model):
            raise ModelError(f"{type(model).__name__} is not supported: {fault}")
    return min(limits)


def _longest_frequencies(model: PreTrainedModel) -> int | None:
    """Where rotary frequencies depend on the longest row of a batch (Phi 3's longrope), the length up to which not."""
    rotary = getattr(decoder_of(model).config, "rope_parameters", None) or {}
    parts = [rotary, *(part for part in rotary.values() if isinstance(part, dict))]
    starts = [part.get("original_max_position_embeddings") for part in parts if part.get("rope_type") == "longrope"]
    return min((int(start) for start in starts if start), default=None)


@torch.no_grad()
def _fault(model: PreTrainedModel) -> str:
    """Where the engine differs from the model itself; empty where it does not."""
    fault = _fault_on(model, likely=False)
    return _fault_on(model, likely=True) if fault and model.dtype != torch.float32 else fault


def _fault_on(model: PreTrainedModel, likely: bool) -> str:
    """The same on two sequences, which the model has written itself where they are to be `likely`."""
    try:
        head_of(model)
        if unknown := _unknown_window(model):
            return f"its layers look back in a way that ttsi does not know ({unknown})"
        sequences = _likely_sequences(model) if likely else SEQUENCES
        own = _own(model, sequences)
        if not _close(model, _tree(model, sequences), own):
            return "a tree of sequences is not computed as each of them alone; use a Llama, Qwen, Mistral or Gemma"
        if not _close(model, _behind_a_cache(model, sequences), own[:, SHARED - 1 :]):
            return "it does not go on exactly from kept keys and values"
        if not _decodes_alike(model, sequences):
            return "it does not write exactly from kept keys and values"
        if not _keeps_rows_apart(model, sequences[0], own):
            return "an adapter on one row changes another"
    except ModelError as error:
        return str(error).removeprefix(f"{type(model).__name__} is not supported: ")
    except Exception as error:  # a model's own code may raise anything when it is called in a new way
        if isinstance(error, RuntimeError) and is_out_of_memory(error):
            raise
        return f"its forward pass ends in {type(error).__name__}: {on_one_line(error, 120)}"
    return ""


def _unknown_window(model: PreTrainedModel) -> str:
    config = decoder_of(model).config
    types = set(getattr(config, "layer_types", None) or ()) - LAYER_TYPES
    names = [name for name in WINDOW_SETTINGS if isinstance(getattr(config, name, None), int)]
    return ", ".join([*sorted(map(str, types)), *names])


def _close(model: PreTrainedModel, given: Tensor, expected: Tensor) -> bool:
    tolerance = 1e-3 if model.dtype == torch.float32 else 0.1
    return torch.allclose(given.flatten(), expected.flatten(), rtol=tolerance, atol=tolerance)


def _own(model: PreTrainedModel, sequences: Sequence[tuple[int, ...]]) -> Tensor:
    """The model's own log-probabilities [sequences, tokens - 1]."""
    ids_BT = torch.tensor(sequences, device=model.device)
    logits_BTV: Tensor = model(input_ids=ids_BT, use_cache=False).logits.float()
    return logits_BTV[:, :-1].log_softmax(-1).gather(2, ids_BT[:, 1:, None])[:, :, 0]


def _likely_sequences(model: PreTrainedModel) -> Sequences:
    """Two that begin alike, each token the likeliest that the sequence does not have yet."""
    beginning = _written_on(model, SEQUENCES[0][:1], SHARED)
    first = _written_on(model, beginning, LENGTH)
    return first, _written_on(model, (*beginning, _next(model, beginning, first)), LENGTH)


def _written_on(model: PreTrainedModel, ids: tuple[int, ...], length: int) -> tuple[int, ...]:
    while len(ids) < length:
        ids = (*ids, _next(model, ids, ids))
    return ids


def _next(model: PreTrainedModel, ids: tuple[int, ...], without: tuple[int, ...]) -> int:
    logits_V = model(input_ids=torch.tensor([ids], device=model.device), use_cache=False).logits[0, -1].float()
    logits_V[list(without)] = -torch.inf
    return int(logits_V.argmax())


def _tree(model: PreTrainedModel, sequences: Sequences) -> Tensor:
    rows = [pack([(ids, 1) for ids in sequences])]
    return label_logprobs(model, collate(rows, model.device, model.dtype, spans=spans_of(model)))


def _behind_a_cache(model: PreTrainedModel, sequences: Sequences) -> Tensor:
    (before,) = prefill(model, [CachedPrompt(sequences[0][: SHARED - 1])])
    cache, length = cache_of([CachedPrompt(sequences[0], before=before, cached=SHARED - 1)])
    rows = [pack([(ids, SHARED) for ids in sequences], cached=length)]
    return label_logprobs(model, collate(rows, model.device, model.dtype, length, spans_of(model)), cache)


def _decodes_alike(model: PreTrainedModel, sequences: Sequences) -> bool:
    """Two prompts of different length in one batch; what is written has the model's own log-probability."""
    prompts = (sequences[0][:SHARED], sequences[1])
    for prompt, row in zip(prompts, decode(model, [DecodingRow(ids, 2) for ids in prompts]), strict=True):
        own = _own(model, ((*prompt, *row.ids),))[0, -len(row.ids) :].sum()
        if not _close(model, torch.tensor(row.logprob), own.cpu()):
            return False
    return True


def _keeps_rows_apart(model: PreTrainedModel, ids: tuple[int, ...], own: Tensor) -> bool:
    """An adapter of rank 1 on the second of two equal rows changes the second and nothing else."""
    stack = LoraStack(model, 1, 1, 1.0)
    stack.reset([0], [0])
    stack.values_SP[:, stack.size_A :] = 3e-2
    batch = collate([pack([(ids, 1)])] * 2, model.device, model.dtype, spans=spans_of(model))
    stack.attach()
    try:
        with stack.bind([-1, 0]):
            plain, adapted = label_logprobs(model, batch).chunk(2)
    finally:
        stack.detach()
    return _close(model, plain, own[0]) and not torch.equal(plain, adapted)


@contextmanager
def _shortened(model: PreTrainedModel, windows: tuple[str, ...]) -> Iterator[None]:
    """Within the block what begins to act on long sequences only acts on a few tokens."""
    changed: list[tuple[Any, str, Any]] = []
    places: list[tuple[Any, str]] = [(decoder_of(model).config, name) for name in windows]
    places += [(module, "floor_scale") for module in decoder_of(model).modules()]  # Llama 4 scales far attention
    for place, name in places:
        value = getattr(place, name, None)
        if value and value > SHORT:
            changed.append((place, name, value))
            setattr(place, name, SHORT)
    try:
        yield
    finally:
        for place, name, value in changed:
            setattr(place, name, value)
