"""--dtype auto: bfloat16 where the processor multiplies it, float32 elsewhere and for small models."""

from __future__ import annotations

import pytest
import torch

from ttsi import cpu
from ttsi.models import load, loading

CPU, GPU = torch.device("cpu"), torch.device("cuda")


def test_auto_asks_the_processor(monkeypatch: pytest.MonkeyPatch) -> None:
    for fast, expected in ((True, torch.bfloat16), (False, torch.float32)):
        monkeypatch.setattr(cpu, "is_fast_with_bfloat16", lambda fast=fast: fast)
        assert loading._dtype("auto", CPU) is expected
        assert loading._dtype("auto", GPU) is torch.bfloat16
        assert loading._dtype("float32", CPU) is torch.float32, "what the user names is taken"


def test_the_embedded_model_stays_in_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cpu, "is_fast_with_bfloat16", lambda: True)
    assert load("embedded").describe()["dtype"] == "float32"
    assert load("embedded", dtype="bfloat16").describe()["dtype"] == "bfloat16"
    # Control: a model that is not small takes what the processor is fast with.
    monkeypatch.setattr(loading, "SMALL", 1000)
    assert load("embedded").describe()["dtype"] == "bfloat16"
