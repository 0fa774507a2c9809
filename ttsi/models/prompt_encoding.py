"""Prompts, training examples and texts as the tokens of one model, and its tokens as text.

Inputs: a tokenizer, the handshake with its chat template, the size of the model's vocabulary. Outputs: token ids; or a
refusal that names the token which the model does not have. Text is data: control tokens in it are never encoded as
such (`ttsi.chat.templates`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property

from ttsi.chat import templates
from ttsi.chat.handshake import Handshake
from ttsi.errors import UnrenderablePrompt
from ttsi.types import Prompt, TrainingExample, answered_calls


class PromptEncoder:
    """The encoding of one model."""

    def __init__(self, tokenizer: templates.Tokenizer, vocabulary_size: int, handshake: Handshake) -> None:
        """Encode for a model.

        Args:
            tokenizer: a fast tokenizer with a chat template.
            vocabulary_size: number of tokens that the model has; the tokenizer may have more.
            handshake: what the template carries, and the tool-call format.
        """
        self.tokenizer, self.vocabulary_size = tokenizer, vocabulary_size
        self.use(handshake)
        self._marks = templates.special_strings(tokenizer)
        self._cache: dict[str, list[int]] | None = None  # None outside `prompt_cache`

    def use(self, handshake: Handshake) -> None:
        """Encode from here on as the handshake says."""
        self.handshake, self.format = handshake, handshake.chosen_format()

    def encode_prompt(self, prompt: Prompt) -> list[int]:
        """A prompt, up to where the answer begins, with the prompt's own prefix of the answer.

        Raises:
            UnrenderablePrompt: it holds a token that the model does not have.
        """
        # Tools hold dictionaries, so a prompt cannot be hashed; its text leaves out which call a result answers.
        key = repr((prompt, answered_calls(prompt.messages)))
        ids = (self._cache or {}).get(key) or templates.encode_prompt(
            self.tokenizer, self.format, prompt, self._marks, self.handshake
        )
        self._check(ids)
        if self._cache is not None:
            self._cache[key] = ids
        return ids

    def encode_text(self, text: str) -> list[int]:
        """A text that stands by itself, as the beginning of an answer does.

        Raises:
            UnrenderablePrompt: it holds a token that the model does not have.
        """
        ids = list(self.tokenizer(text, add_special_tokens=False)["input_ids"])
        self._check(ids)
        return ids

    def encode_training_example(self, example: TrainingExample) -> tuple[Sequence[int], int]:
        """(token ids, how many of them are prompt); the model need not have all of the tokens."""
        return templates.encode_training_example(self.tokenizer, self.format, example, self._marks, self.handshake)

    def encode_contrast(self, example: TrainingExample) -> tuple[list[int], list[int]] | None:
        """The two texts of a training example's contrast; None where it has none."""
        if example.contrast is None:
            return None
        preferred, rejected = (
            templates.neutralise_target(self.format, text, example.prompt.tools, self._marks)
            for text in example.contrast
        )
        return self.encode_text(preferred), self.encode_text(rejected)

    def encode_teacher(self, example: TrainingExample) -> tuple[int, ...]:
        """The prompt behind which the base teaches a training example; empty where it does not."""
        return () if example.teacher is None else tuple(self.encode_prompt(example.teacher))

    def user_turn(self, ids: Sequence[int]) -> tuple[int, tuple[int, ...]]:
        """(where the first user's turn of a prompt opens, the tokens that open it); (0, ()) where none can be seen."""
        for opening in map(tuple, self._openings):
            for at in range(len(ids) - len(opening)):
                if tuple(ids[at : at + len(opening)]) == opening:
                    return at, opening
        return 0, ()

    @cached_property
    def _openings(self) -> list[list[int]]:
        return templates.user_turn_openings(self.tokenizer)

    def decode_answer(self, prompt_ids: Sequence[int], ids: Sequence[int]) -> str:
        """The text of an answer behind a prompt."""
        return templates.decode_answer(self.tokenizer, prompt_ids, ids)

    @contextmanager
    def prompt_cache(self) -> Iterator[None]:
        """Within the block no prompt is encoded twice; leaving the outermost one drops all of them."""
        outer = self._cache
        self._cache = {} if outer is None else outer
        try:
            yield
        finally:
            self._cache = outer

    def _check(self, ids: Sequence[int]) -> None:
        largest = max(ids, default=0)
        if largest >= self.vocabulary_size:
            token = self.tokenizer.convert_ids_to_tokens(largest)
            raise UnrenderablePrompt(
                f"a text holds the token {token!r}, number {largest}, but the model has only {self.vocabulary_size}"
            )
