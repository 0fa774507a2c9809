"""Does a row of sequences with a common beginning compute what each sequence computes alone?"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import PreTrainedModel

from tests.conftest import build_model
from ttsi.engine import architecture
from ttsi.engine.architecture import check_architecture
from ttsi.engine.packing import EncodedExample, collate, label_logprobs, pack
from ttsi.engine.prefix import CachedPrompt, PrefixCache, cache_of, prefill
from ttsi.errors import ModelError

DEVICE = torch.device("cpu")
SEQUENCES: list[EncodedExample] = [
    ((1, 2, 3, 4, 5, 6), 4),
    ((1, 2, 3, 9, 8), 3),
    ((1, 2, 3, 4, 5, 7, 7), 4),
    ((1, 2, 3), 2),
]


@torch.no_grad()
def naive(model: PreTrainedModel, sequence: EncodedExample) -> torch.Tensor:
    """The plain way: the whole sequence alone, all logits, then the labels' share."""
    ids, n_prompt = sequence
    logprobs_TV: torch.Tensor = model(input_ids=torch.tensor([ids]), use_cache=False).logits[0].log_softmax(-1)
    return logprobs_TV[torch.arange(n_prompt - 1, len(ids) - 1), list(ids[n_prompt:])]


@torch.no_grad()
def packed(model: PreTrainedModel, rows: list[list[EncodedExample]]) -> torch.Tensor:
    """Log-probabilities of all labels of all rows."""
    return label_logprobs(model, collate([pack(row) for row in rows], DEVICE, model.dtype))


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_packed_equals_alone(any_model: PreTrainedModel, attention: str) -> None:
    any_model.set_attn_implementation(attention)
    expected = torch.cat([naive(any_model, sequence) for sequence in SEQUENCES])
    torch.testing.assert_close(packed(any_model, [SEQUENCES]), expected, rtol=1e-5, atol=1e-5)


def test_padded_rows_equal_alone(model: PreTrainedModel) -> None:
    rows: list[list[EncodedExample]] = [SEQUENCES, [((5, 6), 1)], [((200, 201, 7), 1), ((200, 5), 1)]]
    expected = torch.cat([naive(model, sequence) for row in rows for sequence in row])
    torch.testing.assert_close(packed(model, rows), expected, rtol=1e-5, atol=1e-5)


def test_control_without_the_block_mask_it_differs(model: PreTrainedModel) -> None:
    batch = collate([pack(SEQUENCES)], DEVICE, model.dtype)
    causal = torch.full((len(pack(SEQUENCES).ids_T),) * 2, torch.finfo(torch.float32).min).triu(1)[None, None]
    with torch.no_grad():
        wrong = label_logprobs(model, replace(batch, mask_B1TT=causal))
        right = label_logprobs(model, batch)
    assert float((wrong - right).abs().max()) > 1e-2


def test_control_without_restarting_positions_it_differs(model: PreTrainedModel) -> None:
    batch = collate([pack(SEQUENCES)], DEVICE, model.dtype)
    with torch.no_grad():
        wrong = label_logprobs(model, replace(batch, positions_BT=torch.arange(batch.ids_BT.shape[1])[None]))
    assert float((wrong - packed(model, [SEQUENCES])).abs().max()) > 1e-3


def test_gradients_equal_alone(model: PreTrainedModel) -> None:
    weight = model.get_parameter("model.layers.0.self_attn.k_proj.weight")

    def gradient(rows: list[list[EncodedExample]]) -> torch.Tensor:
        batch = collate([pack(row) for row in rows], DEVICE, model.dtype)
        (found,) = torch.autograd.grad(label_logprobs(model, batch).sum(), weight)
        return found

    alone = gradient([[sequence] for sequence in SEQUENCES])
    torch.testing.assert_close(gradient([SEQUENCES]), alone, rtol=1e-4, atol=1e-4)


def test_many_labels_are_worked_off_in_parts(model: PreTrainedModel, monkeypatch: pytest.MonkeyPatch) -> None:
    weight = model.get_parameter("model.norm.weight")
    batch = collate([pack(SEQUENCES)], DEVICE, model.dtype)
    whole = label_logprobs(model, batch)
    (expected,) = torch.autograd.grad(whole.sum(), weight)
    monkeypatch.setattr("ttsi.engine.packing.HEAD_ROWS", 2)
    parts = label_logprobs(model, batch)
    (found,) = torch.autograd.grad(parts.sum(), weight)
    torch.testing.assert_close(parts, whole)
    torch.testing.assert_close(found, expected)


ids = st.lists(st.integers(0, 3), min_size=1, max_size=6)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(ids, ids), min_size=1, max_size=4))
def test_any_sequences(pairs: list[tuple[list[int], list[int]]]) -> None:
    sequences: list[EncodedExample] = [(prompt + target, len(prompt)) for prompt, target in pairs]
    row = pack(sequences)
    assert row.counts_K == tuple(len(target) for _, target in pairs)
    assert list(row.targets_N) == [token for _, target in pairs for token in target]
    assert len(row.ids_T) <= sum(len(found) for found, _ in sequences)
    expected = torch.cat([naive(MODEL, sequence) for sequence in sequences])
    torch.testing.assert_close(packed(MODEL, [sequences]), expected, rtol=1e-5, atol=1e-5)


MODEL = build_model("llama")


def test_a_token_that_sequences_share_stands_there_once() -> None:
    row = pack([((1, 2, 3, 4, 5), 2), ((1, 2, 3, 4, 6), 2), ((1, 2, 9), 2), ((1, 2, 3), 2)])
    assert row.ids_T == (1, 2, 3, 4, 5, 6, 9)
    assert row.positions_T == (0, 1, 2, 3, 4, 4, 2)
    batch = collate([row], DEVICE, torch.float32)
    assert len(batch.labels_N) == 8 and len(batch.targets_U) == 5  # 3 4 5, 3 4 6, 9, 3


def test_a_cached_beginning_equals_one_in_the_row(any_model: PreTrainedModel) -> None:
    known = PrefixCache()
    known.insert(prefill(any_model, [CachedPrompt((1, 2, 3))])[0])
    known.insert(prefill(any_model, [CachedPrompt((8, 7, 6, 5, 4))])[0])
    rows: list[list[EncodedExample]] = [SEQUENCES[:3], [((8, 7, 6, 5, 4, 3, 2), 5), ((8, 7, 6, 5, 4, 3, 1, 1), 5)]]
    openings = [known.lookup((1, 2, 3)), known.lookup((8, 7, 6, 5, 4))]
    cache, length = cache_of(openings)
    packs = [pack(row, opening.cached) for row, opening in zip(rows, openings, strict=True)]
    with torch.no_grad():
        found = label_logprobs(any_model, collate(packs, DEVICE, any_model.dtype, length), cache)
    torch.testing.assert_close(found, packed(any_model, rows), rtol=1e-5, atol=1e-5)


def test_control_a_prompt_must_not_lie_in_the_cache_whole() -> None:
    with pytest.raises(ValueError, match="cache"):
        pack(SEQUENCES[:3], cached=3)


def test_one_sequence_needs_no_mask() -> None:
    batch = collate([pack([SEQUENCES[0]]), pack([SEQUENCES[1]])], DEVICE, torch.float32)
    assert batch.mask_B1TT is None and batch.positions_BT is None


def test_prompt_is_needed() -> None:
    with pytest.raises(ValueError, match="prompt"):
        pack([((1, 2), 0)])


def test_unknown_arithmetic_is_refused(any_model: PreTrainedModel) -> None:
    check_architecture(any_model)
    plain = any_model.forward
    any_model.forward = lambda **kwargs: _scaled(plain(**kwargs))  # as models with scaled logits do
    with pytest.raises(ModelError, match="not supported"):
        check_architecture(any_model)


@pytest.mark.parametrize(("dtype", "refused"), [(torch.bfloat16, False), (torch.float32, True)])
def test_in_bfloat16_rounding_on_unlikely_tokens_is_no_other_arithmetic(
    monkeypatch: pytest.MonkeyPatch, dtype: torch.dtype, refused: bool
) -> None:
    model = build_model("llama").to(dtype)
    _with_noise(monkeypatch, lambda sequences: sequences == architecture.SEQUENCES)
    with pytest.raises(ModelError, match="tree of sequences") if refused else nullcontext():
        check_architecture(model)


def test_control_other_arithmetic_on_likely_tokens_is_refused_in_bfloat16(monkeypatch: pytest.MonkeyPatch) -> None:
    _with_noise(monkeypatch, lambda sequences: True)
    with pytest.raises(ModelError, match="tree of sequences"):
        check_architecture(build_model("llama").to(torch.bfloat16))


def _with_noise(monkeypatch: pytest.MonkeyPatch, on: Callable[[architecture.Sequences], bool]) -> None:
    """Move the tree's log-probabilities by three nats on some sequences."""
    plain = architecture._tree

    def noisy(model: PreTrainedModel, sequences: architecture.Sequences) -> torch.Tensor:
        return plain(model, sequences) + 3.0 * on(sequences)

    monkeypatch.setattr(architecture, "_tree", noisy)


def test_likely_sequences_begin_alike_and_repeat_no_token(any_model: PreTrainedModel) -> None:
    first, second = architecture._likely_sequences(any_model)
    shared = architecture.SHARED
    assert first[:shared] == second[:shared] and first[shared] != second[shared]
    assert len(set(first)) == len(first) == len(set(second)) == len(second) == architecture.LENGTH


def _scaled(output: object) -> object:
    output.logits = output.logits * 0.5  # type: ignore[attr-defined]
    return output
