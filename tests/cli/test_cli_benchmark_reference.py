"""A benchmark of one's own from the command: `--benchmark package.module:object`, its module in the current folder."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.cli.conftest import Command
from ttsi.runs.store import read_json

MODULE = """
import sys

from ttsi.benchmarks import Benchmark, Sample
from ttsi.types import Input, Message, Tool, ToolCall

TOOL = Tool("get_time", "Tell the time", {"type": "object", "properties": {}})

def load(split="test"):
    question = Input("one", (Message("user", "What time is it?"),), (TOOL,))
    return Benchmark(f"clock-{split}", (Sample(question, (ToolCall("get_time", {}),)),), "0" * 64, "clock.py")

def leave(**options):
    sys.exit(3)

def nothing():
    return Benchmark("none", (), "0" * 64, "none.csv")

def read(folder):
    return load()

def read_all(data_dir, *rest, limit=None, **options):
    return load()
"""


@pytest.fixture(autouse=True)
def module(ttsi: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "clock_of_mine.py").write_text(MODULE)
    monkeypatch.delitem(sys.modules, "clock_of_mine", raising=False)
    return "clock_of_mine"


def test_a_reference_runs_is_resumed_and_is_data_to_learn_from(ttsi: Command, tmp_path: Path) -> None:
    run = ("run", "--benchmark", "clock_of_mine:load", "--model", "scripted:demo", "--quiet", "--output-dir", "out")
    assert ttsi(*run).code == 0
    summary = read_json(tmp_path / "out" / "summary.json")
    assert (summary["n"], summary["matcher"]) == (1, "strict")
    assert read_json(tmp_path / "out" / "config.json")["data"]["checksum"] == "0" * 64
    assert ttsi(*run, "--resume").code == 0
    learned = (
        "run",
        "--limit",
        "1",
        "--model",
        "scripted:demo",
        "--method",
        "icl",
        "--train-data",
        "clock_of_mine:load",
    )
    assert ttsi(*learned, "--quiet", "--output-dir", "icl").code == 0


def test_control_what_is_no_benchmark_is_one_line(ttsi: Command) -> None:
    for name, words in (
        ("clock_of_mine:TOOL", "is a Tool; give a Benchmark"),
        ("clock_of_yours:load", "cannot import"),
        ("clock_of_mine:leave", "benchmark 'clock_of_mine:leave': SystemExit: 3"),
        ("clock_of_mine:nothing", "benchmark 'clock_of_mine:nothing' has no samples"),
        ("clock_of_mine:read", "'clock_of_mine:read' wants 'folder': name its parameters data_dir or split"),
    ):
        result = ttsi("run", "--benchmark", name, "--model", "scripted:demo")
        assert result.code == 2
        assert words in result.err
        assert len(result.err.splitlines()) == 1
    assert ttsi("run", "--benchmark", "clock_of_mine:read_all", "--model", "scripted:demo", "--quiet").code == 0


def test_a_model_that_leaves_the_program_is_one_line(ttsi: Command) -> None:
    result = ttsi("run", "--benchmark", "clock_of_mine:load", "--model", "clock_of_mine:leave")
    assert (result.code, result.err.splitlines()[-1]) == (2, "ttsi: model 'clock_of_mine:leave': SystemExit: 3")


def test_a_model_that_takes_other_parameters_is_one_line(ttsi: Command) -> None:
    result = ttsi("run", "--benchmark", "clock_of_mine:load", "--model", "clock_of_mine:read")
    assert (result.code, result.err.splitlines()[-1]) == (
        2,
        "ttsi: model 'clock_of_mine:read' is called with device, dtype, and missing a required argument: 'folder': "
        "see docs/extending.md",
    )
    result = ttsi("run", "--benchmark", "clock_of_mine:load", "--model", "clock_of_mine:leave")
    assert "is called with" not in result.err, "the control: it takes them"
