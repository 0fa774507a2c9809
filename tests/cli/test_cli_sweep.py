"""Are a sweep's points what its file says, each done once, sharing what is equal and nothing else?"""

from __future__ import annotations

import json
import shlex
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any, get_args, get_type_hints

import pytest

from tests.cli.conftest import Command
from tests.worlds import row, rows, write
from ttsi import loop
from ttsi.benchmarks import BENCHMARKS
from ttsi.cli import build
from ttsi.cli.run import run
from ttsi.cli.sweep import NUMBERS_OR_NONE, Point, read_sweep, table
from ttsi.config import LoopConfig, RunConfig
from ttsi.methods import preset
from ttsi.models.cached import CachedModel
from ttsi.models.scripted import DemoModel
from ttsi.models.temporary_adapters import learning_rate
from ttsi.runs.reading import load_run

CONFIGS = Path(__file__).parents[2] / "configs"
PAPER = sorted((CONFIGS / "paper").glob("*.yaml"))
REAL = sorted((CONFIGS / "real").glob("*.yaml"))
TAUS = """\
run: {benchmark: mine.jsonl, model: 'scripted:demo', awareness.measure: margin}
grid: {tau: [0.1, 0.9], seed: [0, 1]}
"""


def points(tmp_path: Path, text: str, **overrides: Any) -> list[Point]:
    (tmp_path / "s.yaml").write_text(text)
    return read_sweep(tmp_path / "s.yaml", overrides).points


def test_every_combination_is_a_command_line(tmp_path: Path) -> None:
    read_points = points(
        tmp_path, "run: {synthesis: {grounded: false}}\ngrid: {tau: [0.1, 0.9], answer.samples: [3]}\n"
    )
    assert [point.name for point in read_points] == ["tau=0.1--answer.samples=3", "tau=0.9--answer.samples=3"]
    assert shlex.join(read_points[0].flags()) == "--synthesis.no-grounded --tau 0.1 --answer.samples 3"


def test_rows_that_are_no_product_and_overrides(tmp_path: Path) -> None:
    text = "points:\n- {method: base}\n- {method: sft, train_data: x.jsonl}\ngrid: {seed: [0, 1]}\n"
    read_points = points(tmp_path, text, model="embedded", limit=4)
    rows = ("method=base", "method=sft--train-data=x")
    assert [point.name for point in read_points] == [f"{row}--seed={seed}" for row in rows for seed in (0, 1)]
    assert all(point.settings["model"] == "embedded" and point.settings["limit"] == "4" for point in read_points)


def test_a_teacher_only_replaces_a_teacher(tmp_path: Path) -> None:
    text = "points:\n- {method: ttsi}\n- {method: ttd, teacher: embedded}\n"
    alone, taught = points(tmp_path, text, teacher="mine")
    assert "teacher" not in alone.settings and taught.settings["teacher"] == "mine"
    assert points(tmp_path, text)[1].settings["teacher"] == "embedded"  # control


def test_the_file_names_the_dtype_and_the_flag_beats_it(ttsi: Command, tmp_path: Path) -> None:
    (tmp_path / "s.yaml").write_text("dtype: bfloat16\nrun: {k: 1}\n")
    (tmp_path / "open.yaml").write_text("run: {k: 1}\n")
    assert ttsi("sweep", "s.yaml", "--dry-run").out == "ttsi run --k 1 --dtype bfloat16\n"
    assert ttsi("sweep", "s.yaml", "--dry-run", "--dtype", "float32").out == "ttsi run --k 1 --dtype float32\n"
    assert ttsi("sweep", "open.yaml", "--dry-run").out == "ttsi run --k 1\n"


def test_a_sweep_of_your_own_model_and_questions(ttsi: Command) -> None:
    given = ("--model", "hf:some/model", "--benchmark", "validation.jsonl")
    lines = ttsi("sweep", str(CONFIGS / "own-model.yaml"), *given, "--dry-run").out.splitlines()
    rates = []
    for line in lines:
        _, bound, _ = build().parse_args(shlex.split(line)[1:], exit_on_error=False, print_error=False)
        config: RunConfig = bound.arguments["config"]
        rates.append(config.loop.adaptation.lr)
        assert config.benchmark == "validation.jsonl"
        assert config.loop.awareness.gate == "all", "so that every tau can be read off"
    begins = [learning_rate(size) for size in (135 * 10**6, 6 * 10**9)]
    assert min(rates) <= min(begins) and max(rates) >= max(begins), "the rates that such models begin with lie between"
    assert preset("ttsi", "embedded").adaptation.lr not in rates


def test_sweeps_on_other_questions_have_other_folders(ttsi: Command, tmp_path: Path) -> None:
    (tmp_path / "s.yaml").write_text("run: {model: 'scripted:demo', method: base}\n")
    write(tmp_path / "other.jsonl", rows(1))
    for name in ("mine", "other"):
        result = ttsi("sweep", "s.yaml", "--benchmark", f"{name}.jsonl", "--quiet")
        assert result.code == 0, result.err
    names = {entry.name for entry in (tmp_path / "runs").iterdir()}
    assert names == {"sweep--s--scripted-demo--mine", "sweep--s--scripted-demo--other"}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("- 1", "must be a mapping"),
        ("grit: {}", "did you mean 'grid'"),
        ("method: ttsi", "(a run's settings stand under run:)"),
        ("grid: {tau: 0.5}", "grid.tau is not a list"),
        ("grid: {tau: []}", "grid.tau is not a list"),
        ("grid: {tau: [0.5, 0.5]}", "twice"),
        ("run: {output_dir: x}", "not a setting of a point"),
        ("run: {num_workers: 2}", "not a setting of a point"),
        ("run: [1]", "must be a mapping"),
        ("run: {synthesis: 3}", "synthesis holds settings: write a mapping"),
        ("", "s.yaml is empty"),
        ("a: [", "not YAML"),
    ],
)
def test_a_wrong_file_is_one_line(ttsi: Command, tmp_path: Path, text: str, says: str) -> None:
    (tmp_path / "s.yaml").write_text(text)
    result = ttsi("sweep", "s.yaml")
    assert (result.code, result.err.count("\n")) == (2, 1)
    assert says in result.err


def test_a_wrong_setting_is_named(ttsi: Command, tmp_path: Path) -> None:
    (tmp_path / "s.yaml").write_text("run: {benchmark: mine.jsonl, model: 'scripted:demo'}\ngrid: {awareness.tua: [1]}")
    result = ttsi("sweep", "s.yaml", "--quiet")
    assert (result.code, "tua" in result.err) == (2, True)


def test_a_sweep_is_run_once_shown_and_gone_on_with(
    ttsi: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "s.yaml").write_text(TAUS)
    result = ttsi("sweep", "s.yaml", "--quiet")
    assert result.code == 0, result.err
    folder = tmp_path / "runs" / "sweep--s--scripted-demo"
    assert len([entry for entry in folder.iterdir() if entry.is_dir()]) == 4
    head, low, high = result.out.splitlines()
    assert head.split() == ["seeds", "n", "base", "adapted", "gain", "unsure", "trained"]
    assert low.startswith("tau 0.1  ") and high.startswith("tau 0.9  ") and "±" in high
    first = json.loads((folder / "sweep.json").read_text())
    with monkeypatch.context() as patch:
        patch.setattr(loop, "improve", None)
        assert ttsi("sweep", "s.yaml", "--quiet").out == result.out, "finished points are read"
        (folder / "tau=0.9--seed=1" / "summary.json").unlink()
        (folder / "tau=0.9--seed=1" / "run.db").unlink()
        assert ttsi("sweep", "s.yaml", "--quiet").code == 2, "control: what is missing would be run"
    assert ttsi("sweep", "s.yaml", "--quiet").code == 0
    again = json.loads((folder / "sweep.json").read_text())
    for one, other in zip(first["points"], again["points"], strict=True):
        assert {**one["summary"], "seconds": 0} == {**other["summary"], "seconds": 0}


def test_a_killed_sweep_is_a_sweep_for_the_report_and_can_be_gone_on_with(
    ttsi: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "s.yaml").write_text(TAUS.replace("0.9", ".inf"))
    folder = tmp_path / "runs" / "sweep--s--scripted-demo"

    def done() -> list[bool]:
        return [point["summary"] is not None for point in json.loads((folder / "sweep.json").read_text())["points"]]

    def stop(at: int) -> None:
        module = import_module("ttsi.cli.sweep")  # the package has the command under this name
        left, begin = [at], module._run

        def start(*given: Any) -> Any:
            left[0] -= 1
            if left[0] < 0:
                raise KeyboardInterrupt
            return begin(*given)

        with monkeypatch.context() as patch:
            patch.setattr(module, "_run", start)
            assert ttsi("sweep", "s.yaml", "--quiet").code == 130

    stop(at=0)
    assert done() == [False] * 4
    stop(at=3)
    assert done() == [True, True, True, False]
    assert ttsi("run", "--output-dir", str(folder / "other"), "--model", "scripted:demo", "--quiet",
                "--benchmark", "mine.jsonl").code == 0  # fmt: skip
    said = ttsi("report", str(folder)).err
    assert f"left out, because their sweep.json does not name them: {folder / 'other'}" in said
    stop(at=0)
    assert done() == [True, True, True, False], "a sitting that does nothing takes nothing away"
    assert ttsi("sweep", "s.yaml", "--quiet").code == 0
    assert done() == [True] * 4


def test_a_wrong_value_in_the_last_point_is_named_before_the_first_one_runs(ttsi: Command, tmp_path: Path) -> None:
    gains = "run: {benchmark: mine.jsonl, model: 'scripted:demo'}\ngrid: {adaptation.min_confidence_gain: [0.1, %s]}\n"
    (tmp_path / "s.yaml").write_text(gains % ".nan")
    refused = ttsi("sweep", "s.yaml", "--quiet")
    assert (refused.code, refused.err) == (
        2,
        "ttsi: adaptation.min_confidence_gain is nan: use a finite number or None\n",
    )
    assert not (tmp_path / "runs").exists()
    (tmp_path / "s.yaml").write_text(gains % "null")
    assert ttsi("sweep", "s.yaml", "--quiet").code == 0  # control


def test_a_point_run_by_hand_says_the_same(ttsi: Command, tmp_path: Path) -> None:
    (tmp_path / "s.yaml").write_text(TAUS)
    swept = json.loads(ttsi("sweep", "s.yaml", "--quiet", "--json").out)
    lines = ttsi("sweep", "s.yaml", "--dry-run").out.splitlines()
    for line, point in zip(lines, swept, strict=True):
        alone = json.loads(ttsi(*shlex.split(line)[1:], "--quiet", "--json").out)
        assert {**alone, "seconds": 0} == {**point["summary"], "seconds": 0}


class Counting(DemoModel):
    def __init__(self) -> None:
        super().__init__()
        self.requests = 0

    def generate(self, requests: Any) -> Any:
        self.requests += len(requests)
        return super().generate(requests)


def test_points_share_what_is_equal_and_never_what_an_adapter_said(ttsi: Command, tmp_path: Path) -> None:
    write(
        tmp_path / "two.jsonl", [row("Do I need an umbrella in Lima", "get_weather"), row("Bed in Rome", "find_hotel")]
    )
    model = Counting()
    recalling = CachedModel(model)
    new_requests = []
    for tau, k in (("inf", 2), ("inf", 4), ("-inf", 2)):
        before = model.requests
        _, bound, _ = build().parse_args(
            ["run", "--benchmark", "two.jsonl", "--model", "scripted:demo", "--tau", tau, "--k", str(k), "--quiet"],
            exit_on_error=False,
            print_error=False,
        )
        run(*bound.args, **bound.kwargs, loaded=recalling)
        new_requests.append(model.requests - before)
    assert new_requests[0] > 4
    assert new_requests[1] < new_requests[0] + 4, (
        "only the examples that K = 2 did not write, and the two adapted answers"
    )
    assert new_requests[2] == 0, "the base's answers were cached"


def test_the_table_puts_seeds_together() -> None:
    def summary(score: float | None, graded: int = 4) -> dict[str, Any]:
        side = None if score is None else {"score": score}
        counts = {"n": 4, "n_unsure": 1, "samples_trained": 2, "metrics": {"graded": graded}}
        return {**counts, "base": {"score": 50.0}, "adapted": side, "gain": None}

    entries = [{"point": {"k": 1, "seed": seed}, "summary": summary(score)} for seed, score in ((0, 50.0), (1, 60.0))]
    entries.append({"point": {"k": 2, "seed": 0}, "summary": summary(None)})
    _, one, two = table(entries).splitlines()
    assert one.split() == ["k", "1", "2", "4", "50.00", "±", "0.00", "55.00", "±", "7.07", "-", "1", "2"]
    assert two.split() == ["k", "2", "1", "4", "50.00", "-", "-", "1", "2"]
    partly = table([{"point": {}, "summary": summary(50.0, graded=3)}]).splitlines()[1]
    assert " 1  3 (1 not graded)  50.00" in partly


def test_the_paper_has_its_files() -> None:
    named = {path.stem for path in PAPER}
    assert named >= {
        "table1",
        "table2",
        "table4",
        "figure1",
        "figure2-sft",
        "figure2-scaling",
        "figure3",
        "figure4",
        "figure5",
    }


@pytest.mark.parametrize("path", PAPER, ids=lambda path: path.stem)
def test_every_file_of_the_paper_takes_another_model(path: Path) -> None:
    read_points = read_sweep(path, {"model": "embedded"}).points
    assert {point.settings["model"] for point in read_points} == {"embedded"}


def test_the_papers_teacher_changes_nothing_but_the_writer() -> None:
    app = build()
    for point in read_sweep(PAPER[0].parent / "table1-teacher.yaml").points:
        _, bound, _ = app.parse_args(["run", *point.flags()], exit_on_error=False, print_error=False)
        loop, paper = bound.arguments["config"].loop, preset("ttsi-paper", "embedded")
        assert loop.adaptation == paper.adaptation
        assert loop.awareness == paper.awareness
        assert replace(loop.synthesis, temperature=0.7, max_tokens=160) == paper.synthesis
        # Control: the preset ttd learns in another way.
        assert preset("ttd", "embedded").adaptation != paper.adaptation


@pytest.mark.parametrize("path", PAPER, ids=lambda path: path.stem)
def test_every_point_of_the_paper_is_a_run(path: Path, tmp_path: Path) -> None:
    read_points = read_sweep(path).points
    app = build()
    for point in read_points:
        command, bound, _ = app.parse_args(["run", *point.flags()], exit_on_error=False, print_error=False)
        config: RunConfig = bound.arguments["config"]
        assert config.loop.answer.decoding == "free"
        assert command.__name__ == "run"
    tests = {str(point.settings["benchmark"]) for point in read_points}
    assert tests <= set(BENCHMARKS) | {"toolalpaca", "nexusraven", "apibank-l1", "apibank-l2"}


def test_the_real_models_have_their_files() -> None:
    named = {path.stem for path in REAL}
    assert named >= {"headline", "methods", "sft", "gates", "examples", "public", "teacher", "qwen-0.5b", "qwen-1.5b"}


def chosen_by_hand(point: Point) -> list[str]:
    """Settings of a point that the method chooses for the model."""
    chosen = ("tau", "awareness.measure", "awareness.tau", "adaptation.")
    return [name for name in point.settings if name.startswith(chosen)]


@pytest.mark.parametrize("path", REAL, ids=lambda path: path.stem)
def test_every_point_of_the_real_models_is_a_run_in_one_order_with_a_call_where_one_is_right(path: Path) -> None:
    file, app, compared = read_sweep(path, {"model": "smollm2"}), build(), set()
    assert file.dtype == "bfloat16"
    for point in file.points:
        _, bound, _ = app.parse_args(["run", *point.flags()], exit_on_error=False, print_error=False)
        config: RunConfig = bound.arguments["config"]
        assert (config.model, config.order_seed, config.loop.answer.decoding) == ("smollm2", 0, "constrained")
        assert config.loop.answer.calls == ("auto" if config.split == "irrelevance" else "required")
        assert chosen_by_hand(point) == [] or path.stem == "controls", "which compares settings"
        compared.add((config.benchmark, config.split, config.limit))
    assert len(compared) in (1, len(file.points)), "points of one table answer the same inputs"


def test_control_a_setting_that_the_method_chooses_is_seen() -> None:
    assert chosen_by_hand(read_sweep(CONFIGS / "own-model.yaml").points[0]) == ["adaptation.lr"]


def test_a_point_has_the_settings_of_the_file_and_none_of_an_earlier_run(ttsi: Command, tmp_path: Path) -> None:
    def sweep(more: str) -> Any:
        run = f"run: {{benchmark: mine.jsonl, model: 'scripted:demo'{more}}}"
        (tmp_path / "s.yaml").write_text(f"share: false\n{run}\ngrid: {{seed: [0]}}\n")
        return ttsi("sweep", "s.yaml", "--quiet")

    assert sweep(", k: 3, limit: 2").code == 0
    changed = sweep("")
    assert changed.code == 2 and "synthesis.k: 3 -> " in changed.err
    assert "go on with its own settings" not in changed.err
    # Control: by hand what is left out is as the run has it.
    [folder] = (tmp_path / "runs").iterdir()
    assert ttsi("run", "--resume", "--output-dir", str(folder / "seed=0")).code == 0


def test_points_that_differ_in_a_sign_or_a_folder_have_folders_of_their_own(tmp_path: Path) -> None:
    def names(grid: str) -> list[str]:
        return [point.name for point in points(tmp_path, f"grid: {{{grid}}}")]

    assert names("awareness.tau: [-0.5, 0.5, -.inf]") == [f"awareness.tau={tau}" for tau in ("-0.5", "0.5", "-inf")]
    assert names("lr: [1.0e+20, 1.0e-20]") == ["lr=1e+20", "lr=1e-20"]
    files = names("benchmark: [a/x.jsonl, b/x.jsonl]")
    assert len(set(files)) == 2 and all(name.startswith("benchmark=x--") for name in files)
    assert names("benchmark: [b/x.jsonl, a/x.jsonl]") == files[::-1], "whatever their order"
    assert names("k: [1, 2], seed: [1, 2]") == [f"k={k}--seed={seed}" for k in (1, 2) for seed in (1, 2)]
    # Control: names that differ have no digest.
    assert names("benchmark: [a/x.jsonl, b/y.jsonl]") == ["benchmark=x", "benchmark=y"]


SIGNS = "run: {benchmark: mine.jsonl, model: 'scripted:demo', limit: 2}\ngrid: {%s: [%s]}\n"


@pytest.mark.parametrize("setting", ["tau", "awareness.tau"])
def test_a_sweep_begun_without_signs_goes_on_under_the_names_of_today(
    ttsi: Command, tmp_path: Path, setting: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "runs" / "sweep--s--scripted-demo"
    (tmp_path / "s.yaml").write_text(SIGNS % (setting, "-0.5"))
    assert ttsi("sweep", "s.yaml", "--quiet").code == 0
    (folder / f"{setting}=-0.5").rename(folder / f"{setting}=0.5")  # as an older version named it
    with monkeypatch.context() as patch:
        patch.setattr(loop, "improve", None)
        result = ttsi("sweep", "s.yaml", "--quiet")
    assert result.code == 0 and f"is the run of {setting}=-0.5, so it is now called" in result.err
    # Both signs, in the order in which the old name would be taken first.
    (folder / f"{setting}=-0.5").rename(folder / f"{setting}=0.5")
    (tmp_path / "s.yaml").write_text(SIGNS % (setting, "0.5, -0.5"))
    both = ttsi("sweep", "s.yaml", "--quiet", "--json")
    assert both.code == 0, both.err
    taus = [load_run(folder / point["folder"]).config.loop.awareness.tau for point in json.loads(both.out)]
    assert taus == [0.5, -0.5]


def test_control_the_run_of_the_other_sign_keeps_its_name(ttsi: Command, tmp_path: Path) -> None:
    for values in ("0.5", "-0.5"):
        (tmp_path / "s.yaml").write_text(SIGNS % ("tau", values))
        result = ttsi("sweep", "s.yaml", "--quiet")
        assert (result.code, "now called" in result.err) == (0, False)
    folder = tmp_path / "runs" / "sweep--s--scripted-demo"
    assert {path.name for path in folder.iterdir() if path.is_dir()} == {"tau=0.5", "tau=-0.5"}


def test_null_takes_away_a_number_that_the_method_gives(tmp_path: Path) -> None:
    def found(grid: str) -> list[RunConfig]:
        read_points = points(tmp_path, f"grid: {{{grid}}}")
        parsed = [build().parse_args(["run", *point.flags()], exit_on_error=False)[1] for point in read_points]
        return [bound.arguments["config"] for bound in parsed]

    gains = [one.loop.adaptation.min_confidence_gain for one in found("adaptation.min_confidence_gain: [null, 0, 0.1]")]
    assert gains == [None, 0.0, 0.1]
    assert [one.loop.adaptation.lr for one in found("adaptation.lr: [null, 0.1]")] == [None, 0.1]
    assert [one.teacher for one in found("teacher: [null, mine]")] == [None, "mine"], "a text is left out"
    preset_s = RunConfig(loop=preset("ttsi", "embedded")).loop.adaptation
    assert None not in (preset_s.min_confidence_gain, preset_s.lr), "control: the method gives both"


def test_control_no_other_number_of_a_stage_may_be_none() -> None:
    stages = ("awareness", "synthesis", "adaptation", "answer")
    kinds = {f"{stage}.{name}": kind for stage in stages for name, kind in _kinds(getattr(LoopConfig(), stage)).items()}
    optional = {name.replace("_", "-") for name, kind in kinds.items() if type(None) in get_args(kind)}
    texts = {"synthesis.prompt", "answer.grammar"}
    assert optional - texts == NUMBERS_OR_NONE


def _kinds(config: object) -> dict[str, Any]:
    return get_type_hints(type(config))
