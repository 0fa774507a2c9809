"""Are a model's files read whole, and is what cannot be used refused in one line?"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from transformers import PreTrainedTokenizerFast

from tests.conftest import build_model, build_tokenizer
from ttsi.chat.grammar import answer_grammar
from ttsi.config import AdaptationConfig
from ttsi.errors import ModelError
from ttsi.models import Request
from ttsi.models.local import LocalModel
from ttsi.models.local_loading import load
from ttsi.types import Message, Prompt, Tool, TrainingExample

TOOL = Tool("get_weather", "Weather of a city", {"type": "object", "properties": {"city": {"type": "string"}}})
PROMPT = Prompt((Message("user", "rain?"),), (TOOL,))


def refused(folder: Path, text: str) -> None:
    """Loading ends in one line that holds this text."""
    with pytest.raises(ModelError, match=text) as refusal:
        load(str(folder), device="cpu")
    assert "\n" not in str(refusal.value)


def changed(folder: Path, name: str = "config.json", **settings: object) -> Path:
    """The folder with some settings changed."""
    path = folder / name
    path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8")) | settings), encoding="utf-8")
    return folder


@pytest.mark.parametrize(
    ("settings", "method"),
    [
        ({"quant_method": "gptq", "bits": 4}, "gptq"),
        ({"quant_method": "awq", "bits": 4}, "awq"),
        ({"quant_method": "fp8"}, "fp8"),
        ({"quant_method": "mxfp4"}, "mxfp4"),
        ({"quant_method": "compressed-tensors"}, "compressed-tensors"),
        ({"quant_method": "bitsandbytes", "load_in_4bit": True}, "bitsandbytes"),
        ({"load_in_8bit": True}, "load_in_8bit"),
        ({"new_way": 1}, "unknown"),
    ],
)
def test_quantised_weights_are_refused(
    saved_model: Callable[[str], Path], settings: dict[str, object], method: str
) -> None:
    folder = changed(saved_model("qwen2"), quantization_config=settings)
    refused(folder, rf"its weights are quantised \({method}\); take the unquantised model")


def test_a_model_that_writes_nothing_is_refused(saved_model: Callable[[str], Path]) -> None:
    folder = changed(saved_model("qwen2"), model_type="vit", architectures=["ViTModel"])
    refused(folder, "'vit' is no language model that writes")


def test_a_tokenizer_without_vocabulary_is_refused(saved_model: Callable[[str], Path]) -> None:
    folder = saved_model("qwen2")
    (folder / "tokenizer.json").unlink()
    refused(folder, "its tokenizer has no vocabulary; is tokenizer.json there")
    (folder / "tekken.json").write_text("{}", encoding="utf-8")
    refused(folder, "cannot load")


def test_a_folder_that_was_copied_in_part_is_refused_by_what_it_lacks(saved_model: Callable[[str], Path]) -> None:
    folder = saved_model("qwen2")
    load(str(folder), device="cpu")  # the control
    for file in folder.glob("*token*"):
        file.rename(folder / f"_{file.name[:3]}")
    refused(folder, "has no tokenizer: copy tokenizer.json and the like into it")
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    refused(folder, "a file of weights is damaged or not whole .*: copy or download it again")


def test_a_tokenizer_that_knows_no_word_is_refused(saved_model: Callable[[str], Path]) -> None:
    from tokenizers import Tokenizer, models, pre_tokenizers

    folder = saved_model("qwen2")
    backend = Tokenizer(models.WordLevel(vocab={"[UNK]": 0, "hello": 1}, unk_token="[UNK]"))
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    few = PreTrainedTokenizerFast(
        tokenizer_object=backend, unk_token="[UNK]", eos_token="hello", chat_template="{{ 1 }}"
    )
    few.save_pretrained(folder)
    refused(folder, "its tokenizer has no vocabulary")


def with_surplus() -> PreTrainedTokenizerFast:
    """A tokenizer with 277 tokens; the models of these tests have 272."""
    tokenizer = build_tokenizer()
    tokenizer.add_special_tokens({"additional_special_tokens": [f"<picture_{number}>" for number in range(12)]})
    tokenizer.add_tokens(["wolkenbruch", "sunshine", "drizzle", "hail"])
    assert len(tokenizer) == 277
    return tokenizer


def test_tokens_that_the_model_has_not_are_never_written(tmp_path: Path) -> None:
    build_model("qwen2").save_pretrained(tmp_path)
    with_surplus().save_pretrained(tmp_path)
    model, plain = load(str(tmp_path), device="cpu"), LocalModel("plain", build_model("qwen2"), build_tokenizer())
    grammars = [None, answer_grammar(model.format, [TOOL])]
    requests = [Request(PROMPT, 12, temperature=2.0, seed=at, grammar=grammars[at % 2]) for at in range(8)]
    assert [row.text for row in model.generate(requests)] == [row.text for row in plain.generate(requests)]
    prompt = Prompt((Message("user", "a <picture_11>"),), ())
    assert max(model.encoder.encode_prompt(prompt)) < 272  # a control token that is spelled out is broken


def test_a_prompt_with_such_a_token_is_refused_by_its_name() -> None:
    model = LocalModel("tiny", build_model("qwen2"), with_surplus())
    prompt = Prompt((Message("user", "hail?"),), ())
    assert "holds the token 'hail', number 276" in str(model.fits(prompt, 1))
    with pytest.raises(ModelError, match="'hail', number 276, but the model has only 272"):
        model.generate([Request(prompt, 2)])
    with pytest.raises(ModelError, match="'hail'"):
        model.score([PROMPT], [["hail"]])
    with model.adapted(
        [[TrainingExample(PROMPT, "hail"), TrainingExample(PROMPT, "rain")]], AdaptationConfig(), [0]
    ) as [outcome]:
        assert (outcome.status, outcome.samples, outcome.left_out) == ("trained", 1, 1)


def test_an_end_of_turn_that_the_model_has_not_is_refused(tmp_path: Path) -> None:
    build_model("qwen2").save_pretrained(tmp_path)
    tokenizer = with_surplus()
    tokenizer.add_special_tokens({"additional_special_tokens": ["<end_it>"]})
    tokenizer.chat_template = str(tokenizer.chat_template).replace("<|im_end|>", "<end_it>")
    tokenizer.save_pretrained(tmp_path)
    refused(tmp_path, "its end of turn is token 277, but its weights hold only 272 tokens")
