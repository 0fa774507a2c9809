"""After an interruption the line that is printed can be typed as it stands, and goes on."""

from __future__ import annotations

import json
import re
import shlex
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Command
from tests.worlds import rows, write
from ttsi import load_run, loop
from ttsi.cli.resume_hint import resume_command
from ttsi.runs.folder import START_OVER
from ttsi.types import Episode

ROOT = Path(__file__).parents[2]


def interrupted(*_: Any) -> list[Episode]:
    raise KeyboardInterrupt


@pytest.mark.parametrize(
    "more",
    [(), ("--clean",), ("--output-dir", "my runs/one", "--clean"), ("--limit", "3", "--seed=4"), ("--retry-failed",)],
)
def test_the_printed_line_goes_on(ttsi: Command, monkeypatch: pytest.MonkeyPatch, more: tuple[str, ...]) -> None:
    begun = ("run", "--benchmark", "mine.jsonl", "--model", "scripted:demo", *more)
    with monkeypatch.context() as patch:
        patch.setattr(loop, "improve", interrupted)
        if "--retry-failed" in more:
            assert ttsi(*(word for word in begun if word != "--retry-failed")).code == 130
        result = ttsi(*begun)
    assert result.code == 130
    typed = shlex.split(result.err.rpartition("continue with: ")[2].splitlines()[0])
    words = typed[typed.index("ttsi") + 1 :]
    assert "--clean" not in words
    assert sum(word in ("--resume", "--retry-failed") for word in words) == 1
    assert ttsi(*words).code == 0


BEGUN = ("run", "--benchmark", "mine.jsonl", "--model", "scripted:demo", "--quiet", "--output-dir", "my run")
GOES_ON = "go on with its own settings: "


@pytest.mark.parametrize(
    "settings",
    [
        ("--answer.calls", "required", "--seed=4", "--batch-size", "2"),
        ("--tau", "-0.5", "--k", "3"),
        ("--synthesis.no-unambiguous", "--synthesis.filter", "copy", "--synthesis.filter", "overlap"),
        ("--answer.tools", "get_weather", "--answer.tools", "find_hotel"),
        ("--config", "mine.yaml"),
        ("--method", "base"),
        ("--library", "my.lib", "--library.gate", "sure"),
        ("--method", "vote", "--answer.samples", "3", "--split", "test"),
        (
            "--method",
            "ttd",
            "--teacher",
            "scripted:demo",
        ),
        ("--method", "sft", "--train-data", "train.jsonl", "--train-limit", "2"),
    ],
)
def test_a_run_goes_on_with_its_own_settings(ttsi: Command, tmp_path: Path, settings: tuple[str, ...]) -> None:
    (tmp_path / "mine.yaml").write_text("adaptation: {min_confidence_gain: null, lr: 0.001}\n")
    write(tmp_path / "train.jsonl", [{**row, "id": f"t{i}"} for i, row in enumerate(rows(12)[8:])])
    assert ttsi(*BEGUN, *settings, "--limit", "2").code == 0
    before = (tmp_path / "my run" / "config.json").read_text()
    continued = ttsi("run", "--output-dir", "my run", "--resume")
    assert continued.code == 0 and continued.out.startswith("mine, 2 inputs")
    assert "going on with the settings of my run (benchmark mine.jsonl, model scripted:demo" in continued.err
    assert (tmp_path / "my run" / "config.json").read_text() == before
    more = ttsi("run", "--output-dir", "my run", "--resume", "--limit", "3", "--quiet")
    assert more.out.startswith("mine, 3 inputs") and "going on" not in more.err
    control = ttsi("run", "--output-dir", "another", "--resume")
    assert control.code == 2 and "there is no run in another" in control.err


@pytest.mark.parametrize(
    ("first", "then", "differs"),
    [
        (("--k", "3"), ("--k", "4"), "synthesis.k: 3 -> 4"),
        (("--seed", "3"), ("--seed", "0"), "seed: 3 -> 0"),
        ((), ("--method", "base"), 'method: "ttsi" -> "base"'),
        (("--tau", "inf"), ("--config", "mine.yaml"), "awareness.tau"),
    ],
)
def test_other_settings_are_refused_with_a_line_that_goes_on(
    ttsi: Command, tmp_path: Path, first: tuple[str, ...], then: tuple[str, ...], differs: str
) -> None:
    (tmp_path / "mine.yaml").write_text("tau: -0.9\n")
    assert ttsi(*BEGUN, *first).code == 0
    refused = ttsi("run", "--output-dir", "my run", "--quiet", *then, "--resume")
    assert (refused.code, refused.err.count("\n")) == (2, 1)
    assert differs in refused.err and f"use the same settings, or {START_OVER}; " + GOES_ON in refused.err
    typed = shlex.split(refused.err.rpartition(GOES_ON)[2])
    assert ttsi(*typed[typed.index("ttsi") + 1 :]).code == 0


@pytest.mark.parametrize(("text", "says"), [("{", "cannot be read"), ("{}", "is another run")])
def test_a_damaged_record_is_one_line(ttsi: Command, tmp_path: Path, text: str, says: str) -> None:
    assert ttsi(*BEGUN).code == 0
    (tmp_path / "my run" / "config.json").write_text(text)
    refused = ttsi("run", "--output-dir", "my run", "--resume", "--quiet")
    assert (refused.code, refused.err.count("\n"), says in refused.err) == (2, 1, True), refused.err


def test_a_variable_does_not_count(ttsi: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert ttsi(*BEGUN, "--k", "3").code == 0
    (tmp_path / "mine.yaml").write_text("k: 7\n")
    monkeypatch.setenv("TTSI_K", "5")
    monkeypatch.setenv("TTSI_CONFIG", "mine.yaml")
    assert ttsi("run", "--output-dir", "my run", "--resume").code == 0
    # Controls: a flag counts, and so does a file that a flag names; in a new run the variable counts, too.
    assert "synthesis.k: 3 -> 4" in ttsi("run", "--output-dir", "my run", "--resume", "--k", "4").err
    assert "synthesis.k: 3 -> 7" in ttsi("run", "--output-dir", "my run", "--resume", "--config", "mine.yaml").err
    assert ttsi(*BEGUN[:-1], "new").code == 0
    assert '"k": 5' in (tmp_path / "new" / "config.json").read_text()


def test_a_run_whose_data_moved_goes_on(ttsi: Command, tmp_path: Path) -> None:
    assert ttsi(*BEGUN, "--limit", "2").code == 0
    (tmp_path / "data").mkdir()
    moved = (tmp_path / "mine.jsonl").rename(tmp_path / "data" / "moved.jsonl")
    resume = ("run", "--output-dir", "my run", "--resume")
    assert "mine.jsonl does not exist" in ttsi(*resume).err
    again = ttsi(*resume, "--benchmark", str(moved), "--quiet")
    assert (again.code, again.err) == (0, "") and again.out.startswith("moved, 2 inputs")
    # Control: another file is another run, and is named.
    write(tmp_path / "other.jsonl", rows(5))
    refused = ttsi(*resume, "--benchmark", "other.jsonl")
    assert refused.code == 2 and "other.jsonl" in refused.err, refused.err


def test_changed_data_are_named(ttsi: Command, tmp_path: Path) -> None:
    assert ttsi(*BEGUN, "--limit", "2").code == 0
    lines = (tmp_path / "mine.jsonl").read_text().splitlines()
    last = {**json.loads(lines[-1]), "gold": []}
    (tmp_path / "mine.jsonl").write_text("\n".join([*lines[:-1], json.dumps(last)]) + "\n")
    resume = ("run", "--output-dir", "my run", "--resume", "--quiet")
    changed = ttsi(*resume)
    assert changed.code == 0
    assert "mine.jsonl has changed since it was last run into my run" in changed.err
    assert ttsi(*resume).err == "", "the control: the same data"


def test_a_run_of_an_older_version_goes_on_without_what_is_newer(ttsi: Command, tmp_path: Path) -> None:
    assert ttsi(*BEGUN, "--answer.no-fill-omitted", "--limit", "2").code == 0
    file = tmp_path / "my run" / "config.json"
    record = json.loads(file.read_text())
    del record["settings"]["loop"]["answer"]["fill_omitted"]
    file.write_text(json.dumps(record))
    assert ttsi("run", "--output-dir", "my run", "--resume").code == 0
    control = ttsi("run", "--output-dir", "my run", "--resume", "--answer.fill-omitted")
    assert "answer.fill_omitted: false -> true" in control.err


@pytest.mark.parametrize(("tool", "flags"), [(None, ()), ("get_weather", ("--answer.tools", "get_weather"))])
def test_a_run_from_when_one_tool_could_be_named_goes_on(
    ttsi: Command, tmp_path: Path, tool: str | None, flags: tuple[str, ...]
) -> None:
    assert ttsi(*BEGUN, *flags, "--limit", "2").code == 0
    file = tmp_path / "my run" / "config.json"
    record = json.loads(file.read_text())
    del record["settings"]["loop"]["answer"]["tools"]
    record["settings"]["loop"]["answer"]["tool"] = tool
    file.write_text(json.dumps(record))
    assert load_run(tmp_path / "my run").config.loop.answer.tools == ((tool,) if tool else ())
    assert ttsi("run", "--output-dir", "my run", "--resume").code == 0
    assert ttsi(*BEGUN, *flags, "--limit", "3", "--resume").code == 0
    assert load_run(tmp_path / "my run").config.loop.answer.tools == ((tool,) if tool else ())
    control = ttsi(*BEGUN, "--answer.tools", "find_hotel", "--resume")
    assert (control.code, "answer.tools: " in control.err) == (2, True)


@pytest.mark.parametrize("part", ["versions", "model", "custom"])
def test_where_no_flag_brings_a_run_back_none_is_named(ttsi: Command, tmp_path: Path, part: str) -> None:
    assert ttsi(*BEGUN, "--k", "3").code == 0
    assert GOES_ON in ttsi(*BEGUN, "--k", "4", "--resume").err  # control
    file = tmp_path / "my run" / "config.json"
    record = json.loads(file.read_text())
    changed = record["settings"] if part == "custom" else record[part]
    changed |= {"method": "custom"} if part == "custom" else {"ttsi": "0"}
    file.write_text(json.dumps(record))
    refused = ttsi(*BEGUN, "--k", "3", "--resume")
    assert refused.code == 2
    assert refused.err.endswith(f"use the same settings, or {START_OVER}\n")


def test_the_program_is_called_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    for started, program in (
        ("ttsi", "ttsi"),
        (".venv/bin/ttsi", ".venv/bin/ttsi"),
        ("/x/ttsi/__main__.py", "python -m ttsi"),
    ):
        monkeypatch.setattr(sys, "argv", [started])
        assert resume_command(["run"]) == f"{program} run --resume"


def test_make_demo_goes_on_with_what_is_there() -> None:
    recipe = (ROOT / "Makefile").read_text(encoding="utf-8").partition("\ndemo:")[2].partition("\nnewest:")[0]
    assert "--clean" not in recipe
    folders = re.findall(r"--output-dir (\S+)", recipe)
    assert folders == ["runs/demo", "runs/demo-toolworld"]
    for folder in folders:
        assert f"$(if $(wildcard {folder}/run.db),--resume)" in recipe


def test_the_next_step_can_be_typed(ttsi: Command, tmp_path: Path) -> None:
    result = ttsi("run", "--benchmark", "mine.jsonl", "--model", "scripted:demo", "--output-dir", "my run")
    report = result.out.rstrip().rpartition("ttsi ")[2]
    assert shlex.split(report) == ["report", "my run", "--output", "my run.html"]
    assert "ttsi export" not in result.out
    bare = [{key: value for key, value in line.items() if key != "gold"} for line in rows(3)]
    write(tmp_path / "bare.jsonl", bare)
    ungraded = ttsi("run", "--benchmark", "bare.jsonl", "--model", "scripted:demo", "--output-dir", "out")
    export = next(line for line in ungraded.out.splitlines() if "ttsi export" in line).rpartition("ttsi ")[2]
    assert ttsi(*shlex.split(export)).code == 0
    answers = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert len(answers) == 3


def test_the_digest_in_a_name_is_explained(ttsi: Command) -> None:
    run = ("run", "--benchmark", "mine.jsonl", "--model", "scripted:demo")
    assert "the last part is the digest of its settings" in ttsi(*run).out
    assert "digest" not in ttsi(*run, "--output-dir", "named").out
