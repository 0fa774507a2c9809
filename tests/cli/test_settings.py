"""flags > environment > YAML > preset of the method > defaults, for every knob and its short name."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ttsi.config import PRESETS, preset

NEEDS = {
    "ttd": ("--teacher", "scripted:demo"),
    "ttd-icl": ("--teacher", "scripted:demo"),
    "icl": ("--train-data", "toolworld-validation"),
    "sft": ("--train-data", "toolworld-validation"),
}
"""What some methods learn from."""

PLAN = ("run", "--benchmark", "mine.jsonl", "--model", "scripted:demo", "--dry-run")


def tau(ttsi: Any, *arguments: str) -> float:
    value: float = loop_of(ttsi, *arguments)["awareness"]["tau"]
    return value


def loop_of(ttsi: Any, *arguments: str) -> dict[str, Any]:
    said = ttsi(*PLAN, *arguments)
    assert said.code == 0, said.err
    settings: dict[str, Any] = json.loads(said.out)["settings"]["loop"]
    return settings


def test_each_tier_beats_the_next(ttsi: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(PRESETS, "ttsi", {"awareness": {"tau": 0.1}})
    assert tau(ttsi, "--method", "base") == preset("base").awareness.tau
    assert tau(ttsi) == 0.1
    (tmp_path / "c.yaml").write_text("awareness:\n  tau: 0.2\n")
    assert tau(ttsi, "--config", "c.yaml") == 0.2
    monkeypatch.setenv("TTSI_AWARENESS_TAU", "0.3")
    assert tau(ttsi, "--config", "c.yaml") == 0.3
    assert tau(ttsi, "--config", "c.yaml", "--awareness.tau", "0.4") == 0.4


def test_short_names_stand_in_each_tier(ttsi: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "c.yaml").write_text("tau: 0.2\nk: 3\ndecoding: free\n")
    read = loop_of(ttsi, "--config", "c.yaml", "--k", "5")
    assert (read["awareness"]["tau"], read["synthesis"]["k"], read["answer"]["decoding"]) == (0.2, 5, "free")
    monkeypatch.setenv("TTSI_TAU", "0.3")
    assert tau(ttsi, "--config", "c.yaml") == 0.3
    assert tau(ttsi, "--awareness.tau", "0.4") == 0.4
    monkeypatch.setenv("TTSI_AWARENESS_TAU", "0.5")
    assert tau(ttsi, "--tau", "0.6") == 0.6
    said = ttsi(*PLAN, "--tau", "0.6", "--awareness.tau", "0.7")
    assert (said.code, "same knob" in said.err) == (2, True)


def test_a_knob_that_the_user_set_beats_the_preset(ttsi: Any) -> None:
    read = loop_of(ttsi, "--method", "ttsi-paper", "--adaptation.lr", "0.5")
    assert read["adaptation"]["lr"] == 0.5
    assert read["adaptation"]["batch_size"] == preset("ttsi-paper").adaptation.batch_size == 1
    # Also when it is set to what the default is, or in a file that names the method, too.
    assert loop_of(ttsi, "--method", "ttsi-paper", "--k", "8")["synthesis"]["k"] == 8


@pytest.mark.parametrize("method", PRESETS)
def test_a_method_alone_is_its_preset(ttsi: Any, method: str) -> None:
    from dataclasses import asdict

    assert loop_of(ttsi, "--method", method, *NEEDS.get(method, ())) == asdict(preset(method))


def test_the_method_may_come_from_the_file(ttsi: Any, tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text("method: ttsi-paper\nseed: 4\nsynthesis: {k: 2}\n")
    read = loop_of(ttsi, "--config", "c.yaml")
    assert (read["adaptation"]["lr"], read["synthesis"]["k"], read["seed"]) == (1e-4, 2, 4)


def test_switches_of_knobs_can_be_turned_off(ttsi: Any) -> None:
    assert loop_of(ttsi, "--synthesis.no-grounded")["synthesis"]["grounded"] is False
    assert loop_of(ttsi)["synthesis"]["grounded"] is True


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("awarenes: {tau: 1}\n", "awareness"),
        ("awareness: {tua: 1}\n", "tua"),
        ("awareness: {tau: high}\n", "tau"),
        ("- 1\n", "mapping"),
        ("a: [\n", "c.yaml"),
        ("method: tsi\n", "did you mean 'ttsi'"),
    ],
)
def test_a_wrong_file_is_one_line(ttsi: Any, tmp_path: Path, text: str, hint: str) -> None:
    (tmp_path / "c.yaml").write_text(text)
    said = ttsi(*PLAN, "--config", "c.yaml")
    assert (said.code, said.err.count("\n")) == (2, 1)
    assert hint in said.err
    if "method" not in text:
        assert "c.yaml" in said.err
