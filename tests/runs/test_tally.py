"""Counts that grow row by row say what counting all rows says; the interval is a paired one; texts are not needed."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from tests.runs.test_summary import config, row
from tests.test_codec import FULL
from ttsi.record import Question, RunRow
from ttsi.runs.summary import summarise
from ttsi.runs.tally import Fingerprint, RunProgress, Tally, strip_text
from ttsi.types import Example, Input


def random_rows(n: int) -> list[RunRow]:
    rng = random.Random(0)
    return [row(i, rng.random() < 0.5, rng.random() < 0.7, rng.random(), kind=rng.choice("ab")) for i in range(n)]


def test_the_tally_says_what_the_summary_says() -> None:
    rows = [*random_rows(50), row(50, None, None)]
    tally = Tally(60, "strict")
    for one in rows:
        tally.add(one)
    state, summary = tally.progress(), summarise(rows, config())
    assert (state.done, state.total, state.graded) == (51, 60, 50)
    assert (state.fixed, state.broken) == (summary["gain"]["fixed"], summary["gain"]["broken"])
    assert state.unsure == summary["n_unsure"]
    points, _ = state.gain() or pytest.fail()
    assert points == pytest.approx(summary["gain"]["points"])


def test_the_interval_is_the_summarys() -> None:
    rows = random_rows(50)
    settings = config()
    for seed in (0, 7):
        tally = Tally(50, "strict", seed)
        for one in rows:
            tally.add(one)
        settings["settings"]["loop"]["seed"] = seed
        _, interval = tally.progress().gain() or pytest.fail()
        assert interval is not None
        assert [interval.low, interval.high] == summarise(rows, settings)["gain"]["ci95"]


def test_the_interval_is_paired() -> None:
    _, interval = RunProgress(200, 200, 0, 0, 200, 100, 120, fixed=30, broken=10).gain() or pytest.fail()
    assert interval is not None
    # Control: as if base and adapted were other inputs' answers, it would be far wider.
    assert interval.high - interval.low < 0.7 * 2 * 1.96 * 100 * (2 * 0.25 / 200) ** 0.5


@pytest.mark.parametrize(("n", "fixed", "broken"), [(1, 1, 0), (1, 0, 0), (4, 0, 0), (3, 3, 0), (3, 0, 3)])
def test_inputs_that_changed_alike_make_no_interval(n: int, fixed: int, broken: int) -> None:
    rows = [row(i, i >= n - broken, i < fixed) for i in range(n)]
    tally = Tally(n, "strict")
    for one in rows:
        tally.add(one)
    points, interval = tally.progress().gain() or pytest.fail()
    assert interval is None
    gain = summarise(rows, config())["gain"]
    assert (gain["ci95"], gain["points"]) == (None, points)
    # Control: one more input that changed in another way makes one.
    tally.add(row(99, fixed + broken > 0, True))
    assert (tally.progress().gain() or pytest.fail())[1] is not None


def test_without_gold_there_is_no_gain() -> None:
    assert RunProgress(3, 3, 1, 0, 0, 0, 0).gain() is None


def test_a_row_without_its_texts_counts_the_same() -> None:
    dear = Example("q", (), "raw", "schema: city is missing", tokens=7, dollars=0.5, attempt_errors=("429",))
    full = replace(FULL, examples=(*FULL.examples, dear))
    rows = [replace(one, episode=replace(full, input_hash=one.episode.input_hash)) for one in random_rows(9)]
    rows = [replace(one, question=Question(Input("q", (), ()), ())) for one in rows]
    light = [strip_text(one) for one in rows]
    assert summarise(light, config()) == summarise(rows, config())
    metrics = summarise(light, config())["metrics"]
    assert (metrics["teacher.dollars"], metrics["teacher.fault.429"], metrics["examples.refused.schema"]) == (4.5, 9, 9)
    assert light[0].question is None
    assert light[0].episode.base is not None and light[0].episode.base.text == ""
    assert light[0].episode.examples[0] is light[1].episode.examples[0], "one object for all"


def test_the_fingerprint_sees_everything_but_time() -> None:
    def of(*rows: RunRow) -> str:
        print_ = Fingerprint()
        for one in rows:
            print_.add(one)
        return print_.hexdigest()

    one, two = random_rows(2)
    later = replace(one, episode=replace(one.episode, seconds={"answer": 9.0}))
    assert of(one, two) == of(later, two)
    assert of(one, two) == of(replace(one, question=Question(Input("q", (), ()), None)), two)
    assert len({of(one, two), of(two, one), of(one), of(replace(one, attempts=2), two)}) == 4
