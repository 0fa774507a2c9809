"""What if one adapter learned a training file instead? Supervised fine-tuning, through the same engine and loop.

Inputs: a model, the rows of a training file, the settings. Outputs: a `with` block with a model that looks like any
other, whose `adapted` gives every input the same adapter. It is trained when the first input asks for it, so that its
time is booked where other methods' is, and dropped when the block is left. So SFT is the loop with another model.

The same seed trains the same adapter: an interrupted run trains it once more and goes on as it began. The paper
(arXiv:2510.07841, section 3.3) fine-tunes on about 13k rows of Seal-Tools with LLaMA-Factory.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace

from ttsi.adaptation.examples import gold_training_examples
from ttsi.config import AdaptationConfig
from ttsi.errors import ConfigError, DataError
from ttsi.models import Generation, Model, ModelWrapper, Request
from ttsi.types import Adaptation, TrainingData, TrainingExample


@contextmanager
def supervised(model: Model, data: TrainingData, config: AdaptationConfig, seed: int) -> Iterator[Model]:
    """A model with one adapter for all, trained on the data in an order drawn by the seed.

    Raises:
        DataError: no row of the data can be learned by this model.
    """
    learned = gold_training_examples(model.format, data.pairs)
    if not learned:
        raise DataError(f"{data.name} has no row that {model.spec} can learn: give rows with gold calls of their tools")
    random.Random(seed).shuffle(learned)
    with ExitStack() as life:
        yield FineTunedModel(model, learned, config, seed, life)


class FineTunedModel(ModelWrapper):
    """The model with one adapter for all; asked without an adapter it is the base."""

    def __init__(
        self, model: Model, learned: Sequence[TrainingExample], config: AdaptationConfig, seed: int, life: ExitStack
    ) -> None:
        super().__init__(model)
        self._learned, self._config, self._seed, self._life = learned, config, seed, life
        self._state: Adaptation | None = None

    def generate(self, requests: Sequence[Request]) -> list[Generation]:
        """Whoever names an adapter means the shared one."""
        return self._model.generate([r if r.adapter is None else replace(r, adapter=0) for r in requests])

    @contextmanager
    def adapted(
        self, jobs: Sequence[Sequence[TrainingExample]], config: AdaptationConfig, seeds: Sequence[int]
    ) -> Iterator[list[Adaptation]]:
        """Every job has the shared adapter, which is trained when the first one comes."""
        if jobs and self._state is None:
            self._state = self._train()
        yield [self._state for _ in jobs if self._state is not None]

    def _train(self) -> Adaptation:
        try:
            [state] = self._life.enter_context(self._model.adapted([self._learned], self._config, [self._seed]))
        except ConfigError:
            raise
        except Exception as error:
            # Once is enough: whatever went wrong would go wrong for every input, and the base can answer.
            return Adaptation("training-failed", reason=f"{type(error).__name__}: {error}".splitlines()[0])
        # Thousands of inputs would otherwise each store the losses of thousands of steps.
        losses = state.losses[:1] + state.losses[-1:]
        return replace(state, status="shared" if state.status == "trained" else "training-failed", losses=losses)
