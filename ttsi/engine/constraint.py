"""Grammar masks: the tokens that a grammar allows next.

Inputs: a grammar as llguidance Lark text and the tokens written so far. Outputs: one mask over the vocabulary per
row, end-of-turn tokens included where the text may end. The paper's models (arXiv:2510.07841) write freely
(`AnswerConfig.decoding`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import llguidance.hf
import llguidance.numpy
import numpy as np
import torch
from llguidance import LLMatcher
from torch import Tensor
from transformers import PreTrainedTokenizerFast

from ttsi.errors import GrammarError

MAX_COMPILED = 256
"""Compiled grammars that are kept."""


class Grammars:
    """Grammars compiled for one tokenizer, each once."""

    def __init__(self, tokenizer: PreTrainedTokenizerFast, n_vocab: int, stop_ids: Iterable[int]) -> None:
        """Prepare a tokenizer.

        Args:
            tokenizer: a fast tokenizer.
            n_vocab: width of the model's logits, which may exceed the tokenizer's vocabulary. Where the tokenizer has
                more tokens, the surplus can never be written.
            stop_ids: tokens that end a turn; they are allowed where a grammar may end.
        """
        self._n_vocab = n_vocab
        self._width = max(n_vocab, len(tokenizer), 1 + max(tokenizer.get_vocab().values(), default=0))
        ends = sorted(index for index in stop_ids if index < n_vocab)
        self._tokenizer = llguidance.hf.from_tokenizer(tokenizer, n_vocab=self._width, eos_token=ends)
        self._compiled: dict[str, LLMatcher] = {}
        added = {str(token): int(i) for i, token in tokenizer.added_tokens_decoder.items() if int(i) < n_vocab}
        self.special_ids = {text: index for text, index in added.items() if self._tokenizer.is_special_token(index)}
        """Tokens that a grammar must name by id, because llguidance matches them by no text: control tokens, and every
        added token of the form <...>, such as Qwen's <tool_call>."""

    def matcher(self, grammar: str) -> LLMatcher:
        """A fresh matcher of the grammar.

        Raises:
            GrammarError: the grammar does not compile; the message says why.
        """
        if grammar not in self._compiled:
            matcher = LLMatcher(self._tokenizer, LLMatcher.grammar_from_lark(grammar), log_level=0)
            if matcher.is_error():
                raise GrammarError(f"the grammar does not compile: {_one_line(matcher.get_error())}")
            if len(self._compiled) >= MAX_COMPILED:
                self._compiled.pop(next(iter(self._compiled)))
            self._compiled[grammar] = matcher
        return self._compiled[grammar].deep_copy()

    def clear(self) -> None:
        """Drop the compiled grammars: the time that a request takes must not reveal what others requested."""
        self._compiled.clear()

    def allowed_tokens(self, matchers_B: Sequence[LLMatcher | None]) -> Tensor | None:
        """Boolean mask [B, V] of the next tokens; a row without matcher may go on with any. None if no row has one.

        A row whose matcher is in error may go on with none.
        """
        if all(matcher is None for matcher in matchers_B):
            return None
        bits = llguidance.numpy.allocate_token_bitmask(len(matchers_B), self._width)
        for row, matcher in enumerate(matchers_B):
            if matcher is None:
                continue
            if not matcher.is_error():
                llguidance.numpy.fill_next_token_bitmask(matcher, bits, row)
            if matcher.is_error():
                bits[row] = 0
        flags_BV = np.unpackbits(bits.view(np.uint8), axis=1, bitorder="little")[:, : self._n_vocab]
        return torch.from_numpy(flags_BV).bool()


def _one_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return " ".join(lines)[:300]
