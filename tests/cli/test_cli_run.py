"""`ttsi run` from the outside: folders, exit codes, and one line for everything that can be mended."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.benchmarks.test_nexusraven import write as nexusraven
from tests.worlds import row, write
from ttsi import loop
from ttsi.benchmarks.nexusraven import NOTICE
from ttsi.methods import preset
from ttsi.types import Episode

MINE = ("run", "--benchmark", "mine.jsonl", "--model", "scripted:demo")


def test_a_run_is_kept_and_shown(ttsi: Any, tmp_path: Path) -> None:
    result = ttsi(*MINE)
    [folder] = (tmp_path / "runs").iterdir()
    assert result.code == 0
    assert folder.name.startswith("mine--scripted-demo--ttsi--")
    assert {entry.name for entry in folder.iterdir()} == {"run.db", "run.lock", "config.json", "summary.json"}
    for part in ("base ", "adapted ", "gain ", "95 % interval", "McNemar p", f"kept in runs/{folder.name}"):
        assert part in result.out
    assert "8 of 8 inputs" in result.err
    config = json.loads((folder / "config.json").read_text())
    assert config["settings"]["loop"]["awareness"]["tau"] == preset("ttsi", "embedded").awareness.tau
    assert set(config) >= {"data", "model", "prompt", "versions", "digest", "machine"}


def test_a_licence_is_told_once_before_the_data_are_used(ttsi: Any, tmp_path: Path) -> None:
    nexusraven(tmp_path)
    result = ttsi("run", "--benchmark", "nexusraven", "--data", ".", "--model", "scripted:demo", "--quiet", "--json")
    assert result.err == f"ttsi: {NOTICE}\n"
    assert json.loads(result.out)["matcher"] == "official"
    # Control: data that forbid nothing are used without a word.
    assert ttsi(*MINE, "--quiet").err == ""


def test_json_is_the_summary_and_nothing_else(ttsi: Any, tmp_path: Path) -> None:
    result = ttsi(*MINE, "--json", "--quiet", "--output-dir", "out")
    assert json.loads(result.out) == json.loads((tmp_path / "out" / "summary.json").read_text())
    assert result.err == ""


def test_the_same_run_again_is_shown_not_run(ttsi: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    first = ttsi(*MINE)
    with monkeypatch.context() as patch:
        patch.setattr(loop, "improve", None)
        again = ttsi(*MINE)
        assert (again.code, again.out) == (0, first.out)
        assert "already holds this run" in again.err
        assert "--clean" in again.err
        # Control: with --clean it would be run.
        assert "NoneType" in ttsi(*MINE, "--clean").err
    assert ttsi(*MINE, "--seed", "1").code == 0


def test_a_used_folder_needs_resume_or_clean(ttsi: Any, tmp_path: Path) -> None:
    out = (*MINE, "--output-dir", "out")
    assert ttsi(*out).code == 0
    result = ttsi(*out)
    assert result.code == 2
    assert result.err == "ttsi: out already holds a run: go on with --resume, or start over with --clean\n"
    assert ttsi(*out, "--resume").code == 0
    assert ttsi(*out, "--clean").code == 0
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.txt").touch()
    assert "holds other files" in ttsi(*MINE, "--output-dir", "other", "--clean").err
    changed = ttsi(*out, "--resume", "--tau", "0.5")
    assert changed.code == 2
    assert f"differs in awareness.tau: {preset('ttsi', 'embedded').awareness.tau} -> 0.5" in changed.err


def test_data_that_changed_are_not_taken_for_the_same_run(ttsi: Any, tmp_path: Path) -> None:
    ttsi(*MINE)
    write(tmp_path / "mine.jsonl", [row("Is the weather fine in Oslo", "get_weather")])
    result = ttsi(*MINE)
    assert result.code == 2
    assert "other data" in result.err
    refused = ttsi(*MINE, "--resume")
    assert refused.code == 2
    assert "holds 7 inputs that are no longer in the data (the first: 'q1')" in refused.err


WRONG = [
    (("run", "--benchmark", "toolwold", "--model", "scripted:demo"), "did you mean 'toolworld'"),
    (("run", "--benchmark", "mine.jsonl", "--model", "scipted:demo"), "unknown model"),
    (("run", "--benchmark", "mine.jsonl", "--model", "scripted:dmo"), "did you mean 'demo'"),
    ((*MINE, "--method", "tsi"), "did you mean 'ttsi'"),
    ((*MINE, "--awareness.measure", "margn"), "did you mean 'margin'"),
    ((*MINE, "--awareness.tua", "1"), "--awareness.tau"),
    ((*MINE, "--tau", "high"), "write a number"),
    ((*MINE, "--decoding", "greedy"), "constrained"),
    ((*MINE, "--limit", "0"), "limit is 0"),
    ((*MINE, "--config", "none.yaml"), "none.yaml"),
    ((*MINE, "--resume", "--clean"), "choose one"),
    (("run", "--benchmark", "sealtool", "--model", "scripted:demo"), "--data DIR"),
    (("run", "--benchmark", "none.jsonl", "--model", "scripted:demo"), "does not exist"),
    (("rnu",), "run"),
    (("ls", "mehtods"), "did you mean 'methods'"),
]


@pytest.mark.parametrize(("arguments", "hint"), WRONG)
def test_wrong_usage_is_one_line_and_exit_code_2(ttsi: Any, tmp_path: Path, arguments: tuple[str], hint: str) -> None:
    result = ttsi(*arguments)
    assert (result.code, result.out) == (2, "")
    assert hint in result.err
    assert result.err.count("\n") == 1
    assert "Traceback" not in result.err
    assert not (tmp_path / "runs").exists(), "nothing may be left behind by a refused command"


def test_an_empty_file_is_one_line(ttsi: Any, tmp_path: Path) -> None:
    (tmp_path / "empty.jsonl").touch()
    result = ttsi("run", "--benchmark", "empty.jsonl", "--model", "scripted:demo")
    assert (result.code, result.err.count("\n")) == (2, 1)
    assert "empty.jsonl is empty" in result.err


def test_verbose_adds_the_traceback(ttsi: Any) -> None:
    result = ttsi("run", "--benchmark", "toolwold", "--verbose")
    assert result.code == 2
    assert "Traceback" in result.err


def test_too_many_failures_are_exit_code_1(ttsi: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    real = loop.improve

    def failing(inputs: Any, *rest: Any) -> list[Episode]:
        episodes = real(inputs, *rest)
        bad = inputs[0]
        return [Episode(bad.id, bad.content_hash, None, None, None, error="prompt: too long"), *episodes[1:]]

    monkeypatch.setattr(loop, "improve", failing)
    result = ttsi(*MINE)
    assert result.code == 1
    assert "1 of 8 inputs" in result.out
    # The stored result keeps its exit code.
    assert ttsi(*MINE).code == 1


def test_an_interruption_is_130_and_says_how_to_go_on(ttsi: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*arguments: Any) -> list[Episode]:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(loop, "improve", interrupted)
        result = ttsi(*MINE)
    assert result.code == 130
    assert "0 inputs are kept in runs/" in result.err
    assert "--resume" in result.err
    assert ttsi(*MINE).code == 2
    assert ttsi(*MINE, "--resume").code == 0


def test_a_fault_of_ours_says_so(ttsi: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "improve", None)
    result = ttsi(*MINE)
    assert result.code == 2
    assert "bug in ttsi" in result.err
    assert result.err.strip().count("\n") == 0


def test_dry_run_shows_the_plan_and_writes_nothing(ttsi: Any, tmp_path: Path) -> None:
    result = ttsi(*MINE, "--limit", "3", "--dry-run")
    assert (result.code, len(result.out.splitlines())) == (0, 3)
    assert result.out.splitlines()[-1].startswith("takes      about 0 s ("), (
        "what it costs is what is left on the screen"
    )
    result = ttsi(*MINE, "--limit", "3", "--dry-run", "--json")
    planned = json.loads(result.out)
    assert (result.code, planned["inputs"], planned["settings"]["limit"]) == (0, 3, 3)
    assert planned["bill"]["tried"] == 3 and planned["bill"]["seconds"] >= 0
    assert not (tmp_path / "runs").exists()


def test_dry_run_says_that_it_tries_one_decision_of_an_agent_s_task(ttsi: Any) -> None:
    tasks = ttsi("run", "--benchmark", "toolworld-agents", "--model", "scripted:demo", "--limit", "2", "--dry-run")
    said = "an agent's task counts as its first decision here, and most take several"
    assert tasks.code == 0 and said in tasks.err
    assert said not in ttsi(*MINE, "--limit", "2", "--dry-run").err  # control


def test_method_base_answers_only(ttsi: Any) -> None:
    summary = json.loads(ttsi(*MINE, "--method", "base", "--json").out)
    assert summary["adapted"] is summary["gain"] is None
    assert summary["base"]["score"] is not None


def test_infinite_tau_adapts_everything(ttsi: Any) -> None:
    summary = json.loads(ttsi(*MINE, "--tau", "inf", "--json").out)
    assert summary["n_unsure"] == 8
    assert summary["awareness"]["tau"] == "inf"
    assert "tau inf" in ttsi(*MINE, "--tau", "inf").out
