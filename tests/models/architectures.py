"""Small random models of many architectures, by the name that their config gives them."""

from __future__ import annotations

from typing import Any

import torch
from transformers import AutoConfig, PreTrainedModel

from ttsi.models.loading import class_of

TINY: dict[str, Any] = {
    "vocab_size": 272,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 2048,
    "initializer_range": 0.2,
    "bos_token_id": None,
    "eos_token_id": 258,
    "pad_token_id": 256,
}

WINDOW = 16
MIXED = {"sliding_window": WINDOW, "layer_types": ["sliding_attention", "full_attention"]}
GEMMA = {"head_dim": 8, "query_pre_attn_scalar": 8}
EXPERTS = {"num_experts_per_tok": 2, "moe_intermediate_size": 16}
VISION = {
    "model_type": "siglip_vision_model",
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 1,
    "num_attention_heads": 4,
    "image_size": 28,
    "patch_size": 14,
}
GPT = {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 2048}
LATENT = {
    "q_lora_rank": 16,
    "kv_lora_rank": 16,
    "qk_rope_head_dim": 8,
    "qk_nope_head_dim": 8,
    "v_head_dim": 8,
    "n_routed_experts": 4,
    "n_shared_experts": 1,
    "first_k_dense_replace": 1,
    "n_group": 1,
    "topk_group": 1,
    "num_key_value_heads": 4,
}
HYBRID = {"num_local_experts": 0, "shared_intermediate_size": 48, "mamba_n_heads": 8, "mamba_d_head": 8}
THREE_AXES = {"rope_type": "default", "mrope_section": [1, 1, 2], "rope_theta": 10000.0}
SEEING = {"depth": 1, "hidden_size": 32, "num_heads": 4, "intermediate_size": 48, "out_hidden_size": 32}
LLAMA4 = {
    "intermediate_size_mlp": 48,
    "head_dim": 8,
    "num_local_experts": 2,
    "num_experts_per_tok": 1,
    "attention_chunk_size": WINDOW,
    "attn_temperature_tuning": False,
    "no_rope_layers": [1, 0],
}
FOUR = ["sliding_attention", "full_attention"] * 2
GEMMA3N = {
    "head_dim": 8,
    "num_hidden_layers": 4,
    "sliding_window": WINDOW,
    "layer_types": FOUR,
    "vocab_size_per_layer_input": 272,
    "hidden_size_per_layer_input": 8,
    "laurel_rank": 4,
    "activation_sparsity_pattern": [0.0] * 4,
    "intermediate_size": [48] * 4,
}
GEMMA4 = {
    "head_dim": 8,
    "global_head_dim": 16,
    "num_hidden_layers": 4,
    "sliding_window": WINDOW,
    "layer_types": FOUR,
    "vocab_size_per_layer_input": 272,
    "hidden_size_per_layer_input": 8,
}
PIXTRAL = {
    "model_type": "pixtral",
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 1,
    "num_attention_heads": 4,
    "image_size": 28,
    "patch_size": 14,
}

SETTINGS: dict[str, dict[str, Any]] = {
    "llama": {"tie_word_embeddings": False},
    "llama tied": {"tie_word_embeddings": True},
    "qwen2": {"tie_word_embeddings": True},
    "qwen2 window": {"use_sliding_window": True, "sliding_window": WINDOW, "max_window_layers": 1},
    "qwen3": {"head_dim": 8},
    "mistral": {"sliding_window": None},
    "mistral window": {"sliding_window": WINDOW},
    "ministral": {**MIXED, "head_dim": 8},
    "mixtral": {"num_local_experts": 4, "num_experts_per_tok": 2, "sliding_window": None},
    "phi3": {"tie_word_embeddings": False},
    "phi3 window": {"sliding_window": WINDOW},
    "phi": {},
    "gemma": {"head_dim": 8},
    "gemma2": {**GEMMA, **MIXED},
    "gemma3_text": {**GEMMA, **MIXED},
    "gemma3": {"text_config": {**TINY, **GEMMA, **MIXED}, "vision_config": VISION, "mm_tokens_per_image": 4},
    "granite": {"logits_scaling": 8.0},
    "granitemoe": {"num_local_experts": 4, "num_experts_per_tok": 2},
    "olmo2": {},
    "olmo3": MIXED,
    "olmoe": {"num_experts": 4, "num_experts_per_tok": 2},
    "smollm3": {},
    "starcoder2": {},
    "starcoder2 window": {"sliding_window": WINDOW},
    "stablelm": {},
    "cohere": {"logit_scale": 0.0625},
    "cohere2": {**MIXED, "logit_scale": 0.0625, "head_dim": 8},
    "glm": {"head_dim": 8},
    "glm4": {"head_dim": 8},
    "nemotron": {},
    "exaone4": {**MIXED, "head_dim": 8},
    "falcon": {"new_decoder_architecture": True, "alibi": False, "num_kv_heads": 2},
    "gpt_neox": {},
    "opt": {"ffn_dim": 48, "word_embed_proj_dim": 32, "dropout": 0.0},
    "qwen3_moe": {**EXPERTS, "num_experts": 4, "head_dim": 8},
    "qwen2_moe": {**EXPERTS, "num_experts": 4, "shared_expert_intermediate_size": 16, "decoder_sparse_step": 1},
    "deepseek_v2": {**LATENT, **EXPERTS, "topk_method": "greedy"},
    "deepseek_v3": {**LATENT, **EXPERTS},
    "llama4_text": LLAMA4,
    "gpt_oss": {**MIXED, "head_dim": 8, "num_local_experts": 4, "num_experts_per_tok": 2},
    "gemma3n_text": {**GEMMA3N, "num_kv_shared_layers": 0},
    "gemma3n_text shared": {**GEMMA3N, "num_kv_shared_layers": 2},
    "gemma4_text": {**GEMMA4, "num_kv_shared_layers": 0},
    "gemma4_text shared": {**GEMMA4, "num_kv_shared_layers": 2},
    "llava": {"text_config": {"model_type": "llama", **TINY}, "vision_config": VISION},
    "mistral3": {
        "text_config": {"model_type": "mistral", **TINY, "sliding_window": WINDOW, "head_dim": 8},
        "vision_config": PIXTRAL,
    },
    "llama4_text tuned": LLAMA4 | {"attn_temperature_tuning": True},
    "gpt2": GPT,
    "gpt_neo": {"attention_types": [[["global", "local"], 1]], "num_layers": 2, "num_heads": 4, "window_size": WINDOW},
    "gptj": {**GPT, "rotary_dim": 4},
    "bloom": {"n_layer": 2, "n_head": 4},
    "mpt": {"d_model": 32, "n_heads": 4, "n_layers": 2},
    "codegen": {**GPT, "rotary_dim": 4},
    "lfm2": {"layer_types": ["conv", "full_attention"]},
    "mamba": {},
    "granitemoehybrid": HYBRID | {"layer_types": ["attention", "attention"]},
    "granitemoehybrid mamba": HYBRID | {"layer_types": ["mamba", "attention"]},
    "deepseek_v32": {**LATENT, **EXPERTS, "index_topk": 64, "index_head_dim": 16, "index_n_heads": 2},
    "doge": {},
    "falcon alibi": {"new_decoder_architecture": False, "alibi": True, "multi_query": True},
    "qwen2_5_vl": {"text_config": {**TINY, "rope_parameters": THREE_AXES}, "vision_config": SEEING},
    "qwen3_vl": {
        "text_config": {**TINY, "head_dim": 8, "rope_parameters": THREE_AXES},
        "vision_config": SEEING | {"deepstack_visual_indexes": [0]},
    },
    "vaultgemma": {**GEMMA, **MIXED},
    "ernie4_5": {"head_dim": 8},
    "glm4_moe": {
        **EXPERTS,
        "n_routed_experts": 4,
        "n_shared_experts": 1,
        "head_dim": 8,
        "n_group": 1,
        "topk_group": 1,
    },
}


def build(name: str, seed: int = 0) -> PreTrainedModel:
    """A random model; its weights are large enough for its answers to differ."""
    config = AutoConfig.for_model(name.split()[0], **(TINY | SETTINGS[name]))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model: PreTrainedModel = class_of(config).from_config(config, dtype=torch.float32)
    model.eval()
    return model
