"""A model that is in memory already is met like one from files, and is the caller's own afterwards, to the last bit."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from torch import nn
from transformers import AutoModel, AutoModelForCausalLM, AutoTokenizer, ByT5Tokenizer, PreTrainedModel

from tests.conftest import build_model, build_tokenizer
from ttsi import Episode, Input, Message, Tool, improve, load_model, preset
from ttsi.engine.lora import AdaptedLinear
from ttsi.errors import ConfigError, ModelError, TTSIError
from ttsi.models import local_loading
from ttsi.models.local import LocalModel
from ttsi.models.local_loading import EMBEDDED_WEIGHTS

pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")  # peft asks transformers

CITY = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
TOOLS = (Tool("get_weather", "get the weather of a city", CITY), Tool("find_hotel", "find a hotel in a city", CITY))
INPUTS = [Input(city, (Message("user", f"Will it rain in {city}?"),), TOOLS) for city in ("Oslo", "Lima")]


def episodes(model: Any) -> list[Episode]:
    """Every input adapted to, without the seconds."""
    config = preset("ttsi", model)
    config = replace(
        config,
        awareness=replace(config.awareness, gate="all"),
        answer=replace(config.answer, max_tokens=48, calls="required"),
    )
    return [replace(episode, seconds={}) for episode in improve(INPUTS, model, config=config)]


def read(folder: Path) -> tuple[PreTrainedModel, Any]:
    """Model and tokenizer, as a user reads them."""
    model: PreTrainedModel = AutoModelForCausalLM.from_pretrained(folder)
    return model, AutoTokenizer.from_pretrained(folder)


@pytest.mark.parametrize("form", [None, "mistral"])
def test_it_is_met_and_answers_like_the_same_model_from_files(
    saved_model: Callable[[str], Path], form: str | None
) -> None:
    folder = saved_model("qwen2")
    from_files = load_model(str(folder), device="cpu", dtype="float32", format=form)
    model, tokenizer = read(folder)
    in_memory = load_model(model, tokenizer=tokenizer, format=form)
    assert in_memory.describe() == from_files.describe()
    assert in_memory.spec == str(folder)
    done = episodes(in_memory)
    assert done == episodes(from_files)
    assert [(one.error, one.adaptation.status) for one in done] == [(None, "trained")] * 2
    other = load_model(build_model("qwen2", seed=1), tokenizer=tokenizer, format=form)  # control: other weights
    assert episodes(other) != done and other.describe()["weights_sha256"] != in_memory.describe()["weights_sha256"]


def test_it_is_asked_the_question_that_a_model_from_files_is_asked(
    saved_model: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, questions = saved_model("qwen2"), []

    def note(model: LocalModel, *rest: Any) -> Any:
        questions.append(model.spec)
        return ask(model, *rest)

    ask = local_loading.ask
    monkeypatch.setattr(local_loading, "ask", note)
    model, tokenizer = read(folder)
    LocalModel("bare", model, tokenizer)  # control: it asks nothing
    assert questions == []
    load_model(str(folder), device="cpu")
    load_model(model, tokenizer=tokenizer)
    assert questions == [str(folder)] * 2


def test_the_embedded_weights_in_memory_have_the_settings_of_the_embedded_model() -> None:
    model, tokenizer = read(EMBEDDED_WEIGHTS)
    in_memory, embedded = load_model(model, tokenizer=tokenizer), load_model("embedded", device="cpu")
    assert in_memory.describe()["handshake"] == embedded.describe()["handshake"]
    assert preset("ttsi", in_memory) == preset("ttsi", embedded) != preset("ttsi")


def snapshot(model: nn.Module) -> tuple[Any, ...]:
    """The bits of the weights, the modules, hooks and flags."""
    weights = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    hooks = [len(module._forward_hooks) + len(module._forward_pre_hooks) for module in model.modules()]
    flags = [parameter.requires_grad for parameter in model.parameters()]
    return weights, dict(model.named_modules()), hooks, flags


def same(first: tuple[Any, ...], second: tuple[Any, ...]) -> bool:
    weights = all(torch.equal(first[0][name], tensor) for name, tensor in second[0].items())
    return weights and first[1:] == second[1:]


def test_the_callers_model_is_what_it_was() -> None:
    model, tokenizer = build_model("qwen2"), build_tokenizer()
    model.get_input_embeddings().requires_grad_(False)
    before, template = snapshot(model), (len(tokenizer), tokenizer.chat_template, tokenizer.padding_side)
    assert [one.adaptation.status for one in episodes(load_model(model, tokenizer=tokenizer))] == ["trained"] * 2
    assert same(snapshot(model), before)
    assert not any(isinstance(module, AdaptedLinear) for module in model.modules())
    assert (len(tokenizer), tokenizer.chat_template, tokenizer.padding_side) == template


@pytest.mark.parametrize("change", ["a bit", "a hook", "a flag", "a module"])
def test_control_a_change_of_the_callers_model_is_seen(change: str) -> None:
    model = build_model("qwen2")
    before = snapshot(model)
    layer: Any = model.get_submodule("model.layers.0.mlp.up_proj")
    if change == "a bit":
        layer.weight.data[0, 0] += 1e-6
    elif change == "a hook":
        layer.register_forward_hook(lambda *_: None)
    elif change == "a flag":
        layer.weight.requires_grad_(False)
    else:
        model.get_submodule("model.layers.0.mlp").up_proj = nn.Linear(32, 48, bias=False)
        model.get_submodule("model.layers.0.mlp.up_proj").weight.data.copy_(layer.weight)  # type: ignore[operator]
    assert not same(snapshot(model), before)


def test_a_model_that_was_just_trained_is_taken_as_it_is(saved_model: Callable[[str], Path], tmp_path: Path) -> None:
    model, tokenizer = read(saved_model("qwen2"))
    getattr(model, "activation_checkpointing_enable", model.gradient_checkpointing_enable)()  # the name before v6
    model.config.use_cache = False
    model.train()
    ids = torch.arange(24).view(2, 12)
    model(input_ids=ids, labels=ids).loss.backward()
    torch.optim.SGD(model.parameters(), lr=0.1).step()
    in_memory = load_model(model, tokenizer=tokenizer)
    assert not model.training
    model.save_pretrained(tmp_path / "tuned")
    tokenizer.save_pretrained(tmp_path / "tuned")
    done, whole = episodes(in_memory), load_model(str(tmp_path / "tuned"), device="cpu", dtype="float32")
    assert done == episodes(whole)
    assert in_memory.describe()["weights_sha256"] == whole.describe()["weights_sha256"]
    model.train()
    refused = episodes(in_memory)
    assert all("is in training mode: call model.eval()" in str(one.error) for one in refused)
    model.eval()  # control
    assert episodes(in_memory) == done


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_it_keeps_its_number_format_and_goes_by_its_class_where_it_has_no_name(dtype: torch.dtype) -> None:
    model = build_model("qwen2").to(dtype)
    about = load_model(model, tokenizer=build_tokenizer()).describe()
    assert about["dtype"] == str(dtype).removeprefix("torch.") and model.dtype == dtype
    assert (about["spec"], about["device"]) == ("Qwen2ForCausalLM", "cpu")


def with_lora() -> Any:
    """A model in PEFT's wrapper whose adapter changes something."""
    torch.manual_seed(0)
    tuned = get_peft_model(build_model("qwen2"), LoraConfig(r=4, target_modules="all-linear", task_type="CAUSAL_LM"))
    for name, parameter in tuned.named_parameters():
        if "lora_B" in name:
            parameter.data.normal_(std=0.2)
    return tuned


def test_a_model_with_peft_adapters_is_refused_until_they_are_merged() -> None:
    tuned, tokenizer = with_lora(), build_tokenizer()
    for holder in (tuned, tuned.get_base_model()):
        line = (
            rf"^the {type(holder).__name__} holds adapters of PEFT: use model = model.merge_and_unload\(\), then load_"
        )
        with pytest.raises(ModelError, match=line):
            load_model(holder, tokenizer=tokenizer)
    plain = load_model(build_model("qwen2"), tokenizer=tokenizer)
    merged = load_model(tuned.merge_and_unload(), tokenizer=tokenizer)
    assert merged.describe()["weights_sha256"] != plain.describe()["weights_sha256"]
    assert [one.error for one in episodes(merged)] == [None, None]


def quantised() -> PreTrainedModel:
    model = build_model("qwen2")
    model.config.quantization_config = {"quant_method": "bitsandbytes", "load_in_4bit": True}
    return model


def on_no_device() -> PreTrainedModel:
    with torch.device("meta"):
        model: PreTrainedModel = AutoModelForCausalLM.from_config(build_model("qwen2").config)
    return model


def headless() -> PreTrainedModel:
    model: PreTrainedModel = AutoModel.from_config(build_model("qwen2").config)
    return model


def without_template() -> Any:
    tokenizer = build_tokenizer()
    tokenizer.chat_template = None
    return tokenizer


def tiny() -> PreTrainedModel:
    return build_model("qwen2")


REFUSED: dict[str, tuple[Callable[[], Any], dict[str, Any], type[TTSIError], str]] = {
    "no tokenizer": (tiny, {"tokenizer": None}, ConfigError, r"Qwen2ForCausalLM comes without a tokenizer: use load_m"),
    "a tokenizer's name": (tiny, {"tokenizer": "Qwen"}, ConfigError, "tokenizer is a str: use the model's fast one"),
    "a slow tokenizer": (tiny, {"tokenizer": ByT5Tokenizer()}, ConfigError, "tokenizer is a ByT5Tokenizer: use the"),
    "a device": (tiny, {"device": "cpu"}, ConfigError, r"keeps its device and dtype: leave both out, or use model\.to"),
    "a dtype": (tiny, {"dtype": "int8"}, ConfigError, r"keeps its device and dtype: leave both out, or use model\.to"),
    "no such format": (tiny, {"format": "hermez"}, ConfigError, "did you mean 'hermes'"),
    "a spec with a tokenizer": (lambda: "scripted:demo", {}, ConfigError, "comes with its tokenizer: leave tokenizer="),
    "a path": (lambda: Path("folder"), {}, ConfigError, "Path is no model to load: use a spec such as 'embedded'"),
    "no language model": (lambda: nn.Linear(2, 2), {}, ConfigError, "a Linear is no model to load: use a spec"),
    "a loaded model": (lambda: load_model("scripted:demo"), {}, ConfigError, "DemoModel is no model to load: use a"),
    "quantised weights": (quantised, {}, ModelError, r"weights are quantised \(bitsandbytes\); take the unquantised"),
    "weights on no device": (on_no_device, {}, ModelError, "its weights lie on meta; load it without device_map"),
    "no head": (headless, {}, ModelError, "Qwen2Model is not supported"),
    "no chat template": (tiny, {"tokenizer": without_template()}, ModelError, "has no chat template: choose an instr"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_used_is_refused_in_one_line(name: str) -> None:
    build, options, error, line = REFUSED[name]
    with pytest.raises(error, match=line) as refusal:
        load_model(build(), **{"tokenizer": build_tokenizer(), **options})
    assert "\n" not in str(refusal.value)


def test_control_the_same_model_with_its_tokenizer_is_taken() -> None:
    assert load_model(tiny(), tokenizer=build_tokenizer(), device="auto", dtype="auto", format="hermes").spec
    assert load_model("scripted:demo").spec == "scripted:demo"
