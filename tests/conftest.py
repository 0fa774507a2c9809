"""Tiny models for every test that needs one: random weights, a byte tokenizer, a chat template with tools.

Two layers of width 32 in fp32: small enough for seconds, large enough for grouped heads, biases and tied weights.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

os.environ["HF_HUB_OFFLINE"] = "1"  # read when the hub's client is imported: no test asks the network

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

ARCHITECTURES = ("qwen2", "llama", "mistral")

CHAT_TEMPLATE = """\
{%- if tools %}<|im_start|>system
# Tools
{% for tool in tools %}{{ tool | tojson }}
{% endfor %}Answer with <tool_call>
{"name": ..., "arguments": ...}
</tool_call><|im_end|>
{% endif %}
{%- for message in messages %}<|im_start|>{{ message.role }}
{% if message.content %}{{ message.content }}{% endif %}
{%- for call in message.tool_calls or [] %}
<tool_call>
{"name": "{{ call.function.name }}", "arguments": {{ call.function.arguments | tojson }}}
</tool_call>
{%- endfor %}<|im_end|>
{% endfor %}
{%- if add_generation_prompt %}<|im_start|>assistant
{% endif %}"""


def build_tokenizer() -> PreTrainedTokenizerFast:
    """One token per byte, Qwen's control tokens, and a template in Qwen's manner."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    backend = Tokenizer(models.BPE(vocab={letter: index for index, letter in enumerate(alphabet)}, merges=[]))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    backend.add_special_tokens([
        AddedToken(text, special=True, normalized=False) for text in ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
    ])  # fmt: skip
    backend.add_tokens([AddedToken(text, normalized=False) for text in ("<tool_call>", "</tool_call>")])
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        chat_template=CHAT_TEMPLATE,
        clean_up_tokenization_spaces=False,
    )


def build_model(architecture: str, seed: int = 0) -> PreTrainedModel:
    """A random model of one architecture; logits are wider than the tokenizer's vocabulary, as Qwen's are."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    config = AutoConfig.for_model(
        architecture,
        vocab_size=272,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=2048,
        initializer_range=0.2,
        tie_word_embeddings=architecture == "qwen2",
        bos_token_id=None,
        eos_token_id=258,
        pad_token_id=256,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model: PreTrainedModel = AutoModelForCausalLM.from_config(
            config, dtype=torch.float32, attn_implementation="sdpa"
        )
    model.eval()
    return model


@pytest.fixture(autouse=True)
def unchanged_log() -> Iterator[None]:
    """The command sets the level and the handlers of the library's log, and the next test shares the process."""
    log = logging.getLogger("ttsi")
    before = log.level, log.handlers
    yield
    log.setLevel(before[0])
    log.handlers = before[1]


@pytest.fixture(scope="session")
def tokenizer() -> PreTrainedTokenizerFast:
    """The byte tokenizer."""
    return build_tokenizer()


@pytest.fixture
def model() -> PreTrainedModel:
    """A fresh tiny Qwen2."""
    return build_model("qwen2")


@pytest.fixture(params=ARCHITECTURES)
def any_model(request: pytest.FixtureRequest) -> PreTrainedModel:
    """A fresh tiny model of each architecture."""
    return build_model(request.param)


@pytest.fixture
def saved_model(tmp_path: Path) -> Callable[[str], Path]:
    """Writes a tiny model with its tokenizer to a folder, as `from_pretrained` expects it."""

    def save(architecture: str = "qwen2") -> Path:
        folder = tmp_path / architecture
        build_model(architecture).save_pretrained(folder)
        build_tokenizer().save_pretrained(folder)
        return folder

    return save
