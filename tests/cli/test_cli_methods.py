"""Does every method run from end to end with one command, and do what its line says?

With the scripted demo, whose answers follow the examples that it learned or was shown.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Command
from tests.worlds import REQUESTS, row, rows, write
from ttsi.methods import METHODS
from ttsi.runs.store import read_json, read_rows

TAUGHT = {
    "An umbrella or a jacket for Delhi": "get_weather",
    "Will I sleep well and stay in Kyoto": "find_hotel",
    "A plane of some airline, fly me to Paris": "book_flight",
}
"""Training rows that say what the demo fails on in other words than the tools' lines."""
NEEDS = {
    "ttd": ("--teacher", "scripted:demo"),
    "ttd-icl": ("--teacher", "scripted:demo"),
    "icl": ("--train-data", "train.jsonl"),
    "sft": ("--train-data", "train.jsonl"),
}
GATED = {"ttsi", "ttsi-paper", "ttsi-written", "ttsi-icl", "ttsi-both", "ttd", "ttd-icl", "ask-again"}
"""Methods that leave sure inputs to the base."""
LEARNING = GATED - {"ask-again"} | {"icl", "sft"}
STATUS = {
    "ttsi": "trained",
    "ttsi-paper": "trained",
    "ttsi-written": "trained",
    "ttsi-both": "trained",
    "ttd": "trained",
    "ttsi-icl": "in-context",
    "ttd-icl": "in-context",
    "icl": "in-context",
    "sft": "shared",
    "vote": "resampled",
    "ask-again": "resampled",
    "rerank": "resampled",
}


AGENTS_ONLY = {"explore"}


@pytest.mark.parametrize("method", [*STATUS, "base"])
def test_each_method_runs_and_is_summed_up(ttsi: Command, tmp_path: Path, method: str) -> None:
    write(tmp_path / "train.jsonl", [row(request, name) for request, name in TAUGHT.items()])
    result = ttsi(
        "run", "--benchmark", "mine.jsonl", "--model", "scripted:demo", "--method", method, *NEEDS.get(method, ()),
        "--awareness.measure", "margin", "--tau", "0.5", "--output-dir", "out", "--json", "--quiet",
    )  # fmt: skip
    assert result.code == 0, result.err
    summary = json.loads(result.out)
    rows = read_rows(tmp_path / "out")
    if method == "base":
        assert (summary["adapted"], summary["gain"]) == (None, None)
        return
    adapted = [row.episode for row in rows if row.episode.adaptation.status != "none"]
    assert {episode.adaptation.status for episode in adapted} == {STATUS[method]}
    assert len(adapted) == (summary["n_unsure"] if method in GATED else summary["n"])
    assert 0 < summary["n_unsure"] < summary["n"] == 8
    if method in LEARNING - {"ttsi-paper"}:  # one example of one tool may be of the wrong one
        assert summary["gain"]["points"] > 0, "the demo follows its examples"
    trained = {"sft": 3}.get(method, sum(e.adaptation.samples for e in adapted if e.adaptation.status == "trained"))
    assert summary["samples_trained"] == trained
    assert summary["metrics"]["resampled"] == (len(adapted) if STATUS[method] == "resampled" else 0)


def test_every_method_has_its_line_and_the_issue_names_them() -> None:
    named = set("base icl sft vote ask-again rerank ttsi ttsi-paper ttsi-written ttsi-icl ttd ttd-icl".split())
    assert named <= set(METHODS) == set(STATUS) | {"base"} | AGENTS_ONLY


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--method", "ttd"), "--teacher"),
        (("--method", "icl"), "--train-data"),
        (("--method", "sft", "--train-data", "empty.jsonl"), "empty"),
        (("--method", "sft", "--train-data", "mine.jsonl"), "holds the very data of the test mine"),
        (("--method", "sft", "--train-data", "train.jsonl", "--train-limit", "0"), "train_limit is 0"),
        (("--method", "sft", "--train-data", "train.jsonl", "--teacher", "scripted:demo"), "leave --teacher out"),
        (("--train-data", "train.jsonl"), "learns from no file"),
        (("--teacher", "scripted:demo"), "--method ttd"),
        (("--method", "vote", "--teacher", "scripted:demo"), "writes no examples"),
        (
            ("--method", "ttsi-both", "--synthesis.source", "schema", "--teacher", "scripted:demo"),
            "writes no examples",
        ),
        (("--synthesis.source", "schema", "--synthesis.prompt", "prompt.txt"), "use method ttsi-written"),
        (("--method", "ttd", "--teacher", "scripted:demo", "--teacher-budget", "5tokens"), "budget"),
        (("--model", "openai:gpt-5-mini"), "as --teacher"),
        (("--method", "explore"), "adaptation.method explore is for agents' tasks, and mine has none: use another"),
        (("--method", "explore", "--dry-run"), "is for agents' tasks"),
        (("--method", "ttsi", "--adaptation.method", "explore"), "is for agents' tasks"),
        (("--agent.max-steps", "3", "--dry-run"), "--agent.* is for agents' tasks, and mine has none"),
        (("--awareness.gate", "random", "--awareness.share", "1.5"), "between 0 and 1"),
    ],
)
def test_what_does_not_go_together_is_one_line(
    ttsi: Command,
    tmp_path: Path,
    arguments: Sequence[str],
    says: str,
) -> None:
    write(tmp_path / "train.jsonl", [row(request, name) for request, name in TAUGHT.items()])
    write(tmp_path / "empty.jsonl", [])
    model = () if "--model" in arguments else ("--model", "scripted:demo")
    result = ttsi("run", "--benchmark", "mine.jsonl", *model, *arguments)
    assert (result.code, result.err.count("\n")) == (2, 1)
    assert says in result.err


def test_control_an_agent_explores_and_base_has_nothing_to_refuse(ttsi: Command) -> None:
    agents = ("run", "--benchmark", "toolworld-turns-validation", "--limit", "1", "--model", "scripted:demo", "--quiet")
    assert ttsi(*agents, "--method", "explore").code == 0
    mine = ("run", "--benchmark", "mine.jsonl", "--model", "scripted:demo", "--quiet")
    assert ttsi(*mine, "--method", "base", "--adaptation.method", "explore").code == 0


def test_only_an_adapter_with_weights_is_offered_to_peft(
    ttsi: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "train.jsonl", [row(request, name) for request, name in TAUGHT.items()])
    tuned = ("run", "--benchmark", "mine.jsonl", "--method", "sft", "--train-data", "train.jsonl", "--output-dir")
    result = ttsi(*tuned, "out", "--model", "scripted:demo")
    assert result.code == 0 and (tmp_path / "out" / "adapter").is_dir()
    assert "PEFT" not in result.out
    # Control: an adapter of a model with weights.
    (tmp_path / "out" / "adapter" / "adapter_config.json").write_text('{"peft_type": "LORA"}')
    assert "PEFT's format: out/adapter (ttsi serve --model out/adapter)" in ttsi(*tuned, "out", "--resume").out


def test_ask_knows_what_it_cannot_do(ttsi: Command, tmp_path: Path) -> None:
    from tests.worlds import TOOLS

    (tmp_path / "tools.json").write_text(json.dumps(TOOLS))
    ask = ("ask", "Do I need an umbrella in Lima", "--tools", "tools.json", "--model", "scripted:demo")
    assert "--teacher" in ttsi(*ask, "--method", "ttd").err
    assert "ttsi run" in ttsi(*ask, "--method", "icl").err
    assert "ttsi act has" in ttsi(*ask, "--method", "explore").err
    result = ttsi(*ask, "--method", "ttd", "--teacher", "scripted:demo", "--adapt-anyway", "--json")
    assert json.loads(result.out)["adaptation"]["status"] == "trained"
    for method in ("vote", "ask-again", "rerank"):
        second = ttsi(*ask, "--method", method, "--adapt-anyway")
        assert (second.code, "answers a second time" in second.out) == (0, True)


def test_a_smaller_draw_of_training_rows_is_part_of_a_larger_one(ttsi: Command, tmp_path: Path) -> None:
    requests = [f"{request} {i}" for i in range(4) for request in TAUGHT]
    write(tmp_path / "train.jsonl", [row(request, "get_weather") for request in requests])
    demonstrations = {}
    for limit in ("2", "5"):
        out = f"out{limit}"
        result = ttsi(
            "run", "--benchmark", "mine.jsonl", "--model", "scripted:demo", "--method", "icl", "--k", limit,
            "--train-data", "train.jsonl", "--train-limit", limit, "--output-dir", out, "--quiet",
        )  # fmt: skip
        assert result.code == 0, result.err
        demonstrations[limit] = {example.query for example in read_rows(tmp_path / out)[0].episode.examples}
        assert read_json(tmp_path / out / "config.json")["train"]["n"] == int(limit)
    assert len(demonstrations["2"]) == 2 and len(demonstrations["5"]) == 5
    assert demonstrations["2"] < demonstrations["5"]


def test_pass_at_k_is_the_score_when_it_is_asked_for(ttsi: Command, tmp_path: Path) -> None:
    replies: dict[str, Any] = {}
    for i, (request, name) in enumerate(REQUESTS.items()):
        good = (
            f'<tool_call>\n{{"name": "{name}", "arguments": {{"city": "{request.rsplit(" ", 1)[1]}"}}}}\n</tool_call>'
        )
        replies[request] = good if i % 2 else "no idea"
    (tmp_path / "says.json").write_text(json.dumps({"replies": replies}))
    write(tmp_path / "six.jsonl", rows(6))
    run = ("run", "--benchmark", "six.jsonl", "--model", "scripted:says.json", "--method", "base", "--quiet", "--json")
    summary = json.loads(ttsi(*run, "--answer.strategy", "pass@k", "--answer.samples", "3").out)
    assert summary["matcher"] == "strict pass@3"
    assert summary["base"]["score"] == summary["metrics"]["base.strict"] == pytest.approx(50.0)
    assert "base.strict pass@3" in summary["metrics"]
    assert "pass@" not in str(json.loads(ttsi(*run).out)["metrics"]), "control: greedy answers have no such score"
