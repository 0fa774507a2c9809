"""Is a fine-tuned adapter kept with its run, and used instead of training again?"""

from __future__ import annotations

import hashlib
import json
import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch

from tests.test_methods import CASES, DATA, OFFERED, Counting
from ttsi.atomic import write_atomically
from ttsi.benchmarks import Benchmark, Sample
from ttsi.config import RunConfig
from ttsi.engine import checkpoint, optimizer
from ttsi.errors import ModelError
from ttsi.methods import preset
from ttsi.models import adapter_files
from ttsi.models.adapter_files import SETTINGS, WEIGHTS
from ttsi.runs.evaluation import run_in_folder
from ttsi.runs.shared_adapter import CHECKPOINT, RECORD, SharedAdapterFolder
from ttsi.runs.store import each_row
from ttsi.types import Input, Message

QUESTIONS = Benchmark(
    "mine",
    tuple(Sample(item, None) for item in (*CASES, Input("2", (Message("user", "rain in Bern?"),), OFFERED))),
    "",
    "",
)


def settings(scope: str = "all") -> RunConfig:
    loop = preset("sft", "embedded")
    adaptation = replace(loop.adaptation, rank=2, epochs=4, lr=2e-2, batch_size=2, scope=scope)  # type: ignore[arg-type]
    return RunConfig(
        benchmark="mine", model="tiny", method="sft", batch_size=1, train_data="train",
        loop=replace(loop, adaptation=adaptation, answer=replace(loop.answer, max_tokens=24)),
    )  # fmt: skip


class Stopped(Exception):
    """Something went wrong after the first batch."""


def run(folder: Path, model: Any, config: RunConfig | None = None, **options: Any) -> dict[str, Any]:
    return run_in_folder(config or settings(), QUESTIONS, model, DATA, folder, **options)


def stop_after_first(folder: Path, model: Any, config: RunConfig | None = None) -> None:
    def stop(progress: Any) -> None:
        if progress.done:
            raise Stopped

    with pytest.raises(Stopped):
        run(folder, model, config, on_batch=stop)


def answers(folder: Path) -> list[Any]:
    rows = sorted(each_row(folder), key=lambda row: row.episode.input_id)
    return [(row.episode.adapted, row.episode.adaptation) for row in rows]


@pytest.mark.parametrize("scope", ["all", "suffix"])
def test_a_run_that_goes_on_uses_the_kept_adapter(tmp_path: Path, scope: str) -> None:
    whole, stopped, resumed = Counting(), Counting(), Counting()
    run(tmp_path / "whole", whole, settings(scope))
    stop_after_first(tmp_path / "parts", stopped, settings(scope))
    run(tmp_path / "parts", resumed, settings(scope), resume=True)
    assert (whole.trained, stopped.trained, resumed.trained) == ([1], [1], [])
    assert answers(tmp_path / "parts") == answers(tmp_path / "whole")
    assert {adaptation.status for _, adaptation in answers(tmp_path / "parts")} == {"shared"}


@pytest.mark.parametrize("name", [WEIGHTS, RECORD])
@pytest.mark.parametrize("damage", ["flipped", "missing"])
def test_control_a_damaged_adapter_is_trained_again(
    tmp_path: Path, name: str, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    run(tmp_path / "whole", Counting())
    stop_after_first(tmp_path / "parts", Counting())
    path = SharedAdapterFolder(tmp_path / "parts").path / name
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.unlink() if damage == "missing" else path.write_bytes(content)
    resumed = Counting()
    with caplog.at_level(logging.WARNING):
        run(tmp_path / "parts", resumed, resume=True)
    assert resumed.trained == [1]
    assert (damage == "missing") or "trained again" in caplog.text
    assert answers(tmp_path / "parts") == answers(tmp_path / "whole")


def test_the_record_names_the_file_that_peft_reads(tmp_path: Path) -> None:
    from peft import LoraConfig
    from safetensors.torch import load_file

    run(tmp_path, Counting())
    folder = SharedAdapterFolder(tmp_path)
    file, adaptation = folder.read() or (b"", None)
    assert adaptation is not None and adaptation.status == "shared" and adaptation.steps == 8
    assert json.loads((folder.path / RECORD).read_text())["sha256"] == hashlib.sha256(file).hexdigest()
    assert LoraConfig.from_pretrained(str(folder.path)).r == 2
    tensors = load_file(folder.path / WEIGHTS)
    assert tensors and all(torch.isfinite(tensor).all() for tensor in tensors.values())


def test_scope_decides_what_peft_makes_of_it(tmp_path: Path) -> None:
    for scope, activated in (("all", False), ("suffix", True)):
        folder = SharedAdapterFolder(tmp_path / scope)
        assert folder.is_activated is None
        run(tmp_path / scope, Counting(), settings(scope))
        assert folder.is_activated is activated


def test_clean_deletes_the_adapter_and_no_other_file(tmp_path: Path) -> None:
    run(tmp_path, Counting())
    folder = SharedAdapterFolder(tmp_path)
    (folder.path / "note.txt").write_text("mine")
    again = Counting()
    run(tmp_path, again, replace(settings(), limit=1), clean=True)
    assert again.trained == [1] and (folder.path / "note.txt").read_text() == "mine"
    folder.delete()
    assert [path.name for path in folder.path.iterdir()] == ["note.txt"]
    (folder.path / "note.txt").unlink()
    folder.delete()
    assert not folder.path.exists()
    assert {WEIGHTS, SETTINGS, RECORD}.isdisjoint(path.name for path in tmp_path.iterdir())


@pytest.mark.parametrize("scope", ["all", "suffix"])
def test_an_interrupted_training_goes_on_from_its_checkpoint(
    tmp_path: Path, scope: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    run(tmp_path / "whole", Counting(), settings(scope))
    monkeypatch.setattr(checkpoint, "SECONDS_BETWEEN", 0.0)
    step, steps_taken = optimizer.optimizer_step, []

    def dying(*arguments: Any) -> None:
        step(*arguments)
        steps_taken.append(1)
        if len(steps_taken) == 6:
            raise KeyboardInterrupt

    monkeypatch.setattr(optimizer, "optimizer_step", dying)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "parts", Counting(), settings(scope))
    folder = SharedAdapterFolder(tmp_path / "parts")
    assert [path.name for path in folder.path.iterdir()] == [CHECKPOINT] and folder.read() is None
    with caplog.at_level(logging.INFO, logger="ttsi"):
        run(tmp_path / "parts", Counting(), settings(scope), resume=True)
    assert "training resumed step=5 steps=8" in caplog.messages and len(steps_taken) == 6 + 3
    whole, parts = answers(tmp_path / "whole"), answers(tmp_path / "parts")
    assert [(answer, replace(adaptation, earlier_seconds=0.0)) for answer, adaptation in parts] == whole
    assert not (folder.path / CHECKPOINT).exists(), "a trained adapter needs none"


def test_the_seconds_of_an_interrupted_training_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoint, "SECONDS_BETWEEN", 0.0)
    step = optimizer.optimizer_step

    def dying(*arguments: Any) -> None:
        step(*arguments)
        if len(arguments[1][0].losses) == 6:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(optimizer, "optimizer_step", dying)
        run(tmp_path, Counting(), settings())
    shelf = SharedAdapterFolder(tmp_path).checkpoint
    kept = safetensors.torch.load(shelf.read() or b"")
    assert float(kept["seconds"]) > 0
    shelf.write(safetensors.torch.save({**kept, "seconds": torch.tensor(3600.0)}))
    summary = run(tmp_path, Counting(), settings(), resume=True)
    assert 3600 <= summary["seconds"]["adaptation"] < 3700
    first, *others = sorted(each_row(tmp_path), key=lambda row: row.position)
    assert first.episode.adaptation.earlier_seconds == 3600
    assert [row.episode.adaptation.earlier_seconds for row in others] == [0.0, 0.0]


def test_clean_deletes_the_checkpoint(tmp_path: Path) -> None:
    folder = SharedAdapterFolder(tmp_path)
    folder.checkpoint.write(b"half")
    folder.delete()
    assert not folder.path.exists()


class Unkept(Counting):
    """Cannot write its adapters to a file."""

    def adapter_file(self, index: int) -> bytes:
        raise ModelError("merged in memory")


def test_a_model_whose_adapters_cannot_be_kept_is_fine_tuned_all_the_same(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        run(tmp_path, Unkept())
    assert "the adapter is not kept (ModelError: merged in memory)" in caplog.text
    assert not SharedAdapterFolder(tmp_path).path.exists()
    assert {adaptation.status for _, adaptation in answers(tmp_path)} == {"shared"}


def test_a_full_disk_leaves_no_half_adapter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(path: Path, content: object, **_: object) -> None:
        if path.name == SETTINGS:
            raise OSError(28, "No space left on device")
        write_atomically(path, content)  # type: ignore[arg-type]

    monkeypatch.setattr(adapter_files, "write_atomically", full)
    with caplog.at_level(logging.WARNING):
        run(tmp_path, Counting())
    assert "the adapter is not kept (OSError: [Errno 28] No space left on device)" in caplog.text
    assert SharedAdapterFolder(tmp_path).read() is None and SharedAdapterFolder(tmp_path).is_activated is None
    assert {adaptation.status for _, adaptation in answers(tmp_path)} == {"shared"}


def test_other_methods_keep_no_adapter(tmp_path: Path) -> None:
    config = replace(settings(), method="base", loop=preset("base", "embedded"), train_data=None)
    model = Counting()
    run_in_folder(config, QUESTIONS, model, model, tmp_path)
    assert not SharedAdapterFolder(tmp_path).path.exists()
