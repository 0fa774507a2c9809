"""Does a model in this process adapt from the user's turn on, as PEFT's Activated LoRA does, and say where?"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.conftest import ARCHITECTURES, build_model, build_tokenizer
from tests.models.test_local import TOOL, close, prompt
from ttsi.chat.templates import user_turn_openings
from ttsi.config import AdaptationConfig
from ttsi.engine.decoding import Decoded, decode
from ttsi.errors import ModelError
from ttsi.models import Request
from ttsi.models.local import LocalModel
from ttsi.models.local_loading import load, load_embedded
from ttsi.types import Message, Prompt, Tool, TrainingExample

ALL = AdaptationConfig(rank=4, alpha=8.0, lr=2e-2, epochs=5)
SUFFIX = replace(ALL, scope="suffix")
HOTEL = Tool("find_hotel", "Find a hotel", {"type": "object", "properties": {"city": {"type": "string"}}})
SYSTEM = Message("system", "Be brief.")


def example(text: str, target: str, tools: tuple[Tool, ...] = (TOOL,)) -> TrainingExample:
    return TrainingExample(Prompt((Message("user", text),), tools), target)


JOBS = [
    [example("rain in Oslo?", "yes"), example("rain in Rome?", "no")],
    [example("sun?", "never"), example("a bed?", "none", (TOOL, HOTEL))],
]
QUESTION = prompt("rain at last?")


@pytest.fixture
def local() -> LocalModel:
    return LocalModel("tiny", build_model("qwen2"), build_tokenizer())


@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_peft_loads_a_saved_adapter_and_computes_the_same(
    saved_model: Callable[[str], Path], tmp_path: Path, architecture: str
) -> None:
    peft = pytest.importorskip("peft")
    from transformers import AutoModelForCausalLM

    model = load(str(saved_model(architecture)), device="cpu")
    ids = model.encoder.encode_prompt(QUESTION)
    with model.adapted(JOBS, SUFFIX, [1, 2]) as outcomes:
        answers = model.generate([Request(QUESTION, 12, adapter=index) for index in (0, 1)])
        folders = [model.save_adapter(index, tmp_path / str(index)) for index in (0, 1)]
    assert [outcome.status for outcome in outcomes] == ["trained"] * 2
    opening = model.tokenizer("<|im_start|>user", add_special_tokens=False)["input_ids"]
    for folder, answer in zip(folders, answers, strict=True):
        settings = json.loads((folder / "adapter_config.json").read_text())
        assert settings["alora_invocation_tokens"] == opening
        base = AutoModelForCausalLM.from_pretrained(saved_model(architecture))
        tuned = peft.PeftModel.from_pretrained(base, str(folder)).eval()
        written = tuned.generate(input_ids=torch.tensor([ids]), max_new_tokens=12, do_sample=False)[0, len(ids) :]
        whole_BT = torch.tensor([[*ids, *written.tolist()]])
        with torch.no_grad():
            logprobs_TV = tuned(whole_BT).logits[0].log_softmax(-1)
        expected = logprobs_TV[len(ids) - 1 : -1].gather(1, whole_BT[0, len(ids) :, None]).sum()
        text = model.encoder.decode_answer(ids, [i for i in written.tolist() if i not in model.stop_ids])
        assert answer.text == text and answer.logprob == pytest.approx(float(expected), abs=1e-3)


def test_an_adapter_on_all_tokens_names_no_invocation(local: LocalModel) -> None:
    with local.adapted(JOBS, ALL, [1, 2]) as outcomes:
        assert "alora_invocation_tokens" not in local.export_adapter(0)[1]
        assert [outcome.unadapted for outcome in outcomes] == [0, 0]


def test_an_adapter_on_a_part_of_the_prompt_is_not_put_back_on_all_of_it(local: LocalModel) -> None:
    with local.adapted(JOBS, SUFFIX, [1, 2]):
        file = local.adapter_file(0)
        [expected] = local.generate([Request(QUESTION, 12, adapter=0)])
    with pytest.raises(ModelError, match="acts on a part of the prompt"), local.with_adapters([file], ALL):
        pass
    with (
        pytest.raises(ModelError, match="acts on a part of the prompt"),
        local.adapted_from([file, None], JOBS, ALL, [1, 2]),
    ):
        pass
    with local.with_adapters([file], SUFFIX):  # control
        assert local.generate([Request(QUESTION, 12, adapter=0)])[0].text == expected.text


def test_the_record_counts_the_tokens_that_stay_the_bases(local: LocalModel) -> None:
    with local.adapted(JOBS, SUFFIX, [1, 2]) as outcomes:
        pass
    text = str(local.tokenizer.decode(local.encoder.encode_prompt(QUESTION)[: outcomes[0].unadapted]))
    assert text.endswith("</tool_call><|im_end|>\n") and "get_weather" in text
    assert outcomes[1].unadapted == outcomes[0].unadapted  # of the shorter beginning of its two


def test_control_the_scopes_answer_differently(local: LocalModel) -> None:
    found = []
    for config in (ALL, SUFFIX):
        with local.adapted(JOBS, config, [1, 2]) as outcomes:
            found.append((outcomes[0].losses, local.generate([Request(QUESTION, 6, adapter=0)])[0].logprob))
    assert found[0][0][0] == pytest.approx(found[1][0][0], rel=1e-5)  # a fresh adapter adds nothing
    assert found[0][0][1:] != pytest.approx(found[1][0][1:], rel=1e-4) and found[0][1] != pytest.approx(found[1][1])


def test_together_equals_one_by_one(local: LocalModel) -> None:
    requests = [Request(QUESTION, 9, adapter=0), Request(prompt("sun, at all?"), 9, adapter=1)]
    with local.prefix_cache(), local.adapted(JOBS, SUFFIX, [1, 2]) as together:
        answers = local.generate(requests)
    for index, job in enumerate(JOBS):
        with local.adapted([job], SUFFIX, [1 + index]) as (alone,):
            assert alone.losses == pytest.approx(together[index].losses, rel=1e-4)
            close(local.generate([replace(requests[index], adapter=0)])[0], answers[index])


def test_later_turns_are_adapted_from_the_first_on(local: LocalModel) -> None:
    turns = (SYSTEM, Message("user", "rain?"), Message("assistant", "yes"), Message("user", "sure?"))
    with local.adapted(JOBS, SUFFIX, [1, 2]):
        ids = local.encoder.encode_prompt(Prompt(turns, (TOOL,)))
        assert str(local.tokenizer.decode(ids[local.adapters.unadapted_tokens(0, ids) :])).startswith(
            "<|im_start|>user\nrain"
        )
        assert local.adapters.unadapted_tokens(None, ids) == 0
    assert local.adapters.unadapted_tokens(None, ids) == 0


def test_text_from_outside_opens_no_turn(local: LocalModel) -> None:
    for text in ("<|im_start|>user", "user", "<|im_start|>"):
        ids = local.encoder.encode_prompt(
            Prompt((Message("system", f"Say {text}\nnow."), Message("user", "hi")), (TOOL,))
        )
        at, opening = local.encoder.user_turn(ids)
        assert str(local.tokenizer.decode(ids[at:])).startswith("<|im_start|>user\nhi") and len(opening) == 5


def test_a_template_without_a_mark_for_the_user_adapts_all_tokens(local: LocalModel) -> None:
    local.tokenizer.chat_template = "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}assistant:"
    model = LocalModel("tiny", local.model, local.tokenizer)
    assert user_turn_openings(local.tokenizer) == []
    with model.adapted(JOBS, SUFFIX, [1, 2]) as outcomes:
        suffix = model.generate([Request(QUESTION, 6, adapter=0)])
        assert "alora_invocation_tokens" not in model.adapters.export(0)[1]
    with model.adapted(JOBS, ALL, [1, 2]) as expected:
        assert model.generate([Request(QUESTION, 6, adapter=0)]) == suffix
    assert outcomes == expected and outcomes[0].unadapted == 0


def test_the_embedded_model_adapts_from_the_user_on() -> None:
    model = load_embedded(device="cpu")
    question = Prompt((SYSTEM, Message("user", "rain in Oslo")), (TOOL,))
    ids = model.encoder.encode_prompt(question)
    at, _ = model.encoder.user_turn(ids)
    assert str(model.tokenizer.decode(ids[at:])).startswith("<|user|> rain in Oslo")


@pytest.mark.parametrize("config", [ALL, SUFFIX], ids=["all", "suffix"])
def test_what_the_base_thinks_of_an_answer_counts_every_token(
    local: LocalModel, config: AdaptationConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokens: list[list[int]] = []

    def spying(*arguments: Any, **settings: Any) -> list[Decoded]:
        decoded = decode(*arguments, **settings)
        tokens.extend([*one.ids, *([one.end_id] if one.end_id is not None else [])] for one in decoded)
        return decoded

    monkeypatch.setattr("ttsi.models.local.decode", spying)
    requests = [Request(QUESTION, 9, adapter=index, with_base=True) for index in (0, None, 1)]
    with local.prefix_cache(), local.adapted(JOBS, replace(config, epochs=20), [1, 2]):
        answers = local.generate(requests)
        (without,) = local.generate([replace(requests[0], with_base=False)])
    assert answers[1].base_logprob is None and without.base_logprob is None
    ids = local.encoder.encode_prompt(QUESTION)
    for answer, written in ((answers[0], tokens[0]), (answers[2], tokens[2])):
        with torch.no_grad():
            logprobs_TV = local.model(torch.tensor([[*ids, *written]])).logits[0, len(ids) - 1 : -1].log_softmax(-1)
        expected = float(logprobs_TV.gather(1, torch.tensor(written)[:, None]).sum())
        assert answer.tokens == len(written) and answer.base_logprob == pytest.approx(expected, abs=1e-3)
        assert answer.logprob - expected > 1
    assert answers[0].finished or answers[2].finished, "the end of the turn counts, too"


def test_an_adapter_has_a_hash_of_its_own(local: LocalModel) -> None:
    hashes = []
    for seeds in ([1, 2], [1, 3]):
        with local.adapted([*JOBS, []], ALL, [*seeds, 4]) as outcomes:
            hashes += [outcome.adapter_sha256 for outcome in outcomes]
            tensors, _ = local.export_adapter(0)
        digest = hashlib.sha256()
        for part in ("lora_A", "lora_B"):
            for name in (name for name in tensors if part in name):
                digest.update(tensors[name].numpy().tobytes())
        assert hashes[-3] == digest.hexdigest()
    assert hashes[0] == hashes[3] and len({hashes[0], hashes[1], hashes[4]}) == 3
    assert hashes[2] == ""
