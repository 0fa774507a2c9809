"""Architecture check: the engine's results beside the model's own forward pass.

The engine asks a model for hidden states of trees of tokens, with masks and positions of its own, continues from cached
keys and values, applies the head apart, and binds an adapter to each row. Whether that adds up to the model's own
forward pass depends on its architecture, so it is measured on every model that is loaded, on a few tokens:

    a tree of two sequences, and its log-probabilities       (training, scoring)
    the same behind a beginning that was read before         (scoring)
    some tokens written behind it                            (decoding)
    an adapter on one of two rows                            (adaptation)

Windows are made so short meanwhile that these few tokens are longer. Inputs: a model. Outputs: the longest sequence on
which the engine's attention is exact, or a refusal that names the architecture.
"""

from __future__ import annotations

from collections.abc import Iterator
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

SEQUENCES = ((1, 2, 3, 4, 5, 6, 7, 8, 9), (1, 2, 3, 4, 5, 8, 3, 9, 1))
"""Two that begin alike."""
SHARED = 5
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
    try:
        head_of(model)
        if unknown := _unknown_window(model):
            return f"its layers look back in a way that ttsi does not know ({unknown})"
        own = _own(model)
        if not _close(model, _tree(model), own):
            return "a tree of sequences is not computed as each of them alone; use a Llama, Qwen, Mistral or Gemma"
        if not _close(model, _behind_a_cache(model), own[:, SHARED - 1 :]):
            return "it does not go on exactly from kept keys and values"
        if not _decodes_alike(model):
            return "it does not write exactly from kept keys and values"
        if not _keeps_rows_apart(model, own):
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


def _own(model: PreTrainedModel, sequences: tuple[tuple[int, ...], ...] = SEQUENCES) -> Tensor:
    """The model's own log-probabilities [sequences, tokens - 1]."""
    ids_BT = torch.tensor(sequences, device=model.device)
    logits_BTV: Tensor = model(input_ids=ids_BT, use_cache=False).logits.float()
    return logits_BTV[:, :-1].log_softmax(-1).gather(2, ids_BT[:, 1:, None])[:, :, 0]


def _tree(model: PreTrainedModel) -> Tensor:
    rows = [pack([(ids, 1) for ids in SEQUENCES])]
    return label_logprobs(model, collate(rows, model.device, model.dtype, spans=spans_of(model)))


def _behind_a_cache(model: PreTrainedModel) -> Tensor:
    (before,) = prefill(model, [CachedPrompt(SEQUENCES[0][: SHARED - 1])])
    cache, length = cache_of([CachedPrompt(SEQUENCES[0], before=before, cached=SHARED - 1)])
    rows = [pack([(ids, SHARED) for ids in SEQUENCES], cached=length)]
    return label_logprobs(model, collate(rows, model.device, model.dtype, length, spans_of(model)), cache)


def _decodes_alike(model: PreTrainedModel) -> bool:
    """Two prompts of different length in one batch; what is written has the model's own log-probability."""
    prompts = (SEQUENCES[0][:SHARED], SEQUENCES[1])
    for prompt, row in zip(prompts, decode(model, [DecodingRow(ids, 2) for ids in prompts]), strict=True):
        own = _own(model, ((*prompt, *row.ids),))[0, -len(row.ids) :].sum()
        if not _close(model, torch.tensor(row.logprob), own.cpu()):
            return False
    return True


def _keeps_rows_apart(model: PreTrainedModel, own: Tensor) -> bool:
    """An adapter of rank 1 on the second of two equal rows changes the second and nothing else."""
    stack = LoraStack(model, 1, 1, 1.0)
    stack.reset([0], [0])
    stack.values_SP[:, stack.size_A :] = 3e-2
    batch = collate([pack([(SEQUENCES[0], 1)])] * 2, model.device, model.dtype, spans=spans_of(model))
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
