"""`ttsi ls`, `ttsi env`, `--help` and the progress lines."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import pytest

from tests.worlds import rows, write
from ttsi import __version__
from ttsi.agents import task_episode
from ttsi.chat.calls import FORMATS
from ttsi.cli.progress import (
    AGENT_LOG,
    LINE_INTERVAL,
    TRAINING_LOG,
    _Lines,
    _StageLines,
    _Stages,
    announced,
    loading,
    progress,
)
from ttsi.log_listener import STAGE_LOG
from ttsi.models import scripted
from ttsi.models.scripted import DemoModel
from ttsi.runs.tally import RunProgress


@pytest.mark.parametrize(
    ("kind", "names"),
    [
        ("benchmarks", ("toolworld", "sealtool", "FILE.jsonl")),
        ("models", ("embedded", "smollm2", "FILE.gguf", "hf:OWNER/NAME[@REV][:FILE.gguf]", "scripted:NAME")),
        ("measures", ("margin", "entropy")),
        ("methods", ("base", "ttsi", "ttsi-paper", "ttsi-icl")),
    ],
)
def test_ls_has_a_line_for_each(ttsi: Any, kind: str, names: tuple[str, ...]) -> None:
    result = ttsi("ls", kind)
    entries = dict(line.split(None, 1) for line in result.out.splitlines())
    assert result.code == 0
    assert set(names) <= set(entries)
    assert all(gloss.strip() for gloss in entries.values())
    assert f"your own {kind[:-1]} works too: --" in result.err and "package.module:object" in result.err


def test_ls_runs_knows_finished_and_unfinished(ttsi: Any, tmp_path: Any) -> None:
    assert "no runs in runs" in ttsi("ls", "runs").err
    ttsi("run", "--benchmark", "mine.jsonl", "--model", "scripted:demo", "--output-dir", "runs/a")
    ttsi("run", "--benchmark", "mine.jsonl", "--model", "scripted:demo", "--output-dir", "runs/b")
    (tmp_path / "runs" / "b" / "summary.json").unlink()
    (tmp_path / "runs" / "c").mkdir()
    first, second = ttsi("ls", "runs").out.splitlines()
    assert first.startswith("a  8 inputs, base ")
    assert second.endswith("unfinished; continue with: ttsi run --resume --output-dir runs/b")
    assert ttsi("run", "--resume", "--output-dir", "runs/b").out.startswith("mine, 8 inputs")


def test_ls_runs_names_the_inputs_that_a_score_is_over(ttsi: Any, tmp_path: Path) -> None:
    mixed = rows(3)
    del mixed[1]["gold"]
    write(tmp_path / "mixed.jsonl", mixed)
    write(tmp_path / "whole.jsonl", rows(3))
    for name in ("mixed", "whole"):
        run = ("run", "--benchmark", f"{name}.jsonl", "--model", "scripted:demo", "--quiet")
        assert ttsi(*run, "--output-dir", f"runs/{name}").code == 0
    mixed_line, whole_line = ttsi("ls", "runs").out.splitlines()
    assert mixed_line.startswith("mixed  3 inputs, 2 graded, base ")
    assert whole_line.startswith("whole  3 inputs, base ")  # control


def test_env_names_versions(ttsi: Any) -> None:
    result = ttsi("env")
    assert result.code == 0
    for name in ("ttsi", "python", "torch", "llguidance", "gpu", "cores"):
        assert any(line.startswith(name) for line in result.out.splitlines())


def test_help_teaches_by_examples(ttsi: Any) -> None:
    result = ttsi("--help")
    assert result.code == 0
    assert 'ttsi ask "book seats for a film in Oslo" --tools examples/tools.json' in result.out
    assert __version__ in ttsi("--version").out
    help_ = ttsi("run", "--help").out
    for knob in ("--awareness.tau", "--synthesis.k", "--adaptation.lr", "--answer.decoding", "--tau", "--resume"):
        assert knob in help_


def test_env_says_how_threads_wait_and_who_said_so(ttsi: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    monkeypatch.setenv("OMP_WAIT_POLICY", "ACTIVE")
    lines = dict(line.split(None, 1) for line in ttsi("env").out.splitlines())
    assert lines["OMP_NUM_THREADS"] == "3 (from the environment)"
    assert lines["OMP_WAIT_POLICY"] == "ACTIVE (from the environment)"
    assert "cpu" in lines


def test_env_of_a_model_shows_its_format_and_handshake(ttsi: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = ttsi("env", "--model", "scripted:demo").out
    lines = dict(line.split(None, 1) for line in plain.partition("\n\n")[2].splitlines())
    assert lines["model"] == "scripted:demo"
    assert lines["format"] in FORMATS

    class Handshake:
        def table(self) -> str:
            return "tool results   as role tool"

    monkeypatch.setattr(DemoModel, "handshake", Handshake(), raising=False)
    assert ttsi("env", "--model", "scripted:demo").out == f"{plain}\ntool results   as role tool\n"


def test_env_of_a_model_that_does_not_exist_is_the_error_alone(ttsi: Any) -> None:
    result = ttsi("env", "--model", "nosuch")
    assert (result.code, result.out, result.err.count("unknown model 'nosuch'")) == (2, "", 1)
    assert ttsi("env").out  # control


@pytest.mark.parametrize("verb", [("run",), ("ask", "hello", "--tools", "examples/tools.json"), ("serve",), ("env",)])
def test_an_unknown_format_is_named(ttsi: Any, verb: tuple[str, ...]) -> None:
    result = ttsi(*verb, "--model", "scripted:demo", "--format", "hermse")
    assert (result.code, result.out) == (2, "")
    assert "did you mean 'hermes'" in result.err
    listed = [line.split()[0] for line in ttsi("ls", "formats").out.splitlines()]
    assert listed == list(FORMATS)


def test_the_format_reaches_the_loader_and_the_record(
    ttsi: Any, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[dict[str, str]] = []
    real = scripted.load
    monkeypatch.setattr(scripted, "load", lambda rest, **more: (given.append(more), real(rest))[1])
    run = ("run", "--benchmark", "mine.jsonl", "--model", "scripted:demo", "--quiet", "--output-dir")
    assert ttsi(*run, "a", "--format", "hermes").code == 0
    assert given.pop()["format"] == "hermes"
    assert json.loads((tmp_path / "a" / "config.json").read_text())["settings"]["format"] == "hermes"
    # Control: unasked, the loader decides.
    assert ttsi(*run, "b").code == 0
    assert "format" not in given.pop()


def test_shipped_files_are_listed_and_found(ttsi: Any) -> None:
    listed = [line.split()[0] for line in ttsi("ls", "examples").out.splitlines()]
    assert {"configs/own-model.yaml", "examples/tools.json"} <= set(listed)
    result = ttsi("sweep", "configs/own-model.yaml", "--benchmark", "mine.jsonl", "--dry-run")
    assert result.code == 0
    assert ttsi("sweep", "configs/no-model.yaml", "--dry-run").code == 2


def test_bytecode_beside_the_shipped_files_is_not_listed(ttsi: Any, tmp_path: Path, monkeypatch: Any) -> None:
    # pip compiles the examples when it installs them.
    (tmp_path / "examples" / "__pycache__").mkdir(parents=True)
    (tmp_path / "examples" / "__pycache__" / "many.pyc").write_bytes(b"\xa7\r\r\n")
    (tmp_path / "examples" / "many.py").write_text('"""Many adapters."""\n')
    monkeypatch.setattr("ttsi.cli.shipped_files.shipped_root", lambda: tmp_path)
    result = ttsi("ls", "examples")
    assert result.code == 0
    assert [line.split()[0] for line in result.out.splitlines()] == ["examples/many.py"]


def state(done: int) -> RunProgress:
    fixed = done // 4
    return RunProgress(done, 100, done // 2, 0, graded=done, base_right=0, adapted_right=fixed, fixed=fixed)


def test_lines_come_every_ten_seconds_with_the_time_left(capsys: pytest.CaptureFixture[str]) -> None:
    now = [0.0]
    report = _Lines(lambda: now[0])
    for seconds, done in ((0.0, 20), (4.0, 30), (LINE_INTERVAL, 40), (LINE_INTERVAL + 1, 50), (40.0, 100)):
        now[0] = seconds
        report(state(done))
    lines = capsys.readouterr().err.splitlines()
    assert lines == [
        "ttsi: 40 of 100 inputs, unsure 50.0 %, base 0.0 %, adapted 25.0 %, gain so far +25.0 points "
        "(95 % interval +12.5 to +40.0), inputs per second 2, time left 30 s",
        "ttsi: 100 of 100 inputs, unsure 50.0 %, base 0.0 %, adapted 25.0 %, gain so far +25.0 points "
        "(95 % interval +17.0 to +34.0), inputs per second 2",
    ]


def clocked() -> tuple[list[float], _Stages, _Lines]:
    """A clock that a test sets, the stages and the lines by it."""
    now = [0.0]
    stages = _Stages(lambda: now[0])
    return now, stages, _Lines(lambda: now[0], stages)


def test_within_a_long_batch_the_stage_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    now, stages, report = clocked()
    report(state(16))
    with stages.listening():
        logging.getLogger(STAGE_LOG).info("stage begun stage=%s inputs=%d", "synthesis", 11)
    for seconds in (3.0, LINE_INTERVAL - 1, LINE_INTERVAL, LINE_INTERVAL + 1, 2 * LINE_INTERVAL):
        now[0] = seconds
        report.tick()
    assert capsys.readouterr().err.splitlines() == [
        "ttsi: 16 of 100 inputs, writing examples for 11 (10 s)",
        "ttsi: 16 of 100 inputs, writing examples for 11 (20 s)",
    ]
    # Control: when the batch is done nothing is being done, however long it takes.
    report(state(32))
    capsys.readouterr()
    now[0] = 100.0
    report.tick()
    assert capsys.readouterr().err == ""


def test_within_a_long_training_the_step_and_the_time_left_are_named(capsys: pytest.CaptureFixture[str]) -> None:
    now, stages, report = clocked()
    report(state(0))
    with stages.listening():
        logging.getLogger(STAGE_LOG).info("stage begun stage=%s inputs=%d", "adaptation", 8)
        for step, seconds in ((1, 20.0), (2, 40.0), (120, 2400.0)):
            now[0] = seconds
            logging.getLogger(TRAINING_LOG).info("training step=%d steps=%d", step, 120)
            report.tick()
        logging.getLogger(STAGE_LOG).info("stage begun stage=%s inputs=%d", "answer", 8)
        now[0] += LINE_INTERVAL
        report.tick()
    assert capsys.readouterr().err.splitlines() == [
        "ttsi: 0 of 100 inputs, adapting to 8 (20 s; step 1 of 120, 40 min left)",
        "ttsi: 0 of 100 inputs, adapting to 8 (40 s; step 2 of 120, 39 min left)",
        "ttsi: 0 of 100 inputs, adapting to 8 (40 min; step 120 of 120)",
        "ttsi: 0 of 100 inputs, answering 8 (10 s)",
    ]
    # Control: afterwards nothing listens.
    logging.getLogger(TRAINING_LOG).info("training step=%d steps=%d", 3, 120)
    assert "step" not in stages.now()


def test_where_one_request_is_answered_its_stage_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    now = [0.0]
    stages = _Stages(lambda: now[0], counts_inputs=False)
    lines = _StageLines(lambda: now[0], stages)
    with stages.listening():
        for stage, seconds in (("answer", 4.0), ("synthesis", 7.0), ("adaptation", 9.0)):
            logging.getLogger(STAGE_LOG).info("stage begun stage=%s inputs=%d", stage, 1)
            now[0] += seconds
            lines.tick()
    assert capsys.readouterr().err == "ttsi: writing examples (7 s)\n"
    # Control: while the user types, nothing is being done.
    stages.clear()
    now[0] += 100.0
    lines.tick()
    logging.getLogger(STAGE_LOG).info("stage begun stage=%s inputs=%d", "answer", 1)
    assert capsys.readouterr().err == ""


def test_an_agents_decisions_are_counted_while_no_task_is_done(capsys: pytest.CaptureFixture[str]) -> None:
    now, stages, report = clocked()
    report(state(0))
    with stages.listening():
        for side, decisions in (("base", 0), ("base", 1), ("adapted", 12)):
            logging.getLogger(AGENT_LOG).info("decisions taken side=%s decisions=%d", side, decisions)
            logging.getLogger(STAGE_LOG).info("stage begun stage=%s inputs=%d", "answer", 8)
            now[0] += LINE_INTERVAL
            report.tick()
    assert capsys.readouterr().err.splitlines() == [
        "ttsi: 0 of 100 inputs, base agent after 0 decisions: answering 8 (10 s)",
        "ttsi: 0 of 100 inputs, base agent after 1 decision: answering 8 (10 s)",
        "ttsi: 0 of 100 inputs, adapted agent after 12 decisions: answering 8 (10 s)",
    ]
    # Control: the next batch, of single inputs, has no agent.
    report(state(16))
    with stages.listening():
        logging.getLogger(STAGE_LOG).info("stage begun stage=%s inputs=%d", "answer", 8)
    assert stages.now() == "answering 8 (0 s)"
    assert task_episode.log.name == AGENT_LOG, "the progress listens where the agents write"


def test_a_training_that_goes_on_from_a_checkpoint_does_not_count_its_old_steps_as_fast_ones(
    capsys: pytest.CaptureFixture[str],
) -> None:
    now, stages, report = clocked()
    report(state(0))
    with stages.listening():
        logging.getLogger(STAGE_LOG).info("stage begun stage=%s inputs=%d", "adaptation", 8)
        for event, step in (("resumed ", 80), ("", 81), ("", 82)):
            now[0] += 20.0
            logging.getLogger(TRAINING_LOG).info(f"training {event}step=%d steps=%d", step, 120)
            report.tick()
    assert capsys.readouterr().err.splitlines() == [
        "ttsi: 0 of 100 inputs, adapting to 8 (20 s; step 80 of 120)",
        "ttsi: 0 of 100 inputs, adapting to 8 (40 s; step 81 of 120, 26 min left)",
        "ttsi: 0 of 100 inputs, adapting to 8 (60 s; step 82 of 120, 19 min left)",
    ]


def test_lines_about_stages_do_not_put_off_the_time_left(capsys: pytest.CaptureFixture[str]) -> None:
    now, stages, report = clocked()
    report(state(0))
    for batch in (1, 2):
        with stages.listening():
            logging.getLogger(STAGE_LOG).info("stage begun stage=%s inputs=%d", "adaptation", 9)
        now[0] += LINE_INTERVAL
        report.tick()
        now[0] += 4.0
        report(state(16 * batch))
    lines = capsys.readouterr().err.splitlines()
    assert [line.partition(" inputs, ")[0] for line in lines] == [
        f"ttsi: {done} of 100" for done in (0, 16, 16, 32)
    ]  # fmt: skip
    assert ["time left" in line for line in lines] == [False, True, False, True]


def test_the_loop_names_every_stage(ttsi: Any) -> None:
    result = ttsi("run", "--benchmark", "mine.jsonl", "--model", "scripted:demo", "--verbose").err
    begun = [line.rpartition("stage=")[2].split()[0] for line in result.splitlines() if "stage begun" in line]
    assert begun == ["answer", "awareness", "synthesis", "adaptation", "answer"]
    assert "stage begun" not in ttsi("run", "--benchmark", "mine.jsonl", "--model", "scripted:demo", "--clean").err


def test_the_progress_listens_where_the_loop_writes(ttsi: Any, caplog: pytest.LogCaptureFixture) -> None:
    """The tests above write the events themselves."""
    run = ("run", "--benchmark", "mine.jsonl", "--model", "scripted:demo")
    with caplog.at_level(logging.INFO, logger=STAGE_LOG):
        assert ttsi(*run, "--verbose").code == 0
    assert {record.name for record in caplog.records if "stage begun" in record.getMessage()} == {STAGE_LOG}


def test_what_takes_long_is_announced(capsys: pytest.CaptureFixture[str]) -> None:
    with loading("hf:some/model"):
        assert capsys.readouterr().err == "ttsi: loading hf:some/model ...\n", "announced before it is done"
    # Controls: nothing for what is there already, for what is quick, and where nobody wants to know.
    with loading("scripted:demo"), loading("hf:some/model", quiet=True), announced("reading"):
        pass
    assert capsys.readouterr() == ("", "")


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
    result = capsys.readouterr()
    assert result.out == ""
    assert "100 of 100 inputs" in result.err
    for name in ("inputs per second", "unsure", "gain so far", "95 % interval"):
        assert name in result.err
