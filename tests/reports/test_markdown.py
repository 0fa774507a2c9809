"""The tables of the Markdown page, number by number, on runs whose every row is known; and that texts stay texts."""

from __future__ import annotations

import re
import shlex
import subprocess
from dataclasses import asdict, replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from tests.reports.records import config, row, run
from ttsi import stats
from ttsi.cli import build
from ttsi.cli.settings import Shortcuts, complete
from ttsi.cli.sweep import read_sweep
from ttsi.config import CUSTOM, AgentConfig, LibraryConfig, RunConfig
from ttsi.errors import ConfigError
from ttsi.methods import METHODS, preset
from ttsi.record import Run
from ttsi.reports.command import command, commands
from ttsi.reports.finding import Finding
from ttsi.reports.groups import group_by_inputs, group_runs
from ttsi.reports.markdown import page
from ttsi.reports.naming import changed_settings, has_embedded_settings
from ttsi.reports.phrases import MINUS
from ttsi.reports.questions.filters import filters
from ttsi.reports.questions.gates import gates
from ttsi.reports.questions.method_scores import methods
from ttsi.reports.questions.samples_and_score import training_data
from ttsi.reports.questions.thresholds import thresholds
from ttsi.reports.reference import references
from ttsi.types import Trajectory

RESULTS = sorted((Path(__file__).parents[2] / "configs" / "results").glob("*.yaml"))


def settings(method: str = "ttsi", seed: int = 0, train: int | None = None, **knobs: Any) -> dict[str, Any]:
    """As `config`, with the method's own settings and `stage__knob` changed."""
    made = config(method, seed)
    loop = asdict(preset(method, "embedded")) | {"seed": seed}
    for name, value in knobs.items():
        stage, _, knob = name.partition("__")
        loop[stage] |= {knob: value}
    made["settings"] |= {"loop": loop, "writer": None, "train": train and "pool", "train_limit": train}
    made["train"] = train and {"name": "pool", "checksum": "c", "n": train}
    made["machine"] |= {"commit": "abc123", "cpus": 2, "python": "3.11"}
    return made


# The first is right, the others wrong; the less confident stand later. answer_mean decides and is in `measures`.
def outcome(*adapted: bool, name: str = "r", **more: Any) -> Run:
    made = settings(**more)
    measure = made["settings"]["loop"]["awareness"]["measure"]
    rows = [row(i, i == 0, new, 0.5) for i, new in enumerate(adapted)]
    for i, one in enumerate(rows):
        assert one.episode.awareness is not None
        one.episode.awareness.measures[measure] = -float(i)  # type: ignore[index]
    return run(rows, name, made)


def cells(finding: Finding) -> dict[str, dict[str, str]]:
    assert finding.table is not None, finding.missing
    return {line[0]: dict(zip(finding.table.head[1:], line[1:], strict=True)) for line in finding.table.rows}


USUAL = outcome(True, False, True, True, name="usual")
ALL = outcome(False, True, True, True, name="all", awareness__gate="all")
BASE = outcome(True, False, False, False, name="base", method="base")


def test_methods_by_hand() -> None:
    lines = cells(methods(group_runs([USUAL, ALL, BASE])))
    assert list(lines) == ["base", "ttsi"], "the gate has a table of its own"
    assert lines["ttsi"]["base"] == "25.0\xa0%\n4.6 to 69.9"
    assert lines["ttsi"]["final"].startswith("75.0\xa0%\n")
    assert lines["ttsi"]["gain, points"].startswith("+50.0\n")
    assert lines["ttsi"]["fixed / broken, all seeds"] == "2 / 0"
    assert lines["base"]["against ttsi, points"].startswith(f"{MINUS}50.0\n")
    interval = stats.paired_bootstrap([1, 0, 0, 0], [1, 0, 1, 1])
    assert lines["ttsi"]["gain, points"].endswith(f"+{100 * interval.high:.1f}")


def test_seeds_are_averaged_by_input() -> None:
    other = outcome(True, False, False, False, name="other", seed=1)
    lines = cells(methods(group_runs([USUAL, other])))
    assert lines["ttsi"]["seeds"] == "2"
    assert lines["ttsi"]["final"].startswith("50.0\xa0%\n")


def test_gates_by_hand() -> None:
    lines = cells(gates(group_runs([ALL, USUAL])))
    assert list(lines) == ["unsure", "all"]
    # All: 3 of 4 in the end against 1 of 4, +50 as well, but one right answer broken.
    assert lines["unsure"]["share of all's gain"] == "100.0\xa0%"
    assert lines["unsure"]["against all, points"].startswith("0.0\n")
    harmful = outcome(False, False, False, True, name="h", awareness__gate="all")
    assert cells(gates(group_runs([harmful, USUAL])))["unsure"]["share of all's gain"] == "-", "no gain, no share"


def test_the_curve_of_tau_by_hand() -> None:
    table = thresholds(group_runs([ALL])).table
    assert table is not None and len(table.rows) == 10
    # The least confident are 3, 2, 1, 0; adapting them fixes, fixes, fixes and breaks.
    ends = {line[1]: tuple(cell.partition("\n")[0] for cell in line[2:5]) for line in table.rows}
    assert ends["50.0\xa0%"] == ("75.0\xa0%", "+50.0", "+25.0")
    assert ends["75.0\xa0%"] == ("100.0\xa0%", "+75.0", "+37.5")
    assert ends["100.0\xa0%"] == ("75.0\xa0%", "+50.0", "+50.0")
    assert table.rows[-1][0].endswith("inf")
    missing = thresholds(group_runs([USUAL]))
    assert missing.table is None and "--awareness.gate=all" in missing.missing


def test_no_curve_of_tau_where_the_inputs_are_agents_tasks() -> None:
    tasks = [
        replace(one, episode=replace(one.episode, trajectories={"base": Trajectory(()), "adapted": Trajectory(())}))
        for one in ALL.rows
    ]
    agents = thresholds(group_runs([replace(ALL, rows=tasks)]))
    assert agents.table is None and agents.missing == ""
    assert thresholds(group_runs([ALL])).table is not None, "control"


def test_filters_and_training_data_by_hand() -> None:
    loose = outcome(True, False, False, True, name="loose", synthesis__grounded=False)
    lines = cells(filters(group_runs([loose, USUAL])))
    assert list(lines) == ["ttsi", "ttsi, grounded False"]
    assert lines["ttsi, grounded False"]["against ttsi, points"].startswith(f"{MINUS}25.0\n")
    few = outcome(True, True, False, False, name="few", method="sft", train=8)
    learned = cells(training_data(group_runs([few, USUAL])))
    assert list(learned) == ["sft, 8 rows of pool", "ttsi"]
    assert learned["sft, 8 rows of pool"]["final"].startswith("50.0\xa0%\n")
    assert "sft, 8 rows of pool" not in cells(methods(group_runs([few, USUAL])))


def test_with_a_tau_for_its_model_it_is_still_the_method() -> None:
    own = outcome(True, False, True, True, name="own", awareness__tau=-0.13)
    every = outcome(False, True, True, True, name="every", awareness__tau=-0.13, awareness__gate="all")
    loose = outcome(True, False, False, True, name="loose", awareness__tau=-0.13, synthesis__grounded=False)
    taught = outcome(True, False, True, False, name="taught", method="ttd", awareness__tau=-0.13)
    groups = group_runs([own, every, loose, taught])
    compared = cells(methods(groups))
    assert list(compared) == ["ttsi, tau -0.13", "ttd, tau -0.13"]
    assert compared["ttd, tau -0.13"]["against ttsi, points"].startswith(f"{MINUS}25.0\n")
    assert list(cells(gates(groups))) == ["unsure", "all"]
    assert list(cells(filters(groups))) == ["ttsi, tau -0.13", "ttsi, tau -0.13, grounded False"]
    # Control: beside the method with its own tau, another tau is a row like any other and nobody's reference.
    both = group_runs([USUAL, own, every])
    assert cells(methods(both))["ttsi, tau -0.13"]["against ttsi, points"].startswith("0.0\n")
    assert gates(both).table is None


def test_the_agent_s_settings_and_a_library_are_in_the_name_and_make_another_method() -> None:
    life, stored = AgentConfig(life="turn"), LibraryConfig(Path("/secret/place"), gate="sure")
    turn = [replace(run, name="turn", config=replace(run.config, agent=life)) for run in (USUAL, ALL)]
    kept = replace(USUAL, name="kept", config=replace(USUAL.config, library=stored, format="hermes"))
    groups = group_runs([kept, *turn, USUAL])
    found = cells(methods(groups))
    assert list(found) == [
        "ttsi, library, library gate sure, format hermes", "ttsi, life turn", "ttsi, gate all, life turn", "ttsi",
    ]  # fmt: skip
    assert references(groups) == [groups[-1]], "without a library, and with the agent as it is"
    assert list(cells(gates(group_runs(turn)))) == ["unsure", "all"], "where all runs have the agent's settings"
    # Control: a gate that was varied together with the agent says nothing of the gate.
    assert gates(group_runs([turn[1], USUAL])).table is None
    assert gates(group_runs([ALL, USUAL])).table is not None


def test_what_the_runs_do_not_answer_is_named_in_one_place() -> None:
    text = page([USUAL, BASE], "0")
    assert text.count("### Not answered by these runs") == 1 and "### Gates" not in text
    assert "* Gates: `ttsi run --method ttsi --awareness.gate=all`." in text
    assert "* Gates" not in page([USUAL, ALL], "0")  # control


def test_nothing_is_compared_across_models_or_decodings() -> None:
    free = outcome(True, False, False, False, name="free", answer__decoding="free", method="base")
    assert cells(methods(group_runs([USUAL, free])))["base, free"]["against ttsi, points"] == "-"
    other = outcome(True, False, False, False, name="other", method="base")
    other = replace(other, model={"weights_sha256": "other"})
    assert len(group_by_inputs(group_runs([USUAL, other]))) == 2
    assert len(group_by_inputs(group_runs([USUAL, BASE]))) == 1  # control


def test_benchmarks_show_every_rule_and_failures() -> None:
    text = page([USUAL], "0")
    assert "| b, m | strict (headline) | 4 | 25.0 % [" in text
    failed = replace(row(3, False), episode=replace(row(3).episode, base=None, adapted=None, error="prompt: too long"))
    assert "| b, m | 4 | 1 | 1 | 1 | " in page([run([*USUAL.rows[:3], failed], "f", settings())], "0")
    assert "| b, m | 4 | 1 | 0 | 0 | " in text  # control
    assert "## b, 4 inputs" not in text, "one setting says nothing about choices"
    assert "## b, 4 inputs, m" in page([USUAL, BASE], "0")


def test_what_is_counted_over_a_whole_file_has_an_interval() -> None:
    made = outcome(True, True, True, False)
    f1 = {"base.f1_tools": 25.0, "base.f1_tools_stderr": 2.0, "gain.f1_tools": 10.0, "gain.f1_tools_stderr": 1.0}
    metrics = {name: value for name, value in made.summary["metrics"].items() if "f1" not in name}
    made = replace(made, summary={**made.summary, "metrics": metrics})
    assert "Over all calls" in (text := page([made], "0"))
    assert "| b, m | Hammer |" not in text, "no run has F1 here"
    made.summary["metrics"].update(f1)
    line = next(line for line in page([made], "0").splitlines() if "| b, m | Hammer | 4 |" in line)
    assert line.split(" | ")[3:] == ["25.0 [21.1 to 28.9]", "-", "+10.0 [+8.0 to +12.0]", "-", "-", "- |"]


def test_commands_commit_and_machine_are_there_and_places_are_not() -> None:
    text = page([USUAL, ALL], "0")
    assert "ttsi run --benchmark b --model m --data DIR --awareness.gate=all  # seed 0" in text
    assert "commit abc123; 2 CPU cores, Python 3.11" in text
    assert "/secret" not in text
    assert "/secret" in str(USUAL.config)  # control


@pytest.mark.parametrize(
    "text", ["a|b", "<script>alert(1)</script>", "[x](http://x)", "`", "| x |\n\n# no", "```\n# no"]
)
def test_hostile_text_is_text(text: str) -> None:
    def shape(page: str) -> list[str]:
        """What begins a heading, a row or a block, and how many cells it has; code blocks as they are fenced."""
        bare = re.sub(r"\\.", "", page)
        return [re.sub(r"[^|#`<>]|\w", "", line) for line in bare.splitlines()]

    def made(name: str) -> str:
        one, other = settings(), settings("base")
        for settled in (one, other):
            settled["settings"]["model"] = name
            settled["data"]["benchmark"] = name
        rows = [row(i) for i in range(2)]
        text = page([run(rows, "a", one), run(rows, "b", other)], "0")
        # Between fences nothing is markup: only that they are closed as they were opened.
        parts = re.split(r"^```(?:sh)?$", text, flags=re.MULTILINE)
        assert all("```" not in part for part in parts[1::2])
        return "".join(parts[::2])

    assert shape(made(text)) == shape(made("harmless"))
    assert shape(made("harmless").replace("harmless", "a|b", 3)) != shape(made("harmless"))  # control


KNOBS = [
    (),
    ("--method", "ttsi-paper", "--seed", "3"),
    ("--decoding", "free", "--tau", "inf"),
    (
        "--awareness.tau=-0.2",
        "--synthesis.no-grounded",
        "--synthesis.round-trip",
        "--adaptation.min-confidence-gain",
        "0.02",
    ),
    ("--method", "sft", "--train-data", "toolworld-validation", "--train-limit", "8", "--limit", "4"),
    ("--method", "ttd", "--teacher", "scripted:demo", "--batch-size", "4", "--split", "validation"),
    ("--library", "NEW", "--library.gate", "sure", "--library.max-days", "3"),
    ("--agent.life", "turn", "--agent.no-execute-answers", "--agent.max-steps", "5"),
    ("--answer.tools", "find", "--answer.tools", "book", "--adaptation.min-confidence-gain", "none"),
]


APP = build()


@cache
def read(*words: str) -> RunConfig:
    """What a command line means."""
    _, bound, _ = APP.parse_args(["run", *words], exit_on_error=False, print_error=False)
    config: RunConfig = bound.arguments["config"]
    return complete(config, bound.arguments.get("shortcuts", Shortcuts()), config.model)


@pytest.mark.parametrize(
    "words", [*KNOBS, *(("--method", name) for name in METHODS if name not in ("icl", "sft"))], ids=" ".join
)
def test_the_command_of_a_run_means_that_run(words: tuple[str, ...]) -> None:
    if words in (("--method", "ttd"), ("--method", "ttd-icl")):
        words = (*words, "--teacher", "scripted:demo")
    first = read(*words)
    assert read(*command(first).split()[2:], "--seed", str(first.loop.seed)) == first


@pytest.mark.parametrize("teacher", [None, "scripted:demo"])
def test_the_command_of_settings_that_are_no_method_s_makes_them_from_one(teacher: str | None) -> None:
    vote = preset("vote", "embedded")
    loop = replace(vote, answer=replace(vote.answer, samples=7)) if teacher is None else preset("ttd", "embedded")
    loop = replace(loop, awareness=replace(loop.awareness, tau=-0.5))
    config = RunConfig(model="embedded", method=CUSTOM, loop=loop, teacher=teacher)
    again = read(*command(config).split()[2:])
    assert again == replace(config, method="ttsi" if teacher is None else "ttd")
    assert changed_settings(config).keys() >= {"awareness.tau"}
    # Control: as a name for a command, "custom" means nothing.
    with pytest.raises(ConfigError, match="unknown method 'custom'"):
        read("--method", "custom")


def test_the_command_names_the_weights_dtype_which_another_machine_would_choose_by_itself() -> None:
    lower = replace(ALL, model={**ALL.model, "dtype": "bfloat16"})
    (usual,), (said,) = commands(group_runs([ALL])), commands(group_runs([lower]))
    assert said == usual.replace("  # seed", " --dtype bfloat16  # seed") != usual
    words = shlex.split(said, comments=True)[2:]
    _, bound, _ = APP.parse_args(["run", *words], exit_on_error=False, print_error=False)
    assert bound.arguments["dtype"] == "bfloat16"


def test_what_is_usual_depends_on_the_model() -> None:
    paper = RunConfig("b", "hf:some/model", method="ttsi", loop=preset("ttsi"))
    assert changed_settings(paper, embedded=False) == {}
    assert "adaptation.lr" in changed_settings(paper), "control"
    foreign = replace(USUAL, config=paper, model={"format": "hermes"})
    assert not has_embedded_settings(foreign)
    assert has_embedded_settings(replace(foreign, model={"format": "ours"})), "control: a folder of ours"
    assert has_embedded_settings(replace(foreign, config=replace(paper, model="scripted:demo")))


def test_control_a_command_that_leaves_a_knob_out_is_seen() -> None:
    config = read("--synthesis.no-grounded")
    assert changed_settings(config) == {"synthesis.grounded": False}
    assert read(*command(config).replace("--synthesis.no-grounded", "").split()[2:]) != config


@pytest.mark.parametrize("path", RESULTS, ids=lambda path: path.stem)
def test_every_point_behind_the_results_is_a_run(path: Path) -> None:
    points = read_sweep(path).points
    assert points
    for point in points:
        config = read(*point.flags())
        assert read(*command(config).split()[2:], "--seed", str(config.loop.seed)) == config


def test_no_run_stands_in_two_of_the_files() -> None:
    # Seeds and settings of all points: a page of all sweeps must not count one run twice.
    every = [str(read(*point.flags())) for path in RESULTS for point in read_sweep(path).points]
    assert len(every) == len(set(every))


def test_the_commit_is_that_of_the_checkout() -> None:
    from ttsi.runs.provenance import _commit

    git = ["git", "-C", str(Path(__file__).parent), "rev-parse", "--short=12", "HEAD"]
    done = subprocess.run(git, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip("this is no git checkout")
    assert (_commit() or "").removesuffix("-dirty") == done.stdout.strip()
