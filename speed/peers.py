"""The usual ways to score, train and write, as people would set them up.

Inputs: a model and the same work that our side gets. Outputs: the same results in the same form. Nothing here is made
slow on purpose: models are loaded once, sequences of one input share a padded batch, and what a library offers
(batching, key-value caches, in-place adapters) is used. Three tiers of the naive training loop:

    N0  a new PEFT model and a new Trainer for every input
    N1  one PEFT model, the adapter reset in place, a bare AdamW loop
    N2  N1 with hand-written reuse of the prompt's cache in scoring (`end_to_end.py`)
"""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import DynamicCache, PreTrainedModel, Trainer, TrainingArguments, default_data_collator

from speed.shapes import tokenizer
from ttsi.engine.engine_config import EngineConfig
from ttsi.engine.loglikelihood import ScoringItem
from ttsi.engine.lora import LoraStack
from ttsi.engine.packing import EncodedExample
from ttsi.engine.schedule import learning_rates

Scorer = Callable[[Sequence[ScoringItem]], list[list[float]]]


def lm_eval(model: PreTrainedModel) -> Scorer:
    """lm-evaluation-harness' HFLM with batches of 8."""
    from lm_eval.models.huggingface import HFLM

    scorer = HFLM(
        pretrained=model, tokenizer=tokenizer(), batch_size=8, max_length=model.config.max_position_embeddings
    )

    def score(items: Sequence[ScoringItem]) -> list[list[float]]:
        requests = [(("", ""), list(prompt), list(c)) for prompt, candidates in items for c in candidates]
        scores = iter(scorer._loglikelihood_tokens(requests, disable_tqdm=True))
        return [[float(next(scores)[0]) for _ in candidates] for _, candidates in items]

    return score


def minicons(model: PreTrainedModel) -> Scorer:
    """minicons' scorer, all candidates of a prompt in one batch."""
    from minicons.scorer import IncrementalLMScorer
    from transformers import BatchEncoding

    scorer = IncrementalLMScorer(model, device=str(model.device), tokenizer=tokenizer())

    def score(items: Sequence[ScoringItem]) -> list[list[float]]:
        sums = []
        for prompt, candidates in items:
            ids = torch.tensor([[*prompt, *candidate] for candidate in candidates], device=model.device)
            batch = BatchEncoding({"input_ids": ids, "attention_mask": torch.ones_like(ids)})
            scores = scorer.compute_stats((batch, [len(prompt) - 1] * len(candidates)), return_tensors=True)
            sums.append([float(row.sum()) for row in scores])
        return sums

    return score


def forward_each(model: PreTrainedModel) -> Scorer:
    """A forward pass and a log-softmax over all positions for every candidate."""

    @torch.no_grad()
    def score(items: Sequence[ScoringItem]) -> list[list[float]]:
        return [[_logprob(model, [*prompt, *c], len(prompt)) for c in candidates] for prompt, candidates in items]

    return score


def cached_prompt(model: PreTrainedModel) -> Scorer:
    """The prompt once, its cache repeated for all candidates, which go through in one padded batch."""

    @torch.no_grad()
    def score(items: Sequence[ScoringItem]) -> list[list[float]]:
        return [_behind(model, prompt, candidates) if candidates else [] for prompt, candidates in items]

    return score


def _behind(model: PreTrainedModel, prompt: Sequence[int], candidates: Sequence[Sequence[int]]) -> list[float]:
    cache, device = DynamicCache(), model.device
    first = model(input_ids=torch.tensor([prompt], device=device), past_key_values=cache, logits_to_keep=1).logits
    cache.batch_repeat_interleave(len(candidates))
    longest = max(map(len, candidates))
    ids_CT = torch.tensor([[*ids, *[0] * (longest - len(ids))] for ids in candidates], device=device)
    rest = model(input_ids=ids_CT, past_key_values=cache).logits
    logits_CTV = torch.cat([first.expand(len(candidates), 1, -1), rest[:, :-1]], dim=1).float()
    logprobs_CT = logits_CTV.log_softmax(-1).gather(2, ids_CT[:, :, None])[:, :, 0]
    return [float(logprobs_CT[at, : len(ids)].sum()) for at, ids in enumerate(candidates)]


def _logprob(model: PreTrainedModel, ids: list[int], n_prompt: int) -> float:
    if len(ids) == n_prompt:
        return 0.0
    logprobs_TV = model(input_ids=torch.tensor([ids], device=model.device)).logits[0].float().log_softmax(-1)
    targets = torch.tensor(ids[n_prompt:], device=model.device)
    return float(logprobs_TV[n_prompt - 1 : -1].gather(1, targets[:, None]).sum())


def pad(examples: Sequence[EncodedExample], device: torch.device) -> dict[str, Tensor]:
    """Ids, mask and labels as Hugging Face takes them: one example per row, -100 where there is no label."""
    longest = max(len(ids) for ids, _ in examples)
    gaps = [longest - len(ids) for ids, _ in examples]
    columns = {
        "input_ids": [[*ids, *[0] * gap] for (ids, _), gap in zip(examples, gaps, strict=True)],
        "attention_mask": [[*[1] * len(ids), *[0] * gap] for (ids, _), gap in zip(examples, gaps, strict=True)],
        "labels": [
            [*[-100] * n, *ids[n:], *[-100] * gap] for (ids, n), gap in zip(examples, gaps, strict=True)
        ],
    }  # fmt: skip
    return {name: torch.tensor(rows, device=device) for name, rows in columns.items()}


class PeftLoop:
    """One adapter after another with PEFT; every adapter starts where ours does."""

    def __init__(
        self, model: PreTrainedModel, config: EngineConfig, trainer: str | None = None, invocation: Sequence[int] = ()
    ) -> None:
        """Tier N1, or N0 with `trainer` "transformers" or "trl"; with `invocation`, PEFT's activated adapters."""
        self.model, self.config, self.trainer = model, config, trainer
        self._scope = {"alora_invocation_tokens": list(invocation)} if invocation else {}
        self._starts = LoraStack(model, 1, config.rank, config.alpha)
        self._tuned: Any = None if trainer else self._new_peft_model()

    def _new_peft_model(self) -> Any:
        from peft import LoraConfig, get_peft_model

        settings = {**self._starts.peft_config(), "inference_mode": False, **self._scope}
        return get_peft_model(self.model, LoraConfig(**settings))

    def train(self, examples: Sequence[EncodedExample], seed: int) -> tuple[list[float], dict[str, Tensor]]:
        """(loss before each step, the trained adapter); it stays on the model until the next one or `drop`."""
        from peft import get_peft_model_state_dict, set_peft_model_state_dict

        if self.trainer:
            self.drop()
            self._tuned = self._new_peft_model()
        self._starts.reset([0], [seed])
        set_peft_model_state_dict(self._tuned, self._starts.export(0)[0])
        self._tuned.train()
        losses = self._with_trainer(examples) if self.trainer else self._bare(examples)
        self._tuned.eval()
        return losses, {name: value.clone() for name, value in get_peft_model_state_dict(self._tuned).items()}

    @property
    def tuned(self) -> Any:
        """The model with the adapter on it."""
        return self._tuned

    def drop(self) -> None:
        """Tier N0: take the adapter off; the base is as it was."""
        if self.trainer and self._tuned is not None:
            self.model, self._tuned = self._tuned.unload(), None

    def _plan(self, examples: Sequence[EncodedExample]) -> tuple[list[Sequence[EncodedExample]], list[float]]:
        size = self.config.batch_size or len(examples)
        batches = [examples[at : at + size] for at in range(0, len(examples), size)] * self.config.epochs
        return batches, list(learning_rates(self.config, len(batches)))

    def _bare(self, examples: Sequence[EncodedExample]) -> list[float]:
        parameters = [parameter for parameter in self._tuned.parameters() if parameter.requires_grad]
        optimizer = torch.optim.AdamW(parameters, lr=1.0, weight_decay=self.config.weight_decay)
        losses = []
        for batch, rate in zip(*self._plan(examples), strict=True):
            optimizer.param_groups[0]["lr"] = rate
            loss = self._tuned(**pad(batch, self.model.device), use_cache=False).loss
            loss.backward()
            torch.nn.utils.clip_grad_norm_(parameters, self.config.max_grad_norm)
            optimizer.step()
            optimizer.zero_grad()
            losses.append(float(loss.detach()))
        return losses

    def _with_trainer(self, examples: Sequence[EncodedExample]) -> list[float]:
        batches, rates = self._plan(examples)
        parameters = [parameter for parameter in self._tuned.parameters() if parameter.requires_grad]
        optimizer = torch.optim.AdamW(parameters, lr=1.0, weight_decay=self.config.weight_decay)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: [*rates, 0.0][step])
        columns = pad(examples, torch.device("cpu"))
        rows = [{name: values[row] for name, values in columns.items()} for row in range(len(examples))]
        with tempfile.TemporaryDirectory() as folder:
            settings: dict[str, Any] = {
                "output_dir": folder, "per_device_train_batch_size": len(batches[0]), "logging_steps": 1,
                "num_train_epochs": self.config.epochs, "max_grad_norm": self.config.max_grad_norm,
                "report_to": "none", "save_strategy": "no", "disable_tqdm": True, "bf16": False,
                "dataloader_pin_memory": False, "use_cpu": self.model.device.type == "cpu",
            }  # fmt: skip
            trainer = self._trainer(settings, rows, (optimizer, schedule))
            trainer.remove_callback(_printer())
            trainer.train()
        return [float(entry["loss"]) for entry in trainer.state.log_history if "loss" in entry]

    def _trainer(self, settings: dict[str, Any], rows: list[dict[str, Tensor]], optimizers: Any) -> Any:
        if self.trainer == "transformers":
            return Trainer(
                self._tuned, TrainingArguments(**settings), train_dataset=rows,  # type: ignore[arg-type]
                data_collator=default_data_collator, optimizers=optimizers,
            )  # fmt: skip
        from datasets import Dataset
        from trl import SFTConfig, SFTTrainer

        kept = [{name: row[name].tolist() for name in ("input_ids", "labels")} for row in rows]
        arguments = SFTConfig(**settings, dataset_kwargs={"skip_prepare_dataset": True}, gradient_checkpointing=False)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return SFTTrainer(
                self._tuned, arguments, train_dataset=Dataset.from_list(kept), processing_class=tokenizer(),
                optimizers=optimizers,
            )  # fmt: skip


def _printer() -> Any:
    from transformers import PrinterCallback

    return PrinterCallback


@torch.no_grad()
def generate(model: Any, ids: Sequence[int], length: int, device: torch.device, **settings: Any) -> Tensor:
    """What transformers' `generate` writes behind one prompt: [sequences, length]."""
    prompt = torch.tensor([ids], device=device)
    usual = {"min_new_tokens": length, "do_sample": False, "pad_token_id": 0, "eos_token_id": None}
    mask = torch.ones_like(prompt)
    written = model.generate(input_ids=prompt, attention_mask=mask, max_new_tokens=length, **{**usual, **settings})
    new_tokens: Tensor = written[:, len(ids) :].cpu()
    return new_tokens
