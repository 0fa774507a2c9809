"""Is tau found on a finished run what its recipe promises, and is what a recipe lacks named in one line?"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Command
from tests.worlds import rows, write
from ttsi.runs.store import read_rows

RUN = ("run", "--model", "scripted:demo", "--awareness.measure", "margin", "--quiet")


@pytest.fixture
def measured(ttsi: Command, tmp_path: Path) -> list[float]:
    """A finished base run `val`; its margins, ascending."""
    write(tmp_path / "val.jsonl", rows(12))
    assert ttsi(*RUN, "--benchmark", "val.jsonl", "--method", "base", "--output-dir", "val").code == 0
    found = [row.episode.awareness for row in read_rows(tmp_path / "val")]
    return sorted(known.measures["margin"] for known in found if known)


def tau_of(ttsi: Command, recipe: str, *arguments: str) -> float:
    said = ttsi(*RUN, "--benchmark", "mine.jsonl", "--tau", recipe, "--dry-run", "--json", *arguments)
    assert said.code == 0, said.err
    return float(json.loads(said.out)["settings"]["loop"]["awareness"]["tau"])


def test_quantile_and_budget(ttsi: Command, measured: list[float]) -> None:
    assert tau_of(ttsi, "quantile:0.5:val") == measured[6]
    # Two of the eight inputs to come are a quarter, so three of the twelve values.
    assert tau_of(ttsi, "budget:2:val") == measured[3]
    assert tau_of(ttsi, "budget:2:val", "--limit", "4") == measured[6]
    assert tau_of(ttsi, "budget:99:val") == float("inf")


def test_conformal(ttsi: Command, measured: list[float]) -> None:
    assert tau_of(ttsi, "conformal-share:0.5:val") == measured[5]
    assert tau_of(ttsi, "conformal-risk:0.01:val") == float("inf"), "twelve values promise nothing about 1 %"
    assert tau_of(ttsi, "conformal-risk:0.3:val") <= tau_of(ttsi, "conformal-risk:0.1:val")


def test_the_tau_that_was_found_is_what_the_run_records(ttsi: Command, tmp_path: Path, measured: list[float]) -> None:
    said = ttsi(*RUN, "--benchmark", "mine.jsonl", "--tau", "quantile:0.5:val", "--output-dir", "out", "--json")
    assert json.loads(said.out)["awareness"]["tau"] == measured[6]
    assert '"tau": ' + str(measured[6]) in (tmp_path / "out" / "config.json").read_text()


@pytest.mark.parametrize("place", ["flag", "environment", "file"])
def test_a_recipe_may_stand_wherever_a_number_may(
    ttsi: Command, tmp_path: Path, measured: list[float], monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    arguments: tuple[str, ...] = ("--tau", "quantile:0.5:val")
    if place == "environment":
        monkeypatch.setenv("TTSI_TAU", arguments[1])
        arguments = ()
    if place == "file":
        (tmp_path / "c.yaml").write_text("tau: quantile:0.5:val\n")
        arguments = ("--config", "c.yaml")
    said = ttsi(*RUN, "--benchmark", "mine.jsonl", "--dry-run", "--json", *arguments)
    assert json.loads(said.out)["settings"]["loop"]["awareness"]["tau"] == measured[6], said.err


@pytest.mark.parametrize(
    ("other", "says"),
    [
        (("--decoding", "free"), "has answer.decoding constrained, this one free"),
        (("--awareness.candidates", "calls"), "has awareness.candidates names, this one calls"),
        (("--awareness.no-no-tool",), "has awareness.no_tool True, this one False"),
        (("--answer.max-tokens", "9"), "has answer.max_tokens 160, this one 9"),
    ],
)
def test_a_run_that_measured_something_else_is_refused(
    ttsi: Command, measured: list[float], other: tuple[str, ...], says: str
) -> None:
    recipe = ("--benchmark", "mine.jsonl", "--tau", "quantile:0.5:val", "--dry-run", "--json")
    said = ttsi(*RUN, *recipe, *other)
    assert (said.code, said.err.count("\n")) == (2, 1)
    assert says in said.err
    speaker = ("run", "--model", "scripted:other", "--awareness.measure", "margin", "--quiet")
    assert "has model scripted:demo, this one scripted:other" in ttsi(*speaker, *recipe).err
    # Control: what does not touch a measure may differ.
    assert ttsi(*RUN, *recipe, "--k", "2", "--awareness.gate", "all").code == 0


@pytest.mark.parametrize(
    ("recipe", "says"),
    [
        ("quantle:0.5:val", "did you mean 'quantile'"),
        ("quantile:0.5", "RUN being a run folder"),
        ("quantile:half:val", "RUN being a run folder"),
        ("quantile:1.5:val", "between 0 and 1"),
        ("quantile:0.5:nowhere", "nowhere"),
        (
            "conformal-risk:0.5:blind",
            "3 of 4 inputs of blind have no gold, and a risk holds for inputs like those that were graded: "
            "make RUN from a file in which every row has gold",
        ),
        ("high", "tau"),
    ],
)
def test_what_a_recipe_lacks_is_one_line(
    ttsi: Command, tmp_path: Path, measured: list[float], recipe: str, says: str
) -> None:
    blind: list[dict[str, Any]] = [one if not i else {**one, "gold": None} for i, one in enumerate(rows(4))]
    write(tmp_path / "blind.jsonl", blind)
    assert ttsi(*RUN, "--benchmark", "blind.jsonl", "--method", "base", "--output-dir", "blind").code == 0
    said = ttsi(*RUN, "--benchmark", "mine.jsonl", "--tau", recipe, "--dry-run", "--json")
    assert (said.code, said.err.count("\n")) == (2, 1)
    assert says in said.err
