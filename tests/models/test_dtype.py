"""--dtype: auto is bfloat16 where the processor multiplies it, else float32, also for small models; int8 on request."""

from __future__ import annotations

import pytest
import torch
from transformers import PreTrainedModel

from ttsi import cpu
from ttsi.engine.int8_linear import to_int8
from ttsi.errors import ModelError
from ttsi.models import load, loading, local_loading
from ttsi.types import Message, Prompt


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


def test_dtype_and_device_may_be_those_of_torch() -> None:
    assert load("embedded", dtype=torch.bfloat16, device=torch.device("cpu")).describe()["dtype"] == "bfloat16"
    for wrong, name in ((torch.complex64, "complex64"), (7, "7")):
        with pytest.raises(ModelError, match=f"unknown dtype '{name}'; choose one of: auto, "):
            load("embedded", dtype=wrong)


def test_int8_is_named_in_the_record_and_answers_nearly_as_bfloat16() -> None:
    bfloat16, int8 = (load("embedded", dtype=dtype) for dtype in ("bfloat16", "int8"))
    assert int8.describe()["dtype"] == "int8"
    assert int8.describe()["parameters"] == bfloat16.describe()["parameters"]
    assert int8.describe()["weights_sha256"] != bfloat16.describe()["weights_sha256"]
    prompts = [Prompt((Message("user", "book a table for two"),), ())]
    [[before]], [[after]] = (model.score(prompts, [["Sure."]]) for model in (bfloat16, int8))
    assert 0 < abs(before - after) < 0.05 * abs(before)


def test_weights_that_int8_cannot_hold_are_refused_with_the_models_name(monkeypatch: pytest.MonkeyPatch) -> None:
    def infinite(model: PreTrainedModel) -> PreTrainedModel:
        model.get_submodule("model.layers.0.mlp.up_proj").weight[0, 0] = torch.inf
        return to_int8(model)

    monkeypatch.setattr(local_loading, "to_int8", torch.no_grad()(infinite))
    with pytest.raises(ModelError, match=r"^cannot load embedded: its weights are not all finite"):
        load("embedded", dtype="int8")
