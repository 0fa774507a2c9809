"""A run's record as typed values: one `RunRow` per input, beside it the question and the grades.

Written by `ttsi.runs`, read by `ttsi.reports` and by whoever loads a run. Standard library only. The question is kept
with its gold so that a report can be written where the benchmark's data are not; the loop never sees it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from ttsi.types import Episode, Input, ToolCall

STAGES = ("awareness", "synthesis", "adaptation", "answer")
"""In the order of the method; the keys of an episode's seconds."""
Side = Literal["base", "adapted"]
"""Which of an episode's two answers."""
Grades = Mapping[str, Mapping[str, bool]]
"""Rule -> {"base": right?, "adapted": right?}."""
Key = tuple[str, int]
"""(input_hash, repeat): the same question at the same occurrence."""


@dataclass(frozen=True)
class Question:
    """An input and the calls that are right for it."""

    input: Input
    gold: tuple[ToolCall, ...] | None
    """None where there is no gold."""


@dataclass(frozen=True)
class RunRow:
    """One episode with its grades."""

    episode: Episode
    repeat: int
    """0 for an input's first occurrence in the benchmark, 1 for the second with the same content, ..."""
    position: int
    """Place in the benchmark, from 0."""
    grades: Grades | None = None
    """None where the input has no gold."""
    tags: Mapping[str, str] = field(default_factory=dict)
    attempts: int = 1
    """How often the input went through the loop; more than 1 where it failed and was tried again on request."""
    question: Question | None = None
    """The input and its gold, for the reader of a report; None in folders that older versions wrote."""

    @property
    def key(self) -> Key:
        """(input_hash, repeat)."""
        return self.episode.input_hash, self.repeat
