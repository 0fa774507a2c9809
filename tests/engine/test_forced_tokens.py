"""Tokens that a grammar forces are read together, and nothing but the number of passes changes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest
import torch
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from tests.engine.test_decoding import PROMPTS, STOP, naive, same, stack_of
from ttsi.engine import decoding, forced_tokens, prefix
from ttsi.engine.constraint import Grammars
from ttsi.engine.decoding import Decoded, DecodingRow, decode
from ttsi.engine.forced_tokens import aligned_block

LONG = 'start: "{name: " ("rain in the mountains" | "sun") ", day: " /[0-9]{2}/ ", done: " ("yes" | "never at all") "}"'
SHORT = 'start: /[a-c]/ "-" /[a-c]/ "-" /[a-c]/ "!"'


@pytest.fixture
def grammars(tokenizer: PreTrainedTokenizerFast) -> Grammars:
    """Compiles for the byte tokenizer."""
    return Grammars(tokenizer, 272, STOP)


def constrained_rows(temperature: float = 0.0) -> list[DecodingRow]:
    """Rows whose forced runs differ in length and place, free rows, and ends by `max_tokens` within a forced run."""
    rows = [
        DecodingRow(ids, 90, temperature, seed, grammar, slot=seed % 3 - 1, stop_ids=STOP)
        for seed, (ids, grammar) in enumerate([(ids, grammar) for ids in PROMPTS for grammar in (LONG, SHORT, LONG)])
    ]
    cut = [replace(rows[0], max_tokens=most) for most in (1, 2, 7, 8, 9, 15, 33)]
    return [*rows, *cut, DecodingRow(PROMPTS[0], 12, temperature, 5), DecodingRow((5, 6), 0, grammar=LONG)]


def step_by_step(monkeypatch: pytest.MonkeyPatch, work: Callable[[], list[Decoded]]) -> list[Decoded]:
    """The same work, one token a pass."""
    with monkeypatch.context() as patch:
        patch.setattr(decoding, "forced_tokens", lambda matcher, most: [])
        return work()


@pytest.mark.parametrize("temperature", [0.0, 1.0])
@pytest.mark.parametrize("budget", [1, 100_000])
def test_what_is_written_and_how_likely_it_is_stays_the_same(
    any_model: PreTrainedModel, grammars: Grammars, temperature: float, budget: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    stack, rows = stack_of(any_model), constrained_rows(temperature)

    def work() -> list[Decoded]:
        return decode(any_model, rows, stack=stack, grammars=grammars, token_budget=budget)

    for found, expected in zip(work(), step_by_step(monkeypatch, work), strict=True):
        same(found, expected)
    assert len({found.ids for found in work()}) > 8


def test_control_a_wrong_place_in_the_sequence_is_seen(
    model: PreTrainedModel, grammars: Grammars, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows, stack = constrained_rows()[:1], stack_of(model)
    expected = decode(model, rows, grammars=grammars, stack=stack)[0]

    def misplaced(unread: Sequence[Sequence[int]], device: torch.device) -> forced_tokens.Block:
        block = aligned_block(unread, device)
        return replace(block, offset_BT=block.offset_BT + (block.offset_BT > 0))

    monkeypatch.setattr(decoding, "aligned_block", misplaced)
    with pytest.raises(AssertionError):
        same(decode(model, rows, grammars=grammars, stack=stack)[0], expected)


def passes(model: PreTrainedModel, monkeypatch: pytest.MonkeyPatch, work: Callable[[], object]) -> int:
    """Forward passes of the model."""
    counts: list[int] = []
    body = model.base_model.forward

    def counting(**arguments: torch.Tensor) -> object:
        counts.append(arguments["input_ids"].numel())
        return body(**arguments)

    with monkeypatch.context() as patch:
        patch.setattr(model.base_model, "forward", counting)
        work()
    return len(counts)


def test_forced_tokens_need_no_pass_of_their_own(
    model: PreTrainedModel, grammars: Grammars, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = DecodingRow(PROMPTS[1], 90, grammar=LONG, stop_ids=STOP)
    (found,) = decode(model, [row], grammars=grammars)
    together = passes(model, monkeypatch, lambda: decode(model, [row], grammars=grammars))
    single = passes(
        model, monkeypatch, lambda: step_by_step(monkeypatch, lambda: decode(model, [row], grammars=grammars))
    )
    assert single == len(found.ids) + 1, "the prompt, and each token"
    assert together <= 1 + 5 + 1, "the prompt, and five choices: what, two digits, whether, and the opening"


def test_rows_without_a_grammar_are_read_as_before(model: PreTrainedModel, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [DecodingRow(ids, 10) for ids in (PROMPTS[0], PROMPTS[2])]
    assert passes(model, monkeypatch, lambda: decode(model, rows)) == 1 + 9, "the prompts, and each token but the last"
    for row, found in zip(rows, decode(model, rows), strict=True):
        same(found, naive(model, row))


def test_a_block_is_wide_only_where_most_of_it_is_filled() -> None:
    block = aligned_block([[1, 2, 3], [4, 5], [6], [7, 8]], torch.device("cpu"))
    assert block.count_B.tolist() == [2, 2, 1, 2]
    assert [row[-count:] for row, count in zip(block.ids_BT.tolist(), [2, 2, 1, 2], strict=True)] == [
        [1, 2],
        [4, 5],
        [6],
        [7, 8],
    ]
    assert block.offset_BT.tolist() == [[0, 1], [0, 1], [-1, 0], [0, 1]]
    assert aligned_block([[], [9]], torch.device("cpu")).count_B.tolist() == [0, 1]
    lonely = aligned_block([[1, 2, 3, 4], [5], [6], [7]], torch.device("cpu"))
    assert lonely.ids_BT.tolist() == [[1], [5], [6], [7]], "control: one long run among short ones waits"


def test_padding_that_needs_more_room_than_the_tokens_finds_it(
    model: PreTrainedModel, grammars: Grammars, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(forced_tokens, "LEAST_FILLED", 0.1)  # blocks as wide as the longest run
    widened: list[int] = []
    plain = prefix._widen

    def watching(whole: torch.Tensor, tokens: int) -> torch.Tensor:
        widened.append(tokens)
        return plain(whole, tokens)

    monkeypatch.setattr(prefix, "_widen", watching)
    rows = [DecodingRow(ids, 48, 1.0, seed, LONG, stop_ids=STOP) for seed, ids in enumerate(PROMPTS * 3)]
    together = decode(model, rows, grammars=grammars)
    for row, found in zip(rows, together, strict=True):
        same(found, decode(model, [row], grammars=grammars)[0])
    assert widened, "the case happened"
