"""Training of the embedded model.

From scratch, on unlimited rows of the corpus, with Muon for matrices and AdamW for the rest. Inputs: a folder for
checkpoints and a number of steps. Outputs: a folder that `AutoModelForCausalLM` and `AutoTokenizer` load.

    python -m toolworld.train --work-dir build/embedded     # resumes by itself
    python -m toolworld.train --work-dir build/strict --strict --fork build/embedded/fork.pt
    python -m toolworld.train --work-dir build/longer --start ttsi/embedded/weights --steps 9500 --seed 5

The same seed gives the same rows, and a resumed run continues with the row after the checkpoint. The strict and the
usual model read the same rows up to `fork`, without anything of a held-out domain; after it only the usual one learns
to write requests of some of them. On 2 CPU cores 13,600 steps of 8 x 384 tokens take about 75 minutes.
"""

from __future__ import annotations

import argparse
import json
import logging
import math
import random
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset

from toolworld.corpus import Corpus, Mix, TrainingRow
from toolworld.freeze import banned_hashes

log = logging.getLogger("toolworld.train")


@dataclass(frozen=True)
class TrainingRun:
    """All settings that determine the weights."""

    steps: int = 13600
    rows: int = 8
    length: int = 384
    seed: int = 0
    vocab_size: int = 4096
    hidden: int = 192
    layers: int = 4
    heads: int = 6
    mlp: int = 512
    muon_lr: float = 3e-3
    adam_lr: float = 3e-3
    warmup: int = 100
    decay_share: float = 2 / 3
    fork: float = 0.75
    """Share of the steps after which training writes requests of held-out domains. The state at that step is kept."""
    strict: bool = False
    """Leave the held-out domains out of training altogether."""


def continuation(run: TrainingRun) -> TrainingRun:
    """The settings for continuing a finished model: a lower learning rate that falls from the start, and requests of
    held-out domains from the first row, as in the run before."""
    return replace(run, muon_lr=1.8e-3, adam_lr=1.8e-3, warmup=200, decay_share=0.98, fork=0.0)


def build_tokenizer(run: TrainingRun) -> Any:
    """Learn the tokenizer on text of the first rows, written with a throw-away tokenizer's template."""
    from toolworld import tokenizer as pieces
    from toolworld.corpus import answer_text, prompt_text
    from toolworld.styles import trained_way
    from toolworld.world import draw_exchange, draw_scene

    template = pieces.learn(["seed"], 300)

    def texts() -> Iterator[str]:
        rng = random.Random(run.seed)
        for number in range(12000):
            scene = draw_scene("training" if number % 2 else "invented", rng, renamed=Mix.renamed)
            exchange = draw_exchange(rng.choice(scene.offers), trained_way(rng), rng)
            yield prompt_text(template, exchange.messages, scene) + answer_text(scene, exchange)
        yield from ["write a call like: write a request like:\nRequest: "] * 50

    return pieces.learn(texts(), run.vocab_size)


def build_model(run: TrainingRun, tokenizer: Any) -> Any:
    """A randomly initialised Qwen2 decoder."""
    from transformers import Qwen2Config, Qwen2ForCausalLM

    torch.manual_seed(run.seed)
    config = Qwen2Config(
        vocab_size=run.vocab_size,
        hidden_size=run.hidden,
        num_hidden_layers=run.layers,
        num_attention_heads=run.heads,
        num_key_value_heads=run.heads,
        intermediate_size=run.mlp,
        max_position_embeddings=2048,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    return Qwen2ForCausalLM(config)


def as_llama(model: Any) -> Any:
    """The same function as a Llama model, with zero biases where Qwen2 has none.

    `AutoTokenizer` gives every folder of model type qwen2 Qwen's own pre-tokenizer, whatever its files say
    (transformers 5.23), which would cut numbers differently from training.
    """
    from transformers import LlamaConfig, LlamaForCausalLM

    shared = ("vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads")
    more = ("intermediate_size", "max_position_embeddings", "tie_word_embeddings", "rms_norm_eps", "rope_parameters")
    tokens = ("bos_token_id", "eos_token_id", "pad_token_id")
    settings = {name: getattr(model.config, name) for name in (*shared, *more, *tokens)}
    twin = LlamaForCausalLM(LlamaConfig(**settings, attention_bias=True))
    state = twin.state_dict()
    zeros = {name: torch.zeros_like(state[name]) for name in state if name.endswith("o_proj.bias")}
    twin.load_state_dict({**model.state_dict(), **zeros})
    return twin.eval()


def exported_weights(folder: Path) -> dict[str, Tensor]:
    """The weights of an exported model, named as in training: what `as_llama` added is left out."""
    from transformers import AutoModelForCausalLM

    state: dict[str, Tensor] = AutoModelForCausalLM.from_pretrained(folder).state_dict()
    return {name: tensor for name, tensor in state.items() if not name.endswith("o_proj.bias")}


def tensors(rows: list[TrainingRow]) -> dict[str, Tensor]:
    """Rows as tensors: ids, positions, labels, weights `[rows, T]` and the attention mask `[rows, 1, T, T]`."""
    ids_BT = torch.tensor([row.ids for row in rows])
    blocks_BT = torch.tensor([row.blocks for row in rows])
    size = ids_BT.shape[1]
    same_BTT = blocks_BT[:, :, None] == blocks_BT[:, None, :]
    prefix_BTT = (blocks_BT == 0)[:, None, :].expand(-1, size, -1)
    seen_BTT = (same_BTT | prefix_BTT) & torch.ones(size, size, dtype=torch.bool).tril()
    return {
        "ids": ids_BT,
        "positions": torch.tensor([row.positions for row in rows]),
        "labels": torch.tensor([row.labels for row in rows]),
        "weights": torch.tensor([row.weights for row in rows]),
        "mask": seen_BTT[:, None],
    }


def weighted_loss(model: Any, body: Any, batch: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
    """Weighted mean cross entropy (nats), and where the first choice is not the label `[rows, T]`.

    The vocabulary head runs at labelled positions only, a quarter of all. `body` is the compiled `model.model`.
    """
    hidden_BTD = body(
        input_ids=batch["ids"], attention_mask=batch["mask"], position_ids=batch["positions"], use_cache=False
    ).last_hidden_state
    labelled_BT = batch["labels"] != -100
    labels_N, weights_N = batch["labels"][labelled_BT], batch["weights"][labelled_BT]
    logits_NV = model.lm_head(hidden_BTD[labelled_BT]).float()
    nll_N = functional.cross_entropy(logits_NV, labels_N, reduction="none")
    wrong_BT = torch.zeros_like(labelled_BT)
    wrong_BT[labelled_BT] = logits_NV.argmax(-1) != labels_N
    return (nll_N * weights_N).sum() / weights_N.sum(), wrong_BT


def optimizers(model: Any, run: TrainingRun) -> list[torch.optim.Optimizer]:
    """Muon for the matrices inside the layers, AdamW for embeddings, norms and biases."""
    matrices = [p for name, p in model.named_parameters() if p.ndim == 2 and "embed" not in name]
    others = [p for name, p in model.named_parameters() if p.ndim != 2 or "embed" in name]
    muon = torch.optim.Muon(matrices, lr=run.muon_lr, adjust_lr_fn="match_rms_adamw", ns_steps=4, weight_decay=0.01)
    adam = torch.optim.AdamW(others, lr=run.adam_lr, betas=(0.9, 0.98), weight_decay=0.0, fused=True)
    return [muon, adam]


def rate(step: int, run: TrainingRun) -> float:
    """Learning-rate factor of a step: linear warm-up, flat, linear decay over the last `decay_share`."""
    decay_from = run.steps * (1 - run.decay_share)
    falling = (run.steps - step) / (run.steps - decay_from) if step > decay_from else 1.0
    return min(1.0, (step + 1) / run.warmup) * max(0.0, falling)


def progress_report(model: Any, batches: list[dict[str, Tensor]]) -> dict[str, float]:
    """Loss, and the share of pieces whose every weighted label is the model's first choice (exact under greedy)."""
    losses, right, total = [], 0, 0
    model.eval()
    with torch.no_grad():
        for batch in batches:
            loss, wrong_BT = weighted_loss(model, model.model, batch)
            losses.append(loss.item())
            for wrong_T, answers_T in zip(wrong_BT, batch["answers"], strict=True):
                pieces = [wrong_T[answers_T == number] for number in answers_T.unique().tolist() if number]
                total += len(pieces)
                right += sum(not piece.any() for piece in pieces)
    model.train()
    return {"loss": sum(losses) / len(losses), "exact": 100 * right / max(total, 1), "n": total}


def held_back_batches(corpus: Corpus, run: TrainingRun) -> list[dict[str, Tensor]]:
    """Rows that training never sees, for the progress line; `answers` numbers the pieces that answer."""
    batches = []
    for start in range(0, 64, run.rows):
        rows = corpus.rows(-1 - run.seed, start, run.rows)
        batch = tensors(rows)
        batch["blocks"] = torch.tensor([row.blocks for row in rows]).clamp(min=0)
        heavy_BT = batch["weights"] >= 1.0
        first = torch.zeros_like(batch["blocks"])
        for number in range(1, int(batch["blocks"].max()) + 1):
            inside = batch["blocks"] == number
            answers = (inside & (batch["weights"] > 1.0)).any(dim=1, keepdim=True)
            first += number * (inside & heavy_BT & answers)
        batch["answers"] = first
        batches.append(batch)
    return batches


class _Batches(Dataset[dict[str, Tensor]]):
    """Batch `step` of a corpus, for a loader."""

    def __init__(self, trainer: Trainer) -> None:
        self.corpus, self.run = trainer.corpus, trainer.run

    def __getitem__(self, step: int) -> dict[str, Tensor]:
        return tensors(self.corpus.rows(self.run.seed, step * self.run.rows, self.run.rows))


class Trainer:
    """One training run with its checkpoints; `fit` continues where the folder left off."""

    def __init__(self, run: TrainingRun, work_dir: Path, start: Path | None = None) -> None:
        """Build everything anew, or with tokenizer and weights of the model in `start`; `resume` loads a checkpoint."""
        self.run, self.work_dir = run, work_dir
        work_dir.mkdir(parents=True, exist_ok=True)
        self.tokenizer = self._tokenizer(start)
        self.model = build_model(run, self.tokenizer)
        if start is not None:
            self.model.load_state_dict(exported_weights(start))
        self.optimizers = optimizers(self.model, run)
        self.fork_step = math.floor(run.fork * run.steps)
        mix = Mix(reverse=0.0) if run.strict else Mix(reverse_from=self.fork_step * run.rows)
        self.corpus = Corpus(self.tokenizer, run.length, banned_hashes(), mix)
        self.step = 0

    def _tokenizer(self, start: Path | None) -> Any:
        from transformers import AutoTokenizer

        folder = self.work_dir / "tokenizer"
        if not folder.exists():
            made = build_tokenizer(self.run) if start is None else AutoTokenizer.from_pretrained(start)
            made.save_pretrained(folder)
        return AutoTokenizer.from_pretrained(folder)

    def resume(self, fork: Path | None = None) -> None:
        """Load the last checkpoint of the folder, else `fork`, the state of another run; without both, begin."""
        last = self.work_dir / "last.pt"
        path = last if last.exists() or fork is None else fork
        if path.exists():
            state = torch.load(path, weights_only=True)
            self.model.load_state_dict(state["model"])
            for optimizer, saved in zip(self.optimizers, state["optimizers"], strict=True):
                optimizer.load_state_dict(saved)
            self.step = state["step"]
            log.info("continuing %s at step %d", path, self.step)

    def save(self, name: str = "last.pt") -> None:
        """Write a checkpoint atomically."""
        state = {
            "model": self.model.state_dict(),
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
            "step": self.step,
        }
        torch.save(state, self.work_dir / "last.tmp")
        (self.work_dir / "last.tmp").replace(self.work_dir / name)

    def export(self, folder: Path) -> None:
        """Write model, tokenizer and what they were made with, in the layout of transformers."""
        as_llama(self.model).save_pretrained(folder)
        self.tokenizer.save_pretrained(folder)
        made = {**asdict(self.run), "step": self.step, "torch": torch.__version__}
        (folder / "training.json").write_text(json.dumps(made, indent=1), encoding="utf-8")

    def fit(self, keep: tuple[float, ...] = (0.5, 0.65, 0.8)) -> None:
        """Train to the end; keep the model at these shares of the way, too."""
        compiled = torch.compile(self.model.model)
        watched = held_back_batches(self.corpus, self.run)
        kept = {math.floor(share * self.run.steps): share for share in keep}
        started, first = time.monotonic(), self.step
        # A process of its own: a thread would hold the interpreter's lock while this one needs it.
        coming = DataLoader(_Batches(self), batch_size=None, sampler=range(first, self.run.steps), num_workers=1)
        for batch in coming:
            loss = self._update(compiled, batch)
            self.step += 1
            if self.step % 50 == 0:
                self._log_progress(loss, (time.monotonic() - started) / (self.step - first))
            if self.step % 500 == 0:
                log.info("step %d held back: %s", self.step, progress_report(self.model, watched))
                self.save()
            if self.step == self.fork_step:
                self.save("fork.pt")
            if self.step in kept:
                self.export(self.work_dir / f"at-{kept[self.step]:.2f}")
        self.save()
        self.export(self.work_dir / "final")

    def _update(self, compiled: Any, batch: dict[str, Tensor]) -> float:
        for optimizer, peak in zip(self.optimizers, (self.run.muon_lr, self.run.adam_lr), strict=True):
            optimizer.param_groups[0]["lr"] = peak * rate(self.step, self.run)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            loss, _ = weighted_loss(self.model, compiled, batch)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        for optimizer in self.optimizers:
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        return float(loss.detach())

    def _log_progress(self, loss: float, seconds: float) -> None:
        left = (self.run.steps - self.step) * seconds / 60
        tokens = self.run.rows * self.run.length / seconds
        log.info("step %d/%d loss %.3f %.0f tok/s %.0f min left", self.step, self.run.steps, loss, tokens, left)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--work-dir", type=Path, required=True, help="checkpoints and the finished model go here")
    parser.add_argument("--steps", type=int, default=TrainingRun.steps)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--strict", action="store_true", help="never show the held-out domains, not even in writing")
    begin = parser.add_mutually_exclusive_group()
    begin.add_argument("--fork", type=Path, help="begin with this state: fork.pt of a run that is not strict, yet")
    begin.add_argument("--start", type=Path, help="go on with a finished model, at less than the full learning rate")
    given = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    run = TrainingRun(steps=given.steps, seed=given.seed, strict=given.strict)
    trainer = Trainer(continuation(run) if given.start else run, given.work_dir, given.start)
    trainer.resume(given.fork)
    trainer.fit()


if __name__ == "__main__":
    main()
