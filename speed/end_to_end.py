"""The whole loop, beside the same loop built from the usual parts.

Work: the preset `ttsi` on the first inputs of toolworld with the embedded model: measure, write, learn, answer. The
peer runs the very same `ttsi.loop` and settings, one input at a time, on a model that scores, generates and trains in
the usual ways (N0, N1, N2: speed/peers.py) and draws its samples by our rule, so that both sides write the same
examples. Same results: the share of inputs with other answers is at most 2 % (rounding may flip a tie).

`unsure_input_vs_plain_answer` is no peer but a price: the time of TT-SI on every input by that of plain answers.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace
from typing import Any

import torch
from transformers import LogitsProcessor, LogitsProcessorList, StoppingCriteria, StoppingCriteriaList

from speed import peers
from speed.measure import Case
from speed.shapes import model_of, tokenizer
from ttsi.answer import generate_answers
from ttsi.benchmarks import load as load_benchmark
from ttsi.config import AdaptationConfig, LoopConfig
from ttsi.engine import decoding
from ttsi.engine.anatomy import parameter_count
from ttsi.engine.constraint import Grammars
from ttsi.engine.loss_guard import loss_guard
from ttsi.engine.optimizer import TrainReport
from ttsi.engine.training_job import TrainingJob
from ttsi.loop import improve
from ttsi.methods import preset
from ttsi.models import Generation, Model, Request
from ttsi.models.local import LocalModel
from ttsi.models.prefix_store import PrefixStore
from ttsi.models.temporary_adapters import engine_config, with_training, without_training
from ttsi.types import Adaptation, Input, Prompt, TrainingExample

SHAPE = "embedded"
TOLERANCE = 0.02
BATCH = 64
TIERS = {
    "end_to_end_vs_peft_loop": "N1",
    "end_to_end_vs_peft_cache": "N2",
    "end_to_end_vs_trainer": "N0",
}
KEYS = (*TIERS, "unsure_input_vs_plain_answer")
Answers = list[tuple[str, str]]


class OurRule(LogitsProcessor):
    """Lets `generate` take the token that our rule takes: the best or the row's own draw, under its grammar."""

    def __init__(self, row: decoding.DecodingRow, grammars: Grammars | None) -> None:
        """For one row."""
        self.writer, self._grammars, self._steps = decoding._begin(row, grammars), grammars, 0

    def __call__(self, input_ids: Any, scores: Any) -> Any:
        """Only the taken token is left."""
        logprobs_BV = scores.float().log_softmax(-1)
        allowed_BV = self._grammars.allowed_tokens([self.writer.matcher]) if self._grammars is not None else None
        masked_BV = logprobs_BV
        if allowed_BV is not None:
            masked_BV = logprobs_BV.masked_fill(~allowed_BV.to(scores.device), -torch.inf)
        place, self._steps = self._steps, self._steps + 1
        if place < len(self.writer.ids):  # the grammar forced it behind an earlier choice
            token = self.writer.ids[place]
            del self.writer.unread[: min(place, 1)]
            self.writer.add_logprob(float(logprobs_BV[0, token]))
        else:
            self.writer.unread.clear()
            token = int(decoding._pick(masked_BV, [self.writer], [True])[0])
            self.writer.take(token, float(logprobs_BV[0, token]))
        return torch.full_like(scores, -torch.inf).index_fill(1, torch.tensor([token], device=scores.device), 0.0)


class Done(StoppingCriteria):
    """Stops when the rule's row is done."""

    def __init__(self, rule: OurRule) -> None:
        """For one row."""
        self._rule = rule

    def __call__(self, input_ids: Any, scores: Any, **_: Any) -> Any:
        """One flag per row."""
        return torch.full((1,), self._rule.writer.done, device=input_ids.device)


class OneByOne(LocalModel):
    """A local model used in the usual ways, one request and one adapter at a time."""

    def __init__(self, local: LocalModel, config: AdaptationConfig, tier: str, invocation: Sequence[int] = ()) -> None:
        """Tier N0, N1 or N2 (speed/peers.py); with `invocation`, adapters that act behind these tokens."""
        super().__init__(local.spec, local.model, local.tokenizer)
        self.use(local.handshake)
        model = local.model
        _ = self._grammars  # compiled before the model is wrapped
        settings = engine_config(config, parameter_count(model))
        self._loop = peers.PeftLoop(model, settings, "transformers" if tier == "N0" else None, invocation)
        self._score = peers.cached_prompt(model) if tier == "N2" else peers.forward_each(model)

    @contextmanager
    def prefix_cache(self, store: PrefixStore | None = None) -> Iterator[None]:
        """Nothing is remembered."""
        yield

    def _base(self) -> AbstractContextManager[Any]:
        tuned = self._loop.tuned
        return nullcontext() if tuned is None else tuned.disable_adapter()

    def generate(self, requests: Sequence[Request]) -> list[Generation]:
        """`generate` for each."""
        return [self._write(self._row(request)) for request in requests]

    def _write(self, row: decoding.DecodingRow) -> Generation:
        rule = OurRule(row, self._grammars if row.grammar is not None else None)
        with self._base() if row.slot < 0 else nullcontext():
            peers.generate(
                self._loop.tuned or self.model, row.ids, row.max_tokens, self.model.device, min_new_tokens=1,
                logits_processor=LogitsProcessorList([rule]), stopping_criteria=StoppingCriteriaList([Done(rule)]),
            )  # fmt: skip
        return self._generation(row, rule.writer.result())

    def score(
        self, prompts: Sequence[Prompt], continuations: Sequence[Sequence[str]], adapters: Sequence[int | None] = ()
    ) -> list[list[float]]:
        """A forward pass per candidate, or one per prompt and one for its candidates (N2); under the base alone."""
        if any(adapter is not None for adapter in adapters):
            raise NotImplementedError("the peers score under the base: compare answers without rerank")
        items = [
            (self.encoder.encode_prompt(prompt), [self.encoder.encode_text(text) for text in texts])
            for prompt, texts in zip(prompts, continuations, strict=True)
        ]
        with self._base():
            return self._score(items)

    @contextmanager
    def adapted(
        self, jobs: Sequence[Sequence[TrainingExample]], config: AdaptationConfig, seeds: Sequence[int]
    ) -> Iterator[list[Adaptation]]:
        """At most one job: the loop brings one input at a time."""
        outcomes = [without_training(len(training_examples)) for training_examples in jobs]
        self.adapters.slots = {}
        try:
            for index, (training_examples, seed) in enumerate(zip(jobs, seeds, strict=True)):
                if examples := self.encode_examples(training_examples):
                    losses, _ = self._loop.train(examples, seed)
                    reason = loss_guard(losses, config.max_loss_rise) or ""
                    report = TrainReport(0, tuple(losses), (), not reason, reason)
                    job, left_out = TrainingJob(0, tuple(examples)), len(training_examples) - len(examples)
                    rate = self._loop.config.lr
                    outcomes[index] = with_training(job, report, left_out, rate)
                    self.adapters.slots = {index: 0} if outcomes[index].status == "trained" else {}
            yield outcomes
        finally:
            self.adapters.slots = None
            self._loop.drop()


def cases(shape: str, device: torch.device, quick: bool) -> Iterator[Case]:
    """One per tier, and the price of an unsure input."""
    config = preset("ttsi", "embedded")
    inputs = [sample.input for sample in load_benchmark("toolworld", None, "test").samples[: 4 if quick else 128]]
    model = LocalModel("embedded", model_of(shape, device), tokenizer())
    task = f"{shape}, toolworld, {len(inputs)} inputs, preset ttsi, batches of {BATCH}"
    for key, tier in TIERS.items():
        peer = OneByOne(LocalModel("embedded", model_of(shape, device), tokenizer()), config.adaptation, tier)
        yield Case(
            key, f"{tier}, one input at a time", task,
            ours=lambda: in_batches(model, inputs, config, BATCH),
            peer=lambda peer=peer: in_batches(peer, inputs, config, 1),
            difference=share_of_others, tolerance=TOLERANCE, takes_minutes=not quick,
        )  # fmt: skip
    everything = replace(config, awareness=replace(config.awareness, gate="all"))
    yield Case(
        "unsure_input_vs_plain_answer", "TT-SI on every input (a price: lower is better)", task,
        ours=lambda: plain_answers(model, inputs, config),
        peer=lambda: [(base, base) for base, _ in in_batches(model, inputs, everything, BATCH)],
        difference=share_of_others, tolerance=TOLERANCE, takes_minutes=not quick,
    )  # fmt: skip


def in_batches(model: Model, inputs: Sequence[Input], config: LoopConfig, size: int) -> Answers:
    """(base, final) texts of all inputs, so many at a time.

    Raises:
        RuntimeError: an input failed, so there is nothing to compare.
    """
    answers: Answers = []
    for start in range(0, len(inputs), size):
        for episode in improve(inputs[start : start + size], model, model, config):
            if episode.base is None or episode.adapted is None:
                raise RuntimeError(f"{episode.input_id} failed: {episode.error}")
            if episode.adaptation.status == "training-failed":
                raise RuntimeError(f"{episode.input_id} was not trained: {episode.adaptation.reason}")
            answers.append((episode.base.text, episode.adapted.text))
    return answers


def plain_answers(model: Model, inputs: Sequence[Input], config: LoopConfig) -> Answers:
    """Answers of the base, nothing else."""
    answers = [
        answer
        for start in range(0, len(inputs), BATCH)
        for answer in generate_answers(model, inputs[start : start + BATCH], config.answer)
    ]
    return [(answer.text, answer.text) for answer in answers]


def share_of_others(ours: Answers, theirs: Answers) -> float:
    """Share of the inputs with another base or final answer."""
    return sum(one != other for one, other in zip(ours, theirs, strict=True)) / len(ours)
