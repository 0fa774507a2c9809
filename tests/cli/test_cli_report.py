"""`ttsi report` and `ttsi compare` on runs of the scripted demo, and what they refuse."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.test_imports import ROOT, loaded
from tests.worlds import rows, write

RUN = ("run", "--benchmark", "mine.jsonl", "--model", "scripted:demo", "--quiet", "--output-dir")


@pytest.fixture
def ran(ttsi: Any) -> Any:
    """`a` and `b`: two seeds; `base`: the same inputs, nothing adapted."""
    for name, more in (("a", ()), ("b", ("--seed", "1")), ("base", ("--method", "base"))):
        assert ttsi(*RUN, name, *more).code == 0
    return ttsi


def test_a_report_is_one_file_with_the_questions_in_it(ran: Any, tmp_path: Path) -> None:
    said = ran("report", "a", "b", "base", "--output", "out/page.html", "--plots", "pictures")
    assert (said.code, said.out) == (0, "out/page.html\n")
    html = (tmp_path / "out" / "page.html").read_text(encoding="utf-8")
    assert html.startswith("<!doctype html>")
    assert "2 settings on mine" in html
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["page.html"]
    assert {"A-confidence.svg", "A-confidence.png", "samples.png"} <= set(os.listdir("pictures"))


def test_an_output_in_markdown_is_tables_and_a_folder_of_runs_is_its_runs(ran: Any, tmp_path: Path) -> None:
    for name, more in (("all", ("--awareness.gate", "all")), ("base", ("--method", "base")), ("ttsi", ())):
        assert ran(*RUN, f"many/{name}", *more).code == 0
    said = ran("report", "many", "b", "--output", "out/results.md")
    assert (said.code, said.out) == (0, "out/results.md\n"), said.err
    text = (tmp_path / "out" / "results.md").read_text(encoding="utf-8")
    summaries = {name: json.loads(Path(f"{name}/summary.json").read_text()) for name in ("many/ttsi", "b", "many/all")}
    gains = {name: one["gain"]["points"] for name, one in summaries.items()}
    # Two seeds: the mean of their gains; one seed: its gain, with the interval of its summary.
    assert f"| ttsi | 8 | 2 | {summaries['b']['base']['score']:.1f} % [" in text
    mean = (gains["many/ttsi"] + gains["b"]) / 2
    assert mean > 0, "the demo gains something, or this test shows nothing"
    assert f"| {mean:+.1f} [" in text
    assert f"| all | 8 | 1 | 100.0 % | {gains['many/all']:+.1f} [" in text
    assert ran("report", "many", "--output", "out/other.md").code == 0
    assert "| ttsi | 8 | 1 |" in (tmp_path / "out" / "other.md").read_text(encoding="utf-8"), "control: without b"


def test_a_report_of_an_unfinished_run_says_so(ran: Any, tmp_path: Path) -> None:
    import sqlite3
    from contextlib import closing

    (tmp_path / "a" / "summary.json").unlink()
    with closing(sqlite3.connect(tmp_path / "a" / "run.db")) as db, db:
        db.execute("DELETE FROM episodes WHERE position > 4")
    assert ran("report", "a").code == 0
    assert "Not finished: a holds 5 of 8 inputs" in (tmp_path / "report.html").read_text(encoding="utf-8")


def test_a_comparison_names_points_interval_p_and_inputs(ran: Any) -> None:
    said = ran("compare", "base", "a", "--show", "2")
    assert said.code == 0
    found = json.loads(ran("compare", "base", "a", "--json").out)
    summary = json.loads(Path("a/summary.json").read_text(encoding="utf-8"))
    assert found["points"] == pytest.approx(summary["gain"]["points"])
    assert found["p_mcnemar"] == summary["gain"]["p_mcnemar"]
    assert (len(found["only_second_right"]), len(found["only_first_right"])) == (
        summary["gain"]["fixed"],
        summary["gain"]["broken"],
    )
    assert found["only_second_right"], "the demo fixes something, or this test shows nothing"
    lines = said.out.splitlines()
    assert lines[0].startswith("first       base (base with scripted:demo")
    assert f"McNemar p = {found['p_mcnemar']:.2g}, n = 8" in lines[2]
    assert f"only the second is right: {len(found['only_second_right'])}" in lines
    assert f"  {found['only_second_right'][0]}  " in said.out


def test_a_longer_list_says_how_to_see_it(ran: Any) -> None:
    n = len(json.loads(ran("compare", "base", "a", "--json").out)["only_second_right"])
    assert f"and {n} more: --show {n}, or --json" in ran("compare", "base", "a", "--show", "0").out


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("report", "nothing"), "nothing holds no run"),
        (("report", "a", "a"), "a is named twice"),
        (("report", "a", "--output", "a/run.db/x.html"), "cannot be written"),
        (("report", "a", "--output", "a/run.db/x.md"), "cannot be written"),
        (("report", "a", "a", "--output", "x.md"), "a is named twice"),
        (("report", "a", "--output", "x.md", "--plots", "y"), "has no pictures"),
        (("compare", "a", "free"), "a and free are decoded differently"),
        (("compare", "a", "other"), "a and other answered different data"),
        (("compare", "a", "./a"), "is named twice"),
    ],
)
def test_what_cannot_be_done_is_one_line(ran: Any, tmp_path: Path, arguments: tuple[str, ...], says: str) -> None:
    if "free" in arguments:
        ran(*RUN, "free", "--decoding", "free")
    if "other" in arguments:
        write(tmp_path / "mine.jsonl", rows(7))
        ran(*RUN, "other")
    said = ran(*arguments)
    assert (said.code, said.out) == (2, "")
    assert says in said.err
    assert said.err.count("\n") == 1


def test_a_point_that_left_the_sweep_is_left_out_and_named(ttsi: Any, tmp_path: Path) -> None:
    write(tmp_path / "mine.jsonl", rows(2))
    for seeds in ("[0, 1]", "[0]"):
        (tmp_path / "s.yaml").write_text(
            f"run: {{benchmark: mine.jsonl, model: 'scripted:demo'}}\ngrid: {{seed: {seeds}}}"
        )
        assert ttsi("sweep", "s.yaml", "--output-dir", "sweep", "--quiet").code == 0
        said = ttsi("report", "sweep", "--output", "page.html")
        page = (tmp_path / "page.html").read_text(encoding="utf-8")
        assert said.code == 0
        assert ("means over 2 seeds" in page) is (seeds == "[0, 1]")  # control: the larger grid
        assert ("does not name them: sweep/seed=1;" in said.err) is (seeds == "[0]")
        assert said.err.count("\n") == (seeds == "[0]")


@pytest.mark.parametrize("output", ["page.html", "page.md"])
def test_a_copy_of_a_run_is_refused_by_both_folders(ran: Any, tmp_path: Path, output: str) -> None:
    for folder in ("one", "two"):  # as of two sweeps, so the folders' own names are the same
        shutil.copytree("a", f"{folder}/seed=0")
    said = ran("report", "one/seed=0", "two", "--output", output)
    assert (said.code, said.out, said.err.count("\n")) == (2, "", 1)
    assert "one/seed=0 and two/seed=0 have the same settings and seed: their answers would count twice" in said.err
    assert not (tmp_path / output).exists()
    assert ran("report", "one", "b", "base", "--output", output).code == 0, "control: seeds 0 and 1"


@pytest.mark.parametrize("missing", ["matplotlib", "jinja2"])
def test_without_the_extra_it_says_what_to_install(ran: Any, tmp_path: Path, missing: str) -> None:
    def report(folder: str) -> subprocess.CompletedProcess[str]:
        words = ["report", str(tmp_path / folder)]
        code = f"import sys; sys.modules[{missing!r}] = None; from ttsi.cli import main; sys.exit(main({words!r}))"
        return subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)

    done = report("a")
    assert done.returncode == 2
    assert "pip install 'ttsi[report]'" in done.stderr
    assert done.stderr.count("\n") == 1
    # A run that is not there is named first: nobody installs anything for it.
    assert "nope holds no run" in report("nope").stderr


def test_runs_that_demand_calls_differently_are_compared_with_a_warning(ran: Any) -> None:
    assert ran(*RUN, "demanded", "--answer.calls", "required").code == 0
    said = ran("compare", "a", "demanded")
    assert (said.code, said.out.splitlines()[0]) == (
        0,
        "Calls were demanded differently (auto and required): part of the difference is the demand's.",
    )
    assert "constrained, calls required, seed 0" in said.out
    assert json.loads(ran("compare", "a", "demanded", "--json").out)["warning"]
    # Control: two runs of the same demand.
    assert "demanded differently" not in ran("compare", "base", "a").out
    assert json.loads(ran("compare", "base", "a", "--json").out)["warning"] is None


def test_how_calls_were_demanded_stands_in_the_record(ran: Any) -> None:
    assert ran(*RUN, "demanded", "--answer.calls", "one").code == 0
    assert json.loads(Path("demanded/summary.json").read_text(encoding="utf-8"))["calls"] == "one"
    assert json.loads(Path("a/summary.json").read_text(encoding="utf-8"))["calls"] == "auto"
    assert ran("report", "a", "demanded", "--output", "both.md").code == 0
    page = Path("both.md").read_text(encoding="utf-8")
    assert "calls one" in page
    named = ran("run", "--benchmark", "mine.jsonl", "--model", "scripted:demo", "--answer.calls", "one")
    assert "--ttsi--calls-one--" in named.out


def test_reports_and_comparisons_load_no_torch(ran: Any, tmp_path: Path) -> None:
    for arguments in (["report", str(tmp_path / "a"), "--output", str(tmp_path / "x.html")], ["compare", "a", "b"]):
        places = [str(tmp_path / word) if word in ("a", "b") else word for word in arguments]
        [packages] = loaded(f"command(*{places!r})", folder=tmp_path)
        assert packages & {"torch", "transformers", "tokenizers", "llguidance", "peft", "scipy"} == set()
    code = f"command('report', {str(tmp_path / 'a')!r}, '--output', {str(tmp_path / 'y.html')!r})"
    assert "matplotlib" in loaded(code, folder=tmp_path)[0]  # control


def test_control_the_help_of_both_is_there() -> None:
    command = [sys.executable, "-m", "ttsi", "--help"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert "report" in done.stdout
    assert "compare" in done.stdout
