"""Conversion of a GGUF file's weights, settings and tokenizer to a folder of safetensors.

Inputs: a file and its checked header. Outputs: the folder's files: config, tokenizer, the file's own chat template, and
weights in bfloat16; or a `ModelError`. transformers reads the file. What its reader ignores is handled here, or
refused: scaled rotary positions, tensors and settings without a place, tokens that end a turn, how text is cut before
it is merged into tokens.
"""

from __future__ import annotations

import io
import logging
import math
import struct
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr
from pathlib import Path
from typing import Any

import torch
import transformers
from tokenizers import pre_tokenizers
from transformers import AutoModelForCausalLM, AutoTokenizer
from transformers.integrations.ggml import GGUF_CONFIG_MAPPING
from transformers.utils.quantization_config import GgufConfig

from ttsi.errors import ModelError, on_one_line
from ttsi.models.gguf_file import GGUFHeader

FREQUENCIES = "rope_freqs.weight"
"""Factors of the rotary frequencies, as files of Llama 3.1 and later carry them."""
LOW_FREQ_FACTOR, HIGH_FREQ_FACTOR, ORIGINAL_CONTEXT = 1.0, 4.0, 8192
"""Llama 3.1's own settings of these factors: from how many turns within how many tokens frequencies are scaled."""
NEUTRAL_SETTINGS = {"rope.scaling.type": "none", "attention.causal": True, "rope.scaling.finetuned": False}
"""Settings that change nothing when they have these values."""
SPLIT_BY_READER = frozenset(
    "llama3 llama-v3 llama-bpe falcon3 pixtral dbrx smaug-bpe tekken qwen2 deepseek-r1-qwen megrez".split()
)
"""Rules for cutting text (tokenizer.ggml.pre) that transformers knows by name."""
SPLIT_AS_GPT2 = frozenset({"gpt-2", "phi-2", "mpt", "olmo", "jais", "trillion", "granite-docling"})
"""Those that cut as GPT-2 does, which is what transformers does with a name that it does not know."""
DIGIT_BY_DIGIT = frozenset({"smollm", "starcoder", "refact", "command-r", "codeshell", "exaone", "minerva-7b"})
"""Those that first take every digit by itself, and then cut as GPT-2 does."""


def convert(path: Path, header: GGUFHeader, folder: Path) -> None:
    """Write the model into an existing folder.

    Raises:
        ModelError: the file holds something that cannot be read correctly; one line.
        OSError: the disk is full or not writable.
    """
    source = folder / "source"
    source.mkdir()
    # By itself and under a name of ours: a tokenizer or a configuration beside the file would be read in its stead.
    (source / "model.gguf").symlink_to(path.resolve())
    with _quiet():
        try:
            tokenizer = AutoTokenizer.from_pretrained(str(source), gguf_file="model.gguf")
            model, problems = _weights(source)
        except Exception as error:  # readers of half a dozen formats raise their own kinds
            raise ModelError(f"cannot read {path}: {on_one_line(error)}") from error
        _check_weights(path, header, model, problems)
        _check_settings(path, header, model.config)
        _set_rope_scaling(path, header, model.config)
        _fix_tokenizer(path, header, tokenizer)
        _set_eos_ids(header, model)
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
    (source / "model.gguf").unlink()
    source.rmdir()


def _weights(source: Path) -> tuple[Any, list[str]]:
    """The model in bfloat16, and the parameters that the file does not hold in the right shape."""
    loaded: Any = AutoModelForCausalLM.from_pretrained(  # Any: it returns a pair when it is asked for its report
        str(source),
        gguf_file="model.gguf",
        dtype=torch.bfloat16,
        attn_implementation="sdpa",
        output_loading_info=True,
        quantization_config=GgufConfig(dequantize=True),  # else it looks for compiled code on the hub
    )
    model, report = loaded
    model.hf_quantizer, model.is_quantized = None, False  # its weights are plain numbers now, and may be saved
    if hasattr(model.config, "quantization_config"):
        del model.config.quantization_config
    return model, sorted({*report["missing_keys"], *(str(key) for key in report["mismatched_keys"])})


def _check_weights(path: Path, header: GGUFHeader, model: Any, problems: list[str]) -> None:
    if problems:
        raise ModelError(f"cannot read {path}: it holds no fitting {problems[0]}")
    held = sum(math.prod(entry.dimensions) for name, entry in header.tensors.items() if name != FREQUENCIES)
    if held != model.num_parameters():
        raise ModelError(
            f"cannot read {path}: it holds {held} weights, and {type(model).__name__} has {model.num_parameters()}"
        )
    for name, weight in model.named_parameters():
        if not torch.isfinite(weight).all():
            raise ModelError(f"{path} is damaged: {name} holds what is no number; download it again")


def _check_settings(path: Path, header: GGUFHeader, config: Any) -> None:
    """Refuse a setting of the file that is neither carried over nor the same in the configuration."""
    mapping: Any = GGUF_CONFIG_MAPPING  # its lists hold words of several kinds
    carried = {key for key, name in mapping[header.architecture].items() if name is not None}
    head_dim = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    same = {
        **NEUTRAL_SETTINGS,
        "attention.key_length": head_dim,
        "attention.value_length": head_dim,
        "rope.dimension_count": head_dim,
        "attention.sliding_window": getattr(config, "sliding_window", None),
        "vocab_size": config.vocab_size,
    }
    settings = {**header.metadata, **{key: f"a list of {length}" for key, length in header.lengths.items()}}
    for key, value in settings.items():
        family, _, setting = key.partition(".")
        if family == header.architecture and setting not in carried and same.get(setting, key) != value:
            raise ModelError(
                f"cannot read {path}: {key} is {str(value)[:40]}, which transformers' reader of GGUF files leaves out"
            )
    if "attention.head_count" in header.lengths:
        raise ModelError(f"cannot read {path}: its layers differ in their number of heads")


def _set_rope_scaling(path: Path, header: GGUFHeader, config: Any) -> None:
    """Llama 3.1 scales its rotary frequencies; the file holds the factors, the configuration the rule."""
    if FREQUENCIES not in header.tensors:
        return
    entry = header.tensors[FREQUENCIES]
    count = math.prod(entry.dimensions)
    with path.open("rb") as file:
        file.seek(entry.start)
        factors = struct.unpack(f"<{count}f", file.read(4 * count)) if entry.type == "F32" else ()
    theta, factor = float(config.rope_parameters["rope_theta"]), max(factors, default=0.0)
    rule = [_llama3_factor(theta ** (-index / count), factor) for index in range(count)]
    if 2 * count != config.head_dim or not all(
        math.isclose(a, b, rel_tol=1e-4) for a, b in zip(factors or [0.0], rule, strict=False)
    ):
        raise ModelError(f"cannot read {path}: it scales positions ({FREQUENCIES}) in a way that is not Llama 3.1's")
    config.rope_parameters = {
        "rope_type": "llama3",
        "rope_theta": theta,
        "factor": factor,
        "low_freq_factor": LOW_FREQ_FACTOR,
        "high_freq_factor": HIGH_FREQ_FACTOR,
        "original_max_position_embeddings": ORIGINAL_CONTEXT,
    }


def _llama3_factor(frequency: float, factor: float) -> float:
    """By what Llama 3.1 divides a frequency (radians per token)."""
    turns = ORIGINAL_CONTEXT * frequency / (2 * math.pi)
    if turns <= LOW_FREQ_FACTOR or turns >= HIGH_FREQ_FACTOR:
        return factor if turns <= LOW_FREQ_FACTOR else 1.0
    share = (turns - LOW_FREQ_FACTOR) / (HIGH_FREQ_FACTOR - LOW_FREQ_FACTOR)
    return 1 / ((1 - share) / factor + share)


def _fix_tokenizer(path: Path, header: GGUFHeader, tokenizer: Any) -> None:
    metadata = header.metadata
    count = header.lengths["tokenizer.ggml.tokens"]
    if len(tokenizer.get_vocab()) != count:  # some are named twice, or lack what its kind of tokenizer always has
        raise ModelError(f"cannot read {path}: its {count} tokens make a vocabulary of {len(tokenizer.get_vocab())}")
    names = {key.removeprefix("tokenizer.chat_template.") for key in metadata} & {"tool_use", "rag"}
    template = metadata["tokenizer.chat_template"]
    more = {name: metadata[f"tokenizer.chat_template.{name}"] for name in sorted(names)}
    tokenizer.chat_template = {"default": template, **more} if more else template
    if metadata.get("tokenizer.ggml.model") != "gpt2":
        return
    rule = metadata.get("tokenizer.ggml.pre")
    if rule in DIGIT_BY_DIGIT:
        tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
            [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
        )
    elif rule not in SPLIT_BY_READER | SPLIT_AS_GPT2:
        raise ModelError(f"cannot read {path}: its tokenizer cuts text by an unknown rule ({str(rule)[:40]!r})")


def _set_eos_ids(header: GGUFHeader, model: Any) -> None:
    """Files name the end of a turn beside the end of a text; either ends an answer."""
    keys = ("tokenizer.ggml.eos_token_id", "tokenizer.ggml.eot_token_id")
    ends = sorted({header.metadata[key] for key in keys if key in header.metadata})
    if len(ends) > 1:
        model.generation_config.eos_token_id = ends


@contextmanager
def _quiet() -> Iterator[None]:
    """Suppress the progress bars and reports of transformers' reader."""
    logger = logging.getLogger("transformers")
    level, bars = logger.level, transformers.utils.logging.is_progress_bar_enabled()
    logger.setLevel(logging.ERROR)
    transformers.utils.logging.disable_progress_bar()
    try:
        with redirect_stderr(io.StringIO()):
            yield
    finally:
        logger.setLevel(level)
        if bars:
            transformers.utils.logging.enable_progress_bar()
