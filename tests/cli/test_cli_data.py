"""`ttsi data`: what there is, what is here, and one line for whatever is not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.benchmarks.places import DATA, needs
from ttsi.benchmarks.datasets import datasets


@pytest.fixture(autouse=True)
def home(tmp_path: Path, ttsi: Any, monkeypatch: pytest.MonkeyPatch) -> Path:
    # After `ttsi`, which clears every TTSI_ variable.
    monkeypatch.setenv("TTSI_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def test_ls_names_every_source_with_its_licence(ttsi: Any) -> None:
    said = ttsi("data", "ls")
    assert said.code == 0
    assert [line.split()[0] for line in said.out.splitlines()] == list(datasets())
    assert "NON-COMMERCIAL" in next(line for line in said.out.splitlines() if line.startswith("nexusraven"))
    assert "0/39 files here" in said.out


def test_without_data_one_line_says_what_to_do(ttsi: Any) -> None:
    for arguments in (("run", "--benchmark", "bfcl", "--model", "scripted:demo"), ("data", "check", "bfcl")):
        said = ttsi(*arguments)
        assert said.code == 2
        assert said.out == ""
        assert len(said.err.splitlines()) == 1
        assert "ttsi data get bfcl" in said.err
    assert "did you mean 'bfcl'" in ttsi("data", "get", "bfl").err


@pytest.mark.parametrize("name", ["b29.csv", "b29.json", "mine.jsonl.zip", "data/b29", "b29"])
def test_a_file_of_another_kind_is_told_the_kind_that_is_read(ttsi: Any, tmp_path: Path, name: str) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "b29").touch()
    said = ttsi("data", "check", name)
    assert (said.code, said.out, said.err.count("\n")) == (2, "", 1)
    expected = "unknown data source 'b29'; choose one of" if name == "b29" else f"{name} is no .jsonl file: write one"
    assert expected in said.err and ".jsonl" in said.err
    assert "choose one of" in ttsi("data", "get", name).err  # control: a data set can be got, and no file


def test_the_licence_is_shown_before_anything_is_done(ttsi: Any) -> None:
    said = ttsi("data", "get", "nexusraven")
    first, second = said.err.splitlines()
    assert said.code == 2
    assert "NON-COMMERCIAL" in first
    assert "ttsi data import nexusraven DIR" in second


@needs("seal-tools")
def test_a_copy_is_imported_checked_and_found_by_run(ttsi: Any, home: Path) -> None:
    said = ttsi("data", "import", "seal-tools", str(DATA))
    assert (said.code, said.out.strip()) == (0, str(home / "data" / "seal-tools"))
    assert json.loads((home / "data" / "seal-tools" / "manifest.json").read_text())["source"] == "seal-tools"
    checked = ttsi("data", "check")
    assert checked.code == 0
    assert "seal-tools-in: 700 rows, 2 that no answer can solve" in checked.out
    run = (
        "run",
        "--benchmark",
        "seal-tools-dev",
        "--model",
        "scripted:demo",
        "--method",
        "base",
        "--limit",
        "2",
        "--json",
    )
    assert json.loads(ttsi(*run).out)["n"] == 2
    # Control: a changed file is seen, and no row of it is counted.
    (home / "data" / "seal-tools" / "dev.jsonl").write_text("{}\n")
    damaged = ttsi("data", "check", "seal-tools")
    assert damaged.code == 1
    assert "dev.jsonl is not the file of the pinned commit" in damaged.out
    assert "rows" not in damaged.out
