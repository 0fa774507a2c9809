"""flags > environment > YAML > preset of the method > defaults, for every knob and its short name."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ttsi.cli import build
from ttsi.cli.settings import Shortcuts, complete
from ttsi.config import LoopConfig, MethodConfig, RunConfig
from ttsi.embedded import WEIGHTS
from ttsi.errors import ConfigError
from ttsi.methods import METHODS, Method, preset

NEEDS = {
    "ttd": ("--teacher", "scripted:demo"),
    "ttd-icl": ("--teacher", "scripted:demo"),
    "icl": ("--train-data", "toolworld-validation"),
    "sft": ("--train-data", "toolworld-validation"),
}
"""What some methods learn from."""

PLAN = ("run", "--benchmark", "mine.jsonl", "--model", "scripted:demo", "--dry-run", "--json")


def tau(ttsi: Any, *arguments: str) -> float:
    value: float = loop_of(ttsi, *arguments)["awareness"]["tau"]
    return value


def loop_of(ttsi: Any, *arguments: str) -> dict[str, Any]:
    result = ttsi(*PLAN, *arguments)
    assert result.code == 0, result.err
    settings: dict[str, Any] = json.loads(result.out)["settings"]["loop"]
    return settings


def test_each_tier_beats_the_next(ttsi: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(METHODS, "ttsi", Method("", {"awareness": {"tau": 0.1}}))
    assert tau(ttsi, "--method", "base") == preset("base", "embedded").awareness.tau
    assert tau(ttsi) == 0.1
    (tmp_path / "c.yaml").write_text("awareness:\n  tau: 0.2\n")
    assert tau(ttsi, "--config", "c.yaml") == 0.2
    monkeypatch.setenv("TTSI_AWARENESS_TAU", "0.3")
    assert tau(ttsi, "--config", "c.yaml") == 0.3
    assert tau(ttsi, "--config", "c.yaml", "--awareness.tau", "0.4") == 0.4


def test_a_file_sets_what_shares_its_name_with_a_command(ttsi: Any, tmp_path: Path) -> None:
    """cyclopts itself drops a setting that is called like a command: `ttsi library`, `ttsi data`."""
    (tmp_path / "c.yaml").write_text("library: {gate: sure, max-days: 3}\ndata: there\n")
    run = json.loads(ttsi(*PLAN, "--config", "c.yaml", "--library", "my.lib").out)["settings"]
    assert (run["library"]["gate"], run["library"]["max_days"], run["data"]) == ("sure", 3, "there")
    (tmp_path / "c.yaml").write_text("library: my.lib\n")
    assert json.loads(ttsi(*PLAN, "--config", "c.yaml").out)["settings"]["library"]["folder"] == "my.lib"
    (tmp_path / "c.yaml").write_text("library: {gates: sure}\n")
    assert "unknown setting 'library.gates'; did you mean 'library.gate'?" in ttsi(*PLAN, "--config", "c.yaml").err


def test_short_names_stand_in_each_tier(ttsi: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "c.yaml").write_text("tau: 0.2\nk: 3\ndecoding: free\n")
    read = loop_of(ttsi, "--config", "c.yaml", "--k", "5")
    assert (read["awareness"]["tau"], read["synthesis"]["k"], read["answer"]["decoding"]) == (0.2, 5, "free")
    monkeypatch.setenv("TTSI_TAU", "0.3")
    assert tau(ttsi, "--config", "c.yaml") == 0.3
    assert tau(ttsi, "--awareness.tau", "0.4") == 0.4
    monkeypatch.setenv("TTSI_AWARENESS_TAU", "0.5")
    assert tau(ttsi, "--tau", "0.6") == 0.6
    result = ttsi(*PLAN, "--tau", "0.6", "--awareness.tau", "0.7")
    assert (result.code, "same setting" in result.err) == (2, True)


def test_a_knob_that_the_user_set_beats_the_preset(ttsi: Any) -> None:
    read = loop_of(ttsi, "--method", "ttsi-paper", "--adaptation.lr", "0.5")
    assert read["adaptation"]["lr"] == 0.5
    assert read["adaptation"]["batch_size"] == preset("ttsi-paper", "embedded").adaptation.batch_size == 1
    # Also when it is set to what the default is, or in a file that names the method, too.
    assert loop_of(ttsi, "--method", "ttsi-paper", "--k", "8")["synthesis"]["k"] == 8


@pytest.mark.parametrize("method", METHODS)
def test_a_method_alone_is_its_preset(ttsi: Any, method: str) -> None:
    from dataclasses import asdict

    # The one method of agents' tasks is refused for single requests.
    benchmark = "toolworld-turns-validation" if method == "explore" else "mine.jsonl"
    plan = ("run", "--benchmark", benchmark, "--model", "scripted:demo", "--dry-run", "--json")
    result = ttsi(*plan, "--method", method, *NEEDS.get(method, ()))
    assert result.code == 0, result.err
    expected = json.loads(json.dumps(asdict(preset(method, "embedded"))))
    assert json.loads(result.out)["settings"]["loop"] == expected


def read(*arguments: str) -> LoopConfig:
    """The settings of a command line, parsed and not run: the model need not be there."""
    _, bound, _ = build().parse_args([*arguments], exit_on_error=False, print_error=False)
    config: MethodConfig = bound.arguments["config"]
    model = config.model if isinstance(config, RunConfig) else bound.arguments.get("model", "embedded")
    return complete(config, bound.arguments.get("shortcuts", Shortcuts()), model).loop


@pytest.mark.parametrize("verb", [("run",), ("serve",), ("ask", "hello", "--tools", "tools.json")], ids=lambda v: v[0])
def test_the_model_decides_what_a_method_sets(verb: tuple[str, ...]) -> None:
    assert read(*verb) == read(*verb, "--model", "embedded") == preset("ttsi", "embedded")
    assert read(*verb, "--model", "hf:some/model") == preset("ttsi") != preset("ttsi", "embedded")
    assert read(*verb, "--model", "hf:some/model", "--adaptation.lr", "0.5").adaptation.lr == 0.5


def test_a_model_named_by_file_or_environment_decides_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "c.yaml").write_text("model: hf:some/model\n")
    assert read("run", "--config", str(tmp_path / "c.yaml")) == preset("ttsi")
    monkeypatch.setenv("TTSI_MODEL", "hf:some/model")
    assert read("run") == preset("ttsi")
    assert read("run", "--model", "embedded") == preset("ttsi", "embedded"), "the flag comes first"


def test_a_folder_with_the_embedded_models_template_is_such_a_model(tmp_path: Path) -> None:
    (tmp_path / "chat_template.jinja").write_text("{{ tools }}<tool_call>")
    assert read("run", "--model", str(tmp_path)) == preset("ttsi")
    (tmp_path / "chat_template.jinja").write_text((WEIGHTS / "chat_template.jinja").read_text())
    assert (
        read("run", "--model", str(tmp_path)) == read("run", "--model", f"hf:{tmp_path}") == preset("ttsi", "embedded")
    )


def test_a_measure_of_ones_own_is_named_by_reference(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "my_measures.py").write_text("def gap(evidence): return 0.5\n")
    monkeypatch.chdir(tmp_path)
    assert read("run", "--awareness.measure", "my_measures:gap").awareness.measure == "my_measures:gap"
    with pytest.raises(ConfigError, match="my_measures has no 'gup'"):  # control
        read("run", "--awareness.measure", "my_measures:gup")


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
    result = ttsi(*PLAN, "--config", "c.yaml")
    assert (result.code, result.err.count("\n")) == (2, 1)
    assert hint in result.err
    if "method" not in text:
        assert "c.yaml" in result.err
