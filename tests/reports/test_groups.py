"""Runs that differ in the seed alone belong together; everything else keeps them apart."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.reports.records import config, four, row, run
from ttsi.errors import ConfigError
from ttsi.reports.groups import group_runs, outcomes


def test_seeds_are_pooled_and_outcomes_averaged() -> None:
    second = replace(four("two", seed=1), rows=[row(0), row(1, False, False, 0.1), row(2, False, True), row(3, True)])
    [group] = group_runs([four(), second])
    assert [r.name for r in group.runs] == ["one", "two"]
    assert list(outcomes(group, "base").values()) == [1, 0, 0, 1]
    assert list(outcomes(group, "adapted").values()) == [1, 0.5, 0.5, 0.5]


def other(path: str, value: Any) -> dict[str, Any]:
    changed = config(seed=1)
    place = changed
    *outer, last = path.split(".")
    for key in outer:
        place = place[key]
    place[last] = value
    return changed


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("settings.loop.synthesis.k", 3),
        ("settings.model", "other"),
        ("settings.loop.answer.decoding", "free"),
        ("data.checksum", "other"),
        ("data.n", 3),
        ("model.weights_sha256", "other"),
    ],
)
def test_control_anything_else_that_differs_makes_another_group(path: str, value: Any) -> None:
    separate = group_runs([four(), run(list(four().rows), "two", other(path, value))])
    assert [group.letter for group in separate] == ["A", "B"]


def test_where_the_data_lie_and_versions_do_not_matter() -> None:
    same = [four(), run(list(four().rows), "two", other("settings.data", "/elsewhere"))]
    newer = other("versions.ttsi", "9")
    newer["settings"]["loop"]["seed"] = 2
    assert len(group_runs([*same, run(list(four().rows), "three", newer)])) == 1


def test_a_seed_that_stands_twice_is_refused_by_the_names_of_both() -> None:
    with pytest.raises(ConfigError, match="one and copy have the same settings and seed: their answers would count"):
        group_runs([four("zero", seed=1), four(), four("copy")])
    read = replace(four("copy"), folder=Path("sweep/copy"))
    with pytest.raises(ConfigError, match="one and sweep/copy have"):
        group_runs([four(), read])
    larger = config()
    larger["settings"]["batch_size"] = 64
    with pytest.raises(ConfigError, match="same settings"):  # batches change no answer
        group_runs([four(), run(list(four().rows), "two", larger)])


def test_control_the_same_seed_of_other_settings_is_no_copy() -> None:
    larger = config()
    larger["settings"]["loop"]["synthesis"]["k"] = 3
    assert len(group_runs([four(), four("two", seed=1), run(list(four().rows), "three", larger)])) == 2


def test_a_measure_that_is_no_number_is_no_value() -> None:
    one = row(0, sure=0.3)
    awareness = one.episode.awareness
    assert awareness is not None
    lost = replace(one, episode=replace(one.episode, awareness=replace(awareness, measures={"x": math.nan})))
    assert (one.measure("margin"), one.measure("top1"), lost.measure("x"), lost.measure("y")) == (
        0.3,
        0.65,
        None,
        None,
    )
    assert replace(one, episode=replace(one.episode, awareness=None)).measure("margin") is None


def test_ungraded_rows_have_no_outcome() -> None:
    [group] = group_runs([run([row(0, None), row(1, True)])])
    assert list(outcomes(group, "base")) == [row(1).key]
