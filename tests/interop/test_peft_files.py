"""An exported adapter is the adapter that answered: PEFT computes the same with it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from tests.worlds import TOOLS
from ttsi.chat.tool_schema import tool_from_openai
from ttsi.errors import ModelError
from ttsi.interop.peft_files import export
from ttsi.methods import preset
from ttsi.models import load
from ttsi.models.scripted import DemoModel
from ttsi.types import Adaptation, Episode, Example, Input, Message, ToolCall

ITEM = Input("1", (Message("user", "an umbrella in Lima"),), tuple(map(tool_from_openai, TOOLS)))
EXAMPLES = tuple(
    Example(f"rain in {city}", (ToolCall("get_weather", {"city": city}),), "") for city in ("Oslo", "Rome")
)
EPISODE = Episode("1", ITEM.content_hash, None, None, None, EXAMPLES, Adaptation("trained", 2, 2, (1.0, 0.5)))


@pytest.mark.filterwarnings("ignore::FutureWarning")  # PEFT asks transformers for something that was renamed
def test_peft_loads_the_adapter_and_says_the_same(saved_model: Callable[[str], Path], tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    peft = pytest.importorskip("peft", reason="the extra `peft` is not installed")
    from transformers import AutoModelForCausalLM

    folder = saved_model("qwen2")
    config = preset("ttsi", "embedded")
    config = replace(config, adaptation=replace(config.adaptation, epochs=2, lr=0.05))
    written = export(load(str(folder), device="cpu"), ITEM, EPISODE, config, tmp_path / "adapter")
    again = export(load(str(folder), device="cpu"), ITEM, EPISODE, config, tmp_path / "again")
    name = "adapter_model.safetensors"
    assert (written / name).read_bytes() == (again / name).read_bytes()
    base = AutoModelForCausalLM.from_pretrained(folder)
    ids_BT = torch.arange(40, 60)[None]
    with torch.no_grad():
        before = base(ids_BT).logits
        after = peft.PeftModel.from_pretrained(base, str(written))(ids_BT).logits
    assert not torch.allclose(before, after)


def test_there_is_nothing_to_export_without_an_adapter(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no adapters"):
        export(DemoModel(), ITEM, EPISODE, preset("ttsi", "embedded"), tmp_path)


def test_an_untrained_episode_has_no_adapter(saved_model: Callable[[str], Path], tmp_path: Path) -> None:
    pytest.importorskip("torch")
    model = load(str(saved_model("qwen2")), device="cpu")
    with pytest.raises(ModelError, match="'none'"):
        export(model, ITEM, replace(EPISODE, adaptation=Adaptation("none")), preset("ttsi", "embedded"), tmp_path)


def test_a_training_that_began_from_a_library_s_adapter_is_not_repeated_from_zero(
    saved_model: Callable[[str], Path], tmp_path: Path
) -> None:
    pytest.importorskip("torch")
    model, config = load(str(saved_model("qwen2")), device="cpu"), preset("ttsi", "embedded")
    episode = replace(EPISODE, adaptation=replace(EPISODE.adaptation, started_from="5" * 64))
    with pytest.raises(ModelError, match="began from a library's adapter"):
        export(model, ITEM, episode, config, tmp_path / "adapter")
    assert not (tmp_path / "adapter").exists()
