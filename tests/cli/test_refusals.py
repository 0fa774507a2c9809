"""What cannot mean anything is refused before a model is loaded; what went wrong is printed where one looks."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Command
from tests.worlds import row, rows, tool, write
from ttsi.benchmarks import load as load_benchmark
from ttsi.benchmarks.illegal_gold import illegal_gold_notice
from ttsi.config import LoopConfig, check
from ttsi.errors import ConfigError
from ttsi.methods import preset
from ttsi.models.scripted import DemoModel

RUN = ("run", "--model", "scripted:demo", "--benchmark", "mine.jsonl", "--quiet")


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (("--adaptation.rank", "0"), "adaptation.rank is 0: use 1 or more"),
        (("--adaptation.lr", "-1"), "adaptation.lr is -1.0"),
        (("--adaptation.lr", "nan"), "adaptation.lr is nan"),
        (("--adaptation.min-confidence-gain", "nan"), "adaptation.min_confidence_gain is nan: use a finite number"),
        (("--adaptation.epochs", "0"), "adaptation.epochs is 0"),
        (("--k", "-1"), "synthesis.k is -1"),
        (("--k", "0"), "nothing would be learned"),
        (("--answer.max-tokens", "0"), "answer.max_tokens is 0"),
        (("--tau", "nan"), "awareness.tau is nan: use a number"),
        (("--synthesis.temperature", "-1"), "synthesis.temperature is -1.0"),
        (("--method", "vote", "--answer.samples", "0"), "answer.samples is 0"),
        (("--awareness.share", "1.5"), "awareness.share is 1.5: use a number between 0 and 1"),
        (("--seed", "-1"), "seed is -1"),
    ],
)
def test_settings_without_meaning_are_refused_before_anything_is_done(
    ttsi: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: tuple[str, ...], says: str
) -> None:
    monkeypatch.setattr(DemoModel, "generate", lambda *_: pytest.fail("the model was asked"))
    result = ttsi(*RUN, *given, "--output-dir", "out")
    assert (result.code, result.err.count("\n")) == (2, 1)
    assert says in result.err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("given", "file", "variable", "says"),
    [
        (("--k", "2.5"), "", "", "--synthesis.k is 2.5"),
        (("--adaptation.rank", "8.5"), "", "", "--adaptation.rank is 8.5"),
        (("--limit", "1.7"), "", "", "--limit is 1.7"),
        ((), "synthesis: {k: 2.5}", "", "own.yaml: synthesis.k is 2.5"),
        ((), "synthesis: {k: '2.5'}", "", "own.yaml: synthesis.k is 2.5"),
        ((), "", "1.5", "TTSI_SEED is 1.5"),
        (("--seed", "0.5"), "", "1", "--seed is 0.5"),
    ],
)
def test_a_number_that_is_not_whole_is_refused_and_not_rounded(
    ttsi: Command,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    given: tuple[str, ...],
    file: str,
    variable: str,
    says: str,
) -> None:
    (tmp_path / "own.yaml").write_text(file)
    if variable:
        monkeypatch.setenv("TTSI_SEED", variable)
    result = ttsi(*RUN, *given, "--config", "own.yaml", "--output-dir", "out")
    assert (result.code, result.err) == (2, f"ttsi: {says}: use a whole number\n")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("k", ["4", "4.0", "'4'"])
def test_control_a_whole_number_may_be_written_as_a_decimal(ttsi: Command, tmp_path: Path, k: str) -> None:
    write(tmp_path / "mine.jsonl", rows(1))
    (tmp_path / "own.yaml").write_text(f"synthesis: {{k: {k}}}")
    assert ttsi(*RUN, "--config", "own.yaml", "--output-dir", "out").code == 0
    settings = json.loads((tmp_path / "out" / "config.json").read_text())["settings"]
    assert settings["loop"]["synthesis"]["k"] == 4


@pytest.mark.parametrize(
    ("given", "says"),
    [(("--clean", "--resume"), "choose one"), (("--num-workers", "0"), "num-workers is 0: use 1 or more")],
)
def test_options_are_checked_before_the_benchmark_is_read(ttsi: Command, given: tuple[str, ...], says: str) -> None:
    missing = ("run", "--model", "scripted:demo", "--benchmark", "nosuch.jsonl")
    result = ttsi(*missing, *given)
    assert (result.code, result.err.count("\n")) == (2, 1) and says in result.err
    assert "nosuch.jsonl" in ttsi(*missing).err  # control


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (("--resume",), "there is no run in runs/nosuch--scripted-demo--ttsi--"),
        (("--resume", "--output-dir", "nowhere"), "there is no run in nowhere to resume"),
        (("--output-dir", "other"), "other holds other files and no run"),
        (("--clean", "--output-dir", "other"), "other holds other files and no run"),
        (("--method", "icl"), "needs --train-data"),
        (("--tau", "nan"), "awareness.tau is nan"),
        (("--tau", "budget:1:none"), "nosuch.jsonl"),  # control: this one needs the benchmark
        (("--dry-run", "--output-dir", "other"), "nosuch.jsonl"),  # control: nothing will be written
    ],
)
def test_settings_and_the_folder_are_checked_before_the_benchmark_is_read(
    ttsi: Command, tmp_path: Path, given: tuple[str, ...], says: str
) -> None:
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "notes.txt").touch()
    result = ttsi("run", "--model", "scripted:demo", "--benchmark", "nosuch.jsonl", *given)
    assert (result.code, result.err.count("\n")) == (2, 1) and says in result.err


def test_control_every_method_has_settings_with_a_meaning() -> None:
    from ttsi.methods import METHODS, check_method

    for name in METHODS:
        check(preset(name, "embedded"))
        check_method(preset(name, "embedded"))
    with pytest.raises(ConfigError):
        check(LoopConfig(seed=-1))


def test_a_tau_of_the_margin_beside_a_log_probability_is_pointed_out(ttsi: Command) -> None:
    assert "never above 0" in ttsi(*RUN, "--tau", "0.9").err
    assert "never above 0" not in ttsi(*RUN, "--tau", "0.9", "--awareness.measure", "margin").err


def test_why_inputs_failed_is_said(ttsi: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise MemoryError("no room for this")

    monkeypatch.setattr(DemoModel, "generate", fail)
    result = ttsi(*RUN, "--output-dir", "out")
    assert result.code == 1
    assert "failed   8 of 8 inputs (8 x " in result.out
    assert "no room for this" in result.out


def test_serve_wants_a_port(ttsi: Command) -> None:
    result = ttsi("serve", "--model", "scripted:demo", "--port", "99999")
    assert (result.code, result.err) == (2, "ttsi: --port 99999: use a number from 0 (any free port) to 65535\n")


@pytest.mark.parametrize(
    ("flags", "error"),
    [
        (("--method", "ttd", "--teacher", "scripted:demo"), "ttsi serve asks no teacher"),
        (("--method", "icl", "--train-data", "toolworld"), "ttsi serve reads no training data"),
        (("--method", "explore"), "explore is for agents' tasks, and ttsi serve has none"),
        (("--limits.adapt-seconds", "nan"), "limits.adapt_seconds is nan: use 0 or more"),
        (("--limits.wait-seconds", "inf"), "limits.wait_seconds is inf: use a finite number"),
        (("--limits.queue", "-1"), "limits.queue is -1: use 0 or more"),
        (("--library", "lib", "--library.max-divergence", "nan"), "library.max_divergence is nan: use 0 or more"),
        ((), "--port 99999"),  # control: without them the port is the first thing that is wrong
    ],
)
def test_serve_refuses_what_it_would_not_use(ttsi: Command, flags: tuple[str, ...], error: str) -> None:
    result = ttsi("serve", "--model", "scripted:demo", "--port", "99999", *flags)
    assert result.code == 2 and error in result.err


def test_a_sweep_can_be_done_again_and_tried_small_first(ttsi: Command, tmp_path: Path) -> None:
    (tmp_path / "s.yaml").write_text("run: {benchmark: mine.jsonl, model: scripted:demo}\ngrid: {k: [1, 2]}\n")
    assert ttsi("sweep", "s.yaml", "--quiet", "--limit", "2").code == 0
    assert ttsi("sweep", "s.yaml", "--quiet").code == 0, "another size has a folder of its own"
    fixed = ("sweep", "s.yaml", "--quiet", "--output-dir", "sweep")
    assert ttsi(*fixed, "--limit", "2").code == 0
    refused = ttsi(*fixed, "--limit", "1")
    assert (refused.code, "limit: 2 -> 1" in refused.err, "--clean" in refused.err) == (2, True, True)
    assert ttsi(*fixed, "--limit", "1", "--clean").code == 0


def test_the_environment_deletes_and_names_nothing(
    ttsi: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert ttsi(*RUN, "--output-dir", "out").code == 0
    monkeypatch.setenv("TTSI_CLEAN", "true")
    monkeypatch.setenv("TTSI_NAME", "mymodel")
    monkeypatch.setenv("TTSI_OUTPUT", "res.html")
    assert "use the same settings" in ttsi(*RUN, "--output-dir", "out", "--resume", "--k", "3").err
    assert ttsi("export", "out", "--format", "csv").code == 0
    assert not (tmp_path / "res.html").exists()
    # Control: knobs and places are read.
    monkeypatch.setenv("TTSI_K", "3")
    assert ttsi(*RUN, "--output-dir", "three").code == 0
    assert '"k": 3' in (tmp_path / "three" / "config.json").read_text()


def test_gold_that_calls_nothing_on_offer_is_pointed_out(ttsi: Command, tmp_path: Path) -> None:
    slip = row("Is the weather fine in Oslo", "get_wether")
    write(tmp_path / "slip.jsonl", [*rows(2), {**slip, "id": "slip"}])
    result = ttsi("run", "--model", "scripted:demo", "--benchmark", "slip.jsonl", "--quiet")
    assert "in 1 of 3 inputs gold calls a tool that is not on offer" in result.err
    assert "line 3 calls 'get_wether'" in result.err
    assert "not on offer" not in ttsi(*RUN).err  # control


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ({"room": "Garage"}, "room is not one of ['garage', 'hall']"),
        ({"room": "hall", "locked": "true"}, "locked is not of type boolean"),
        ({"locked": True}, "room is missing"),
        ({"room": "hall", "colour": "red"}, "unknown argument colour"),
    ],
)
def test_gold_that_breaks_a_schema_is_pointed_out(
    ttsi: Command, tmp_path: Path, arguments: dict[str, Any], reason: str
) -> None:
    room = {"type": "string", "enum": ["garage", "hall"]}
    scene = tool("run_scene", "Run a scene")
    scene["function"]["parameters"] = {
        "type": "object",
        "properties": {"room": room, "locked": {"type": "boolean"}},
        "required": ["room"],
    }
    legal = row(
        "Is the garage open", "run_scene", tools=[scene], gold=[{"name": "run_scene", "arguments": {"room": "hall"}}]
    )
    slip = {**legal, "gold": [{"name": "run_scene", "arguments": arguments}], "id": "slip"}
    judged = {**slip, "id": "judged", "official": "toolrl"}  # a rule of its own may accept other values
    nothing = {**legal, "gold": []}
    write(tmp_path / "slip.jsonl", [legal, slip, {**slip, "id": "again"}, judged, nothing])
    line = "gold breaks a tool's schema in 2 of 5 inputs. Constrained decoding writes legal calls only"
    for words in (("data", "check", "slip.jsonl"), ("run", "--model", "scripted:demo", "--benchmark", "slip.jsonl")):
        result = ttsi(*words)
        assert line in result.err and f"(the first: input 'slip', run_scene: {reason})" in result.err
        assert result.code == (words[0] == "data"), "a notice, and no error"
    write(tmp_path / "legal.jsonl", [legal, judged, nothing])
    for words in (("data", "check", "legal.jsonl"), ("run", "--model", "scripted:demo", "--benchmark", "legal.jsonl")):
        assert "schema" not in ttsi(*words).err  # control


def test_a_benchmark_that_is_no_file_of_ones_own_is_not_blamed_for_its_gold(ttsi: Command) -> None:
    assert illegal_gold_notice(load_benchmark("sealtool-sample")), "control: it has gold that breaks a schema"
    result = ttsi("run", "--model", "scripted:demo", "--benchmark", "sealtool-sample", "--limit", "2")
    assert result.code == 0 and "schema" not in result.err


def test_names_that_openai_refuses_are_pointed_out(ttsi: Command, tmp_path: Path) -> None:
    odd = {**row("Is the weather fine in Oslo", "get weather"), "id": "odd"}
    odd["tools"] = [tool("get weather", "the weather of a city")]
    write(tmp_path / "odd.jsonl", [*rows(2), odd])
    result = ttsi("run", "--model", "scripted:demo", "--benchmark", "odd.jsonl", "--quiet")
    assert result.err.count("\n") == 1
    assert (
        "in 1 of 3 inputs a tool has a name that OpenAI refuses (the first: 'get weather' in input 'odd')" in result.err
    )
    assert "refuses" not in ttsi(*RUN).err  # control


def test_a_file_can_be_checked_before_it_is_run(ttsi: Command, tmp_path: Path) -> None:
    write(tmp_path / "slip.jsonl", [*rows(2), {**row("Is it fine in Oslo", "get_wether"), "id": "slip"}])
    result = ttsi("data", "check", "slip.jsonl")
    assert (result.code, result.out) == (1, "slip.jsonl: 3 inputs, 3 with gold\n")
    assert "line 3 calls 'get_wether'" in result.err
    fine = ttsi("data", "check", "mine.jsonl")
    assert (fine.code, fine.out, fine.err) == (0, "mine.jsonl: 8 inputs, 8 with gold\n", "")
    write(tmp_path / "one.jsonl", rows(1))
    assert ttsi("data", "check", "one.jsonl").out == "one.jsonl: 1 input, 1 with gold\n"


def test_to_go_on_with_nothing_is_refused(ttsi: Command, tmp_path: Path) -> None:
    refused = ttsi(*RUN, "--output-dir", "nowhere", "--resume")
    assert (refused.code, refused.err.count("\n")) == (2, 1)
    assert "there is no run in nowhere to resume" in refused.err
    assert not (tmp_path / "nowhere").exists()
    assert "to resume" in ttsi(*RUN, "--resume").err, "nor is there one under the default name"
    # Control: with a run there, or with one that was killed before it wrote anything but its lock, it goes on.
    assert ttsi(*RUN, "--output-dir", "nowhere").code == 0
    assert ttsi(*RUN, "--output-dir", "nowhere", "--resume").code == 0
    (tmp_path / "killed").mkdir()
    (tmp_path / "killed" / "run.lock").touch()
    assert ttsi(*RUN, "--output-dir", "killed", "--resume").code == 0


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (("run", "mine.jsonl"), "--benchmark FILE.jsonl"),
        (("run", "--model", "Qwen/Qwen2.5-0.5B-Instruct"), "write hf:Qwen/Qwen2.5-0.5B-Instruct"),
        (("run", "--model", "nope"), "choose one of: embedded, hf, scripted"),
        (("run", "--tau", "abc"), "quantile:NUMBER:RUN"),
        (("run", "--device", "gpu", "--limit", "1"), "device 'gpu' is not available: choose auto, cpu"),
        (("run", "--config", "broken.yaml"), "ttsi: broken.yaml, line 2: not YAML: "),
        (("run", "--config", "twice.yaml"), "twice.yaml, line 3: not YAML: the key 'awareness' stands twice"),
        (("sweep", "twice.yaml"), "twice.yaml, line 3: not YAML: the key 'awareness' stands twice"),
        (
            ("run", "--config", "slip.yaml"),
            "ttsi: slip.yaml: unknown setting 'awareness.tua'; did you mean 'awareness.tau'?",
        ),
    ],
)
def test_slips_of_a_newcomer_get_the_right_spelling(
    ttsi: Command, tmp_path: Path, given: tuple[str, ...], says: str
) -> None:
    (tmp_path / "broken.yaml").write_text("awareness: [1,\n")
    (tmp_path / "twice.yaml").write_text("awareness: {tau: 0.5}\nlimit: 1\nawareness: {tau: 0.9}\n")
    (tmp_path / "slip.yaml").write_text("awareness: {tua: 0.9}\n")
    result = ttsi(*given)
    lines = [line for line in result.err.splitlines() if not line.endswith(" ...")]  # what takes long is announced
    assert (result.code, len(lines)) == (2, 1)
    assert says in lines[0]


def test_ls_alone_says_what_can_be_listed_and_methods_what_they_set(ttsi: Command) -> None:
    assert "ttsi ls methods" in ttsi("ls").out
    listed = ttsi("ls", "methods").out
    assert "sets awareness.measure grounded_margin, awareness.tau 0.85" in listed
    assert "with the embedded model: awareness.measure answer_mean, awareness.tau -0.04" in listed


def test_compare_says_that_a_run_is_unfinished(ttsi: Command, tmp_path: Path) -> None:
    for name in ("one", "two"):
        assert ttsi(*RUN, "--output-dir", name).code == 0
    assert "Not finished" not in ttsi("compare", "one", "two").out
    config = json.loads((tmp_path / "two" / "config.json").read_text())
    config["data"]["n"] = 99
    (tmp_path / "two" / "config.json").write_text(json.dumps(config))
    assert "Not finished: two holds 8 of 99 inputs" in ttsi("compare", "one", "two").out
