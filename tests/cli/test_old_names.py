"""Settings that were renamed are still read in files, flags and variables, with one line that names the new one."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Command
from ttsi.cli import build
from ttsi.config import RunConfig
from ttsi.config_history import RENAMED, digest, rename_settings
from ttsi.errors import ConfigError

PLAN = ("run", "--benchmark", "mine.jsonl", "--model", "scripted:demo", "--dry-run", "--json")
OLD = "synthesis: {pointed: false, trim: 0.25, tries: 3}\nadaptation: {min_surer: 0.5}\n"
NEW = {
    ("synthesis", "unambiguous"): False,
    ("synthesis", "drop_worst"): 0.25,
    ("synthesis", "max_rounds"): 3,
    ("adaptation", "min_confidence_gain"): 0.5,
}


def loop_of(command: str) -> dict[str, Any]:
    loop: dict[str, Any] = json.loads(command)["settings"]["loop"]
    return loop


def test_an_old_file_is_read_and_each_old_name_is_one_line(ttsi: Command, tmp_path: Path) -> None:
    (tmp_path / "old.yaml").write_text(OLD)
    result = ttsi(*PLAN, "--config", "old.yaml")
    assert result.code == 0, result.err
    loop = loop_of(result.out)
    assert {(stage, name): loop[stage][name] for stage, name in NEW} == NEW
    notes = [line for line in result.err.splitlines() if "is now called" in line]
    assert notes[0] == "ttsi: old.yaml: synthesis.pointed is now called synthesis.unambiguous"
    assert len(notes) == 4
    # Control: under the new names nothing is noted; a stage without settings is none.
    (tmp_path / "new.yaml").write_text("awareness:\nsynthesis: {unambiguous: false, drop-worst: 0.25}\n")
    result = ttsi(*PLAN, "--config", "new.yaml")
    assert (result.code, "is now called" in result.err, loop_of(result.out)["synthesis"]["drop_worst"]) == (
        0,
        False,
        0.25,
    )


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("synthesis: {pointd: false}", "unknown setting 'synthesis.pointd'"),
        ("synthesis: {unambigous: false}", "did you mean 'synthesis.unambiguous'?"),
        ("pointed: false", "unknown setting 'pointed'"),
        (
            "synthesis: {pointed: false, unambiguous: true}",
            "synthesis.pointed and synthesis.unambiguous are the same setting: give synthesis.unambiguous alone",
        ),
        ("synthesis: {min-k: 1, drop-worst: 0, drop_worst: 0}", "synthesis.drop-worst and synthesis.drop_worst are"),
        ("synthesis: 3", "synthesis holds settings: write a mapping, like synthesis: {source: ...}"),
        ("loop: {synthesis: {k: 2}}", "unknown setting 'loop.synthesis.k'"),
    ],
)
def test_control_an_unknown_key_is_refused(ttsi: Command, tmp_path: Path, text: str, says: str) -> None:
    (tmp_path / "c.yaml").write_text(text)
    result = ttsi(*PLAN, "--config", "c.yaml")
    assert (result.code, result.err.count("\n")) == (2, 1)
    assert result.err.startswith("ttsi: c.yaml: ") and says in result.err


def test_old_flags_are_read(ttsi: Command) -> None:
    result = ttsi(*PLAN, "--synthesis.no-pointed", "--synthesis.tries=3", "--adaptation.min-surer", "0.5")
    assert result.code == 0, result.err
    loop = loop_of(result.out)
    assert (loop["synthesis"]["unambiguous"], loop["synthesis"]["max_rounds"]) == (False, 3)
    assert loop["adaptation"]["min_confidence_gain"] == 0.5
    assert "ttsi: --synthesis.no-pointed is now called --synthesis.no-unambiguous\n" in result.err
    # Control: a flag that never was is refused.
    assert ttsi(*PLAN, "--synthesis.no-pointd").code == 2


def test_old_variables_are_read_below_flags(ttsi: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TTSI_SYNTHESIS_TRIM", "0.25")
    result = ttsi(*PLAN)
    assert loop_of(result.out)["synthesis"]["drop_worst"] == 0.25
    assert "ttsi: TTSI_SYNTHESIS_TRIM is now called TTSI_SYNTHESIS_DROP_WORST\n" in result.err
    assert loop_of(ttsi(*PLAN, "--synthesis.drop-worst", "0.5").out)["synthesis"]["drop_worst"] == 0.5


def test_old_sweeps_are_read(ttsi: Command, tmp_path: Path) -> None:
    (tmp_path / "s.yaml").write_text(f"run:\n  {OLD.splitlines()[0]}\ngrid: {{synthesis.trim: [0.1, 0.2]}}\n")
    result = ttsi("sweep", "s.yaml", "--dry-run")
    worst = []
    for line in result.out.splitlines():
        _, bound, _ = build().parse_args(shlex.split(line)[1:], exit_on_error=False, print_error=False)
        config: RunConfig = bound.arguments["config"]
        worst.append(config.loop.synthesis.drop_worst)
        assert config.loop.synthesis.unambiguous is False
    assert worst == [0.1, 0.2]


@pytest.mark.parametrize("part", ["run", "grid"])
@pytest.mark.parametrize("old", ["synthesis.trim: {0}", "synthesis: {{trim: {0}}}"])
@pytest.mark.parametrize("more", [(), ("--dry-run",)])
def test_a_setting_of_a_sweep_under_both_names_is_refused(
    ttsi: Command, tmp_path: Path, part: str, old: str, more: tuple[str, ...]
) -> None:
    value = "[0.1, 0.2]" if part == "grid" else "0.1"
    lines = [old.format(value), f"synthesis.drop-worst: {value}", f"synthesis.k: {value}"]
    for content, code in ((lines[:2], 2), (lines[::2], 0)):  # the second is a control
        (tmp_path / "s.yaml").write_text(f"{part}: {{{', '.join(content)}}}\n")
        result = ttsi("sweep", "s.yaml", *(more if code else ("--dry-run",)))
        assert result.code == code
        if code:
            assert result.err.count("\n") == 1 and "are the same setting: give synthesis.drop_worst" in result.err


def test_an_old_record_is_upgraded_and_keeps_its_digest() -> None:
    record = {"writer": "x", "data_dir": None, "loop": {"synthesis": {"tries": 2, "k": 1}, "seed": 0}}
    assert rename_settings(record) == {
        "teacher": "x", "data": None, "loop": {"synthesis": {"max_rounds": 2, "k": 1}, "seed": 0},
    }  # fmt: skip
    back = {new: old for old, new in RENAMED.items()}
    assert rename_settings(rename_settings(record), back) == record
    # Control: another value is another digest, a new name is not.
    assert digest(RunConfig(limit=3)) != digest(RunConfig())
    with pytest.raises(ConfigError):
        RunConfig(limit=0)
