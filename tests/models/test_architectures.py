"""Does every architecture either do exactly what it would do alone, or get refused by its name?"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from transformers import PreTrainedModel

from tests.conftest import build_tokenizer
from tests.models.architectures import SETTINGS, WINDOW, build
from ttsi.chat import templates
from ttsi.config import AdaptationConfig
from ttsi.engine import architecture, decoding, loglikelihood, prefix, training
from ttsi.engine.architecture import check_architecture
from ttsi.engine.windows import Span, Spans, spans_of
from ttsi.errors import ModelError
from ttsi.models import Request
from ttsi.models.local import LocalModel
from ttsi.types import Message, Prompt, TrainingExample

REFUSED = {
    "gpt2": "GPT2LMHeadModel is not supported: it has no linear layer to adapt",
    "gpt_neo": "GPTNeoForCausalLM is not supported: its layers look back in a way that ttsi does not know",
    "bloom": "BloomForCausalLM is not supported: its forward pass ends in",
    "mpt": "MptForCausalLM is not supported: a tree of sequences is not computed",
    "lfm2": r"Lfm2ForCausalLM is not supported: its layers look back .* \(conv\)",
    "mamba": "MambaForCausalLM is not supported: its layers look back",
    "granitemoehybrid mamba": "GraniteMoeHybridForCausalLM is not supported: its layers look back",
    "deepseek_v32": "DeepseekV32ForCausalLM is not supported: its layers look back .*index_topk",
    "doge": "DogeForCausalLM is not supported: its layers look back .*keep_window_size",
    "falcon alibi": "FalconForCausalLM is not supported: its forward pass ends in",
    "llama4_text tuned": "Llama4ForCausalLM is not supported: a tree of sequences is not computed",
}
WORKING = [name for name in SETTINGS if name not in REFUSED]
EXPERTS = {
    "mixtral",
    "granitemoe",
    "olmoe",
    "qwen3_moe",
    "qwen2_moe",
    "deepseek_v2",
    "deepseek_v3",
    "glm4_moe",
    "llama4_text",
    "gpt_oss",
}
WINDOWED = [name for name in WORKING if any(span.limit for span in spans_of(build(name)))]
SLOW = AdaptationConfig(rank=2, alpha=4.0, lr=1e-9, epochs=1)

PROMPT = Prompt((Message("user", "A request that is several times longer than the window of sixteen tokens."),), ())
SHORTER = Prompt((Message("user", "One more request, not as long."),), ())
ANSWERS = ["yes, it is", "yes, it rains", "no"]


def made(name: str) -> LocalModel:
    """A tiny model in this process."""
    return LocalModel(name, build(name), build_tokenizer())


@torch.no_grad()
def own_logprobs(model: PreTrainedModel, prompt: list[int], ending: list[int]) -> torch.Tensor:
    """The model's own forward pass, the whole sequence at once."""
    ids_T = torch.tensor([*prompt, *ending])
    logits_TV: torch.Tensor = model(input_ids=ids_T[None], use_cache=False).logits[0].float()
    return logits_TV[len(prompt) - 1 : -1].log_softmax(-1).gather(1, ids_T[len(prompt) :, None])[:, 0]


@torch.no_grad()
def own_greedy(model: PreTrainedModel, prompt: list[int], count: int) -> list[int]:
    """The likeliest token, again and again, each time from the whole sequence."""
    ids = list(prompt)
    for _ in range(count):
        ids.append(int(model(input_ids=torch.tensor([ids]), use_cache=False).logits[0, -1].argmax()))
    return ids[len(prompt) :]


def scores_are_its_own(model: LocalModel) -> bool:
    """Does `score` give what the model's own forward pass gives?"""
    ids = model.encoder.encode_prompt(PROMPT)
    expected = [float(own_logprobs(model.model, ids, model.encoder.encode_text(answer)).sum()) for answer in ANSWERS]
    return model.score([PROMPT], [ANSWERS])[0] == pytest.approx(expected, rel=1e-3, abs=1e-3)


def answers_are_its_own(model: LocalModel) -> bool:
    """Does decoding, in a batch of prompts of different length, write what the model itself would write?"""
    prompts = [tuple(model.encoder.encode_prompt(prompt)) for prompt in (PROMPT, SHORTER)]
    rows = decoding.decode(model.model, [decoding.DecodingRow(ids, 6) for ids in prompts])
    greedy = [own_greedy(model.model, list(ids), 6) for ids in prompts]
    logprobs = [
        float(own_logprobs(model.model, list(ids), ending).sum()) for ids, ending in zip(prompts, greedy, strict=True)
    ]
    same = [list(row.ids) for row in rows] == greedy
    return same and [row.logprob for row in rows] == pytest.approx(logprobs, rel=1e-3, abs=1e-3)


def first_loss_is_its_own(model: LocalModel) -> bool:
    """Is the loss before the first step the mean over the answers' tokens, end of turn included?"""
    ids, end = model.encoder.encode_prompt(PROMPT), templates.end_of_turn(model.tokenizer)
    expected = torch.cat(
        [own_logprobs(model.model, ids, [*model.encoder.encode_text(answer), end]) for answer in ANSWERS]
    )
    with model.adapted([[TrainingExample(PROMPT, answer) for answer in ANSWERS]], SLOW, [0]) as [outcome]:
        assert outcome.status == "trained"
    return outcome.losses[0] == pytest.approx(-float(expected.mean()), rel=1e-3, abs=1e-3)


@pytest.mark.parametrize("name", WORKING)
def test_it_computes_what_it_would_compute_alone(name: str) -> None:
    model = made(name)
    assert model.context == 2048 and len(model.encoder.encode_prompt(PROMPT)) > 5 * WINDOW
    assert scores_are_its_own(model) and answers_are_its_own(model) and first_loss_is_its_own(model)


@pytest.mark.parametrize("name", WORKING)
def test_adapters_act_and_leave_the_base_alone(name: str) -> None:
    model = made(name)
    digest, before = model.weights_sha256(), model.generate([Request(PROMPT, 4)])
    jobs = [[TrainingExample(PROMPT, "rain")], [TrainingExample(PROMPT, "sun"), TrainingExample(SHORTER, "sun")]]
    with model.adapted(jobs, replace(SLOW, lr=1e-2, epochs=3), [0, 1]) as outcomes:
        assert all(outcome.losses[-1] < outcome.losses[0] for outcome in outcomes)
        tuned = model.generate([Request(PROMPT, 4, adapter=at) for at in (0, 1)])
        assert model.weights_sha256() == digest
    assert len({row.logprob for row in [*before, *tuned]}) == 3
    assert model.weights_sha256() == digest
    again = model.generate([Request(PROMPT, 4)])
    assert again[0].text == before[0].text and again[0].logprob == pytest.approx(before[0].logprob, abs=1e-4)


@pytest.mark.parametrize("name", REFUSED)
def test_what_it_cannot_do_is_refused_by_name(name: str) -> None:
    with pytest.raises(ModelError, match=REFUSED[name]) as refusal:
        made(name)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("name", WORKING)
def test_weights_without_adapter_are_counted(name: str) -> None:
    model = made(name)
    share = model.describe()["unadapted_share"]
    assert (share > 0.2) == (name in EXPERTS) and (name in EXPERTS or share < 0.01)
    assert any("get no adapter" in note for note in model.describe()["notes"]) == (name in EXPERTS)


def test_windows_of_every_kind_are_among_them() -> None:
    kinds = {tuple(sorted(span.layer_type for span in spans_of(build(name)))) for name in WINDOWED}
    assert kinds == {
        ("sliding_attention",),
        ("full_attention", "sliding_attention"),
        ("chunked_attention", "full_attention"),
    }


@pytest.mark.parametrize("name", WINDOWED)
def test_what_was_read_before_is_kept_whole(name: str) -> None:
    """A later prompt goes on within what a window has left behind."""
    model = made(name)
    long = tuple(model.encoder.encode_prompt(PROMPT))
    prompts = [long, long[:-40], (*long[:-50], 5, 6, 7)]
    memory = prefix.PrefixCache()
    memory.add(model.model, prompts[:1])
    assert all(memory.lookup(ids).cached > 2 * WINDOW for ids in prompts)
    for ids, row in zip(
        prompts,
        decoding.decode(model.model, [decoding.DecodingRow(p, 4) for p in prompts], prefixes=memory),
        strict=True,
    ):
        assert list(row.ids) == own_greedy(model.model, list(ids), 4)
    for ids in prompts:
        (scores,) = loglikelihood.continuation_logprobs(model.model, [(ids, [(65, 66, 67), (65, 70)])], prefixes=memory)
        expected = [float(own_logprobs(model.model, list(ids), ending).sum()) for ending in ([65, 66, 67], [65, 70])]
        assert scores == pytest.approx(expected, rel=1e-3, abs=1e-3)


def blind(_: PreTrainedModel) -> Spans:
    """As if every layer looked back to the beginning."""
    return (Span("full_attention"),)


@pytest.mark.parametrize("name", WINDOWED)
def test_control_without_its_windows_nothing_is_right(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model = made(name)
    for module in (decoding, prefix, loglikelihood, training):
        monkeypatch.setattr(module, "spans_of", blind)
    assert not scores_are_its_own(model) and not first_loss_is_its_own(model) and not answers_are_its_own(model)


@pytest.mark.parametrize("name", WINDOWED)
def test_where_windows_cannot_be_honoured_the_context_ends_there(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (architecture, decoding, prefix, loglikelihood, training):
        plain = module.spans_of
        monkeypatch.setattr(module, "spans_of", lambda model, plain=plain: _blinder(plain(model)))
    model = made(name)
    assert model.context == WINDOW
    assert any(f"{WINDOW} of 2048 tokens" in note for note in model.notes)
    assert model.fits(PROMPT, 1) is not None


def _blinder(spans: Spans) -> Spans:
    """The limits are there to read, but hide nothing."""
    return tuple(_Blind(span.layer_type, span.window, span.chunk) for span in spans)


class _Blind(Span):
    """A span whose layers look back to the beginning."""

    def near(self, positions_BT: torch.Tensor, keys_BK: torch.Tensor) -> torch.Tensor:
        """Everything."""
        return Span(self.layer_type).near(positions_BT, keys_BK)


@pytest.mark.parametrize(
    "name", ["gemma3_text", "gemma3", "mistral window", "qwen2 window", "gemma2", "gpt_oss", "llama4_text"]
)
def test_answers_are_those_of_its_own_generate(name: str) -> None:
    model = made(name)
    ids = model.encoder.encode_prompt(PROMPT)
    (row,) = decoding.decode(model.model, [decoding.DecodingRow(tuple(ids), 20)])
    writer: Any = model.model
    whole_T = writer.generate(
        torch.tensor([ids]), attention_mask=torch.ones(1, len(ids), dtype=torch.long), do_sample=False,
        min_new_tokens=20, max_new_tokens=20, eos_token_id=None, pad_token_id=256,
    )[0]  # fmt: skip
    assert list(row.ids) == whole_T[len(ids) :].tolist()


@pytest.mark.parametrize("name", ["gemma3", "llava", "mistral3", "qwen2_5_vl", "qwen3_vl"])
def test_adapters_are_on_the_language_model_only(name: str) -> None:
    model = made(name)
    with model.adapted([[TrainingExample(PROMPT, "rain")]], SLOW, [0]):
        _, settings = model.export_adapter(0)
    assert model.adapters.stack is not None
    assert all("language_model" in layer for layer in model.adapters.stack.names)
    linear = [layer for layer, module in model.model.named_modules() if isinstance(module, torch.nn.Linear)]
    ends = tuple(f".{target}" for target in settings["target_modules"])
    assert [layer for layer in linear if f".{layer}".endswith(ends)] == model.adapters.stack.names, "as PEFT reads it"
    assert len(linear) > 1 + len(model.adapters.stack.names), "the tower has such layers, too"


def test_the_head_may_scale_cap_and_shift() -> None:
    """Of each kind one is among those that work; here each is seen to matter."""
    for name, setting, value in [
        ("gemma2", "final_logit_softcapping", 0.5),
        ("granite", "logits_scaling", 2.0),
        ("cohere", "logit_scale", 2.0),
    ]:
        model = build(name)
        setattr(model.config, setting, value)
        plain = build(name).forward
        model.forward = plain  # the model itself does as before
        with pytest.raises(ModelError, match="not supported"):
            check_architecture(model)
    head = build("phi").get_output_embeddings()
    assert isinstance(head, torch.nn.Linear) and head.bias is not None


def test_frequencies_that_depend_on_the_batch_end_the_context() -> None:
    model = build("phi3")
    model.config.rope_parameters = {
        **model.config.rope_parameters,
        "rope_type": "longrope",
        "original_max_position_embeddings": 64,
    }
    local = LocalModel("phi3", model, build_tokenizer())
    assert local.context == 64 and "64 of 2048 tokens" in local.notes[0]


def test_an_architecture_that_falls_over_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    model = build("llama")
    monkeypatch.setattr(type(model), "get_decoder", lambda self: self)
    monkeypatch.setattr(model, "model", None)
    with pytest.raises(ModelError, match="LlamaForCausalLM is not supported: it has no language model apart"):
        check_architecture(model)
