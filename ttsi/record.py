"""A run's record as typed values: a `Run`, and in it one `RunRow` per input with its question and its grades.

`ttsi.runs` writes and reads them (`ttsi.runs.reading.load_run`), `ttsi.reports` studies them. Standard library only.
The question is kept with its gold so that a report can be written where the benchmark's data are not; the loop never
sees it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from ttsi.config import RunConfig
from ttsi.types import Answer, Episode, Input, ToolCall

Side = Literal["base", "adapted"]
"""Which of an input's two answers."""
STAGES = ("awareness", "synthesis", "adaptation", "answer")
"""In the order of the method."""
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

    @property
    def unsure(self) -> bool:
        """Whether the model was found unsure; False where confidence was not estimated."""
        return self.episode.awareness is not None and self.episode.awareness.unsure

    @property
    def has_adaptation(self) -> bool:
        """Whether the input was adapted, or at least tried."""
        return self.episode.adaptation.status != "none"

    def answer(self, side: Side) -> Answer | None:
        """The base's answer, or the one given in the end."""
        return self.episode.base if side == "base" else self.episode.adapted

    def right(self, side: Side, rule: str) -> bool | None:
        """Whether an answer was right by a rule; None without gold, or where the rule has no verdict."""
        return None if self.grades is None else self.grades.get(rule, {}).get(side)

    def measure(self, name: str) -> float | None:
        """A measure's value for this input; None where it has none, or one that is not a number."""
        awareness = self.episode.awareness
        if awareness is None:
            return None
        value = awareness.value if name == awareness.measure else awareness.measures.get(name)
        return None if value is None or value != value else value


@dataclass(frozen=True)
class RunData:
    """Which questions a run answered, and how they are graded."""

    benchmark: str
    checksum: str
    """SHA-256 (hex) of the benchmark's data."""
    matcher: str
    """The rule of the headline score."""
    n: int
    """Inputs that the run is to answer."""


@dataclass(frozen=True)
class Run:
    """A recorded run: its rows, its settings, and what they were resolved to."""

    name: str
    """The folder's name."""
    rows: Sequence[RunRow]
    config: RunConfig
    summary: Mapping[str, Any]
    """What summary.json holds, counted anew from the rows."""
    data: RunData
    model: Mapping[str, Any]
    """The model's own description: "weights_sha256", "format", "device", "dtype", ... as far as it has them."""
    train: Mapping[str, Any] | None
    """"name", "checksum" and "n" of the training rows, where the method learns from some."""
    prompt_hash: str | None
    versions: Mapping[str, str]
    machine: Mapping[str, Any]
    """Commit, Python, platform, number of CPUs, place of the data."""
    record: Mapping[str, Any] = field(repr=False)
    """All of config.json as it was written."""
    folder: Path | None = field(default=None, repr=False, compare=False)
    """Where it was read from; None for a run that was read from no folder."""

    @property
    def place(self) -> str:
        """The folder where there is one, and else the name: what an error calls this run."""
        return str(self.folder or self.name)

    @property
    def seed(self) -> int:
        """The seed of every stage."""
        return self.config.loop.seed

    @property
    def adapts(self) -> bool:
        """Whether there is an adapted answer beside the base's."""
        return self.config.loop.adapt

    @property
    def final_side(self) -> Side:
        """The answer that the run gives in the end: the base's for method `base`."""
        return "adapted" if self.adapts else "base"

    @property
    def began_with_library(self) -> str | None:
        """What its library was as it began: "new", or "used before"; None without one, and in older records."""
        return self.record.get("library")

    @property
    def weights(self) -> str | None:
        """SHA-256 (hex) of the model's weights; None for a scripted model."""
        return self.model.get("weights_sha256")


def omission_rule(rule: str) -> str:
    """The name of a rule that judges answers without their unstated optional arguments.

    >>> omission_rule("lenient")
    'lenient omit-unstated'
    """
    return f"{rule} omit-unstated"
