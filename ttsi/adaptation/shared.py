"""Supervised fine-tuning: one adapter for the whole run, trained on a training file through the same engine and loop.

Inputs: a model, the rows of a training file, the settings, a place that keeps the adapter. Outputs: a `with` block with
a model like any other, whose `adapted` gives every input the same adapter. It is trained when the first input needs it,
so that its time counts as adaptation, and leaves the model at the end of the block. So SFT is the loop with another
model.

A kept adapter is put back instead of training again, and an interrupted training goes on from its last checkpoint.
Where nothing is kept, the same seed trains the same adapter. The paper (arXiv:2510.07841, section 3.3) fine-tunes on
about 13k rows of Seal-Tools with LLaMA-Factory.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import replace
from typing import TYPE_CHECKING, Protocol

from ttsi.adaptation.examples import gold_training_examples
from ttsi.config import AdaptationConfig
from ttsi.errors import ConfigError, DataError, first_line
from ttsi.methods import check_shared
from ttsi.models import Generation, Model, ModelWrapper, Request, adapter_keeper, training_checkpoints
from ttsi.types import Adaptation, Prompt, TrainingData, TrainingExample

if TYPE_CHECKING:
    from ttsi.models.protocol import CheckpointStore

log = logging.getLogger(__name__)


class AdapterStore(Protocol):
    """A place that keeps one adapter, and before that the state of its training."""

    @property
    def checkpoint(self) -> CheckpointStore:
        """The place of the state; `write` empties it."""
        ...

    def read(self) -> tuple[bytes, Adaptation] | None:
        """The file of the adapter and the record of its training; None where there is none."""
        ...

    def write(self, file: bytes, adaptation: Adaptation) -> None:
        """Keep an adapter."""
        ...


@contextmanager
def supervised(
    model: Model, data: TrainingData, config: AdaptationConfig, seed: int, store: AdapterStore | None = None
) -> Iterator[Model]:
    """A model with one adapter for all, trained on the data in an order drawn by the seed, or read from the store.

    Args:
        model: the base.
        data: its pairs are learned.
        config: the settings of the adapter and of its training.
        seed: draws the order and the adapter's first weights.
        store: keeps the adapter when it is trained; None keeps it nowhere.

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
        yield FineTunedModel(model, examples, config, seed, stack, store)


class FineTunedModel(ModelWrapper):
    """A model with one adapter for all inputs; a request without an adapter goes to the base."""

    def __init__(
        self,
        model: Model,
        examples: Sequence[TrainingExample],
        config: AdaptationConfig,
        seed: int,
        stack: ExitStack,
        store: AdapterStore | None = None,
    ) -> None:
        super().__init__(model)
        self._examples, self._config, self._seed, self._stack, self._store = examples, config, seed, stack, store
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
        """Every job has the shared adapter, which is trained with the first ones; its earlier seconds are theirs."""
        earlier = 0.0
        if jobs and self._adaptation is None:
            trained = self._read() or self._train()
            earlier, self._adaptation = trained.earlier_seconds / len(jobs), replace(trained, earlier_seconds=0.0)
        yield [replace(self._adaptation, earlier_seconds=earlier) for _ in jobs if self._adaptation is not None]

    def _read(self) -> Adaptation | None:
        """Put the kept adapter on the model; the record of its training."""
        kept = self._store.read() if self._store is not None else None
        if kept is None:
            return None
        file, adaptation = kept
        self._stack.enter_context(adapter_keeper(self._model).with_adapters([file], self._config))
        return adaptation

    def _keep(self, adaptation: Adaptation) -> None:
        if self._store is not None:
            try:
                self._store.write(adapter_keeper(self._model).adapter_file(0), adaptation)
            except Exception as error:  # the answers do not depend on the file
                log.warning("the adapter is not kept (%s: %s)", type(error).__name__, first_line(error))

    def _train(self) -> Adaptation:
        store = self._store
        checkpoints = nullcontext() if store is None else training_checkpoints(self._model, store.checkpoint)
        try:
            with checkpoints:
                [trained] = self._stack.enter_context(self._model.adapted([self._examples], self._config, [self._seed]))
        except ConfigError:
            raise
        except Exception as error:
            # Once is enough: it would fail in the same way for every input, and the base can answer.
            return Adaptation("training-failed", reason=f"{type(error).__name__}: {first_line(error)}")
        # Thousands of inputs would otherwise each store the losses of thousands of steps.
        losses = trained.losses[:1] + trained.losses[-1:]
        if trained.status != "trained":
            return replace(trained, status="training-failed", losses=losses)
        adaptation = replace(trained, status="shared", losses=losses)
        self._keep(replace(adaptation, earlier_seconds=0.0))
        return adaptation
