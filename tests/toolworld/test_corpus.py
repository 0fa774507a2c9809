"""Does training see only what it may (no held-out domain answered, no frozen request), and the same row twice?"""

from __future__ import annotations

import random
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import pytest

from toolworld import tokenizer as pieces
from toolworld.corpus import FIRST_TOKEN_WEIGHT, Corpus, Mix, Piece, TrainingRow, answer_text, prompt_text, request_hash
from toolworld.freeze import banned_hashes
from toolworld.styles import trained_way
from toolworld.world import HELD_OUT, TEST_NEVER, VALIDATION_NEVER, Scene, draw_exchange, draw_scene

ROWS = 300
SEEDS = {"write a call like: ", "write a request like: "}


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    """A small one, learned as the real one is."""
    template = pieces.learn(["seed"], 300)

    def texts() -> Iterator[str]:
        rng = random.Random(0)
        for number in range(300):
            shown = draw_scene("training" if number % 2 else "invented", rng)
            asked = draw_exchange(rng.choice(shown.offers), trained_way(rng), rng)
            yield prompt_text(template, asked.messages, shown) + answer_text(shown, asked)

    return pieces.learn(texts(), 700)


class RecordingCorpus(Corpus):
    """A corpus that remembers which domains it answered and wrote."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.answered: set[str] = set()
        self.written: set[str] = set()

    def _answer(self, shown: Scene, *rest: Any) -> Piece | None:
        self.answered |= {offer.domain for offer in (*shown.offers, *shown.absent)}
        return super()._answer(shown, *rest)

    def _write(self, shown: Scene, *rest: Any) -> Piece | None:
        self.written |= {offer.domain for offer in shown.offers}
        return super()._write(shown, *rest)


def requests(corpus: Corpus, rows: list[TrainingRow]) -> set[str]:
    """What users say in the rows, and what is written there as if users had said it."""
    said = set()
    for row in rows:
        for number in {block for block in row.blocks if block > 0}:
            ids = [i for i, block in zip(row.ids, row.blocks, strict=True) if block in (0, number)]
            said |= _requests(corpus.tokenizer.decode(ids))
    return said


def _requests(text: str) -> set[str]:
    turns = [part.partition("<|")[0].strip() for part in text.split("<|user|>")[1:]]
    for seed in SEEDS:
        turns = [turn.removeprefix(seed) for turn in turns]
    written = text.partition("\nRequest: ")[2].partition(pieces.END)[0]
    return {turn for turn in (*turns, written.strip()) if turn}


@pytest.fixture(scope="module")
def corpus(tokenizer: Any) -> RecordingCorpus:
    """The corpus that training reads, with its first rows read."""
    watched = RecordingCorpus(tokenizer, 384, banned_hashes())
    watched.rows(0, 0, ROWS)
    return watched


def test_held_out_domains_are_written_and_never_answered(corpus: RecordingCorpus) -> None:
    assert corpus.answered
    assert not corpus.answered & set(HELD_OUT)
    assert corpus.written & set(HELD_OUT), "the control: held-out domains are met where they may be"
    assert not corpus.written & {*TEST_NEVER, *VALIDATION_NEVER}


def test_the_strict_mix_never_meets_a_held_out_domain(tokenizer: Any) -> None:
    strict = RecordingCorpus(tokenizer, 384, banned_hashes(), Mix(reverse=0.0))
    strict.rows(0, 0, 100)
    assert not (strict.answered | strict.written) & set(HELD_OUT)


def test_before_the_fork_both_models_read_the_same_rows(tokenizer: Any) -> None:
    fork = 40
    main = RecordingCorpus(tokenizer, 384, banned_hashes(), Mix(reverse_from=fork))
    strict = Corpus(tokenizer, 384, banned_hashes(), Mix(reverse=0.0))
    assert main.rows(0, 0, fork) == strict.rows(0, 0, fork)
    assert not (main.answered | main.written) & set(HELD_OUT)
    assert main.rows(0, fork, 20) != strict.rows(0, fork, 20), "the control: after it they differ"
    assert main.written & set(HELD_OUT)


def test_no_frozen_request_is_in_any_row(corpus: RecordingCorpus) -> None:
    said = requests(corpus, corpus.rows(0, 0, ROWS))
    assert len(said) > ROWS
    assert not {request_hash(text) for text in said} & banned_hashes()


def test_control_a_banned_request_is_seen_without_the_ban_and_gone_with_it(tokenizer: Any) -> None:
    free = Corpus(tokenizer, 384, frozenset())
    said = requests(free, free.rows(0, 0, 60))
    ban = frozenset(request_hash(text) for text in said)
    assert {request_hash(text) for text in requests(free, free.rows(0, 0, 60))} & ban
    banning = Corpus(tokenizer, 384, ban)
    assert not {request_hash(text) for text in requests(banning, banning.rows(0, 0, 60))} & ban


def test_a_row_depends_on_its_seed_and_number_alone(tokenizer: Any, corpus: RecordingCorpus) -> None:
    fresh = Corpus(tokenizer, 384, banned_hashes())
    together = fresh.rows(7, 10, 6)
    assert together == corpus.rows(7, 10, 6)
    assert together[4:] == fresh.rows(7, 14, 2)
    assert together == [row for number in (10, 11, 12, 13, 14, 15) for row in fresh.rows(7, number, 1)]


def test_control_another_seed_or_number_is_another_row(corpus: RecordingCorpus) -> None:
    [row] = corpus.rows(7, 10, 1)
    assert [row] != corpus.rows(8, 10, 1)
    assert [row] != corpus.rows(7, 11, 1)


def test_rows_have_one_length_and_labels_are_the_next_token_of_the_same_piece(corpus: RecordingCorpus) -> None:
    for row in corpus.rows(3, 0, 120):
        assert {len(column) for column in vars(row).values()} == {384}
        for at, label in enumerate(row.labels):
            if label != -100:
                assert row.blocks[at] > 0
                assert (row.ids[at + 1], row.blocks[at + 1]) == (label, row.blocks[at])
                assert row.weights[at] > 0
            else:
                assert row.weights[at] == 0


def test_a_piece_sees_its_positions_as_if_it_stood_alone(corpus: RecordingCorpus) -> None:
    gaps = 0
    for row in corpus.rows(4, 0, 100):
        prefix = row.blocks.count(0)
        for number in range(1, max(row.blocks) + 1):
            own = [p for p, block in zip(row.positions, row.blocks, strict=True) if block in (0, number)]
            steps = [after - before for before, after in pairwise(own)]
            assert all(step >= 1 for step in steps), "positions rise"
            assert sum(step > 1 for step in steps) <= 1, "with one stretched distance at most"
            gaps += any(step > 1 for step in steps)
        assert row.positions[0] == 0
        assert prefix > 0
    assert gaps, "some rows are stretched"


def test_the_token_that_chooses_the_tool_weighs_most(corpus: RecordingCorpus) -> None:
    row = next(row for row in corpus.rows(5, 0, 50) if FIRST_TOKEN_WEIGHT in row.weights)
    first = [at for at, weight in enumerate(row.weights) if weight == FIRST_TOKEN_WEIGHT]
    for at in first:
        assert row.labels[at - 1] == -100, "nothing before it is to be said"
        assert row.ids[at] == row.ids[first[0]], "it follows the begun answer"


def test_almost_every_row_teaches_something(tokenizer: Any) -> None:
    """A row whose tools alone fill it has no room for a piece. This tokenizer writes longer rows than the real one."""
    longer = Corpus(tokenizer, 600, banned_hashes())
    silent = sum(not any(row.weights) for row in longer.rows(0, 0, ROWS))
    assert silent < ROWS / 20
    tiny = Corpus(tokenizer, 8, banned_hashes())
    assert not any(any(row.weights) for row in tiny.rows(0, 0, 5)), "the control: nothing fits into eight tokens"
