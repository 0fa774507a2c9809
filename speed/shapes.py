"""The models that are measured, and the least work that a task asks of them.

Inputs: the name of a shape. Outputs: a model with random weights of that shape (speed and equality do not depend on
what the weights say), or the embedded model; and `Work`, counted in multiplications and additions of the layers that
cannot be left out. A training token costs 4 M_b: forward and the gradient of the activations; the base has none.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel, PreTrainedTokenizerFast

from speed.measure import Work
from ttsi.engine.anatomy import head_of
from ttsi.models.local_loading import EMBEDDED_WEIGHTS

SHAPES: dict[str, dict[str, Any]] = {
    "tiny": {
        "kind": "qwen2", "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4,
        "num_key_value_heads": 2, "vocab_size": 512,
    },
    "s": {
        "kind": "qwen2", "hidden_size": 512, "intermediate_size": 1536, "num_hidden_layers": 8,
        "num_attention_heads": 8, "num_key_value_heads": 2, "vocab_size": 32000,
    },
    "smollm2-135m": {
        "kind": "llama", "hidden_size": 576, "intermediate_size": 1536, "num_hidden_layers": 30,
        "num_attention_heads": 9, "num_key_value_heads": 3, "vocab_size": 49152,
    },
    "qwen2.5-0.5b": {
        "kind": "qwen2", "hidden_size": 896, "intermediate_size": 4864, "num_hidden_layers": 24,
        "num_attention_heads": 14, "num_key_value_heads": 2, "vocab_size": 151936,
    },
}  # fmt: skip


def tokenizer() -> PreTrainedTokenizerFast:
    """The embedded model's, for peers that insist on one; its ids are within every vocabulary but the tiny one's."""
    loaded = PreTrainedTokenizerFast.from_pretrained(str(EMBEDDED_WEIGHTS))
    assert isinstance(loaded, PreTrainedTokenizerFast)
    return loaded


def model_of(shape: str, device: torch.device, dtype: torch.dtype = torch.float32) -> PreTrainedModel:
    """The embedded model, or one with random weights."""
    if shape == "embedded":
        model: Any = AutoModelForCausalLM.from_pretrained(
            str(EMBEDDED_WEIGHTS), dtype=dtype, attn_implementation="sdpa"
        )  # fmt: skip
    else:
        values = dict(SHAPES[shape])
        config = AutoConfig.for_model(
            values.pop("kind"), max_position_embeddings=16384, tie_word_embeddings=True, bos_token_id=None,
            eos_token_id=None, pad_token_id=None, **values,
        )  # fmt: skip
        torch.manual_seed(0)
        model = AutoModelForCausalLM.from_config(config, dtype=dtype, attn_implementation="sdpa")
    frozen: PreTrainedModel = model.to(device).eval()
    frozen.requires_grad_(False)
    return frozen


def tokens(count: int, seed: int, model: PreTrainedModel) -> tuple[int, ...]:
    """Random token ids that no tokenizer treats as special."""
    generator = random.Random(seed)
    return tuple(generator.randrange(16, min(model.config.vocab_size, 2048)) for _ in range(count))


@dataclass(frozen=True)
class Cost:
    """What a token costs in one model."""

    body: int
    """Weights of the linear layers without the head."""
    head: int
    attention: int
    """Layers times features of a query."""
    cache: int
    """Bytes of keys and values per token."""
    weights: int
    """Bytes of everything that a token of a decoding step reads."""

    def forward(self, tokens: float, logits: float, pairs: float) -> Work:
        """Read tokens, with logits at some, where `pairs` (query, key) are compared."""
        return Work(2.0 * self.body * tokens + 2.0 * self.head * logits + 4.0 * self.attention * pairs)

    def train(self, tokens: float, labels: float, pairs: float, adapter: int) -> Work:
        """Forward and backward of examples, with an adapter of so many weights on every token."""
        flops = 4.0 * self.body * tokens + 4.0 * self.head * labels + 12.0 * self.attention * pairs
        return Work(flops + 6.0 * adapter * tokens)

    def step(self, rows: int, cached: float, adapters: int = 0) -> Work:
        """One decoding step of so many rows with `cached` tokens each and `adapters` adapter weights in all."""
        flops = 2.0 * (self.body + self.head) * rows + 4.0 * self.attention * cached * rows + 2.0 * adapters
        return Work(flops, self.weights + rows * cached * self.cache + 4.0 * adapters)


def cost_of(model: PreTrainedModel) -> Cost:
    """Counted from the model itself."""
    head = head_of(model)
    linears = [m for m in model.modules() if isinstance(m, torch.nn.Linear)]
    body = sum(m.weight.numel() for m in linears if m is not head)
    config, size = model.config, model.dtype.itemsize
    features = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    layers = config.num_hidden_layers
    return Cost(
        body=body,
        head=head.weight.numel(),
        attention=layers * config.num_attention_heads * features,
        cache=2 * layers * config.num_key_value_heads * features * size,
        weights=sum(m.weight.nbytes for m in linears),
    )
