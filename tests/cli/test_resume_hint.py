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
from ttsi import loop
from ttsi.cli.resume_hint import resume_command
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
    ("first", "then", "added"),
    [
        (("--answer.calls", "required"), (), ["--answer.calls", "required"]),
        ((), ("--k", "3", "--seed=4", "--batch-size", "2", "--limit", "2"), ["--synthesis.k", "--batch-size"]),
        (("--tau", "-0.5"), ("--awareness.tau=-0.9",), ["--awareness.tau", "-0.5"]),
        (("--tau", "inf"), ("--tau", "-0.5"), ["--awareness.tau", "inf"]),
        (("--synthesis.no-unambiguous",), ("--synthesis.unambiguous",), ["--synthesis.no-unambiguous"]),
        (("--method", "vote"), (), ["--method", "vote"]),
        (("--method", "vote", "--answer.samples", "3"), ("--k", "2"), ["--method", "vote", "--answer.samples", "3"]),
        (("--method", "base"), ("--method", "ttsi", "--seed", "1"), ["--method", "base"]),
        ((), ("--method", "base"), ["--method", "ttsi"]),
        (
            ("--synthesis.filter", "copy", "--synthesis.filter", "overlap"),
            (),
            ["--synthesis.filter", "copy", "overlap"],
        ),
    ],
)
def test_a_run_with_other_settings_is_refused_with_a_line_that_goes_on(
    ttsi: Command, first: tuple[str, ...], then: tuple[str, ...], added: list[str]
) -> None:
    assert ttsi(*BEGUN, *first).code == 0
    refused = ttsi(*BEGUN, *then, "--resume")
    assert (refused.code, refused.err.count("\n")) == (2, 1)
    assert "differs in" in refused.err and "use the same settings, or --clean; " + GOES_ON in refused.err
    typed = shlex.split(refused.err.rpartition(GOES_ON)[2])
    words = typed[typed.index("ttsi") + 1 :]
    assert set(added) <= set(words)
    assert ttsi(*words).code == 0
    assert ttsi(*(word for word in words if word not in added), *then).code == 2, "control: without them it does not"


def test_a_method_brings_its_own_settings(ttsi: Command) -> None:
    assert ttsi(*BEGUN, "--method", "vote").code == 0
    refused = ttsi(*BEGUN, "--resume")
    assert "adaptation.method" in refused.err and "synthesis.k" in refused.err
    assert refused.err.rpartition(GOES_ON)[2].endswith("--method vote\n")


@pytest.mark.parametrize("part", ["versions", "model", "loop"])
def test_where_no_flag_brings_a_run_back_none_is_named(ttsi: Command, tmp_path: Path, part: str) -> None:
    assert ttsi(*BEGUN, "--k", "3").code == 0
    assert GOES_ON in ttsi(*BEGUN, "--resume").err  # control
    file = tmp_path / "my run" / "config.json"
    record = json.loads(file.read_text())
    changed = record["settings"]["loop"]["adaptation"] if part == "loop" else record[part]
    changed |= {"lr": None} if part == "loop" else {"ttsi": "0"}
    file.write_text(json.dumps(record))
    refused = ttsi(*BEGUN, "--resume")
    assert refused.code == 2
    assert refused.err.endswith("use the same settings, or --clean\n")


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
    from tests.worlds import rows, write

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
