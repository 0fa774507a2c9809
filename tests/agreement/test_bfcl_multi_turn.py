"""Agreement of our judge of BFCL's multi-turn tasks with the owners' checker: a part by default, all on request."""

from __future__ import annotations

from random import Random

import pytest

from tests.agreement.bfcl_multi_turn import Comparison, compare_brackets, compare_mutants, compare_results
from tests.agreement.test_agreement import output_of
from tests.benchmarks.places import DATA, needs
from tests.environments.bfcl_worlds import needs_simulators
from ttsi.benchmarks.bfcl_judge import BFCLJudge
from ttsi.benchmarks.bfcl_multi_turn import CATEGORIES, GoldTask, read_tasks

pytestmark = [needs("bfcl"), needs_simulators]


def some_tasks(count: int) -> list[GoldTask]:
    tasks = [one for category in CATEGORIES for one in read_tasks(DATA, category)[0]]
    return Random(1).sample(tasks, count)


def test_verdicts_and_results_are_the_owners() -> None:
    tasks, comparison = some_tasks(36), Comparison()
    compare_results(tasks, comparison)
    compare_mutants(tasks, 45, 1, comparison)
    compare_brackets(tasks, 36, 1, comparison)
    assert comparison.disagreements == []
    # Control: there is something to agree about.
    assert comparison.counts["result"] > 100
    assert comparison.right["a call of another task"] > 0
    assert comparison.right["a call dropped"] == 0
    assert 0 < comparison.right["a space before a bracket"] < comparison.counts["a space before a bracket"]


@pytest.mark.parametrize("verdict", [True, False])
def test_control_a_judge_that_does_not_look_is_seen(verdict: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(BFCLJudge, "__call__", lambda judge, trajectory: {"episode": verdict})
    comparison = Comparison()
    compare_mutants(some_tasks(20), 27, 1, comparison)
    assert len(comparison.disagreements) > 5


@pytest.mark.agreement
def test_all_gold_trajectories_and_thousands_of_mutants() -> None:
    printed = output_of("bfcl_multi_turn", "--mutants", "2500", "--every-drop")
    assert "0 disagreements in all" in printed
