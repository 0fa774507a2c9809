"""The tokenizer of the embedded model, learned from text of the world.

A byte-level BPE. A word and the space before it are one piece, so that a value
looks the same in the tool's line, the request and the call; digits stand alone, so that numbers can be copied; the
marks of the tool-call format are tokens of their own.

Inputs: texts. Outputs: a tokenizer of transformers with the chat template.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ttsi.chat.marked import MARKS
from ttsi.embedded import WEIGHTS

ROLES = ("<|system|>", "<|tools|>", "<|user|>", "<|assistant|>", "<|tool|>")
END, PAD = "<|end|>", "<|pad|>"
SPECIALS = (PAD, END, *ROLES, *MARKS)
PIECES = r" ?\p{N}| ?\p{L}+| ?[^\s\p{L}\p{N}]|\s+(?!\S)|\s"
TEMPLATE = WEIGHTS / "chat_template.jinja"


def learn(texts: Iterable[str], vocab_size: int) -> Any:
    """A PreTrainedTokenizerFast with `vocab_size` pieces learned from `texts`."""
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    raw = Tokenizer(models.BPE())
    raw.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(PIECES), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    raw.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=list(SPECIALS),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    raw.train_from_iterator(texts, trainer)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=raw, eos_token=END, pad_token=PAD, extra_special_tokens=[*ROLES, *MARKS]
    )
    tokenizer.chat_template = TEMPLATE.read_text(encoding="utf-8")
    return tokenizer
