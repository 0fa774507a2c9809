"""A base that changed stops the run before anything wrong is recorded; a thousand adaptations change nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.worlds import rows, write
from ttsi.benchmarks import load as load_benchmark
from ttsi.config import AdaptationConfig, RunConfig
from ttsi.errors import ModelError
from ttsi.methods import preset
from ttsi.models import load, temporary_adapters
from ttsi.models.local import LocalModel
from ttsi.runs.integrity import WeightsIntegrity
from ttsi.runs.provenance import resolve
from ttsi.runs.runner import run
from ttsi.runs.store import open_run, read_rows
from ttsi.types import Message, Prompt, TrainingExample

JOBS, ROUNDS = 25, 40
CONFIG = AdaptationConfig(rank=2, epochs=2, lr=1e-2)


@pytest.fixture
def model(saved_model: Callable[[str], Path]) -> LocalModel:
    loaded = load(str(saved_model("qwen2")), device="cpu")
    assert isinstance(loaded, LocalModel)
    return loaded


def training_examples(number: int) -> list[TrainingExample]:
    return [TrainingExample(Prompt((Message("user", f"say {number}"),), ()), f"{number}")]


def test_a_thousand_adaptations_of_which_a_hundred_fail_leave_the_base_as_it_was(
    model: LocalModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    seal, before = WeightsIntegrity(model), model.weights_sha256()
    trained, failed = 0, Counter[str]()
    jobs = [training_examples(i) for i in range(JOBS)]
    for number in range(ROUNDS):
        fault = FAULTS.get(number, "")
        with monkeypatch.context() as patch:
            if fault == "training":
                patch.setattr(temporary_adapters, "train", out_of_memory_after(temporary_adapters.train))
            lr = 1e30 if fault == "divergence" else 1e-2
            try:
                with model.adapted(jobs, replace(CONFIG, lr=lr), range(JOBS)) as outcomes:
                    if fault == "answer":
                        raise KeyboardInterrupt
                    statuses = Counter(outcome.status for outcome in outcomes)
                trained, failed["divergence"] = (
                    trained + statuses["trained"],
                    failed["divergence"] + statuses["training-failed"],
                )
            except (MemoryError, KeyboardInterrupt):
                failed[fault] += JOBS
        seal.check()
    seal.check_fully()
    assert (trained, failed.total(), len(failed)) == (900, 100, 3)
    assert model.weights_sha256() == before


FAULTS = {7: "training", 15: "answer", 22: "training", 30: "divergence"}
"""Round -> where it fails."""


def out_of_memory_after(real: Callable[..., Any]) -> Callable[..., Any]:
    def train(*arguments: Any, **settings: Any) -> Any:
        real(*arguments, **settings)
        raise MemoryError

    return train


def test_control_a_merged_adapter_is_caught(model: LocalModel) -> None:
    import torch

    seal = WeightsIntegrity(model)
    weight = model.model.get_submodule("model.layers.0.self_attn.q_proj").weight
    update = torch.full(weight.shape, 1e-3)  # once merged and taken back
    weight.data.add_(update).sub_(update)
    for check in (seal.check, seal.check_fully):
        with pytest.raises(ModelError, match="base weights are not what they were"):
            check()


class Merging:
    """A model that writes into its base in the nth batch."""

    def __init__(self, model: Any, nth: int) -> None:
        self._model, self._left, self._checksum = model, nth, 0
        self.spec, self.format = model.spec, model.format

    def __getattr__(self, name: str) -> Any:
        return getattr(self._model, name)

    def weights_checksum(self) -> int:
        return self._checksum

    def weights_sha256(self) -> str:
        return str(self._checksum)

    @contextmanager
    def adapted(self, jobs: Sequence[Any], config: Any, seeds: Sequence[int]) -> Iterator[Any]:
        self._left -= 1
        self._checksum = int(self._left <= 0)
        with self._model.adapted(jobs, config, seeds) as outcomes:
            yield outcomes


@pytest.mark.parametrize("nth", [1, 2, 99])
def test_a_batch_after_which_the_base_differs_is_not_recorded(tmp_path: Path, nth: int) -> None:
    file = write(tmp_path / "mine.jsonl", rows(6))
    config = RunConfig(str(file), "scripted:demo", loop=preset("ttsi", "embedded"), batch_size=2)
    benchmark, model = load_benchmark(config.benchmark), Merging(load("scripted:demo"), nth)
    with open_run(tmp_path / "run", resolve(config, benchmark, model, model)) as store:
        if nth == 99:  # control: without the fault the run goes through
            assert run(benchmark, model, model, config, store)["n"] == 6
            return
        with pytest.raises(ModelError, match="Go on with --resume"):
            run(benchmark, model, model, config, store)
    assert len(read_rows(tmp_path / "run")) == 2 * (nth - 1)
    assert not (tmp_path / "run" / "summary.json").exists()
