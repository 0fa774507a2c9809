"""The job of one adapter: its examples, and the branches of its training steps, which are the sequences to pack.

    learned      its labels go to the objective
    preferred    a text that is to be likelier than the rejected one behind it: a contrast
    rejected
    held-back    has no part in the loss; its own loss chooses the step (`ttsi.engine.held_back`)

Inputs: a job. Outputs: branches, each with its role. The paper (arXiv:2510.07841) knows the first role only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from ttsi.engine.packing import EncodedExample

Contrast = tuple[Sequence[int], Sequence[int]]
"""(token ids of the preferred text, those of the rejected one)."""


@dataclass(frozen=True)
class TrainingJob:
    """What one adapter learns: its slot, and (token ids, length of the prompt) per example."""

    slot: int
    examples: tuple[EncodedExample, ...]
    unadapted: tuple[int, ...] = ()
    """Tokens at the beginning of each example's prompt on which the adapter does not act; () is none."""
    held_back: int = 0
    """The last so many examples are not trained on: their loss chooses the step (`ttsi.engine.held_back`)."""
    contrasts: tuple[Contrast | None, ...] = ()
    """Per example, two texts behind its prompt, of which the first is to be likelier; () is none."""
    teacher_prompts: tuple[tuple[int, ...], ...] = ()
    """Per example, the prompt behind which the base teaches its labels (`ttsi.engine.distillation`). An empty prompt,
    or (), is none: then the labels themselves are learned."""


Role = Literal["learned", "preferred", "rejected", "held-back"]
CONTRASTED: tuple[Role, Role] = ("preferred", "rejected")


@dataclass(frozen=True)
class Branch:
    """A sequence of a step."""

    example: EncodedExample
    unadapted: int = 0
    """Tokens at its beginning on which the adapter does not act."""
    role: Role = "learned"
    teacher_prompt: tuple[int, ...] = ()
    """The prompt behind which the base teaches its labels (`ttsi.engine.distillation`); () is no teacher."""

    @property
    def labels(self) -> tuple[int, ...]:
        """The tokens behind the prompt."""
        ids, n_prompt = self.example
        return tuple(ids[n_prompt:])

    @property
    def length(self) -> int:
        """Tokens of the sequence, or of its teacher's where that is longer."""
        return max(len(self.example[0]), len(self.teacher_prompt) + len(self.labels))


def learned_branches(job: TrainingJob) -> list[list[Branch]]:
    """One list per example to train on: the example, and its contrast."""
    learned = []
    for at, (ids, n_prompt) in enumerate(job.examples[: len(job.examples) - job.held_back]):
        unadapted = job.unadapted[at] if job.unadapted else 0
        teacher_prompt = job.teacher_prompts[at] if job.teacher_prompts else ()
        contrast = job.contrasts[at] if job.contrasts else None
        texts = zip(CONTRASTED, contrast, strict=True) if contrast else ()
        learned.append([
            Branch((ids, n_prompt), unadapted, teacher_prompt=teacher_prompt),
            *(Branch(((*ids[:n_prompt], *text), n_prompt), unadapted, role) for role, text in texts),
        ])  # fmt: skip
    return learned


def held_back_branches(job: TrainingJob) -> list[Branch]:
    """The examples that choose the step."""
    start = len(job.examples) - job.held_back
    unadapted = job.unadapted[start:] if job.unadapted else (0,) * job.held_back
    return [Branch(one, cached, "held-back") for one, cached in zip(job.examples[start:], unadapted, strict=True)]
