"""Does a greedy row end where it repeats itself, and only there?"""

from __future__ import annotations

from dataclasses import replace

import pytest
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from ttsi.engine.constraint import Grammars
from ttsi.engine.decoding import DecodingRow, decode
from ttsi.engine.repetition import repeats_itself

ROW = DecodingRow((7, 8), 200, repetition_limit=16)
FORCED, CHOSEN = 'start: /[7]{100}/ "!"', "start: /[7]{100}[78]*/"
"""Grammars that force a hundred equal tokens; one of them leaves a choice behind them."""


@pytest.mark.parametrize(
    ("ids", "repeats"),
    [
        ([9, *[5] * 16], True),
        ([9, *[5, 6] * 8], True),
        ([9, *[5, 6, 7, 8] * 4], True),
        ([9, *[5, 6, 7, 8, 4] * 4], False),  # three times within the last 16
        ([*[5] * 16, 9], False),
        ([9, *[5] * 15], False),
        (list(range(40)), False),
        ([], False),
    ],
)
def test_the_last_tokens_repeat_themselves_four_times(ids: list[int], repeats: bool) -> None:
    assert repeats_itself(ids, 16) == repeats
    assert not repeats_itself(ids, 0)


def looping(model: PreTrainedModel) -> DecodingRow:
    """A row whose greedy answer by a random model runs into a loop."""
    rows = [replace(ROW, ids=(token, token + 1)) for token in range(20)]
    found = decode(model, rows)
    return next(row for row, one in zip(rows, found, strict=True) if one.repeats)


def test_a_loop_ends_early_with_the_tokens_that_it_would_have_begun_with(model: PreTrainedModel) -> None:
    row = looping(model)
    [cut], [whole] = decode(model, [row]), decode(model, [replace(row, repetition_limit=0)])
    assert cut.repeats and not cut.finished and repeats_itself(cut.ids, 16)
    assert not any(repeats_itself(cut.ids[:end], 16) for end in range(len(cut.ids))), "it ends at once"
    assert len(whole.ids) == 200 and not whole.repeats  # control
    assert whole.ids[: len(cut.ids)] == cut.ids


def test_a_loop_leaves_the_other_rows_alone(model: PreTrainedModel) -> None:
    row, other = looping(model), DecodingRow((1, 2, 3), 40)
    [alone] = decode(model, [other])
    together = decode(model, [row, other, row])
    assert together[0].repeats and together[2].repeats
    assert together[1].ids == alone.ids and not together[1].repeats


def test_a_sampled_row_may_leave_its_loop(model: PreTrainedModel) -> None:
    row = replace(looping(model), temperature=1e-6)
    [sampled] = decode(model, [row])
    assert len(sampled.ids) == 200 and not sampled.repeats


def test_what_a_grammar_forces_is_no_loop(model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast) -> None:
    grammars = Grammars(tokenizer, 272, frozenset({258}))
    row = replace(ROW, grammar=FORCED, stop_ids=frozenset({258}))
    [forced] = decode(model, [row], grammars=grammars)
    assert forced.finished and not forced.repeats and len(forced.ids) > 100
    [chosen] = decode(model, [replace(row, grammar=CHOSEN)], grammars=grammars)
    assert chosen.repeats  # control
