"""--dtype auto: bfloat16 where the processor multiplies it, float32 elsewhere and for small models."""

from __future__ import annotations

import pytest

from ttsi import cpu
from ttsi.models import load, loading


@pytest.mark.parametrize(
    ("fast", "small", "expected"), [(True, 1000, "bfloat16"), (True, 10**9, "float32"), (False, 1000, "float32")]
)
def test_auto_asks_the_processor_and_the_size(
    monkeypatch: pytest.MonkeyPatch, fast: bool, small: int, expected: str
) -> None:
    monkeypatch.setattr(cpu, "is_fast_with_bfloat16", lambda: fast)
    monkeypatch.setattr(loading, "BFLOAT16_MIN_PARAMETERS", small)
    assert load("embedded").describe()["dtype"] == expected


def test_the_embedded_model_stays_in_float32_and_what_is_named_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cpu, "is_fast_with_bfloat16", lambda: True)
    assert load("embedded").describe()["dtype"] == "float32"
    assert load("embedded", dtype="bfloat16").describe()["dtype"] == "bfloat16"
