"""A run handed to a tracker is the run: its settings, its curve up to its summary, no texts; a failure is one line."""

from __future__ import annotations

import json
import math
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.worlds import rows, write
from ttsi.cli import main
from ttsi.interop import trackers
from ttsi.runs import tally
from ttsi.stats import Interval


class Tracker:
    """Remembers what a tracker is told; `fails` is raised at the end."""

    def __init__(self, fails: Exception | None = None) -> None:
        self.begun: dict[str, Any] = {}
        self.points: list[tuple[int, dict[str, float]]] = []
        self.ended, self._fails = False, fails

    def init(self, **given: Any) -> None:
        self.begun = given

    def log(self, metrics: dict[str, float], step: int) -> None:
        self.points.append((step, metrics))

    def finish(self) -> None:
        if self._fails:
            raise self._fails
        self.ended = True


@pytest.fixture
def ran(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A finished run of 30 inputs, 4 points to a curve."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(trackers, "POINTS", 4)
    file = write(tmp_path / "mine.jsonl", rows(30))
    given = ["--model", "scripted:demo", "--quiet", "--output-dir", "runs/mine"]
    assert main(["run", "--benchmark", str(file), *given]) == 0
    yield tmp_path / "runs" / "mine"


def test_a_tracker_gets_settings_a_curve_and_the_metrics(ran: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tracker = Tracker()
    monkeypatch.setitem(sys.modules, "trackio", tracker)
    assert main(["export", "runs/mine", "--format", "trackio", "--project", "agents"]) == 0
    summary = json.loads((ran / "summary.json").read_text())
    assert (tracker.begun["project"], tracker.begun["name"]) == ("agents", "mine")
    assert tracker.begun["config"] == json.loads((ran / "config.json").read_text())
    assert [step for step, _ in tracker.points] == [7, 15, 22, 30, 30]
    last, final = tracker.points[-2][1], tracker.points[-1][1]
    assert last["gain"] == pytest.approx(summary["gain"]["points"])
    assert last["score/base"] == pytest.approx(summary["base"]["score"])
    assert final["final/adapted.strict"] == summary["metrics"]["adapted.strict"]
    told = [value for _, point in tracker.points for value in point.values()]
    assert all(isinstance(value, float) and not math.isnan(value) for value in told)
    assert tracker.ended


def test_control_the_curve_of_half_a_run_is_not_its_end(ran: Path) -> None:
    summary = json.loads((ran / "summary.json").read_text())
    points = dict(trackers.curve(ran, 30, "strict", 0))
    assert points[30]["gain"] == pytest.approx(summary["gain"]["points"])
    assert points[7] != points[30]


def test_the_last_point_has_the_interval_of_the_summary_whatever_the_seed(
    ran: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = ["--model", "scripted:demo", "--quiet", "--output-dir", "runs/seeded", "--seed", "5"]
    assert main(["run", "--benchmark", "mine.jsonl", *given]) == 0
    monkeypatch.setitem(sys.modules, "trackio", tracker := Tracker())
    assert main(["export", "runs/seeded", "--format", "trackio"]) == 0
    gain = json.loads(Path("runs/seeded/summary.json").read_text())["gain"]
    last = tracker.points[-2][1]
    assert [last["gain"], last["gain/low"], last["gain/high"]] == pytest.approx([gain["points"], *gain["ci95"]])
    # So few inputs have the same interval with nearly every seed, so look at the seed itself.
    monkeypatch.setattr(tally, "changed_verdicts", lambda fixed, broken, n, seed: Interval(seed, seed))
    assert main(["export", "runs/seeded", "--format", "trackio"]) == 0
    assert tracker.points[-2][1]["gain/low"] == 500
    assert main(["export", "runs/mine", "--format", "trackio"]) == 0
    assert tracker.points[-2][1]["gain/low"] == 0, "control: a run of another seed"


@pytest.mark.parametrize(
    ("given", "line"),
    [
        (["--format", "trackio"], "trackio is not installed: pip install 'ttsi[track]'"),
        (["--format", "wandb"], "wandb is not installed: pip install wandb"),
        (["--format", "trackio", "--output", "a.csv"], "leave --output out"),
    ],
)
def test_what_a_tracker_cannot_do_is_one_line(
    ran: Path, given: list[str], line: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "trackio", None)
    monkeypatch.setitem(sys.modules, "wandb", None)
    assert main(["export", "runs/mine", *given]) == 2
    assert line in capsys.readouterr().err


def test_a_tracker_that_fails_costs_one_line_and_no_run(
    ran: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "wandb", Tracker(RuntimeError("no\nnetwork")))
    before = {path.name: path.read_bytes() for path in ran.iterdir()}
    assert main(["export", "runs/mine", "--format", "wandb"]) == 2
    assert capsys.readouterr().err.endswith("wandb did not take the run: no network\n")
    assert {path.name: path.read_bytes() for path in ran.iterdir()} == before
    monkeypatch.setitem(sys.modules, "wandb", SimpleNamespace())
    assert main(["export", "runs/mine", "--format", "wandb"]) == 2, "control: another module of that name"


def test_a_real_tracker_takes_it(ran: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In its own database, on this machine."""
    pytest.importorskip("trackio", reason="needs pip install 'ttsi[track]', which wants an older pillow than ours")
    monkeypatch.setenv("TRACKIO_DIR", str(ran.parent / "tracked"))
    subprocess.run([sys.executable, "-m", "ttsi", "export", str(ran), "--format", "trackio"], check=True)
    with sqlite3.connect(ran.parent / "tracked" / "ttsi.db") as db:
        assert db.execute("select count(*) from metrics where run_name = 'mine'").fetchone() == (31,)
