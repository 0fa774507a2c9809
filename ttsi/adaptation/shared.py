"""Supervised fine-tuning: one adapter for the whole run, trained on a training file through the same engine and loop.

Inputs: a model, the rows of a training file, the settings. Outputs: a `with` block with a model like any other, whose
`adapted` gives every input the same adapter. It is trained when the first input needs it, so that its time counts as
adaptation, and dropped at the end of the block. So SFT is the loop with another model.

The same seed trains the same adapter: an interrupted run trains it once more and continues with the same weights. The
paper (arXiv:2510.07841, section 3.3) fine-tunes on about 13k rows of Seal-Tools with LLaMA-Factory.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace

from ttsi.adaptation.examples import gold_training_examples
from ttsi.config import AdaptationConfig
from ttsi.errors import ConfigError, DataError, first_line
from ttsi.methods import check_shared
from ttsi.models import Generation, Model, ModelWrapper, Request
from ttsi.types import Adaptation, Prompt, TrainingData, TrainingExample


@contextmanager
def supervised(model: Model, data: TrainingData, config: AdaptationConfig, seed: int) -> Iterator[Model]:
    """A model with one adapter for all, trained on the data in an order drawn by the seed.

    Raises:
        DataError: no row of the data can be learned by this model.
        ConfigError: the settings are for the examples of one input.
    """
    check_shared(config)
    examples = gold_training_examples(model.format, data.pairs)
    if not examples:
        raise DataError(f"{data.name} has no row that {model.spec} can learn: give rows with gold calls of their tools")
    random.Random(seed).shuffle(examples)
    with ExitStack() as stack:
        yield FineTunedModel(model, examples, config, seed, stack)


class FineTunedModel(ModelWrapper):
    """A model with one adapter for all inputs; a request without an adapter goes to the base."""

    def __init__(
        self, model: Model, examples: Sequence[TrainingExample], config: AdaptationConfig, seed: int, stack: ExitStack
    ) -> None:
        super().__init__(model)
        self._examples, self._config, self._seed, self._stack = examples, config, seed, stack
        self._adaptation: Adaptation | None = None

    def generate(self, requests: Sequence[Request]) -> list[Generation]:
        """A request with any adapter goes to the shared one."""
        return self._model.generate([r if r.adapter is None else replace(r, adapter=0) for r in requests])

    def score(
        self, prompts: Sequence[Prompt], continuations: Sequence[Sequence[str]], adapters: Sequence[int | None] = ()
    ) -> list[list[float]]:
        """With any adapter the shared one scores."""
        return super().score(prompts, continuations, [None if adapter is None else 0 for adapter in adapters])

    def adapter_file(self, index: int) -> bytes:
        """Every job's adapter is the shared one."""
        return super().adapter_file(0)

    @contextmanager
    def adapted(
        self, jobs: Sequence[Sequence[TrainingExample]], config: AdaptationConfig, seeds: Sequence[int]
    ) -> Iterator[list[Adaptation]]:
        """Every job has the shared adapter, which is trained with the first one."""
        if jobs and self._adaptation is None:
            self._adaptation = self._train()
        yield [self._adaptation for _ in jobs if self._adaptation is not None]

    def _train(self) -> Adaptation:
        try:
            [trained] = self._stack.enter_context(self._model.adapted([self._examples], self._config, [self._seed]))
        except ConfigError:
            raise
        except Exception as error:
            # Once is enough: it would fail in the same way for every input, and the base can answer.
            return Adaptation("training-failed", reason=f"{type(error).__name__}: {first_line(error)}")
        # Thousands of inputs would otherwise each store the losses of thousands of steps.
        losses = trained.losses[:1] + trained.losses[-1:]
        return replace(trained, status="shared" if trained.status == "trained" else "training-failed", losses=losses)
