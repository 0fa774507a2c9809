"""The rows of a training step, and what the base has read of them when the step comes.

    step_rows     branches with the same beginning on which no adapter acts share a row (`ttsi.engine.packing`)
    Beginnings    reads these beginnings, and as a teacher the labels that have one

Inputs: the branches of a step (`ttsi.engine.training_job`). Outputs: packed rows with keys and values in front. A step
is read when its turn comes: fine-tuning on hundreds of rows with long tool lists would otherwise hold all of their keys
and values, a million tokens. The paper (arXiv:2510.07841) reads every example from its first token at every step.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from transformers import PreTrainedModel

from ttsi.engine.distillation import teacher_states
from ttsi.engine.packing import PackedRow, pack
from ttsi.engine.prefix import CachedPrompt, PrefixCache
from ttsi.engine.training_job import Branch


@dataclass(frozen=True)
class StepRow:
    """Examples with the same beginning on which the adapter does not act."""

    start: CachedPrompt
    """That beginning, as the base reads it."""
    packed: PackedRow
    """What follows it."""
    branches: tuple[Branch, ...]
    """What each of its sequences is for."""
    teacher_MD: Tensor | None = None
    """The teacher's hidden states for the labels that have one, once the base has read its prompts."""

    @property
    def memory(self) -> int:
        """Tokens whose activations take as much memory; keys and values of the beginning take an eighth of them."""
        return len(self.packed.ids_T) + -(-self.start.cached // 8)


def step_rows(branches: Sequence[Branch]) -> tuple[StepRow, ...]:
    """One row per beginning, in the order in which they first occur."""
    by_beginning: dict[tuple[int, ...], list[Branch]] = {}
    for branch in branches:
        by_beginning.setdefault(tuple(branch.example[0][: branch.unadapted]), []).append(branch)
    return tuple(
        StepRow(
            CachedPrompt(beginning, cached=len(beginning)),
            pack([branch.example for branch in group], len(beginning)),
            tuple(group),
        )
        for beginning, group in by_beginning.items()
    )


class Beginnings:
    """Reads what no adapter acts on; a beginning that `prefixes` has no room for is read again at its next step."""

    def __init__(self, model: PreTrainedModel, prefixes: PrefixCache) -> None:
        self._model, self._prefixes = model, prefixes
        self._taught: dict[int, Tensor] = {}  # by the identity of a row, which its job holds all the while

    def read(self, steps_B: Sequence[Sequence[StepRow]]) -> list[list[StepRow]]:
        """The same rows, once the base has read their beginnings, and their labels as a teacher.

        Raises:
            ModelError: one beginning alone does not fit the memory.
        """
        rows = [row for step in steps_B for row in step]
        starts = iter(self._prefixes.start(self._model, [row.start for row in rows]))
        self._teach([row for row in rows if id(row) not in self._taught])
        return [
            [replace(row, start=next(starts), teacher_MD=self._taught.get(id(row))) for row in step] for step in steps_B
        ]

    def _teach(self, rows: Sequence[StepRow]) -> None:
        taught = [branch for row in rows for branch in row.branches if branch.teacher_prompt]
        states = iter(teacher_states(self._model, taught, self._prefixes) if taught else ())
        for row in rows:
            own = [next(states) for branch in row.branches if branch.teacher_prompt]
            if own:
                self._taught[id(row)] = torch.cat(own)
