"""GGUF files for the tests, written with `struct` alone: of tiny models, or of a few made-up tensors."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

ALIGNMENT = 32
NAMES = {
    "model.embed_tokens": "token_embd",
    "model.norm": "output_norm",
    "lm_head": "output",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "self_attn.q_norm": "attn_q_norm",
    "self_attn.k_norm": "attn_k_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
}
GEMMA = {
    "post_attention_layernorm": "post_attention_norm",
    "pre_feedforward_layernorm": "ffn_norm",
    "post_feedforward_layernorm": "post_ffw_norm",
}
"""Parameter names of Hugging Face -> those of GGUF."""


def text(value: str | bytes) -> bytes:
    """A text behind its length."""
    content = value if isinstance(value, bytes) else value.encode()
    return struct.pack("<Q", len(content)) + content


def value(content: Any) -> bytes:
    """A value of the metadata behind its type."""
    if isinstance(content, bool):
        return struct.pack("<I?", 7, content)
    if isinstance(content, int):
        return struct.pack("<II", 4, content)
    if isinstance(content, float):
        return struct.pack("<If", 6, content)
    if isinstance(content, list) and content and isinstance(content[0], int | float):
        kind, form = (5, "i") if isinstance(content[0], int) else (6, "f")
        return struct.pack(f"<IIQ{len(content)}{form}", 9, kind, len(content), *content)
    if isinstance(content, list):
        return struct.pack("<IIQ", 9, 8, len(content)) + b"".join(map(text, content))
    return struct.pack("<I", 8) + text(content)


def contents(metadata: dict[str, Any], tensors: dict[str, NDArray[np.float32]]) -> bytes:
    """A whole file; every tensor in 32 bits."""
    head = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(metadata))
    head += b"".join(text(key) + value(content) for key, content in metadata.items())
    data = b""
    for name, tensor in tensors.items():
        head += text(name) + struct.pack(f"<I{tensor.ndim}QIQ", tensor.ndim, *tensor.shape[::-1], 0, len(data))
        data += tensor.astype("<f4").tobytes()
        data += bytes(-len(data) % ALIGNMENT)
    return head + bytes(-len(head) % ALIGNMENT) + data


def tokens() -> tuple[list[str], list[int], list[str]]:
    """Byte tokens, one merge, four marks, padding up to 272: texts, types (1 plain, 3 control, 4 added, 5 unused)."""
    from tokenizers import pre_tokenizers

    texts = [*sorted(pre_tokenizers.ByteLevel.alphabet()), "ĠĠ"]
    kinds = [1] * len(texts)
    for mark, kind in (("<|endoftext|>", 3), ("<|im_start|>", 3), ("<|im_end|>", 3), ("<tool_call>", 4)):
        texts.append(mark)
        kinds.append(kind)
    padding = range(len(texts), 272)
    return [*texts, *(f"[PAD{number}]" for number in padding)], kinds + [5] * len(padding), ["Ġ Ġ"]


def settings(config: Any, architecture: str, template: str | None) -> dict[str, Any]:
    """The metadata of a model."""
    sizes = {
        "context_length": config.max_position_embeddings,
        "block_count": config.num_hidden_layers,
        "embedding_length": config.hidden_size,
        "feed_forward_length": config.intermediate_size,
        "attention.head_count": config.num_attention_heads,
        "attention.head_count_kv": config.num_key_value_heads,
        "attention.layer_norm_rms_epsilon": float(config.rms_norm_eps),
    }
    parameters = config.rope_parameters.get("full_attention", config.rope_parameters)
    sizes["rope.freq_base"] = float(parameters["rope_theta"])
    head_dim = getattr(config, "head_dim", None)
    if head_dim and architecture != "llama":
        sizes |= {"attention.key_length": head_dim, "attention.value_length": head_dim}
    if architecture == "gemma3":
        sizes["attention.sliding_window"] = config.sliding_window
    made: dict[str, Any] = {"general.architecture": architecture, "general.name": "tiny"}
    made |= {f"{architecture}.{key}": size for key, size in sizes.items()}
    made |= pieces() if architecture == "gemma3" else byte_level()
    return made | ({"tokenizer.chat_template": template} if template else {})


def byte_level() -> dict[str, Any]:
    """A tokenizer in the manner of GPT-2."""
    texts, kinds, merges = tokens()
    return {
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": "smollm",
        "tokenizer.ggml.tokens": texts,
        "tokenizer.ggml.token_type": kinds,
        "tokenizer.ggml.merges": merges,
        "tokenizer.ggml.bos_token_id": 258,
        "tokenizer.ggml.eos_token_id": 259,
        "tokenizer.ggml.padding_token_id": 257,
    }


def pieces() -> dict[str, Any]:
    """A tokenizer in the manner of SentencePiece: marks, bytes, letters."""
    marks = ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>"]
    texts = [*marks, *(f"<0x{number:02X}>" for number in range(256)), *"▁abcdefghij"]
    return {
        "tokenizer.ggml.model": "llama",
        "tokenizer.ggml.pre": "default",
        "tokenizer.ggml.tokens": texts,
        "tokenizer.ggml.scores": [float(-number) for number in range(len(texts))],
        "tokenizer.ggml.token_type": [3] * len(marks) + [6] * 256 + [1] * 11,
        "tokenizer.ggml.bos_token_id": 2,
        "tokenizer.ggml.eos_token_id": 1,
        "tokenizer.ggml.unknown_token_id": 3,
        "tokenizer.ggml.padding_token_id": 0,
        "tokenizer.ggml.add_bos_token": True,
    }


def weights(model: Any, architecture: str) -> dict[str, NDArray[np.float32]]:
    """The tensors of a model under their names in GGUF, as llama.cpp's converter lays them out."""
    names = NAMES | (GEMMA if architecture == "gemma3" else {})
    config, made = model.config, {}
    for name, parameter in model.named_parameters():
        stem, _, kind = name.rpartition(".")
        layer = stem.split(".")[2] if stem.startswith("model.layers.") else None
        inner = names[stem.split(".", 3)[3] if layer else stem]
        tensor = parameter.detach().float().numpy()
        if architecture == "llama" and inner in ("attn_q", "attn_k"):  # pairs of a rotation side by side
            heads = config.num_attention_heads if inner == "attn_q" else config.num_key_value_heads
            tensor = tensor.reshape(heads, 2, -1, tensor.shape[1]).swapaxes(1, 2).reshape(tensor.shape)
        if architecture == "gemma3" and inner.endswith("norm"):
            tensor = tensor + 1
        made[f"blk.{layer}.{inner}.{kind}" if layer else f"{inner}.{kind}"] = tensor
    return made


def build(architecture: str, **changed: Any) -> Any:
    """A random model whose numbers 16 bits hold; its norms and biases are not the usual ones and zeros."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    sizes: dict[str, Any] = {
        "vocab_size": 272,
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 2048,
        "initializer_range": 0.2,
        "tie_word_embeddings": architecture in ("qwen2", "gemma3"),
    }
    sizes |= {"qwen3": {"head_dim": 128}, "gemma3": {"head_dim": 256, "sliding_window": 16}}.get(architecture, {})
    sizes |= {"num_hidden_layers": 7} if architecture == "gemma3" else {}
    config = AutoConfig.for_model({"gemma3": "gemma3_text"}.get(architecture, architecture), **sizes | changed)
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(0)
        model = AutoModelForCausalLM.from_config(config, dtype=torch.float32, attn_implementation="sdpa")
        for parameter in model.parameters():
            if parameter.ndim == 1:
                parameter.uniform_(-0.5, 0.5) if architecture == "gemma3" else parameter.uniform_(0.5, 1.5)
            # Gemma's norms are stored plus one, in 32 bits; what 8 bits hold survives that, too.
            parameter.copy_(parameter.bfloat16() if parameter.ndim > 1 else (parameter * 64).round() / 64)
    return model.eval()


def write(
    path: Path,
    model: Any,
    architecture: str,
    template: str | None,
    metadata: dict[str, Any] | None = None,
    tensors: dict[str, NDArray[np.float32]] | None = None,
) -> Path:
    """A tiny model as a GGUF file, with metadata (None: left out) and tensors to add or to change."""
    stated = settings(model.config, architecture, template) | (metadata or {})
    kept = {key: content for key, content in stated.items() if content is not None}
    path.write_bytes(contents(kept, weights(model, architecture) | (tensors or {})))
    return path
