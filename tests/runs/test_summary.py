"""The summary's keys are a contract; failures, missing gold and the method `base` have their own values in it."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest

from ttsi.config import AwarenessConfig
from ttsi.methods import preset
from ttsi.reports import tables
from ttsi.runs.store import RunRow
from ttsi.runs.summary import summarise
from ttsi.types import Adaptation, Answer, Awareness, Episode, Example

KEYS = [
    "schema", "benchmark", "decoding", "calls", "model", "method", "seed", "n", "n_error", "n_unsure", "base",
    "adapted", "gain", "omission", "awareness", "samples_trained", "seconds", "metrics", "strata", "matcher", "reasons",
]  # fmt: skip


def config(method: str = "ttsi") -> dict[str, Any]:
    from dataclasses import asdict

    settings = {
        "model": "m",
        "method": method,
        "loop": asdict(replace(preset(method, "embedded"), awareness=AwarenessConfig())),
    }
    return {"settings": settings, "data": {"benchmark": "b", "matcher": "strict"}}


def row(number: int, base: bool | None, adapted: bool | None, sure: float = 0.5, **tags: str) -> RunRow:
    answer = Answer("", ())
    awareness = Awareness((), "margin", sure, 0.95, sure < 0.95, {"margin": sure, "top1": -sure, "broken": math.nan})
    episode = Episode(
        f"q{number}", f"{number:064x}", answer, answer, awareness, (Example("", (), ""), Example("", (), "", "copy")),
        Adaptation("trained", 1, 2, (1.0, 0.5)), {"awareness": 1.0, "answer": 0.5},
    )  # fmt: skip
    grades = None if base is None or adapted is None else {"strict": {"base": base, "adapted": adapted}}
    return RunRow(episode, 0, number, grades, tags)


def test_every_number_by_hand() -> None:
    rows = [
        row(0, True, True, 1.0, kind="a"),
        row(1, False, True, 0.1, kind="a"),
        row(2, False, True, 0.2, kind="b"),
        row(3, True, False, 0.15, kind="b"),
    ]
    summary = summarise(rows, config())
    assert list(summary) == KEYS
    assert (summary["n"], summary["n_error"], summary["n_unsure"]) == (4, 0, 3)
    assert summary["base"] == {"score": 50.0, "stderr": pytest.approx(28.8675)}
    assert summary["adapted"]["score"] == 75.0
    assert summary["gain"]["points"] == 25.0
    assert (summary["gain"]["fixed"], summary["gain"]["broken"], summary["gain"]["p_mcnemar"]) == (2, 1, 1.0)
    low, high = summary["gain"]["ci95"]
    assert -50 <= low < 25 < high <= 100
    # Wrong bases have 0.1 and 0.2, right ones 1.0 and 0.15: three of four pairs are in order.
    assert summary["awareness"] == {"auroc": 0.75, "tau": 0.95}
    assert summary["metrics"]["auroc.top1"] == 0.25
    assert summary["metrics"]["auroc.broken"] is None
    assert summary["samples_trained"] == 4
    assert summary["metrics"]["examples.kept"] == 50.0
    assert summary["seconds"] == {"awareness": 4.0, "synthesis": 0, "adaptation": 0, "answer": 2.0, "total": 6.0}
    assert summary["strata"] == {
        "kind=a": {"n": 2, "base": 50.0, "adapted": 100.0},
        "kind=b": {"n": 2, "base": 50.0, "adapted": 50.0},
    }


def test_refused_answers_count_by_what_was_done() -> None:
    done = (Adaptation("in-context", samples=3, refused="no"), Adaptation("trained", samples=2, steps=5, refused="no"))
    rows = [row(i, True, True) for i in range(3)]
    rows = [replace(one, episode=replace(one.episode, adaptation=it)) for one, it in zip(rows, done, strict=False)]
    summary = summarise(rows, config())
    metrics = summary["metrics"]
    assert (summary["samples_trained"], metrics["examples.in_context"]) == (2, 3)
    assert (metrics["adaptations.refused"], metrics["adaptations.attempted"]) == (2, 2)
    given = [
        replace(one, episode=replace(one.episode, adaptation=replace(it, refused="")))
        for one, it in zip(rows, done, strict=True)
    ]
    assert summarise(given, config())["metrics"]["adaptations.refused"] == 0, "control"


def test_what_leaving_out_alone_would_give_is_said() -> None:
    """Of three bases the first becomes right without training and the last wrong; a fourth has no such verdict."""
    pairs = [(False, True), (False, False), (True, False)]
    rows = [row(i, base, True) for i, (base, _) in enumerate(pairs)]
    for one, (base, shorter) in zip(rows, pairs, strict=True):
        both = {"strict": {"base": base, "adapted": True}, "strict omit-unstated": {"base": shorter, "adapted": True}}
        rows[one.position] = replace(one, grades=both)
    summary = summarise([*rows, row(3, True, True)], config())
    omission = summary["omission"]
    assert (omission["n"], omission["fixed"], omission["broken"], omission["points"]) == (3, 1, 1, 0.0)
    assert omission["score"] == pytest.approx(100 / 3)
    assert "omission 33.3 %  (+0.0 points" in tables.plain(summary)
    same = summarise([replace(rows[1], position=0)], config())
    assert same["omission"]["fixed"] == 0 and "omission" not in tables.plain(same), "control: nothing would change"
    assert summarise([row(0, True, True)], config())["omission"] is None, "control: an older run"


def test_method_base_has_no_adapted_and_no_gain() -> None:
    summary = summarise([row(0, True, True), row(1, False, False)], config("base"))
    assert summary["adapted"] is None
    assert summary["gain"] is None
    assert not any(name.startswith("adapted.") for name in summary["metrics"])
    assert "adapted" not in tables.plain(summary)


def test_inputs_without_gold_have_no_score() -> None:
    summary = summarise([row(0, None, None), row(1, None, None)], config())
    assert summary["base"] == summary["adapted"] == {"score": None, "stderr": None}
    assert summary["gain"] is None
    assert "not graded" in tables.plain(summary)
    mixed = summarise([row(0, None, None), row(1, True, False)], config())
    assert mixed["base"] == {"score": 100.0, "stderr": None}
    assert (mixed["n"], mixed["metrics"]["graded"]) == (2, 1)


def test_a_rule_is_counted_over_the_rows_that_it_judged() -> None:
    # A row whose right calls nobody knows (BFCL's relevance) has the owners' verdict only.
    judged = {"base": False, "adapted": True}
    both = replace(row(0, True, True), grades={"strict": {"base": True, "adapted": True}, "official": judged})
    alone = replace(row(1, True, True), grades={"official": judged})
    given = config()
    given["data"]["matcher"] = "official"
    summary = summarise([both, alone], given)
    assert (summary["base"]["score"], summary["adapted"]["score"]) == (0.0, 100.0)
    assert summary["metrics"]["base.strict"] == 100.0
    assert summary["metrics"]["base.official"] == 0.0
    assert summary["metrics"]["graded"] == 2


def test_a_failed_input_counts_and_is_shown() -> None:
    failed = row(1, False, False)
    failed = replace(failed, episode=replace(failed.episode, base=None, adapted=None, awareness=None, error="x: y"))
    summary = summarise([row(0, True, True), failed], config())
    assert summary["n_error"] == 1
    assert summary["base"]["score"] == 50.0
    assert "failed   1 of 2 inputs" in tables.plain(summary)
    assert "failed" not in tables.plain(summarise([row(0, True, True)], config()))


def test_adaptations_that_were_given_up_are_shown() -> None:
    lost = row(0, True, True)
    lost = replace(lost, episode=replace(lost.episode, adaptation=Adaptation("training-failed", reason="diverged")))
    summary = summarise([lost], config())
    assert (summary["samples_trained"], summary["metrics"]["adaptations.training-failed"]) == (0, 1)
    assert "1 adaptation; there the base answered" in tables.plain(summary)


def test_how_far_the_adapters_moved_the_answers_is_shown() -> None:
    rows = [row(0, True, True), row(1, True, True), row(2, True, True)]
    for index, shift in ((0, 0.5), (1, 0.25)):
        moved = Adaptation("trained", 1, 1, (1.0,), logprob_shift=shift)
        rows[index] = replace(rows[index], episode=replace(rows[index].episode, adaptation=moved))
    summary = summarise(rows, config())
    assert summary["metrics"]["adaptations.logprob_shift"] == 0.375
    assert "by +0.375 nats per token" in tables.plain(summary)
    nothing = summarise(rows[2:], config())
    assert nothing["metrics"]["adaptations.logprob_shift"] is None and "nats per token" not in tables.plain(nothing)


def test_no_rows_at_all() -> None:
    summary = summarise([], config())
    assert (summary["n"], summary["base"]["score"], summary["gain"]) == (0, None, None)
    assert tables.plain(summary)


def test_the_rich_table_says_the_same_as_the_plain_one() -> None:
    from io import StringIO

    from rich.console import Console

    summary = summarise([row(0, True, True, kind="a"), row(1, False, True, kind="[red]b")], config())
    out = StringIO()
    Console(file=out, width=160).print(tables.table(summary))
    for name, value in tables.lines(summary):
        assert name in out.getvalue()
        assert value in out.getvalue()
        assert value in tables.plain(summary)
    assert "kind=[red]b" in out.getvalue(), "tags are data, not markup"
