"""Training jobs as token ids: the examples of an adapter, as far as they fit the model.

Inputs: training examples, a model's encoder, its context. Outputs: `TrainingJob`s for the engine. The paper
(arXiv:2510.07841) does not say what happens to an example that is too long; here it is left out, and the record counts
it.
"""

from __future__ import annotations

from collections.abc import Sequence

from ttsi.engine.packing import EncodedExample
from ttsi.engine.training_job import TrainingJob
from ttsi.models.prompt_encoding import PromptEncoder
from ttsi.types import TrainingExample


def fitting_examples(
    encoder: PromptEncoder, training_examples: Sequence[TrainingExample], context: int
) -> list[tuple[TrainingExample, EncodedExample]]:
    """The examples that fit the context and the vocabulary, each beside its token ids."""
    encoded = [(example, encoder.encode_training_example(example)) for example in training_examples]
    return [
        (example, (ids, n_prompt))
        for example, (ids, n_prompt) in encoded
        if len(ids) <= context and max(ids) < encoder.vocabulary_size
    ]


def encode_job(
    encoder: PromptEncoder, slot: int, training_examples: Sequence[TrainingExample], context: int
) -> TrainingJob:
    """The job of an adapter, of the examples that fit; those that are held back stand last."""
    fitting = fitting_examples(encoder, sorted(training_examples, key=lambda example: example.held_back), context)
    return TrainingJob(
        slot,
        tuple(ids for _, ids in fitting),
        held_back=sum(example.held_back for example, _ in fitting),
        contrasts=tuple(encoder.encode_contrast(example) for example, _ in fitting),
        teacher_prompts=tuple(encoder.encode_teacher(example) for example, _ in fitting),
    )
