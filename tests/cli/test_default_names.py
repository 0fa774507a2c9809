"""What a command writes by a default name never takes the place of a file of the user's own."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from tests.worlds import rows, write
from ttsi.cli.default_names import beside
from ttsi.reports import drawing

RUN = ("run", "--benchmark", "questions.jsonl", "--model", "scripted:demo", "--quiet", "--limit", "3", "--output-dir")
POINTS = "run: {benchmark: questions.jsonl, model: 'scripted:demo', limit: 2}\ngrid: {seed: [0, 1]}\n"
FOREIGN = {
    "jsonl": json.dumps(rows(1)[0]) + "\n",
    "csv": "request,answer\nrain in Oslo,yes\n",
    "parquet": "PAR1 and something else",
}


@pytest.fixture
def ran(ttsi: Any, tmp_path: Path) -> Any:
    """A run `questions` of questions.jsonl beside it."""
    write(tmp_path / "questions.jsonl", rows(8))
    assert ttsi(*RUN, "questions").code == 0
    return ttsi


def refused(result: Any, says: str) -> bool:
    return (result.code, result.out, result.err.count("\n")) == (2, "", 1) and says in result.err


def test_an_export_leaves_the_benchmark_that_it_would_be_called_as(ran: Any, tmp_path: Path) -> None:
    before = (tmp_path / "questions.jsonl").read_bytes()
    line = "is no export: choose another file with --output (--output questions.jsonl replaces it)"
    assert refused(ran("export", "questions"), f"questions.jsonl is there already and {line}")
    assert (tmp_path / "questions.jsonl").read_bytes() == before
    assert ran("export", "questions", "--output", "rows.jsonl").code == 0
    assert ran("export", "questions", "--output", "questions.jsonl").code == 0, "control: who names the file means it"
    assert (tmp_path / "questions.jsonl").read_bytes() == (tmp_path / "rows.jsonl").read_bytes() != before


@pytest.mark.parametrize("format", ["jsonl", "csv", "parquet"])
def test_only_an_earlier_export_is_replaced(ran: Any, tmp_path: Path, format: str) -> None:
    if format == "parquet":
        pytest.importorskip("pyarrow")
    command, target = ("export", "run", "--format", format), tmp_path / f"run.{format}"
    (tmp_path / "questions").rename(tmp_path / "run")
    assert ran(*command).code == 0
    exported = target.read_bytes()
    assert ran(*command).code == 0, "control: an earlier export"
    target.write_bytes(b"")
    assert ran(*command).code == 0, "control: nothing is lost"
    assert target.read_bytes() == exported
    part = exported[:-1] if format == "parquet" else exported[1:]
    for content in (FOREIGN[format].encode(), b"\xff\xfe\x00", b"[" * 9999 + b"\n", b"\n", part):
        target.write_bytes(content)
        assert refused(ran(*command), f"run.{format} is there already and is no export"), content[:20]
        assert target.read_bytes() == content
    target.unlink()
    target.mkdir()
    assert refused(ran(*command), "is no export")


@pytest.mark.parametrize("format", ["jsonl", "csv"])
def test_an_export_that_the_user_added_to_is_the_users(ran: Any, tmp_path: Path, format: str) -> None:
    command, target = ("export", "run", "--format", format), tmp_path / f"run.{format}"
    (tmp_path / "questions").rename(tmp_path / "run")
    assert ran(*command).code == 0
    lines = target.read_text(encoding="utf-8").splitlines()
    if format == "csv":
        added = [f"{line},{'note' if not i else 'look again'}" for i, line in enumerate(lines)]
    else:
        added = [*lines[:-1], json.dumps({**json.loads(lines[-1]), "note": "look again"})]
    target.write_text("\n".join(added) + "\n", encoding="utf-8")
    assert refused(ran(*command), "is no export")


def test_a_run_that_is_missing_is_named_before_the_file(ran: Any, tmp_path: Path) -> None:
    (tmp_path / "nothing.jsonl").write_text("questions")
    assert refused(ran("export", "nothing"), "nothing holds no run")


def test_the_folder_that_one_stands_in_has_a_name(ran: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path / "questions")
    assert refused(ran("export", "."), "questions.jsonl is there already")
    assert ran("export", ".", "--format", "csv").code == 0
    assert (tmp_path / "questions.csv").is_file()
    assert beside(Path("runs/questions"), ".csv") == Path("runs/questions.csv")


def test_a_report_replaces_a_report_and_nothing_else(ran: Any, tmp_path: Path) -> None:
    page = tmp_path / "report.html"
    assert [ran("report", "questions").code, ran("report", "questions").code] == [0, 0], "control: an earlier report"
    page.write_text("<!doctype html><title>my thesis</title>")
    assert refused(ran("report", "questions"), "report.html is there already and is no report")
    assert "my thesis" in page.read_text()
    assert ran("report", "questions", "--output", "report.html").code == 0, "control: who names the file means it"


def test_pictures_replace_pictures_of_a_report_and_nothing_else(ran: Any, tmp_path: Path) -> None:
    command = ("report", "questions", "--output", "page.html", "--plots", "pictures")
    assert [ran(*command).code, ran(*command).code] == [0, 0], "control: earlier pictures"
    pictures = sorted((tmp_path / "pictures").iterdir())
    assert pictures and all(map(drawing.is_picture, pictures))
    for picture in pictures[:2]:
        before = picture.read_bytes()
        picture.write_bytes(before.replace(b"ttsi", b"questions"))
        (tmp_path / "page.html").unlink(missing_ok=True)
        assert refused(ran(*command), "is no picture of a report: choose another folder with --plots")
        assert not (tmp_path / "page.html").exists() and picture.read_bytes() != before
        picture.write_bytes(before)


def test_the_report_that_a_run_suggests_replaces_nothing(ttsi: Any, tmp_path: Path) -> None:
    write(tmp_path / "questions.jsonl", rows(8))
    (tmp_path / "questions.html").write_text("my thesis")
    assert "ttsi report questions --output questions-report.html" in ttsi(*RUN, "questions").out
    assert "ttsi report other --output other.html" in ttsi(*RUN, "other").out, "control"


def test_a_sweep_leaves_a_file_that_is_called_as_its_table(ttsi: Any, tmp_path: Path) -> None:
    write(tmp_path / "questions.jsonl", rows(3))
    (tmp_path / "out").mkdir()
    own = tmp_path / "out" / "sweep.json"  # JSON is YAML, so this may be the sweep itself
    own.write_text(
        json.dumps({"run": {"benchmark": "questions.jsonl", "model": "scripted:demo"}, "points": [{"limit": 1}]})
    )
    before = own.read_text()
    assert refused(ttsi("sweep", str(own), "--output-dir", "out", "--quiet"), "is no table of a sweep")
    assert (own.read_text(), os.listdir("out")) == (before, ["sweep.json"]), "nothing was run"
    (tmp_path / "s.yaml").write_text(POINTS)
    for _ in range(2):  # control: an earlier table
        assert ttsi("sweep", "s.yaml", "--output-dir", "other", "--quiet").code == 0
