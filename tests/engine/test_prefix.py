"""Is a prompt read from where it departs the same as one read whole, and is nothing read twice?"""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import PreTrainedModel

from tests.conftest import build_model
from tests.engine.test_decoding import same
from ttsi.engine import prefix
from ttsi.engine.batching import SATURATING_TOKENS, pass_tokens
from ttsi.engine.decoding import DecodingRow, decode
from ttsi.engine.loglikelihood import continuation_logprobs
from ttsi.engine.lora import LoraStack
from ttsi.engine.prefix import CachedPrompt, PrefixCache, PrefixEntry, preallocated_cache, prefill

LONG = tuple(range(1, 101))
PROMPTS = [LONG, (*LONG, 200, 201), (*LONG[:80], *range(120, 170)), (7, 8, 9), LONG[:90]]


@pytest.fixture(autouse=True)
def keep_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    """In these tests two tokens are worth keeping."""
    monkeypatch.setattr(prefix, "MIN_CACHED_TOKENS", 1)


def plainly(model: PreTrainedModel, ids: tuple[int, ...]) -> PrefixEntry:
    """The prompt from its first token, alone."""
    (found,) = prefill(model, [CachedPrompt(ids)])
    return found


def close(found: PrefixEntry, expected: PrefixEntry) -> None:
    """Equal up to rounding, layer by layer."""
    assert found.ids == expected.ids
    torch.testing.assert_close(found.pairs_L, expected.pairs_L, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(found.last_D, expected.last_D, rtol=1e-4, atol=1e-5)


def tokens_read(model: PreTrainedModel, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Fills with the number of tokens (padding included) of each forward pass."""
    counts: list[int] = []
    body = model.base_model.forward

    def counting(**arguments: torch.Tensor) -> object:
        counts.append(arguments["input_ids"].numel())
        return body(**arguments)

    monkeypatch.setattr(model.base_model, "forward", counting)
    return counts


def test_read_from_where_it_departs_equals_read_whole(any_model: PreTrainedModel) -> None:
    known = PrefixCache()
    known.add(any_model, PROMPTS[:2])
    openings = [known.lookup(ids) for ids in PROMPTS]
    assert [opening.cached for opening in openings] == [99, 101, 80, 0, 89]
    for found, ids in zip(prefill(any_model, openings), PROMPTS, strict=True):
        close(found, plainly(any_model, ids))


def test_control_a_wrong_beginning_is_seen(model: PreTrainedModel) -> None:
    other = plainly(model, (9, *LONG[1:]))
    (wrong,) = prefill(model, [CachedPrompt(LONG, before=other, cached=60)])
    assert float((wrong.last_D - plainly(model, LONG).last_D).abs().max()) > 1e-3


def test_control_an_adapters_beginning_is_another(model: PreTrainedModel) -> None:
    stack = LoraStack(model, 1, 4, 8.0)
    stack.values_SP.normal_(std=0.2, generator=torch.Generator().manual_seed(2))
    stack.attach()
    tuned, base = prefill(model, [CachedPrompt(LONG, slot=0), CachedPrompt(LONG)], stack)
    assert float((tuned.pairs_L[1][0] - base.pairs_L[1][0]).abs().max()) > 1e-3
    close(base, plainly(model, LONG))


def test_common_beginnings_are_read_once(model: PreTrainedModel, monkeypatch: pytest.MonkeyPatch) -> None:
    counts = tokens_read(model, monkeypatch)
    known = PrefixCache()
    known.add(model, [(*LONG, 150 + at, 7) for at in range(5)])
    assert counts == [100, 10]
    known.add(model, [(*LONG, 150 + at, 7) for at in range(5)])
    assert counts == [100, 10]


def test_nested_common_beginnings_are_read_from_the_root(
    model: PreTrainedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    counts = tokens_read(model, monkeypatch)
    known = PrefixCache()
    known.add(model, [(*LONG, branch, 201, leaf, 9) for branch in (150, 151) for leaf in (5, 6)])
    assert counts == [100, 4, 8]


def test_short_prompts_are_not_worth_keeping(model: PreTrainedModel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prefix, "MIN_CACHED_TOKENS", 32)
    counts = tokens_read(model, monkeypatch)
    known = PrefixCache()
    known.add(model, [LONG[:32]])
    assert counts == [] and known.lookup(LONG).cached == 0
    known.add(model, [LONG[:33]])
    assert counts == [33] and known.lookup(LONG).cached == 33


def test_without_room_nothing_is_kept_and_nothing_changes(model: PreTrainedModel) -> None:
    known = PrefixCache(max_bytes=0)
    rows = [DecodingRow(ids, 6) for ids in PROMPTS]
    for found, expected in zip(decode(model, rows, prefixes=known), decode(model, rows), strict=True):
        same(found, expected)
    assert known.lookup(LONG).cached == 0


def test_an_entry_takes_the_place_of_its_beginnings(model: PreTrainedModel) -> None:
    one, longer, branch = (plainly(model, ids) for ids in (LONG[:50], LONG, (*LONG[:50], 7)))
    known = PrefixCache(max_bytes=longer.bytes + branch.bytes)
    for entry, expected in (
        (one, one.bytes),
        (one, one.bytes),
        (longer, longer.bytes),
        (branch, longer.bytes + branch.bytes),
        (longer, longer.bytes + branch.bytes),
    ):
        assert known.insert(entry) and known.bytes == expected
    assert not known.insert(plainly(model, PROMPTS[3]))  # control: another prompt needs room of its own


def test_scores_and_answers_go_on_from_what_was_read(
    any_model: PreTrainedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [DecodingRow(ids, 8) for ids in PROMPTS]
    items = [(ids, [(5, 6, 7), (5, 6), (9,)]) for ids in PROMPTS]
    alone = [decode(any_model, [row])[0] for row in rows]
    scored = [continuation_logprobs(any_model, [item])[0] for item in items]
    known = PrefixCache()
    for found, expected in zip(decode(any_model, rows, prefixes=known), alone, strict=True):
        same(found, expected)
    counts = tokens_read(any_model, monkeypatch)
    for found, expected in zip(continuation_logprobs(any_model, items, prefixes=known), scored, strict=True):
        assert found == pytest.approx(expected, abs=1e-4)
    assert counts == [5 * 5]  # the last token of each prompt, 5 6 7 and 9: nothing else
    for found, expected in zip(decode(any_model, rows, prefixes=known), alone, strict=True):
        same(found, expected)


def test_rows_with_adapters_take_nothing_from_the_base(model: PreTrainedModel) -> None:
    stack = LoraStack(model, 2, 4, 8.0)
    stack.values_SP.normal_(std=0.2, generator=torch.Generator().manual_seed(2))
    stack.attach()
    rows = [DecodingRow(ids, 8, slot=slot) for ids in PROMPTS for slot in (-1, 0, 1)]
    known = PrefixCache()
    known.add(model, PROMPTS)
    for row, found in zip(rows, decode(model, rows, stack=stack, prefixes=known), strict=True):
        same(found, decode(model, [row], stack=stack)[0])
    assert len({found.ids for found in decode(model, [replace(row, ids=LONG) for row in rows[:3]], stack=stack)}) == 3


@pytest.mark.parametrize("unadapted", [0, 40])
def test_an_adapter_goes_on_from_what_it_has_read(
    model: PreTrainedModel, monkeypatch: pytest.MonkeyPatch, unadapted: int
) -> None:
    stack = LoraStack(model, 2, 4, 8.0)
    stack.values_SP.normal_(std=0.2, generator=torch.Generator().manual_seed(2))
    stack.attach()
    kept = [PrefixCache(), PrefixCache()]
    turns = [LONG, (*LONG, 7, 8, 9), (*LONG, 7, 8, 9, 3)]
    rows = [[DecodingRow(ids, 6, slot=slot, unadapted=unadapted) for slot in (0, 1)] for ids in turns]
    alone = [decode(model, pair, stack=stack) for pair in rows]
    counts = tokens_read(model, monkeypatch)
    for pair, expected in zip(rows, alone, strict=True):
        counts.clear()
        keeping = [replace(row, adapted_prefixes=kept[row.slot]) for row in pair]
        for found, one in zip(decode(model, keeping, stack=stack), expected, strict=True):
            same(found, one)
        beginning = [unadapted] if unadapted and pair is rows[0] else []
        new = len(LONG) - unadapted if pair is rows[0] else 3 if pair is rows[1] else 1
        assert counts[: len(beginning) + 1] == [*beginning, 2 * new]


def test_control_another_adapters_prompt_is_another(model: PreTrainedModel) -> None:
    stack = LoraStack(model, 2, 4, 8.0)
    stack.values_SP.normal_(std=0.2, generator=torch.Generator().manual_seed(2))
    stack.attach()
    kept = PrefixCache()
    decode(model, [DecodingRow(LONG, 1, slot=0, adapted_prefixes=kept)], stack=stack)
    row = DecodingRow((*LONG, 7), 6, slot=1)
    [right], [wrong] = (decode(model, [replace(row, adapted_prefixes=one)], stack=stack) for one in (None, kept))
    assert abs(right.logprob - wrong.logprob) > 1e-3


def test_a_slab_writes_in_place_and_rows_move_up(model: PreTrainedModel) -> None:
    reads = [plainly(model, ids) for ids in PROMPTS[2:]]
    cache = preallocated_cache(reads, max_new_tokens=2)
    layer = cache.layers[0]
    assert isinstance(layer, prefix.PreallocatedCacheLayer) and layer.keys is not None
    place, longest = layer.keys.data_ptr(), 130
    new = torch.randn(3, 2, 1, 8, generator=torch.Generator().manual_seed(0))
    keys, _ = layer.update(new, new)
    assert keys.data_ptr() == place and keys.shape[2] == longest + 1 == layer.get_seq_length()
    torch.testing.assert_close(keys[1, :, :3], reads[1].pairs_L[0][0])
    assert not keys[1, :, 3:longest].any() and torch.equal(keys[:, :, longest], new[:, :, 0])
    cache.batch_select_indices(torch.tensor([0, 2]))
    assert layer.keys.data_ptr() == place
    torch.testing.assert_close(layer.keys[1, :, : len(PROMPTS[4])], reads[2].pairs_L[0][0])
    assert torch.equal(layer.keys[1, :, longest], new[2, :, 0])


MODEL = build_model("llama")
prompts = st.lists(st.lists(st.integers(0, 2), min_size=1, max_size=9).map(tuple), min_size=1, max_size=6)


@settings(max_examples=30, deadline=None, derandomize=True)
@given(prompts, prompts)
def test_any_prompts(first: list[tuple[int, ...]], second: list[tuple[int, ...]]) -> None:
    known = PrefixCache()
    known.add(MODEL, first)
    known.add(MODEL, second)
    for found in prefill(MODEL, [known.lookup(ids) for ids in [*second, *first]]):
        close(found, plainly(MODEL, found.ids))


@pytest.mark.parametrize("tokens", [256, 512])
def test_one_pass_takes_no_more_than_suits_the_device(
    any_model: PreTrainedModel, monkeypatch: pytest.MonkeyPatch, tokens: int
) -> None:
    """The second value is the control: with more allowed, the same prompts are read in fewer and larger passes."""
    monkeypatch.setattr(prefix, "pass_tokens", lambda device: tokens)
    counts = tokens_read(any_model, monkeypatch)
    prefill(any_model, [CachedPrompt(tuple(range(at, at + 64))) for at in range(1, 9)])
    assert counts == [tokens] * (512 // tokens)


def test_a_cpu_gets_no_more_than_keeps_it_busy() -> None:
    assert pass_tokens(torch.device("cpu")) == SATURATING_TOKENS < pass_tokens(torch.device("cuda"))
