"""Inputs with all that their answers depend on; the request for an answer, and the reading of what the model writes.

Inputs: a model, its settings, inputs, the adapter of each. Outputs: one `Request` per input, and the `Answer` in what
the model writes. Where a remote model gave no text, the input fails: silence is no answer in words, and no sample that
votes. Where the settings say so, dates take the format that the tool states, and optional arguments that the
conversation does not state are left out. The paper (arXiv:2510.07841) takes an answer as it is written.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from ttsi.chat.date_formats import with_stated_formats
from ttsi.chat.grammar import answer_grammar, tool_grammar
from ttsi.chat.grounding import StatedValues, conversation_text, without_unstated
from ttsi.config import AnswerConfig
from ttsi.errors import ModelError
from ttsi.models import Generation, Model, Request
from ttsi.types import Answer, Input, Prompt, Tool


@dataclass(frozen=True)
class AnswerTask:
    """Inputs to answer; sequences have one entry per input."""

    model: Model
    inputs: Sequence[Input]
    config: AnswerConfig
    adapters: Sequence[int | None]
    """Which adapter answers; None is the base."""
    conversations: Sequence[Input]
    """The inputs as they were asked, without demonstrations or a first answer: only these state values."""

    @cached_property
    def stated(self) -> list[StatedValues]:
        """The values that each conversation states."""
        return [StatedValues.of(conversation_text(item.messages)) for item in self.conversations]

    @cached_property
    def requests(self) -> list[Request]:
        """The greedy answer of each input."""
        return [
            Request(
                Prompt(item.messages, item.tools),
                self.config.max_tokens,
                grammar=self.config.grammar or self._tools_grammar(item),
                repetition_limit=self.config.repetition_limit,
                adapter=adapter,
                with_base=adapter is not None,
            )
            for item, adapter in zip(self.inputs, self.adapters, strict=True)
        ]

    def is_free_or_custom(self, item: Input) -> bool:
        """Whether anything but the tools says what may be answered: free decoding, or a grammar of the caller's."""
        return self.config.grammar is not None or self.config.decoding == "free" or not item.tools

    def _tools_grammar(self, item: Input) -> str | None:
        if self.is_free_or_custom(item):
            return None
        return answer_grammar(self.model.format, item.tools, self.config.calls, self.config.tools)

    def tool_grammar(self, tool: Tool) -> str:
        """The grammar of one call of this tool, as an answer may make it."""
        return tool_grammar(self.model.format, tool, self.model.format.reasons(tool))

    def read(self, i: int, generation: Generation) -> Answer:
        """The answer to an input in what the model wrote.

        Raises:
            ModelError: it wrote nothing, since it could not be reached.
        """
        if generation.error is not None:
            raise ModelError(f"the model gave no text ({generation.error})")
        parsed = self.model.format.parse(generation.text, self.inputs[i].tools)
        answer = Answer(
            text=generation.text,
            calls=parsed.calls,
            error=parsed.error if generation.finished else _cut_off(generation),
            logprob=generation.logprob,
            min_logprob=generation.min_logprob,
            base_logprob=generation.base_logprob,
            tokens=generation.tokens,
            finish_reason="stop" if generation.finished else "length",
        )
        if answer.error:
            return replace(answer, calls=())
        tools = self.inputs[i].tools
        if self.config.convert_dates:
            answer = with_stated_formats(answer, tools)
        return without_unstated(answer, tools, self.stated[i]) if self.config.omit_unstated else answer

    def read_samples(self, i: int, generations: Sequence[Generation]) -> list[Answer]:
        """The answers in samples of an input; a sample that the model did not write is left out.

        Raises:
            ModelError: it wrote none of them.
        """
        written = [generation for generation in generations if generation.error is None]
        return [self.read(i, generation) for generation in written or generations]


def _cut_off(generation: Generation) -> str:
    """Why an answer has no end."""
    return "cut off: it repeats itself" if generation.repeats else "cut off at max_tokens"
