"""The parts of a causal language model that the engine works with.

    decoder_of    the language model itself: token ids -> hidden states; no vision or audio tower
    head_of       the vocabulary head
    head_logits   hidden states -> fp32 logits, with the scale and the cap that some families put behind the head
    own_logits    the same in the model's own type

Inputs: a model as transformers loads it. Outputs: its parts. `ttsi.engine.architecture` measures on each model whether
they make up the model's own forward pass.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from torch import Tensor, nn
from transformers import PreTrainedModel

from ttsi.errors import ModelError


def decoder_of(model: PreTrainedModel) -> PreTrainedModel:
    """The part that turns token ids into hidden states.

    Raises:
        ModelError: the model has no such part.
    """
    decoder = model.get_decoder()
    if decoder is model:  # Llama 4: the name is another than its class declares
        decoder = getattr(model, "model", None)
    if not isinstance(decoder, PreTrainedModel):
        raise ModelError(f"{type(model).__name__} is not supported: it has no language model apart from its head")
    return decoder


def head_of(model: PreTrainedModel) -> nn.Linear:
    """The vocabulary head.

    Raises:
        ModelError: the model has none, or one of another kind.
    """
    head = model.get_output_embeddings()
    if not isinstance(head, nn.Linear):
        raise ModelError(f"{type(model).__name__} is not supported: it has no linear vocabulary head")
    return head


def vocabulary_size(model: PreTrainedModel) -> int:
    """Number of tokens that the model can both read and write; its tokenizer may have more."""
    embeddings = decoder_of(model).get_input_embeddings()
    rows = head_of(model).out_features
    return min(rows, embeddings.num_embeddings) if isinstance(embeddings, nn.Embedding) else rows


def unknown_token(model: PreTrainedModel, sequences: Iterable[Sequence[int]]) -> str:
    """Which token the model cannot read, as a sentence; "" where it can read all.

    On a GPU, reading such a token makes the device unusable for the rest of the process.
    """
    embeddings = decoder_of(model).get_input_embeddings()
    if not isinstance(embeddings, nn.Embedding):
        return ""
    bounds = (bound for ids in sequences if len(ids) for bound in (min(ids), max(ids)))
    unknown = [int(id_) for id_ in bounds if not 0 <= id_ < embeddings.num_embeddings]
    return f"there is no token {unknown[0]}: the model reads 0 to {embeddings.num_embeddings - 1}" if unknown else ""


def check_prompts(model: PreTrainedModel, prompts: Sequence[Sequence[int]]) -> None:
    """Refuse prompts that the model cannot read.

    Raises:
        ModelError: one is empty, or has a token that the model does not know.
    """
    if not all(len(ids) for ids in prompts):
        raise ModelError("a prompt needs at least one token")
    if fault := unknown_token(model, prompts):
        raise ModelError(fault)


def parameter_count(model: PreTrainedModel) -> int:
    """The model's size, a head that shares its embeddings' weights counted once even where it is a copy of them."""
    head, embeddings = head_of(model), model.get_input_embeddings()
    tied = bool(getattr(model.config.get_text_config(decoder=True), "tie_word_embeddings", False))
    copied = tied and isinstance(embeddings, nn.Embedding) and head.weight is not embeddings.weight
    return int(model.num_parameters()) - (head.weight.numel() if copied else 0)


def head_logits(model: PreTrainedModel, hidden_ND: Tensor) -> Tensor:
    """fp32 logits [N, V] of hidden states [N, D]."""
    return own_logits(model, hidden_ND).float()


def own_logits(model: PreTrainedModel, hidden_ND: Tensor) -> Tensor:
    """The same in the model's own type."""
    logits_NV: Tensor = head_of(model)(hidden_ND)
    config = model.config.get_text_config(decoder=True)
    if (factor := getattr(config, "logit_scale", None)) is not None:  # Cohere
        logits_NV = logits_NV * factor
    if (divisor := getattr(config, "logits_scaling", None)) is not None:  # Granite
        logits_NV = logits_NV / divisor
    if (cap := getattr(config, "final_logit_softcapping", None)) is not None:  # Gemma
        logits_NV = (logits_NV / cap).tanh() * cap
    return logits_NV


def max_positions(model: PreTrainedModel) -> int:
    """The longest sequence that a model's config allows; 2**31 where it says nothing."""
    return int(getattr(decoder_of(model).config, "max_position_embeddings", None) or 2**31)


def generation_eos_ids(model: PreTrainedModel) -> frozenset[int]:
    """End tokens of the model's generation settings, besides the tokenizer's."""
    declared = model.generation_config.eos_token_id if model.generation_config is not None else None
    return frozenset([declared] if isinstance(declared, int) else declared or ())
