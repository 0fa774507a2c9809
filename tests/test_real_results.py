"""Are the results on real models what their runs say: pooled by input, replaced, never half done, and the same on every
page?"""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import pytest

from dev import real_results
from dev.real_results import (
    BEGIN,
    END,
    between,
    collect,
    effective,
    key_of,
    model_name,
    public_spec,
    put_between,
    read_entries,
)
from dev.real_rows import ResultRow, below, outcomes, pooled, read_rows, replay, rows_of, scores, write_rows
from dev.real_tables import comparable, name_of, readme_table, results_section
from tests.worlds import few_everywhere, rows, write
from ttsi import stats
from ttsi.config import AnswerConfig, RunConfig
from ttsi.errors import ConfigError, DataError, RunFolderError
from ttsi.methods import preset
from ttsi.runs.evaluation import evaluate
from ttsi.runs.reading import load_run

ROOT = Path(__file__).parents[1]
CONTRACT = {
    "model", "benchmark", "method", "n", "seeds", "calls", "base", "adapted", "gain", "fixed", "broken",
    "share_adapted", "seconds_per_input", "command", "commit",
}  # fmt: skip

Runs = Callable[..., Path]


@pytest.fixture
def made(tmp_path: Path) -> Runs:
    """Make the folder of a run of the scripted demo over eight inputs."""
    write(tmp_path / "mine.jsonl", rows(8))

    def make(name: str, seed: int = 0, gate: Any = "all", limit: int | None = None, model: Any = None) -> Path:
        few = few_everywhere()
        config = replace(few, seed=seed, awareness=replace(few.awareness, gate=gate, tau=-0.7))
        evaluate(tmp_path / "mine.jsonl", model or "scripted:demo", config, tmp_path / name, method="ttsi", limit=limit)
        return tmp_path / name

    return make


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """A folder whose real.json is empty."""
    folder = tmp_path / "results"
    folder.mkdir()
    (folder / "real.json").write_text("[]\n")
    return folder


def cut(folder: Path, places: int) -> Path:
    """Take the rows from a place on out of a run, as if it had been stopped there."""
    with closing(sqlite3.connect(folder / "run.db")) as db, db:
        db.execute("DELETE FROM episodes WHERE position >= ?", (places,))
    (folder / "summary.json").unlink(missing_ok=True)
    return folder


def verdict(number: int, seed: int, base: bool, adapted: bool | None, value: float = 0.5) -> ResultRow:
    unsure = value < 0.95
    return ResultRow(
        seed, number, f"q{number}", f"{number:016x}", 0, base, adapted, unsure, "trained", value, 4, 2, 1.5, False
    )


TWO_SEEDS = [
    *(verdict(i, 0, *pair) for i, pair in enumerate([(False, True), (True, True), (False, False), (True, True)])),
    *(verdict(i, 1, *pair) for i, pair in enumerate([(False, True), (True, False), (False, True), (True, True)])),
]


def test_seeds_are_averaged_by_input_and_intervals_resample_inputs() -> None:
    found = scores(TWO_SEEDS)
    assert (found["n"], found["base"], found["adapted"]) == (4, 50.0, 75.0)
    assert (found["fixed"], found["broken"]) == (3, 1)
    interval = stats.paired_bootstrap([0, 1, 0, 1], [1, 0.5, 0.5, 1])
    assert interval is not None
    assert found["gain"]["ci95"] == pytest.approx([100 * interval.low, 100 * interval.high])
    assert found["gain"]["points"] == 25.0
    assert found["gain"]["p_mcnemar"] == stats.mcnemar_exact(2, 1), "inputs that got better, and worse"


def test_control_seeds_that_count_as_inputs_give_another_interval() -> None:
    alike = [replace(row, seed=seed) for seed in range(8) for row in TWO_SEEDS[4:]]
    apart = [replace(row, input=f"{row.seed}{row.input}") for row in alike]
    assert (scores(alike)["n"], scores(apart)["n"]) == (4, 32)
    assert scores(alike)["gain"] == scores(TWO_SEEDS[4:])["gain"], "equal seeds add nothing"
    narrow, wide = (high - low for low, high in (scores(rows)["gain"]["ci95"] for rows in (apart, alike)))
    assert narrow < 0.8 * wide


def test_one_seed_has_mcnemars_p_and_a_method_without_adaptation_has_no_gain() -> None:
    one = TWO_SEEDS[4:]
    assert scores(one)["gain"]["p_mcnemar"] == stats.mcnemar_exact(2, 1)
    alone = scores([replace(row, adapted=None) for row in one])
    assert alone["base"] == 50.0 and alone["gain"] is alone["adapted"] is alone["fixed"] is None


def test_the_same_input_of_two_benchmarks_counts_twice() -> None:
    assert scores(pooled({"a": TWO_SEEDS, "b": TWO_SEEDS}))["n"] == 8
    assert scores([*TWO_SEEDS, *TWO_SEEDS])["n"] == 4  # control


def test_rows_are_the_same_after_the_file(tmp_path: Path, made: Runs) -> None:
    before = rows_of(load_run(made("run")))
    write_rows(tmp_path / "a.csv.gz", before)
    write_rows(tmp_path / "b.csv.gz", before)
    assert read_rows(tmp_path / "a.csv.gz") == before
    assert (tmp_path / "a.csv.gz").read_bytes() == (tmp_path / "b.csv.gz").read_bytes()
    odd = [replace(before[0], base=None, adapted=None, unsure=None, value=None, seconds=None, error=True)]
    write_rows(tmp_path / "c.csv.gz", odd)
    assert read_rows(tmp_path / "c.csv.gz") == odd != before[:1]


def test_an_input_during_which_the_process_was_stopped_has_no_time_of_its_own(made: Runs) -> None:
    run = load_run(made("run"))
    usual = [replace(row, episode=replace(row.episode, seconds={"answer": 2.0})) for row in run.rows]
    for seconds, expected in ((2820.0, None), (40.0, 40.0)):  # the second is only slow
        slow = replace(usual[0], episode=replace(usual[0].episode, seconds={"answer": seconds}))
        rows = rows_of(replace(run, rows=[slow, *usual[1:]]))
        assert [row.seconds for row in rows] == [expected, *[2.0] * (len(usual) - 1)]


def test_two_seeds_become_one_entry_that_its_rows_confirm(made: Runs, results: Path) -> None:
    folders = [made("one"), made("two", seed=1)]
    [entry] = collect(folders, results)
    assert set(entry) >= CONTRACT
    assert read_entries(results) == [json.loads(json.dumps(entry))]
    assert (entry["n"], entry["seeds"], entry["calls"], entry["method"]) == (8, [0, 1], "auto", "ttsi")
    assert entry["settings"]["awareness.gate"] == "all" and entry["settings"]["synthesis.k"] == 3
    kept = read_rows(results / entry["rows"])
    assert len(kept) == 16
    assert scores(kept).items() <= entry.items()
    summaries = [load_run(folder).summary for folder in folders]
    assert entry["base"] == pytest.approx(sum(one["base"]["score"] for one in summaries) / 2)
    assert entry["adapted"] == pytest.approx(sum(one["adapted"]["score"] for one in summaries) / 2)
    assert entry["fixed"] == sum(one["gain"]["fixed"] for one in summaries)
    assert entry["command"].startswith("ttsi run --benchmark mine")


def test_one_seed_has_the_summarys_gain(made: Runs, results: Path) -> None:
    folder = made("one")
    [entry] = collect([folder], results)
    gain = load_run(folder).summary["gain"]
    assert entry["gain"]["points"] == pytest.approx(gain["points"], abs=1e-3)
    assert entry["gain"]["p_mcnemar"] == gain["p_mcnemar"]


def test_parts_of_a_benchmark_stand_beside_it(made: Runs, results: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(real_results, "STRATA", {"mine": {"4-8": range(3, 8)}})
    [entry] = collect([made("one")], results)
    part = entry["strata"]["4-8"]
    kept = read_rows(results / entry["rows"])
    assert part == scores([row for row in kept if row.position >= 3]) and part["n"] == 5
    assert part["base"] != entry["base"]  # control


def test_an_entry_takes_the_place_of_its_predecessor_alone(made: Runs, results: Path) -> None:
    one, other = made("one"), made("sure", gate="sure")
    collect([one], results)
    collect([other], results)
    assert len(read_entries(results)) == 2, "control: another gate is another entry"
    collect([one, made("two", seed=1)], results)
    sizes = {entry["settings"]["awareness.gate"]: entry["seeds"] for entry in read_entries(results)}
    assert sizes == {"all": [0, 1], "sure": [0]}
    assert len(list((results / "rows").iterdir())) == 2


def test_more_inputs_are_not_replaced_by_fewer(made: Runs, results: Path) -> None:
    whole, part = made("one"), made("part", limit=4)
    collect([part], results)
    collect([whole], results)  # control: more take the place of fewer
    with pytest.raises(DataError, match=r"has 8 inputs under 1 seed in real\.json and 4 inputs"):
        collect([part], results)
    assert read_entries(results)[0]["n"] == 8


def test_an_unfinished_run_is_refused_until_it_is_wanted(made: Runs, results: Path) -> None:
    whole, part = made("one"), cut(made("two", seed=1), 5)
    with pytest.raises(DataError, match=r"two holds 5 of 8 inputs: finish it .*--partial"):
        collect([whole, part], results)
    assert read_entries(results) == [], "nothing was written"
    assert not (results / "rows").exists()
    [entry] = collect([whole, part], results, partial=True)
    assert (entry["n"], entry["planned"], entry["seeds"]) == (5, 8, [0, 1])
    assert {row.position for row in read_rows(results / entry["rows"])} == set(range(5))
    shutil.rmtree(part)
    [entry] = collect([whole, made("two", seed=1)], results)  # control: finished runs are taken
    assert (entry["n"], entry["seeds"]) == (8, [0, 1])


def test_a_run_without_a_row_is_refused_and_left_out_of_a_part(made: Runs, results: Path) -> None:
    whole, empty = made("one"), cut(made("two", seed=1), 0)
    with pytest.raises(RunFolderError, match="no finished input"):
        collect([whole, empty], results)
    [entry] = collect([whole, empty], results, partial=True)
    assert entry["seeds"] == [0]


def test_what_would_be_one_entry_twice_is_refused(made: Runs, results: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="two groups of runs are ttsi"):
        collect([made("one"), made("part", seed=1, limit=4)], results)
    shutil.copytree(made("three", seed=3), tmp_path / "again")
    with pytest.raises(ConfigError, match=r"three and .*again have the same settings and seed"):
        collect([tmp_path / "three", tmp_path / "again"], results)
    assert read_entries(results) == []


def test_no_path_of_this_machine_is_written(made: Runs, results: Path, tmp_path: Path) -> None:
    folder = made("one")
    config = json.loads((folder / "config.json").read_text())
    config["settings"] |= {"model": str(tmp_path / "smollm2-135m"), "teacher": str(tmp_path / "mine"), "method": "ttd"}
    config["settings"] |= {"benchmark": "sealtool", "data": str(tmp_path), "train_data": str(tmp_path / "t.jsonl")}
    (folder / "config.json").write_text(json.dumps(config))
    assert str(tmp_path) in (folder / "config.json").read_text()  # control
    [entry] = collect([folder], results)
    assert str(tmp_path) not in (results / "real.json").read_text()
    assert (entry["model"], entry["settings"]["teacher"]) == ("SmolLM2-135M", "mine")
    assert "--model smollm2" in entry["command"] and "--data DIR" in entry["command"]


def test_models_have_one_name_wherever_they_lie() -> None:
    assert model_name("/x/smollm2-135m") == model_name("smollm2") == "SmolLM2-135M"
    assert model_name("hf:Qwen/Qwen2.5-Coder-0.5B-Instruct") == model_name("~/m/qwen2.5-coder-0.5b")
    assert public_spec("/x/qwen2.5-coder-0.5b") == "hf:Qwen/Qwen2.5-Coder-0.5B-Instruct"
    assert (model_name("hf:a/B"), public_spec("hf:a/B"), public_spec("/x/B")) == ("B", "hf:a/B", "B")


@pytest.mark.parametrize("gate", ["unsure", "sure"])
def test_a_run_on_all_inputs_contains_the_other_gates(made: Runs, gate: str) -> None:
    every = rows_of(load_run(made("all")))
    run = scores(rows_of(load_run(made(gate, gate=gate))))
    assert any(row.unsure for row in every) and not all(row.unsure for row in every)
    assert scores(replay(every, lambda row: row.unsure == (gate == "unsure"))) == run
    assert scores(replay(every, lambda row: row.unsure == (gate != "unsure"))) != run  # control


def test_a_threshold_lets_through_what_is_below_it() -> None:
    values = [verdict(i, 0, False, True, value=i / 4) for i in range(4)]
    assert outcomes(replay(values, below(0.5)), "adapted").keys() == outcomes(values, "base").keys()
    assert [scores(replay(values, below(tau)))["fixed"] for tau in (0, 0.5, 9)] == [0, 2, 4]
    assert below(0)(replace(values[0], value=None)), "an input without a value is unsure"


def entry(method: str = "ttsi", found: list[ResultRow] = TWO_SEEDS, **more: Any) -> dict[str, Any]:
    """An entry made by hand."""
    return {
        "model": "SmolLM2-135M", "weights": "w", "benchmark": "sealtool", "data": "d", "rule": "lenient",
        "method": method, "settings": {}, "calls": "required", "decoding": "constrained", "seeds": [0, 1],
        **scores(found), "strata": {}, "share_adapted": 1.0, "seconds_per_input": 1.5, "command": "ttsi run",
        "commit": "abc", "machine": "2 CPU cores", "rows": f"rows/{method}.csv.gz", **more,
    }  # fmt: skip


def lines_of(text: str, head: str) -> list[str]:
    """The rows of the table under a heading."""
    after = text.partition(f"### {head}\n")[2].partition("\n### ")[0]
    return [line for line in after.splitlines() if line.startswith("| ")][1:]


def test_the_tables_by_hand() -> None:
    better = [replace(row, adapted=True) for row in TWO_SEEDS]
    made = [
        entry(strata={"49-294": scores(TWO_SEEDS[:2])}),
        entry("vote", better),
        entry("base", [replace(row, adapted=None) for row in TWO_SEEDS]),
        entry(settings={"awareness.gate": "all"}, rows="all"),
        entry(settings={"synthesis.k": 4}, rows="k"),
        entry("sft", settings={"train_data": "seal-tools-dev", "train_limit": 8}, rows="sft8"),
        entry("sft", better, settings={"train_data": "seal-tools-dev", "train_limit": 700}, rows="sft700"),
        entry(benchmark="bfcl-multiple", rows="bfcl"),
        entry(benchmark="nexusraven", rows="raven"),
        entry(model="Qwen2.5-Coder-0.5B", rows="qwen"),
    ]
    files = {one["rows"]: TWO_SEEDS for one in made} | {"rows/vote.csv.gz": better, "sft700": better}
    files["rows/base.csv.gz"] = [replace(row, adapted=None) for row in TWO_SEEDS]
    text = results_section(made, files)
    top = lines_of(text, "The headline")
    assert [line.split(" | ")[:2] for line in top] == [
        ["| sealtool", "4"], ["| sealtool, rows 49-294", "2"], [r"| bfcl-multiple", "4"], ["| nexusraven", "4"],
        ["| all 2 others", "8"],
    ]  # fmt: skip
    assert "50.0 % [15.0 to 85.0] | 75.0 %" in top[0] and "| +25.0 [" in top[0] and "| 3 / 1 |" in top[0]
    against = lines_of(text, "Against what is simpler")
    assert [line.split(" | ")[0] for line in against] == [
        "| sealtool, ttsi", "| sealtool, vote", "| sealtool, base", "| sealtool, sft, 700 rows of seal-tools-dev"
    ]  # fmt: skip
    assert "| +25.0 [" in against[1].rpartition("| 1.5 s")[2], "vote against ttsi, paired"
    assert [name.split(" | ")[0] for name in lines_of(text, "Fine-tuning by size")] == [
        "| sft, 8 rows of seal-tools-dev", "| sft, 700 rows of seal-tools-dev", "| ttsi"
    ]  # fmt: skip
    assert lines_of(text, "Examples per input")[0].startswith("| ttsi, k 4 |")
    gates = lines_of(text, "Gates and thresholds")
    assert [line.split(" | ")[0] for line in gates] == ["| all", "| unsure", "| sure", "| random", "| tau 0.5"]
    assert "| 0.0 % | 4 | 50.0 %" in gates[4], "nothing is below the smallest value"
    assert lines_of(text, "Other models")[0].startswith("| Qwen2.5-Coder-0.5B, sealtool | ttsi | 4 | 2 |")
    short = readme_table(made, files).splitlines()
    assert [line.split(" | ")[:2] for line in short[3:-1]] == [
        ["| SmolLM2-135M", "sealtool"],
        ["| SmolLM2-135M", "2 other benchmarks"], ["| Qwen2.5-Coder-0.5B", "sealtool"],
    ]  # fmt: skip


def test_control_what_cannot_be_compared_is_not() -> None:
    pair = [entry(), entry("vote", data="other")]
    files = {one["rows"]: TWO_SEEDS for one in pair}
    assert "not comparable" in results_section(pair, files)
    assert "not comparable" not in results_section([entry(), entry("vote")], files)
    assert results_section([], {}) == readme_table([], {}) == ""


def test_a_page_has_one_pair_of_markers() -> None:
    page = f"before\n{BEGIN}\nold\n{END}\nafter\n"
    assert put_between(page, "new\n", "p") == f"before\n{BEGIN}\nnew\n{END}\nafter\n"
    assert between(page) == "old\n"
    for wrong in ("none", page + page, f"{END}\n{BEGIN}\n"):
        with pytest.raises(DataError, match="p has not one pair of the markers"):
            put_between(wrong, "new\n", "p")


def out_of_date(root: Path, results: Path) -> list[str]:
    """The pages whose tables are not those of real.json."""
    wanted = real_results.tables(results)
    return [name for name, text in wanted.items() if between((root / name).read_text("utf-8")) != text]


def test_the_pages_say_what_real_json_says() -> None:
    if not read_entries():
        pytest.skip("docs/results/real.json is empty")
    assert out_of_date(ROOT, real_results.RESULTS) == [], "run: python -m dev.real_results pages"


def test_every_entry_is_what_its_rows_say() -> None:
    if not read_entries():
        pytest.skip("docs/results/real.json is empty")
    entries = read_entries()
    assert len({key_of(one) for one in entries}) == len(entries)
    for one in entries:
        kept = read_rows(real_results.RESULTS / one["rows"])
        assert scores(kept).items() <= one.items(), name_of(one)
        assert one["seeds"] == sorted({row.seed for row in kept}), name_of(one)
    files = {path.name for path in (real_results.RESULTS / "rows").glob("*")}
    assert files == {Path(one["rows"]).name for one in entries}


def test_control_a_page_that_is_out_of_date_is_seen(
    made: Runs, results: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(real_results, "STRATA", {})
    root = tmp_path / "root"
    (root / "docs").mkdir(parents=True)
    for name in ("README.md", "docs/results.md"):
        (root / name).write_text(f"# page\n\n{BEGIN}\n{END}\n")
    folder = made("one", gate="all")
    config = json.loads((folder / "config.json").read_text())
    config["settings"] |= {"model": "smollm2"}
    (folder / "config.json").write_text(json.dumps(config))
    collect([folder], results)
    [kept] = read_entries(results)
    (results / "real.json").write_text(json.dumps([{**kept, "benchmark": "sealtool", "settings": {}}]))
    assert out_of_date(root, results) == ["README.md", "docs/results.md"]
    real_results.write_pages(root, results)
    assert out_of_date(root, results) == []
    assert "| SmolLM2-135M | sealtool | 8 |" in (root / "README.md").read_text()
    (root / "README.md").write_text((root / "README.md").read_text().replace("| 8 |", "| 9 |"))
    assert out_of_date(root, results) == ["README.md"]


def test_the_command_says_in_one_line_what_is_wrong(
    results: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert real_results.main(["collect", str(tmp_path / "nothing")]) == 1
    message = capsys.readouterr().err
    assert message.startswith("real_results: ") and message.count("\n") == 1


def test_benchmarks_where_words_are_allowed_are_pooled_apart() -> None:
    entries = [{"benchmark": name, "calls": calls} for name, calls in (
        ("sealtool", "required"), ("one", "required"), ("two", "auto"), ("three", "required")
    )]  # fmt: skip
    assert [entry["benchmark"] for entry in comparable(entries)] == ["one", "three"]
    entries[0]["calls"] = "auto"
    assert [entry["benchmark"] for entry in comparable(entries)] == ["two"]
    assert [entry["benchmark"] for entry in comparable(entries[1:])] == ["one", "two", "three"]


@pytest.mark.parametrize(("calls", "same"), [("required", True), ("one", True), ("auto", False)])
def test_settings_about_words_count_only_where_words_are_allowed(
    calls: Literal["required", "one", "auto"], same: bool
) -> None:
    loop = preset("ttsi", "hf:some/model")
    usual = RunConfig(model="hf:some/model", loop=replace(loop, answer=AnswerConfig(calls=calls)))
    other = replace(loop.adaptation, irrelevance=2, keep_decision=False)
    assert (effective(replace(usual, loop=replace(usual.loop, adaptation=other))) == usual) is same
    steps = replace(loop.adaptation, epochs=9)  # control: a setting that counts everywhere
    assert effective(replace(usual, loop=replace(usual.loop, adaptation=steps))) != usual
