"""Is an adapter folder read as its base with the adapter merged, or refused with the reason?"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
import torch
from peft import IA3Config, LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file, save_file

from tests.conftest import build_model, build_tokenizer
from ttsi.config import AdaptationConfig
from ttsi.errors import ModelError
from ttsi.models import Request
from ttsi.models.local_loading import load
from ttsi.models.weight_files import write_manifest
from ttsi.types import Message, Prompt, TrainingExample

pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")  # peft asks transformers
PROMPT = Prompt((Message("user", "rain?"),), ())


@pytest.fixture
def base(tmp_path: Path) -> Path:
    """A tiny model."""
    build_model("qwen2").save_pretrained(tmp_path / "base")
    build_tokenizer().save_pretrained(tmp_path / "base")
    return tmp_path / "base"


@pytest.fixture
def adapter(tmp_path: Path, base: Path) -> Path:
    """A LoRA adapter on it that changes something."""
    return saved(tmp_path / "adapter", str(base), LoraConfig(r=4, target_modules="all-linear", task_type="CAUSAL_LM"))


def saved(folder: Path, base: str, config: LoraConfig | IA3Config) -> Path:
    """An adapter with random numbers, as PEFT writes it."""
    tuned = get_peft_model(build_model("qwen2"), config)
    generator = torch.Generator().manual_seed(1)
    for name, parameter in tuned.named_parameters():
        if "lora_B" in name:
            parameter.data.normal_(std=0.2, generator=generator)
    tuned.peft_config["default"].base_model_name_or_path = base
    tuned.save_pretrained(str(folder), save_embedding_layers=False)
    return folder


def edited(adapter: Path, **settings: object) -> Path:
    """The folder with settings changed."""
    path = adapter / "adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8")) | settings), encoding="utf-8")
    return adapter


def refused(folder: Path, text: str) -> None:
    """Loading ends in one line that holds this text."""
    with pytest.raises(ModelError, match=text) as refusal:
        load(str(folder), device="cpu")
    assert "\n" not in str(refusal.value)


def test_it_is_the_base_with_the_adapter_in_its_weights(base: Path, adapter: Path, tmp_path: Path) -> None:
    model = load(str(adapter), device="cpu")
    whole = PeftModel.from_pretrained(build_model("qwen2"), str(adapter)).merge_and_unload()
    whole.save_pretrained(str(tmp_path / "whole"))
    build_tokenizer().save_pretrained(tmp_path / "whole")
    expected, plain = load(str(tmp_path / "whole"), device="cpu"), load(str(base), device="cpu")
    texts = [["yes", "no", "rain"]]
    assert model.score([PROMPT], texts)[0] == pytest.approx(expected.score([PROMPT], texts)[0], abs=1e-5)
    assert model.score([PROMPT], texts)[0] != pytest.approx(plain.score([PROMPT], texts)[0], abs=1e-2)
    assert not any("lora" in name for name, _ in model.model.named_modules())
    about = model.describe()
    assert (about["base"], about["adapter"]) == (str(base), str(adapter))
    assert set(about["adapter_sha256"]) == {"adapter_config.json", "adapter_model.safetensors"}
    assert about["weights_sha256"] != plain.describe()["weights_sha256"] and "adapter" not in plain.describe()


def test_it_learns_and_what_it_learnt_is_not_exported(adapter: Path) -> None:
    model = load(str(adapter), device="cpu")
    before = model.generate([Request(PROMPT, 4)])
    with model.adapted([[TrainingExample(PROMPT, "rain")]], AdaptationConfig(lr=1e-2), [0]) as [outcome]:
        assert outcome.status == "trained"
        assert model.adapters.stack is not None and not any(
            "lora" in name or "base_layer" in name for name in model.adapters.stack.names
        )
        assert model.generate([Request(PROMPT, 4, adapter=0)])[0].logprob != before[0].logprob
        with pytest.raises(ModelError, match="with an adapter merged in memory: save that sum to a folder"):
            model.export_adapter(0)


def test_the_base_may_lie_beside_it(base: Path, adapter: Path) -> None:
    assert load(str(edited(adapter, base_model_name_or_path="../base")), device="cpu").origin["base"].endswith("/base")


def test_its_own_tokenizer_counts(base: Path, adapter: Path) -> None:
    tokenizer = build_tokenizer()
    tokenizer.chat_template = "another: " + str(tokenizer.chat_template)
    tokenizer.save_pretrained(adapter)
    assert "another: " in str(load(str(adapter), device="cpu").tokenizer.chat_template)


def test_base_and_adapter_are_checked_like_any_model(base: Path, adapter: Path) -> None:
    (base / "modeling.py").write_text("", encoding="utf-8")
    refused(adapter, r"brings code of its own \(modeling.py\)")
    (base / "modeling.py").unlink()
    write_manifest(base)
    load(str(adapter), device="cpu")
    (base / "config.json").write_text((base / "config.json").read_text(encoding="utf-8") + " ", encoding="utf-8")
    refused(adapter, "config.json is not the file")
    (adapter / "own.py").write_text("", encoding="utf-8")
    refused(adapter, r"brings code of its own \(own.py\)")


def test_without_peft_the_line_says_what_to_install(adapter: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "peft", None)
    refused(adapter, r"is an adapter: pip install 'ttsi\[peft\]'")


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"base_model_name_or_path": None}, "names no base_model_name_or_path"),
        ({"base_model_name_or_path": "/nowhere"}, "is an adapter on /nowhere, and there is no such folder"),
        ({"base_model_name_or_path": "nobody/nothing"}, "cannot load nobody/nothing, the base of .*"),
        ({"peft_type": "IA3"}, "an adapter of the kind IA3; ttsi merges LORA only"),
        ({"peft_type": "PREFIX_TUNING"}, "an adapter of the kind PREFIX_TUNING"),
        ({"alora_invocation_tokens": [3, 4]}, "an activated adapter .*cannot be merged"),
        ({"r": 2}, "the adapter does not fit"),
        ({"target_modules": ["q_proj"]}, "has no counterpart"),
        ({"target_modules": ["nothing"]}, "the adapter does not fit"),
    ],
)
def test_what_does_not_fit_is_refused(adapter: Path, settings: dict[str, object], text: str) -> None:
    refused(edited(adapter, **settings), text)


def test_unreadable_settings_are_refused(adapter: Path) -> None:
    (adapter / "adapter_config.json").write_text("[]", encoding="utf-8")
    refused(adapter, "adapter_config.json cannot be read")


def test_missing_numbers_are_refused(adapter: Path) -> None:
    path = adapter / "adapter_model.safetensors"
    tensors = load_file(path)
    tensors.pop(sorted(tensors)[0])
    save_file(tensors, path)
    refused(adapter, "the adapter does not fit")


def test_weights_of_both_kinds_are_refused(base: Path, adapter: Path) -> None:
    (adapter / "model.safetensors").write_bytes((base / "model.safetensors").read_bytes())
    refused(adapter, "it holds an adapter .* and other weights")


def test_an_adapter_on_an_adapter_is_refused(adapter: Path, tmp_path: Path) -> None:
    upper = saved(tmp_path / "upper", str(adapter), LoraConfig(r=2, target_modules=["q_proj"], task_type="CAUSAL_LM"))
    refused(upper, "is an adapter itself; merge that one first")


def test_an_adapter_of_the_hub_is_read_alike(base: Path, adapter: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def cached(name: str, file: str, **_: object) -> str | None:
        return str(adapter / file) if name == "some/adapter" and (adapter / file).exists() else None

    monkeypatch.setattr("ttsi.models.merging.cached_file", cached)
    assert load("some/adapter", device="cpu").origin["adapter"] == "some/adapter"
