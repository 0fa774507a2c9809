"""Does training go on where it left off: after an interruption, and from a model that was finished before?"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from toolworld import tokenizer as pieces
from toolworld.train import Trainer, TrainingRun, continuation, rate, tensors

TINY = TrainingRun(steps=6, rows=1, length=256, hidden=16, layers=1, heads=2, mlp=24)


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return pieces.learn(["book the hotel in Oslo", "write a call like: write a request like:"], 300)


def trainer(folder: Path, tokenizer: Any, run: TrainingRun = TINY, start: Path | None = None) -> Trainer:
    if start is None:
        tokenizer.save_pretrained(folder / "tokenizer")  # what is there is not learned again
    return Trainer(run, folder, start)


def train(one: Trainer, until: int) -> list[float]:
    """`Trainer.fit` without compiling, which takes longer than these steps."""
    losses = []
    while one.step < until:
        batch = tensors(one.corpus.rows(one.run.seed, one.step * one.run.rows, one.run.rows))
        losses.append(one._update(one.model.model, batch))
        one.step += 1
    return losses


def weights(one: Trainer) -> list[torch.Tensor]:
    return [tensor.clone() for tensor in one.model.state_dict().values()]


def same(first: Trainer, second: Trainer) -> bool:
    return all(torch.equal(a, b) for a, b in zip(weights(first), weights(second), strict=True))


def test_an_interrupted_training_ends_in_the_same_bits(tmp_path: Path, tokenizer: Any) -> None:
    whole = trainer(tmp_path / "whole", tokenizer)
    train(whole, 6)
    begun = trainer(tmp_path / "begun", tokenizer)
    train(begun, 3)
    begun.save()
    resumed = trainer(tmp_path / "begun", tokenizer)
    assert not same(resumed, begun), "control: so far it is a new model"
    resumed.resume()
    assert resumed.step == 3 and same(resumed, begun)
    assert train(resumed, 6)
    assert same(resumed, whole)


def test_control_other_rows_make_another_model(tmp_path: Path, tokenizer: Any) -> None:
    first, second = trainer(tmp_path / "first", tokenizer), trainer(tmp_path / "second", tokenizer)
    assert same(first, second)
    train(first, 2)
    second.step = 4
    train(second, 6)
    assert not same(first, second)


def test_a_finished_model_is_where_another_training_starts(tmp_path: Path, tokenizer: Any) -> None:
    first = trainer(tmp_path / "first", tokenizer)
    train(first, 3)
    first.export(tmp_path / "final")
    longer = trainer(tmp_path / "longer", tokenizer, continuation(TINY), tmp_path / "final")
    assert same(longer, first) and longer.step == 0
    assert longer.tokenizer.get_vocab() == first.tokenizer.get_vocab()
    assert not same(trainer(tmp_path / "new", tokenizer), first), "control: without it, a new model begins"


def test_going_on_is_gentler_and_knows_that_held_out_domains_were_met() -> None:
    run = TrainingRun(steps=1000)
    more = continuation(run)
    assert more.muon_lr < run.muon_lr and more.adam_lr < run.adam_lr and more.fork == 0.0
    assert rate(300, more) < 1.0 == rate(300, run), "the rate falls from the start"
