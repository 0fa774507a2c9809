"""`ttsi ls`, `ttsi env`, `--help` and the progress lines."""

from __future__ import annotations

from typing import Any

import pytest

from ttsi import __version__
from ttsi.cli.progress import EVERY, _Lines, progress
from ttsi.runs.runner import Progress


@pytest.mark.parametrize(
    ("kind", "names"),
    [
        ("benchmarks", ("toolworld", "sealtool", "FILE.jsonl")),
        ("models", ("embedded", "hf:OWNER/NAME", "scripted:NAME")),
        ("measures", ("margin", "entropy")),
        ("methods", ("base", "ttsi", "ttsi-paper", "ttsi-icl")),
    ],
)
def test_ls_has_a_line_for_each(ttsi: Any, kind: str, names: tuple[str, ...]) -> None:
    said = ttsi("ls", kind)
    listed = dict(line.split(None, 1) for line in said.out.splitlines())
    assert said.code == 0
    assert set(names) <= set(listed)
    assert all(gloss.strip() for gloss in listed.values())


def test_ls_runs_knows_finished_and_unfinished(ttsi: Any, tmp_path: Any) -> None:
    assert "no runs in runs" in ttsi("ls", "runs").err
    ttsi("run", "--benchmark", "mine.jsonl", "--model", "scripted:demo", "--output-dir", "runs/a")
    ttsi("run", "--benchmark", "mine.jsonl", "--model", "scripted:demo", "--output-dir", "runs/b")
    (tmp_path / "runs" / "b" / "summary.json").unlink()
    (tmp_path / "runs" / "c").mkdir()
    first, second = ttsi("ls", "runs").out.splitlines()
    assert first.startswith("a  8 inputs, base ")
    assert "unfinished" in second


def test_env_names_versions(ttsi: Any) -> None:
    said = ttsi("env")
    assert said.code == 0
    for name in ("ttsi", "python", "torch", "llguidance", "gpu", "cores"):
        assert any(line.startswith(name) for line in said.out.splitlines())


def test_help_teaches_by_examples(ttsi: Any) -> None:
    said = ttsi("--help")
    assert said.code == 0
    assert 'ttsi ask "book seats for a film in Oslo" --tools examples/tools.json' in said.out
    assert __version__ in ttsi("--version").out
    help_ = ttsi("run", "--help").out
    for knob in ("--awareness.tau", "--synthesis.k", "--adaptation.lr", "--answer.decoding", "--tau", "--resume"):
        assert knob in help_


def state(done: int) -> Progress:
    fixed = done // 4
    return Progress(done, 100, done // 2, 0, graded=done, base_right=0, adapted_right=fixed, fixed=fixed)


def test_lines_come_every_ten_seconds_with_the_time_left(capsys: pytest.CaptureFixture[str]) -> None:
    now = [0.0]
    report = _Lines(lambda: now[0])
    for seconds, done in ((0.0, 20), (4.0, 30), (EVERY, 40), (EVERY + 1, 50), (40.0, 100)):
        now[0] = seconds
        report(state(done))
    lines = capsys.readouterr().err.splitlines()
    assert lines == [
        "ttsi: 40 of 100 inputs, unsure 50.0 %, base 0.0 %, adapted 25.0 %, gain so far +25.0 points "
        "(95 % interval +12.5 to +40.0), inputs per second 2, time left 30 s",
        "ttsi: 100 of 100 inputs, unsure 50.0 %, base 0.0 %, adapted 25.0 %, gain so far +25.0 points "
        "(95 % interval +17.0 to +34.0), inputs per second 2",
    ]


def test_quiet_says_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with progress(quiet=True) as report:
        report(state(100))
    assert capsys.readouterr() == ("", "")


def test_a_terminal_gets_a_live_table(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "120")
    with progress(quiet=False) as report:
        report(state(0))
        report(state(100))
    said = capsys.readouterr()
    assert said.out == ""
    assert "100 of 100 inputs" in said.err
    for name in ("inputs per second", "unsure", "gain so far", "95 % interval"):
        assert name in said.err
