"""F1 over a whole run: the owners' counting stands beside Hammer's where they have one, and nowhere else."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.reports.records import GOLD, row
from ttsi.runs.corpus_f1 import CorpusF1
from ttsi.types import Answer


def metrics(benchmark: str, adapts: bool = True) -> dict[str, float | None]:
    f1 = CorpusF1(benchmark, adapts)
    unreadable = row(2, False)
    episode = replace(unreadable.episode, base=Answer("oops", (), error="no JSON"), adapted=Answer("none fits", ()))
    for one in (row(0, True), row(1, False, True), replace(unreadable, episode=episode)):
        f1.add(one, GOLD)
    f1.add(row(3, None), None)
    return f1.metrics()


def test_seal_tools_owners_count_beside_hammer() -> None:
    result = metrics("sealtool")
    # Base: one right call, one wrong one, one answer that cannot be read, which Hammer counts as a call.
    assert result["base.f1_tools"] == pytest.approx(200 * 1 / (3 + 3))
    assert result["base.official_f1_tools"] == pytest.approx(200 * 1 / (2 + 3))
    assert result["adapted.f1_tools"] == result["adapted.official_f1_tools"] == pytest.approx(200 * 2 / (2 + 3))
    assert result["gain.official_f1_tools"] == pytest.approx(80 - 40)
    # Neither text holds a call that Seal-Tools could read.
    assert result["base.official_format"] == result["adapted.official_format"] == pytest.approx(200 / 3)


def test_control_others_have_no_counting_of_their_own() -> None:
    assert not [name for name in metrics("toolworld") if "official" in name]
    assert not [name for name in metrics("sealtool", adapts=False) if name.startswith(("adapted", "gain"))]
    assert CorpusF1("sealtool", True).metrics() == {}
