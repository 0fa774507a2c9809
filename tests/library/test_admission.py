"""The test of admission keeps its promise however often one looks; a test that is not made for it does not."""

from __future__ import annotations

import random

from ttsi import stats
from ttsi.library.admission import ALPHA, divergence, e_value, is_admitted, is_hopeless

STREAMS, LENGTH = 2000, 200


def coin_flips(seed: int, share: float = 0.5) -> list[bool]:
    generator = random.Random(seed)
    return [generator.random() < share for _ in range(LENGTH)]


def ever(verdict: object, flips: list[bool]) -> bool:
    """Whether a verdict is true after any prefix."""
    assert callable(verdict)
    wins = 0
    for n, win in enumerate(flips, start=1):
        wins += win
        if verdict(wins, n - wins):
            return True
    return False


def test_looking_after_every_example_admits_no_more_useless_adapters_than_alpha() -> None:
    admitted = sum(ever(is_admitted, coin_flips(seed)) for seed in range(STREAMS))
    assert stats.wilson(admitted, STREAMS).high <= ALPHA + 0.005


def test_control_a_test_for_one_look_admits_several_times_as_many() -> None:
    def one_look(wins: int, losses: int) -> bool:
        return wins > losses and stats.mcnemar_exact(wins, losses) / 2 < ALPHA

    admitted = sum(ever(one_look, coin_flips(seed)) for seed in range(STREAMS))
    assert stats.wilson(admitted, STREAMS).low > 3 * ALPHA


def test_inputs_that_win_or_lose_as_a_whole_are_one_bet_each() -> None:
    """Control: counting each of an input's eight examples, which resemble each other, admits far too many."""

    def eightfold(wins: int, losses: int) -> bool:
        return is_admitted(8 * wins, 8 * losses)

    admitted = sum(ever(eightfold, coin_flips(seed)) for seed in range(STREAMS))
    assert stats.wilson(admitted, STREAMS).low > 5 * ALPHA


def test_useful_adapters_are_admitted_and_harmful_ones_given_up() -> None:
    assert all(ever(is_admitted, coin_flips(seed, 0.95)) for seed in range(100))
    assert all(ever(is_hopeless, coin_flips(seed, 0.05)) for seed in range(100))
    assert not any(ever(is_admitted, coin_flips(seed, 0.05)) for seed in range(100))


def test_five_wins_in_a_row_are_enough_and_four_are_not() -> None:
    assert e_value(5, 0) > 1 / ALPHA > e_value(4, 0)


def test_thousands_of_wins_are_a_number_too() -> None:
    assert is_admitted(10_000, 0)
    assert e_value(10_000, 0) > 1e300
    assert e_value(0, 10_000) == 0.0


def test_the_evidence_is_a_fair_bet_on_a_fair_coin() -> None:
    """Its mean over both results of one more example is its value now, at a share of one half."""
    for wins, losses in ((0, 0), (3, 1), (5, 7)):
        mean = (e_value(wins + 1, losses) + e_value(wins, losses + 1)) / 2
        assert abs(mean - e_value(wins, losses)) < 1e-9 * max(1.0, mean)


def test_the_divergence_counts_lost_nats_per_token_and_no_gain() -> None:
    assert divergence([-1.0], [-3.0], [4]) == 0.5
    assert divergence([-3.0], [-1.0], [4]) == 0.0
    assert divergence([-3.0, -1.0], [-1.0, -3.0], [2, 2]) == 0.5  # one answer's gain hides no other's loss
    assert divergence([], [], []) == 0.0
